/* attend_merge.cuh - what comes behind attend.cuh: partial results into outputs. A launch of its own: merged by the
 * last block to be done with a head, outputs come no sooner, and the main kernel is twice as long (decision 0014). */
#ifndef KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#define KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#include "template/attend_map.cuh"
#include "template/attend_units.cuh"

#define MERGE_THREADS 256

/* The partial results of a run that the list has cut into pieces. */
struct merge_pieces {
    const float *first; /* of the column */
    size_t stride;
    uint32_t n;
};

struct merge_shape {
    uint32_t d, latent, group, columns, tile, n_blocks;
    uint32_t rows; /* of a block, at most MAP_ROWS */
};

/* Of the pages, or of the fp16 rows, of a sequence and head. All lanes of a warp, of which half find the first part
 * and half the last one. */
__device__ inline merge_pieces pieces_of(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                         const merge_shape &m, const attend_roles &roles, uint32_t sequence,
                                         uint32_t head, bool exact, uint32_t column)
{
    const uint32_t *units = units_of(w.units, b, exact);
    uint32_t all = units[b.n_sequences];
    const attend_shared_list list = exact ? attend_shared_list(list_of_rows(l, b, all, m.n_blocks))
                                          : list_of_pages(l, l.costs, b, all, m.n_blocks, m.tile);
    uint32_t before = units[sequence], behind = units[sequence + 1];
    attend_results r = {0, 0};
    if (before < behind) {
        uint32_t in_head = threadIdx.x % 2 ? behind - 1 : before;
        uint32_t number = number_of(list, exact, m.n_blocks, head, head * list.of_head.n + in_head);
        r = results_of(head, sequence, b.n_sequences, __shfl_sync(~0u, number, 0), __shfl_sync(~0u, number, 1));
    }
    uint32_t floats = result_floats(m.d, m.latent), result = roles.first_result(column / m.columns, exact) + r.first;
    size_t stride = (size_t)m.columns * floats;
    return merge_pieces{w.partial + result * stride + column % m.columns * floats, stride, r.n};
}

/* Pieces put together, of four channels: weights are relative to the maximum. */
struct merge_sum {
    float most, mass;
    float4 x;
};

/* Pieces part, part + parts, ...; channels `channel` .. + 3. All that is read is asked for before it is needed. */
__device__ inline merge_sum add_pieces(const merge_pieces &p, uint32_t part, uint32_t parts, uint32_t channel)
{
    const uint32_t AHEAD = 8;
    merge_sum s = {ATTEND_LEAST, 0.0f, make_float4(0.0f, 0.0f, 0.0f, 0.0f)};
    for (uint32_t first = part; first < p.n; first += AHEAD * parts) {
        float2 head[AHEAD]; /* maximum, sum of weights */
        float4 x[AHEAD];
#pragma unroll
        for (uint32_t k = 0; k < AHEAD; k++) {
            bool present = first + k * parts < p.n;
            const float *piece = p.first + (present ? first + k * parts : first) * p.stride;
            head[k] = *(const float2 *)piece;
            x[k] = *(const float4 *)(piece + RESULT_CHANNELS + channel);
            if (!present) head[k].x = -INFINITY;
        }
        float most = s.most;
#pragma unroll
        for (uint32_t k = 0; k < AHEAD; k++) most = fmaxf(most, head[k].x);
        float weight = exp2_fast(s.most - most);
        s.most = most, s.mass *= weight;
        s.x.x *= weight, s.x.y *= weight, s.x.z *= weight, s.x.w *= weight;
#pragma unroll
        for (uint32_t k = 0; k < AHEAD; k++) {
            weight = exp2_fast(head[k].x - most);
            s.mass += weight * head[k].y;
            add_scaled(s.x, weight, x[k]);
        }
    }
    return s;
}

/* Of a part of a row's pieces: weights of its pages and of its rows, relative to the maxima. */
struct merge_part {
    float most[2], mass[2]; /* most: then the weight of the part */
};
__host__ __device__ __forceinline__ uint32_t merge_bytes(uint32_t d, uint32_t latent)
{
    uint32_t n_warps = MERGE_THREADS / 32;
    return ((MAP_ROWS + n_warps) * (latent + d) + MAP_ROWS * 2 + n_warps * 4) * (uint32_t)sizeof(float);
}

/* What a warp has of a row: `part` of `parts` of its pieces; latent + d channels to `to`. */
__device__ inline void merge_pieces_of(const merge_pieces pieces[2], uint32_t part, uint32_t parts,
                                       const uint32_t channels[2], float *to, merge_part *out)
{
    uint32_t lane = threadIdx.x % 32;
#pragma unroll
    for (uint32_t i = 0; i < 2; i++) {
        for (uint32_t j = lane * 4; j < channels[i]; j += 128) {
            merge_sum s = add_pieces(pieces[i], part, parts, j);
            *(float4 *)(to + j) = s.x;
            if (j == 0) out->most[i] = s.most, out->mass[i] = s.mass;
        }
        to += channels[i];
    }
}

