/* compare_logits.cu - a block per row: the largest logit so far, then sums relative to it
 * (calib/backend/cpu_logits.c). Terms are fp32 exponentials, sums double. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"

struct peak {
    float value;
    uint32_t at;
};

/* Ties stay at the lower index. */
__device__ inline peak higher(peak a, peak b)
{
    return b.value > a.value || (b.value == a.value && b.at < a.at) ? b : a;
}

__device__ static peak block_peak(const float *x, size_t n, peak *slots)
{
    peak best = {-INFINITY, UINT32_MAX};
    for (size_t i = threadIdx.x; i < n; i += THREADS)
        if (x[i] > best.value) best = peak{x[i], (uint32_t)i};
    for (int offset = 16; offset > 0; offset /= 2)
        best = higher(
            best, peak{__shfl_xor_sync(ALL_LANES, best.value, offset), __shfl_xor_sync(ALL_LANES, best.at, offset)});
    __syncthreads();
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = best;
    __syncthreads();
    best = slots[0];
    for (uint32_t i = 1; i < THREADS / 32; i++) best = higher(best, slots[i]);
    return best;
}

__device__ static void raise_max(peak block, uint32_t first, float *max, uint32_t *top, double *sum, double *cross)
{
    if (!(block.value > *max)) return;
    double keep = exp((double)*max - block.value);
    *sum *= keep;
    *cross *= keep;
    *max = block.value;
    *top = first + block.at;
}

/* *sum += sum of exp(x - max), *cross += sum of exp(x - max) (x - y) */
__device__ static void add_exponentials(const float *x, const float *y, size_t n, float max, double *sum,
                                        double *cross, double *slots)
{
    double s = 0, c = 0;
    for (size_t i = threadIdx.x; i < n; i += THREADS) {
        double e = expf(x[i] - max);
        s += e;
        c += e * ((double)x[i] - y[i]);
    }
    *sum += block_sum(s, slots);
    *cross += block_sum(c, slots);
}

__global__ static void compare_rows(size_t ref_rows, size_t first, size_t n, const float *ref, const float *cfg,
                                    const uint32_t *targets, op_logit_sums *sums)
{
    __shared__ peak peaks[32];
    __shared__ double slots[32];
    size_t row = blockIdx.x, ref_row = row % ref_rows, target = targets[ref_row];
    const float *x = ref + ref_row * n, *y = cfg + row * n;
    op_logit_sums s = sums[row]; /* of every thread; written back behind barriers */
    double unused = 0;
    raise_max(block_peak(x, n, peaks), (uint32_t)first, &s.max_ref, &s.top_ref, &s.sum_ref, &s.cross);
    add_exponentials(x, y, n, s.max_ref, &s.sum_ref, &s.cross, slots);
    if (target >= first && target < first + n) {
        s.target_ref = x[target - first];
        s.target_cfg = y[target - first];
    }
    if (ref == cfg) { /* one model: its sums serve as both */
        s.max_cfg = s.max_ref;
        s.top_cfg = s.top_ref;
        s.sum_cfg = s.sum_ref;
    } else {
        raise_max(block_peak(y, n, peaks), (uint32_t)first, &s.max_cfg, &s.top_cfg, &s.sum_cfg, &unused);
        add_exponentials(y, y, n, s.max_cfg, &s.sum_cfg, &unused, slots);
    }
    if (threadIdx.x == 0) sums[row] = s;
}

extern "C" cudaError_t op_compare_logits(size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                                         const float *cfg, const uint32_t *targets, op_logit_sums *sums,
                                         cudaStream_t stream)
{
    if (rows == 0 || n == 0) return cudaSuccess;
    KVC_LAUNCH(compare_rows, (unsigned)rows, THREADS, 0, stream, ref_rows, first, n, ref, cfg, targets, sums);
    return KVC_LAUNCHED();
}
