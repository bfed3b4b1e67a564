/* attend_values.cuh - weighted sums: values, operand A, times weights, operand B (attend.cuh). */
#ifndef KERNELS_TEMPLATE_ATTEND_VALUES_CUH
#define KERNELS_TEMPLATE_ATTEND_VALUES_CUH
#include "template/attend_keys.cuh"

#define ATTEND_ONES 0x3c003c00u /* 1, 1 */
#define ATTEND_SLACK 2.0f       /* weights may be up to 2^2 before sums move to a new maximum */

/* Columns 0, step, 2 step and 3 step of a partial result, of those that are present: `shared` [4][n_channels]. */
__device__ __forceinline__ void copy_results(float *result, uint32_t stride, int n_channels, const float *shared,
                                             int n_present, int step, int lane)
{
    for (int k = 0; k < 4; k++)
        for (int i = lane * 4; i < n_channels && k * step < n_present; i += 128)
            *(float4 *)(result + (uint32_t)(k * step) * stride + RESULT_CHANNELS + i) =
                *(const float4 *)(shared + k * n_channels + i);
}

/* Of a run so far: maxima of columns g (+ 8 n); o: [16 channels][columns], TILES of them, in the order of the side's
 * slots, and sums: of weights times minima [0], [1], and of weights [2], [3], both of columns 2t and 2t+1 (+ 8 n).
 * Where a token has several minima lanes g have the sums with the g-th.
 * Weights are 2^LIFT times what they should be, so that fp16 keeps small ones; leave() takes that back. */
template <typename P, int N_TILES_OF_CHANNELS, int LIFT> struct attend_state {
    static const int TILES = N_TILES_OF_CHANNELS, TILES_N = (P::COLUMNS + 7) / 8;
    float o[TILES][TILES_N][4];
    float max[TILES_N], sums[TILES_N][4];

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
#pragma unroll
            for (int i = 0; i < TILES; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) o[i][n][e] = 0.0f;
#pragma unroll
            for (int e = 0; e < 4; e++) sums[n][e] = 0.0f;
            max[n] = ATTEND_LEAST;
        }
    }

    /* Scores become weights 2^(score - maximum + LIFT); sums move to a new maximum when one is far enough above it.
     */
    template <int BLOCKS> __device__ __forceinline__ void weigh(attend_scores<P, BLOCKS> &p, int lane)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            float most = max[n];
#pragma unroll
            for (int i = 0; i < BLOCKS; i++)
                most = fmaxf(most, fmaxf(p.x[i][n][0], p.x[i][n][1]) * p.scale[n] + p.bias[i][n]);
            if (__any_sync(~0u, most > max[n] + ATTEND_SLACK)) { /* of some column */
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
                if (!(most > max[n] + ATTEND_SLACK)) most = max[n];
                move(n, exp2_fast(max[n] - most), lane);
                max[n] = most;
            }
#pragma unroll
            for (int i = 0; i < BLOCKS; i++) {
                float bias = p.bias[i][n] - max[n] + (float)LIFT;
                p.x[i][n][0] = exp2_fast(p.x[i][n][0] * p.scale[n] + bias);
                p.x[i][n][1] = exp2_fast(p.x[i][n][1] * p.scale[n] + bias);
            }
        }
    }

    /* Times what column g's maximum has changed by. */
    __device__ __forceinline__ void move(int n, float own, int lane)
    {
        float factor[2];
#pragma unroll
        for (int c = 0; c < 2; c++) factor[c] = __shfl_sync(~0u, own, (lane % 4 * 2 + c) * 4);
#pragma unroll
        for (int e = 0; e < 4; e++) sums[n][e] *= factor[e % 2];
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) o[i][n][e] *= factor[e % 2];
    }

    /* Weights of 16 tokens as operand B, counted; minima: of tokens 2t and 2t+1, and of 2t+8 and 2t+9. */
    __device__ __forceinline__ void take(const float p[2][TILES_N][2], const uint32_t minima[2],
                                         uint32_t weights[TILES_N][2])
    {
        count(p, minima, weights, sums);
    }
    __device__ static __forceinline__ void count(const float p[2][TILES_N][2], const uint32_t minima[2],
                                                 uint32_t weights[TILES_N][2], float sums[TILES_N][4])
    {
        uint32_t a[4] = {minima[0], ATTEND_ONES, minima[1], ATTEND_ONES};
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                __half2 pair = __floats2half2_rn(p[half][n][0], p[half][n][1]);
                weights[n][half] = *reinterpret_cast<uint32_t *>(&pair);
            }
            mma_16x8x16(sums[n], a, weights[n]);
        }
    }

    /* A partial result: maximum, sum and weighted sum [n_channels] of the first n_present columns. Slot i of lane g
     * goes to channel place(i, g), unless that is negative, times unit(i). They go through `shared`
     * [4][n_channels] of the warp, whose other channels are there already. SLOTS: of a minimum. */
    template <int SLOTS = 2 * TILES, typename PLACE, typename UNIT>
    __device__ __forceinline__ void leave(float *result, uint32_t stride, int n_channels, float *shared,
                                          uint32_t n_present, int lane, PLACE place, UNIT unit) const
    {
        const float drop = 1.0f / (float)(1 << LIFT);
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
            if (t == 0 && (uint32_t)(n * 8 + g) < n_present) result[(uint32_t)(n * 8 + g) * stride] = max[n];
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                __syncwarp();
#pragma unroll
                for (int i = 0; i < 2 * TILES; i++) {
                    int channel = place(i, g);
                    float minima = sums[n][c];
                    if (SLOTS < 2 * TILES) minima = __shfl_sync(~0u, minima, i / SLOTS * 4 + t);
                    if (channel >= 0)
                        shared[t * n_channels + channel] =
                            o[i / 2][n][i % 2 * 2 + c] * (unit(i) * drop) + minima * drop;
                }
                __syncwarp();
                uint32_t first = (uint32_t)(n * 8 + c), column = first + 2 * (uint32_t)t;
                if (g == 0 && column < n_present) result[column * stride + 1] = sums[n][2 + c] * drop;
                copy_results(result + first * stride, stride, n_channels, shared, (int)(n_present - first), 2, lane);
            }
        __syncwarp();
    }
};

