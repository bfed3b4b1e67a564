/* attend_merge.cuh - what comes behind attend.cuh: partial results into outputs. A launch of its own: merged by the
 * last block to be done with a head, outputs come no sooner, and the main kernel is twice as long (decision 0014). It
 * starts early (device.cuh): what runs once takes as long to come as to run. */
#ifndef KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#define KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#include "early.cuh"
#include "template/attend_map.cuh"
#include "template/attend_units.cuh"

/* The partial results of a run that the list has cut into pieces. */
struct merge_pieces {
    const float *first; /* of the column */
    size_t stride;
    uint32_t n;
};

struct merge_shape {
    map_shape map; /* of outputs: from latent channels to those of a head */
    uint32_t group, columns, tile, n_blocks;
    uint32_t rows; /* of a block, a power of two, at most MAP_ROWS */
};

/* Of pieces first, first + parts, ... up to N that there are: maxima and sums of weights, and four channels. Asked
 * for all together. */
template <int N> struct merge_batch {
    float2 head[N];
    float4 x[N];

    __device__ __forceinline__ void load(const merge_pieces &p, uint32_t first, uint32_t parts, uint32_t channel)
    {
        if (first >= p.n) return;
#pragma unroll
        for (uint32_t k = 0; k < N; k++) {
            bool present = first + k * parts < p.n;
            const float *piece = p.first + (present ? first + k * parts : first) * p.stride;
            head[k] = *(const float2 *)piece;
            x[k] = *(const float4 *)(piece + RESULT_CHANNELS + channel);
            if (!present) head[k].x = -INFINITY;
        }
    }
};

__device__ __forceinline__ void add_scaled(float4 &sum, float x, const float4 &y)
{
    sum.x += x * y.x, sum.y += x * y.y, sum.z += x * y.z, sum.w += x * y.w;
}

/* Pieces put together, of four channels: weights are relative to the maximum. */
struct merge_sum {
    float most, mass;
    float4 x;

    template <int N> __device__ __forceinline__ void add(const merge_batch<N> &pieces)
    {
        float before = most;
#pragma unroll
        for (uint32_t k = 0; k < N; k++) most = fmaxf(most, pieces.head[k].x);
        float weight = exp2_fast(before - most);
        mass *= weight;
        x.x *= weight, x.y *= weight, x.z *= weight, x.w *= weight;
#pragma unroll
        for (uint32_t k = 0; k < N; k++) {
            weight = exp2_fast(pieces.head[k].x - most);
            mass += weight * pieces.head[k].y;
            add_scaled(x, weight, pieces.x[k]);
        }
    }
};

/* Pieces part, part + parts, ...: their sum, if there are any, of which `loaded` has the first ones. */
template <int N>
__device__ __forceinline__ merge_sum add_pieces(const merge_pieces &p, merge_batch<N> &loaded, uint32_t part,
                                                uint32_t parts, uint32_t channel)
{
    merge_sum s = {ATTEND_LEAST, 0.0f, make_float4(0.0f, 0.0f, 0.0f, 0.0f)};
    for (uint32_t first = part; first < p.n;) {
        s.add(loaded);
        first += N * parts;
        loaded.load(p, first, parts, channel);
    }
    return s;
}

/* Of a part of a row's pieces: weights of its pages and of its rows, relative to the maxima. */
struct merge_part {
    float most[2], mass[2];
};
__host__ __device__ __forceinline__ uint32_t merge_bytes(uint32_t d, uint32_t latent)
{
    return (MAP_WARPS * (latent + d + 4 + 2 * MAP_WARPS) + MAP_ROWS * 4) * (uint32_t)sizeof(float) +
           map_rows_in::bytes(latent);
}

