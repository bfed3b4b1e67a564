/* distances.cu - r_ij = (V_j - O_i)' M (V_j - O_i) of a strip and the sensitivity of its queries (op.h,
 * calib/backend/cpu_sensitivity.c).
 *
 * A block is one query row of one head. r is a cancellation; for A > NEAR, where O is drawn to V_j, it is taken from
 * the difference itself. Probabilities sum to 1, so that these are at most 1 / NEAR keys of a row. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"
#include "rows.cuh"

static const float NEAR = 0.25f;
static const uint32_t MOST_NEAR = 8;
static const float NOTHING = 1e-18f; /* an A below this counts as 0, as on the CPU */

/* All lanes of a warp: (v - o)'(mv - mo) */
__device__ static float distance(uint32_t d, const float *v, const float *o, const float *mv, const float *mo)
{
    float sum = 0;
    for (uint32_t i = threadIdx.x % 32; i < d; i += 32) sum += (v[i] - o[i]) * (mv[i] - mo[i]);
    return warp_sum(sum);
}

__global__ static void distances(op_weights a)
{
    __shared__ double slots[32];
    __shared__ uint32_t near_key[MOST_NEAR], n_near;
    size_t head = blockIdx.y, row = head * a.rows.n + blockIdx.x, query = (size_t)a.rows.first + blockIdx.x;
    size_t T = a.n_tokens, d = a.head_dim, sinks = a.policy.sinks, kv = head / (a.n_heads / a.n_kv_heads);
    size_t seen = tokens_compressed(a.policy, query + 1);
    float *A = a.attention + row * a.ld + sinks, *r = a.r + row * a.compressed;
    const float *power_v = a.power_v + head * T + sinks;
    float power_o = a.power_o[row];

    if (threadIdx.x == 0) n_near = 0;
    __syncthreads();
    for (size_t j = threadIdx.x; j < a.compressed; j += THREADS) {
        float p = A[j], value = power_v[j] + power_o - 2.0f * r[j];
        if (j >= seen || p < NOTHING) A[j] = p = 0.0f;
        r[j] = j < seen && value > 0 ? value : 0.0f;
        if (p > NEAR) {
            uint32_t slot = atomicAdd(&n_near, 1u); /* the order of the list does not matter */
            if (slot < MOST_NEAR) near_key[slot] = (uint32_t)j;
        }
    }
    __syncthreads();
    for (uint32_t i = threadIdx.x / 32; i < n_near && i < MOST_NEAR; i += THREADS / 32) {
        size_t j = near_key[i], key = sinks + j;
        float value = distance(a.head_dim, a.v + (key * a.n_kv_heads + kv) * d, a.o + row * d,
                               a.metric_v + (head * T + key) * d, a.mo + row * d);
        if (threadIdx.x % 32 == 0) r[j] = value > 0 ? value : 0.0f;
    }
    __syncthreads(); /* r of other threads is visible */
    double sum = 0;
    for (size_t j = threadIdx.x; j < seen; j += THREADS) sum += A[j] * A[j] * r[j];
    sum = block_sum(sum, slots);
    if (threadIdx.x == 0) a.query_weight[head * T + query] = sum;
}

extern "C" cudaError_t op_distances(const op_weights *args, cudaStream_t stream)
{
    if (args->rows.n == 0 || args->compressed == 0) return cudaSuccess;
    KVC_LAUNCH(distances, dim3(args->rows.n, args->n_heads), THREADS, 0, stream, *args);
    return KVC_LAUNCHED();
}
