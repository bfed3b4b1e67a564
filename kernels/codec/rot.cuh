/* rot.cuh - transform rot: a rotation for each head, fp16 (runtime/codec/rot.c). */
#ifndef KERNELS_CODEC_ROT_CUH
#define KERNELS_CODEC_ROT_CUH
#include "codec/matrix.cuh"

__device__ inline void rot_forward(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    matrix_forward(s, t, (const __half *)part + (size_t)head * s.d * s.d);
}

__device__ inline void rot_inverse(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head,
                                   float *out, size_t stride)
{
    matrix_inverse(s, t, (const __half *)part + (size_t)head * s.d * s.d, out, stride,
                   [](uint32_t, float sum) { return sum; });
}
#endif
