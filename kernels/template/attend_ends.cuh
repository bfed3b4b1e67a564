/* attend_ends.cuh - what comes before and behind attend.cuh: the list of units, queries into the order and range of
 * operands, partial results into outputs. Small next to the cache, so plain: a thread per channel. */
#ifndef KERNELS_TEMPLATE_ATTEND_ENDS_CUH
#define KERNELS_TEMPLATE_ATTEND_ENDS_CUH
#include <cuda_fp16.h>
#include "device.cuh"
#include "template/attend_units.cuh"

#define ENDS_THREADS 128

/* units [n_sequences + 1]: how many units of a head come before each sequence. One warp. */
__global__ void attend_count(attend_layer l, attend_batch b, attend_work w, uint32_t tile)
{
    uint32_t lane = threadIdx.x, before = 0;
    for (uint32_t first = 0; first < b.n_sequences; first += 32) {
        uint32_t i = first + lane, own = 0;
        if (i < b.n_sequences) {
            uint32_t n = l.length[b.slots[i]], c = l.packed[b.slots[i]];
            attend_extent e = extent_of(b, n, c, l.sinks, tile);
            own = e.n_tiles + e.n_exact;
        }
        uint32_t sum = own;
        for (uint32_t step = 1; step < 32; step *= 2) {
            uint32_t other = __shfl_up_sync(~0u, sum, step);
            if (lane >= step) sum += other;
        }
        if (i < b.n_sequences) w.units[i] = before + sum - own;
        before += __shfl_sync(~0u, sum, 31);
    }
    if (lane == 0) w.units[b.n_sequences] = before;
}

/* A reduction over the block's threads, the same in all. shared [ENDS_THREADS / 32] */
template <typename F> __device__ float over_block(float x, float *shared, F combine)
{
    for (int step = 16; step; step /= 2) x = combine(x, __shfl_xor_sync(~0u, x, step));
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    x = shared[0];
    for (int i = 1; i < ENDS_THREADS / 32; i++) x = combine(x, shared[i]);
    return x;
}

/* q [n] in shared memory to fp16 rows [n], divided by a power of two that brings the greatest to 1 .. 2. A query that
 * is not finite becomes NaN, all of it. */
__device__ inline void store_query(const float *q, uint32_t n, uint16_t *row, float *scale, float *shared)
{
    float most = 0.0f;
    for (uint32_t i = threadIdx.x; i < n; i += ENDS_THREADS)
        most = fmaxf(most, q[i] == q[i] ? fabsf(q[i]) : INFINITY);
    most = over_block(most, shared, [](float a, float b) { return fmaxf(a, b); });
    int exponent = 0;
    bool finite = most < INFINITY;
    if (finite && most > 0.0f) frexpf(most, &exponent), exponent--;
    for (uint32_t i = threadIdx.x; i < n; i += ENDS_THREADS)
        row[i] = __half_as_ushort(__float2half_rn(finite ? ldexpf(q[i], -exponent) : NAN));
    if (threadIdx.x == 0) *scale = ldexpf(1.0f, exponent);
}

/* Queries [n_sequences * n_queries][query heads][d], one block for each row and head: exact and latent ones. */
__global__ void attend_fold(attend_layer l, attend_batch b, attend_work w, const float *queries, uint32_t d,
                            uint32_t group)
{
    KVC_SHARED(float, q);
    float *y = q + d, *shared = y + l.key_latent;
    size_t row = (size_t)blockIdx.x * l.n_heads * group + blockIdx.y;
    uint32_t head = blockIdx.y / group;
    for (uint32_t i = threadIdx.x; i < d; i += ENDS_THREADS)
        q[i] = queries[row * d + i] * b.score_scale * 1.44269504f;
    __syncthreads();
    store_query(q, d, w.exact + row * d, w.exact_scale + row, shared);
    if (!l.fold) {
        if (threadIdx.x == 0) w.query_bias[row] = 0.0f;
        return;
    }
    float bias = 0.0f;
    for (uint32_t i = threadIdx.x; i < d; i += ENDS_THREADS) bias += q[i] * l.bias[head * d + i];
    bias = over_block(bias, shared, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) w.query_bias[row] = bias;
    const float *fold = l.fold + (size_t)head * d * l.key_latent;
    for (uint32_t j = threadIdx.x; j < l.key_latent; j += ENDS_THREADS) {
        float sum = 0.0f;
        for (uint32_t i = 0; i < d; i++) sum += q[i] * fold[(size_t)i * l.key_latent + j];
        y[j] = sum;
    }
    __syncthreads();
    store_query(y, l.key_latent, w.latent + row * l.key_latent, w.latent_scale + row, shared);
}

