/* attend_units.cuh - the two lists of units that attend.cuh describes: how long they are, what their entries are, and
 * where the partial results of a run lie. */
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
};

__host__ __device__ __forceinline__ uint32_t exact_units(uint32_t n_tokens, uint32_t n_packed)
{
    return (n_tokens - n_packed + EXACT_TOKENS - 1) / EXACT_TOKENS;
}

/* Of n, when `parts` have equal shares and the last ones what is left. */
__host__ __device__ __forceinline__ uint32_t share_of(uint32_t n, uint32_t parts)
{
    return (n + parts - 1) / parts;
}

/* Tiles of pages, and units of fp16 rows: [n_sequences + 1], those of a head that come before each sequence. */
__device__ __forceinline__ const uint32_t *units_of(const attend_work &w, const attend_batch &b, bool exact)
{
    return w.units + (exact ? b.n_sequences + 1 : 0);
}

/* A block's share of the pages is cut where a head ends; its warps have equal shares of each such piece. */
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

/* Where partial results lie: first those of pages, then those of fp16 rows; the number of the run's head and sequence
 * plus the warp's number in the grid, for pages and a head more than before, since there warps begin anew where a
 * head ends inside a block's share. No two are the same, and those of one head and sequence lie side by side. */
__device__ __forceinline__ uint32_t result_of(uint32_t head, uint32_t sequence, uint32_t n_sequences, uint32_t warp,
                                              uint32_t n_warps)
{
    return head * n_sequences + sequence + warp + head * n_warps;
}
__host__ __device__ __forceinline__ uint32_t page_results(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks,
                                                          uint32_t n_warps)
{
    return n_heads * n_sequences + n_blocks * n_warps + n_heads * n_warps;
}

/* How many there may be in all. */
__host__ __device__ __forceinline__ uint32_t results_of(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks,
                                                        uint32_t n_warps)
{
    return 2 * page_results(n_heads, n_sequences, n_blocks, n_warps);
}

/* The last of n >= 1 ascending numbers that is not greater than x, as no. 0 is not. All lanes of a warp. */
__device__ __forceinline__ uint32_t last_below(const uint32_t *numbers, uint32_t n, uint32_t x, uint32_t lane)
{
    uint32_t low = 0;
    while (n > 1) {
        uint32_t step = share_of(n, 32), at = lane * step;
        uint32_t is_below = __ballot_sync(~0u, at < n && numbers[low + at] <= x);
        uint32_t skip = ((uint32_t)__popc(is_below) - 1) * step;
        low += skip;
        n = step < n - skip ? step : n - skip;
    }
    return low;
}

/* The run that begins at unit `at` of a list and goes no further than `end`. All lanes of a warp. */
__device__ __forceinline__ attend_run run_at(const attend_batch &b, const attend_work &w, const uint32_t *units,
                                             uint32_t at, uint32_t end, uint32_t lane)
{
    attend_run run;
    uint32_t of_head = units[b.n_sequences];
    run.head = at / of_head;
    uint32_t left = at - run.head * of_head;
    run.sequence = last_below(units, b.n_sequences, left, lane); /* empty ones are passed over */
    attend_sequence s = w.sequences[run.sequence];
    run.slot = s.slot, run.n_tokens = s.n_tokens, run.n_packed = s.n_packed;
    uint32_t first = units[run.sequence], n_units = units[run.sequence + 1] - first;
    run.begin = left - first;
    run.end = run.begin + (end - at) < n_units ? run.begin + (end - at) : n_units;
    return run;
}

/* A column's partial result: maximum, sum of weights, two of padding, channels. */
#define RESULT_CHANNELS 4
__host__ __device__ __forceinline__ uint32_t result_floats(uint32_t exact_dim, uint32_t latent_dim)
{
    return RESULT_CHANNELS + (exact_dim > latent_dim ? exact_dim : latent_dim);
}

#endif
