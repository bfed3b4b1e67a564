/* page.h - pages of a cache encoded and decoded on the GPU, bit for bit as libkvc does it (kvc/codec.h), for every
 * codec that it has. Raw device pointers and a stream; nothing is allocated. Calls are asynchronous.
 *
 * dev_params are the coder's constants in device memory: all codec.param_bytes of them, as they lie in a cfg.bin,
 * KVC_PARAM_ALIGNMENT-byte aligned; NULL for a codec that has none. The coder's own `params` are not looked at. */
#ifndef KERNELS_PAGE_H
#define KERNELS_PAGE_H
#include <cuda_runtime_api.h>
#include "kvc/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/*  rows   [n_pages * P][n_kv_heads][d]  in, finite
 *  blocks [n_pages][page_bytes]         out, every byte written; those of a page begin at kvc_coder_block()
 * "@joint" needs no other rows: n_kv_heads is 1 then, and d the channels of all heads.
 * cudaErrorNotSupported for a codec without a kernel (none that kvc_coder_init() takes today), cudaErrorInvalidValue
 * where constants are lacking or not aligned, or for 2^31 pages and more. */
cudaError_t kernel_encode_pages(const kvc_coder *coder, const void *dev_params, const float *rows, size_t n_pages,
                                void *blocks, cudaStream_t stream);
/* The other way: rows in the domain that encode took. */
cudaError_t kernel_decode_pages(const kvc_coder *coder, const void *dev_params, const void *blocks, size_t n_pages,
                                float *rows, cudaStream_t stream);

/* What the cache gives back of rows: encoded, then decoded.
 *  rows, out  [n_pages * P][n_kv_heads][d]  in and out; may be the same
 *  work       [work_bytes]  scratch, 16-byte aligned, for one page (coder->page_bytes) or more: so many go at a time
 */
cudaError_t kernel_transcode_pages(const kvc_coder *coder, const void *dev_params, const float *rows, size_t n_pages,
                                   float *out, void *work, size_t work_bytes, cudaStream_t stream);

/* Loads the code of kernel_decode_pages(), so that its first call does not have to. */
cudaError_t kernel_decode_load(const kvc_coder *coder);

#ifdef __cplusplus
}
#endif
#endif
