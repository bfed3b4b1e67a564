/* coder.c - a codec bound to a shape: the chain of transforms around a symbol, and the checks of both.
 *
 * Every function walks the chain  x -> T1 -> T2 -> ... -> y -> symbol  or back. Values are clamped to the
 * fp16 range before the first transform and after the last, so that no finite input can overflow into a NaN.
 */
#include <assert.h>
#include <math.h>
#include <string.h>
#include "codec/pieces.h"
#include "simd.h"

const kvc_symbol *kvci_symbol_find(uint8_t wire_id)
{
#define SYMBOL_ENTRY(name, wire_id, since_format) [wire_id] = &kvci_symbol_##name,
    static const kvc_symbol *const table[256] = {KVC_SYMBOL_LIST(SYMBOL_ENTRY)};
#undef SYMBOL_ENTRY
    return table[wire_id];
}

const kvc_transform *kvci_transform_find(uint8_t wire_id)
{
#define TRANSFORM_ENTRY(name, wire_id, since_format) [wire_id] = &kvci_transform_##name,
    static const kvc_transform *const table[256] = {KVC_TRANSFORM_LIST(TRANSFORM_ENTRY)};
#undef TRANSFORM_ENTRY
    return table[wire_id];
}

static uint32_t symbol_since(uint8_t wire_id)
{
#define SYMBOL_SINCE(name, wire_id, since_format) [wire_id] = since_format,
    static const uint16_t since[256] = {KVC_SYMBOL_LIST(SYMBOL_SINCE)};
#undef SYMBOL_SINCE
    return since[wire_id];
}

static uint32_t transform_since(uint8_t wire_id)
{
#define TRANSFORM_SINCE(name, wire_id, since_format) [wire_id] = since_format,
    static const uint16_t since[256] = {KVC_TRANSFORM_LIST(TRANSFORM_SINCE)};
#undef TRANSFORM_SINCE
    return since[wire_id];
}

uint32_t kvci_codec_since(const kvc_codec *codec)
{
    uint32_t since = symbol_since(codec->symbol);
    for (uint32_t i = 0; i < codec->n_transforms; i++) {
        uint32_t other = transform_since(codec->transform[i]);
        if (other > since) since = other;
    }
    return since;
}

static int all_zero(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i]) return 0;
    return 1;
}

static kvc_status check_transforms(const kvc_codec *codec, kvc_error *err)
{
    if (codec->n_transforms > sizeof codec->transform)
        return kvc_fail(err, KVC_FORMAT, "%u transforms, at most %zu", codec->n_transforms, sizeof codec->transform);
    for (uint32_t i = 0; i < codec->n_transforms; i++)
        if (!kvci_transform_find(codec->transform[i]))
            return kvc_fail(err, KVC_UNSUPPORTED, "transform %u is not in this version", codec->transform[i]);
    if (!all_zero(codec->transform + codec->n_transforms, sizeof codec->transform - codec->n_transforms))
        return kvc_fail(err, KVC_FORMAT, "an unused transform entry is not zero");
    return KVC_OK;
}

kvc_status kvci_codec_check(const kvc_codec *codec, kvc_error *err)
{
    const kvc_symbol *symbol = kvci_symbol_find(codec->symbol);
    if (!symbol) return kvc_fail(err, KVC_UNSUPPORTED, "symbol %u is not in this version", codec->symbol);
    KVC_TRY(symbol->check(codec, err));
    KVC_TRY(check_transforms(codec, err));
    if (codec->flags & 1u) return kvc_fail(err, KVC_UNSUPPORTED, "'@pre' is not in this version");
    if (codec->flags) return kvc_fail(err, KVC_FORMAT, "unknown flags 0x%02x", codec->flags);
    if (codec->scale == KVC_SCALE_NONE && codec->group)
        return kvc_fail(err, KVC_FORMAT, "group %u without a scale", codec->group);
    if (!all_zero(codec->reserved, sizeof codec->reserved) || !all_zero(codec->segment, sizeof codec->segment))
        return kvc_fail(err, KVC_FORMAT, "a reserved or unused byte is not zero");
    if (codec->param_bytes || codec->param_offset)
        return kvc_fail(err, KVC_FORMAT, "%u bytes of parameters for a codec that has none", codec->param_bytes);
    return KVC_OK;
}

/* The group that 0 stands for, and whether it divides what it should: whole bytes of every plane need
 * multiples of 8. */
static kvc_status resolve_group(kvc_coder *coder, kvc_error *err)
{
    uint16_t *group = &coder->codec.group;
    if (coder->codec.scale == KVC_SCALE_NONE) return KVC_OK;
    int by_token = coder->codec.scale == KVC_SCALE_TOK;
    uint32_t whole = by_token ? coder->latent_dim : coder->page;
    if (*group == 0) *group = (uint16_t)whole;
    if (*group % 8u || whole % *group)
        return kvc_fail(err, KVC_INVALID, "%s group %u must be a multiple of 8 that divides the %s of %u",
                        by_token ? "tok" : "ch", *group, by_token ? "head" : "page", whole);
    return KVC_OK;
}

