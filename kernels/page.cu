/* page.cu - one thread block encodes or decodes one page of one head, some rows at a time in shared memory (page.h;
 * codec/page_shape.cuh, codec/page_encode.cuh).
 *
 * What bounds it, a value: memory (4 bytes on one side, its code on the other) and indices for fp16, int and seg; 3 *
 * 2^b operations for vq and lut; 2 d operations in each direction for rot and klt. To add a codec: a .cuh beside the
 * others, a case in codec/page_encode.cuh and below or in codec/coder.cuh. */
#include "page.h"

#include "codec/page_launch.cuh"
#include "device.cuh"

__device__ static coder_work work_of(const page_shape &s, const uint8_t *params)
{
    return coder_work{params, blockIdx.y, (size_t)s.n_heads * s.d};
}

/* The first row of the block's page and head. */
__device__ static size_t first_row(const page_shape &s)
{
    return ((size_t)blockIdx.x * s.page * s.n_heads + blockIdx.y) * s.d;
}

/* ---- kernels ---- */

template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
    encode_pages(const __grid_constant__ page_shape s, const uint8_t *params, const float *rows, uint8_t *blocks)
{
    KVC_SHARED(float, shared);
    coder_work w = work_of(s, params);
    rows += first_row(s);
    auto read = [&](const page_tile &t, uint32_t first, bool) {
        each_value_from(
            t.n_rows, s.d, [&](uint32_t r, uint32_t i) { return rows[(first + r) * w.stride + i]; },
            [&](uint32_t r, uint32_t i, float x) { t.y[r * s.d + i] = clamp_fp16(x); });
    };
    page_encode<KIND, MATRIX>(s, w, shared, read, page_part{0, s.page}, blocks + blockIdx.x * s.page_bytes);
}

template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
    decode_pages(const __grid_constant__ page_shape s, const uint8_t *params, const uint8_t *blocks, float *rows)
{
    KVC_SHARED(float, shared);
    coder_work w = work_of(s, params);
    page_tile t = page_tile_in(s, shared, s.tile);
    table_head head, *h = KIND == PAGE_TABLE ? &head : NULL;
    if (h) head = table_head_of(s, params, w.head);
    const uint8_t *block = blocks + blockIdx.x * s.page_bytes + block_place_of(s, w.head, h).offset;
    rows += first_row(s);
    for (uint32_t first = 0; first < s.page; first += t.n_rows) {
        t.n_rows = least(s.tile, s.page - first);
        if (KIND == PAGE_FP16) fp16_decode(s, t, first, block);
        if (KIND == PAGE_INT) int_decode(s, t, first, block);
        if (KIND == PAGE_SEG) seg_decode(s, t, first, block, seg_tables(s, params, w.head));
        if (KIND == PAGE_TABLE) table_decode(s, head, t, first, block);
        coder_write<MATRIX>(s, w, t, rows + first * w.stride);
    }
}

/* ---- on the host ---- */

typedef void encode_kernel(page_shape, const uint8_t *, const float *, uint8_t *);
typedef void decode_kernel(page_shape, const uint8_t *, const uint8_t *, float *);
static encode_kernel *const encode_kernels[][2] = PAGE_KERNELS(encode_pages);
static decode_kernel *const decode_kernels[][2] = PAGE_KERNELS(decode_pages);

template <typename KERNEL, typename IN, typename OUT>
static cudaError_t start(KERNEL *const (&kernels)[4][2], const kvc_coder *coder, const void *dev_params, IN in,
                         OUT out, size_t n_pages, cudaStream_t stream)
{
    page_shape s;
    cudaError_t status = page_describe(coder, dev_params, n_pages, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    KERNEL *kernel = page_kernel_of(kernels, &coder->codec);
    size_t bytes = page_shared_bytes(s);
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

extern "C" cudaError_t kernel_decode_load(const kvc_coder *coder)
{
    cudaFuncAttributes unused;
    return cudaFuncGetAttributes(&unused, (const void *)page_kernel_of(decode_kernels, &coder->codec));
}
