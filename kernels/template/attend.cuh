/* attend.cuh - attention of the newest tokens over compressed caches: one persistent grid for all sequences.
 *
 * The work is a list of units: for each KV head, for each sequence, the tiles of its compressed pages, then tiles of
 * EXACT_TOKENS fp16 rows. Every block takes an equal share of the list, its warps equal shares of that. Units
 * of one kind that belong together are a run; for each run a warp keeps a running softmax (maximum, sum, weighted
 * sum) and leaves a partial result, and attend_merge() puts those together. Tiles of pages come by background
 * copies, STAGES ahead, into the warp's own shared memory: no warp waits for another.
 *
 * Keys and values are operand A (tokens x channels, channels x tokens), queries and weights operand B, of 8 columns:
 * column i * GROUP + k is token i of the queries and query head k of the group. A warp has COLUMNS of them; where
 * there are more, several warps go over the same units (attend_units.cuh, attend_columns). Scales never meet codes: a
 * key's per channel goes into the query, once a page; one per token into the score; a value's per token into the
 * weight; minima into a bias and a sum of weights (fragment/pairs.cuh has the operands, FORMAT.md "int" the codes).
 *
 * Parameters, a struct with: D, GROUP, COLUMNS (a multiple of 8), TILE, PAGE, STAGES, WARPS; SOFTCAP: are scores
 * capped? key_side, value_side (fragment/staged.cuh). */
#ifndef KERNELS_TEMPLATE_ATTEND_CUH
#define KERNELS_TEMPLATE_ATTEND_CUH
#include "fragment/shared.cuh"
#include "template/attend_args.h"
#include "template/attend_keys.cuh"
#include "template/attend_shared.cuh"
#include "template/attend_units.cuh"
#include "template/attend_values.cuh"

