/* candidates.c - see candidates.h. */
#include "candidates.h"
#include "console.h"
#include "kernel_plan.h"
#include <string.h>

/* Does the shape allow it, and with --kernels is there one? Then param_bytes says what its constants take. */
static kvc_status fit_shape(kvc_codec *codec, const settings *s, const kvc_model_info *model, kvc_error *why)
{
    kvc_coder coder;
    uint32_t page = (uint32_t)s->page;
    KVC_TRY(kvc_coder_init(&coder, codec, NULL, model->n_kv_heads, model->head_dim, page, why));
    if (s->kernels) KVC_TRY(kernel_check_codec(codec, model, page, why));
    codec->param_bytes = coder.codec.param_bytes;
    return KVC_OK;
}

/* Keep the codecs that fit, in their order; returns their number. */
static uint32_t drop_unfit(kvc_codec *codecs, uint32_t n, const settings *s, const kvc_model_info *model)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        kvc_error why = {0};
        if (fit_shape(&codecs[i], s, model, &why) == KVC_OK)
            codecs[kept++] = codecs[i];
        else
            console_detail("built-in space: left out: %s", why.message);
    }
    return kept;
}

/* Every candidate of a file has to fit the model; of the built-in space those that do are taken. */
static kvc_status check_fit(codec_space *space, const settings *s, const kvc_model_info *model, kvc_error *err)
{
    for (uint32_t i = 0; i < space->n_keys + space->n_values; i++) {
        kvc_codec *codec = i >= space->n_keys ? &space->values[i - space->n_keys] : &space->keys[i];
        kvc_error why;
        kvc_status status = fit_shape(codec, s, model, &why);
        if (status == KVC_OK) continue;
        char spec[KVC_SPEC_MAX];
        kvc_codec_format(codec, spec);
        space_free(space);
        return kvc_fail(err, status == KVC_INVALID ? KVC_FORMAT : status, "%s: %s: %s", s->space, spec, why.message);
    }
    return KVC_OK;
}

kvc_status candidates_read(codec_space *out, const settings *s, const kvc_model_info *model, kvc_error *err)
{
    size_t n;
    if (s->space) {
        KVC_TRY(space_read(out, s->space, err));
        return check_fit(out, s, model, err);
    }
    const char *text = builtin_space(&n);
    KVC_TRY(space_read_memory(out, text, n, "built-in space", err));
    uint32_t n_all = out->n_keys + out->n_values;
    out->n_keys = drop_unfit(out->keys, out->n_keys, s, model);
    out->n_values = drop_unfit(out->values, out->n_values, s, model);
    if (s->kernels && out->n_keys + out->n_values < n_all)
        console_note("--kernels: %u of the %u candidates of the built-in space are left out (-v says why)",
                     n_all - out->n_keys - out->n_values, n_all);
    if (out->n_keys && out->n_values) return KVC_OK;
    space_free(out);
    return kvc_fail(err, KVC_UNSUPPORTED,
                    "no codec of the built-in space fits head dimension %u and page %u; give --space",
                    model->head_dim, (unsigned)s->page);
}

json_t *specs_json(const kvc_codec *codecs, uint32_t n)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < n; i++) {
        char spec[KVC_SPEC_MAX];
        kvc_codec_format(&codecs[i], spec);
        json_array_append_new(list, json_string(spec));
    }
    return list;
}
