/* bound_plan.h - a plan's layers with the constants that its fitted codecs take, ready to be measured or compiled. */
#ifndef CLI_BOUND_PLAN_H
#define CLI_BOUND_PLAN_H
#include "profile.h"
#include "score.h"

typedef struct bound_plan {
    kvc_layer *layers; /* [n_layers], groups and parameter offsets set */
    void *params;      /* the parameters section, or NULL */
    size_t n_params;
} bound_plan;

/* profile may be NULL where no codec is fitted. */
kvc_status bound_plan_new(bound_plan *out, const profile *profile, const kvc_model_info *model, uint32_t page,
                          const kvc_layer *layers, kvc_error *err);
void bound_plan_free(bound_plan *b);
plan_ref bound_plan_ref(const bound_plan *b);
#endif
