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

/* What the scores of a column are made of besides products: of columns 2t and 2t+1 (+ 8 n), as the lane has them in
 * results. */
template <typename P> struct query_scalars {
    static const int TILES_N = P::COLUMNS / 8;
    float scale[TILES_N][2], bias[TILES_N][2], sum[TILES_N][2];

    /* The query row of a column; absent where the batch has fewer. */
    __device__ static __forceinline__ size_t row_of(const attend_layer &l, const attend_batch &b,
                                                    const attend_run &run, int column, bool *present)
    {
        uint32_t of_head = run.first_column + (uint32_t)column, token = of_head / P::GROUP;
        *present = token < b.n_queries;
        return ((size_t)run.sequence * b.n_queries + token) * (l.n_heads * P::GROUP) + run.head * P::GROUP +
               of_head % P::GROUP;
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

/* A side whose order of channels is known when the kernel is compiled: queries stay in registers. */
template <typename P, typename SIDE> struct attend_keys {
    typedef typename SIDE::keys KEYS;
    static const int TILES_N = P::COLUMNS / 8, PAIRS = KEYS::D / 8;
    static const int SCRATCH = 0; /* shared memory of a warp */

    struct query : query_scalars<P> {
        uint32_t pairs[TILES_N][PAIRS]; /* column g (+ 8 n), in the order of the keys' pairs */
    };

    __device__ static void load(query &q, const typename SIDE::head &, const attend_layer &l, const attend_batch &b,
                                const uint16_t *rows, const float *scales, const float *biases, const attend_run &run,
                                uint8_t *, int lane)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            bool present;
            size_t row = q.row_of(l, b, run, n * 8 + lane / 4, &present);
            float sum = 0.0f;
#pragma unroll
            for (int h = 0; h < PAIRS; h++) {
                int first, second;
                KEYS::channels(h, lane % 4, &first, &second);
                uint32_t low = present ? rows[row * KEYS::D + first] : 0,
                         high = present ? rows[row * KEYS::D + second] : 0;
                sum += __half2float(__ushort_as_half((unsigned short)low)) +
                       __half2float(__ushort_as_half((unsigned short)high));
                q.pairs[n][h] = low | high << 16;
            }
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            q.spread(n, present ? scales[row] : 0.0f, present && biases ? biases[row] : 0.0f, sum, lane);
        }
    }

    /* Codes stand p bits to the left: queries take 2^(half of the most) / 2^p, scores the rest. */
    __device__ static __forceinline__ float lift()
    {
        return (float)(1 << KEYS::power(PAIRS - 1) / 2);
    }
    __device__ static __forceinline__ __half2 drop(int h)
    {
        return __float2half2_rn(lift() / (float)(1 << KEYS::power(h)));
    }

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
                __half2 factor = __hmul2(*reinterpret_cast<__half2 *>(&pair), drop(h));
#pragma unroll
                for (int n = 0; n < TILES_N; n++) scaled[n][h] = multiply_pairs(q.pairs[n][h], factor);
            }
            uint32_t a[4] = {minima[0], minima[0], minima[1], minima[1]};
#pragma unroll
            for (int n = 0; n < TILES_N; n++) mma_16x8x16(acc[n], a, &q.pairs[n][2 * i]);
        }
#pragma unroll
        for (int n = 0; n < TILES_N; n++) zero[n][0] = acc[n][0], zero[n][1] = acc[n][1];
    }

    /* Scores (base 2) of the TILE tokens of a stage: [16 tokens][columns] by 16 tokens. */
    __device__ static __forceinline__ void scores(const query &q, const typename SIDE::head &, const uint8_t *stage,
                                                  const uint8_t *table, const uint8_t *, int lane,
                                                  float out[P::TILE / 16][TILES_N][4])
    {
        uint32_t scaled[TILES_N][PAIRS];
        float zero[TILES_N][2];
        int g = lane / 4;
        if (SIDE::SCALE == STAGED_TOK) {
#pragma unroll
            for (int h = 0; h < PAIRS; h++)
#pragma unroll
                for (int n = 0; n < TILES_N; n++) scaled[n][h] = multiply_pairs(q.pairs[n][h], drop(h));
        }
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            if (SIDE::SCALE == STAGED_CH && i * 16 % SIDE::TOKENS_OF_SCALE == 0)
                scale_query(q, stage, i * 16 / SIDE::TOKENS_OF_SCALE, lane, scaled, zero);
            products(stage, table, i * 16 + g, i * 16 + g + 8, SIDE::SCALE == STAGED_NONE ? q.pairs : scaled, lane,
                     out[i]);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int column = e % 2, token = i * 16 + g + e / 2 * 8;
                    float x = out[i][n][e];
                    if (KEYS::CODES) x *= ATTEND_CODE / lift();
                    if (SIDE::SCALE == STAGED_CH) x += zero[n][column];
                    if (SIDE::SCALE == STAGED_TOK)
                        x = x * half_at(stage + SIDE::SCALES, token) +
                            q.sum[n][column] * half_at(stage + SIDE::MINIMA, token);
                    out[i][n][e] = x * q.scale[n][column] + q.bias[n][column];
                }
        }
    }
};

#endif
