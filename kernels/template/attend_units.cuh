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
    attend_sequence s = {slot, load_early(l.length + slot), load_early(l.packed + slot), 0};
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
    bool is_first, is_last; /* of the sequence's units of the head */
    uint32_t first_column;  /* of those of the head that the warp has */
    uint32_t result;        /* index of its partial result */
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

/* A list: units of a head and of all of them; what a block's share is (start_of()); the parts that such shares have
 * at most; are shares cut where a head ends? */
struct attend_list {
    attend_divisor of_head, of_block, total;
    uint32_t n_parts;
    bool by_head;

    __device__ __forceinline__ attend_list() {}
    __device__ __forceinline__ attend_list(uint32_t n_heads, uint32_t units_of_head, uint32_t n_blocks, bool cut,
                                           uint32_t most_parts)
        : of_head(units_of_head), total(n_heads * units_of_head), n_parts(most_parts), by_head(cut)
    {
        of_block = attend_divisor(attend_divisor(n_blocks).under(total.n + n_blocks - 1));
    }
    __device__ __forceinline__ attend_divisor of_cut() const { return by_head ? of_head : total; }
};

/* Blocks' shares of a list, which has as many units in each or, where a unit's costs are a head's, as much of their
 * sum. Units then lie behind each other as long as they cost, each head's behind a gap of what it costs a block to go
 * on from another head; and a block has those units that begin in its share, which is wrong by less than a unit. A
 * gap is no longer than a share that all but one block a head have: then no block has units of two heads. A block
 * that is all of one head has n_parts units at least, so that all of its parts have some: where shares are short
 * there are fewer parts. Where one may be shorter than a unit, or the sum has more than 32 bits, shares are those
 * without costs. */
struct attend_shared_list : attend_list {
    const uint32_t *costs;    /* attend_layer.costs; NULL: blocks have of_block units, the last ones what is left */
    uint32_t n_heads, longer; /* blocks that have 1 more than of_block of the costs */
    uint32_t gap;

    __device__ __forceinline__ attend_shared_list(const attend_list &list)
        : attend_list(list), costs(NULL), n_heads(0), longer(0), gap(0)
    {
    }
    __device__ __forceinline__ void weigh(const uint32_t *by_costs, uint32_t heads, uint32_t n_blocks)
    {
        uint32_t of_heads = by_costs[heads], most = by_costs[heads + 1], head_gap = by_costs[heads + 2];
        uint64_t of_units = (uint64_t)of_head.n * of_heads;
        if (of_units + (uint64_t)heads * head_gap + most > 0xffffffffu) return;
        uint32_t all = (uint32_t)of_units, few = n_blocks > heads ? n_blocks - heads : 0;
        head_gap = few ? min(head_gap, attend_divisor(few).under(all) + 1) : 0;
        all += heads * head_gap;
        uint32_t least = attend_divisor(n_blocks).under(all);
        if (least < most) return;
        n_parts = min(n_parts, attend_divisor(most).under(least));
        costs = by_costs, n_heads = heads, longer = all - least * n_blocks, gap = head_gap;
        of_block = attend_divisor(least);
    }
    /* Costs before a head's first unit, its gap among them. */
    __device__ __forceinline__ uint32_t before(uint32_t head) const
    {
        return of_head.n * costs[head] + (head + 1) * gap;
    }
    __device__ __forceinline__ uint32_t of_unit(uint32_t head) const { return costs[head + 1] - costs[head]; }
};

/* Are tables a head's, so that a block's share is cut where a head ends? */
__device__ __forceinline__ bool tables_of_head(const attend_layer &l)
{
    return l.key_counts || l.value_counts;
}

/* The list of pages, of tiles of so many tokens, and the one of fp16 rows. costs: the layer's or NULL. */
__device__ __forceinline__ attend_shared_list list_of_pages(const attend_layer &l, const uint32_t *costs,
                                                            const attend_batch &b, uint32_t tiles_of_head,
                                                            uint32_t n_blocks, uint32_t tile)
{
    attend_shared_list list(attend_list(l.n_heads, tiles_of_head, n_blocks, tables_of_head(l), b.columns.parts));
    list.n_parts = parts_of(list.of_block.n * tile, list.n_parts);
    if (costs) list.weigh(costs, l.n_heads, n_blocks);
    return list;
}
__device__ __forceinline__ attend_list list_of_rows(const attend_layer &l, const attend_batch &b,
                                                    uint32_t units_of_head, uint32_t n_blocks)
{
    return attend_list(l.n_heads, units_of_head, n_blocks, false, b.columns.parts);
}

/* ---- the share of a block ---- */

/* Units begin .. end - 1 of the list: a block's. */
struct attend_range {
    uint32_t begin, end;
};
static_assert(sizeof(attend_range) == 8, "two numbers, side by side");

/* Of a list with costs: the costs before a block's share. */
__device__ __forceinline__ uint32_t start_of(const attend_shared_list &list, uint32_t block)
{
    return block * list.of_block.n + (block < list.longer ? block : list.longer);
}

/* Where block `block` begins, and the one before it ends: at the first unit that has as much before it. One body for
 * all heads, which runs once (fragment/shared.cuh, shared_entry). */
__device__ __forceinline__ uint32_t begin_of(const attend_shared_list &list, uint32_t block)
{
    if (!list.costs) return min(block * list.of_block.n, list.total.n);
    uint32_t cost = start_of(list, block), head = 0, n = list.of_head.n;
#pragma unroll 1
    for (uint32_t i = 1; i < list.n_heads; i++) head += list.before(i) <= cost;
    uint32_t before = list.before(head), of_unit = list.of_unit(head), units = 0;
    if (cost > before) units = min(attend_divisor(of_unit).under(cost - before + of_unit - 1), n);
    return head * n + units;
}