/* What a warp has of a row: `part` of `parts` of its pieces; latent + d channels to `to`. */
__device__ inline void merge_pieces_of(const merge_pieces pieces[2], uint32_t part, uint32_t parts, uint32_t latent,
                                       uint32_t d, float *to, merge_part *out)
{
    uint32_t lane = threadIdx.x % 32;
    for (uint32_t j = lane * 4; j < latent || j < d; j += 128) {
        merge_batch<5> pages;
        merge_batch<2> rows;
        if (j < latent) pages.load(pieces[0], part, parts, j);
        if (j < d) rows.load(pieces[1], part, parts, j);
        if (j < latent) {
            merge_sum s = add_pieces(pieces[0], pages, part, parts, j);
            *(float4 *)(to + j) = s.x;
            if (j == 0) out->most[0] = s.most, out->mass[0] = s.mass;
        }
        if (j < d) {
            merge_sum s = add_pieces(pieces[1], rows, part, parts, j);
            *(float4 *)(to + latent + j) = s.x;
            if (j == 0) out->most[1] = s.most, out->mass[1] = s.mass;
        }
    }
}

/* Weights of a row's parts, relative to the greatest of all their maxima, to weights [n_parts][2], pages and rows;
 * the sum of all, and in lane 0 that of the pages'. By a warp, of which a lane has the pages or the rows of a part.
 */
__device__ __forceinline__ float weigh_parts(const merge_part *parts, uint32_t n_parts, float (*weights)[2],
                                             float *mass)
{
    uint32_t lane = threadIdx.x % 32, i = lane % 2;
    bool present = lane / 2 < n_parts;
    float own = present ? parts[lane / 2].most[i] : ATTEND_LEAST, most = own;
    for (int step = 16; step; step /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
    float weight = exp2_fast(own - most);
    *mass = present ? parts[lane / 2].mass[i] * weight : 0.0f;
    if (present) weights[lane / 2][i] = weight;
    for (int step = 16; step > 1; step /= 2) *mass += __shfl_xor_sync(~0u, *mass, step);
    float sum = *mass + __shfl_xor_sync(~0u, *mass, 1);
    __syncwarp();
    return sum;
}

/* [blocks for m.rows rows each][n_heads] blocks of MAP_THREADS, merge_bytes() of shared memory. A row's pieces are
 * shared out among the warps that there are for it. */
__global__ void __launch_bounds__(MAP_THREADS, 1)
    attend_merge(const __grid_constant__ attend_layer l, const __grid_constant__ attend_batch b,
                 const __grid_constant__ attend_work w, merge_shape m)
{
    let_next_start();
    uint32_t head = blockIdx.y, of_sequence = b.n_queries * m.group, first = blockIdx.x * m.rows;
    uint32_t n_rows = min(m.rows, b.n_sequences * of_sequence - first), splits = MAP_WARPS / m.rows;
    uint32_t lane = threadIdx.x % 32, warp = threadIdx.x / 32, r = warp / splits, split = warp % splits;
    uint32_t latent = m.map.n_in, d = m.map.n_out, width = latent + d;
    KVC_SHARED(float, sums); /* [rows][splits][width]: then a row's exact sums are in its first split */
    merge_part *parts = (merge_part *)(sums + MAP_WARPS * width);                         /* [rows][splits] */
    float(*all_weights)[2] = (float(*)[2])(parts + MAP_WARPS);                            /* [MAP_WARPS][splits] */
    float *mass = (float *)(all_weights + MAP_WARPS * splits), *factor = mass + MAP_ROWS; /* [MAP_ROWS] */
    float **outs = (float **)(factor + MAP_ROWS);                                         /* [MAP_ROWS] */
    const map_rows_in pages_in(outs + MAP_ROWS, latent); /* weighted sums of latent rows */
    const uint32_t *unfold = l.unfold ? l.unfold + (size_t)head * attend_map_words(latent, d) : NULL;
    map_part part;
    float2 mean = make_float2(0.0f, 0.0f); /* of the lane's first channels of an output */
    if (unfold) part.load(m.map, unfold, warp, 0);
    if (unfold && part.channel() < d) mean = *(const float2 *)(l.mean + head * d + part.channel());
    if (r < n_rows) {
        uint32_t sequence = (first + r) / of_sequence, column = (first + r) % of_sequence;
        const attend_roles roles(b.columns, l.n_heads, b.n_sequences, m.n_blocks);
        uint32_t slot = b.n_sequences <= ATTEND_FEW ? b.slot[sequence] : load_early(b.slots + sequence);
        const attend_sequence s = sequence_of(l, b, slot);
        const bool any[2] = {tiles_of(s, l.sinks, m.tile).n > 0, rows_of(s, l.sinks).n > 0};
        const uint2 *ends[2]; /* of the pages and of the fp16 rows: what attend.cuh has left */
        merge_pieces of_row[2];
        size_t floats = result_floats(d, latent), stride = m.columns * floats;
        uint32_t column_tile = column / m.columns;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            ends[i] = (const uint2 *)w.results[((uint32_t)i * l.n_heads + head) * b.n_sequences + sequence];
            of_row[i].first = w.partial + roles.first_result(column_tile, i) * stride + column % m.columns * floats;
            of_row[i].stride = stride, of_row[i].n = 0;
        }
        uint32_t token = (first + r) / m.group, query_head = head * m.group + (first + r) % m.group;
        if (split == 0 && lane == 0) outs[r] = b.out + ((size_t)token * l.n_heads * m.group + query_head) * d;
        await_previous();
#pragma unroll
        for (int i = 0; i < 2; i++)
            if (any[i]) {
                uint2 results = *ends[i]; /* first and last */
                of_row[i].first += results.x * stride, of_row[i].n = results.y - results.x + 1;
            }
        merge_pieces_of(of_row, split, splits, latent, d, sums + warp * width, parts + warp);
    }
    __syncthreads();
    uint32_t stride = splits * width;
    if (r < n_rows) {
        float(*weights)[2] = all_weights + warp * splits, of_pages; /* every warp for itself */
        float of_all = weigh_parts(parts + r * splits, splits, weights, &of_pages);
        float *row = sums + r * stride, *out = outs[r];
        float inverse = of_all == 0.0f ? 0.0f : 1.0f / of_all; /* 0: of a sequence without tokens */
        if (split == 0 && lane == 0) mass[r] = of_pages, factor[r] = inverse;
        for (uint32_t j = split * 32 + lane; j < d || (unfold && j < latent); j += splits * 32) {
            float pages = 0.0f, exact = 0.0f;
#pragma unroll 4
            for (uint32_t k = 0; k < splits; k++) {
                if (j < latent) pages += weights[k][0] * row[k * width + j];
                if (j < d) exact += weights[k][1] * row[k * width + latent + j];
            }
            if (!unfold) out[j] = (pages + exact) * inverse;
            if (unfold && j < latent) pages_in.put_one(r, j, pages);
            if (unfold && j < d) row[latent + j] = exact;
        }
    }
    if (!unfold) return;
    __syncthreads();
    apply_map(m.map, part, pages_in, unfold, [=](uint32_t row, uint32_t j, float x, float y) {
        if (row >= n_rows) return;
        float2 exact = *(const float2 *)(sums + row * stride + latent + j), with = mean;
        if (j != part.channel()) with = *(const float2 *)(l.mean + head * d + j);
        float *to = outs[row] + j, by = factor[row];
        to[0] = (x + exact.x + mass[row] * with.x) * by, to[1] = (y + exact.y + mass[row] * with.y) * by;
    });
}

