/* fp16.cuh - symbol fp16: rows as they are (runtime/codec/fp16.c). */
#ifndef KERNELS_CODEC_FP16_CUH
#define KERNELS_CODEC_FP16_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

__device__ inline void fp16_encode_page(const page_shape &s, const float *y, uint8_t *block)
{
    __half *out = (__half *)block;
    for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x) out[i] = __float2half_rn(y[i]);
}

__device__ inline void fp16_decode_page(const page_shape &s, const uint8_t *block, float *y)
{
    const __half *in = (const __half *)block;
    for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x) y[i] = __half2float(in[i]);
}
#endif
