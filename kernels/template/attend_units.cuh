/* attend_units.cuh - the list of units that attend.cuh describes: how long it is, what its entries are, and where the
 * partial results of a run lie. */
#ifndef KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#define KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#include "template/attend_args.h"

#define EXACT_TOKENS 16 /* of a unit of fp16 rows */

/* Tokens that the first query of a sequence sees: oldest .. before - 1. Of the next query both are one more. */
struct attend_sight {
    uint32_t before;
    int oldest; /* may be negative */
};

__device__ __forceinline__ attend_sight sight_of(const attend_batch &b, uint32_t n_tokens)
{
    attend_sight s;
    s.before = n_tokens + 1 - b.n_queries;
    bool all = b.sliding_window == 0 || b.sliding_window >= n_tokens;
    s.oldest = all ? -(int)b.n_queries : (int)s.before - (int)b.sliding_window;
    return s;
}

/* Units of a sequence that some query sees: of pages and of fp16 rows those from the first one on. */
struct attend_extent {
    uint32_t first_tile, n_tiles, first_exact, n_exact;
};

/* Units begin .. end - 1 of the pages, or of the fp16 rows, of one sequence and head: what one warp does of them. */
struct attend_run {
    uint32_t head, sequence, slot;
    uint32_t n_tokens, n_packed;
    attend_sight sight;
    uint32_t begin, end;
    uint32_t first_column; /* of those of the head that the warp has */
    uint32_t result;       /* index of its partial result */
    bool exact;
};

/* Of n, when `parts` have equal shares and the last ones what is left. */
__host__ __device__ __forceinline__ uint32_t share_of(uint32_t n, uint32_t parts)
{
    return (n + parts - 1) / parts;
}

/* Row r of the fp16 rows is token r, or behind the sinks token r + n_packed. */
__device__ __forceinline__ attend_extent extent_of(const attend_batch &b, uint32_t n_tokens, uint32_t n_packed,
                                                   uint32_t sinks, uint32_t tile)
{
    int oldest = sight_of(b, n_tokens).oldest;
    uint32_t hidden = oldest > 0 ? (uint32_t)oldest : 0, behind = hidden > sinks ? hidden - sinks : 0;
    uint32_t hidden_packed = behind < n_packed ? behind : n_packed;
    attend_extent e;
    e.first_tile = hidden_packed / tile;
    e.n_tiles = n_packed / tile - e.first_tile;
    e.first_exact = (hidden - hidden_packed) / EXACT_TOKENS;
    e.n_exact = share_of(n_tokens - n_packed, EXACT_TOKENS) - e.first_exact;
    return e;
}

/* A head's columns, queries times heads of the group, are `tiles` of P::COLUMNS, each of which has to go over all
 * units. Of a block's warps `parts` go over them with one tile of columns, while the next ones do with the next tile:
 * `together` tiles read the same pages at the same time, so that memory is read once for them. One tile: all warps.
 */
struct attend_columns {
    uint32_t tiles, together, parts;
};

/* Of at least one query. */
__host__ __device__ __forceinline__ attend_columns columns_of(uint32_t n_queries, uint32_t group, uint32_t columns,
                                                              uint32_t n_warps)
{
    attend_columns c;
    c.tiles = share_of(n_queries * group, columns);
    c.together = share_of(c.tiles, share_of(c.tiles, n_warps));
    c.parts = n_warps / c.together;
    return c;
}

/* A block's share of the list is cut where a head ends; its parts have equal shares of each such piece, those behind
 * the last unit none. Numbers of parts in the grid leave these out, so that a run's parts have numbers without a gap:
 * a piece that goes on in the next block ends with the last number of its block. */
struct attend_piece {
    uint32_t head, begin, end; /* units of the list */
    uint32_t parts;            /* that have any */
    uint32_t number;           /* of the first one in the grid */
};