template <typename P> struct attend {
    static const int TILES_N = P::COLUMNS / 8;
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    typedef attend_keys<P, key_side> keys;
    typedef attend_values<P, value_side> values;
    typedef staged_fp16<P::D, EXACT_TOKENS, EXACT_TOKENS> exact_side;
    typedef attend_keys<P, exact_side> exact_keys;
    typedef attend_values<P, exact_side> exact_values;

    /* Shared memory of a block: tables of both sides, the warps' stages, their scratch, their barriers. */
    static const int STAGE_BYTES = key_side::BYTES + value_side::BYTES,
                     TABLE_BYTES = key_side::TABLE + value_side::TABLE;
    static const int RING_BYTES = P::STAGES * STAGE_BYTES, TILES_OF_PAGE = P::PAGE / P::TILE;
    static const size_t SCRATCH = TABLE_BYTES + (size_t)P::WARPS * RING_BYTES;
    static const size_t BARRIERS = SCRATCH + (size_t)P::WARPS * keys::SCRATCH;
    static const size_t SHARED_BYTES = BARRIERS + P::WARPS * P::STAGES * COPY_BARRIER_BYTES;
    typedef stage_copies<P::STAGES> ring;

    /* What a warp has of a block's shared memory, and where its ring stands. */
    struct workplace {
        uint8_t *tables, *stages, *scratch;
        ring copies;
        int now; /* the stage that is next */
        int lane;
    };

    /* The head of the present piece, as the two sides know it. */
    struct heads {
        typename key_side::head key;
        typename value_side::head value;
    };

    /* ---- what a column sees ---- */

    /* The query, counted from the first one of the batch, of a column of the warp. */
    __device__ static __forceinline__ uint32_t query_of(const attend_run &run, int column)
    {
        return (run.first_column + (uint32_t)column) / P::GROUP;
    }

    __device__ static __forceinline__ bool sees(const attend_run &run, uint32_t token, int column)
    {
        uint32_t query = query_of(run, column);
        return token < run.sight.before + query && (int)token >= run.sight.oldest + (int)query;
    }

    /* Scores of tokens that a column's query does not see become -inf. `first` is the oldest token of the block. */
    template <int BLOCKS>
    __device__ static __forceinline__ void hide(float p[BLOCKS][TILES_N][4], uint32_t first, const attend_run &run,
                                                const attend_batch &b, int lane)
    {
        if (first + BLOCKS * 16 <= run.sight.before && (int)first >= run.sight.oldest + (int)b.n_queries - 1) return;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    uint32_t token = first + (uint32_t)(i * 16 + lane / 4 + e / 2 * 8);
                    if (!sees(run, token, n * 8 + lane % 4 * 2 + e % 2)) p[i][n][e] = -INFINITY;
                }
    }

    /* Row r is token r, or behind the sinks token r + n_packed. */
    __device__ static __forceinline__ void hide_exact(float p[1][TILES_N][4], int first, uint32_t sinks,
                                                      const attend_run &run, int n_exact, int lane)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                uint32_t row = (uint32_t)(first + lane / 4 + e / 2 * 8);
                uint32_t token = row < sinks ? row : row + run.n_packed;
                bool seen = (int)row < n_exact && sees(run, token, n * 8 + lane % 4 * 2 + e % 2);
                if (!seen) p[0][n][e] = -INFINITY;
            }
    }

    /* cap tanh(s / cap) = cap - 2 cap / (1 + e^(2 s / cap)); for scores of base 2 the power is one of 2. Not by
     * tanh.approx: its error of 2^-11 would be one of up to 2 % in a weight at a cap of 50. */
    template <int BLOCKS>
    __device__ static __forceinline__ void cap(float p[BLOCKS][TILES_N][4], const attend_batch &b)
    {
        if constexpr (P::SOFTCAP) {
            const float most = b.softcap * 1.44269504f, into = 2.0f / b.softcap;
#pragma unroll
            for (int i = 0; i < BLOCKS; i++)
#pragma unroll
                for (int n = 0; n < TILES_N; n++)
#pragma unroll
                    for (int e = 0; e < 4; e++)
                        p[i][n][e] = most - divide_fast(2.0f * most, 1.0f + exp2_fast(p[i][n][e] * into));
        }
    }

    /* ---- runs ---- */

    __device__ static __forceinline__ float *result_at(const attend_work &w, const attend_run &run)
    {
        return w.partial + (size_t)run.result * result_floats(P::COLUMNS, P::D, value_side::D);
    }

    __device__ static __forceinline__ void fetch(workplace &at, const heads &h, const attend_layer &l,
                                                 const attend_run &run, uint32_t unit, int stage)
    {
        if (unit >= run.end) return at.copies.skip();
        uint32_t page = l.page_table[(size_t)run.slot * l.page_stride + unit / TILES_OF_PAGE];
        const uint8_t *from = l.pool + page * l.page_bytes;
        uint8_t *to = at.stages + stage * STAGE_BYTES;
        int tile = (int)(unit % TILES_OF_PAGE);
        at.copies.begin(stage, key_side::bytes(h.key) + value_side::bytes(h.value));
        key_side::copy(at.copies, h.key, to, from + key_side::offset(h.key, run.head, l.key_block), tile);
        value_side::copy(at.copies, h.value, to + key_side::BYTES,
                         from + l.value_offset + value_side::offset(h.value, run.head, l.value_block), tile);
        at.copies.end();
    }

    __device__ static void run_pages(workplace &at, const heads &h, const attend_layer &l, const attend_batch &b,
                                     const attend_work &w, const attend_run &run)
    {
        typename keys::query q;
        typename values::state s;
        keys::load(q, h.key, l, b, w.latent, w.latent_scale, w.query_bias, run, at.scratch, at.lane);
        s.clear();
        for (int i = 0; i < P::STAGES - 1; i++) fetch(at, h, l, run, run.begin + i, (at.now + i) % P::STAGES);
        for (uint32_t unit = run.begin; unit < run.end; unit++) {
            float p[P::TILE / 16][TILES_N][4];
            fetch(at, h, l, run, unit + P::STAGES - 1, at.now ? at.now - 1 : P::STAGES - 1);
            at.copies.wait(at.now);
            const uint8_t *stage = at.stages + at.now * STAGE_BYTES;
            keys::scores(q, h.key, stage, at.tables, at.scratch, at.lane, p);
            cap<P::TILE / 16>(p, b);
            hide<P::TILE / 16>(p, l.sinks + unit * P::TILE, run, b, at.lane);
            s.template weigh<P::TILE / 16>(p);
            values::add(s, h.value, stage + key_side::BYTES, at.tables + key_side::TABLE, p, at.lane);
            __syncwarp(); /* the stage is fetched into next */
            at.now = at.now + 1 < P::STAGES ? at.now + 1 : 0;
        }
        values::leave(s, h.value, result_at(w, run), at.lane);
    }

    /* fp16 rows are read where they are; rows behind the last one are read as that one, and not seen. */
    __device__ static void run_exact(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                     const attend_run &run, int lane)
    {
        typename exact_keys::query q;
        typename exact_values::state s;
        typename exact_side::head none = {};
        exact_keys::load(q, none, l, b, w.exact, w.exact_scale, NULL, run, NULL, lane);
        s.clear();
        size_t head_rows = (size_t)l.capacity * P::D, side_rows = l.n_heads * head_rows;
        const uint8_t *key_rows = (const uint8_t *)(l.rows + run.slot * 2 * side_rows + run.head * head_rows);
        const uint8_t *value_rows = key_rows + side_rows * 2;
        int n_exact = (int)(run.n_tokens - run.n_packed), g = lane / 4, t = lane % 4;
        for (uint32_t unit = run.begin; unit < run.end; unit++) {
            int row = (int)unit * EXACT_TOKENS, last = n_exact - 1;
            float p[1][TILES_N][4];
            exact_keys::products(key_rows, NULL, min(row + g, last), min(row + g + 8, last), q.pairs, lane, p[0]);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) p[0][n][e] *= q.scale[n][e % 2];
            cap<1>(p, b);
            hide_exact(p, row, l.sinks, run, n_exact, lane);
            s.template weigh<1>(p);
            int tokens[4] = {min(row + 2 * t, last), min(row + 2 * t + 1, last), min(row + 2 * t + 8, last),
                             min(row + 2 * t + 9, last)};
            exact_values::accumulate(s, value_rows, NULL, tokens, p[0], lane);
        }
        exact_values::leave(s, none, result_at(w, run), lane);
    }

    /* ---- a block's share ---- */

    /* A part of a piece, with a tile of columns. */
    __device__ static __forceinline__ void do_runs(workplace &at, const heads &h, const attend_layer &l,
                                                   const attend_batch &b, const attend_work &w,
                                                   const attend_piece &piece, uint32_t part, uint32_t tile,
                                                   uint32_t n_parts)
    {
        uint32_t results = results_of_tile(l.n_heads, b.n_sequences, gridDim.x, n_parts);
        uint32_t begin = part_begin(piece, part), end = part_begin(piece, part + 1);
        for (attend_run run; begin < end; begin += run.end - run.begin) {
            run = run_at(l, b, w, begin, end, P::TILE, piece.number + part, n_parts);
            run.first_column = tile * P::COLUMNS;
            run.result += tile * results;
            if (run.exact)
                run_exact(l, b, w, run, at.lane);
            else
                run_pages(at, h, l, b, w, run);
        }
    }

    __device__ static void share(const attend_layer &l, const attend_batch &b, const attend_work &w, uint8_t *shared)
    {
        const attend_columns columns = columns_of(b.n_queries, P::GROUP, P::COLUMNS, P::WARPS);
        int warp = (int)threadIdx.x / 32;
        uint32_t part = (uint32_t)warp % columns.parts, first_tile = (uint32_t)warp / columns.parts;
        if (first_tile >= columns.together) first_tile = columns.tiles; /* no part for this warp */
        workplace at;
        at.lane = (int)threadIdx.x % 32;
        at.tables = shared;
        at.stages = shared + TABLE_BYTES + (size_t)warp * RING_BYTES;
        at.scratch = shared + SCRATCH + (size_t)warp * keys::SCRATCH;
        at.now = 0;
        at.copies.init(shared + BARRIERS + warp * P::STAGES * COPY_BARRIER_BYTES, at.lane);
        uint32_t of_head = w.units[b.n_sequences], total = l.n_heads * of_head, of_block = share_of(total, gridDim.x);
        attend_piece piece;
        for (uint32_t unit = blockIdx.x * of_block; unit < total && unit / of_block == blockIdx.x; unit = piece.end) {
            piece = piece_at(unit, of_block, of_head, total, columns.parts);
            heads h = {key_side::head_of(l.key_counts, piece.head), value_side::head_of(l.value_counts, piece.head)};
            __syncthreads(); /* nobody looks at the tables any more */
            key_side::copy_table(shared, h.key, l.key_table);
            value_side::copy_table(shared + key_side::TABLE, h.value, l.value_table);
            __syncthreads();
            if (part >= piece.parts) continue;
            for (uint32_t tile = first_tile; tile < columns.tiles; tile += columns.together)
                do_runs(at, h, l, b, w, piece, part, tile, columns.parts);
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
