/* attend_units.cuh - the two lists of units that attend.cuh describes: how long they are, what their entries are, and
 * where the partial results of a run lie. */
#ifndef KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#define KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#include "template/attend_args.h"

#define EXACT_TOKENS 16     /* of a unit of fp16 rows */
#define ATTEND_LEAST -1e30f /* a maximum before any score */

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

/* Units begin .. end - 1 of the pages, or of the fp16 rows, of one sequence and head: what one warp does of them. */
struct attend_run {
    uint32_t head, sequence, slot;
    uint32_t n_tokens, n_packed;
    attend_sight sight;
    uint32_t begin, end;
    uint32_t first_column; /* of those of the head that the warp has */
    uint32_t result;       /* index of its partial result */
};

/* Of n, when `parts` have equal shares and the last ones what is left. */
__host__ __device__ __forceinline__ uint32_t share_of(uint32_t n, uint32_t parts)
{
    return (n + parts - 1) / parts;
}

/* Units of a sequence that some query sees: n of them, from the first one on. Row r of the fp16 rows is token r, or
 * behind the sinks token r + n_packed. */
struct attend_extent {
    uint32_t first, n;
};
__device__ __forceinline__ uint32_t hidden_packed(const attend_sequence &s, uint32_t sinks)
{
    uint32_t behind = s.n_hidden > sinks ? s.n_hidden - sinks : 0;
    return behind < s.n_packed ? behind : s.n_packed;
}
__device__ __forceinline__ attend_extent tiles_of(const attend_sequence &s, uint32_t sinks, uint32_t tile)
{
    uint32_t first = hidden_packed(s, sinks) / tile;
    return attend_extent{first, s.n_packed / tile - first};
}
__device__ __forceinline__ attend_extent rows_of(const attend_sequence &s, uint32_t sinks)
{
    uint32_t first = (s.n_hidden - hidden_packed(s, sinks)) / EXACT_TOKENS;
    return attend_extent{first, share_of(s.n_tokens - s.n_packed, EXACT_TOKENS) - first};
}

/* A head's columns, queries times heads of the group, are `tiles` of P::COLUMNS, each of which has to go over all
 * units. Of a block's warps `parts` go over them with one tile of columns, while the next ones do with the next tile:
 * `together` tiles read the same pages at the same time, so that memory is read once for them. One tile: all warps.
 */
struct attend_columns {
    uint32_t tiles, together, parts;
};

__host__ __device__ __forceinline__ attend_columns columns_of(uint32_t tiles, uint32_t n_warps)
{
    attend_columns c;
    c.tiles = tiles;
    c.together = share_of(c.tiles, share_of(c.tiles, n_warps));
    c.parts = n_warps / c.together;
    return c;
}

/* Tiles of pages, and units of fp16 rows: [n_sequences + 1], those of a head that come before each sequence. */
__device__ __forceinline__ const uint32_t *units_of(const attend_work &w, const attend_batch &b, bool exact)
{
    return w.units + (exact ? b.n_sequences + 1 : 0);
}

/* A block's share of the pages is cut where a head ends; its parts have equal shares of each such piece, those behind
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

/* Where partial results of a tile of columns lie: first those of pages, then those of fp16 rows, `results_of_list()`
 * each; the number of the run's head and sequence plus the part's number in the grid, for pages and a head more than
 * before, since there parts begin anew where a head ends inside a block's share. No two are the same, and those of
 * one head and sequence lie side by side. */
__device__ __forceinline__ uint32_t result_of(uint32_t head, uint32_t sequence, uint32_t n_sequences, uint32_t part,
                                              uint32_t n_parts)
{
    return head * n_sequences + sequence + part + head * n_parts;
}
__host__ __device__ __forceinline__ uint32_t results_of_list(uint32_t n_heads, uint32_t n_sequences,
                                                             uint32_t n_blocks, uint32_t n_parts)
{
    return n_heads * n_sequences + (n_blocks + n_heads) * n_parts;
}

/* Who does what of n_tiles tiles of columns, and how many results there are: all lists have room for as many. */
struct attend_roles {
    attend_columns columns;
    uint32_t of_list; /* results */

    __host__ __device__ __forceinline__ attend_roles(uint32_t n_heads, uint32_t n_sequences, uint32_t n_blocks,
                                                     uint32_t n_warps, uint32_t n_tiles)
    {
        columns = columns_of(n_tiles, n_warps);
        of_list = results_of_list(n_heads, n_sequences, n_blocks, columns.parts);
    }
    __host__ __device__ __forceinline__ uint32_t first_result(uint32_t tile, bool exact) const
    {
        return (2 * tile + exact) * of_list;
    }
    __host__ __device__ __forceinline__ uint32_t n_results() const { return 2 * columns.tiles * of_list; }
};

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

/* The run that begins at unit `at` of a list and goes no further than `end`, with the first tile of columns; tile: of
 * pages, 0: fp16 rows. All lanes of a warp. */
__device__ __forceinline__ attend_run run_at(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                             uint32_t tile, uint32_t at, uint32_t end, uint32_t lane)
{
    attend_run run;
    const uint32_t *units = units_of(w, b, tile == 0);
    uint32_t of_head = units[b.n_sequences];
    run.head = at / of_head;
    uint32_t left = at - run.head * of_head;
    run.sequence = last_below(units, b.n_sequences, left, lane); /* empty ones are passed over */
    attend_sequence s = w.sequences[run.sequence];
    run.slot = s.slot, run.n_tokens = s.n_tokens, run.n_packed = s.n_packed;
    run.sight = sight_of(b, s.n_tokens);
    run.first_column = 0;
    attend_extent e = tile ? tiles_of(s, l.sinks, tile) : rows_of(s, l.sinks);
    uint32_t begin = left - units[run.sequence], n = e.n - begin < end - at ? e.n - begin : end - at;
    run.begin = e.first + begin;
    run.end = run.begin + n;
    return run;
}

/* A column's partial result: maximum, sum of weights, two of padding, channels. */
#define RESULT_CHANNELS 4
__host__ __device__ __forceinline__ uint32_t result_floats(uint32_t exact_dim, uint32_t latent_dim)
{
    return RESULT_CHANNELS + (exact_dim > latent_dim ? exact_dim : latent_dim);
}

#endif
