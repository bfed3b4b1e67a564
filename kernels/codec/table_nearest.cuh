/* table_nearest.cuh - table_encode.cuh for one table of 16 to 256 entries of 2, 4 or 8 dimensions: tensor products
 * say which entries may be the nearest, and only their distances are worked out.
 *
 * |x - e|^2 / 2 is |x|^2 / 2 and a score, |e|^2 / 2 - x e, which is what a product makes of x as a sum of two fp16
 * numbers, of fp16 entries and of accumulators that begin at |e|^2 / 2. What is found is the first of the entries
 * whose distance, rounded as the runtime rounds it, is least: with m = 2 |x| + (the least distance)^.5 no score of
 * such an entry is off by more than 2^-17 m^2 + 2^-23 m (two halves, fp32 sums of 17 numbers that may be cut off, the
 * distance's own roundings; subnormal halves), and none that is 2^-15 (2 m^2) + 2^-30 above the least can be one. */
#ifndef KERNELS_CODEC_TABLE_NEAREST_CUH
#define KERNELS_CODEC_TABLE_NEAREST_CUH
#include "codec/table_encode.cuh"
#include "device.cuh"

#define NEAREST_GROUP 16u /* entries: two products of a warp, four scores a lane and row */
#define NEAREST_GROUPS 16u
#define NEAREST_VECTORS 16u /* of a warp: lane 4 g + q has vectors g and g + 8 */

__host__ __device__ constexpr bool table_nearest_takes(uint32_t dims)
{
    return dims == 2 || dims == 4 || dims == 8;
}

__device__ inline bool table_nearest_holds(uint32_t n_entries)
{
    return n_entries >= NEAREST_GROUP && n_entries <= NEAREST_GROUP * NEAREST_GROUPS;
}

/* In scratch: entries [n_entries][DIMS] fp16, and half their squared lengths. */
struct nearest_table {
    __half2 *entries;
    float *lengths;
};

template <uint32_t DIMS> __device__ inline nearest_table nearest_load(const page_tile &t, const table_set &set)
{
    nearest_table to = {(__half2 *)(void *)t.scratch, t.scratch + set.n_entries * (DIMS / 2)};
    __syncthreads(); /* what is there has been read */
    for (uint32_t e = threadIdx.x; e < set.n_entries; e += blockDim.x) {
        float sum = 0.0f;
#pragma unroll
        for (uint32_t k = 0; k < DIMS / 2; k++) {
            __half2 pair = ((const __half2 *)set.tables)[e * (DIMS / 2) + k];
            float2 x = __half22float2(pair);
            to.entries[e * (DIMS / 2) + k] = pair;
            sum += x.x * x.x + x.y * x.y;
        }
        to.lengths[e] = 0.5f * sum;
    }
    __syncthreads();
    return to;
}

/* What lane q has of a row of the left operand, columns 2 q, 2 q + 1 and 8 further on: -x in fp16, and then what that
 * leaves of it. An entry is in every DIMS rows of the right one. */
template <uint32_t DIMS>
__device__ inline void nearest_operand(const float (&x)[DIMS], uint32_t q, uint32_t &left, uint32_t &right)
{
    float a = x[0], b = x[1];
#pragma unroll
    for (uint32_t k = 2; k < DIMS; k += 2)
        if (2 * q % DIMS == k) a = x[k], b = x[k + 1];
    __half2 high = __floats2half2_rn(-a, -b);
    float2 rounded = __half22float2(high);
    __half2 low = __floats2half2_rn(-a - rounded.x, -b - rounded.y);
    uint32_t first = *(uint32_t *)(void *)&high, second = *(uint32_t *)(void *)&low;
    left = 2 * q < DIMS ? first : 2 * q < 2 * DIMS ? second : 0;
    right = DIMS == 8 ? second : 0;
}

/* The lane's least score in every group, of both its vectors. a: left operand. */
template <uint32_t DIMS>
__device__ inline void nearest_scores(const nearest_table &table, uint32_t n_entries, const uint32_t (&a)[4],
                                      float (&low)[2][NEAREST_GROUPS])
{
    uint32_t g = threadIdx.x % WARP / 4, q = threadIdx.x % 4;
    const uint32_t *entry = (const uint32_t *)(void *)table.entries + g * (DIMS / 2) + q % (DIMS / 2);
    const float *length = table.lengths + 2 * q;
#pragma unroll
    for (uint32_t j = 0; j < NEAREST_GROUPS; j++) {
        low[0][j] = low[1][j] = __uint_as_float(0x7f800000u);
        if (j * NEAREST_GROUP >= n_entries) continue;
#pragma unroll
        for (uint32_t e = j * NEAREST_GROUP; e < (j + 1) * NEAREST_GROUP; e += 8) {
            float2 from = *(const float2 *)(length + e);
            float score[4] = {from.x, from.y, from.x, from.y};
            uint32_t b[2] = {entry[e * (DIMS / 2)], entry[e * (DIMS / 2)]};
            mma_16x8x16(score, a, b);
            low[0][j] = fminf(low[0][j], fminf(score[0], score[1]));
            low[1][j] = fminf(low[1][j], fminf(score[2], score[3]));
        }
    }
}

