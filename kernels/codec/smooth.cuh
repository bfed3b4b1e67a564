/* smooth.cuh - transform smooth: a factor for each channel (runtime/codec/smooth.c). */
#ifndef KERNELS_CODEC_SMOOTH_CUH
#define KERNELS_CODEC_SMOOTH_CUH
#include "codec/page_shape.cuh"

__device__ inline void smooth_forward(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    const float *factor = (const float *)part + (size_t)head * s.d;
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] /= factor[i]; });
}

__device__ inline void smooth_inverse(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    const float *factor = (const float *)part + (size_t)head * s.d;
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] *= factor[i]; });
}
#endif