/* A side whose order of channels is known when the kernel is compiled. */
template <typename P, typename SIDE> struct attend_values {
    typedef typename SIDE::values VALUES;
    static const int TILES_N = (P::COLUMNS + 7) / 8, TILES = VALUES::D / 16;
    static const bool BY_CHANNEL = SIDE::SCALE == STAGED_CH, BY_TOKEN = SIDE::SCALE == STAGED_TOK;
    static const int SCALES = SIDE::SCALES_OF_TOKEN, OF_SCALE = TILES / SCALES; /* products */
    typedef attend_state<P, TILES, BY_TOKEN ? 2 : 10>
        state; /* a weight, of up to 16, times a scale, of up to 4094, is fp16 */

    /* Scales of a lane's four tokens 2t, 2t+1, 2t+8, 2t+9, in pairs; and minima, the g-th of each in lanes g. */
    struct token_scales {
        uint32_t scale[SCALES][2], minimum[2];

        /* Of 16 tokens, from those of the first on. */
        __device__ __forceinline__ void load(const uint8_t *scales, const uint8_t *minima, int lane)
        {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int first = (lane % 4 * 2 + half * 8) * 2 * SCALES; /* byte */
                uint32_t words[SCALES];
#pragma unroll
                for (int i = 0; i < SCALES; i += fragment_chunk(4 * SCALES) / 4)
                    load_words<fragment_chunk(4 * SCALES)>(scales + first + 4 * i, words + i);
                if constexpr (SCALES == 1) {
                    scale[0][half] = words[0];
                    load_words<4>(minima + first, &minimum[half]);
                } else {
#pragma unroll
                    for (int j = 0; j < SCALES; j++) {
                        int other = SCALES + j; /* of the second token */
                        scale[j][half] = __byte_perm(words[j / 2], words[other / 2],
                                                     (j % 2 ? 0x32u : 0x10u) | (other % 2 ? 0x7600u : 0x5400u));
                    }
                    const uint16_t *own = (const uint16_t *)(minima + first) + min(lane / 4, SCALES - 1);
                    minimum[half] = own[0] | (uint32_t)own[SCALES] << 16;
                }
            }
        }
    };

    /* What a lane has of 16 tokens: tokens[k] is the row of its k-th one. */
    struct operands {
        uint32_t early[VALUES::D / 8], late[VALUES::D / 8];

        __device__ __forceinline__ void load(const uint8_t *codes, const uint8_t *table, const int tokens[4],
                                             int lane)
        {
            VALUES::load(codes, table, tokens[0], tokens[1], lane, early);
            VALUES::load(codes, table, tokens[2], tokens[3], lane, late);
        }
        /* Times weights(i, n) for the i-th 16 channels. */
        template <typename WEIGHTS>
        __device__ __forceinline__ void multiply(float o[TILES][TILES_N][4], WEIGHTS weights) const
        {
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                uint32_t a[4] = {early[2 * i], early[2 * i + 1], late[2 * i], late[2 * i + 1]};
#pragma unroll
                for (int n = 0; n < TILES_N; n++) mma_16x8x16(o[i][n], a, weights(i, n));
            }
        }
    };

    /* Tokens of a lane among the 16 from `first` on. */
    struct own_tokens {
        int of[4];

        __device__ __forceinline__ own_tokens(int first, int lane)
        {
            int t = lane % 4;
            of[0] = first + 2 * t, of[1] = first + 2 * t + 1, of[2] = first + 2 * t + 8, of[3] = first + 2 * t + 9;
        }
    };

    /* Weighted by p. */
    __device__ static __forceinline__ void accumulate(state &s, const operands &v, const float p[2][TILES_N][2],
                                                      const token_scales &scales)
    {
        uint32_t weights[TILES_N][2], scaled[SCALES][TILES_N][2];
        s.take(p, scales.minimum, weights);
#pragma unroll
        for (int j = 0; j < SCALES; j++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int half = 0; half < 2; half++)
                    scaled[j][n][half] =
                        BY_TOKEN ? multiply_pairs(weights[n][half],
                                                  *reinterpret_cast<const __half2 *>(&scales.scale[j][half]))
                                 : weights[n][half];
        v.multiply(s.o, [&](int i, int n) { return scaled[i / OF_SCALE][n]; });
    }

    /* Tokens that share scales per channel: N of them from `first` on, and the scales and minima of their channels.
     */
    template <int N>
    __device__ static __forceinline__ void add_group(state &s, const uint8_t *stage, const uint8_t *table,
                                                     const uint8_t *scales, const uint8_t *minima, int first,
                                                     const float (*p)[TILES_N][2], int lane)
    {
        const uint32_t none[2] = {0, 0};
        float o[TILES][TILES_N][4] = {}, sums[TILES_N][4] = {}, scale[2 * TILES], minimum[2 * TILES];
#pragma unroll
        for (int i = 0; i < N / 16; i++) {
            uint32_t weights[TILES_N][2];
            operands v;
            state::count(p + 2 * i, none, weights, sums);
            v.load(stage, table, own_tokens(first + i * 16, lane).of, lane);
            v.multiply(o, [&](int, int n) { return weights[n]; });
        }
        VALUES::by_slot(scales, lane / 4, scale);
        VALUES::by_slot(minima, lane / 4, minimum);
#pragma unroll
        for (int i = 0; i < 2 * TILES; i++) {
            float unit = scale[i] * (ATTEND_CODE / (float)(1 << VALUES::power(i)));
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int c = 0; c < 2; c++)
                    s.o[i / 2][n][i % 2 * 2 + c] += o[i / 2][n][i % 2 * 2 + c] * unit + sums[n][2 + c] * minimum[i];
        }
