/* lloyd.cu - Lloyd's iterations of many tables at a time (calib/backend/cpu_lloyd.c has the method for one).
 *
 * Every kernel takes all jobs, one per row of its grid, and none waits for the host: a job that is finished is passed
 * over. Labels are those of the CPU: |c|^2 / 2 - x.c by the same fused multiply-adds, ties to the lowest index. Sums
 * over a centroid's points belong to one block, which reads all labels, four at a time: k times 4 bytes a point from
 * the cache, and no float is added atomically. Cost of an iteration: n k dims multiply-adds. */
#include "op.h"

#include <float.h>

#include "launch.cuh"
#include "reduce.cuh"

static const unsigned GROUP = 16, MOST_DIMS = 16, POINTS = 4, TILE = 256;
static const double LEAST_GAIN = 1e-4; /* relative, of an iteration, to go on */

__device__ inline size_t packed_at(uint32_t dims, size_t i)
{
    return i / GROUP * dims * GROUP + i % GROUP;
}

/* Points with those that fill the last group, which are zero and weigh nothing. */
__device__ inline size_t places_of(const op_lloyd_job &j)
{
    return (j.n + GROUP - 1) / GROUP * GROUP;
}

/* ---- nearest centroids ---- */

/* POINTS points of each thread. */
template <int D> __device__ static void label_points(const op_lloyd_job &j, float *tile, float *half)
{
    size_t first = (size_t)blockIdx.x * THREADS * POINTS + threadIdx.x;
    float x[POINTS][D], best[POINTS];
    uint32_t index[POINTS];
#pragma unroll
    for (unsigned p = 0; p < POINTS; p++) {
        size_t at = first + p * THREADS;
        best[p] = FLT_MAX, index[p] = 0;
#pragma unroll
        for (int i = 0; i < D; i++) x[p][i] = at < j.n ? j.x[packed_at(D, at) + i * GROUP] : 0.0f;
    }
    for (uint32_t begin = 0; begin < j.k; begin += TILE) {
        uint32_t n = j.k - begin < TILE ? j.k - begin : TILE;
        __syncthreads(); /* the tile before has been read */
        for (uint32_t at = threadIdx.x; at < n * D; at += THREADS)
            tile[at] = j.c[packed_at(D, begin + at / D) + at % D * GROUP];
        for (uint32_t at = threadIdx.x; at < n; at += THREADS) half[at] = j.half[begin + at];
        __syncthreads();
        for (uint32_t c = 0; c < n; c++) {
#pragma unroll
            for (unsigned p = 0; p < POINTS; p++) {
                float value = half[c];
#pragma unroll
                for (int i = 0; i < D; i++) value = fmaf(-x[p][i], tile[c * D + i], value);
                if (value < best[p]) best[p] = value, index[p] = begin + c;
            }
        }
    }
#pragma unroll
    for (unsigned p = 0; p < POINTS; p++)
        if (first + p * THREADS < places_of(j)) j.label[first + p * THREADS] = index[p];
}

__global__ static void label_all(op_lloyd_job *jobs)
{
    __shared__ float tile[TILE * MOST_DIMS], half[TILE];
    const op_lloyd_job &j = jobs[blockIdx.y];
    if (j.done || (size_t)blockIdx.x * THREADS * POINTS >= j.n) return;
    switch (j.dims) {
    case 1: label_points<1>(j, tile, half); break;
    case 2: label_points<2>(j, tile, half); break;
    case 4: label_points<4>(j, tile, half); break;
    case 8: label_points<8>(j, tile, half); break;
    default: label_points<16>(j, tile, half); break;
    }
}

/* ---- sums over their points ---- */

__device__ inline void add_point(const op_lloyd_job &j, size_t at, double (&sum)[MOST_DIMS + 1])
{
    double w = j.w[at];
    const float *x = j.x + packed_at(j.dims, at);
#pragma unroll
    for (uint32_t i = 0; i < MOST_DIMS; i++)
        if (i < j.dims) sum[i] += w * x[i * GROUP];
    sum[MOST_DIMS] += w;
}

__global__ static void add_points(op_lloyd_job *jobs)
{
    __shared__ double slots[32];
    const op_lloyd_job &j = jobs[blockIdx.y];
    uint32_t c = blockIdx.x;
    if (j.done || c >= j.k) return;
    double sum[MOST_DIMS + 1] = {};
    const uint4 *labels = (const uint4 *)j.label;
    for (size_t at = threadIdx.x; at < places_of(j) / 4; at += THREADS) {
        uint4 four = labels[at];
        uint32_t mine = (four.x == c) | (four.y == c) << 1 | (four.z == c) << 2 | (four.w == c) << 3;
        for (uint32_t i = 0; mine; i++, mine >>= 1)
            if (mine & 1) add_point(j, 4 * at + i, sum);
    }
    double *out = j.sums + c * (j.dims + 1);
#pragma unroll
    for (uint32_t i = 0; i < MOST_DIMS; i++) {
        if (i >= j.dims) continue;
        double total = block_sum(sum[i], slots);
        if (threadIdx.x == 0) out[i] = total;
    }
    double weight = block_sum(sum[MOST_DIMS], slots);
    if (threadIdx.x == 0) out[j.dims] = weight;
}

/* ---- whether it was worth it ---- */

/* The distortion of the present centroids, from the sums. */
__device__ static double distortion_of(const op_lloyd_job &j, double *slots)
{
    double gain = 0;
    for (uint32_t c = threadIdx.x; c < j.k; c += THREADS) {
        const double *sum = j.sums + c * (j.dims + 1);
        for (uint32_t i = 0; i < j.dims; i++) {
            double value = j.c[packed_at(j.dims, c) + i * GROUP];
            gain += value * (2.0 * sum[i] - sum[j.dims] * value);
        }
    }
    gain = j.energy - block_sum(gain, slots);
    return gain > 0 ? gain : 0;
}

