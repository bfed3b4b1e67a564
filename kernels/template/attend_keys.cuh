/* attend_keys.cuh - scores: products of the queries of a group, operand A (columns x channels), with keys, operand B
 * (channels x tokens) (attend.cuh). A lane 4 g + t has a token's channels as they come from its row, and gets column
 * g's scores of tokens 2t and 2t+1, which is how weights become operand B of the values' products. */
#ifndef KERNELS_TEMPLATE_ATTEND_KEYS_CUH
#define KERNELS_TEMPLATE_ATTEND_KEYS_CUH
#include <cuda_fp16.h>
#include "fragment/staged.cuh"
#include "template/attend_args.h"
#include "template/attend_units.cuh"

#define ATTEND_CODE 16777216.0f /* 2^24: codes are fp16 subnormals */

__device__ __forceinline__ uint32_t multiply_pairs(uint32_t a, __half2 b)
{
    __half2 x = __hmul2(*reinterpret_cast<__half2 *>(&a), b);
    return *reinterpret_cast<uint32_t *>(&x);
}

__device__ __forceinline__ float half_at(const uint8_t *at, int index)
{
    return __half2float(((const __half *)at)[index]);
}

/* Where a run's queries come from: fp32 rows [n_sequences][n_queries][query heads][D], 16-byte aligned, and what is
 * added to each one's scores, both to be multiplied by `factor`. */
struct query_source {
    const float *rows, *bias;
    float factor;

    __device__ static __forceinline__ query_source exact(const attend_batch &b)
    {
        return query_source{b.queries, NULL, b.score_scale * 1.44269504f}; /* log2 e */
    }
    __device__ static __forceinline__ query_source latent(const attend_layer &l, const attend_batch &b,
                                                          const attend_work &w)
    {
        query_source s = exact(b);
        if (l.fold) s.rows = w.latent, s.bias = w.query_bias;
        return s;
    }
};

/* Scores of BLOCKS times 8 tokens in base 2, of tokens 2t and 2t+1 and columns g (+ 8 n): x scale + bias; x as a
 * product leaves it, masked ones -inf. */
template <typename P, int BLOCKS> struct attend_scores {
    static const int TILES_N = (P::COLUMNS + 7) / 8;
    float x[BLOCKS][TILES_N][2];
    float scale[TILES_N], bias[BLOCKS][TILES_N];
};

/* What the scores of column g (+ 8 n) are made of besides products. */
template <typename P> struct query_scalars {
    static const int TILES_N = (P::COLUMNS + 7) / 8;
    float scale[TILES_N], bias[TILES_N];

    /* The query row of a column; absent where the batch has fewer. Where there are four columns they are there twice
     * (attend_pairs.cuh). */
    __device__ static __forceinline__ size_t row_of(const attend_layer &l, const attend_batch &b,
                                                    const attend_run &run, int column, bool *present)
    {
        uint32_t of_head = run.first_column + (uint32_t)(column % P::COLUMNS), token = of_head / P::GROUP;
        *present = token < b.n_queries;
        return ((size_t)run.sequence * b.n_queries + token) * (l.n_heads * P::GROUP) + run.head * P::GROUP +
               of_head % P::GROUP;
    }

    /* Scales and biases of all blocks where no token and no channel has its own. */
    template <int BLOCKS> __device__ __forceinline__ void finish(attend_scores<P, BLOCKS> &p) const
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            p.scale[n] = scale[n];
#pragma unroll
            for (int i = 0; i < BLOCKS; i++) p.bias[i][n] = bias[n];
        }
    }
};

/* Products of all columns with 8 tokens, PRODUCTS times 16 channels: q of column g (+ 8 n), k of token g, both in
 * pairs of channels as lane t has them. Operand A has 16 rows: two tiles of columns, or, of one tile, two
 * neighbouring products, each of which has its own sums then. */
template <int TILES_N, int PRODUCTS> struct row_products {
    float sums[TILES_N][4];

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.0f;
    }
    __device__ __forceinline__ void add(const uint32_t q[TILES_N][2 * PRODUCTS], const uint32_t k[2 * PRODUCTS])
    {
#pragma unroll
        for (int n = 0; n + 1 < TILES_N; n += 2)
#pragma unroll
            for (int i = 0; i < PRODUCTS; i++) {
                uint32_t a[4] = {q[n][2 * i], q[n + 1][2 * i], q[n][2 * i + 1], q[n + 1][2 * i + 1]};
                mma_16x8x16(sums[n], a, k + 2 * i);
            }
        if (TILES_N % 2 == 0) return;
        const int n = TILES_N - 1;
        float odd[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < PRODUCTS; i += 2) {
            bool two = i + 1 < PRODUCTS;
            uint32_t a[4] = {q[n][2 * i], two ? q[n][2 * i + 2] : 0u, q[n][2 * i + 1], two ? q[n][2 * i + 3] : 0u};
            mma_16x8x16(sums[n], a, k + 2 * i);
            if (two) mma_16x8x16(odd, a, k + 2 * i + 2);
        }
        sums[n][0] += odd[2], sums[n][1] += odd[3];
    }
    /* Of token 2t + e. */
    __device__ __forceinline__ float of(int n, int e) const
    {
        return TILES_N % 2 && n == TILES_N - 1 ? sums[n][e] : sums[n / 2 * 2][n % 2 * 2 + e];
    }
};