/* Shared memory for the merge of any call; alone: as below. */
static inline cudaError_t allow_merge(uint32_t alone)
{
    uint32_t most = merge_bytes(MAP_MOST, MAP_MOST);
    return KVC_ALLOW_SHARED(attend_merge, alone > most ? alone : most);
}

/* Of a kernel of such heads, columns and tiles on n_blocks blocks; rows: of a block, 0 for what is best; alone:
 * early_bytes() of the kernels of the call. */
static inline cudaError_t launch_merge(const attend_layer &l, const attend_batch &b, const attend_work &w, uint32_t d,
                                       uint32_t group, uint32_t columns, uint32_t tile, uint32_t n_blocks,
                                       uint32_t rows, uint32_t alone, cudaStream_t stream)
{
    uint32_t of_head = b.n_sequences * b.n_queries * group;
    if (rows == 0) rows = map_rows(l.n_heads, of_head);
    merge_shape m = {map_shape(l.value_latent, d), group, columns, tile, n_blocks, rows};
    dim3 grid(share_of(of_head, rows), l.n_heads);
    uint32_t bytes = merge_bytes(d, l.value_latent);
    if (bytes < alone && grid.x * grid.y <= n_blocks) bytes = alone;
    return launch(alone != 0, attend_merge, grid, MAP_THREADS, bytes, stream, l, b, w, m);
}

#endif
