/* perm.cuh - transform perm: the channels of a head in another order (runtime/codec/perm.c). Some rows at a time go
 * to scratch and come back from there. */
#ifndef KERNELS_CODEC_PERM_CUH
#define KERNELS_CODEC_PERM_CUH
#include "codec/page_shape.cuh"

/* y[to(i)] = y[from(i)] in every row. */
template <typename TO, typename FROM>
__device__ inline void perm_rows(const page_shape &s, const page_tile &t, TO to, FROM from)
{
    uint32_t most = t.room / s.d;
    for (uint32_t first = 0; first < t.n_rows; first += most) {
        uint32_t n = least(most, t.n_rows - first);
        float *y = t.y + first * s.d;
        each_value(n, s.d, [&](uint32_t r, uint32_t i) { t.scratch[r * s.d + i] = y[r * s.d + i]; });
        __syncthreads();
        each_value(n, s.d, [&](uint32_t r, uint32_t i) { y[r * s.d + to(i)] = t.scratch[r * s.d + from(i)]; });
        __syncthreads();
    }
}

__device__ inline void perm_forward(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    const uint16_t *order = (const uint16_t *)part + (size_t)head * s.d;
    perm_rows(
        s, t, [](uint32_t i) { return i; }, [&](uint32_t i) { return (uint32_t)order[i]; });
}

__device__ inline void perm_inverse(const page_shape &s, const page_tile &t, const uint8_t *part, uint32_t head)
{
    const uint16_t *order = (const uint16_t *)part + (size_t)head * s.d;
    perm_rows(
        s, t, [&](uint32_t i) { return (uint32_t)order[i]; }, [](uint32_t i) { return i; });
}
#endif