/* After `round` iterations; 0: at the start. */
__global__ static void judge(op_lloyd_job *jobs, uint32_t round)
{
    __shared__ double slots[32];
    op_lloyd_job &j = jobs[blockIdx.x];
    if (j.done) return;
    double next = distortion_of(j, slots), before = j.distortion;
    bool worse = round > 0 && !(next < before), enough = round > 0 && before - next < LEAST_GAIN * before;
    __syncthreads(); /* all have read what changes now */
    for (uint32_t at = threadIdx.x; worse && at < j.slots * j.dims; at += THREADS) j.c[at] = j.kept[at];
    if (threadIdx.x > 0) return;
    if (!worse) j.distortion = next;
    j.done = worse || enough || !(next > 0) || round >= j.iterations;
}

/* ---- new centroids ---- */

__device__ inline float point_cost(const op_lloyd_job &j, size_t at, const float *c)
{
    const float *x = j.x + packed_at(j.dims, at);
    float square = 0;
    for (uint32_t i = 0; i < j.dims; i++) {
        float off = x[i * GROUP] - c[i * GROUP];
        square += off * off;
    }
    return j.w[at] * square;
}

struct costliest {
    float cost;
    uint32_t at;
};

__device__ inline costliest costlier(costliest a, costliest b)
{
    return b.cost > a.cost || (b.cost == a.cost && b.at < a.at) ? b : a;
}

/* Every thread gets the block's. */
__device__ static costliest block_costliest(costliest own, costliest *slots)
{
    for (int offset = 16; offset > 0; offset /= 2) {
        costliest other = {__shfl_xor_sync(ALL_LANES, own.cost, offset), __shfl_xor_sync(ALL_LANES, own.at, offset)};
        own = costlier(own, other);
    }
    __syncthreads();
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = own;
    __syncthreads();
    own = slots[0];
    for (uint32_t i = 1; i < THREADS / 32; i++) own = costlier(own, slots[i]);
    return own;
}

/* Centroids without points go where they save most, one after another: to the point that costs most, whose neighbours
 * then cost less. */
__device__ static void repair(op_lloyd_job &j, costliest *slots)
{
    bool costs_known = false;
    for (uint32_t c = 0; c < j.k; c++) {
        if (j.sums[c * (j.dims + 1) + j.dims] > 0) continue;
        costliest most = {-1.0f, UINT32_MAX};
        for (size_t at = threadIdx.x; at < j.n; at += THREADS) {
            if (!costs_known) j.cost[at] = point_cost(j, at, j.c + packed_at(j.dims, j.label[at]));
            most = costlier(most, costliest{j.cost[at], (uint32_t)at});
        }
        costs_known = true;
        most = block_costliest(most, slots);
        if (!(most.cost > 0)) continue;
        float *to = j.c + packed_at(j.dims, c);
        if (threadIdx.x < j.dims) to[threadIdx.x * GROUP] = j.x[packed_at(j.dims, most.at) + threadIdx.x * GROUP];
        __syncthreads();
        for (size_t at = threadIdx.x; at < j.n; at += THREADS) j.cost[at] = fminf(j.cost[at], point_cost(j, at, to));
    }
}

__global__ static void update(op_lloyd_job *jobs)
{
    __shared__ costliest slots[32];
    op_lloyd_job &j = jobs[blockIdx.x];
    if (j.done) return;
    for (uint32_t at = threadIdx.x; at < j.slots * j.dims; at += THREADS) j.kept[at] = j.c[at];
    __syncthreads();
    for (uint32_t at = threadIdx.x; at < j.k * j.dims; at += THREADS) {
        uint32_t c = at / j.dims, i = at % j.dims;
        const double *sum = j.sums + c * (j.dims + 1);
        if (sum[j.dims] > 0) j.c[packed_at(j.dims, c) + i * GROUP] = (float)(sum[i] / sum[j.dims]);
    }
    __syncthreads();
    repair(j, slots);
    __syncthreads();
    for (uint32_t c = threadIdx.x; c < j.k; c += THREADS) {
        float square = 0;
        for (uint32_t i = 0; i < j.dims; i++) {
            float value = j.c[packed_at(j.dims, c) + i * GROUP];
            square += value * value;
        }
        j.half[c] = 0.5f * square;
    }
}

static cudaError_t assign(uint32_t n, op_lloyd_job *jobs, size_t most_points, uint32_t most_k, uint32_t round,
                          cudaStream_t stream)
{
    KVC_LAUNCH(label_all, dim3((unsigned)blocks_of(most_points, THREADS * POINTS), n), THREADS, 0, stream, jobs);
    KVC_LAUNCH(add_points, dim3(most_k, n), THREADS, 0, stream, jobs);
    KVC_LAUNCH(judge, n, THREADS, 0, stream, jobs, round);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t op_lloyd(uint32_t n, op_lloyd_job *jobs, size_t most_points, uint32_t most_k,
                                uint32_t most_iterations, cudaStream_t stream)
{
    if (n == 0 || most_points == 0) return cudaSuccess;
    cudaError_t status = assign(n, jobs, most_points, most_k, 0, stream);
    for (uint32_t round = 1; round <= most_iterations && status == cudaSuccess; round++) {
        KVC_LAUNCH(update, n, THREADS, 0, stream, jobs);
        status = assign(n, jobs, most_points, most_k, round, stream);
    }
    return status;
}
