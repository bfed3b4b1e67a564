/* attend_params.h - shapes that test and benchmark run the attention kernels on. */
#ifndef TESTS_GPU_ATTEND_PARAMS_H
#define TESTS_GPU_ATTEND_PARAMS_H
#include "template/attend.cuh"
#include "template/attend_ends.cuh"

template <int DIM, int HEADS_OF_GROUP, int N_COLUMNS, int TOKENS, int N_STAGES, int N_WARPS, typename KEY,
          typename VALUE, bool CAPPED = false>
struct attend_params {
    static const int D = DIM, GROUP = HEADS_OF_GROUP, COLUMNS = N_COLUMNS, TILE = TOKENS, PAGE = 64,
                     STAGES = N_STAGES, WARPS = N_WARPS;
    static const bool SOFTCAP = CAPPED;
    typedef KEY key_side;
    typedef VALUE value_side;
};

template <int D, int BITS, int TILE, int GROUP> using int_ch = staged_int<D, BITS, 64, TILE, STAGED_CH, GROUP>;
template <int D, int BITS, int TILE> using int_tok = staged_int<D, BITS, 64, TILE, STAGED_TOK, D>;
template <int D, int TILE> using half_rows = staged_fp16<D, 64, TILE>;
/* 32 KiB for each table where they fit. */
template <int D, int TILE, int MOST> using shared = staged_shared<D, 64, TILE, MOST, 32768>;
template <int D, int DIMS, int BITS, int TILE, int COPIES>
using table = staged_table<D, DIMS, BITS, 64, TILE, COPIES>;

/* Tiles of columns that a head has. */
template <typename P> uint32_t column_tiles(uint32_t n_queries)
{
    return columns_of(n_queries, P::GROUP, P::COLUMNS, P::WARPS).tiles;
}

template <typename P> merge_shape merge_of(const attend_layer &l, uint32_t n_blocks)
{
    return merge_shape{P::D, l.value_latent, P::GROUP, P::COLUMNS, P::TILE, n_blocks, P::WARPS};
}

#endif
