/* attend_units.cuh - the list of units that attend.cuh describes: how long it is, what its entries are, and where the
 * partial results of a run lie. */
#ifndef KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#define KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#include "template/attend_args.h"

#define EXACT_TOKENS 16 /* of a unit of fp16 rows */

/* Units begin .. end - 1 of the pages, or of the fp16 rows, of one sequence and head: what one warp does of them. */
struct attend_run {
    uint32_t head, sequence, slot;
    uint32_t n_tokens, n_packed;
    uint32_t begin, end;
    uint32_t result; /* index of its partial result */
    bool exact;
};

__device__ __forceinline__ uint32_t exact_units(uint32_t n_tokens, uint32_t n_packed)
{
    return (n_tokens - n_packed + EXACT_TOKENS - 1) / EXACT_TOKENS;
}

/* Of n, when `parts` have equal shares and the last ones what is left. */
__device__ __forceinline__ uint32_t share_of(uint32_t n, uint32_t parts)
{
    return (n + parts - 1) / parts;
}

/* A block's share of the list is cut where a head ends; its warps have equal shares of each such piece. */
struct attend_piece {
    uint32_t head, begin, end; /* units of the list */
    uint32_t each;             /* of a warp */
};

/* The piece that has unit `at`, where blocks have `of_block` units. */
__device__ __forceinline__ attend_piece piece_at(uint32_t at, uint32_t of_block, uint32_t of_head, uint32_t total,
                                                 uint32_t n_warps)
{
    attend_piece p;
    p.head = at / of_head;
    uint32_t block_begin = at / of_block * of_block, head_begin = p.head * of_head;
    uint32_t block_end = block_begin + of_block < total ? block_begin + of_block : total;
    p.begin = block_begin > head_begin ? block_begin : head_begin;
    p.end = block_end < head_begin + of_head ? block_end : head_begin + of_head;
    p.each = share_of(p.end - p.begin, n_warps);
    return p;
}

/* Where partial results lie: run number (pages 2 i, fp16 rows 2 i + 1 of the i-th head and sequence) plus the warp's
 * number in the grid; a head more than before makes up for a block whose warps begin anew. No two are the same, and
 * those of a run lie side by side. */
__device__ __forceinline__ uint32_t result_of(uint32_t head, uint32_t sequence, uint32_t n_sequences, bool exact,
                                              uint32_t warp, uint32_t n_warps)
{
    return (head * n_sequences + sequence) * 2 + exact + warp + head * n_warps;
}

/* How many there may be. */
__host__ __device__ __forceinline__ uint32_t results_of(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks,
                                                        uint32_t n_warps)
{
    return n_heads * n_sequences * 2 + n_blocks * n_warps + n_heads * n_warps;
}

/* The run of unit `at` as far as `end`, for a warp of the grid. */
__device__ __forceinline__ attend_run run_at(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                             uint32_t at, uint32_t end, uint32_t tile, uint32_t warp,
                                             uint32_t n_warps)
{
    attend_run run;
    uint32_t of_head = w.units[b.n_sequences], low = 0, high = b.n_sequences;
    run.head = at / of_head;
    uint32_t head_begin = run.head * of_head, left = at - head_begin;
    while (high - low > 1) { /* the last sequence that begins at `left` or before: empty ones are passed over */
        uint32_t middle = (low + high) / 2;
        if (w.units[middle] <= left)
            low = middle;
        else
            high = middle;
    }
    run.sequence = low;
    run.slot = b.slots[low];
    run.n_tokens = l.length[run.slot];
    run.n_packed = l.packed[run.slot];
    uint32_t n_tiles = run.n_packed / tile, begin = left - w.units[low], limit = end - head_begin - w.units[low];
    run.exact = begin >= n_tiles;
    uint32_t n_units = run.exact ? exact_units(run.n_tokens, run.n_packed) : n_tiles,
             offset = run.exact ? n_tiles : 0;
    run.begin = begin - offset;
    run.end = limit - offset < n_units ? limit - offset : n_units;
    run.result = result_of(run.head, run.sequence, b.n_sequences, run.exact, warp, n_warps);
    return run;
}

__host__ __device__ __forceinline__ uint32_t result_floats(int columns, int exact_dim, int latent_dim)
{
    return (uint32_t)columns * (2u + (uint32_t)(exact_dim > latent_dim ? exact_dim : latent_dim));
}

#endif
