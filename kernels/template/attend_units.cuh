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
    bool kept;             /* for now in shared memory (attend_results) */
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
/* A sequence without tokens has one that is empty, so that it has a result. */
__device__ __forceinline__ attend_extent rows_of(const attend_sequence &s, uint32_t sinks)
{
    uint32_t first = (s.n_hidden - hidden_packed(s, sinks)) / EXACT_TOKENS;
    uint32_t n = s.n_tokens ? share_of(s.n_tokens - s.n_packed, EXACT_TOKENS) : 1;
    return attend_extent{first, n - first};
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

/* Of the fp16 rows a block has units floor(total block / n_blocks) .. , whatever heads they are of. Numbers are
 * without a gap where all parts have some, and where none has more than one. */
__device__ __forceinline__ attend_piece rows_of_block(uint32_t block, uint32_t n_blocks, uint32_t total,
                                                      uint32_t n_parts)
{
    attend_piece p;
    p.head = 0;
    p.begin = total * block / n_blocks, p.end = total * (block + 1) / n_blocks;
    p.parts = p.end - p.begin < n_parts ? p.end - p.begin : n_parts;
    p.number = total <= n_blocks * n_parts ? p.begin : block * n_parts;
    return p;
}
/* The block that has unit `at`. */
__device__ __forceinline__ uint32_t block_of_rows(uint32_t at, uint32_t n_blocks, uint32_t total)
{
    return ((at + 1) * n_blocks - 1) / total;
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
    run.first_column = 0, run.kept = false;
    attend_extent e = tile ? tiles_of(s, l.sinks, tile) : rows_of(s, l.sinks);
    uint32_t begin = left - units[run.sequence], n = e.n - begin < end - at ? e.n - begin : end - at;
    run.begin = e.first + begin;
    run.end = run.begin + n;
    return run;
}

/* A column's partial result: maximum, sum of weights, two of padding, channels. */
#define RESULT_CHANNELS 4
__host__ __device__ constexpr uint32_t result_floats(uint32_t exact_dim, uint32_t latent_dim)
{
    return RESULT_CHANNELS + (exact_dim > latent_dim ? exact_dim : latent_dim);
}

/* ---- which results there are ----
 * A part's last run of pages in the last piece of its block is kept in shared memory, where the parts of a block that
 * end in the same run are put together: one result of them all is left, that of the last. In every block but the last
 * that a run goes through, that is the last part of the block. Of the last block there is besides the result of a
 * part that goes on with another run; and where a head ends inside the block's share, nothing is kept. */

/* How a list is cut. */
struct attend_cut {
    uint32_t n_heads, n_sequences, n_blocks, n_parts;
};

/* Indices of the results of a head and sequence, of one list and tile of columns: first .. last as parts leave them;
 * with runs kept whole, whole + stride, ... (n_whole of them), and tail .. last. n_blocks blocks have a part in it.
 */
struct attend_results {
    uint32_t first, last, whole, n_whole, stride, tail, n_blocks;

    __device__ __forceinline__ uint32_t count(bool kept) const
    {
        return kept ? n_whole + last + 1 - tail : last + 1 - first;
    }
    __device__ __forceinline__ uint32_t at(uint32_t i, bool kept) const
    {
        if (!kept) return first + i;
        return i < n_whole ? whole + i * stride : tail + i - n_whole;
    }
};

/* Of units before .. behind - 1 of a head's list of of_head. */
__device__ __forceinline__ attend_results results_of_pages(const attend_cut &cut, uint32_t head, uint32_t sequence,
                                                           uint32_t before, uint32_t behind, uint32_t of_head)
{
    if (before == behind) return attend_results{1, 0, 0, 0, 0, 1, 0};
    uint32_t total = cut.n_heads * of_head, of_block = share_of(total, cut.n_blocks);
    uint32_t begin = head * of_head + before, end = head * of_head + behind;
    attend_piece p = piece_at(begin, of_block, of_head, total, cut.n_parts);
    uint32_t first = p.number + part_of(p, begin), first_block = begin / of_block, last_block = (end - 1) / of_block;
    p = piece_at(end - 1, of_block, of_head, total, cut.n_parts);
    uint32_t part = part_of(p, end - 1), last = p.number + part, block_end = (last_block + 1) * of_block;
    uint32_t tail = first_block == last_block ? first : p.number; /* of the parts of the last block */
    if (p.end == (block_end < total ? block_end : total)) {
        if (part_begin(p, part + 1) <= end)
            tail = last; /* its last run, too */
        else if (last > tail)
            tail = last - 1;
    }
    uint32_t of_full = of_block < cut.n_parts ? of_block : cut.n_parts;
    uint32_t base = result_of(head, sequence, cut.n_sequences, 0, cut.n_parts);
    return attend_results{base + first,
                          base + last,
                          base + (first_block + 1) * of_full - 1,
                          last_block - first_block,
                          of_full,
                          base + tail,
                          last_block - first_block + 1};
}
__device__ __forceinline__ attend_results results_of_rows(const attend_cut &cut, uint32_t head, uint32_t sequence,
                                                          uint32_t before, uint32_t behind, uint32_t of_head)
{
    if (before == behind) return attend_results{1, 0, 0, 0, 0, 1, 0};
    uint32_t total = cut.n_heads * of_head, begin = head * of_head + before, end = head * of_head + behind - 1;
    uint32_t first_block = block_of_rows(begin, cut.n_blocks, total),
             last_block = block_of_rows(end, cut.n_blocks, total);
    attend_piece p = rows_of_block(first_block, cut.n_blocks, total, cut.n_parts);
    uint32_t first = p.number + part_of(p, begin);
    p = rows_of_block(last_block, cut.n_blocks, total, cut.n_parts);
    uint32_t last = p.number + part_of(p, end), base = result_of(head, sequence, cut.n_sequences, 0, 0);
    bool one_each = total <= cut.n_blocks; /* between them blocks without any */
    return attend_results{
        base + first, base + last, 0, 0, 0, base + first, one_each ? last - first + 1 : last_block - first_block + 1};
}

#endif