/* Maxima of a row's parts become their weights; a warp, of which a lane has the pages or the rows of a part. */
__device__ inline void weigh_parts(merge_part *parts, uint32_t n_parts, float *mass, float *sum)
{
    uint32_t lane = threadIdx.x % 32, i = lane % 2;
    bool present = lane / 2 < n_parts;
    float own = present ? parts[lane / 2].most[i] : ATTEND_LEAST, most = own;
    for (int step = 16; step; step /= 2) most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
    float weight = exp2_fast(own - most), weights = present ? parts[lane / 2].mass[i] * weight : 0.0f;
    if (present) parts[lane / 2].most[i] = weight;
    for (int step = 16; step > 1; step /= 2) weights += __shfl_xor_sync(~0u, weights, step);
    float both = weights + __shfl_xor_sync(~0u, weights, 1);
    if (lane == 0) *mass = weights, *sum = both;
}

/* [blocks for m.rows rows each][n_heads] blocks of MERGE_THREADS, merge_bytes() of shared memory. A row's pieces
 * are shared out among the warps that there are for it. */
__global__ void __launch_bounds__(MERGE_THREADS, 2)
    attend_merge(const __grid_constant__ attend_layer l, const __grid_constant__ attend_batch b,
                 const __grid_constant__ attend_work w, merge_shape m)
{
    uint32_t head = blockIdx.y, of_sequence = b.n_queries * m.group, first = blockIdx.x * m.rows;
    uint32_t n_rows = min(m.rows, b.n_sequences * of_sequence - first), width = m.latent + m.d;
    uint32_t splits = blockDim.x / 32 / m.rows, warp = threadIdx.x / 32, r = warp / splits, split = warp % splits;
    KVC_SHARED(float, sums);                                                /* [MAP_ROWS][latent + d] */
    float *pieces = sums + MAP_ROWS * width;                                /* [rows][splits][latent + d] */
    float *mass = pieces + blockDim.x / 32 * width, *sum = mass + MAP_ROWS; /* [MAP_ROWS] */
    merge_part *parts = (merge_part *)(sum + MAP_ROWS);                     /* [rows][splits] */
    if (r < n_rows) {
        uint32_t sequence = (first + r) / of_sequence, column = (first + r) % of_sequence;
        const attend_roles roles(b.columns, l.n_heads, b.n_sequences, m.n_blocks);
        const merge_pieces of_row[2] = {pieces_of(l, b, w, m, roles, sequence, head, false, column),
                                        pieces_of(l, b, w, m, roles, sequence, head, true, column)};
        const uint32_t channels[2] = {m.latent, m.d};
        merge_pieces_of(of_row, split, splits, channels, pieces + warp * width, parts + warp);
    }
    __syncthreads();
    if (r < n_rows && split == 0) weigh_parts(parts + warp, splits, mass + r, sum + r);
    __syncthreads();
    for (uint32_t at = threadIdx.x; at < n_rows * width; at += blockDim.x) {
        uint32_t row = at / width, j = at % width, is_row = j >= m.latent;
        float x = 0.0f;
        for (uint32_t k = row * splits; k < (row + 1) * splits; k++)
            x += parts[k].most[is_row] * pieces[k * width + j];
        sums[at] = x;
    }
    __syncthreads();
    auto put = [&](uint32_t row, uint32_t j, float4 x) {
        uint32_t token = (first + row) / m.group, query_head = head * m.group + (first + row) % m.group;
        add_scaled(x, 1.0f, *(const float4 *)(sums + row * width + m.latent + j));
        if (l.unfold) add_scaled(x, mass[row], *(const float4 *)(l.mean + head * m.d + j));
        float factor = sum[row] == 0.0f ? 0.0f : 1.0f / sum[row]; /* 0: of a sequence without tokens */
        float *to = b.out + ((size_t)token * l.n_heads * m.group + query_head) * m.d + j;
        to[0] = x.x * factor, to[1] = x.y * factor, to[2] = x.z * factor, to[3] = x.w * factor;
    };
    if (l.unfold)
        apply_map(n_rows, sums, width, l.unfold + (size_t)head * m.d * m.latent, m.latent, m.d, put);
    else
        for (uint32_t at = threadIdx.x * 4; at < n_rows * m.d; at += blockDim.x * 4)
            put(at / m.d, at % m.d, *(const float4 *)(sums + at / m.d * width + at % m.d));
}

/* Of a kernel of such heads, columns and tiles on n_blocks blocks; rows: of a block, 0 for what is best. */
static inline cudaError_t launch_merge(const attend_layer &l, const attend_batch &b, const attend_work &w, uint32_t d,
                                       uint32_t group, uint32_t columns, uint32_t tile, uint32_t n_blocks,
                                       uint32_t rows, cudaStream_t stream)
{
    uint32_t of_head = b.n_sequences * b.n_queries * group;
    if (rows == 0) rows = map_rows(l.n_heads, of_head, 1);
    merge_shape m = {d, l.value_latent, group, columns, tile, n_blocks, rows};
    KVC_LAUNCH(attend_merge, dim3(share_of(of_head, rows), l.n_heads), dim3(MERGE_THREADS), merge_bytes(d, m.latent),
               stream, l, b, w, m);
    return KVC_LAUNCHED();
}

#endif
