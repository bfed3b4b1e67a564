/* attend.cuh - attention of the newest tokens over compressed caches: one persistent grid for all sequences.
 *
 * The work is two lists of units: for each KV head, for each sequence, the tiles of its compressed pages; and the
 * same of its fp16 rows, EXACT_TOKENS a unit. Every block takes an equal share of the tiles, or of what they cost
 * where that differs from head to head, its warps equal shares of that; the rows are shared out alike. Units that
 * belong together are a run; for each run a warp keeps a running softmax (maximum, sum, weighted sum) and leaves a
 * partial result, and attend_merge() puts those together. Tiles come by background copies, STAGES ahead, into the
 * warp's own shared memory: no warp waits for another.
 *
 * Queries are operand A (columns x channels) of products with keys, and values operand A (channels x tokens) of
 * products with weights. Column i * GROUP + k is token i of the queries and query head k of the group. A warp has
 * COLUMNS of them; where there are more, several warps go over the same units (attend_units.cuh, attend_columns).
 * Scales never meet codes: a key's per channel goes into the query, once a page; those per token into the scores; a
 * value's per token into the weights, and per channel into sums; minima into a bias and a sum of weights
 * (fragment/pairs.cuh has the operands, FORMAT.md "int" the codes).
 *
 * Parameters, a struct with: D, GROUP, COLUMNS (a multiple of 8, or 4), TILE, PAGE, STAGES,
 * WARPS; SOFTCAP: are scores capped? key_side, value_side (fragment/staged.cuh). */
#ifndef KERNELS_TEMPLATE_ATTEND_CUH
#define KERNELS_TEMPLATE_ATTEND_CUH
#include "fragment/shared.cuh"
#include "template/attend_args.h"
#include "template/attend_bytes.cuh"
#include "template/attend_halves.cuh"
#include "template/attend_units.cuh"

template <typename P, bool BYTES = bytes_fit<P>::FIT> struct attend_tiles {
    typedef attend_halves<P> type;
};
template <typename P> struct attend_tiles<P, true> {
    typedef attend_bytes<P> type;
};