/* The piece that has unit `at`, where blocks have `of_block` units. */
__device__ __forceinline__ attend_piece piece_at(uint32_t at, uint32_t of_block, uint32_t of_head, uint32_t total,
                                                 uint32_t n_parts)
{
    attend_piece p;
    p.head = at / of_head;
    uint32_t block_begin = at / of_block * of_block, head_begin = p.head * of_head;
    uint32_t block_end = block_begin + of_block < total ? block_begin + of_block : total;
    p.begin = block_begin > head_begin ? block_begin : head_begin;
    p.end = block_end < head_begin + of_head ? block_end : head_begin + of_head;
    p.parts = p.end - p.begin < n_parts ? p.end - p.begin : n_parts;
    uint32_t of_full = of_block < n_parts ? of_block : n_parts;
    p.number = at / of_block * of_full + (p.begin > block_begin && p.end == block_end ? of_full - p.parts : 0);
    return p;
}

/* The first unit of a part, and the part of a unit. */
__device__ __forceinline__ uint32_t part_begin(const attend_piece &p, uint32_t part)
{
    return p.begin + (p.end - p.begin) * part / p.parts;
}
__device__ __forceinline__ uint32_t part_of(const attend_piece &p, uint32_t at)
{
    return ((at - p.begin + 1) * p.parts - 1) / (p.end - p.begin);
}

/* Where partial results of a tile of columns lie: run number (pages 2 i, fp16 rows 2 i + 1 of the i-th head and
 * sequence) plus the part's number in the grid; a head more than before makes up for a block whose parts begin anew.
 * No two are the same, and those of a run lie side by side. */
__device__ __forceinline__ uint32_t result_of(uint32_t head, uint32_t sequence, uint32_t n_sequences, bool exact,
                                              uint32_t part, uint32_t n_parts)
{
    return (head * n_sequences + sequence) * 2 + exact + part + head * n_parts;
}

/* How many there may be of a tile of columns. */
__host__ __device__ __forceinline__ uint32_t results_of_tile(uint32_t n_heads, uint32_t n_sequences,
                                                             uint32_t n_blocks, uint32_t n_parts)
{
    return n_heads * n_sequences * 2 + n_blocks * n_parts + n_heads * n_parts;
}

/* How many there may be with so many queries or fewer: tiles * parts is at most n_warps, or one part has them all. */
__host__ __device__ __forceinline__ uint32_t results_of(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks,
                                                        uint32_t n_warps, uint32_t n_tiles_of_columns)
{
    uint32_t n_parts = n_tiles_of_columns > n_warps ? n_tiles_of_columns : n_warps;
    return n_tiles_of_columns * n_heads * n_sequences * 2 + (n_blocks + n_heads) * n_parts;
}

/* The run of unit `at` as far as `end`, for a part of the grid, with the first tile of columns. */
__device__ __forceinline__ attend_run run_at(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                             uint32_t at, uint32_t end, uint32_t tile, uint32_t part,
                                             uint32_t n_parts)
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
    run.sight = sight_of(b, run.n_tokens);
    attend_extent e = extent_of(b, run.n_tokens, run.n_packed, l.sinks, tile);
    uint32_t begin = left - w.units[low], limit = end - head_begin - w.units[low];
    run.exact = begin >= e.n_tiles;
    uint32_t first = run.exact ? e.first_exact : e.first_tile, n_units = run.exact ? e.n_exact : e.n_tiles,
             offset = run.exact ? e.n_tiles : 0;
    run.begin = first + begin - offset;
    run.end = first + (limit - offset < n_units ? limit - offset : n_units);
    run.first_column = 0;
    run.result = result_of(run.head, run.sequence, b.n_sequences, run.exact, part, n_parts);
    return run;
}

__host__ __device__ __forceinline__ uint32_t result_floats(int columns, int exact_dim, int latent_dim)
{
    return (uint32_t)columns * (2u + (uint32_t)(exact_dim > latent_dim ? exact_dim : latent_dim));
}

#endif
