/* attend_params.h - shapes that test and benchmark run the attention kernels on. */
#ifndef TESTS_GPU_ATTEND_PARAMS_H
#define TESTS_GPU_ATTEND_PARAMS_H
#include "device_memory.h"
#include "fragment/single.cuh"
#include "template/attend_few.cuh"
#include "template/attend_merge.cuh"
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
template <int D, int BITS, int TILE, int GROUP = D> using int_tok = staged_int<D, BITS, 64, TILE, STAGED_TOK, GROUP>;
template <int D, int TILE> using half_rows = staged_fp16<D, 64, TILE>;
/* 16 KiB for each table. */
template <int D, int TILE, int MOST> using shared = staged_shared<D, 64, TILE, MOST, 16384>;
template <int D, int TILE, int MOST> using byte_shared = staged_shared<D, 64, TILE, MOST, 16384, true>;
template <int D, int DIMS, int BITS, int TILE> using table = staged_table<D, DIMS, BITS, 64, TILE>;
template <int D, int DIMS, int TILE> using byte_table = staged_table<D, DIMS, 8, 64, TILE, true>;
/* Codes decoded one by one; a mix has LATENT of D channels. */
template <int D, int DIMS, int BITS, int SCOPE, int TILE>
using single = staged_single<single_tables<D, D, DIMS, 0, BITS, SCOPE, TILE>, 64, TILE>;
template <int D, int BITS, staged_scale SCALE, int GROUP, int TILE>
using ints = staged_single<single_ints<D, BITS, SCALE, GROUP, TILE>, 64, TILE>;
template <int LATENT, int D, uint64_t MIX, int BITS, int SCOPE, int TILE>
using mixed = staged_single<single_tables<LATENT, D, 0, MIX, BITS, SCOPE, TILE>, 64, TILE>;
template <int D, uint64_t SEGMENTS, int GROUP, int TILE>
using segments = staged_single<single_segments<D, SEGMENTS, GROUP, TILE>, 64, TILE>;

#define ATTEND_ROOM 232448 /* bytes of shared memory that a block may have (sm_90) */

/* f(P()), or what goes for a call of so many queries of a sequence. */
template <typename P, typename F> auto with_columns(uint32_t n_queries, F f)
{
    if constexpr (few_serves_all<P>(ATTEND_ROOM)) return f(attend_few<P, ATTEND_ROOM>());
    if constexpr (!few_serves_all<P>(ATTEND_ROOM) && P::COLUMNS == 8 && P::GROUP <= FEW_COLUMNS)
        if (n_queries * P::GROUP <= FEW_COLUMNS) return f(attend_few<P, ATTEND_ROOM>());
    return f(P());
}

/* Partial results of a call. */
template <typename P> size_t n_results(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks, uint32_t n_queries)
{
    attend_columns columns = columns_of(share_of(n_queries * P::GROUP, P::COLUMNS), P::WARPS);
    return attend_roles(columns, n_heads, n_sequences, n_blocks).n_results();
}

/* What a call's columns and slots say of it; slots: the same on the device. */
template <typename P> void describe_call(attend_batch *b, const uint32_t *host_slots, const uint32_t *slots)
{
    b->columns = columns_of(share_of(b->n_queries * P::GROUP, P::COLUMNS), P::WARPS);
    b->slots = slots;
    for (uint32_t i = 0; i < b->n_sequences && i < ATTEND_FEW; i++) b->slot[i] = host_slots[i];
}

/* early_bytes() of a call's kernels, which the merge may have. */
static inline uint32_t allow_early(void (*pages)(attend_layer, attend_batch, attend_work))
{
    uint32_t alone;
    const void *const kernels[] = {(const void *)attend_prepare, (const void *)pages, (const void *)attend_merge};
    device_check(early_bytes(kernels, 3, &alone), "attributes");
    device_check(allow_merge(alone), "attributes");
    return alone;
}

/* The launches of one attention; rows: of a block of the merge, 0 for what is best. */
template <typename P>
void attend_launch(const attend_layer &l, const attend_batch &b, const attend_work &w, uint32_t n_blocks,
                   uint32_t rows, cudaStream_t stream)
{
    uint32_t alone = allow_early(attend_pages<P>);
    device_check(launch_prepare(l, b, w, P::D, P::GROUP, P::TILE, alone != 0, stream), "prepare");
    device_check(
        launch(alone != 0, attend_pages<P>, dim3(n_blocks), P::WARPS * 32, attend<P>::SHARED_BYTES, stream, l, b, w),
        "pages");
    device_check(launch_merge(l, b, w, P::D, P::GROUP, P::COLUMNS, P::TILE, n_blocks, rows, alone, stream), "merge");
}

#endif