template <typename P> struct attend {
    static const int TILES_N = (P::COLUMNS + 7) / 8;
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    typedef typename attend_tiles<P>::type tiles; /* what goes over the tiles of a run */
    typedef staged_fp16<P::D, EXACT_TOKENS, EXACT_TOKENS> exact_side;
    typedef attend_keys<P, exact_side> exact_keys;
    typedef attend_values<P, exact_side> exact_values;

    /* Shared memory of a block: tables of both sides, the warps' stages, their scratch, their barriers, the lists.
     * Tables of one length of codes lie side by side, TABLE_ROW bytes for an entry (fragment/table.cuh); others
     * behind them. */
    static const int ENTRIES = key_side::ENTRIES > value_side::ENTRIES ? key_side::ENTRIES : value_side::ENTRIES;
    static const int STAGE_BYTES = key_side::BYTES + value_side::BYTES, PLAIN_BYTES = ENTRIES * TABLE_ROW,
                     TABLE_BYTES = PLAIN_BYTES + key_side::TABLE + value_side::TABLE;
    static const bool TABLES_OF_HEAD = key_side::TABLE || value_side::TABLE;
    /* The results of four columns go through the last stage of a warp. */
    static const int RESULT_BYTES = 16 * P::D, AHEAD_BYTES = (P::STAGES - 1) * STAGE_BYTES,
                     RING_BYTES = AHEAD_BYTES + (STAGE_BYTES > RESULT_BYTES ? STAGE_BYTES : RESULT_BYTES),
                     TILES_OF_PAGE = P::PAGE / P::TILE;
    static const size_t SCRATCH = TABLE_BYTES + (size_t)P::WARPS * RING_BYTES;
    static const size_t BARRIERS = SCRATCH + (size_t)P::WARPS * tiles::SCRATCH;
    static const size_t LISTS = BARRIERS + P::WARPS * P::STAGES * COPY_BARRIER_BYTES;
    static const size_t SHARED_BYTES = LISTS + ATTEND_LISTS_BYTES;
    typedef stage_copies<P::STAGES> ring;

    static const uint32_t RESULT_STRIDE = result_floats(P::D, value_side::D);

    __device__ static __forceinline__ uint8_t *key_table(uint8_t *tables)
    {
        return tables + (key_side::TABLE ? PLAIN_BYTES : 0);
    }
    __device__ static __forceinline__ uint8_t *value_table(uint8_t *tables)
    {
        return tables + (value_side::TABLE ? PLAIN_BYTES + key_side::TABLE : TABLE_ROW / 2);
    }

    /* What a warp has of a block's shared memory, and where its ring stands. */
    struct workplace {
        uint8_t *tables, *stages, *scratch;
        ring copies;
        int now; /* the stage that is next */
        int lane;
    };

    typedef attend_heads<key_side, value_side> heads;
    typedef attend_sight_of<P> sight;

    /* Columns of the warp that are there. */
    __device__ static __forceinline__ uint32_t present(const attend_run &run, const attend_batch &b)
    {
        return min(b.n_queries * P::GROUP - run.first_column, (uint32_t)P::COLUMNS);
    }

    /* ---- runs ---- */

    __device__ static __forceinline__ float *result_at(const attend_work &w, const attend_run &run)
    {
        return w.partial + (size_t)run.result * P::COLUMNS * RESULT_STRIDE;
    }

    /* Pages of a run. Of their numbers every lane has one of 32, and one of the 32 behind them. `blocks`: where the
     * side that the lane copies from begins in page 0. */
    struct run_pages_of {
        const uint32_t *table;
        uint32_t first, last, now, next;
        const uint8_t *blocks;

        __device__ __forceinline__ uint32_t load(uint32_t page, int lane) const
        {
            return load_early(table + min(page + (uint32_t)lane, last));
        }
        __device__ __forceinline__ void start(const heads &h, const attend_layer &l, const attend_run &run, int lane)
        {
            table = l.page_table + (size_t)run.slot * l.page_stride;
            first = run.begin / TILES_OF_PAGE, last = (run.end - 1) / TILES_OF_PAGE;
            now = load(first, lane), next = load(first + 32, lane);
            blocks = l.pool + (lane < key_side::COPIES
                                   ? key_side::offset(h.key, run.head, l.key_block)
                                   : l.value_offset + value_side::offset(h.value, run.head, l.value_block));
        }
        /* Pages are asked for in ascending order. */
        __device__ __forceinline__ uint32_t at(uint32_t page, int lane)
        {
            if (page - first == 32) {
                first = page, now = next;
                next = load(first + 32, lane);
            }
            return __shfl_sync(~0u, now, (int)(page - first));
        }
    };

    __device__ static __forceinline__ void fetch(workplace &at, const heads &h, const attend_layer &l,
                                                 const attend_run &run, run_pages_of &pages, uint32_t unit, int stage)
    {
        if (unit >= run.end) return at.copies.skip();
        bool is_key = at.lane < key_side::COPIES;
        int tile = (int)(unit % TILES_OF_PAGE);
        staged_copy c = is_key ? key_side::copy(h.key, at.lane, tile)
                               : value_side::copy(h.value, at.lane - key_side::COPIES, tile);
        const uint8_t *from = pages.blocks + pages.at(unit / TILES_OF_PAGE, at.lane) * l.page_bytes + c.from;
        uint8_t *to = at.stages + stage * STAGE_BYTES + (is_key ? 0 : key_side::BYTES) + c.to;
        at.copies.template ask<key_side::COPIES + value_side::COPIES>(
            stage, key_side::bytes(h.key) + value_side::bytes(h.value), to, from, (int)c.n);
    }

    /* A run's first tiles are asked for. */
    __device__ static __forceinline__ void begin_pages(workplace &at, const heads &h, const attend_layer &l,
                                                       const attend_run &run, run_pages_of &pages)
    {
        pages.start(h, l, run, at.lane);
        for (int i = 0; i < P::STAGES - 1; i++) fetch(at, h, l, run, pages, run.begin + i, (at.now + i) % P::STAGES);
    }

    __device__ static void run_pages(workplace &at, const heads &h, const attend_layer &l, const attend_batch &b,
                                     const attend_work &w, const attend_run &run, run_pages_of &pages)
    {
        tiles all;
        all.load(h, l, b, query_source::latent(l, b, w), run, at.scratch, at.lane);
        for (uint32_t unit = run.begin; unit < run.end; unit++) {
            fetch(at, h, l, run, pages, unit + P::STAGES - 1, at.now ? at.now - 1 : P::STAGES - 1);
            at.copies.wait(at.now);
            const uint8_t *stage = at.stages + at.now * STAGE_BYTES;
            all.add_tile(h, stage, key_side::table_of(key_table(at.tables), l.key_table, run.head),
                         value_side::table_of(value_table(at.tables), l.value_table, run.head), at.scratch, b, run,
                         l.sinks + unit * P::TILE, at.lane);
            __syncwarp(); /* the stage is fetched into next */
            at.now = at.now + 1 < P::STAGES ? at.now + 1 : 0;
        }
        all.leave(h, result_at(w, run), RESULT_STRIDE, (float *)(at.stages + AHEAD_BYTES), present(run, b), at.lane);
        at.copies.reuse();
    }

    /* A unit of fp16 rows. They are read where they are, all of a unit at once, values of more than 128 channels
     * behind keys: registers; rows behind the last one are read as that one, and not seen. */
    struct exact_unit {
        static const bool SMALL = P::D <= 128;
        const uint8_t *key_rows, *value_rows;
        int last, lane;
        uint32_t keys[2][exact_keys::PAIRS];
        typename exact_values::operands values;

        __device__ __forceinline__ exact_unit(const attend_layer &l, const attend_run &run, int own_lane)
        {
            size_t head_rows = (size_t)l.capacity * P::D, side_rows = l.n_heads * head_rows;
            key_rows = (const uint8_t *)(l.rows + run.slot * 2 * side_rows + run.head * head_rows);
            value_rows = key_rows + side_rows * 2;
            last = (int)(run.n_tokens - run.n_packed) - 1, lane = own_lane;
        }
        __device__ __forceinline__ void load_values(int row)
        {
            int t = lane % 4;
            int tokens[4] = {min(row + 2 * t, last), min(row + 2 * t + 1, last), min(row + 2 * t + 8, last),
                             min(row + 2 * t + 9, last)};
            values.load(value_rows, NULL, tokens, lane);
        }
        __device__ __forceinline__ void load(int row)
        {
#pragma unroll
            for (int i = 0; i < 2; i++)
                exact_side::keys::load(key_rows, NULL, min(row + i * 8 + lane / 4, last), lane, keys[i]);
            if (SMALL) load_values(row);
        }
    };

    /* The first unit is on its way before the queries are, if there are registers for both. */
    __device__ static void run_exact(workplace &at, const attend_layer &l, const attend_batch &b,
                                     const attend_work &w, const attend_run &run)
    {
        typename exact_keys::query q;
        typename exact_values::state s;
        typename exact_side::head none = {};
        exact_unit x(l, run, at.lane);
        if (x.SMALL) x.load((int)run.begin * EXACT_TOKENS);
        q.load(none, l, b, query_source::exact(b), run, NULL, at.lane);
        s.clear();
        for (int unit = (int)run.begin; unit < (int)run.end; unit++) {
            int row = unit * EXACT_TOKENS;
            attend_scores<P, 2> p;
            if (!x.SMALL || unit > (int)run.begin) x.load(row);
#pragma unroll
            for (int i = 0; i < 2; i++) exact_keys::products(x.keys[i], q.pairs, p.x[i]);
            q.finish(p);
            sight::cap(p, b);
            sight::hide_exact(p.x, row, l.sinks, run, x.last + 1, at.lane);
            s.weigh(p, at.lane);
            if (!x.SMALL) x.load_values(row);
            exact_values::accumulate(s, x.values, p.x, {});
        }
        exact_values::leave(s, none, result_at(w, run), RESULT_STRIDE, (float *)(at.stages + AHEAD_BYTES),
                            present(run, b), at.lane);
        at.copies.reuse();
    }

    /* ---- shares ---- */

    /* Who a warp is: one of the parts that go over all units with tiles of columns first, first + together, ... */
    struct role {
        uint32_t part, first; /* first is columns.tiles where there is nothing for the warp */

        __device__ __forceinline__ role(const attend_columns &columns, uint32_t warp)
        {
            first = columns.together == 1 ? 0 : warp / columns.parts;
            part = warp - first * columns.parts;
            if (first >= columns.together) first = columns.tiles;
        }
    };

    /* What a run is besides its units, with a tile of columns; number: of the part in the grid. */
    __device__ static __forceinline__ void complete_run(attend_run &run, const attend_layer &l, const attend_batch &b,
                                                        const attend_work &w, const attend_roles &roles, bool exact,
                                                        uint32_t tile, uint32_t number, int lane)
    {
        uint32_t result = result_of(run.head, run.sequence, b.n_sequences, number);
        run.first_column = tile * P::COLUMNS;
        run.result = roles.first_result(tile, exact) + result;
        uint32_t *ends = w.results[(exact * l.n_heads + run.head) * b.n_sequences + run.sequence];
        if (tile == 0 && lane == 0 && run.is_first) ends[0] = result;
        if (tile == 0 && lane == 0 && run.is_last) ends[1] = result;
    }

    /* Of the fp16 rows. The last parts are the first to have some: where a block has few tiles these have none. */
    __device__ static void share_rows(workplace &at, const attend_layer &l, const attend_batch &b,
                                      const attend_work &w, const attend_lists &lists, const attend_roles &roles,
                                      const role &r)
    {
        attend_piece piece = rows_of_block(lists.rows, blockIdx.x, gridDim.x);
        uint32_t part = roles.columns.parts - 1 - r.part;
        if (part >= piece.parts) return;
        attend_shares shares(piece);
        uint32_t own = shares.begin(piece, part), end = shares.begin(piece, part + 1);
        for (uint32_t tile = r.first; tile < roles.columns.tiles; tile += roles.columns.together)
            for (uint32_t begin = own; begin < end;) {
                attend_run run = run_at(l, b, lists, 0, begin, end, (uint32_t)at.lane);
                complete_run(run, l, b, w, roles, true, tile, piece.number + part, at.lane);
                run_exact(at, l, b, w, run);
                begin += run.end - run.begin;
            }
    }

    /* Half of the warps, and those without tiles, begin with their fp16 rows, the others end with them: rows are
     * waited for one by one, and in the meantime memory and arithmetic are for the pages. Where tables of a second
     * head are to come all end with them, since warps wait for each other there. */
    __device__ static void share(const attend_layer &l, const attend_batch &b, const attend_work &w, uint8_t *shared)
    {
        int warp = (int)uniform(threadIdx.x / 32);
        const attend_roles roles(b.columns, l.n_heads, b.n_sequences, gridDim.x);
        const role r(roles.columns, (uint32_t)warp);
        attend_lists &lists = *(attend_lists *)(shared + LISTS);
        workplace at;
        at.lane = (int)threadIdx.x % 32;
        at.tables = shared;
        at.stages = shared + TABLE_BYTES + (size_t)warp * RING_BYTES;
        at.scratch = shared + SCRATCH + (size_t)warp * tiles::SCRATCH;
        at.now = 0;
        /* A layer's tables, by the warps that make no lists. */
        typename key_side::template ahead<P::WARPS * 32 - 32, tiles::IN_BYTES> key_ahead;
        typename value_side::template ahead<P::WARPS * 32 - 32, tiles::IN_BYTES> value_ahead;
        int thread = max((int)threadIdx.x - 32, 0);
        key_ahead.load(l.key_table, thread);
        value_ahead.load(l.value_table, thread);
        at.copies.init(shared + BARRIERS + warp * P::STAGES * COPY_BARRIER_BYTES, at.lane, roles.columns.tiles == 1);
        /* Not behind a fold alone, which has waited for what is before the call. */
        if (!l.fold || has_lists(b)) await_previous();
        let_next_start();
        if (warp == 0) {
            make_lists(lists, l, TABLES_OF_HEAD ? l.costs : NULL, b, w, P::TILE, (uint32_t)at.lane);
        } else {
            key_ahead.store(key_table(shared), l.key_steps, thread);
            value_ahead.store(value_table(shared), l.value_steps, thread);
        }
        __syncthreads();
        const attend_range block = {uniform(lists.own.begin), uniform(lists.own.end)};
        uint32_t unit = block.begin, block_end = block.end;
        bool rows_done = false;
        while (unit < block_end || !rows_done) {
            attend_piece piece = {0, block_end, block_end, 0, 0};
            if (unit < block_end) piece = piece_at(lists.pages, block, blockIdx.x, unit);
            heads h = {key_side::head_of(l.key_counts, piece.cut), value_side::head_of(l.value_counts, piece.cut)};
            uint32_t own = 0, end = 0, tile = roles.columns.tiles;
            if (uniform(r.part < piece.parts)) {
                attend_shares shares(piece);
                own = uniform(shares.begin(piece, r.part)), end = uniform(shares.begin(piece, r.part + 1));
                tile = r.first;
            }
            uint32_t begin = own;
            attend_run run;
            run_pages_of pages;
            auto next_run = [&] {
                if (begin >= end) begin = own, tile += roles.columns.together;
                if (tile >= roles.columns.tiles) return;
                run = run_at(l, b, lists, P::TILE, begin, end, (uint32_t)at.lane);
                begin_pages(at, h, l, run, pages);
                complete_run(run, l, b, w, roles, false, tile, piece.number + r.part, at.lane);
            };
            next_run();
            /* While the first tiles are on their way. */
            bool is_first = unit == block.begin;
            if (TABLES_OF_HEAD && unit < block_end) {
                if (!is_first) __syncthreads(); /* nobody looks at the tables any more */
                key_side::template copy_table<tiles::IN_BYTES, false>(key_table(shared), h.key, l.key_table,
                                                                      l.key_steps);
                value_side::template copy_table<tiles::IN_BYTES, true>(value_table(shared), h.value, l.value_table,
                                                                       l.value_steps);
                __syncthreads();
            }
            await_previous(); /* queries */
            bool awaited = TABLES_OF_HEAD && piece.end < block_end;
            bool early = warp % 2 == 1 || tile >= roles.columns.tiles;
            if (!rows_done && (unit >= block_end || (early && is_first && !awaited))) {
                share_rows(at, l, b, w, lists, roles, r);
                rows_done = true;
            }
            for (; tile < roles.columns.tiles; next_run()) {
                run_pages(at, h, l, b, w, run, pages);
                begin += run.end - run.begin;
            }
            unit = uniform(piece.end);
        }
    }
};

template <typename P>
__global__ void __launch_bounds__(P::WARPS * 32, 1) attend_pages(attend_layer l, attend_batch b, attend_work w)
{
    KVC_SHARED(uint8_t, shared);
    attend<P>::share(l, b, w, shared);
}

#endif
