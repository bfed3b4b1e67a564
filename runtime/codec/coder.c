/* coder.c - a codec bound to a shape and to its constants: the chain of transforms around a symbol.
 *
 * Every function walks the chain  x -> T1 -> T2 -> ... -> frame of the symbol -> symbol  or back. Values are
 * clamped to the fp16 range before the first stage and after each, so that no finite input can overflow into a NaN.
 * codec_check.c judges descriptors. */
#include <assert.h>
#include <string.h>
#include "codec/pieces.h"
#include "simd.h"

/* Bytes of constants are counted before they are bounded: up to 2^16 heads of 6 x 512^2, or one row of 2048^2. */
_Static_assert(sizeof(size_t) >= 8, "libkvc needs a 64-bit target");

/* The group that 0 stands for, and whether it divides what it should: whole bytes of every plane need
 * multiples of 8. */
static kvc_status resolve_group(kvc_coder *coder, kvc_error *err)
{
    uint16_t *group = &coder->codec.group;
    if (coder->codec.scale != KVC_SCALE_TOK && coder->codec.scale != KVC_SCALE_CH) return KVC_OK;
    int by_token = coder->codec.scale == KVC_SCALE_TOK;
    uint32_t whole = by_token ? coder->latent_dim : coder->page;
    if (*group == 0) *group = (uint16_t)whole;
    if (*group % 8u || whole % *group)
        return kvc_fail(err, KVC_INVALID, "%s group %u must be a multiple of 8 that divides the %s of %u",
                        by_token ? "tok" : "ch", *group, by_token ? "head" : "page", whole);
    return KVC_OK;
}

/* ---- constants: the parts of the pieces in order, each at a multiple of 16 ---- */

#define PART_ALIGNMENT 16u

static size_t round_up(size_t n)
{
    return (n + PART_ALIGNMENT - 1) / PART_ALIGNMENT * PART_ALIGNMENT;
}

size_t kvc_coder_part_bytes(const kvc_coder *coder, uint32_t piece)
{
    size_t (*param_bytes)(const kvc_coder *) = NULL;
    if (piece == KVC_SYMBOL_PIECE)
        param_bytes = kvci_symbol_find(coder->codec.symbol)->param_bytes;
    else if (piece < coder->codec.n_transforms)
        param_bytes = kvci_transform_find(coder->codec.transform[piece])->param_bytes;
    return param_bytes ? param_bytes(coder) : 0;
}

size_t kvc_coder_part_offset(const kvc_coder *coder, uint32_t piece)
{
    size_t offset = 0;
    for (uint32_t i = 0; i < piece && i < KVC_SYMBOL_PIECE; i++) offset += round_up(kvc_coder_part_bytes(coder, i));
    return offset;
}

static kvc_status resolve_param_bytes(kvc_coder *coder, kvc_error *err)
{
    size_t bytes =
        kvc_coder_part_offset(coder, KVC_SYMBOL_PIECE) + round_up(kvc_coder_part_bytes(coder, KVC_SYMBOL_PIECE));
    uint32_t *stated = &coder->codec.param_bytes;
    if (bytes > UINT32_MAX) return kvc_fail(err, KVC_INVALID, "%zu bytes of parameters do not fit 4 GiB", bytes);
    if (*stated && *stated != bytes)
        return kvc_fail(err, KVC_INVALID, "%u bytes of parameters, the codec takes %zu", *stated, bytes);
    *stated = (uint32_t)bytes;
    return KVC_OK;
}

static kvc_status check_part(const kvc_coder *coder, uint32_t piece, kvc_error *err)
{
    if (piece == KVC_SYMBOL_PIECE)
        return kvci_symbol_find(coder->codec.symbol)->param_check(coder, coder->part[piece], err);
    const kvc_transform *transform = kvci_transform_find(coder->codec.transform[piece]);
    return transform->param_check(coder, coder->part[piece], err);
}

