/* attend_ends.cuh - what comes before and behind attend.cuh: the list of units, queries into the order and range of
 * operands, partial results into outputs. Small next to the cache, so plain: a thread per channel. */
#ifndef KERNELS_TEMPLATE_ATTEND_ENDS_CUH
#define KERNELS_TEMPLATE_ATTEND_ENDS_CUH
#include <cuda_fp16.h>
#include "device.cuh"
#include "template/attend_units.cuh"

#define ENDS_THREADS 512
#define MAP_ROWS 8 /* rows of a block at most */

/* A sum over the block's threads before each, of n_threads <= 512 in warps of 32; *all is the sum of all.
 * shared [16] */
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
    __shared__ uint32_t shared[16];
    uint32_t tiles_before = 0, rows_before = 0, all, n = b.n_sequences;
    for (uint32_t first = 0; first < n; first += blockDim.x) {
        uint32_t i = first + threadIdx.x, tiles = 0, rows = 0;
        if (i < n) {
            uint32_t n_tokens = l.length[b.slots[i]];
            int oldest = sight_of(b, n_tokens).oldest;
            attend_sequence s = {b.slots[i], n_tokens, l.packed[b.slots[i]], oldest > 0 ? (uint32_t)oldest : 0};
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

/* Rows times a map: in [n_in][MAP_ROWS] in shared memory, map [n_in][n_out], n_out values of each of the first ROWS
 * rows to put(row, channel, value). All threads of a block; partial [blockDim.x][ROWS] in shared memory. Threads have
 * a channel each, and where there are fewer channels than threads, parts of the inputs. */
template <int ROWS, typename PUT>
__device__ __forceinline__ void apply_map(const float *in, const float *map, uint32_t n_in, uint32_t n_out,
                                          float *partial, PUT put)
{
    uint32_t lanes = (n_out + 31) / 32 * 32, parts = blockDim.x / lanes, part = threadIdx.x / lanes;
    uint32_t j = threadIdx.x % lanes, each = share_of(n_in, parts), end = min((part + 1) * each, n_in);
    float sum[ROWS] = {0.0f};
    if (part < parts && j < n_out)
#pragma unroll 16
        for (uint32_t i = part * each; i < end; i++) {
            float x = map[(size_t)i * n_out + j];
#pragma unroll
            for (int r = 0; r < ROWS; r++) sum[r] += x * in[i * MAP_ROWS + r];
        }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < ROWS; r++) partial[r * blockDim.x + threadIdx.x] = sum[r];
    __syncthreads();
    for (uint32_t at = threadIdx.x; at < ROWS * n_out; at += blockDim.x) {
        uint32_t r = at / n_out, channel = at % n_out;
        float x = 0.0f;
        for (uint32_t k = 0; k < parts; k++) x += partial[r * blockDim.x + k * lanes + channel];
        put(r, channel, x);
    }
}

/* The same for n_rows <= MAP_ROWS, known at run time. */
template <typename PUT>
__device__ __forceinline__ void apply_map_rows(uint32_t n_rows, const float *in, const float *map, uint32_t n_in,
                                               uint32_t n_out, float *partial, PUT put)
{
    if (n_rows <= 2)
        apply_map<2>(in, map, n_in, n_out, partial, put);
    else
        apply_map<MAP_ROWS>(in, map, n_in, n_out, partial, put);
}

/* Before all others: queries in the latent space, where there is one, and the lists of units. [prepare_blocks()]
 * [n_heads] blocks of ENDS_THREADS, prepare_bytes() of shared memory. */
__host__ __device__ __forceinline__ uint32_t prepare_blocks(const attend_layer &l, const attend_batch &b,
                                                            uint32_t group)
{
    return 1 + (l.fold ? share_of(b.n_sequences * b.n_queries * group, MAP_ROWS) : 0);
}
__host__ __device__ __forceinline__ uint32_t prepare_bytes(uint32_t d)
{
    return MAP_ROWS * (d + ENDS_THREADS) * (uint32_t)sizeof(float);
}
__global__ void __launch_bounds__(ENDS_THREADS, 2)
    attend_prepare(attend_layer l, attend_batch b, attend_work w, uint32_t d, uint32_t group, uint32_t tile)
{
    KVC_SHARED(float, q);
    if (blockIdx.x == 0) {
        if (blockIdx.y == 0) count_units(l, b, w, tile);
        return;
    }
    uint32_t head = blockIdx.y, all = b.n_sequences * b.n_queries * group, first = (blockIdx.x - 1) * MAP_ROWS;
    uint32_t n_rows = min(all - first, (uint32_t)MAP_ROWS), n_heads = l.n_heads;
    auto row_of = [=](uint32_t r) { return ((first + r) / group * n_heads + head) * group + (first + r) % group; };
    for (uint32_t at = threadIdx.x; at < d * MAP_ROWS; at += blockDim.x) {
        uint32_t r = at / d;
        q[at % d * MAP_ROWS + r] = r < n_rows ? b.queries[(size_t)row_of(r) * d + at % d] : 0.0f;
    }
    __syncthreads();
    float *latent = w.latent;
    uint32_t n_latent = l.key_latent;
    apply_map_rows(n_rows, q, l.fold + (size_t)head * d * n_latent, d, n_latent, q + d * MAP_ROWS,
                   [=](uint32_t r, uint32_t channel, float x) {
                       if (r < n_rows) latent[(size_t)row_of(r) * n_latent + channel] = x;
                   });
    for (uint32_t r = threadIdx.x / 32; r < n_rows; r += blockDim.x / 32) {
        float bias = 0.0f;
        for (uint32_t i = threadIdx.x % 32; i < d; i += 32) bias += q[i * MAP_ROWS + r] * l.bias[head * d + i];
        for (int step = 16; step; step /= 2) bias += __shfl_xor_sync(~0u, bias, step);
        if (threadIdx.x % 32 == 0) w.query_bias[row_of(r)] = bias;
    }
}

/* The partial results of a run that the list has cut into pieces. */
struct merge_pieces {
    const float *first; /* of the column */
    size_t stride;
    uint32_t n;
};

struct merge_shape {
    uint32_t d, latent, group, columns, tile, n_blocks, n_warps;
    uint32_t rows; /* of a block, at most MAP_ROWS */
};

/* The number in the grid of the part that has unit `at` of the pages. */
__device__ inline uint32_t number_of(uint32_t at, uint32_t of_block, uint32_t of_head, uint32_t total,
                                     uint32_t n_parts)
{
    attend_piece p = piece_at(at, of_block, of_head, total, n_parts);
    return p.number + part_of(p, at);
}

/* Of the pages, or of the fp16 rows, of a sequence and head. */
__device__ inline merge_pieces pieces_of(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                         const merge_shape &m, const attend_roles &roles, uint32_t sequence,
                                         uint32_t head, bool exact, uint32_t column)
{
    const uint32_t *units = units_of(w, b, exact);
    uint32_t of_head = units[b.n_sequences], before = units[sequence], n_units = units[sequence + 1] - before;
    if (n_units == 0) return merge_pieces{NULL, 0, 0};
    uint32_t begin = head * of_head + before, end = begin + n_units - 1, total = l.n_heads * of_head;
    uint32_t first, last, n_parts = roles.columns.parts;
    if (exact) {
        uint32_t each = share_of(total, m.n_blocks * n_parts);
        first = begin / each, last = end / each;
    } else {
        uint32_t of_block = share_of(total, m.n_blocks);
        first = number_of(begin, of_block, of_head, total, n_parts);
        last = number_of(end, of_block, of_head, total, n_parts);
    }
    uint32_t result = roles.first_result(column / m.columns, exact) +
                      result_of(head, sequence, b.n_sequences, first, exact ? 0 : n_parts);
    uint32_t floats = result_floats(m.d, m.latent);
    size_t stride = (size_t)m.columns * floats;
    return merge_pieces{w.partial + result * stride + column % m.columns * floats, stride, last - first + 1};
}

/* Pieces put together, of four channels: weights are relative to the maximum. */
struct merge_sum {
    float most, mass;
    float4 x;
};

/* Pieces part, part + parts, ...; channels `channel` .. + 3. All that is read is asked for before it is needed. */
__device__ inline merge_sum add_pieces(const merge_pieces &p, uint32_t part, uint32_t parts, uint32_t channel)
{
    const uint32_t AHEAD = 4;
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
            s.x.x += weight * x[k].x, s.x.y += weight * x[k].y;
            s.x.z += weight * x[k].z, s.x.w += weight * x[k].w;
        }
    }
    return s;
}

