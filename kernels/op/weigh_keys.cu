/* weigh_keys.cu - sums down the columns of a strip. A block owns COLUMNS keys of one KV head: each of its warps takes
 * every PARTS-th row, and the parts are joined in order. */
#include "op.h"

#include "launch.cuh"

static const unsigned COLUMNS = 32, PARTS = 8;

__global__ static void weigh_keys(op_weights a)
{
    __shared__ double sums[2][PARTS][COLUMNS];
    size_t head = blockIdx.y, key = (size_t)blockIdx.x * COLUMNS + threadIdx.x;
    size_t rows = (size_t)a.n_heads / a.n_kv_heads * a.rows.n; /* of all query heads of the group */
    const float *A = a.attention + head * rows * a.ld + a.policy.sinks + key;
    const float *r = a.r + head * rows * a.compressed + key;
    double value = 0, weight = 0;
    for (size_t m = threadIdx.y; m < rows && key < a.compressed; m += PARTS) {
        float square = A[m * a.ld] * A[m * a.ld];
        value += square;
        weight += square * r[m * a.compressed];
    }
    sums[0][threadIdx.y][threadIdx.x] = value;
    sums[1][threadIdx.y][threadIdx.x] = weight;
    __syncthreads();
    if (threadIdx.y > 1 || key >= a.compressed) return;
    double sum = 0;
    for (uint32_t part = 0; part < PARTS; part++) sum += sums[threadIdx.y][part][threadIdx.x];
    double *to = threadIdx.y == 0 ? a.value_weight : a.key_weight;
    to[head * a.n_tokens + a.policy.sinks + key] += sum;
}

extern "C" cudaError_t op_weigh_keys(const op_weights *args, cudaStream_t stream)
{
    if (args->rows.n == 0 || args->compressed == 0) return cudaSuccess;
    dim3 grid((unsigned)blocks_of(args->compressed, COLUMNS), args->n_kv_heads);
    KVC_LAUNCH(weigh_keys, grid, dim3(COLUMNS, PARTS), 0, stream, *args);
    return KVC_LAUNCHED();
}
