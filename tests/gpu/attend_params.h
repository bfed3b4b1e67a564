/* attend_params.h - shapes that test and benchmark run the attention kernels on. */
#ifndef TESTS_GPU_ATTEND_PARAMS_H
#define TESTS_GPU_ATTEND_PARAMS_H
#include "template/attend.cuh"
#include "template/attend_prepare.cuh"

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
/* 16 KiB for each table. */
template <int D, int TILE, int MOST> using shared = staged_shared<D, 64, TILE, MOST, 16384>;
template <int D, int DIMS, int BITS, int TILE> using table = staged_table<D, DIMS, BITS, 64, TILE>;

/* Partial results of a call. */
template <typename P> size_t n_results(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks, uint32_t n_queries)
{
    uint32_t tiles = share_of(n_queries * P::GROUP, P::COLUMNS);
    return attend_roles(n_heads, n_sequences, n_blocks, P::WARPS, tiles).n_results();
}

/* The calls of one attention, in order. */
template <typename P>
void attend_launch(const attend_layer &l, const attend_batch &b, const attend_work &w, uint32_t n_blocks,
                   cudaStream_t stream)
{
    dim3 prepare(prepare_blocks(l, b, P::GROUP), l.n_heads);
    KVC_LAUNCH(attend_prepare, prepare, PREPARE_THREADS, prepare_bytes(P::D), stream, l, b, w, (uint32_t)P::D,
               (uint32_t)P::GROUP, (uint32_t)P::TILE);
    KVC_LAUNCH(attend_pages<P>, n_blocks, P::WARPS * 32, attend<P>::SHARED_BYTES, stream, l, b, w);
}

#endif
