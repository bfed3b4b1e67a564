/* weighted_rows.cu - rows in double with a column of ones, and the same times their weights. */
#include "op.h"

#include "launch.cuh"

__global__ static void weighted_rows(size_t total, size_t rows, size_t n_heads, size_t d, const float *x,
                                     const double *weights, size_t weight_stride, size_t width, double *y, double *z)
{
    for (size_t at = loop_first(); at < total; at += loop_step()) {
        size_t i = at % width, r = at / width % rows, head = at / width / rows;
        double value = i < d ? (double)x[(r * n_heads + head) * d + i] : i == d ? 1.0 : 0.0;
        y[at] = value;
        z[at] = value * weights[head * weight_stride + r];
    }
}

extern "C" cudaError_t op_weighted_rows(size_t rows, size_t n_heads, size_t head_dim, const float *x,
                                        const double *weights, size_t weight_stride, size_t width, double *y,
                                        double *z, cudaStream_t stream)
{
    size_t total = rows * n_heads * width;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(weighted_rows, loop_grid(total), THREADS, 0, stream, total, rows, n_heads, head_dim, x, weights,
               weight_stride, width, y, z);
    return KVC_LAUNCHED();
}
