/* attend_units.cuh - the two lists of units that attend.cuh describes: how long they are, how they are shared out,
 * what their entries are, and where the partial results of a run lie. */
#ifndef KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#define KERNELS_TEMPLATE_ATTEND_UNITS_CUH
#include "device.cuh"
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

__device__ __forceinline__ attend_sequence sequence_of(const attend_layer &l, const attend_batch &b, uint32_t slot)
{
    attend_sequence s = {slot, l.length[slot], l.packed[slot], 0};
    int oldest = sight_of(b, s.n_tokens).oldest;
    if (oldest > 0) s.n_hidden = (uint32_t)oldest;
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

/* The columns of a head in n_warps warps. */
__host__ __device__ __forceinline__ attend_columns columns_of(uint32_t tiles, uint32_t n_warps)
{
    attend_columns c;
    c.tiles = tiles;
    c.together = share_of(c.tiles, share_of(c.tiles, n_warps));
    c.parts = n_warps / c.together;
    return c;
}

/* Quotients by a number that is known before: an estimate that is never too great, the same of what it leaves, which
 * is 2^12 times the number at most, and one more where that is due. n may be 0, if nothing is divided by it. */
struct attend_divisor {
    uint32_t n;
    float inverse;

    __device__ __forceinline__ attend_divisor() {}
    __device__ __forceinline__ explicit attend_divisor(uint32_t divisor)
    {
        n = divisor;
        inverse = divide_fast(1.0f - 0x1p-20f, (float)n);
    }
    __device__ __forceinline__ uint32_t under(uint32_t x) const
    {
        uint32_t q = (uint32_t)((float)x * inverse);
        q += (uint32_t)((float)(x - q * n) * inverse);
        return q + (x - q * n >= n);
    }
};

/* Parts, `most` at most, that share a block's tokens: each has results to leave, which are to be merged. At least 256
 * tokens a part, of more than eight parts 512, but four parts of however few. */
__host__ __device__ __forceinline__ uint32_t parts_of(uint32_t tokens, uint32_t most)
{
    uint32_t few = tokens / 256 < 4 ? 4 : tokens / 256 < 8 ? tokens / 256 : 8;
    uint32_t n = tokens / 512 > few ? tokens / 512 : few;
    return n < most ? n : most;
}

/* A list: units of a head and of all of them; of a block, where all but the last ones have as many; of what a block's
 * share is cut by, heads or nothing; and the parts that such shares have at most. */
struct attend_list {
    attend_divisor of_head, of_block, of_cut, total;
    uint32_t n_parts;

    __device__ __forceinline__ attend_list() {}
    __device__ __forceinline__ attend_list(uint32_t n_heads, uint32_t units_of_head, uint32_t n_blocks, bool by_head,
                                           uint32_t most_parts)
        : of_head(units_of_head), total(n_heads * units_of_head), n_parts(most_parts)
    {
        of_block = attend_divisor(attend_divisor(n_blocks).under(total.n + n_blocks - 1));
        of_cut = by_head ? of_head : total;
    }
};

/* Are tables a head's, so that a block's share is cut where a head ends? */
__device__ __forceinline__ bool tables_of_head(const attend_layer &l)
{
    return l.key_counts || l.value_counts;
}

/* The list of pages, of tiles of so many tokens, and the one of fp16 rows. */
__device__ __forceinline__ attend_list list_of_pages(const attend_layer &l, const attend_batch &b,
                                                     uint32_t tiles_of_head, uint32_t n_blocks, uint32_t tile)
{
    attend_list list(l.n_heads, tiles_of_head, n_blocks, tables_of_head(l), b.columns.parts);
    list.n_parts = parts_of(list.of_block.n * tile, list.n_parts);
    return list;
}
__device__ __forceinline__ attend_list list_of_rows(const attend_layer &l, const attend_batch &b,
                                                    uint32_t units_of_head, uint32_t n_blocks)
{
    return attend_list(l.n_heads, units_of_head, n_blocks, false, b.columns.parts);
}

/* Both lists, in shared memory. Tiles of pages, and units of fp16 rows, that come before each sequence of a head, and
 * the sequences: in memory where they are many. */
struct attend_lists {
    attend_list pages, rows;
    const uint32_t *units; /* [2][n_sequences + 1] */
    const attend_sequence *sequences;
    uint32_t few_units[2 * (ATTEND_FEW + 1)];
    attend_sequence few[ATTEND_FEW];
};
#define ATTEND_LISTS_BYTES 864 /* room for them */
static_assert(sizeof(attend_lists) <= ATTEND_LISTS_BYTES, "room");

/* Of both lists' units those of one. */
__device__ __forceinline__ const uint32_t *units_of(const uint32_t *units, const attend_batch &b, bool exact)
{
    return units + (exact ? b.n_sequences + 1 : 0);
}
__device__ __forceinline__ const uint32_t *units_of(const attend_lists &lists, const attend_batch &b, bool exact)
{
    return units_of(lists.units, b, exact);
}

/* By one warp; what the others see behind a __syncthreads(). */
__device__ __forceinline__ void make_lists(attend_lists &lists, const attend_layer &l, const attend_batch &b,
                                           const attend_work &w, uint32_t tile, uint32_t lane)
{
    uint32_t n = b.n_sequences, tiles, rows;
    if (n <= ATTEND_FEW) {
        bool present = lane < n;
        attend_sequence s = sequence_of(l, b, b.slot[present ? lane : 0]);
        tiles = present ? tiles_of(s, l.sinks, tile).n : 0, rows = present ? rows_of(s, l.sinks).n : 0;
        uint32_t own_tiles = tiles, own_rows = rows;
#pragma unroll
        for (uint32_t step = 1; step < ATTEND_FEW; step *= 2) {
            uint32_t tiles_before = __shfl_up_sync(~0u, tiles, step), rows_before = __shfl_up_sync(~0u, rows, step);
            if (lane >= step) tiles += tiles_before, rows += rows_before;
        }
        if (present) {
            lists.few[lane] = s;
            lists.few_units[lane] = tiles - own_tiles, lists.few_units[n + 1 + lane] = rows - own_rows;
        }
        if (lane == n - 1) lists.few_units[n] = tiles, lists.few_units[2 * n + 1] = rows;
        __syncwarp();
        if (blockIdx.x == 0) /* for the merge */
            for (uint32_t i = lane; i < 2 * n + 2; i += 32) w.units[i] = lists.few_units[i];
        tiles = __shfl_sync(~0u, tiles, 31), rows = __shfl_sync(~0u, rows, 31);
    } else {
        tiles = w.units[n], rows = w.units[2 * n + 1];
    }
    if (lane != 0) return;
    lists.pages = list_of_pages(l, b, tiles, gridDim.x, tile);
    lists.rows = list_of_rows(l, b, rows, gridDim.x);
    lists.units = n <= ATTEND_FEW ? lists.few_units : w.units;
    lists.sequences = n <= ATTEND_FEW ? lists.few : w.sequences;
}

/* A block's share of the pages, cut where a head ends if tables are a head's (attend_list.of_cut). Parts have equal
 * shares of each such piece, those behind the last unit none. Numbers of parts leave these out, so that a run's parts
 * have numbers without a gap: a piece that goes on in the next block ends with the last number of its block. With
 * each cut numbers go on n_parts further. */
struct attend_piece {
    uint32_t cut, begin, end; /* units of the list */
    uint32_t parts;           /* that have any */
    uint32_t number;          /* of the first one in the grid */
};

/* The piece of a block that has unit `at`. */
__device__ __forceinline__ attend_piece piece_at(const attend_list &list, uint32_t block, uint32_t at)
{
    attend_piece p;
    uint32_t n_parts = list.n_parts;
    p.cut = list.of_cut.under(at);
    uint32_t of_block = list.of_block.n, block_begin = block * of_block, cut_begin = p.cut * list.of_cut.n;
    uint32_t block_end = block_begin + of_block < list.total.n ? block_begin + of_block : list.total.n;
    p.begin = block_begin > cut_begin ? block_begin : cut_begin;
    p.end = block_end < cut_begin + list.of_cut.n ? block_end : cut_begin + list.of_cut.n;
    p.parts = p.end - p.begin < n_parts ? p.end - p.begin : n_parts;
    uint32_t of_full = of_block < n_parts ? of_block : n_parts;
    p.number =
        p.cut * n_parts + block * of_full + (p.begin > block_begin && p.end == block_end ? of_full - p.parts : 0);
    return p;
}

/* Parts have equal shares, the first `longer` ones one unit more. */
struct attend_shares {
    uint32_t least, longer;

    __device__ __forceinline__ explicit attend_shares(const attend_piece &p)
    {
        least = attend_divisor(p.parts).under(p.end - p.begin);
        longer = p.end - p.begin - least * p.parts;
    }
    __device__ __forceinline__ uint32_t begin(const attend_piece &p, uint32_t part) const
    {
        return p.begin + least * part + (part < longer ? part : longer);
    }
    /* The part that has unit `at`. */
    __device__ __forceinline__ uint32_t part_of(const attend_piece &p, uint32_t at) const
    {
        uint32_t before = longer * (least + 1), i = at - p.begin;
        return i < before ? attend_divisor(least + 1).under(i) : longer + attend_divisor(least).under(i - before);
    }
};

/* Of the fp16 rows a block has units floor(total block / n_blocks) .. , whatever heads they are of. Numbers are
 * without a gap where all parts have some, and where none has more than one. */
__device__ __forceinline__ attend_piece rows_of_block(const attend_list &list, uint32_t block, uint32_t n_blocks)
{
    attend_piece p;
    uint32_t n_parts = list.n_parts;
    attend_divisor blocks(n_blocks);
    p.cut = 0;
    p.begin = blocks.under(list.total.n * block), p.end = blocks.under(list.total.n * (block + 1));
    p.parts = p.end - p.begin < n_parts ? p.end - p.begin : n_parts;
    p.number = list.total.n <= n_blocks * n_parts ? p.begin : block * n_parts;
    return p;
}
/* The block that has unit `at`. */
__device__ __forceinline__ uint32_t block_of_rows(const attend_list &list, uint32_t at, uint32_t n_blocks)
{
    return list.total.under((at + 1) * n_blocks - 1);
}

/* Where partial results of a tile of columns lie: first those of pages, then those of fp16 rows, `results_of_list()`
 * each; the number of the run's head and sequence plus the part's number in the grid. No two are the same, and those
 * of one head and sequence lie side by side. */
__device__ __forceinline__ uint32_t result_of(uint32_t head, uint32_t sequence, uint32_t n_sequences, uint32_t part)
{
    return head * n_sequences + sequence + part;
}
__host__ __device__ __forceinline__ uint32_t results_of_list(uint32_t n_heads, uint32_t n_sequences,
                                                             uint32_t n_blocks, uint32_t n_parts)
{
    return n_heads * n_sequences + (n_blocks + n_heads) * n_parts;
}

/* Who does what, and how many results there are: the lists of all tiles of columns have room for as many. */
struct attend_roles {
    attend_columns columns;
    uint32_t of_list; /* results */

    __host__ __device__ __forceinline__ attend_roles(const attend_columns &c, uint32_t n_heads, uint32_t n_sequences,
                                                     uint32_t n_blocks)
    {
        columns = c;
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

/* The run that begins at unit `at` of a list and goes no further than `end`; tile: of pages, 0: fp16 rows. All lanes
 * of a warp. */
__device__ __forceinline__ attend_run run_at(const attend_layer &l, const attend_batch &b, const attend_lists &lists,
                                             uint32_t tile, uint32_t at, uint32_t end, uint32_t lane)
{
    attend_run run;
    const uint32_t *units = units_of(lists, b, tile == 0);
    const attend_list &list = tile ? lists.pages : lists.rows;
    run.head = list.of_head.under(at);
    uint32_t left = at - run.head * list.of_head.n;
    run.sequence = last_below(units, b.n_sequences, left, lane); /* empty ones are passed over */
    attend_sequence s = lists.sequences[run.sequence];
    run.slot = s.slot, run.n_tokens = s.n_tokens, run.n_packed = s.n_packed;
    run.sight = sight_of(b, s.n_tokens);
    attend_extent e = tile ? tiles_of(s, l.sinks, tile) : rows_of(s, l.sinks);
    uint32_t begin = left - units[run.sequence], n = e.n - begin < end - at ? e.n - begin : end - at;
    run.begin = uniform(e.first + begin);
    run.end = uniform(run.begin + n);
    return run;
}

/* A column's partial result: maximum, sum of weights, two of padding, channels. */
#define RESULT_CHANNELS 4
__host__ __device__ constexpr uint32_t result_floats(uint32_t exact_dim, uint32_t latent_dim)
{
    return RESULT_CHANNELS + (exact_dim > latent_dim ? exact_dim : latent_dim);
}

/* ---- which results there are ---- */

/* Indices of the results of a head and sequence, of one list and tile of columns: first, first + 1, ... */
struct attend_results {
    uint32_t first, n;
};

/* Of units before .. behind - 1 of each head of the pages or the fp16 rows. */
__device__ __forceinline__ attend_results results_of(const attend_list &list, bool of_rows, uint32_t n_sequences,
                                                     uint32_t n_blocks, uint32_t head, uint32_t sequence,
                                                     uint32_t before, uint32_t behind)
{
    if (before == behind) return attend_results{0, 0};
    uint32_t number[2], unit[2] = {head * list.of_head.n + before, head * list.of_head.n + behind - 1};
    for (int i = 0; i < 2; i++) {
        attend_piece p = of_rows ? rows_of_block(list, block_of_rows(list, unit[i], n_blocks), n_blocks)
                                 : piece_at(list, list.of_block.under(unit[i]), unit[i]);
        number[i] = p.number + attend_shares(p).part_of(p, unit[i]);
    }
    return attend_results{result_of(head, sequence, n_sequences, number[0]), number[1] - number[0] + 1};
}

#endif
