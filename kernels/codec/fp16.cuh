/* fp16.cuh - symbol fp16: rows as they are (runtime/codec/fp16.c). */
#ifndef KERNELS_CODEC_FP16_CUH
#define KERNELS_CODEC_FP16_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

__device__ inline void fp16_encode(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    __half *out = (__half *)block + first * s.d;
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { out[r * s.d + i] = __float2half_rn(t.y[r * s.d + i]); });
}

__device__ inline void fp16_decode(const page_shape &s, const page_tile &t, uint32_t first, const uint8_t *block)
{
    const __half *in = (const __half *)block + first * s.d;
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] = __half2float(in[r * s.d + i]); });
}
#endif