/* Groups, one bit each, in which the lane has an entry that may be the nearest. */
template <uint32_t DIMS>
__device__ inline uint32_t nearest_groups(const float (&x)[DIMS], const float (&low)[NEAREST_GROUPS])
{
    float lowest = low[0], square = 0.0f;
    uint32_t groups = 0;
#pragma unroll
    for (uint32_t j = 1; j < NEAREST_GROUPS; j++) lowest = fminf(lowest, low[j]);
    for (int with = 1; with < 4; with *= 2) lowest = fminf(lowest, __shfl_xor_sync(0xffffffffu, lowest, with));
#pragma unroll
    for (uint32_t k = 0; k < DIMS; k++) square += x[k] * x[k];
    float distance = fmaxf(square + 2.0f * lowest, 0.0f); /* (a + b)^2 <= 2 a^2 + 2 b^2 */
    float most = lowest + ((8.0f * square + 2.0f * distance) * 0x1p-14f + 0x1p-30f);
#pragma unroll
    for (uint32_t j = 0; j < NEAREST_GROUPS; j++) groups |= (uint32_t)(low[j] <= most) << j;
    return groups;
}

/* Of the lane's entries in these groups the nearest, as far as it is nearer than `best`. */
template <uint32_t DIMS>
__device__ inline void nearest_among(const nearest_table &table, const float (&x)[DIMS], uint32_t groups, float &best,
                                     uint32_t &code)
{
    for (; groups; groups &= groups - 1) {
        uint32_t first = ((uint32_t)__ffs((int)groups) - 1) * NEAREST_GROUP + threadIdx.x % 4 * 2;
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            uint32_t e = first + k / 2 * 8 + k % 2;
            float entry[DIMS];
#pragma unroll
            for (uint32_t i = 0; i < DIMS; i += 2) {
                float2 pair = __half22float2(table.entries[(e * DIMS + i) / 2]);
                entry[i] = pair.x, entry[i + 1] = pair.y;
            }
            float distance = table_distance<DIMS, false>(x, entry);
            code = distance < best ? e : code;
            best = distance < best ? distance : best;
        }
    }
}

/* Vectors v .. of n, by a warp. */
template <uint32_t DIMS, typename READ, typename WRITE>
__device__ inline void nearest_vectors(const nearest_table &table, const table_set &set, uint32_t v, uint32_t n,
                                       READ read, WRITE write)
{
    uint32_t lane = threadIdx.x % WARP, q = lane % 4, row[2], c[2], a[4];
    float x[2][DIMS], low[2][NEAREST_GROUPS];
    v += lane / 4;
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        row[r] = (v + 8 * r) / set.n, c[r] = v + 8 * r - row[r] * set.n;
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k += 4) {
            float own = v + 8 * r < n ? read(row[r], c[r], (k + q) % DIMS) : 0.0f;
#pragma unroll
            for (uint32_t i = 0; i < 4 && i < DIMS; i++)
                x[r][k + i] = __shfl_sync(0xffffffffu, own, (int)(lane - q + i));
        }
        nearest_operand(x[r], q, a[r], a[2 + r]);
    }
    nearest_scores<DIMS>(table, set.n_entries, a, low);
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        float best = __uint_as_float(0x7f800000u);
        uint32_t code = 0;
        nearest_among(table, x[r], nearest_groups(x[r], low[r]), best, code);
        __syncwarp();
        table_meet(best, code);
        if (q == r && v + 8 * r < n) write(row[r], c[r], code);
    }
}

/* As table_search_one(). */
template <uint32_t DIMS, typename READ, typename WRITE>
__device__ inline void table_nearest(const page_tile &t, const table_set &set, READ read, WRITE write)
{
    uint32_t n = set.n * t.n_rows, step = blockDim.x / WARP * NEAREST_VECTORS;
    nearest_table table = nearest_load<DIMS>(t, set);
    for (uint32_t v = threadIdx.x / WARP * NEAREST_VECTORS; v < n; v += step)
        nearest_vectors<DIMS>(table, set, v, n, read, write);
}
#endif
