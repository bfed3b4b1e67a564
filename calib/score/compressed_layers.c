/* compressed_layers.c - see compressed_layers.h. A side with a codec goes through libkvc's encoder and decoder, page
 * by page; what the cache holds uncompressed is rounded to fp16, as there. */
#include "compressed_layers.h"

#include <math.h>
#include <stdlib.h>

kvc_status compressed_layers_new(compressed_layers *c, model *m, backend *b, const kvc_token_policy *policy,
                                 size_t longest, kvc_error *err)
{
    size_t n_sides = 2 * (size_t)m->config.n_layers;
    size_t bytes = longest * m->config.n_kv_heads * m->config.head_dim * sizeof(float);
    *c = (compressed_layers){.b = b, .config = &m->config, .policy = policy};
    float **buffers[] = {&c->k_exact, &c->k_page, &c->v_exact, &c->v_page};
    c->sides = calloc(n_sides, sizeof *c->sides);
    if (!c->sides) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u layers", m->config.n_layers);
    for (size_t i = 0; i < n_sides; i++) c->sides[i].exact = true;
    for (size_t i = 0; i < 4; i++) KVC_TRY(b->buffer_new(b, bytes, (void **)buffers[i], err));
    return KVC_OK;
}

void compressed_layers_free(compressed_layers *c)
{
    if (!c->b) return;
    free(c->sides);
    c->b->buffer_free(c->b, c->k_exact);
    c->b->buffer_free(c->b, c->k_page);
    c->b->buffer_free(c->b, c->v_exact);
    c->b->buffer_free(c->b, c->v_page);
}

kvc_status compressed_layers_side(const compressed_layers *c, uint32_t layer, bool values, const kvc_codec *codec,
                                  const void *params, cache_side *out, kvc_error *err)
{
    kvc_error why;
    out->exact = false;
    kvc_status status =
        kvc_coder_init(&out->coder, codec, params, c->config->n_kv_heads, c->config->head_dim, c->policy->page, &why);
    if (status) return kvc_fail(err, status, "layer %u %s: %s", layer, values ? "values" : "keys", why.message);
    if (out->coder.codec.param_bytes && !params)
        return kvc_fail(err, KVC_INVALID, "layer %u %s: the codec's parameters are missing", layer,
                        values ? "values" : "keys");
    return KVC_OK;
}

kvc_status compressed_layers_bind(const compressed_layers *c, const plan_ref *plan, cache_side *sides, kvc_error *err)
{
    for (uint32_t i = 0; i < 2 * c->config->n_layers; i++) {
        sides[i] = (cache_side){.exact = true};
        if (!plan->layers) continue;
        const kvc_codec *codec = i % 2 ? &plan->layers[i / 2].value : &plan->layers[i / 2].key;
        if ((uint64_t)codec->param_offset + codec->param_bytes > plan->params_bytes)
            return kvc_fail(err, KVC_INVALID, "layer %u: codec parameters end at byte %llu of %zu", i / 2,
                            (unsigned long long)codec->param_offset + codec->param_bytes, plan->params_bytes);
        const void *own = codec->param_bytes ? (const char *)plan->params + codec->param_offset : NULL;
        KVC_TRY(compressed_layers_side(c, i / 2, i % 2, codec, own, &sides[i], err));
    }
    return KVC_OK;
}

/* What attention reads of one side: *exact outside pages, *page in them (NULL: nothing differs). */
static kvc_status read_side(compressed_layers *c, const layer_view *view, const cache_side *side, const float *x,
                            float *exact_buffer, float *page_buffer, const float **exact, const float **page,
                            kvc_error *err)
{
    *exact = side->exact ? x : exact_buffer;
    *page = side->exact ? NULL : page_buffer;
    if (side->exact) return KVC_OK;
    return c->b->transcode(c->b, &side->coder, c->policy, view->n_tokens, x, exact_buffer, page_buffer, err);
}

/* One sequence, or several that read nothing but exact rows. */
static kvc_status attend(compressed_layers *c, const layer_view *view, const cache_side *side, kvc_error *err)
{
    const model_config *m = view->config;
    attention_args args = {
        .n_tokens = (uint32_t)view->n_tokens,
        .n_heads = m->n_heads,
        .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim,
        .scale = 1.0f / sqrtf((float)m->head_dim),
        .q = view->q,
        .policy = *c->policy,
        .out = view->out,
        .n_more = view->n_more,
    };
    KVC_TRY(read_side(c, view, &side[0], view->k, c->k_exact, c->k_page, &args.k, &args.k_page, err));
    KVC_TRY(read_side(c, view, &side[1], view->v, c->v_exact, c->v_page, &args.v, &args.v_page, err));
    return c->b->attention(c->b, &args, err);
}

kvc_status compressed_layers_attend(compressed_layers *c, const layer_view *view, kvc_error *err)
{
    return compressed_layers_attend_as(c, view, c->sides + 2 * view->layer, err);
}

kvc_status compressed_layers_attend_as(compressed_layers *c, const layer_view *view, const cache_side *side,
                                       kvc_error *err)
{
    if (side[0].exact && side[1].exact) return attend(c, view, side, err);
    for (size_t i = 0; i <= view->n_more; i++) {
        const layer_view one = layer_view_of(view, i);
        KVC_TRY(attend(c, &one, side, err));
    }
    return KVC_OK;
}