/* Behind all others, [merge_blocks()][n_heads] blocks of merge_threads(), merge_bytes() of shared memory:
 * out [n_sequences][n_queries][query heads][d]. A row's pieces are shared out among the warps that there are for it.
 */
__host__ __device__ __forceinline__ uint32_t merge_threads(uint32_t d)
{
    return d > 128 ? ENDS_THREADS / 2 : ENDS_THREADS;
}
/* Few rows a block while blocks are few. */
__host__ __device__ __forceinline__ uint32_t merge_rows(uint32_t n_heads, uint32_t rows_of_head)
{
    uint32_t rows = 1;
    while (rows < MAP_ROWS && share_of(rows_of_head, rows) * n_heads > 256) rows *= 2;
    return rows;
}
/* Of a part of a row's pieces: weights of its pages and of its rows, relative to the maxima. */
struct merge_part {
    float most[2], mass[2]; /* most: then the weight of the part */
};
__host__ __device__ __forceinline__ uint32_t merge_bytes(uint32_t d, uint32_t latent)
{
    uint32_t n_warps = merge_threads(d) / 32, pieces = n_warps * (latent + d), sums = MAP_ROWS * n_warps * 32;
    return (MAP_ROWS * (latent + d + 2) + n_warps * 4 + (pieces > sums ? pieces : sums)) * (uint32_t)sizeof(float);
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

__global__ void __launch_bounds__(ENDS_THREADS, 2)
    attend_merge(attend_layer l, attend_batch b, attend_work w, float *out, merge_shape m)
{
    KVC_SHARED(float, latent); /* [latent channel][MAP_ROWS], [MAP_ROWS][d], mass and sum [MAP_ROWS] */
    float *exact = latent + MAP_ROWS * m.latent, *mass = exact + MAP_ROWS * m.d, *sum = mass + MAP_ROWS;
    merge_part *parts = (merge_part *)(sum + MAP_ROWS); /* [rows][splits] */
    float *pieces = (float *)(parts + blockDim.x / 32); /* [rows][splits][latent + d] */
    uint32_t head = blockIdx.y, of_sequence = b.n_queries * m.group, first = blockIdx.x * m.rows;
    uint32_t n_rows = min(m.rows, b.n_sequences * of_sequence - first), width = m.latent + m.d;
    uint32_t splits = blockDim.x / 32 / m.rows, warp = threadIdx.x / 32, r = warp / splits, split = warp % splits;
    if (r < n_rows) {
        uint32_t sequence = (first + r) / of_sequence, column = (first + r) % of_sequence;
        const attend_roles roles(l.n_heads, b.n_sequences, m.n_blocks, m.n_warps, share_of(of_sequence, m.columns));
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
        if (is_row)
            exact[row * m.d + j - m.latent] = x;
        else
            latent[j * MAP_ROWS + row] = x;
    }
    __syncthreads();
    uint32_t n_heads = l.n_heads, group = m.group, d = m.d;
    const float *mean = l.mean + (l.unfold ? head * d : 0);
    auto put = [=](uint32_t row, uint32_t j, float x) {
        if (row >= n_rows) return;
        uint32_t token = (first + row) / group, query_head = head * group + (first + row) % group;
        if (l.unfold) x += mean[j] * mass[row];
        float all = sum[row]; /* 0: of a sequence without tokens */
        out[((size_t)token * n_heads * group + query_head) * d + j] =
            all == 0.0f ? 0.0f : (x + exact[row * d + j]) / all;
    };
    if (l.unfold)
        apply_map_rows(n_rows, latent, l.unfold + (size_t)head * d * m.latent, m.latent, d, pieces, put);
    else
        for (uint32_t at = threadIdx.x; at < n_rows * d; at += blockDim.x)
            put(at / d, at % d, latent[at % d * MAP_ROWS + at / d]);
}

#endif
