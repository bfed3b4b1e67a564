/* profile_params.c - constants of fitted codecs: kept once, found again, put together for a plan.
 *
 * A part is what one piece of a codec (a transform, the symbol) needs at one side of one layer. Candidates that share
 * a transform share its bytes: parts are compared with those of the same size that the layer's side already has. */
#include "profile_fields.h"
#include <stdlib.h>
#include <string.h>

#define BLOCK 64 /* parameters of a codec start at multiples of this (FORMAT.md) */

static uint64_t *parts_of(const profile *p, bool values, uint32_t layer, uint32_t candidate)
{
    uint64_t n = values ? p->n_values : p->n_keys;
    return (values ? p->value_parts : p->key_parts) + (layer * n + candidate) * PROFILE_PIECES;
}

/* A coder of the candidate, with its constants or (NULL) for their layout. */
static kvc_status bind(kvc_coder *out, const profile *p, bool values, uint32_t candidate, const void *params,
                       kvc_error *err)
{
    const kvc_codec *codec = values ? &p->values[candidate] : &p->keys[candidate];
    return kvc_coder_init(out, codec, params, p->model.n_kv_heads, p->model.head_dim, p->tokens.page, err);
}

/* Where the layer's side has the same bytes for the same piece, or UINT64_MAX. */
static uint64_t find_part(const profile *p, bool values, uint32_t layer, uint32_t candidate, uint32_t piece,
                          const void *bytes, size_t n)
{
    for (uint32_t other = 0; other < candidate; other++) {
        kvc_coder coder;
        if (bind(&coder, p, values, other, NULL, NULL) != KVC_OK || kvc_coder_part_bytes(&coder, piece) != n)
            continue;
        uint64_t at = parts_of(p, values, layer, other)[piece];
        if (at + n <= p->n_params && memcmp(p->params + at, bytes, n) == 0) return at;
    }
    return UINT64_MAX;
}

static kvc_status append(profile *p, const void *bytes, size_t n, uint64_t *at, kvc_error *err)
{
    uint8_t *larger = realloc(p->params, p->n_params + n);
    if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the constants of codecs");
    memcpy(larger + p->n_params, bytes, n);
    *at = p->n_params;
    p->params = larger;
    p->n_params += n;
    return KVC_OK;
}

kvc_status profile_keep_params(profile *p, bool values, uint32_t layer, uint32_t candidate, const void *params,
                               kvc_error *err)
{
    uint64_t *parts = parts_of(p, values, layer, candidate);
    kvc_coder coder;
    KVC_TRY(bind(&coder, p, values, candidate, NULL, err));
    for (uint32_t piece = 0; piece < PROFILE_PIECES; piece++) {
        size_t n = kvc_coder_part_bytes(&coder, piece);
        const uint8_t *bytes = (const uint8_t *)params + kvc_coder_part_offset(&coder, piece);
        if (n == 0) continue;
        parts[piece] = find_part(p, values, layer, candidate, piece, bytes, n);
        if (parts[piece] == UINT64_MAX) KVC_TRY(append(p, bytes, n, &parts[piece], err));
    }
    return KVC_OK;
}

static void *block_new(size_t n)
{
    size_t room = (n + BLOCK - 1) / BLOCK * BLOCK;
    void *block = aligned_alloc(BLOCK, room);
    return block ? memset(block, 0, room) : NULL;
}

static kvc_status assemble(const profile *p, bool values, uint32_t layer, uint32_t candidate, const kvc_coder *coder,
                           uint8_t *block, kvc_error *err)
{
    const uint64_t *parts = parts_of(p, values, layer, candidate);
    for (uint32_t piece = 0; piece < PROFILE_PIECES; piece++) {
        size_t n = kvc_coder_part_bytes(coder, piece);
        if (n == 0) continue;
        if (parts[piece] > p->n_params || n > p->n_params - parts[piece])
            return kvc_fail(err, KVC_FORMAT, "its constants end beyond fit/parameters");
        memcpy(block + kvc_coder_part_offset(coder, piece), p->params + parts[piece], n);
    }
    return KVC_OK;
}

kvc_status profile_get_params(const profile *p, bool values, uint32_t layer, uint32_t candidate, void **params,
                              kvc_error *err)
{
    kvc_coder coder;
    *params = NULL;
    KVC_TRY(bind(&coder, p, values, candidate, NULL, err));
    if (coder.codec.param_bytes == 0) return KVC_OK;
    uint8_t *block = block_new(coder.codec.param_bytes);
    if (!block) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the constants of codecs");
    kvc_status status = assemble(p, values, layer, candidate, &coder, block, err);
    if (status == KVC_OK)
        *params = block;
    else
        free(block);
    return status;
}

