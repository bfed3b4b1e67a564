/* bound_plan.c - see bound_plan.h. */
#include "bound_plan.h"
#include <stdlib.h>
#include <string.h>

kvc_status bound_plan_new(bound_plan *out, const profile *profile, const kvc_model_info *model, uint32_t page,
                          const kvc_layer *layers, kvc_error *err)
{
    size_t bytes = model->n_layers * sizeof *layers;
    *out = (bound_plan){.layers = malloc(bytes)};
    if (!out->layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    memcpy(out->layers, layers, bytes);
    kvc_status status = profile_bind_params(profile, model, page, out->layers, &out->params, &out->n_params, err);
    if (status != KVC_OK) bound_plan_free(out);
    return status;
}

void bound_plan_free(bound_plan *b)
{
    free(b->layers);
    free(b->params);
    *b = (bound_plan){0};
}

plan_ref bound_plan_ref(const bound_plan *b)
{
    return (plan_ref){b->layers, b->params, b->n_params};
}