/* The greatest |x| of a row; infinity where an x is not finite: numbers that are not negative are in the order of
 * their bits, and NaN has the greatest. */
struct query_range {
    uint32_t bits;

    __device__ __forceinline__ query_range() : bits(0) {}
    __device__ __forceinline__ void see(float x) { bits = max(bits, __float_as_uint(x) & 0x7fffffffu); }
    /* What the N lanes of a row have seen: four lanes t, or both times four of a column of bytes. */
    template <int N> __device__ __forceinline__ void join()
    {
#pragma unroll
        for (int step = 1; step < N; step *= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, step));
        bits = min(bits, 0x7f800000u);
    }
    __device__ __forceinline__ float most() const
    {
        return __uint_as_float(bits);
    }
    /* What brings the row's greatest value to 1 .. 2, a power of two; a row that is not finite to 0. */
    __device__ __forceinline__ float shrink() const
    {
        uint32_t exponent = bits >> 23;
        if (exponent == 255) return 0.0f;
        if (exponent == 0) return 1.0f;
        return __uint_as_float(exponent == 254 ? 0x00400000u : (254u - exponent) << 23);
    }
    /* Its inverse; NaN for a row that is not finite. */
    __device__ __forceinline__ float stretch() const
    {
        uint32_t exponent = bits >> 23;
        return exponent == 255 ? __uint_as_float(0x7fc00000u)
               : exponent == 0 ? 1.0f
                               : __uint_as_float(exponent << 23);
    }
};

/* Two values times `shrink`, 0 where that is 0. */
__device__ __forceinline__ uint32_t query_pair(float x, float y, float shrink)
{
    __half2 pair = __floats2half2_rn(x * shrink, y * shrink);
    return shrink == 0.0f ? 0u : *reinterpret_cast<uint32_t *>(&pair);
}

