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

#define NEAREST_FEWEST 16u
#define NEAREST_GROUP 32u /* entries: four products of a warp, eight scores a lane and row */
#define NEAREST_GROUPS 8u
#define NEAREST_TOGETHER 2u /* groups whose products do not wait for each other */
#define NEAREST_VECTORS 16u /* of a warp: lane 4 g + q has vectors g and g + 8 */

__host__ __device__ constexpr bool table_nearest_takes(uint32_t dims)
{
    return dims == 2 || dims == 4 || dims == 8;
}

__device__ inline bool table_nearest_holds(uint32_t n_entries)
{
    return n_entries >= NEAREST_FEWEST && n_entries <= NEAREST_GROUP * NEAREST_GROUPS;
}

/* In scratch, for groups that go together; what fills these up is infinitely far. */
struct nearest_table {
    float4 *lengths; /* a, b, a, b: half the squared lengths of entries 2 i and 2 i + 1, where a product begins */
    float *entries;  /* [n][DIMS] */
    uint4 *operands; /* the same in fp16: four entries 8 apart, as nearest_operand_at() says */
};

/* Where channels 2 k and 2 k + 1 of an entry are, in words: what a lane has of four products lies side by side. */
template <uint32_t DIMS> __device__ inline uint32_t nearest_operand_at(uint32_t e, uint32_t k)
{
    return ((e / NEAREST_GROUP * 8 + e % 8) * (DIMS / 2) + k) * 4 + e / 8 % 4;
}

template <uint32_t DIMS> __device__ inline nearest_table nearest_load(const page_tile &t, const table_set &set)
{
    const uint32_t together = NEAREST_TOGETHER * NEAREST_GROUP,
                   n = (set.n_entries + together - 1) / together * together;
    float *entries = t.scratch + 2 * n;
    nearest_table to = {(float4 *)(void *)t.scratch, entries, (uint4 *)(void *)(entries + n * DIMS)};
    __syncthreads(); /* what is there has been read */
    for (uint32_t e = threadIdx.x; e < n; e += blockDim.x) {
        const float far = __uint_as_float(0x7f800000u);
        float sum = 0.0f;
        bool there = e < set.n_entries;
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k += 2) {
            __half2 pair = __floats2half2_rn(0.0f, 0.0f);
            if (there) pair = ((const __half2 *)set.tables)[(e * DIMS + k) / 2];
            float2 x = __half22float2(pair);
            ((__half2 *)(void *)to.operands)[nearest_operand_at<DIMS>(e, k / 2)] = pair;
            *(float2 *)(to.entries + e * DIMS + k) = there ? x : float2{far, far};
            sum += x.x * x.x + x.y * x.y;
        }
        float *length = t.scratch + e / 2 * 4 + e % 2;
        length[0] = length[2] = there ? 0.5f * sum : far;
    }
    __syncthreads();
    return to;
}

/* What lane q has of a row of the left operand, columns 2 q, 2 q + 1 and 8 further on: -x in fp16, and then what that
 * leaves of it. An entry is in every DIMS rows of the right one. */
template <uint32_t DIMS>
__device__ inline void nearest_operand(const float (&x)[DIMS], uint32_t q, uint32_t &left, uint32_t &right)
{
    uint32_t bits[2] = {0, 0}; /* chosen by masks: by index or select they would lie in memory */
#pragma unroll
    for (uint32_t k = 0; k < DIMS; k++)
        bits[k % 2] |= __float_as_uint(x[k]) & (2 * q % DIMS == k / 2 * 2 ? 0xffffffffu : 0u);
    float a = __uint_as_float(bits[0]), b = __uint_as_float(bits[1]);
    __half2 high = __floats2half2_rn(-a, -b);
    float2 rounded = __half22float2(high);
    __half2 low = __floats2half2_rn(-a - rounded.x, -b - rounded.y);
    uint32_t first = *(uint32_t *)(void *)&high, second = *(uint32_t *)(void *)&low;
    left = 2 * q < DIMS ? first : 2 * q < 2 * DIMS ? second : 0;
    right = DIMS == 8 ? second : 0;
}

/* Eight entries; up to four dimensions fill half of the operands. */
template <uint32_t DIMS>
__device__ inline void nearest_product(float (&score)[4], float4 from, const uint32_t (&a)[4], uint32_t b)
{
    const uint32_t twice[2] = {b, b};
    score[0] = from.x, score[1] = from.y, score[2] = from.z, score[3] = from.w;
    if (DIMS == 8)
        mma_16x8x16(score, a, twice);
    else
        mma_16x8x8(score, a, b);
}

/* The lane's least score in a group, of both its vectors. */
__device__ inline void nearest_least(const float (&x)[4][4], float &low, float &other)
{
    float least[4];
#pragma unroll
    for (uint32_t i = 0; i < 4; i++) least[i] = fminf(fminf(x[0][i], x[1][i]), fminf(x[2][i], x[3][i]));
    low = fminf(least[0], least[1]);
    other = fminf(least[2], least[3]);
}

