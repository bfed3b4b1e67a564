/* rope.cu - a warp has a row, and a lane four pairs of channels at a time, where they lie so. Bound by memory. */
#include "op.h"

#include "launch.cuh"

template <uint32_t N> struct alignas(4 * N) channels {
    float of[N];
};

/* half: N or a multiple of it. */
template <uint32_t N>
__global__ static void rotate(size_t rows, uint32_t n_heads, uint32_t half, const float *cosine, const float *sine,
                              float *x)
{
    typedef channels<N> some;
    uint32_t lane = threadIdx.x % 32, of_head = half / N, n = n_heads * of_head;
    for (size_t row = loop_first() / 32; row < rows; row += loop_step() / 32)
        for (uint32_t at = lane; at < n; at += 32) {
            uint32_t head = at / of_head, i = (at - head * of_head) * N;
            float *low = x + (row * n_heads + head) * 2 * half + i, *high = low + half;
            some c = *(const some *)(cosine + row * half + i), s = *(const some *)(sine + row * half + i);
            some a = *(some *)low, b = *(some *)high, first, second;
#pragma unroll
            for (uint32_t k = 0; k < N; k++) {
                first.of[k] = a.of[k] * c.of[k] - b.of[k] * s.of[k];
                second.of[k] = b.of[k] * c.of[k] + a.of[k] * s.of[k];
            }
            *(some *)low = first, *(some *)high = second;
        }
}

extern "C" cudaError_t op_rope(size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                               float *x, cudaStream_t stream)
{
    uint32_t half = (uint32_t)(head_dim / 2);
    uintptr_t places = (uintptr_t)cosine | (uintptr_t)sine | (uintptr_t)x;
    if (rows == 0 || n_heads == 0 || half == 0) return cudaSuccess;
    if (half % 4 == 0 && places % 16 == 0)
        KVC_LAUNCH(rotate<4>, loop_grid(rows * 32), THREADS, 0, stream, rows, (uint32_t)n_heads, half, cosine, sine,
                   x);
    else
        KVC_LAUNCH(rotate<1>, loop_grid(rows * 32), THREADS, 0, stream, rows, (uint32_t)n_heads, half, cosine, sine,
                   x);
    return KVC_LAUNCHED();
}