/* A side whose order of channels is known when the kernel is compiled: queries stay in registers. */
template <typename P, typename SIDE> struct attend_keys {
    typedef typename SIDE::keys KEYS;
    static const int TILES_N = (P::COLUMNS + 7) / 8, PAIRS = KEYS::D / 8;
    static const int SCRATCH = 0; /* shared memory of a warp */
    static const bool BY_CHANNEL = SIDE::SCALE == STAGED_CH, BY_TOKEN = SIDE::SCALE == STAGED_TOK;
    static const int SCALES = SIDE::SCALES_OF_TOKEN, OF_SCALE = PAIRS / SCALES; /* pairs */

    /* Codes stand p bits to the left: queries take 2^(half of the most) / 2^p, scores the rest. */
    __device__ static __forceinline__ float lift()
    {
        return KEYS::CODES ? (float)(1 << KEYS::power(PAIRS - 1) / 2) : 1.0f;
    }
    __device__ static __forceinline__ float unit() { return KEYS::CODES ? ATTEND_CODE / lift() : 1.0f; }

    struct query : query_scalars<P> {
        /* Of column g (+ 8 n), in the order of the keys' pairs: as factors of codes, and (scales per channel) as they
         * are, for products with minima; and sums, of the channels that have a scale in common. */
        uint32_t pairs[TILES_N][PAIRS], plain[TILES_N][PAIRS];
        float sum[TILES_N][SCALES];

        __device__ __forceinline__ void load(const typename SIDE::head &, const attend_layer &l,
                                             const attend_batch &b, const query_source &source, const attend_run &run,
                                             uint8_t *, int lane)
        {
#pragma unroll
            for (int n = 0; n < TILES_N; n++) {
                bool present;
                size_t row = this->row_of(l, b, run, n * 8 + lane / 4, &present);
                const float *from = source.rows + (present ? row : 0) * KEYS::D;
                float x[PAIRS][2];
                query_range range;
#pragma unroll
                for (int h = 0; h < PAIRS; h++) {
                    int channel[2];
                    KEYS::channels(h, lane % 4, &channel[0], &channel[1]);
                    float2 two;
                    if (KEYS::NEIGHBOURS)
                        two = *(const float2 *)(from + channel[0]);
                    else
                        two = make_float2(from[channel[0]], from[channel[1]]);
                    x[h][0] = present ? two.x * source.factor : 0.0f;
                    x[h][1] = present ? two.y * source.factor : 0.0f;
                    range.see(x[h][0]), range.see(x[h][1]);
                }
                range.join<4>();
                float shrink = range.shrink();
#pragma unroll
                for (int j = 0; j < SCALES; j++) sum[n][j] = 0.0f;
#pragma unroll
                for (int h = 0; h < PAIRS; h++) {
                    uint32_t pair = query_pair(x[h][0], x[h][1], shrink);
                    float2 halves = __half22float2(*reinterpret_cast<__half2 *>(&pair));
                    sum[n][h / OF_SCALE] += halves.x + halves.y;
                    plain[n][h] = pair;
                    pairs[n][h] = KEYS::CODES ? multiply_pairs(pair, drop(h)) : pair;
                }
#pragma unroll
                for (int j = 0; j < SCALES; j++) {
                    sum[n][j] += __shfl_xor_sync(~0u, sum[n][j], 1);
                    sum[n][j] += __shfl_xor_sync(~0u, sum[n][j], 2);
                }
                this->scale[n] = range.stretch();
                this->bias[n] = present && source.bias ? source.bias[row] * source.factor : 0.0f;
            }
        }
        __device__ static __forceinline__ __half2 drop(int h)
        {
            return __float2half2_rn(lift() / (float)(1 << KEYS::power(h)));
        }
    };

    /* Products of eight tokens with every column, of N of the lane's pairs from pair `first` on. */
    template <int N = PAIRS>
    __device__ static __forceinline__ void products(const uint32_t keys[PAIRS], const uint32_t pairs[TILES_N][PAIRS],
                                                    float out[TILES_N][2], int first = 0)
    {
        row_products<TILES_N, N / 2> sums;
        uint32_t q[TILES_N][N];
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int h = 0; h < N; h++) q[n][h] = pairs[n][first + h];
        sums.clear();
        sums.add(q, keys + first);
#pragma unroll
        for (int n = 0; n < TILES_N; n++) out[n][0] = sums.of(n, 0), out[n][1] = sums.of(n, 1);
    }

    /* The query times the scales of a group of tokens, and its product with their minima. */
    __device__ static __forceinline__ void scale_query(const query &q, const uint8_t *stage, int group, int lane,
                                                       uint32_t scaled[TILES_N][PAIRS], float zero[TILES_N])
    {
        const uint16_t *s = (const uint16_t *)(stage + SIDE::SCALES) + group * SIDE::D;
        const uint16_t *m = (const uint16_t *)(stage + SIDE::MINIMA) + group * SIDE::D;
        uint32_t minima[PAIRS];
#pragma unroll
        for (int h = 0; h < PAIRS; h++) {
            int first, second;
            KEYS::channels(h, lane % 4, &first, &second);
            uint32_t pair = s[first] | (uint32_t)s[second] << 16;
            minima[h] = m[first] | (uint32_t)m[second] << 16;
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
                scaled[n][h] = multiply_pairs(q.pairs[n][h], *reinterpret_cast<__half2 *>(&pair));
        }
        row_products<TILES_N, PAIRS / 2> sums;
        sums.clear();
        sums.add(q.plain, minima);
#pragma unroll
        for (int n = 0; n < TILES_N; n++) zero[n] = sums.of(n, 0);
    }

    /* Of the TILE tokens of a stage. */
    template <int BLOCKS>
    __device__ static __forceinline__ void scores(const query &q, const typename SIDE::head &, const uint8_t *stage,
                                                  const uint8_t *table, const uint8_t *, int lane,
                                                  attend_scores<P, BLOCKS> &p)
    {
        uint32_t scaled[TILES_N][PAIRS];
        float zero[TILES_N] = {0.0f};
        q.finish(p);
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            if (BY_CHANNEL && i * 8 % SIDE::TOKENS_OF_SCALE == 0)
                scale_query(q, stage, i * 8 / SIDE::TOKENS_OF_SCALE, lane, scaled, zero);
            uint32_t keys[PAIRS];
            KEYS::load(stage, table, i * 8 + lane / 4, lane, keys);
            if (BY_TOKEN)
                score_tokens(q, keys, stage, i * 8 + lane % 4 * 2, p.x[i]);
            else
                products(keys, BY_CHANNEL ? scaled : q.pairs, p.x[i]);
#pragma unroll
            for (int n = 0; n < TILES_N; n++) p.bias[i][n] += zero[n] * q.scale[n];
        }
        if (BY_CHANNEL) {
#pragma unroll
            for (int n = 0; n < TILES_N; n++) p.scale[n] *= unit();
        }
    }

    /* Of eight tokens, of which the lane has the scores of `token` and the next: each has scales and minima. */
    __device__ static __forceinline__ void score_tokens(const query &q, const uint32_t keys[PAIRS],
                                                        const uint8_t *stage, int token, float x[TILES_N][2])
    {
        float scale[2 * SCALES], minimum[2 * SCALES];
        load_halves<2 * SCALES>(stage + SIDE::SCALES + token * 2 * SCALES, scale);
        load_halves<2 * SCALES>(stage + SIDE::MINIMA + token * 2 * SCALES, minimum);
#pragma unroll
        for (int j = 0; j < SCALES; j++) {
            float part[TILES_N][2];
            products<OF_SCALE>(keys, q.pairs, part, j * OF_SCALE);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    float y = part[n][e] * (scale[e * SCALES + j] * unit()) + q.sum[n][j] * minimum[e * SCALES + j];
                    x[n][e] = j ? x[n][e] + y : y;
                }
        }
    }
};

#endif
