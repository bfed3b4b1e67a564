/* kernel_plan.c - from layers to distinct kernels. */
#include "kernel_plan.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kvc/codec_list.h"

/* "int4.ch64"; with a byte table "vq4x8.bytes"; shared codes, up to 48 of a head: "vq.48x8", "vq.48x8.bytes" */
static void spell_side(const kernel_side *side, char spec[KVC_SPEC_MAX])
{
    if (side->most)
        snprintf(spec, KVC_SPEC_MAX, "vq.%ux%u", side->most, side->codec.bits);
    else
        kvc_codec_format(&side->codec, spec);
    if (side->byte_table) strcat(spec, ".bytes");
}

/* "int4.ch64 int4.tok128 d128 g4 p64 c8", " softcap" behind it where scores are capped, and, as a C name,
 * "attend_int4_ch64_int4_tok128_d128_g4_p64_c8"; of a mix or of segments their numbers, "vq_8_2_6_8_x8". */
static void spell(kernel_spec *k)
{
    char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
    spell_side(&k->key, key);
    spell_side(&k->value, value);
    snprintf(k->words, sizeof k->words, "%.40s %.40s d%u g%u p%u c%u%s", key, value, k->head_dim, k->group, k->page,
             k->columns, k->softcap ? " softcap" : "");
    snprintf(k->name, sizeof k->name, "attend_%.120s", k->words);
    for (char *c = k->name; *c; c++)
        if (strchr(" .,*[]", *c)) *c = '_';
}

/* What layers have in common. */
typedef struct layers_source {
    const kvc_model_info *model;
    uint32_t page;
    const kvc_layer *layers;
    const uint8_t *params; /* NULL: unknown */
    uint32_t most;         /* codes of a head where heads share them out */
    bool softcap;
    const kernel_target *target;
} layers_source;

/* A codec with its constants, if they are known. */
static bool bind(kvc_coder *out, const layers_source *s, const kvc_codec *codec)
{
    return s->params && kvc_coder_init(out, codec, s->params + codec->param_offset, s->model->n_kv_heads,
                                       s->model->head_dim, s->page, NULL) == KVC_OK;
}

/* The most codes of a head where a codec's heads share them out; else 0. */
static uint32_t most_codes(const layers_source *s, const kvc_codec *codec)
{
    kvc_coder coder;
    uint32_t most = 0;
    if (codec->symbol != KVC_SYMBOL_vq || codec->dims || !codec->segment[5]) return 0;
    if (!bind(&coder, s, codec)) return s->model->head_dim;
    const uint32_t *counts = coder.part[KVC_SYMBOL_PIECE]; /* FORMAT.md, "shared codes": k [H] comes first */
    for (uint32_t i = 0; i < coder.n_kv_heads; i++) most = counts[i] > most ? counts[i] : most;
    return most;
}

/* Of all layers and sides, a multiple of 4. */
static uint32_t most_of_all(const layers_source *s)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < 2 * s->model->n_layers; i++) {
        uint32_t n = most_codes(s, i % 2 ? &s->layers[i / 2].value : &s->layers[i / 2].key);
        most = n > most ? n : most;
    }
    return (most + 3u) & ~3u;
}

/* Entries of words of bytes: what attend_bytes.cuh takes, one or two of them, or, of shared codes, where tables of
 * fewer channels need be none. */
static bool has_byte_table(const layers_source *s, const kvc_codec *codec)
{
    kvc_coder coder;
    if (codec->symbol != KVC_SYMBOL_vq || !bind(&coder, s, codec)) return false;
    if (codec->dims) return (codec->dims == 4 || codec->dims == 8) && kvc_coder_byte_step(&coder, codec->dims) > 0.0f;
    bool all = codec->segment[5] > 0;
    for (uint32_t dims = 4; dims <= 16; dims *= 2) all = all && kvc_coder_byte_step(&coder, dims) > 0.0f;
    return all;
}

static kvc_status make_side(kernel_side *out, const layers_source *s, uint32_t index, bool is_value, kvc_error *err)
{
    const kvc_codec *codec = is_value ? &s->layers[index].value : &s->layers[index].key;
    KVC_TRY(kernel_side_init(out, codec, s->model, s->page, err));
    if (out->most) out->most = s->most;
    out->byte_table = !out->n_codes && has_byte_table(s, codec);
    return KVC_OK;
}

static kvc_status make_kernel(kernel_spec *out, const layers_source *s, uint32_t index, kvc_error *err)
{
    kvc_error why;
    *out = (kernel_spec){.head_dim = s->model->head_dim,
                         .group = s->model->n_query_heads / s->model->n_kv_heads,
                         .page = s->page,
                         .softcap = s->softcap};
    for (int i = 0; i < 2; i++) {
        kvc_status status = make_side(i ? &out->value : &out->key, s, index, i, &why);
        if (status) return kvc_fail(err, status, "layer %u, %s: %s", index, i ? "values" : "keys", why.message);
    }
    kvc_status status = kernel_shape_choose(out, s->target, &why);
    spell(out);
    return status ? kvc_fail(err, status, "layer %u, %s: %s", index, out->words, why.message) : KVC_OK;
}

/* The index of a kernel of that name; it is added where there is none. */
static uint32_t place(kernel_plan *plan, const kernel_spec *k)
{
    for (uint32_t i = 0; i < plan->n_kernels; i++)
        if (strcmp(plan->kernels[i].name, k->name) == 0) return i;
    plan->kernels[plan->n_kernels] = *k;
    return plan->n_kernels++;
}

kvc_status kernel_plan_new(kernel_plan *out, const kvc_model_info *model, const kvc_token_policy *tokens,
                           const kvc_layer *layers, const void *params, bool softcap, const kernel_target *target,
                           kvc_error *err)
{
    *out = (kernel_plan){.target = target, .n_layers = model->n_layers};
    KVC_TRY(kernel_check_model(model, tokens->page, err));
    out->kernels = calloc(model->n_layers, sizeof *out->kernels);
    out->of_layer = calloc(model->n_layers, sizeof *out->of_layer);
    kvc_status status = out->kernels && out->of_layer
                            ? KVC_OK
                            : kvc_fail(err, KVC_NO_MEMORY, "no memory for the kernels of %u layers", model->n_layers);
    layers_source source = {model, tokens->page, layers, params, 0, softcap, target};
    source.most = most_of_all(&source);
    for (uint32_t i = 0; status == KVC_OK && i < model->n_layers; i++) {
        kernel_spec k;
        status = make_kernel(&k, &source, i, err);
        if (status == KVC_OK) out->of_layer[i] = place(out, &k);
    }
    if (status != KVC_OK) kernel_plan_free(out);
    return status;
}

void kernel_plan_free(kernel_plan *plan)
{
    free(plan->kernels);
    free(plan->of_layer);
    *plan = (kernel_plan){0};
}