/* In every group; a: left operand. */
template <uint32_t DIMS>
__device__ inline void nearest_scores(const nearest_table &table, uint32_t n_entries, const uint32_t (&a)[4],
                                      float (&low)[2][NEAREST_GROUPS])
{
    uint32_t g = threadIdx.x % WARP / 4, q = threadIdx.x % 4;
    const uint4 *operand = table.operands + nearest_operand_at<DIMS>(g, q % (DIMS / 2)) / 4;
    const float4 *length = table.lengths + q;
#pragma unroll
    for (uint32_t first = 0; first < NEAREST_GROUPS; first += NEAREST_TOGETHER) {
        if (first * NEAREST_GROUP < n_entries) {
#pragma unroll
            for (uint32_t j = first; j < first + NEAREST_TOGETHER; j++) {
                const float4 *from = length + j * (NEAREST_GROUP / 2);
                uint4 four = operand[j * 8 * (DIMS / 2)];
                float x[4][4];
                nearest_product<DIMS>(x[0], from[0], a, four.x);
                nearest_product<DIMS>(x[1], from[4], a, four.y);
                nearest_product<DIMS>(x[2], from[8], a, four.z);
                nearest_product<DIMS>(x[3], from[12], a, four.w);
                nearest_least(x, low[0][j], low[1][j]);
            }
        } else {
#pragma unroll
            for (uint32_t j = first; j < first + NEAREST_TOGETHER; j++)
                low[0][j] = low[1][j] = __uint_as_float(0x7f800000u);
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
    for (uint32_t j = NEAREST_GROUPS; j-- > 0;) /* signs: low[j] < most, which the margin sees to for the lowest */
        groups = __funnelshift_l(__float_as_uint(low[j] - most), groups, 1);
    return groups;
}

/* The nearest of the entries in these groups of all four lanes of a vector: each lane has two of the eight that one
 * of them has in a group. Mostly there is one group of one lane. */
template <uint32_t DIMS>
__device__ inline void nearest_among(const nearest_table &table, const float (&x)[DIMS], uint32_t groups, float &best,
                                     uint32_t &code)
{
    uint32_t q = threadIdx.x % 4;
    groups <<= NEAREST_GROUPS * q;
    for (int with = 1; with < 4; with *= 2) groups |= __shfl_xor_sync(0xffffffffu, groups, with);
    best = __uint_as_float(0x7f800000u), code = 0;
    for (; groups; groups &= groups - 1) {
        uint32_t first = (uint32_t)__ffs((int)groups) - 1; /* 8 times the lane, and the group */
        uint32_t e = first % NEAREST_GROUPS * NEAREST_GROUP + first / NEAREST_GROUPS * 2 + q * 8;
#pragma unroll
        for (uint32_t k = 0; k < 2; k++) {
            float entry[DIMS];
            load_floats(table.entries + (e + k) * DIMS, entry);
            table_prefer(table_distance<DIMS, false>(x, entry), e + k, best, code);
        }
    }
    __syncwarp();
    table_meet(best, code);
}

/* The lane's two vectors: rows, and which codes of these. Where there is no second one, the first is taken twice. */
struct nearest_place {
    uint32_t row[2], c[2];
};

/* By a warp. */
template <uint32_t DIMS, typename READ, typename WRITE>
__device__ inline void nearest_vectors(const nearest_table &table, uint32_t n_entries, nearest_place at,
                                       uint32_t n_rows, READ read, WRITE write)
{
    uint32_t lane = threadIdx.x % WARP, q = lane % 4, a[4];
    float x[2][DIMS], low[2][NEAREST_GROUPS];
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        bool there = at.row[r] < n_rows;
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k += 4) {
            float own = read(there ? at.row[r] : at.row[0], there ? at.c[r] : at.c[0], (k + q) % DIMS);
#pragma unroll
            for (uint32_t i = 0; i < 4 && i < DIMS; i++) x[r][k + i] = __shfl_sync(0xffffffffu, own, (int)i, 4);
        }
        nearest_operand(x[r], q, a[r], a[2 + r]);
    }
    nearest_scores<DIMS>(table, n_entries, a, low);
#pragma unroll
    for (uint32_t r = 0; r < 2; r++) {
        float best;
        uint32_t code;
        nearest_among(table, x[r], nearest_groups(x[r], low[r]), best, code);
        if (q == r && at.row[r] < n_rows) write(at.row[r], at.c[r], code);
    }
}

/* As table_search_one(). */
template <uint32_t DIMS, typename READ, typename WRITE>
__device__ inline void table_nearest(const page_tile &t, const table_set &set, READ read, WRITE write)
{
    uint32_t n = set.n * t.n_rows, step = blockDim.x / WARP * NEAREST_VECTORS,
             v = threadIdx.x / WARP * NEAREST_VECTORS;
    uint32_t rows = step / set.n, codes = step - rows * set.n;
    nearest_table table = nearest_load<DIMS>(t, set);
    nearest_place at;
    for (uint32_t r = 0; r < 2; r++) {
        uint32_t own = v + threadIdx.x % WARP / 4 + 8 * r;
        at.row[r] = own / set.n, at.c[r] = own - at.row[r] * set.n;
    }
    for (; v < n; v += step) {
        nearest_vectors<DIMS>(table, set.n_entries, at, t.n_rows, read, write);
        for (uint32_t r = 0; r < 2; r++) {
            at.row[r] += rows, at.c[r] += codes;
            if (at.c[r] >= set.n) at.row[r]++, at.c[r] -= set.n;
        }
    }
}
#endif
