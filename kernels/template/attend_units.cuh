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

/* Units of each warp. */
__device__ __forceinline__ uint32_t attend_share(uint32_t total, uint32_t n_warps)
{
    return (total + n_warps - 1) / n_warps;
}

/* The run of unit `at` as far as `end`. Two runs that follow each other in the list, or in a warp, have partial
 * results of their own: run number (pages 2 i, fp16 rows 2 i + 1 of the i-th head and sequence) plus warp. */
__device__ __forceinline__ attend_run run_at(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                             uint32_t at, uint32_t end, uint32_t tile, uint32_t warp)
{
    attend_run run;
    uint32_t of_head = w.units[b.n_sequences], low = 0, high = b.n_sequences;
    run.head = at / of_head;
    uint32_t left = at - run.head * of_head, head_begin = run.head * of_head;
    while (high - low > 1) { /* the last sequence that begins at `left` or before, empty ones passed over */
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
    run.result = (run.head * b.n_sequences + run.sequence) * 2 + run.exact + warp;
    return run;
}

__device__ __forceinline__ uint32_t result_floats(int columns, int exact_dim, int latent_dim)
{
    return (uint32_t)columns * (2u + (uint32_t)(exact_dim > latent_dim ? exact_dim : latent_dim));
}

__device__ __forceinline__ float *run_slot(const attend_work &w, const attend_run &run, int columns, int exact_dim,
                                           int latent_dim)
{
    return w.partial + (size_t)run.result * result_floats(columns, exact_dim, latent_dim);
}

#endif
