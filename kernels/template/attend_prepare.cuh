/* attend_prepare.cuh - what comes before attend.cuh: queries in the latent space where there is one, the lists of
 * units where there are many sequences; neither: nothing. */
#ifndef KERNELS_TEMPLATE_ATTEND_PREPARE_CUH
#define KERNELS_TEMPLATE_ATTEND_PREPARE_CUH
#include "early.cuh"
#include "template/attend_map.cuh"
#include "template/attend_units.cuh"

/* A sum over the block's threads before each; *all is the sum of all. shared [MAP_WARPS] */
__device__ inline uint32_t sum_before(uint32_t own, uint32_t *shared, uint32_t *all)
{
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, sum = own, before = 0;
    for (uint32_t step = 1; step < 32; step *= 2) {
        uint32_t other = __shfl_up_sync(~0u, sum, step);
        if (lane >= step) sum += other;
    }
    __syncthreads();
    if (lane == 31) shared[warp] = sum;
    __syncthreads();
    *all = 0;
    for (uint32_t i = 0; i < blockDim.x / 32; i++) {
        if (i < warp) before += shared[i];
        *all += shared[i];
    }
    return before + sum - own;
}

/* Both lists of units (attend_units.cuh). One block. */
__device__ inline void count_units(const attend_layer &l, const attend_batch &b, const attend_work &w, uint32_t tile)
{
    __shared__ uint32_t shared[MAP_WARPS];
    uint32_t tiles_before = 0, rows_before = 0, all, n = b.n_sequences;
    for (uint32_t first = 0; first < n; first += blockDim.x) {
        uint32_t i = first + threadIdx.x, tiles = 0, rows = 0;
        if (i < n) {
            attend_sequence s = sequence_of(l, b, b.slots[i]);
            w.sequences[i] = s;
            tiles = tiles_of(s, l.sinks, tile).n;
            rows = rows_of(s, l.sinks).n;
        }
        uint32_t before = sum_before(tiles, shared, &all);
        if (i < n) w.units[i] = tiles_before + before;
        tiles_before += all;
        before = sum_before(rows, shared, &all);
        if (i < n) w.units[n + 1 + i] = rows_before + before;
        rows_before += all;
    }
    if (threadIdx.x == 0) w.units[n] = tiles_before, w.units[2 * n + 1] = rows_before;
}

/* [has_lists() + blocks for MAP_ROWS rows of queries each, if there is a fold][n_heads] blocks, of which the first
 * counts. No more: the main kernel waits for a multiprocessor that one of these has. */
__global__ void __launch_bounds__(MAP_THREADS, 1)
    attend_prepare(const __grid_constant__ attend_layer l, const __grid_constant__ attend_batch b,
                   const __grid_constant__ attend_work w, map_shape m, uint32_t group, uint32_t tile)
{
    KVC_SHARED(uint4, shared);
    uint32_t d = m.n_in, head = blockIdx.y, warp = threadIdx.x / 32;
    bool counts = blockIdx.x < has_lists(b);
    const uint32_t *fold = l.fold + (size_t)head * attend_map_words(d, m.n_out);
    const map_rows_in q(shared, d);
    map_part part;
    if (!counts) part.load(m, fold, warp, 0); /* while what is before the call ends */
    await_previous();
    let_next_start();
    if (counts) {
        if (blockIdx.y == 0) count_units(l, b, w, tile);
        return;
    }
    uint32_t all = b.n_sequences * b.n_queries * group, first = (blockIdx.x - has_lists(b)) * MAP_ROWS;
    uint32_t n_rows = min(all - first, (uint32_t)MAP_ROWS), n_heads = l.n_heads, lane = threadIdx.x % 32;
    const attend_divisor of_group(group);
    auto row_of = [=](uint32_t r) {
        uint32_t token = of_group.under(first + r);
        return (token * n_heads + head) * group + first + r - token * group;
    };
    /* A row is a warp's, and its bias. */
    uint32_t own_row = row_of(warp);
    float bias = 0.0f;
    const float *query = b.queries + (size_t)own_row * d, *with = l.bias + head * d;
#pragma unroll 1
    for (uint32_t i = lane * 4; warp < n_rows && i < d; i += 128) {
        float4 x = *(const float4 *)(query + i), y = *(const float4 *)(with + i);
        q.put(warp, i, x.x, x.y), q.put(warp, i + 2, x.z, x.w);
        bias += x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
    }
    __syncthreads();
    if (warp < n_rows) {
        for (int step = 16; step; step /= 2) bias += __shfl_xor_sync(~0u, bias, step);
        if (lane == 0) w.query_bias[own_row] = bias;
    }
    float *latent = w.latent;
    apply_map(m, part, q, fold, [=](uint32_t r, uint32_t channel, float x, float y) {
        if (r < n_rows) *(float2 *)(latent + (size_t)row_of(r) * m.n_out + channel) = make_float2(x, y);
    });
}

/* If there is anything to prepare, for a kernel of such heads and tiles. */
static inline cudaError_t launch_prepare(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                         uint32_t d, uint32_t group, uint32_t tile, bool early, cudaStream_t stream)
{
    if (!l.fold && !has_lists(b)) return cudaSuccess;
    uint32_t blocks = has_lists(b) + (l.fold ? share_of(b.n_sequences * b.n_queries * group, MAP_ROWS) : 0);
    return launch(early, attend_prepare, dim3(blocks, l.n_heads), MAP_THREADS, map_rows_in::bytes(d), stream, l, b, w,
                  map_shape(d, l.key_latent), group, tile);
}

#endif