/* The partial results of a run that the list has cut into pieces. */
struct merge_pieces {
    const float *first; /* of the column */
    size_t stride;
    uint32_t n;
};

/* The number in the grid of the part that has unit `at`. */
__device__ inline uint32_t number_of(uint32_t at, uint32_t of_block, uint32_t of_head, uint32_t total,
                                     uint32_t n_parts)
{
    attend_piece p = piece_at(at, of_block, of_head, total, n_parts);
    return p.number + part_of(p, at);
}

struct merge_shape {
    uint32_t d, latent, group, columns, tile, n_blocks, n_warps;
};

__device__ inline merge_pieces pieces_of(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                         const merge_shape &m, uint32_t sequence, uint32_t head, bool exact,
                                         uint32_t column)
{
    uint32_t of_head = w.units[b.n_sequences], slot = b.slots[sequence];
    attend_extent e = extent_of(b, l.length[slot], l.packed[slot], l.sinks, m.tile);
    uint32_t n_units = exact ? e.n_exact : e.n_tiles;
    if (n_units == 0) return merge_pieces{NULL, 0, 0};
    uint32_t begin = head * of_head + w.units[sequence] + (exact ? e.n_tiles : 0), total = l.n_heads * of_head;
    attend_columns columns = columns_of(b.n_queries, m.group, m.columns, m.n_warps);
    uint32_t of_block = share_of(total, m.n_blocks),
             first = number_of(begin, of_block, of_head, total, columns.parts);
    uint32_t last = number_of(begin + n_units - 1, of_block, of_head, total, columns.parts),
             tile = column / m.columns;
    size_t stride = result_floats((int)m.columns, (int)m.d, (int)m.latent);
    size_t result = tile * results_of_tile(l.n_heads, b.n_sequences, m.n_blocks, columns.parts) +
                    result_of(head, sequence, b.n_sequences, exact, first, columns.parts);
    return merge_pieces{w.partial + result * stride + column % m.columns * (2 + (exact ? m.d : m.latent)), stride,
                        last - first + 1};
}

__device__ inline float most_of(merge_pieces p, float most)
{
    for (uint32_t i = 0; i < p.n; i++) most = fmaxf(most, p.first[i * p.stride]);
    return most;
}

/* Adds channel j, or (j < 0) the sum of weights. */
__device__ inline float add_pieces(merge_pieces p, float most, int j)
{
    float sum = 0.0f;
    for (uint32_t i = 0; i < p.n; i++) {
        const float *piece = p.first + i * p.stride;
        sum += exp2_fast(piece[0] - most) * piece[2 + j];
    }
    return sum;
}

/* out [n_sequences * n_queries][query heads][d], one block for each row and head. */
__global__ void attend_merge(attend_layer l, attend_batch b, attend_work w, float *out, merge_shape m)
{
    KVC_SHARED(float, latent);
    uint32_t sequence = blockIdx.x / b.n_queries, column = blockIdx.x % b.n_queries * m.group + blockIdx.y % m.group;
    uint32_t head = blockIdx.y / m.group, d = m.d;
    merge_pieces pages = pieces_of(l, b, w, m, sequence, head, false, column);
    merge_pieces rows = pieces_of(l, b, w, m, sequence, head, true, column);
    float most = most_of(rows, most_of(pages, -1e30f));
    float mass = add_pieces(pages, most, -1), sum = mass + add_pieces(rows, most, -1);
    for (uint32_t j = threadIdx.x; j < l.value_latent; j += ENDS_THREADS) latent[j] = add_pieces(pages, most, (int)j);
    __syncthreads();
    float *to = out + ((size_t)blockIdx.x * l.n_heads * m.group + blockIdx.y) * d;
    for (uint32_t j = threadIdx.x; j < d; j += ENDS_THREADS) {
        float x = add_pieces(rows, most, (int)j);
        if (l.unfold) {
            const float *unfold = l.unfold + ((size_t)head * d + j) * l.value_latent;
            x += l.mean[head * d + j] * mass;
            for (uint32_t i = 0; i < l.value_latent; i++) x += unfold[i] * latent[i];
        } else {
            x += latent[j];
        }
        to[j] = sum == 0.0f ? 0.0f : x / sum; /* nothing was seen */
    }
}

#endif
