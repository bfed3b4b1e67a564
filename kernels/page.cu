/* page.cu - one thread block encodes or decodes one page of one head in shared memory (page.h).
 * Bound by memory: 4 bytes a value on one side, its code on the other. To add a codec: a .cuh beside the others, a
 * case below. */
#include "page.h"

#include <math.h>

#include "codec/fp16.cuh"
#include "codec/had.cuh"
#include "codec/int.cuh"

enum symbol { SYMBOL_FP16 = 1, SYMBOL_INT = 2 }; /* wire ids, kvc/codec_list.h */
enum transform { TRANSFORM_HAD = 1 };

static const int THREADS = 256;

template <int SYMBOL> __global__ void encode_pages(page_shape s, const float *rows, uint8_t *blocks)
{
    extern __shared__ float y[];
    size_t page = blockIdx.x, head = blockIdx.y;
    for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x)
        y[i] = clamp_fp16(rows[((page * s.page + i / s.d) * s.n_heads + head) * s.d + i % s.d]);
    __syncthreads();
    if (s.had_block) {
        had_page(s, y);
        for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x) y[i] = clamp_fp16(y[i]);
        __syncthreads();
    }
    uint8_t *block = blocks + (page * s.n_heads + head) * s.block_bytes;
    uint32_t used = s.code_bytes + (SYMBOL == SYMBOL_INT ? s.page * s.d / s.group * 4 : 0);
    for (uint32_t i = used + threadIdx.x; i < s.block_bytes; i += blockDim.x) block[i] = 0;
    if (SYMBOL == SYMBOL_INT)
        int_encode_page(s, y, block);
    else
        fp16_encode_page(s, y, block);
}

template <int SYMBOL> __global__ void decode_pages(page_shape s, const uint8_t *blocks, float *rows)
{
    extern __shared__ float y[];
    size_t page = blockIdx.x, head = blockIdx.y;
    const uint8_t *block = blocks + (page * s.n_heads + head) * s.block_bytes;
    if (SYMBOL == SYMBOL_INT)
        int_decode_page(s, block, y);
    else
        fp16_decode_page(s, block, y);
    __syncthreads();
    if (s.had_block) had_page(s, y);
    for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x)
        rows[((page * s.page + i / s.d) * s.n_heads + head) * s.d + i % s.d] = y[i];
}

static cudaError_t shape_of(const kvc_coder *coder, page_shape *s)
{
    const kvc_codec *c = &coder->codec;
    int known = (c->symbol == SYMBOL_FP16 || c->symbol == SYMBOL_INT) && c->flags == 0 && c->n_transforms <= 1 &&
                (c->n_transforms == 0 || c->transform[0] == TRANSFORM_HAD);
    if (!known) return cudaErrorNotSupported;
    uint32_t block = c->n_transforms ? coder->head_dim & -coder->head_dim : 0;
    *s = page_shape{coder->n_kv_heads,
                    coder->head_dim,
                    coder->page,
                    c->bits,
                    c->group,
                    coder->block_bytes,
                    coder->code_bytes,
                    c->scale == KVC_SCALE_TOK,
                    block,
                    block ? (float)(1.0 / sqrt((double)block)) : 0};
    return cudaSuccess;
}

/* A page in shared memory; more than 48 KiB has to be asked for. */
template <typename kernel> static cudaError_t prepare(kernel k, const page_shape &s, size_t *bytes)
{
    *bytes = (size_t)s.page * s.d * sizeof(float);
    return *bytes > 48 * 1024 ? cudaFuncSetAttribute(k, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)*bytes)
                              : cudaSuccess;
}

extern "C" cudaError_t kernel_encode_pages(const kvc_coder *coder, const float *rows, size_t n_pages, void *blocks,
                                           cudaStream_t stream)
{
    page_shape s;
    size_t bytes;
    cudaError_t status = shape_of(coder, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    auto kernel = coder->codec.symbol == SYMBOL_INT ? encode_pages<SYMBOL_INT> : encode_pages<SYMBOL_FP16>;
    if ((status = prepare(kernel, s, &bytes)) != cudaSuccess) return status;
    kernel<<<dim3((unsigned)n_pages, s.n_heads), THREADS, bytes, stream>>>(s, rows, (uint8_t *)blocks);
    return cudaGetLastError();
}

extern "C" cudaError_t kernel_decode_pages(const kvc_coder *coder, const void *blocks, size_t n_pages, float *rows,
                                           cudaStream_t stream)
{
    page_shape s;
    size_t bytes;
    cudaError_t status = shape_of(coder, &s);
    if (status != cudaSuccess || n_pages == 0) return status;
    auto kernel = coder->codec.symbol == SYMBOL_INT ? decode_pages<SYMBOL_INT> : decode_pages<SYMBOL_FP16>;
    if ((status = prepare(kernel, s, &bytes)) != cudaSuccess) return status;
    kernel<<<dim3((unsigned)n_pages, s.n_heads), THREADS, bytes, stream>>>(s, (const uint8_t *)blocks, rows);
    return cudaGetLastError();
}
