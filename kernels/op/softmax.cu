/* softmax.cu - a block per row of a strip, three passes over it: the maximum, the exponentials, and what is wanted of
 * the probabilities. A thread keeps to its own columns, so `out` may be `scores`. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"
#include "rows.cuh"

__global__ static void softmax_rows(op_strip s)
{
    __shared__ float slots[32];
    __shared__ double sums[32];
    size_t row = (size_t)blockIdx.y * s.rows.n + blockIdx.x, length = (size_t)row_position(s.rows, blockIdx.x) + 1;
    const float *scores = s.scores + row * s.ld, *exact = s.exact ? s.exact + row * s.ld : NULL;
    float *out = s.out + row * s.ld, *inside = s.inside ? s.inside + row * s.compressed : NULL;
    size_t begin = s.policy.sinks, end = begin; /* the row's compressed keys */
    if (exact || inside) end += tokens_compressed(s.policy, length);

    float max = -INFINITY, sum = 0;
    for (size_t j = threadIdx.x; j < length; j += THREADS) {
        bool replaced = exact && j >= begin && j < end;
        float score = replaced ? out[j] : scores[j];
        out[j] = score;
        max = fmaxf(max, score);
    }
    max = block_max(max, slots);
    for (size_t j = threadIdx.x; j < length; j += THREADS) {
        float e = expf(out[j] - max);
        out[j] = e;
        sum += e;
    }
    float factor = 1.0f / block_sum(sum, slots);
    double change = 0;
    for (size_t j = threadIdx.x; j < s.visible; j += THREADS) {
        float p = j < length ? out[j] * factor : 0.0f;
        if (inside && j >= begin && j - begin < s.compressed) inside[j - begin] = j < end ? p : 0.0f;
        if (exact) {
            p -= exact[j];
            change += fabsf(p);
        }
        out[j] = p;
    }
    if (!exact) return;
    change = block_sum(change, sums);
    if (threadIdx.x == 0) s.change[row] = change;
}

extern "C" cudaError_t op_softmax(const op_strip *strip, cudaStream_t stream)
{
    if (strip->rows.n == 0 || strip->n_heads == 0) return cudaSuccess;
    KVC_LAUNCH(softmax_rows, dim3(strip->rows.n, strip->n_heads), THREADS, 0, stream, *strip);
    return KVC_LAUNCHED();
}
