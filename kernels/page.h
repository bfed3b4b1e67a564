/* page.h - pages of a cache encoded and decoded on the GPU, bit for bit as libkvc does it (kvc/codec.h).
 * Raw device pointers and a stream; nothing is allocated. Calls are asynchronous. */
#ifndef KERNELS_PAGE_H
#define KERNELS_PAGE_H
#include <cuda_runtime_api.h>
#include "kvc/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/*  rows   [n_pages * P][n_kv_heads][d]  in, finite
 *  blocks [n_pages][n_kv_heads][block_bytes]  out, every byte written
 * cudaErrorNotSupported for a codec that has no kernel (all that are fitted, and "@joint"); cudaErrorInvalidValue
 * where a page does not fit shared memory. */
cudaError_t kernel_encode_pages(const kvc_coder *coder, const float *rows, size_t n_pages, void *blocks,
                                cudaStream_t stream);
/* The other way. */
cudaError_t kernel_decode_pages(const kvc_coder *coder, const void *blocks, size_t n_pages, float *rows,
                                cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
