/* klt.cuh - transform klt: an affine map for each head, T in fp32 forward, S in fp16 back (runtime/codec/klt.c). */
#ifndef KERNELS_CODEC_KLT_CUH
#define KERNELS_CODEC_KLT_CUH
#include "codec/matrix.cuh"

/* Of one head: mean [d], T [d][d], then S [d][d]. */
__device__ inline const float *klt_mean(const page_shape &s, const uint8_t *part, uint32_t head)
{
    size_t d = s.d;
    return (const float *)(part + head * (4 * d + 6 * d * d));
}

__device__ inline void klt_forward(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    const float *mean = klt_mean(s, part, head);
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) { t.y[r * s.d + i] -= mean[i]; });
    matrix_forward(s, t, mean + s.d);
}

__device__ inline void klt_inverse(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head,
                                   float *out, size_t stride)
{
    const float *mean = klt_mean(s, part, head);
    const __half *back = (const __half *)(mean + s.d + (size_t)s.d * s.d);
    matrix_inverse(s, t, back, out, stride, [&](uint32_t j, float sum) { return mean[j] + sum; });
}
#endif
