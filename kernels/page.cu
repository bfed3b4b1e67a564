/* page.cu - one thread block encodes or decodes one page of one head, some rows at a time in shared memory (page.h;
 * codec/page_shape.cuh).
 *
 * What bounds it, a value: memory (4 bytes on one side, its code on the other) and indices for fp16, int and seg; 3 *
 * 2^b operations for vq and lut; 2 d operations in each direction for rot and klt. To add a codec: a .cuh beside the
 * others, a case below or in codec/coder.cuh. */
#include "page.h"

#include <limits.h>
#include <math.h>

#include "codec/coder.cuh"
#include "codec/fp16.cuh"
#include "codec/int.cuh"
#include "codec/page_shape.cuh"
#include "codec/seg.cuh"
#include "codec/table.cuh"
#include "device.cuh"

/* Kinds of kernels; lut is vq of one dimension. */
enum { FP16, INT, TABLE, SEG };

/* Where the block of a head lies (kvc_coder_block()) and how much of it is not padding. */
struct block_place {
    uint64_t offset, bytes, used;
};

__device__ static block_place place_of(const page_shape &s, uint32_t head, const table_head *h)
{
    if (!h || !s.tables.shared) return block_place{(uint64_t)head * s.block_bytes, s.block_bytes, s.used_bytes};
    uint64_t row_bits = s.page / 8 * s.bits, offset = row_bits * h->before, used = row_bits * h->n_codes;
    return block_place{offset, head + 1 == s.n_heads ? s.page_bytes - offset : used, used};
}

__device__ static coder_work work_of(const page_shape &s, const uint8_t *params)
{
    return coder_work{params, blockIdx.y, (size_t)s.n_heads * s.d};
}

/* The first row of the block's page and head. */
__device__ static size_t first_row(const page_shape &s)
{
    return ((size_t)blockIdx.x * s.page * s.n_heads + blockIdx.y) * s.d;
}

/* ---- encode ---- */

template <int KIND>
__device__ static void pack(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    __syncthreads();
    if (KIND == INT) int_pack(s, t, first, block);
    if (KIND == SEG) seg_pack(s, t, first, block);
}

/* Scale ch where tiles are of whole groups. */
template <int KIND>
__device__ static void encode_groups(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                     uint8_t *block)
{
    uniform_own own;
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        coder_read(s, w, t, rows + first * w.stride);
        for (uint32_t r = 0; r < t.n_rows; r += s.group) {
            uniform_widen(s, t.y + r * s.d, s.group, true, own);
            uniform_scales(s, (first + r) / s.group, block, own);
            uniform_quantise(s, t.y + r * s.d, s.group, own);
        }
        pack<KIND>(s, t, first, block);
    }
}

/* Scale ch where a group takes several tiles: they pass twice. */
template <int KIND>
__device__ static void encode_tall_groups(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                          uint8_t *block)
{
    uniform_own own;
    for (uint32_t start = 0, end = s.group; start < s.page; start = end, end += s.group) {
        for (uint32_t first = start; first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read(s, w, t, rows + first * w.stride);
            uniform_widen(s, t.y, t.n_rows, first == start, own);
        }
        uniform_scales(s, start / s.group, block, own);
        for (uint32_t first = start; first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read(s, w, t, rows + first * w.stride);
            uniform_quantise(s, t.y, t.n_rows, own);
            pack<KIND>(s, t, first, block);
        }
    }
}

/* Other scales: rows have nothing to do with each other. */
template <int KIND>
__device__ static void encode_rows(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                   const table_head *h, uint8_t *block)
{
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        coder_read(s, w, t, rows + first * w.stride);
        if (KIND == FP16) fp16_encode(s, t, first, block);
        if (KIND == INT) int_quantise_rows(s, t, first, block);
        if (KIND == SEG) seg_look_up(s, t, seg_tables(s, w.params, w.head));
        if (KIND == TABLE) table_encode(s, *h, t, first, block);
        pack<KIND>(s, t, first, block);
    }
}

template <int KIND>
__global__ void __launch_bounds__(512)
    encode_pages(const __grid_constant__ page_shape s, const uint8_t *params, const float *rows, uint8_t *blocks)
{
    KVC_SHARED(float, shared);
    coder_work w = work_of(s, params);
    page_tile t = {shared, shared + s.tile * s.d, 0};
    table_head head, *h = KIND == TABLE ? &head : NULL;
    if (h) head = table_head_of(s, params, w.head);
    block_place place = place_of(s, w.head, h);
    uint8_t *block = blocks + blockIdx.x * s.page_bytes + place.offset;
    for (uint64_t i = place.used + threadIdx.x; i < place.bytes; i += blockDim.x) block[i] = 0;
    rows += first_row(s);
    if ((KIND == INT || KIND == SEG) && s.scale == KVC_SCALE_CH) {
        if (s.group <= s.tile)
            encode_groups<KIND>(s, w, t, rows, block);
        else
            encode_tall_groups<KIND>(s, w, t, rows, block);
    } else {
        encode_rows<KIND>(s, w, t, rows, h, block);
    }
}

/* ---- decode ---- */

