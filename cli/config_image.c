/* config_image.c - see config_image.h. */
#include "config_image.h"
#include "bound_plan.h"
#include "cfg_write.h"
#include "console.h"
#include "json.h"
#include "output.h"
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 30)

kvc_status config_image_read(config_image *out, const char *path, kvc_error *err)
{
    kvc_error why = {0};
    char *bytes;
    *out = (config_image){0};
    KVC_TRY(input_read(&bytes, &out->n, path, MAX_FILE, err));
    out->bytes = bytes;
    kvc_status status = kvc_config_open_memory(&out->config, out->bytes, out->n, &why);
    if (status == KVC_OK) return KVC_OK;
    config_image_free(out);
    return kvc_fail(err, status, "%s: %s", path, why.message);
}

static kvc_status check_plan(const kvc_model_info *model, const plan *plan, const char *name, kvc_error *err)
{
    static const uint8_t none[32];
    bool hashed = memcmp(plan->weights_sha256, none, 32) != 0;
    if (hashed && memcmp(plan->weights_sha256, model->weights_sha256, 32) != 0)
        return kvc_fail(err, KVC_MISMATCH, "%s: model_sha256 is not that of %s", name, model->name);
    if (!hashed && *plan->model && strcmp(plan->model, model->name) != 0)
        console_note("%s is for \"%s\", the model calls itself \"%s\"", name, plan->model, model->name);
    return KVC_OK;
}

kvc_status config_image_compile(config_image *out, const kvc_model_info *model, const plan *plan,
                                const char *plan_name, const profile *profile, const json_t *provenance,
                                kvc_error *err)
{
    bound_plan bound = {0};
    kvc_error why;
    *out = (config_image){0};
    KVC_TRY(check_plan(model, plan, plan_name, err));
    char *text = provenance ? json_canonical(provenance) : NULL;
    if (provenance && !text) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    kvc_status status = bound_plan_new(&bound, profile, model, plan->tokens.page, plan->layers, &why);
    cfg_source source = {.model = model,
                         .tokens = plan->tokens,
                         .layers = bound.layers,
                         .params = bound.params,
                         .params_bytes = bound.n_params,
                         .provenance = text};
    if (status == KVC_OK) status = cfg_write(&source, &out->bytes, &out->n, &why);
    bound_plan_free(&bound);
    free(text);
    if (status) status = kvc_fail(err, status == KVC_INVALID ? KVC_FORMAT : status, "%s: %s", plan_name, why.message);
    if (status == KVC_OK) status = kvc_config_open_memory(&out->config, out->bytes, out->n, err);
    if (status != KVC_OK) config_image_free(out);
    return status;
}

kvc_status config_image_exact(config_image *out, const kvc_model_info *model, const kvc_token_policy *tokens,
                              kvc_error *err)
{
    plan exact = {
        .tokens = *tokens, .n_layers = model->n_layers, .layers = calloc(model->n_layers, sizeof(kvc_layer))};
    *out = (config_image){0};
    if (!exact.layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    kvc_codec fp16;
    kvc_status status = kvc_codec_parse(&fp16, "fp16", err);
    for (uint32_t i = 0; i < model->n_layers; i++) exact.layers[i] = (kvc_layer){fp16, fp16};
    if (status == KVC_OK) status = config_image_compile(out, model, &exact, "the exact cache", NULL, NULL, err);
    plan_free(&exact);
    return status;
}

void config_image_free(config_image *image)
{
    kvc_config_close(image->config);
    free(image->bytes);
    *image = (config_image){0};
}
