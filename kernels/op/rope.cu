/* rope.cu - a thread per pair of channels. */
#include "op.h"

#include "launch.cuh"

__global__ static void rotate(size_t n, size_t n_heads, size_t half, const float *cosine, const float *sine, float *x)
{
    for (size_t at = loop_first(); at < n; at += loop_step()) {
        size_t i = at % half, head = at / half, row = head / n_heads; /* head: of all rows */
        float *low = x + head * 2 * half + i, *high = low + half;
        float c = cosine[row * half + i], s = sine[row * half + i], a = *low, b = *high;
        *low = a * c - b * s;
        *high = b * c + a * s;
    }
}

extern "C" cudaError_t op_rope(size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                               float *x, cudaStream_t stream)
{
    size_t n = rows * n_heads * (head_dim / 2);
    if (n == 0) return cudaSuccess;
    KVC_LAUNCH(rotate, loop_grid(n), THREADS, 0, stream, n, n_heads, head_dim / 2, cosine, sine, x);
    return KVC_LAUNCHED();
}
