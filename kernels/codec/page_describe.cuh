/* page_describe.cuh - on the host: a kvc_coder as a page_shape, and how a thread block is to take its page. */
#ifndef KERNELS_CODEC_PAGE_DESCRIBE_CUH
#define KERNELS_CODEC_PAGE_DESCRIBE_CUH
#include <cuda_runtime_api.h>
#include <limits.h>
#include <math.h>
#include "codec/coder.cuh"
#include "codec/table.cuh"

static inline void page_describe_chain(const kvc_coder *coder, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    s->n_transforms = c->n_transforms;
    for (uint32_t i = 0; i < c->n_transforms; i++) s->transform[i] = c->transform[i];
    for (uint32_t i = 0; i <= KVC_SYMBOL_PIECE; i++) s->part[i] = kvc_coder_part_offset(coder, i);
    s->had_block = s->d & -s->d;
    s->had_factor = (float)(1.0 / sqrt((double)s->had_block));
}

/* Bits of the eighths, what has a scale, and what of a block is not padding. */
static inline void page_describe_symbol(const kvc_coder *coder, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    uint32_t n_scales = 0;
    for (uint32_t e = 0; e < 8; e++) {
        s->segment[e] = c->symbol == KVC_SYMBOL_int ? c->bits : c->segment[e];
        s->n_kept += s->segment[e] ? s->d / 8 : 0;
    }
    if (c->scale == KVC_SCALE_TOK) n_scales = s->page * (s->d / s->group);
    if (c->scale == KVC_SCALE_CH) n_scales = s->page / s->group * s->n_kept;
    s->used_bytes = s->code_bytes + n_scales * 4;
    if (c->symbol == KVC_SYMBOL_vq || c->symbol == KVC_SYMBOL_lut) table_describe(coder, s);
}

/* Scale ch: as many slices as there are threads for, or a group's rows can be shared out evenly among. */
static inline void page_describe_slices(page_shape *s)
{
    bool tall = s->group > s->tile;
    uint32_t n_groups = tall ? 1 : s->tile / s->group;
    s->slices = 1;
    while (!tall && 2 * s->slices * n_groups * s->d <= s->threads && s->group % (2 * s->slices) == 0) s->slices *= 2;
    s->slice = tall ? s->tile : s->group / s->slices;
    s->ranges = n_groups * s->slices;
}

/* Threads, rows of a tile, scratch: up to 48 KiB of shared memory for 256 threads, 96 KiB for 512, beside ranges. */
static inline void page_describe_tile(const kvc_coder *coder, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    bool by_channel = c->scale == KVC_SCALE_CH, scratch = c->scale == KVC_SCALE_STATIC;
    s->threads = s->d > 256 || (by_channel && s->group * s->d > 256 * TILE_VALUES) ? 512 : 256;
    s->tile = s->threads * TILE_VALUES / s->d / 8 * 8;
    s->tile = s->tile < s->page ? s->tile : s->page;
    if (by_channel && s->tile > s->group) s->tile = s->tile / s->group * s->group;
    scratch |= c->symbol == KVC_SYMBOL_vq || c->symbol == KVC_SYMBOL_lut;
    for (uint32_t i = 0; i < s->n_transforms; i++)
        scratch |= s->transform[i] != KVC_TRANSFORM_had && s->transform[i] != KVC_TRANSFORM_smooth;
    if (by_channel) page_describe_slices(s);
    if (scratch) s->scratch = 4 * s->d > SCRATCH_FLOATS ? 4 * s->d : SCRATCH_FLOATS;
}

static inline bool page_is_known(const kvc_codec *c)
{
    int known = c->symbol == KVC_SYMBOL_fp16 || c->symbol == KVC_SYMBOL_int || c->symbol == KVC_SYMBOL_lut ||
                c->symbol == KVC_SYMBOL_vq || c->symbol == KVC_SYMBOL_seg;
    for (uint32_t i = 0; i < c->n_transforms; i++)
        known &= c->transform[i] >= KVC_TRANSFORM_had && c->transform[i] <= KVC_TRANSFORM_klt;
    return known;
}

/* What page.h says of errors. */
static inline cudaError_t page_describe(const kvc_coder *coder, const void *dev_params, size_t n_pages, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    *s = page_shape{};
    if (!page_is_known(c)) return cudaErrorNotSupported;
    if (c->param_bytes && (!dev_params || (uintptr_t)dev_params % KVC_PARAM_ALIGNMENT)) return cudaErrorInvalidValue;
    if (n_pages > INT_MAX) return cudaErrorInvalidValue;
    s->n_heads = coder->n_kv_heads;
    s->d = coder->head_dim;
    s->page = coder->page;
    s->bits = c->bits;
    s->group = c->group;
    s->scale = c->scale;
    s->block_bytes = coder->block_bytes;
    s->code_bytes = coder->code_bytes;
    s->page_bytes = coder->page_bytes;
    page_describe_chain(coder, s);
    page_describe_symbol(coder, s);
    page_describe_tile(coder, s);
    return cudaSuccess;
}
#endif
