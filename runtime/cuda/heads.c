/* heads.c - see heads.h. Constants lie head after head (FORMAT.md), but for those of vq and lut: scales and order of
 * every head, then the tables, which are for each head, for each of its codes, or for all heads alike. */
#include "heads.h"
#include <stdlib.h>
#include <string.h>
#include "kvc/codec_list.h"

/* Where the heads are cut. */
typedef struct head_range {
    uint32_t begin, n, of;
} head_range;

/* The range's part of `bytes`, which are as many for each head; returns its end. */
static uint8_t *cut(uint8_t *to, const uint8_t *from, size_t bytes, const head_range *r)
{
    size_t each = bytes / r->of;
    memcpy(to, from + r->begin * each, r->n * each);
    return to + r->n * each;
}

static size_t fours(size_t bytes)
{
    return (bytes + 3) & ~(size_t)3;
}

static void cut_tables(uint8_t *to, const kvc_coder *whole, const uint8_t *from, size_t bytes, const head_range *r)
{
    kvc_code_class classes[5];
    size_t codes = 0, kept = 0;
    uint32_t n = kvc_codec_classes(&whole->codec, whole->head_dim, classes);
    for (uint32_t i = 0; i < n; i++) codes += classes[i].n, kept += (size_t)classes[i].n * classes[i].dims;
    size_t scales = r->of * codes * sizeof(float), order = r->of * kept * sizeof(uint16_t);
    size_t tables = bytes - scales - fours(order), own = r->n * kept * sizeof(uint16_t);
    uint8_t *at = cut(to, from, scales, r);
    cut(at, from + scales, order, r);
    at += fours(own);
    if (whole->codec.scale == KVC_SCALE_NONE)
        memcpy(at, from + scales + fours(order), tables);
    else
        cut(at, from + scales + fours(order), tables, r);
}

static bool has_tables(const kvc_coder *coder)
{
    return coder->codec.symbol == KVC_SYMBOL_vq || coder->codec.symbol == KVC_SYMBOL_lut;
}

static void cut_constants(uint8_t *to, const kvc_coder *whole, const kvc_coder *own, const uint8_t *from,
                          const head_range *r)
{
    for (uint32_t piece = 0; piece <= KVC_SYMBOL_PIECE; piece++) {
        size_t bytes = kvc_coder_part_bytes(whole, piece);
        uint8_t *at = to + kvc_coder_part_offset(own, piece);
        const uint8_t *source = from + kvc_coder_part_offset(whole, piece);
        if (bytes == 0) continue;
        if (piece == KVC_SYMBOL_PIECE && has_tables(whole))
            cut_tables(at, whole, source, bytes, r);
        else
            cut(at, source, bytes, r);
    }
}

static const kvc_codec *codec_of(const kvc_config *cfg, uint32_t side)
{
    const kvc_layer *layer = kvc_config_layer(cfg, side / 2);
    return side % 2 ? &layer->value : &layer->key;
}

static kvc_status refuse(const kvc_codec *codec, uint32_t side, kvc_error *err)
{
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(codec, spec);
    return kvc_fail(err, KVC_UNSUPPORTED, "layer %u %s: all KV heads of %s share their codes out: no cache of some",
                    side / 2, side % 2 ? "values" : "keys", spec);
}

/* The coder of a side; params NULL: its layout alone, and where its constants will be. */
static kvc_status bind_side(kvc_cuda_cache *cache, uint32_t side, const kvc_codec *codec, const uint8_t *params,
                            size_t *at, kvc_error *err)
{
    kvc_coder *coder = &cache->layers[side / 2].coder[side % 2];
    kvc_codec own = *codec;
    own.param_offset = codec->param_bytes ? (uint32_t)*at : 0;
    own.param_bytes = 0;
    KVC_TRY(kvc_coder_init(coder, &own, params && codec->param_bytes ? params + *at : NULL, cache->n_kv_heads,
                           cache->head_dim, cache->policy.page, err));
    *at += (coder->codec.param_bytes + (size_t)KVC_PARAM_ALIGNMENT - 1) & ~((size_t)KVC_PARAM_ALIGNMENT - 1);
    return KVC_OK;
}

kvc_status cuda_bind_heads(kvc_cuda_cache *cache, const kvc_config *cfg, uint32_t begin, kvc_error *err)
{
    const kvc_model_info *m = kvc_config_model(cfg);
    const head_range range = {begin, cache->n_kv_heads, m->n_kv_heads};
    size_t n = 0, at = 0, unused;
    const uint8_t *params = kvc_config_parameters(cfg, &unused);
    for (uint32_t side = 0; side < 2 * cache->n_layers; side++) {
        const kvc_codec *codec = codec_of(cfg, side);
        if (codec->symbol == KVC_SYMBOL_vq && codec->dims == 0 && codec->segment[5]) return refuse(codec, side, err);
        KVC_TRY(bind_side(cache, side, codec, NULL, &n, err));
    }
    cache->own_constants = aligned_alloc(KVC_PARAM_ALIGNMENT, n + KVC_PARAM_ALIGNMENT);
    if (!cache->own_constants) return kvc_fail(err, KVC_NO_MEMORY, "no memory for %zu bytes of constants", n);
    memset(cache->own_constants, 0, n);
    for (uint32_t side = 0; side < 2 * cache->n_layers; side++) {
        const kvc_codec *codec = codec_of(cfg, side);
        kvc_coder whole, layout = cache->layers[side / 2].coder[side % 2];
        if (codec->param_bytes) {
            KVC_TRY(kvc_coder_init(&whole, codec, NULL, m->n_kv_heads, m->head_dim, cache->policy.page, err));
            cut_constants(cache->own_constants + at, &whole, &layout, params + codec->param_offset, &range);
        }
        KVC_TRY(bind_side(cache, side, codec, cache->own_constants, &at, err));
    }
    cache->constants = cache->own_constants;
    cache->n_constants = n;
    return KVC_OK;
}
