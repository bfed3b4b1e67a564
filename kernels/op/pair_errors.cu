/* pair_errors.cu - what value candidates change: errors of the values, and of outputs beside a key candidate's. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"

__global__ static void value_errors(size_t total, size_t n, size_t n_kv_heads, size_t d, const float *page,
                                    const float *exact, size_t index, size_t n_values, float *to)
{
    for (size_t at = loop_first(); at < total; at += loop_step()) {
        size_t i = at % d, head = at / d % n_kv_heads, j = at / d / n_kv_heads;
        to[((head * n + j) * n_values + index) * d + i] = page[at] - exact[at];
    }
}

extern "C" cudaError_t op_value_errors(size_t n, uint32_t n_kv_heads, uint32_t head_dim, const float *page,
                                       const float *exact, uint32_t index, uint32_t n_values, float *to,
                                       cudaStream_t stream)
{
    size_t total = n * n_kv_heads * head_dim;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(value_errors, loop_grid(total), THREADS, 0, stream, total, n, n_kv_heads, head_dim, page, exact, index,
               n_values, to);
    return KVC_LAUNCHED();
}

/* A block per row, a warp per candidate. */
__global__ static void pair_errors(size_t n_values, size_t d, const float *out, const float *key, const float *value,
                                   double *errors)
{
    size_t row = blockIdx.x;
    uint32_t lane = threadIdx.x % 32;
    for (size_t v = threadIdx.x / 32; v < n_values; v += THREADS / 32) {
        const float *own = value + (row * n_values + v) * d;
        double sum = 0;
        for (size_t i = lane; i < d; i += 32)
            sum += fabsf(key[row * d + i] + own[i]) / (fabsf(out[row * d + i]) + 1e-30f);
        sum = warp_sum(sum);
        if (lane == 0) errors[v * gridDim.x + row] = sum;
    }
}

extern "C" cudaError_t op_pair_errors(size_t rows, uint32_t n_values, uint32_t head_dim, const float *out,
                                      const float *key, const float *value, double *errors, cudaStream_t stream)
{
    if (rows == 0 || n_values == 0) return cudaSuccess;
    KVC_LAUNCH(pair_errors, (unsigned)rows, THREADS, 0, stream, n_values, head_dim, out, key, value, errors);
    return KVC_LAUNCHED();
}
