/* attend_values.cuh - weighted sums: values, operand A, times weights, operand B (attend.cuh). */
#ifndef KERNELS_TEMPLATE_ATTEND_VALUES_CUH
#define KERNELS_TEMPLATE_ATTEND_VALUES_CUH
#include "template/attend_keys.cuh"

#define ATTEND_LEAST -1e30f /* a maximum before any score */
#define ATTEND_WEIGHT 16.0f /* weights times a scale are kept from becoming subnormal */

/* Of a run so far: maxima and sums of columns 2t and 2t+1 (+ 8 n); o: [16 channels][columns], TILES of them, in the
 * order of the side's slots. */
template <typename P, int N_TILES_OF_CHANNELS> struct attend_state {
    static const int TILES = N_TILES_OF_CHANNELS, TILES_N = P::COLUMNS / 8;
    float o[TILES][TILES_N][4];
    float max[TILES_N][2], sum[TILES_N][2], zero[TILES_N][2];

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
#pragma unroll
            for (int i = 0; i < TILES; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) o[i][n][e] = 0.0f;
#pragma unroll
            for (int c = 0; c < 2; c++) max[n][c] = ATTEND_LEAST, sum[n][c] = zero[n][c] = 0.0f;
        }
    }

    /* Scores of BLOCKS times 16 tokens become weights 2^(score - maximum); sums move to a new maximum. */
    template <int BLOCKS> __device__ __forceinline__ void weigh(float p[BLOCKS][TILES_N][4])
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            float factor[2];
            bool moved = false;
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float most = max[n][c];
#pragma unroll
                for (int i = 0; i < BLOCKS; i++) most = fmaxf(most, fmaxf(p[i][n][c], p[i][n][c + 2]));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 4));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 8));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 16));
                factor[c] = exp2_fast(max[n][c] - most);
                moved |= most != max[n][c];
                max[n][c] = most;
            }
            if (__any_sync(~0u, moved)) {
#pragma unroll
                for (int c = 0; c < 2; c++) sum[n][c] *= factor[c], zero[n][c] *= factor[c];
#pragma unroll
                for (int i = 0; i < TILES; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) o[i][n][e] *= factor[e % 2];
            }
#pragma unroll
            for (int i = 0; i < BLOCKS; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    p[i][n][e] = exp2_fast(p[i][n][e] - max[n][e % 2]);
                    sum[n][e % 2] += p[i][n][e];
                }
        }
    }

    __device__ static __forceinline__ float over_rows(float x)
    {
        x += __shfl_xor_sync(~0u, x, 4);
        x += __shfl_xor_sync(~0u, x, 8);
        return x + __shfl_xor_sync(~0u, x, 16);
    }

    /* Maximum, sum and weighted sum [n_channels] of each column. Slot i of lane g goes to channel place(i, g), unless
     * that is negative, times unit(i). */
    template <typename PLACE, typename UNIT>
    __device__ __forceinline__ void leave(float *result, int n_channels, int lane, PLACE place, UNIT unit) const
    {
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *out = result + (n * 8 + 2 * t + c) * (2 + n_channels);
                float all = over_rows(sum[n][c]), constant = over_rows(zero[n][c]);
                if (g == 0) out[0] = max[n][c], out[1] = all;
#pragma unroll
                for (int i = 0; i < 2 * TILES; i++) {
                    int channel = place(i, g);
                    if (channel >= 0) out[2 + channel] = o[i / 2][n][i % 2 * 2 + c] * unit(i) + constant;
                }
            }
    }
};

/* Weights of 16 tokens as operand B. */
template <typename P>
__device__ __forceinline__ void transpose_weights(const float p[P::COLUMNS / 8][4],
                                                  uint32_t weights[P::COLUMNS / 8][2])
{
#pragma unroll
    for (int n = 0; n < P::COLUMNS / 8; n++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            __half2 pair = __floats2half2_rn(p[n][half * 2], p[n][half * 2 + 1]);
            weights[n][half] = transpose_8x8(*reinterpret_cast<uint32_t *>(&pair));
        }
}

/* A side whose order of channels is known when the kernel is compiled. */
template <typename P, typename SIDE> struct attend_values {
    typedef typename SIDE::values VALUES;
    static const int TILES_N = P::COLUMNS / 8;
    typedef attend_state<P, VALUES::D / 16> state;

    /* 16 tokens' values, weighted by p: tokens[k] is the row of the lane's k-th token (2t, 2t+1, 2t+8, 2t+9). */
    __device__ static __forceinline__ void accumulate(state &s, const uint8_t *codes, const uint8_t *table,
                                                      const int tokens[4], const float p[TILES_N][4], int lane)
    {
        uint32_t early[VALUES::D / 8], late[VALUES::D / 8], weights[TILES_N][2];
        VALUES::load(codes, table, tokens[0], tokens[1], lane, early);
        VALUES::load(codes, table, tokens[2], tokens[3], lane, late);
        transpose_weights<P>(p, weights);
#pragma unroll
        for (int i = 0; i < VALUES::D / 16; i++) {
            uint32_t a[4] = {early[2 * i], early[2 * i + 1], late[2 * i], late[2 * i + 1]};
#pragma unroll
            for (int n = 0; n < TILES_N; n++) mma_16x8x16(s.o[i][n], a, weights[n]);
        }
    }

    __device__ static __forceinline__ void add(state &s, const typename SIDE::head &, const uint8_t *stage,
                                               const uint8_t *table, float p[P::TILE / 16][TILES_N][4], int lane)
    {
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            if (SIDE::SCALE == STAGED_TOK) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int token = i * 16 + g + half * 8;
                    float scale = half_at(stage + SIDE::SCALES, token) * ATTEND_WEIGHT;
                    float minimum = half_at(stage + SIDE::MINIMA, token);
#pragma unroll
                    for (int n = 0; n < TILES_N; n++)
#pragma unroll
                        for (int c = 0; c < 2; c++) {
                            s.zero[n][c] += p[i][n][half * 2 + c] * minimum;
                            p[i][n][half * 2 + c] *= scale;
                        }
                }
            }
            int tokens[4] = {i * 16 + 2 * t, i * 16 + 2 * t + 1, i * 16 + 2 * t + 8, i * 16 + 2 * t + 9};
            accumulate(s, stage, table, tokens, p[i], lane);
        }
    }

    __device__ static __forceinline__ void leave(const state &s, const typename SIDE::head &, float *result, int lane)
    {
        const float unit = SIDE::SCALE == STAGED_TOK ? ATTEND_CODE / ATTEND_WEIGHT : 1.0f;
        s.leave(
            result, VALUES::D, lane, [](int i, int g) { return VALUES::channel(i, g); },
            [unit](int i) { return unit / (float)(1 << VALUES::power(i)); });
    }
};

#endif