/* Where the constants of each piece are, and whether their values will do. */
static kvc_status bind_params(kvc_coder *coder, const void *params, kvc_error *err)
{
    if (!params || coder->codec.param_bytes == 0) return KVC_OK;
    if ((uintptr_t)params % KVC_PARAM_ALIGNMENT)
        return kvc_fail(err, KVC_INVALID, "parameters are not %u-byte aligned", KVC_PARAM_ALIGNMENT);
    coder->params = params;
    for (uint32_t piece = 0; piece <= KVC_SYMBOL_PIECE; piece++) {
        if (kvc_coder_part_bytes(coder, piece) == 0) continue;
        coder->part[piece] = (const uint8_t *)params + kvc_coder_part_offset(coder, piece);
        KVC_TRY(check_part(coder, piece, err));
    }
    return KVC_OK;
}

static kvc_status check_shape(const kvc_coder *coder, kvc_error *err)
{
    const kvc_symbol *symbol = kvci_symbol_find(coder->codec.symbol);
    if (symbol->fits) KVC_TRY(symbol->fits(coder, err));
    for (uint32_t i = 0; i < coder->codec.n_transforms; i++) {
        const kvc_transform *transform = kvci_transform_find(coder->codec.transform[i]);
        if (transform->fits) KVC_TRY(transform->fits(coder, err));
    }
    return KVC_OK;
}

kvc_status kvci_coder_shape(kvc_coder *out, const kvc_codec *codec, uint32_t n_kv_heads, uint32_t head_dim,
                            uint32_t page, kvc_error *err)
{
    if (head_dim == 0 || head_dim % 8u || head_dim > KVC_MAX_HEAD_DIM)
        return kvc_fail(err, KVC_INVALID, "head dimension %u is not a multiple of 8 up to %u", head_dim,
                        KVC_MAX_HEAD_DIM);
    if (page == 0 || page % 8u || page > KVC_MAX_PAGE)
        return kvc_fail(err, KVC_INVALID, "page %u is not a multiple of 8 up to %u", page, KVC_MAX_PAGE);
    if (n_kv_heads == 0) return kvc_fail(err, KVC_INVALID, "no KV heads");
    KVC_TRY(kvci_codec_check(codec, err));
    uint32_t joined = codec->flags & KVC_FLAG_JOINT ? n_kv_heads : 1;
    if (joined > KVC_MAX_ROW / head_dim)
        return kvc_fail(err, KVC_INVALID, "%u heads of %u channels exceed the %u that '@joint' takes", n_kv_heads,
                        head_dim, KVC_MAX_ROW);
    kvc_coder coder = {.codec = *codec,
                       .head_dim = head_dim * joined,
                       .latent_dim = head_dim * joined,
                       .n_kv_heads = n_kv_heads / joined,
                       .joined = joined,
                       .page = page};
    KVC_TRY(resolve_group(&coder, err));
    KVC_TRY(check_shape(&coder, err));
    *out = coder;
    return KVC_OK;
}

kvc_status kvc_coder_init(kvc_coder *out, const kvc_codec *codec, const void *params, uint32_t n_kv_heads,
                          uint32_t head_dim, uint32_t page, kvc_error *err)
{
    kvc_coder coder;
    KVC_TRY(kvci_coder_shape(&coder, codec, n_kv_heads, head_dim, page, err));
    KVC_TRY(resolve_param_bytes(&coder, err));
    KVC_TRY(bind_params(&coder, params, err));
    const kvc_symbol *symbol = kvci_symbol_find(codec->symbol);
    symbol->layout(&coder);
    coder.block_bytes = (coder.block_bytes + 15u) & ~15u;
    if (coder.page_bytes == 0) coder.page_bytes = (uint64_t)coder.block_bytes * coder.n_kv_heads;
    *out = coder;
    return KVC_OK;
}

kvc_block kvc_coder_block(const kvc_coder *coder, uint32_t head)
{
    const kvc_symbol *symbol = kvci_symbol_find(coder->codec.symbol);
    if (symbol->block) return symbol->block(coder, head);
    return (kvc_block){(uint64_t)head * coder->block_bytes, coder->block_bytes};
}

/* Latent rows of one page, or one row on its way back. */
size_t kvc_coder_work(const kvc_coder *coder)
{
    return (size_t)coder->page * coder->head_dim;
}

KVC_CLONES static void clamp_row(const float *x, uint32_t n, float *y)
{
    for (uint32_t i = 0; i < n; i++) {
        float low = x[i] > -KVC_FP16_MAX ? x[i] : -KVC_FP16_MAX;
        y[i] = low < KVC_FP16_MAX ? low : KVC_FP16_MAX;
    }
}

