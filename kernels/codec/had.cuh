/* had.cuh - the Walsh-Hadamard transform of a page in shared memory (runtime/codec/had.c): the same butterflies in
 * the same order, so the same bits. Called by all threads of the block. */
#ifndef KERNELS_CODEC_HAD_CUH
#define KERNELS_CODEC_HAD_CUH
#include "codec/page_shape.cuh"

__device__ inline void had_page(const page_shape &s, float *y)
{
    uint32_t pairs = s.page * s.d / 2;
    for (uint32_t h = 1; h < s.had_block; h *= 2) {
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < pairs; i += blockDim.x) {
            uint32_t at = i / h * 2 * h + i % h; /* d is a multiple of had_block: pairs never straddle rows */
            float a = y[at], b = y[at + h];
            y[at] = a + b;
            y[at + h] = a - b;
        }
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < s.page * s.d; i += blockDim.x) y[i] *= s.had_factor;
    __syncthreads();
}
#endif