template <int KIND>
__global__ void __launch_bounds__(512)
    decode_pages(const __grid_constant__ page_shape s, const uint8_t *params, const uint8_t *blocks, float *rows)
{
    KVC_SHARED(float, shared);
    coder_work w = work_of(s, params);
    page_tile t = {shared, shared + s.tile * s.d, 0};
    table_head head, *h = KIND == TABLE ? &head : NULL;
    if (h) head = table_head_of(s, params, w.head);
    const uint8_t *block = blocks + blockIdx.x * s.page_bytes + place_of(s, w.head, h).offset;
    rows += first_row(s);
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        if (KIND == FP16) fp16_decode(s, t, first, block);
        if (KIND == INT) int_decode(s, t, first, block);
        if (KIND == SEG) seg_decode(s, t, first, block, seg_tables(s, params, w.head));
        if (KIND == TABLE) table_decode(s, head, t, first, block);
        coder_write(s, w, t, rows + first * w.stride);
    }
}

/* ---- on the host ---- */

static void describe_chain(const kvc_coder *coder, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    s->n_transforms = c->n_transforms;
    for (uint32_t i = 0; i < c->n_transforms; i++) s->transform[i] = c->transform[i];
    for (uint32_t i = 0; i <= KVC_SYMBOL_PIECE; i++) s->part[i] = kvc_coder_part_offset(coder, i);
    s->had_block = s->d & -s->d;
    s->had_factor = (float)(1.0 / sqrt((double)s->had_block));
}

/* Bits of the eighths, what has a scale, and what of a block is not padding. */
static void describe_symbol(const kvc_coder *coder, page_shape *s)
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

/* Threads, rows of a tile, scratch: up to 49 KiB of shared memory for 256 threads, 97 KiB for 512. */
static void describe_tile(const kvc_coder *coder, page_shape *s)
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
    if (scratch) s->scratch = 4 * s->d > SCRATCH_FLOATS ? 4 * s->d : SCRATCH_FLOATS;
}

static int is_known(const kvc_codec *c)
{
    int known = c->symbol == KVC_SYMBOL_fp16 || c->symbol == KVC_SYMBOL_int || c->symbol == KVC_SYMBOL_lut ||
                c->symbol == KVC_SYMBOL_vq || c->symbol == KVC_SYMBOL_seg;
    for (uint32_t i = 0; i < c->n_transforms; i++)
        known &= c->transform[i] >= KVC_TRANSFORM_had && c->transform[i] <= KVC_TRANSFORM_klt;
    return known;
}

static cudaError_t describe(const kvc_coder *coder, const void *dev_params, size_t n_pages, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    *s = page_shape{};
    if (!is_known(c)) return cudaErrorNotSupported;
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
    describe_chain(coder, s);
    describe_symbol(coder, s);
    describe_tile(coder, s);
    return cudaSuccess;
}

template <typename KERNEL, typename IN, typename OUT>
static cudaError_t start(KERNEL kernel, const page_shape &s, const void *dev_params, IN in, OUT out, size_t n_pages,
                         cudaStream_t stream)
{
    size_t bytes = ((size_t)s.tile * s.d + s.scratch) * sizeof(float);
    cudaError_t status = KVC_ALLOW_SHARED(kernel, bytes);
    if (status != cudaSuccess) return status;
    KVC_LAUNCH(kernel, dim3((unsigned)n_pages, s.n_heads), dim3(s.threads), bytes, stream, s,
               (const uint8_t *)dev_params, in, out);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_encode_pages(const kvc_coder *coder, const void *dev_params, const float *rows,
                                           size_t n_pages, void *blocks, cudaStream_t stream)
{
    page_shape s;
    cudaError_t status = describe(coder, dev_params, n_pages, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    auto kernel = encode_pages<TABLE>;
    if (coder->codec.symbol == KVC_SYMBOL_fp16) kernel = encode_pages<FP16>;
    if (coder->codec.symbol == KVC_SYMBOL_int) kernel = encode_pages<INT>;
    if (coder->codec.symbol == KVC_SYMBOL_seg) kernel = encode_pages<SEG>;
    return start(kernel, s, dev_params, rows, (uint8_t *)blocks, n_pages, stream);
}

extern "C" cudaError_t kernel_decode_pages(const kvc_coder *coder, const void *dev_params, const void *blocks,
                                           size_t n_pages, float *rows, cudaStream_t stream)
{
    page_shape s;
    cudaError_t status = describe(coder, dev_params, n_pages, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    auto kernel = decode_pages<TABLE>;
    if (coder->codec.symbol == KVC_SYMBOL_fp16) kernel = decode_pages<FP16>;
    if (coder->codec.symbol == KVC_SYMBOL_int) kernel = decode_pages<INT>;
    if (coder->codec.symbol == KVC_SYMBOL_seg) kernel = decode_pages<SEG>;
    return start(kernel, s, dev_params, (const uint8_t *)blocks, rows, n_pages, stream);
}

extern "C" cudaError_t kernel_transcode_pages(const kvc_coder *coder, const void *dev_params, const float *rows,
                                              size_t n_pages, float *out, void *work, size_t work_bytes,
                                              cudaStream_t stream)
{
    size_t most = work_bytes / coder->page_bytes, width = (size_t)coder->page * coder->n_kv_heads * coder->head_dim;
    if (most == 0) return cudaErrorInvalidValue;
    for (size_t first = 0, n; first < n_pages; first += n) {
        n = most < n_pages - first ? most : n_pages - first;
        cudaError_t status = kernel_encode_pages(coder, dev_params, rows + first * width, n, work, stream);
        if (status == cudaSuccess)
            status = kernel_decode_pages(coder, dev_params, work, n, out + first * width, stream);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}