#pragma unroll
        for (int n = 0; n < TILES_N; n++) s.sums[n][2] += sums[n][2], s.sums[n][3] += sums[n][3];
    }

    __device__ static __forceinline__ void add(state &s, const typename SIDE::head &, const uint8_t *stage,
                                               const uint8_t *table, const float p[P::TILE / 8][TILES_N][2], int lane)
    {
        if constexpr (BY_CHANNEL) {
            const int N = SIDE::TOKENS_OF_SCALE < P::TILE ? SIDE::TOKENS_OF_SCALE : P::TILE;
#pragma unroll
            for (int i = 0; i < P::TILE / N; i++)
                add_group<N>(s, stage, table, stage + SIDE::SCALES + i * VALUES::D * 2,
                             stage + SIDE::MINIMA + i * VALUES::D * 2, i * N, p + i * N / 8, lane);
        } else {
#pragma unroll
            for (int i = 0; i < P::TILE / 16; i++) {
                token_scales scales = {};
                if (BY_TOKEN)
                    scales.load(stage + SIDE::SCALES + i * 32 * SCALES, stage + SIDE::MINIMA + i * 32 * SCALES, lane);
                operands v;
                v.load(stage, table, own_tokens(i * 16, lane).of, lane);
                accumulate(s, v, p + 2 * i, scales);
            }
        }
    }

    __device__ static __forceinline__ void leave(const state &s, const typename SIDE::head &, float *result,
                                                 uint32_t stride, float *shared, uint32_t n_present, int lane)
    {
        const float unit = BY_TOKEN ? ATTEND_CODE : 1.0f;
        s.template leave<2 * OF_SCALE>(
            result, stride, VALUES::D, shared, n_present, lane, [](int i, int g) { return VALUES::channel(i, g); },
            [unit](int i) { return BY_CHANNEL ? 1.0f : unit / (float)(1 << VALUES::power(i)); });
    }
};

#endif
