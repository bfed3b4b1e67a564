/* attend_keys.cuh - scores: products of keys, operand A, with the queries of a group, operand B (attend.cuh). */
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

/* Where a run's queries come from: fp32 rows [n_sequences][n_queries][query heads][D] and what is added to each one's
 * scores, both to be multiplied by `factor`. */
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

/* Scores of BLOCKS times 16 tokens in base 2: x scale + bias; x as a product leaves it, masked ones -inf. */
template <typename P, int BLOCKS> struct attend_scores {
    static const int TILES_N = P::COLUMNS / 8;
    float x[BLOCKS][TILES_N][4];
    float scale[TILES_N][2], bias[BLOCKS][TILES_N][2]; /* of columns 2t and 2t+1 (+ 8 n) */
};

/* What the scores of a column are made of besides products: of columns 2t and 2t+1 (+ 8 n), as the lane has them in
 * results. */
template <typename P> struct query_scalars {
    static const int TILES_N = P::COLUMNS / 8;
    float scale[TILES_N][2], bias[TILES_N][2], sum[TILES_N][2];

    /* The query row of a column; absent where the batch has fewer. */
    __device__ static __forceinline__ size_t row_of(const attend_layer &l, const attend_batch &b,
                                                    const attend_run &run, int column, bool *present)
    {
        int token = column / P::GROUP;
        *present = token < (int)b.n_queries;
        return ((size_t)run.sequence * b.n_queries + token) * (l.n_heads * P::GROUP) + run.head * P::GROUP +
               column % P::GROUP;
    }

    /* From lane 4 g + t, which knows column g (+ 8 n), to the lanes that need it. */
    __device__ __forceinline__ void spread(int n, float own_scale, float own_bias, float own_sum, int lane)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            int from = (lane % 4 * 2 + i) * 4;
            scale[n][i] = __shfl_sync(~0u, own_scale, from);
            bias[n][i] = __shfl_sync(~0u, own_bias, from);
            sum[n][i] = __shfl_sync(~0u, own_sum, from);
        }
    }
};

/* The greatest of what four lanes t have of |x|; infinity where one of them is not finite. */
struct query_range {
    float most;

    __device__ __forceinline__ query_range() : most(0.0f) {}
    __device__ __forceinline__ void see(float x)
    {
        most = fabsf(x) <= 3.4028234e38f ? fmaxf(most, fabsf(x)) : INFINITY;
    }
    __device__ __forceinline__ void join()
    {
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
        most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
    }
    /* What brings the row's greatest value to 1 .. 2, a power of two; a row that is not finite to 0. */
    __device__ __forceinline__ float shrink() const
    {
        uint32_t exponent = __float_as_uint(most) >> 23;
        if (exponent == 255) return 0.0f;
        if (exponent == 0) return 1.0f;
        return __uint_as_float(exponent == 254 ? 0x00400000u : (254u - exponent) << 23);
    }
    /* Its inverse; NaN for a row that is not finite. */
    __device__ __forceinline__ float stretch() const
    {
        uint32_t exponent = __float_as_uint(most) >> 23;
        return exponent == 255 ? NAN : exponent == 0 ? 1.0f : __uint_as_float(exponent << 23);
    }
};

/* A value times `shrink`, 0 where that is 0. */
__device__ __forceinline__ uint32_t query_half(float x, float shrink)
{
    return shrink == 0.0f ? 0u : __half_as_ushort(__float2half_rn(x * shrink));
}