/* Are there lists that blocks do not make themselves (attend_prepare.cuh)? 1 or 0. */
__host__ __device__ __forceinline__ uint32_t has_lists(const attend_batch &b)
{
    return b.n_sequences > ATTEND_FEW;
}

/* Both lists, in shared memory. Tiles of pages, and units of fp16 rows, that come before each sequence of a head, and
 * the sequences: in memory where they are many. */
struct attend_lists {
    attend_list pages, rows;
    attend_range own;      /* the block's share of the pages */
    const uint32_t *units; /* [2][n_sequences + 1] */
    const attend_sequence *sequences;
    uint32_t few_units[2 * (ATTEND_FEW + 1)];
    attend_sequence few[ATTEND_FEW];
};
#define ATTEND_LISTS_BYTES 1632 /* room for them */
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

/* The lane's sum with those of the lanes before it. */
__device__ __forceinline__ uint32_t sum_up_to(uint32_t x, uint32_t lane)
{
#pragma unroll
    for (uint32_t step = 1; step < 32; step *= 2) {
        uint32_t other = __shfl_up_sync(~0u, x, step);
        if (lane >= step) x += other;
    }
    return x;
}

/* The lists of few sequences, 32 at a time, of which a lane has one. By one warp. */
__device__ __forceinline__ void list_few(attend_lists &lists, const attend_layer &l, const attend_batch &b,
                                         uint32_t tile, uint32_t lane, uint32_t *tiles, uint32_t *rows)
{
    uint32_t n = b.n_sequences;
    *tiles = *rows = 0;
#pragma unroll 1
    for (uint32_t first = 0; first < n; first += 32) {
        uint32_t i = first + lane;
        attend_sequence s = {0, 0, 0, 0};
        if (i < n) s = sequence_of(l, b, b.slot[i]);
        uint32_t of_tiles = tiles_of(s, l.sinks, tile).n, of_rows = rows_of(s, l.sinks).n;
        uint32_t tiles_end = *tiles + sum_up_to(of_tiles, lane), rows_end = *rows + sum_up_to(of_rows, lane);
        if (i < n) {
            lists.few[i] = s;
            lists.few_units[i] = tiles_end - of_tiles, lists.few_units[n + 1 + i] = rows_end - of_rows;
        }
        *tiles = __shfl_sync(~0u, tiles_end, 31), *rows = __shfl_sync(~0u, rows_end, 31);
    }
    if (lane == 0) lists.few_units[n] = *tiles, lists.few_units[2 * n + 1] = *rows;
    __syncwarp();
}

/* By one warp; what the others see behind a __syncthreads(). costs: the layer's or NULL. */
__device__ __forceinline__ void make_lists(attend_lists &lists, const attend_layer &l, const uint32_t *costs,
                                           const attend_batch &b, const attend_work &w, uint32_t tile, uint32_t lane)
{
    uint32_t n = b.n_sequences, tiles, rows;
    if (has_lists(b))
        tiles = w.units[n], rows = w.units[2 * n + 1];
    else
        list_few(lists, l, b, tile, lane, &tiles, &rows);
    if (lane > 1) return;
    const attend_shared_list pages = list_of_pages(l, costs, b, tiles, gridDim.x, tile);
    ((uint32_t *)&lists.own)[lane] = begin_of(pages, blockIdx.x + lane); /* the end is where the next one begins */
    if (lane != 0) return;
    lists.pages = pages;
    lists.rows = list_of_rows(l, b, rows, gridDim.x);
    lists.units = has_lists(b) ? w.units : lists.few_units;
    lists.sequences = has_lists(b) ? w.sequences : lists.few;
}

/* A block's share of the pages, cut where a head ends if tables are a head's (attend_list.by_head). Parts have equal
 * shares of each such piece, those behind the last unit none. Numbers of parts leave these out, so that a run's parts
 * have numbers without a gap: a piece that goes on in the next block ends with the last number of its block. With
 * each cut numbers go on n_parts further. A share that is all one piece and goes on has units for all parts, or as
 * many as every other one has. */
struct attend_piece {
    uint32_t cut, begin, end; /* units of the list */
    uint32_t parts;           /* that have any */
    uint32_t number;          /* of the first one in the grid */
};

/* The piece of a block with the share `own` that has unit `at`. */
__device__ __forceinline__ attend_piece piece_at(const attend_list &list, const attend_range &own, uint32_t block,
                                                 uint32_t at)
{
    attend_piece p;
    const attend_divisor of_cut = list.of_cut();
    uint32_t n_parts = list.n_parts;
    p.cut = of_cut.under(at);
    uint32_t of_block = list.of_block.n, cut_begin = p.cut * of_cut.n, cut_end = cut_begin + of_cut.n;
    p.begin = own.begin > cut_begin ? own.begin : cut_begin;
    p.end = own.end < cut_end ? own.end : cut_end;
    p.parts = p.end - p.begin < n_parts ? p.end - p.begin : n_parts;
    uint32_t of_full = of_block < n_parts ? of_block : n_parts;
    p.number = p.cut * n_parts + block * of_full + (p.end == own.end && p.end < cut_end ? of_full - p.parts : 0);
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
    run.is_first = begin == 0, run.is_last = begin + n == e.n;
    return run;
}

/* A column's partial result: maximum, sum of weights, two of padding, channels. */
#define RESULT_CHANNELS 4
__host__ __device__ constexpr uint32_t result_floats(uint32_t exact_dim, uint32_t latent_dim)
{
    return RESULT_CHANNELS + (exact_dim > latent_dim ? exact_dim : latent_dim);
}

#endif
