/* page.cu - one thread block encodes or decodes one page of one head, some rows at a time in shared memory (page.h;
 * codec/page_shape.cuh).
 *
 * What bounds it, a value: memory (4 bytes on one side, its code on the other) and indices for fp16, int and seg; 3 *
 * 2^b operations for vq and lut; 2 d operations in each direction for rot and klt. To add a codec: a .cuh beside the
 * others, a case below or in codec/coder.cuh. */
#include "page.h"

#include "codec/coder.cuh"
#include "codec/fp16.cuh"
#include "codec/int.cuh"
#include "codec/page_describe.cuh"
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
template <int KIND, bool MATRIX>
__device__ static void encode_groups(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                     uint8_t *block)
{
    uniform_own own;
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        coder_read<MATRIX>(s, w, t, rows + first * w.stride);
        for (uint32_t r = 0; r < t.n_rows; r += s.group) {
            uniform_widen(s, t.y + r * s.d, s.group, true, own);
            uniform_scales(s, (first + r) / s.group, block, own);
            uniform_quantise(s, t.y + r * s.d, s.group, own);
        }
        pack<KIND>(s, t, first, block);
    }
}

/* Scale ch where a group takes several tiles: they pass twice. */
template <int KIND, bool MATRIX>
__device__ static void encode_tall_groups(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                          uint8_t *block)
{
    uniform_own own;
    for (uint32_t start = 0, end = s.group; start < s.page; start = end, end += s.group) {
        for (uint32_t first = start; first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read<MATRIX>(s, w, t, rows + first * w.stride);
            uniform_widen(s, t.y, t.n_rows, first == start, own);
        }
        uniform_scales(s, start / s.group, block, own);
        for (uint32_t first = start; first < end; first += t.n_rows) {
            t.n_rows = least(s.tile, end - first);
            coder_read<MATRIX>(s, w, t, rows + first * w.stride);
            uniform_quantise(s, t.y, t.n_rows, own);
            pack<KIND>(s, t, first, block);
        }
    }
}

/* Other scales: rows have nothing to do with each other. */
template <int KIND, bool MATRIX>
__device__ static void encode_rows(const page_shape &s, const coder_work &w, page_tile t, const float *rows,
                                   const table_head *h, uint8_t *block)
{
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        coder_read<MATRIX>(s, w, t, rows + first * w.stride);
        if (KIND == FP16) fp16_encode(s, t, first, block);
        if (KIND == INT) int_quantise_rows(s, t, first, block);
        if (KIND == SEG) seg_look_up(s, t, seg_tables(s, w.params, w.head));
        if (KIND == TABLE) table_encode(s, *h, t, first, block);
        pack<KIND>(s, t, first, block);
    }
}

template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
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
            encode_groups<KIND, MATRIX>(s, w, t, rows, block);
        else
            encode_tall_groups<KIND, MATRIX>(s, w, t, rows, block);
    } else {
        encode_rows<KIND, MATRIX>(s, w, t, rows, h, block);
    }
}

/* ---- decode ---- */

template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
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
        coder_write<MATRIX>(s, w, t, rows + first * w.stride);
    }
}

/* ---- on the host ---- */

/* The kernels of a direction by kind, without and with matrices. */
#define KERNELS(name)                                                                                                \
    {                                                                                                                \
        {name<FP16, false>, name<FP16, true>}, {name<INT, false>, name<INT, true>},                                  \
            {name<TABLE, false>, name<TABLE, true>}, {name<SEG, false>, name<SEG, true>},                            \
    }

typedef void encode_kernel(page_shape, const uint8_t *, const float *, uint8_t *);
typedef void decode_kernel(page_shape, const uint8_t *, const uint8_t *, float *);
static encode_kernel *const encode_kernels[][2] = KERNELS(encode_pages);
static decode_kernel *const decode_kernels[][2] = KERNELS(decode_pages);

static int kind_of(const kvc_codec *c)
{
    return c->symbol == KVC_SYMBOL_fp16  ? FP16
           : c->symbol == KVC_SYMBOL_int ? INT
           : c->symbol == KVC_SYMBOL_seg ? SEG
                                         : TABLE;
}

static bool has_matrix(const page_shape &s)
{
    bool has = false;
    for (uint32_t i = 0; i < s.n_transforms; i++) has |= is_matrix(s.transform[i]);
    return has;
}

template <typename KERNEL, typename IN, typename OUT>
static cudaError_t start(KERNEL *const (&kernels)[4][2], const kvc_coder *coder, const void *dev_params, IN in,
                         OUT out, size_t n_pages, cudaStream_t stream)
{
    page_shape s;
    cudaError_t status = page_describe(coder, dev_params, n_pages, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    KERNEL *kernel = kernels[kind_of(&coder->codec)][has_matrix(s)];
    size_t bytes = ((size_t)s.tile * s.d + s.scratch) * sizeof(float);
    if ((status = KVC_ALLOW_SHARED(kernel, bytes)) != cudaSuccess) return status;
    KVC_LAUNCH(kernel, dim3((unsigned)n_pages, s.n_heads), dim3(s.threads), bytes, stream, s,
               (const uint8_t *)dev_params, in, out);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_encode_pages(const kvc_coder *coder, const void *dev_params, const float *rows,
                                           size_t n_pages, void *blocks, cudaStream_t stream)
{
    return start(encode_kernels, coder, dev_params, rows, (uint8_t *)blocks, n_pages, stream);
}

extern "C" cudaError_t kernel_decode_pages(const kvc_coder *coder, const void *dev_params, const void *blocks,
                                           size_t n_pages, float *rows, cudaStream_t stream)
{
    return start(decode_kernels, coder, dev_params, (const uint8_t *)blocks, rows, n_pages, stream);
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