/* A side whose order of channels is known when the kernel is compiled: queries stay in registers. */
template <typename P, typename SIDE> struct attend_keys {
    typedef typename SIDE::keys KEYS;
    static const int TILES_N = P::COLUMNS / 8, PAIRS = KEYS::D / 8;
    static const int SCRATCH = 0; /* shared memory of a warp */
    static const bool BY_CHANNEL = SIDE::SCALE == STAGED_CH;

    /* Codes stand p bits to the left: queries take 2^(half of the most) / 2^p, scores the rest. */
    __device__ static __forceinline__ float lift()
    {
        return KEYS::CODES ? (float)(1 << KEYS::power(PAIRS - 1) / 2) : 1.0f;
    }
    __device__ static __forceinline__ float unit() { return KEYS::CODES ? ATTEND_CODE / lift() : 1.0f; }

    struct query : query_scalars<P> {
        /* Of column g (+ 8 n), in the order of the keys' pairs: as factors of codes, and (scales per channel) as they
         * are, for products with minima. */
        uint32_t pairs[TILES_N][PAIRS], plain[BY_CHANNEL ? TILES_N : 1][BY_CHANNEL ? PAIRS : 1];

        __device__ __forceinline__ void load(const typename SIDE::head &, const attend_layer &l,
                                             const attend_batch &b, const query_source &source, const attend_run &run,
                                             uint8_t *, int lane)
        {
#pragma unroll
            for (int n = 0; n < TILES_N; n++) {
                bool present;
                size_t row = this->row_of(l, b, run, n * 8 + lane / 4, &present);
                float x[PAIRS][2], sum = 0.0f;
                query_range range;
#pragma unroll
                for (int h = 0; h < PAIRS; h++) {
                    int channel[2];
                    KEYS::channels(h, lane % 4, &channel[0], &channel[1]);
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        x[h][i] = present ? source.rows[row * KEYS::D + channel[i]] * source.factor : 0.0f;
                        range.see(x[h][i]);
                    }
                }
                range.join();
                float shrink = range.shrink();
#pragma unroll
                for (int h = 0; h < PAIRS; h++) {
                    uint32_t pair = query_half(x[h][0], shrink) | query_half(x[h][1], shrink) << 16;
                    float2 halves = __half22float2(*reinterpret_cast<__half2 *>(&pair));
                    sum += halves.x + halves.y;
                    if (BY_CHANNEL) plain[n][h] = pair;
                    pairs[n][h] = KEYS::CODES ? multiply_pairs(pair, drop(h)) : pair;
                }
                sum += __shfl_xor_sync(~0u, sum, 1);
                sum += __shfl_xor_sync(~0u, sum, 2);
                float bias = present && source.bias ? source.bias[row] * source.factor : 0.0f;
                this->spread(n, range.stretch(), bias, sum, lane);
            }
        }
        __device__ static __forceinline__ __half2 drop(int h)
        {
            return __float2half2_rn(lift() / (float)(1 << KEYS::power(h)));
        }
    };

    /* Products of rows row0 (of the lane's g) and row1 with every column. */
    __device__ static __forceinline__ void products(const uint8_t *codes, const uint8_t *table, int row0, int row1,
                                                    const uint32_t pairs[TILES_N][PAIRS], int lane,
                                                    float acc[TILES_N][4])
    {
        uint32_t top[PAIRS], low[PAIRS];
        KEYS::load(codes, table, row0, lane, top);
        KEYS::load(codes, table, row1, lane, low);
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
#pragma unroll
            for (int i = 0; i < PAIRS / 2; i++) {
                uint32_t a[4] = {top[2 * i], low[2 * i], top[2 * i + 1], low[2 * i + 1]};
                mma_16x8x16(acc[n], a, &pairs[n][2 * i]);
            }
        }
    }

    /* The query times the scales of a group of tokens, and its product with their minima. */
    __device__ static __forceinline__ void scale_query(const query &q, const uint8_t *stage, int group, int lane,
                                                       uint32_t scaled[TILES_N][PAIRS], float zero[TILES_N][2])
    {
        const uint16_t *s = (const uint16_t *)(stage + SIDE::SCALES) + group * SIDE::D;
        const uint16_t *m = (const uint16_t *)(stage + SIDE::MINIMA) + group * SIDE::D;
        float acc[TILES_N][4] = {{0.0f}};
#pragma unroll
        for (int i = 0; i < PAIRS / 2; i++) {
            uint32_t minima[2];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                int first, second, h = 2 * i + j;
                KEYS::channels(h, lane % 4, &first, &second);
                uint32_t pair = s[first] | (uint32_t)s[second] << 16;
                minima[j] = m[first] | (uint32_t)m[second] << 16;
#pragma unroll
                for (int n = 0; n < TILES_N; n++)
                    scaled[n][h] = multiply_pairs(q.pairs[n][h], *reinterpret_cast<__half2 *>(&pair));
            }
            uint32_t a[4] = {minima[0], minima[0], minima[1], minima[1]};
#pragma unroll
            for (int n = 0; n < TILES_N; n++) mma_16x8x16(acc[n], a, &q.plain[n][2 * i]);
        }
#pragma unroll
        for (int n = 0; n < TILES_N; n++) zero[n][0] = acc[n][0], zero[n][1] = acc[n][1];
    }

    /* Scales and biases of all blocks where no token and no channel has its own. */
    template <int BLOCKS> __device__ static __forceinline__ void finish(const query &q, attend_scores<P, BLOCKS> &p)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                p.scale[n][c] = q.scale[n][c];
#pragma unroll
                for (int i = 0; i < BLOCKS; i++) p.bias[i][n][c] = q.bias[n][c];
            }
    }

    /* Of the TILE tokens of a stage. */
    template <int BLOCKS>
    __device__ static __forceinline__ void scores(const query &q, const typename SIDE::head &, const uint8_t *stage,
                                                  const uint8_t *table, const uint8_t *, int lane,
                                                  attend_scores<P, BLOCKS> &p)
    {
        uint32_t scaled[TILES_N][PAIRS];
        float zero[TILES_N][2] = {{0.0f}};
        int g = lane / 4;
        finish(q, p);
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            if (BY_CHANNEL && i * 16 % SIDE::TOKENS_OF_SCALE == 0)
                scale_query(q, stage, i * 16 / SIDE::TOKENS_OF_SCALE, lane, scaled, zero);
            products(stage, table, i * 16 + g, i * 16 + g + 8, BY_CHANNEL ? scaled : q.pairs, lane, p.x[i]);
            if (SIDE::SCALE == STAGED_TOK) scale_tokens(q, stage, i * 16 + g, p.x[i]);
            if (BY_CHANNEL) {
#pragma unroll
                for (int n = 0; n < TILES_N; n++)
#pragma unroll
                    for (int c = 0; c < 2; c++) p.bias[i][n][c] += zero[n][c] * q.scale[n][c];
            }
        }
        if (BY_CHANNEL) {
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int c = 0; c < 2; c++) p.scale[n][c] *= unit();
        }
    }

    /* Rows `token` and token + 8 have a scale and a minimum each. */
    __device__ static __forceinline__ void scale_tokens(const query &q, const uint8_t *stage, int token,
                                                        float x[TILES_N][4])
    {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float scale = half_at(stage + SIDE::SCALES, token + half * 8) * unit();
            float minimum = half_at(stage + SIDE::MINIMA, token + half * 8);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int c = 0; c < 2; c++) x[n][half * 2 + c] = x[n][half * 2 + c] * scale + q.sum[n][c] * minimum;
        }
    }
};

#endif
