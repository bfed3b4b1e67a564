/* row_power.cu - a block per row. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"

__global__ static void row_power(size_t width, const float *x, double *out)
{
    __shared__ double slots[32];
    size_t at = blockIdx.x * width;
    double sum = 0;
    for (size_t i = threadIdx.x; i < width; i += THREADS) sum += (double)x[at + i] * x[at + i];
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

extern "C" cudaError_t op_row_power(size_t rows, size_t width, const float *x, double *out, cudaStream_t stream)
{
    if (rows == 0) return cudaSuccess;
    KVC_LAUNCH(row_power, (unsigned)rows, THREADS, 0, stream, width, x, out);
    return KVC_LAUNCHED();
}