kvc_status kvc_coder_init(kvc_coder *out, const kvc_codec *codec, const void *params, uint32_t n_kv_heads,
                          uint32_t head_dim, uint32_t page, kvc_error *err)
{
    if (head_dim == 0 || head_dim % 8u || head_dim > KVC_MAX_HEAD_DIM)
        return kvc_fail(err, KVC_INVALID, "head dimension %u is not a multiple of 8 up to %u", head_dim,
                        KVC_MAX_HEAD_DIM);
    if (page == 0 || page % 8u || page > KVC_MAX_PAGE)
        return kvc_fail(err, KVC_INVALID, "page %u is not a multiple of 8 up to %u", page, KVC_MAX_PAGE);
    if (n_kv_heads == 0) return kvc_fail(err, KVC_INVALID, "no KV heads");
    KVC_TRY(kvci_codec_check(codec, err));
    kvc_coder coder = {.codec = *codec,
                       .params = codec->param_bytes ? params : NULL,
                       .head_dim = head_dim,
                       .latent_dim = head_dim,
                       .n_kv_heads = n_kv_heads,
                       .page = page};
    KVC_TRY(resolve_group(&coder, err));
    kvci_symbol_find(codec->symbol)->layout(&coder);
    coder.block_bytes = (coder.block_bytes + 15u) & ~15u;
    *out = coder;
    return KVC_OK;
}

/* Layout: rows [P][d] of one page, then one row. */
size_t kvc_coder_work(const kvc_coder *coder)
{
    return (size_t)coder->page * coder->head_dim + coder->head_dim;
}

KVC_CLONES static void clamp_row(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i++) {
        float low = x[i] > -KVC_FP16_MAX ? x[i] : -KVC_FP16_MAX;
        y[i] = low < KVC_FP16_MAX ? low : KVC_FP16_MAX;
    }
}

static kvc_stage stage_of(const kvc_coder *coder, uint32_t head)
{
    return (kvc_stage){.coder = coder, .head = head, .dim = coder->head_dim};
}

static void forward_row(const kvc_coder *coder, uint32_t head, const float *x, float *y)
{
    float next[KVC_MAX_HEAD_DIM];
    clamp_row(x, coder->head_dim, y);
    for (uint32_t i = 0; i < coder->codec.n_transforms; i++) {
        kvci_transform_find(coder->codec.transform[i])->forward(stage_of(coder, head), y, next);
        clamp_row(next, coder->latent_dim, y);
    }
}

static void inverse_row(const kvc_coder *coder, uint32_t head, const float *y, float mass, float *x)
{
    float next[KVC_MAX_HEAD_DIM];
    memcpy(x, y, coder->latent_dim * sizeof *x);
    for (uint32_t i = coder->codec.n_transforms; i-- > 0;) {
        kvci_transform_find(coder->codec.transform[i])->inverse(stage_of(coder, head), x, mass, next);
        memcpy(x, next, coder->head_dim * sizeof *x);
    }
}

void kvc_coder_encode(const kvc_coder *coder, uint32_t head, const float *rows, size_t stride, void *block,
                      float *work)
{
    for (uint32_t row = 0; row < coder->page; row++)
        forward_row(coder, head, rows + row * stride, work + (size_t)row * coder->latent_dim);
    memset(block, 0, coder->block_bytes);
    kvci_symbol_find(coder->codec.symbol)->encode(coder, head, work, block);
}

void kvc_coder_decode(const kvc_coder *coder, uint32_t head, const void *block, float *rows, size_t stride,
                      float *work)
{
    kvc_coder_decode_latent(coder, head, block, work);
    for (uint32_t row = 0; row < coder->page; row++)
        inverse_row(coder, head, work + (size_t)row * coder->latent_dim, 1.0f, rows + row * stride);
}

void kvci_coder_decode_rows(const kvc_coder *coder, uint32_t head, const void *block, uint32_t first_row,
                            uint32_t n_rows, float *y)
{
    assert(first_row + n_rows <= coder->page);
    kvci_symbol_find(coder->codec.symbol)->decode(coder, head, block, first_row, n_rows, y);
}

void kvc_coder_decode_latent(const kvc_coder *coder, uint32_t head, const void *block, float *y)
{
    kvci_coder_decode_rows(coder, head, block, 0, coder->page, y);
}

float kvc_coder_fold_query(const kvc_coder *coder, uint32_t head, const float *q, float *q_latent)
{
    float next[KVC_MAX_HEAD_DIM], current[KVC_MAX_HEAD_DIM], bias = 0.0f;
    memcpy(current, q, coder->head_dim * sizeof *current);
    for (uint32_t i = 0; i < coder->codec.n_transforms; i++) {
        bias += kvci_transform_find(coder->codec.transform[i])->fold(stage_of(coder, head), current, next);
        memcpy(current, next, coder->head_dim * sizeof *current);
    }
    memcpy(q_latent, current, coder->latent_dim * sizeof *q_latent);
    return bias;
}

void kvc_coder_unfold_output(const kvc_coder *coder, uint32_t head, const float *o_latent, float mass, float *out,
                             float *work)
{
    inverse_row(coder, head, o_latent, mass, work);
    for (uint32_t i = 0; i < coder->head_dim; i++) out[i] += work[i];
}
