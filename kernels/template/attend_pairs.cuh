/* attend_pairs.cuh - weighted sums of values that are entries of a table, for up to four columns (attend_halves.cuh).
 *
 * Four columns leave half of operand B's free: an entry is operand A as it lies in memory, pairs of channels of one
 * token, and the token's weights are factors of the pair's first channel in columns 0..3 and of its second one in
 * columns 4..7, zero being that of the other. Nothing has to be interleaved, and there are half as many sums as in
 * attend_values.cuh. Columns 4..7 have the same queries as 0..3 (query_scalars::row_of) and so the same weights. */
#ifndef KERNELS_TEMPLATE_ATTEND_PAIRS_CUH
#define KERNELS_TEMPLATE_ATTEND_PAIRS_CUH
#include "template/attend_values.cuh"

/* Can a side's values be taken so? A lane has whole products of pairs. */
template <typename P, typename SIDE> struct pairs_side {
    static const bool FITS = false;
};
template <typename P, int DIM, int DIMS, int BITS, int PAGE, int TILE, bool BYTE_TABLE>
struct pairs_side<P, staged_table<DIM, DIMS, BITS, PAGE, TILE, BYTE_TABLE>> {
    static const bool FITS = P::COLUMNS == 4 && DIM % 32 == 0;
};

template <typename P, typename SIDE> struct attend_pairs {
    typedef typename SIDE::values VALUES;
    static const int D = SIDE::D, PAIRS = D / 16, LIFT = 10; /* pairs of a lane in a token */
    typedef attend_state<P, PAIRS / 2, LIFT> state; /* o: [16 pairs][first channels of columns, second ones] */

    /* Of the two tokens whose weights a lane has, 2t and 2t+1 of eight, the one it takes first: 0 3 5 6, so that rows
     * that are read at a time share few banks. */
    __device__ static __forceinline__ int first_of(int lane)
    {
        int t = lane % 4;
        return t * 2 + ((t ^ t >> 1) & 1);
    }

    /* What makes a column's two weights, a pair, the one of the lane's first token (of its second, that ^ 0x22): low
     * in columns 0..3, high in the others. */
    __device__ static __forceinline__ uint32_t place_of(int lane)
    {
        return (first_of(lane) % 2 ? 0x32u : 0x10u) << (lane < 16 ? 0 : 8) | (lane < 16 ? 0x4400u : 0x44u);
    }

    __device__ static __forceinline__ void add(state &s, const typename SIDE::head &, const uint8_t *stage,
                                               const uint8_t *table, const float p[P::TILE / 8][1][2], int lane)
    {
        const uint32_t first = place_of(lane), second = first ^ (lane < 16 ? 0x22u : 0x2200u), none[2] = {0, 0};
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            uint32_t pair[1][2];
            s.take(p + 2 * i, none, pair);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                uint32_t weights[2] = {__byte_perm(pair[0][half], 0, first), __byte_perm(pair[0][half], 0, second)};
                add_two(s, stage, table, i * 16 + half * 8 + first_of(lane), weights, lane);
            }
        }
    }

    /* A token, and the one beside it, for each t. */
    __device__ static __forceinline__ void add_two(state &s, const uint8_t *stage, const uint8_t *table, int token,
                                                   const uint32_t weights[2], int lane)
    {
        uint32_t first[PAIRS], second[PAIRS];
        VALUES::load_tokens(stage, table, token, token ^ 1, lane, first, second);
#pragma unroll
        for (int k = 0; k < PAIRS / 2; k++) {
            if (VALUES::QUADS) { /* half of one and half of the other would have to be moved together */
                mma_16x8x8(s.o[k][0], first + 2 * k, weights[0]);
                mma_16x8x8(s.o[k][0], second + 2 * k, weights[1]);
            } else {
                uint32_t a[4] = {first[2 * k], first[2 * k + 1], second[2 * k], second[2 * k + 1]};
                mma_16x8x16(s.o[k][0], a, weights);
            }
        }
    }

    /* attend_state::leave() of such sums: four columns at once. */
    __device__ static __forceinline__ void leave(const state &s, const typename SIDE::head &, float *result,
                                                 uint32_t stride, float *shared, uint32_t n_present, int lane)
    {
        const float drop = 1.0f / (float)(1 << LIFT);
        int g = lane / 4, t = lane % 4;
        if (t == 0 && (uint32_t)g < n_present) result[(uint32_t)g * stride] = s.max[0];
        __syncwarp();
#pragma unroll
        for (int e = 0; e < 4; e++) {
            int column = (2 * t + e % 2) % 4, second = t / 2;
            if (lane < 2 && e < 2 && (uint32_t)column < n_present)
                result[(uint32_t)column * stride + 1] = s.sums[0][2 + e] * drop;
#pragma unroll
            for (int i = 0; i < PAIRS / 2; i++)
                shared[column * D + VALUES::channel(4 * i + e / 2 * 2, g) + second] = s.o[i][0][e] * drop;
        }
        __syncwarp();
        copy_results(result, stride, D, shared, (int)n_present, 1, lane);
        __syncwarp();
    }
};

#endif
