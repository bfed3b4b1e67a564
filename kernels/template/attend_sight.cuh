/* attend_sight.cuh - what a column's query sees of the tokens, and the cap of scores. */
#ifndef KERNELS_TEMPLATE_ATTEND_SIGHT_CUH
#define KERNELS_TEMPLATE_ATTEND_SIGHT_CUH
#include "template/attend_keys.cuh"

/* The head of the present piece, as the two sides know it. */
template <typename KEY, typename VALUE> struct attend_heads {
    typename KEY::head key;
    typename VALUE::head value;
};

/* cap tanh(s / cap) = cap - 2 cap / (1 + e^(2 s / cap)); for scores of base 2 the power is one of 2. Not by
 * tanh.approx: its error of 2^-11 would be one of up to 2 % in a weight at a cap of 50. */
__device__ __forceinline__ float capped(float score, float softcap)
{
    const float most = softcap * 1.44269504f, into = 2.0f / softcap;
    return most - divide_fast(2.0f * most, 1.0f + exp2_fast(score * into));
}

template <typename P> struct attend_sight_of {
    static const int TILES_N = (P::COLUMNS + 7) / 8;

    /* Does the query of a column of the warp see the token? */
    __device__ static __forceinline__ bool sees(const attend_run &run, uint32_t token, int column)
    {
        uint32_t query = (run.first_column + (uint32_t)(column % P::COLUMNS)) / P::GROUP;
        return token < run.sight.before + query && (int)token >= run.sight.oldest + (int)query;
    }

    /* Does every query see all of n tokens? */
    __device__ static __forceinline__ bool sees_all(const attend_run &run, const attend_batch &b, uint32_t first,
                                                    uint32_t n)
    {
        return first + n <= run.sight.before && (int)first >= run.sight.oldest + (int)b.n_queries - 1;
    }

    /* Scores of tokens that a column's query does not see become -inf. `first` is the oldest of the tile. */
    template <int BLOCKS>
    __device__ static __forceinline__ void hide(float p[BLOCKS][TILES_N][2], uint32_t first, const attend_run &run,
                                                const attend_batch &b, int lane)
    {
        if (sees_all(run, b, first, BLOCKS * 8)) return;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 2; e++)
                    if (!sees(run, first + (uint32_t)(i * 8 + lane % 4 * 2 + e), n * 8 + lane / 4))
                        p[i][n][e] = -INFINITY;
    }

    /* Row r is token r, or behind the sinks token r + n_packed. */
    __device__ static __forceinline__ void hide_exact(float p[2][TILES_N][2], int first, uint32_t sinks,
                                                      const attend_run &run, int n_exact, int lane)
    {
#pragma unroll
        for (int i = 0; i < 2; i++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 2; e++) {
                    uint32_t row = (uint32_t)(first + i * 8 + lane % 4 * 2 + e);
                    uint32_t token = row < sinks ? row : row + run.n_packed;
                    bool seen = (int)row < n_exact && sees(run, token, n * 8 + lane / 4);
                    if (!seen) p[i][n][e] = -INFINITY;
                }
    }

    template <int BLOCKS>
    __device__ static __forceinline__ void cap(attend_scores<P, BLOCKS> &p, const attend_batch &b)
    {
        if constexpr (P::SOFTCAP) {
#pragma unroll
            for (int n = 0; n < TILES_N; n++) {
                float scale = p.scale[n];
                p.scale[n] = 1.0f;
#pragma unroll
                for (int i = 0; i < BLOCKS; i++) {
#pragma unroll
                    for (int e = 0; e < 2; e++) p.x[i][n][e] = capped(p.x[i][n][e] * scale + p.bias[i][n], b.softcap);
                    p.bias[i][n] = 0.0f;
                }
            }
        }
    }
};

#endif