/* Stage `index` of the chain: a transform, or behind the last of them the symbol's frame; NULL at its end. */
static const kvc_transform *stage_at(const kvc_coder *coder, uint32_t head, uint32_t index, kvc_stage *stage)
{
    uint32_t n = coder->codec.n_transforms, piece = index < n ? index : KVC_SYMBOL_PIECE;
    *stage = (kvc_stage){
        .coder = coder, .head = head, .dim = coder->head_dim, .params = coder->part[piece], .end = coder->head_dim};
    if (index < n) return kvci_transform_find(coder->codec.transform[index]);
    return index == n ? kvci_symbol_find(coder->codec.symbol)->frame : NULL;
}

/* The first n_stages stages, or fewer where there are fewer; y [d]. */
static void forward_row(const kvc_coder *coder, uint32_t head, uint32_t n_stages, const float *x, float *y)
{
    const kvc_transform *transform;
    kvc_stage stage;
    float next[KVC_MAX_ROW];
    clamp_row(x, coder->head_dim, y);
    for (uint32_t i = 0; i < n_stages && (transform = stage_at(coder, head, i, &stage)); i++) {
        transform->forward(stage, y, next);
        clamp_row(next, coder->head_dim, y);
    }
}

/* Channels first .. end - 1 of x; the others are undefined. */
static void inverse_row(const kvc_coder *coder, uint32_t head, const float *y, float mass, uint32_t first,
                        uint32_t end, float *x)
{
    kvc_stage stage;
    float next[KVC_MAX_ROW];
    memcpy(x, y, coder->latent_dim * sizeof *x);
    for (uint32_t i = coder->codec.n_transforms + 1; i-- > 0;) {
        const kvc_transform *transform = stage_at(coder, head, i, &stage);
        if (!transform) continue;
        if (i == 0) stage.first = first, stage.end = end;
        transform->inverse(stage, x, mass, next);
        memcpy(x, next, coder->head_dim * sizeof *x);
    }
}

void kvc_coder_transform(const kvc_coder *coder, uint32_t head, const float *x, float *y)
{
    forward_row(coder, head, coder->codec.n_transforms, x, y);
}

void kvc_coder_encode(const kvc_coder *coder, uint32_t head, const float *rows, size_t stride, void *block,
                      float *work)
{
    float y[KVC_MAX_ROW];
    for (uint32_t row = 0; row < coder->page; row++) {
        forward_row(coder, head, UINT32_MAX, rows + row * stride, y);
        memcpy(work + (size_t)row * coder->latent_dim, y, coder->latent_dim * sizeof *y);
    }
    memset(block, 0, kvc_coder_block(coder, head).bytes);
    kvci_symbol_find(coder->codec.symbol)->encode(coder, head, work, block);
}

void kvc_coder_decode(const kvc_coder *coder, uint32_t head, const void *block, float *rows, size_t stride,
                      float *work)
{
    kvc_coder_decode_latent(coder, head, block, work);
    for (uint32_t row = 0; row < coder->page; row++)
        inverse_row(coder, head, work + (size_t)row * coder->latent_dim, 1.0f, 0, coder->head_dim,
                    rows + row * stride);
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
    const kvc_transform *transform;
    kvc_stage stage;
    float next[KVC_MAX_ROW], current[KVC_MAX_ROW], bias = 0.0f;
    uint32_t width = coder->head_dim / coder->joined, row = kvci_coder_row(coder, head);
    memset(current, 0, coder->head_dim * sizeof *current);
    memcpy(current + (head - row) * width, q, width * sizeof *current);
    for (uint32_t i = 0; (transform = stage_at(coder, row, i, &stage)); i++) {
        bias += transform->fold(stage, current, next);
        memcpy(current, next, coder->head_dim * sizeof *current);
    }
    memcpy(q_latent, current, coder->latent_dim * sizeof *q_latent);
    return bias;
}

void kvc_coder_unfold_output(const kvc_coder *coder, uint32_t head, const float *o_latent, float mass, float *out,
                             float *work)
{
    uint32_t width = coder->head_dim / coder->joined, row = kvci_coder_row(coder, head), first = (head - row) * width;
    inverse_row(coder, row, o_latent, mass, first, first + width, work);
    for (uint32_t i = 0; i < width; i++) out[i] += work[first + i];
}