kvc_status profile_check_params(const profile *p, bool values, uint32_t layer, uint32_t candidate, uint64_t *end,
                                kvc_error *err)
{
    const uint64_t *parts = parts_of(p, values, layer, candidate);
    kvc_coder coder;
    void *params;
    KVC_TRY(profile_get_params(p, values, layer, candidate, &params, err));
    if (!params) return KVC_OK;
    kvc_status status = bind(&coder, p, values, candidate, params, err);
    free(params);
    for (uint32_t piece = 0; status == KVC_OK && piece < PROFILE_PIECES; piece++) {
        size_t n = kvc_coder_part_bytes(&coder, piece);
        if (n && parts[piece] + n > *end) *end = parts[piece] + n;
    }
    return status;
}

kvc_status profile_copy_params(profile *to, const profile *from, kvc_error *err)
{
    size_t n = (size_t)from->n_layers * PROFILE_PIECES;
    uint8_t *copy = malloc(from->n_params ? from->n_params : 1);
    if (!copy) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the constants of codecs");
    if (from->n_params) memcpy(copy, from->params, from->n_params);
    free(to->params);
    to->params = copy;
    to->n_params = from->n_params;
    memcpy(to->key_parts, from->key_parts, n * from->n_keys * sizeof *to->key_parts);
    memcpy(to->value_parts, from->value_parts, n * from->n_values * sizeof *to->value_parts);
    return KVC_OK;
}

/* ---- for a plan ---- */

uint32_t profile_find_candidate(const profile *p, bool values, const kvc_codec *codec)
{
    char spec[KVC_SPEC_MAX], other[KVC_SPEC_MAX];
    kvc_codec_format(codec, spec);
    for (uint32_t i = 0; i < (values ? p->n_values : p->n_keys); i++) {
        kvc_codec_format(values ? &p->values[i] : &p->keys[i], other);
        if (strcmp(spec, other) == 0) return i;
    }
    return UINT32_MAX;
}

static kvc_codec *side_of(kvc_layer *layers, uint32_t item)
{
    return item % 2 ? &layers[item / 2].value : &layers[item / 2].key;
}

/* Groups, sizes and offsets of all codecs; *n becomes the bytes of the section. */
static kvc_status lay_out(const kvc_model_info *m, uint32_t page, kvc_layer *layers, size_t *n, kvc_error *err)
{
    uint64_t at = 0;
    for (uint32_t item = 0; item < 2 * m->n_layers; item++) {
        kvc_codec *codec = side_of(layers, item);
        kvc_coder coder;
        kvc_error why;
        codec->param_bytes = codec->param_offset = 0;
        kvc_status status = kvc_coder_init(&coder, codec, NULL, m->n_kv_heads, m->head_dim, page, &why);
        if (status != KVC_OK)
            return kvc_fail(err, status, "layer %u %s: %s", item / 2, item % 2 ? "value" : "key", why.message);
        *codec = coder.codec;
        if (codec->param_bytes == 0) continue;
        codec->param_offset = (uint32_t)at;
        at += (codec->param_bytes + (uint64_t)BLOCK - 1) / BLOCK * BLOCK;
        if (at > UINT32_MAX) return kvc_fail(err, KVC_UNSUPPORTED, "the constants of the codecs exceed 4 GiB");
    }
    *n = at;
    return KVC_OK;
}

static kvc_status fill(const profile *p, const kvc_model_info *m, kvc_layer *layers, uint8_t *section, kvc_error *err)
{
    for (uint32_t item = 0; item < 2 * m->n_layers; item++) {
        const kvc_codec *codec = side_of(layers, item);
        const char *side = item % 2 ? "value" : "key";
        if (codec->param_bytes == 0) continue;
        uint32_t candidate = p ? profile_find_candidate(p, item % 2, codec) : UINT32_MAX;
        if (candidate == UINT32_MAX || p->layers_done <= item / 2) {
            char spec[KVC_SPEC_MAX];
            kvc_codec_format(codec, spec);
            return kvc_fail(err, KVC_INPUT, "layer %u %s: %s is fitted to a model, and %s", item / 2, side, spec,
                            p ? "the profile has no fit of it" : "there is no profile to take its fit from");
        }
        void *params;
        KVC_TRY(profile_get_params(p, item % 2, item / 2, candidate, &params, err));
        memcpy(section + codec->param_offset, params, codec->param_bytes);
        free(params);
    }
    return KVC_OK;
}

kvc_status profile_bind_params(const profile *p, const kvc_model_info *model, uint32_t page, kvc_layer *layers,
                               void **params, size_t *n, kvc_error *err)
{
    *params = NULL;
    KVC_TRY(lay_out(model, page, layers, n, err));
    if (*n == 0) return KVC_OK;
    uint8_t *section = block_new(*n);
    if (!section) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the constants of codecs");
    kvc_status status = fill(p, model, layers, section, err);
    if (status == KVC_OK)
        *params = section;
    else
        free(section);
    return status;
}
