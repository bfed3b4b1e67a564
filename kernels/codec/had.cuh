/* had.cuh - the Walsh-Hadamard transform of the rows of a tile (runtime/codec/had.c): the same butterflies in the
 * same order, so the same bits. A warp for a row, which meets after each stage; log2(n) + 1 passes over shared
 * memory. */
#ifndef KERNELS_CODEC_HAD_CUH
#define KERNELS_CODEC_HAD_CUH
#include "codec/page_shape.cuh"

__device__ inline void had_map(const page_shape &s, const page_tile &t)
{
    uint32_t lane = threadIdx.x % WARP;
    for (uint32_t r = threadIdx.x / WARP; r < t.n_rows; r += blockDim.x / WARP) {
        float *y = t.y + r * s.d;
        for (uint32_t h = 1; h < s.had_block; h *= 2) {
            for (uint32_t k = lane; k < s.d / 2; k += WARP) {
                uint32_t at = (k & ~(h - 1)) * 2 + (k & (h - 1)); /* k / h * 2 h + k % h */
                float a = y[at], b = y[at + h];
                y[at] = a + b;
                y[at + h] = a - b;
            }
            __syncwarp();
        }
        for (uint32_t i = lane; i < s.d; i += WARP) y[i] *= s.had_factor;
    }
}
#endif
