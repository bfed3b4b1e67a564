/* relative_error.cu - OP_PARTS parts of fixed ends, a block each. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"

__global__ static void relative_error(size_t n, const float *x, const float *y, double *parts)
{
    __shared__ double slots[32];
    size_t part = blockIdx.x, end = n * (part + 1) / OP_PARTS;
    double sum = 0, count = 0;
    for (size_t i = n * part / OP_PARTS + threadIdx.x; i < end; i += THREADS) {
        float size = fabsf(x[i]);
        if (!(size > 0)) continue;
        sum += fabsf(x[i] - y[i]) / size;
        count += 1;
    }
    sum = block_sum(sum, slots);
    count = block_sum(count, slots);
    if (threadIdx.x == 0) {
        parts[2 * part] = sum;
        parts[2 * part + 1] = count;
    }
}

extern "C" cudaError_t op_relative_error(size_t n, const float *x, const float *y, double *parts, cudaStream_t stream)
{
    KVC_LAUNCH(relative_error, OP_PARTS, THREADS, 0, stream, n, x, y, parts);
    return KVC_LAUNCHED();
}
