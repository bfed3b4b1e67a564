/* add_bias.cu - what a product with a bias is added to. */
#include "op.h"

#include "launch.cuh"

__global__ static void add_bias(size_t total, size_t n, const float *bias, int accumulate, float *y)
{
    for (size_t i = loop_first(); i < total; i += loop_step()) y[i] = (accumulate ? y[i] : 0.0f) + bias[i % n];
}

extern "C" cudaError_t op_add_bias(size_t rows, size_t n, const float *bias, int accumulate, float *y,
                                   cudaStream_t stream)
{
    size_t total = rows * n;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(add_bias, loop_grid(total), THREADS, 0, stream, total, n, bias, accumulate, y);
    return KVC_LAUNCHED();
}
