/* attend.cuh - attention of the newest tokens over compressed caches: one persistent grid for all sequences.
 *
 * The work is a list of units: for each KV head, for each sequence, the tiles of its compressed pages, then tiles of
 * EXACT_TOKENS fp16 rows. Every block takes an equal share of the list, its warps equal shares of that. Units
 * of one kind that belong together are a run; for each run a warp keeps a running softmax (maximum, sum, weighted
 * sum) and leaves a partial result, and attend_merge() puts those together. Tiles of pages come by background
 * copies, STAGES ahead, into the warp's own shared memory: no warp waits for another.
 *
 * Keys and values are operand A (tokens x channels, channels x tokens), queries and weights operand B, of 8 columns:
 * column i * GROUP + k is token i of the queries and query head k of the group. Scales never meet codes: a key's per
 * channel goes into the query, once a page; one per token into the score; a value's per token into the weight; minima
 * into a bias and a sum of weights (fragment/pairs.cuh has the operands, FORMAT.md "int" the codes).
 *
 * Parameters, a struct with: D, GROUP, COLUMNS (a multiple of 8), TILE, PAGE, STAGES, WARPS; key_side, value_side
 * (fragment/staged.cuh). */
#ifndef KERNELS_TEMPLATE_ATTEND_CUH
#define KERNELS_TEMPLATE_ATTEND_CUH
#include <cuda_fp16.h>
#include "fragment/staged.cuh"
#include "template/attend_args.h"
#include "template/attend_units.cuh"

#define ATTEND_LEAST -1e30f /* a maximum before any score */
#define ATTEND_LOG2E 1.44269504f
#define ATTEND_CODE 16777216.0f /* 2^24: codes are fp16 subnormals */
#define ATTEND_WEIGHT 16.0f     /* weights times a scale are kept from becoming subnormal */

template <typename P> struct attend {
    static const int TILES_N = P::COLUMNS / 8;

    /* ---- queries ---- */

    /* Column g (+ 8 n) in the order of a codec's pairs, and what its products are multiplied by. Scalars are of
     * columns 2t and 2t+1 (+ 8 n), as the lane has them in results. */
    template <typename KEYS> struct query {
        uint32_t pairs[TILES_N][KEYS::D / 8];
        float scale[TILES_N][2], bias[TILES_N][2], sum[TILES_N][2];
    };

    /* A query row of a column; NULL where there is none. */
    __device__ static __forceinline__ size_t query_row(const attend_layer &l, const attend_batch &b, attend_run run,
                                                       int column, bool *present)
    {
        int token = column / P::GROUP;
        *present = token < (int)b.n_queries;
        return ((size_t)run.sequence * b.n_queries + token) * (l.n_heads * P::GROUP) + run.head * P::GROUP +
               column % P::GROUP;
    }

    __device__ static __forceinline__ float of_column(float x, int column) { return __shfl_sync(~0u, x, column * 4); }

    template <typename KEYS>
    __device__ static void load_query(query<KEYS> &q, const attend_layer &l, const attend_batch &b,
                                      const attend_work &w, attend_run run, int lane)
    {
        const uint16_t *rows = run.exact ? w.exact : w.latent;
        const float *scales = run.exact ? w.exact_scale : w.latent_scale;
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            bool present;
            size_t row = query_row(l, b, run, n * 8 + lane / 4, &present);
            float sum = 0.0f;
#pragma unroll
            for (int h = 0; h < KEYS::D / 8; h++) {
                int first, second;
                KEYS::channels(h, lane % 4, &first, &second);
                uint32_t lo = present ? rows[row * KEYS::D + first] : 0,
                         hi = present ? rows[row * KEYS::D + second] : 0;
                __half2 pair =
                    __halves2half2(__ushort_as_half((unsigned short)lo), __ushort_as_half((unsigned short)hi));
                sum += __low2float(pair) + __high2float(pair);
                q.pairs[n][h] = lo | hi << 16;
            }
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            float scale = present ? scales[row] : 0.0f, bias = present && !run.exact ? w.query_bias[row] : 0.0f;
#pragma unroll
            for (int i = 0; i < 2; i++) {
                q.scale[n][i] = of_column(scale, lane % 4 * 2 + i);
                q.bias[n][i] = of_column(bias, lane % 4 * 2 + i);
                q.sum[n][i] = of_column(sum, lane % 4 * 2 + i);
            }
        }
    }

    __device__ static __forceinline__ uint32_t multiply(uint32_t a, __half2 b)
    {
        __half2 x = __hmul2(*reinterpret_cast<__half2 *>(&a), b);
        return *reinterpret_cast<uint32_t *>(&x);
    }

    /* Codes stand p bits to the left: queries take 2^(half of the most) / 2^p, scores the rest. */
    template <typename KEYS> __device__ static __forceinline__ float lift()
    {
        return (float)(1 << KEYS::power(KEYS::D / 8 - 1) / 2);
    }

    template <typename KEYS> __device__ static __forceinline__ __half2 drop(int h)
    {
        return __float2half2_rn(lift<KEYS>() / (float)(1 << KEYS::power(h)));
    }

    /* ---- keys ---- */

    /* Products of the keys of 16 tokens, rows row0 .. of the tile, with every column. */
    template <typename KEYS>
    __device__ static __forceinline__ void products(const uint8_t *codes, const uint8_t *table, int row0, int row1,
                                                    const uint32_t pairs[TILES_N][KEYS::D / 8], int lane,
                                                    float acc[TILES_N][4])
    {
        uint32_t top[KEYS::D / 8], low[KEYS::D / 8];
        KEYS::load(codes, table, row0, lane, top);
        KEYS::load(codes, table, row1, lane, low);
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0.0f;
#pragma unroll
            for (int i = 0; i < KEYS::D / 16; i++) {
                uint32_t a[4] = {top[2 * i], low[2 * i], top[2 * i + 1], low[2 * i + 1]};
                mma_16x8x16(acc[n], a, &pairs[n][2 * i]);
            }
        }
    }

    /* The query times the scales of a group of tokens, and its product with their minima. */
    template <typename SIDE>
    __device__ static __forceinline__ void scale_query(const query<typename SIDE::keys> &q, const uint8_t *stage,
                                                       int group, int lane, uint32_t scaled[TILES_N][SIDE::D / 8],
                                                       float zero[TILES_N][2])
    {
        typedef typename SIDE::keys KEYS;
        const uint16_t *s = (const uint16_t *)(stage + SIDE::SCALES) + group * SIDE::D;
        const uint16_t *m = (const uint16_t *)(stage + SIDE::MINIMA) + group * SIDE::D;
        float acc[TILES_N][4] = {{0.0f}};
#pragma unroll
        for (int i = 0; i < KEYS::D / 16; i++) {
            uint32_t minima[2];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                int first, second, h = 2 * i + j;
                KEYS::channels(h, lane % 4, &first, &second);
                uint32_t pair = s[first] | (uint32_t)s[second] << 16;
                minima[j] = m[first] | (uint32_t)m[second] << 16;
                __half2 factor = __hmul2(*reinterpret_cast<__half2 *>(&pair), drop<KEYS>(h));
#pragma unroll
                for (int n = 0; n < TILES_N; n++) scaled[n][h] = multiply(q.pairs[n][h], factor);
            }
            uint32_t a[4] = {minima[0], minima[0], minima[1], minima[1]};
#pragma unroll
            for (int n = 0; n < TILES_N; n++) mma_16x8x16(acc[n], a, &q.pairs[n][2 * i]);
        }
#pragma unroll
        for (int n = 0; n < TILES_N; n++) zero[n][0] = acc[n][0], zero[n][1] = acc[n][1];
    }

    __device__ static __forceinline__ float half_at(const uint8_t *at, int index)
    {
        return __half2float(((const __half *)at)[index]);
    }

    /* Scores (base 2) of the TILE tokens of a stage: [16 tokens][columns] by 16 tokens. */
    template <typename SIDE>
    __device__ static __forceinline__ void scores(const query<typename SIDE::keys> &q, const uint8_t *stage,
                                                  const uint8_t *table, int lane, float out[P::TILE / 16][TILES_N][4])
    {
        typedef typename SIDE::keys KEYS;
        uint32_t scaled[TILES_N][KEYS::D / 8];
        float zero[TILES_N][2];
        int g = lane / 4;
        if (SIDE::SCALE == STAGED_TOK) {
#pragma unroll
            for (int h = 0; h < KEYS::D / 8; h++)
#pragma unroll
                for (int n = 0; n < TILES_N; n++) scaled[n][h] = multiply(q.pairs[n][h], drop<KEYS>(h));
        }
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            if (SIDE::SCALE == STAGED_CH && i * 16 % SIDE::TOKENS_OF_SCALE == 0)
                scale_query<SIDE>(q, stage, i * 16 / SIDE::TOKENS_OF_SCALE, lane, scaled, zero);
            products<KEYS>(stage, table, i * 16 + g, i * 16 + g + 8, SIDE::SCALE == STAGED_NONE ? q.pairs : scaled,
                           lane, out[i]);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int column = e % 2, token = i * 16 + g + e / 2 * 8;
                    float x = out[i][n][e], scale = q.scale[n][column];
                    if (KEYS::CODES) x *= ATTEND_CODE / lift<KEYS>();
                    if (SIDE::SCALE == STAGED_CH) x += zero[n][column];
                    if (SIDE::SCALE == STAGED_TOK)
                        x = x * half_at(stage + SIDE::SCALES, token) +
                            q.sum[n][column] * half_at(stage + SIDE::MINIMA, token);
                    out[i][n][e] = x * scale + q.bias[n][column];
                }
        }
    }

    /* ---- softmax ---- */

    /* Of a run so far. o: [16 channels][columns] by 16 channels, in the order of the codec's slots. */
    template <typename VALUES> struct state {
        float o[VALUES::D / 16][TILES_N][4];
        float max[TILES_N][2], sum[TILES_N][2], zero[TILES_N][2];
    };

    template <typename VALUES> __device__ static __forceinline__ void clear(state<VALUES> &s)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
#pragma unroll
            for (int i = 0; i < VALUES::D / 16; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) s.o[i][n][e] = 0.0f;
#pragma unroll
            for (int c = 0; c < 2; c++) s.max[n][c] = ATTEND_LEAST, s.sum[n][c] = s.zero[n][c] = 0.0f;
        }
    }

    /* Of TOKENS / 16 blocks of scores, weights 2^(score - maximum); sums move to a new maximum. */
    template <int BLOCKS, typename VALUES>
    __device__ static __forceinline__ void weigh(state<VALUES> &s, float p[BLOCKS][TILES_N][4])
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            float factor[2];
            bool moved = false;
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float most = s.max[n][c];
#pragma unroll
                for (int i = 0; i < BLOCKS; i++) most = fmaxf(most, fmaxf(p[i][n][c], p[i][n][c + 2]));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 4));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 8));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 16));
                factor[c] = exp2_fast(s.max[n][c] - most);
                moved |= most != s.max[n][c];
                s.max[n][c] = most;
            }
            if (__any_sync(~0u, moved)) {
#pragma unroll
                for (int c = 0; c < 2; c++) s.sum[n][c] *= factor[c], s.zero[n][c] *= factor[c];
#pragma unroll
                for (int i = 0; i < VALUES::D / 16; i++)
#pragma unroll
                    for (int e = 0; e < 4; e++) s.o[i][n][e] *= factor[e % 2];
            }
#pragma unroll
            for (int i = 0; i < BLOCKS; i++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    p[i][n][e] = exp2_fast(p[i][n][e] - s.max[n][e % 2]);
                    s.sum[n][e % 2] += p[i][n][e];
                }
        }
    }

    /* ---- values ---- */

    __device__ static __forceinline__ uint32_t pack(float low, float high)
    {
        __half2 pair = __floats2half2_rn(low, high);
        return *reinterpret_cast<uint32_t *>(&pair);
    }

    /* 16 tokens' values, weighted by p: tokens[k] is the row of the lane's k-th token (2t, 2t+1, 2t+8, 2t+9). */
    template <typename VALUES>
    __device__ static __forceinline__ void accumulate(state<VALUES> &s, const uint8_t *codes, const uint8_t *table,
                                                      const int tokens[4], const float p[TILES_N][4], int lane)
    {
        uint32_t early[VALUES::D / 8], late[VALUES::D / 8], weights[TILES_N][2];
        VALUES::load(codes, table, tokens[0], tokens[1], lane, early);
        VALUES::load(codes, table, tokens[2], tokens[3], lane, late);
#pragma unroll
        for (int n = 0; n < TILES_N; n++) {
            weights[n][0] = transpose_8x8(pack(p[n][0], p[n][1]));
            weights[n][1] = transpose_8x8(pack(p[n][2], p[n][3]));
        }
#pragma unroll
        for (int i = 0; i < VALUES::D / 16; i++) {
            uint32_t a[4] = {early[2 * i], early[2 * i + 1], late[2 * i], late[2 * i + 1]};
#pragma unroll
            for (int n = 0; n < TILES_N; n++) mma_16x8x16(s.o[i][n], a, weights[n]);
        }
    }

    template <typename SIDE>
    __device__ static __forceinline__ void values_of(state<typename SIDE::values> &s, const uint8_t *stage,
                                                     const uint8_t *table, float p[P::TILE / 16][TILES_N][4],
                                                     int lane)
    {
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            if (SIDE::SCALE == STAGED_TOK) {
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    int token = i * 16 + g + half * 8;
                    float scale = half_at(stage + SIDE::SCALES, token) * ATTEND_WEIGHT;
                    float minimum = half_at(stage + SIDE::MINIMA, token);
#pragma unroll
                    for (int n = 0; n < TILES_N; n++)
#pragma unroll
                        for (int c = 0; c < 2; c++) {
                            s.zero[n][c] += p[i][n][half * 2 + c] * minimum;
                            p[i][n][half * 2 + c] *= scale;
                        }
                }
            }
            int tokens[4] = {i * 16 + 2 * t, i * 16 + 2 * t + 1, i * 16 + 2 * t + 8, i * 16 + 2 * t + 9};
            accumulate<typename SIDE::values>(s, stage, table, tokens, p[i], lane);
        }
    }

    /* ---- results ---- */

    __device__ static __forceinline__ float over_rows(float x)
    {
        x += __shfl_xor_sync(~0u, x, 4);
        x += __shfl_xor_sync(~0u, x, 8);
        return x + __shfl_xor_sync(~0u, x, 16);
    }

    /* Maximum, sum and weighted sum [D] of each column, to the slot of this warp and run. */
    template <typename VALUES, int SCALED> __device__ static void leave(const state<VALUES> &s, float *slot, int lane)
    {
        const float unit = SCALED ? ATTEND_CODE / ATTEND_WEIGHT : 1.0f;
        int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int c = 0; c < 2; c++) {
                float *out = slot + (n * 8 + 2 * t + c) * (2 + VALUES::D);
                float sum = over_rows(s.sum[n][c]), zero = over_rows(s.zero[n][c]);
                if (g == 0) out[0] = s.max[n][c], out[1] = sum;
#pragma unroll
                for (int i = 0; i < VALUES::D / 16; i++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        int at = 2 * i + half;
                        out[2 + VALUES::channel(at, g)] =
                            s.o[i][n][half * 2 + c] * (unit / (float)(1 << VALUES::power(at))) + zero;
                    }
            }
    }

    /* ---- what a column sees ---- */

    /* Scores of tokens that a column's query does not see yet become -inf. `first` is the oldest token of the block.
     */
    template <int BLOCKS>
    __device__ static __forceinline__ void hide(float p[BLOCKS][TILES_N][4], uint32_t first, uint32_t n_tokens,
                                                const attend_batch &b, int n_rows, int lane)
    {
        uint32_t seen_by_all = n_tokens - b.n_queries + 1;
        if (first + BLOCKS * 16 <= seen_by_all && n_rows >= BLOCKS * 16) return;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    int row = i * 16 + lane / 4 + e / 2 * 8, column = n * 8 + lane % 4 * 2 + e % 2;
                    bool seen = row < n_rows && first + row < seen_by_all + column / P::GROUP;
                    if (!seen) p[i][n][e] = -INFINITY;
                }
    }

    /* ---- runs ---- */

    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    static const int STAGE_BYTES = key_side::BYTES + value_side::BYTES,
                     TABLE_BYTES = key_side::TABLE + value_side::TABLE;
    /* of a block: tables, the warps' stages, their barriers */
    static const size_t BARRIERS = TABLE_BYTES + (size_t)P::WARPS * P::STAGES * STAGE_BYTES;
    static const size_t SHARED_BYTES = BARRIERS + P::WARPS * P::STAGES * COPY_BARRIER_BYTES;
    static const int TILES_OF_PAGE = P::PAGE / P::TILE;

    typedef stage_copies<P::STAGES> ring;

    __device__ static __forceinline__ void fetch(ring &copies, const attend_layer &l, const attend_run &run,
                                                 uint32_t unit, uint8_t *stages, int stage)
    {
        if (unit >= run.end) return copies.skip();
        uint32_t page = l.page_table[(size_t)run.slot * l.page_stride + unit / TILES_OF_PAGE];
        const uint8_t *at = l.pool + page * l.page_bytes;
        uint8_t *to = stages + stage * STAGE_BYTES;
        int tile = (int)(unit % TILES_OF_PAGE);
        copies.begin(stage, STAGE_BYTES);
        key_side::copy(copies, to, at + (size_t)run.head * l.key_block, tile);
        value_side::copy(copies, to + key_side::BYTES, at + l.value_offset + (size_t)run.head * l.value_block, tile);
        copies.end();
    }

    __device__ static void run_pages(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                     attend_run run, const uint8_t *tables, uint8_t *stages, ring &copies, int &now,
                                     int lane)
    {
        query<typename key_side::keys> q;
        state<typename value_side::values> s;
        load_query(q, l, b, w, run, lane);
        clear(s);
        for (int i = 0; i < P::STAGES - 1; i++) fetch(copies, l, run, run.begin + i, stages, (now + i) % P::STAGES);
        for (uint32_t unit = run.begin; unit < run.end; unit++) {
            float p[P::TILE / 16][TILES_N][4];
            fetch(copies, l, run, unit + P::STAGES - 1, stages, now ? now - 1 : P::STAGES - 1);
            copies.wait(now);
            const uint8_t *stage = stages + now * STAGE_BYTES;
            scores<key_side>(q, stage, tables, lane, p);
            hide<P::TILE / 16>(p, l.sinks + unit * P::TILE, run.n_tokens, b, P::TILE, lane);
            weigh<P::TILE / 16>(s, p);
            values_of<value_side>(s, stage + key_side::BYTES, tables + key_side::TABLE, p, lane);
            __syncwarp(); /* the stage is fetched into next */
            now = now + 1 < P::STAGES ? now + 1 : 0;
        }
        leave<typename value_side::values, value_side::SCALE == STAGED_TOK>(
            s, run_slot(w, run, P::COLUMNS, P::D, value_side::D), lane);
    }

    /* fp16 rows are read where they are; rows behind the last one are read as that one, and not seen. */
    __device__ static void run_exact(const attend_layer &l, const attend_batch &b, const attend_work &w,
                                     attend_run run, int lane)
    {
        typedef fp16_keys<P::D> KEYS;
        typedef fp16_values<P::D> VALUES;
        query<KEYS> q;
        state<VALUES> s;
        load_query(q, l, b, w, run, lane);
        clear(s);
        size_t head_rows = (size_t)l.capacity * P::D, side_rows = l.n_heads * head_rows;
        const uint8_t *keys = (const uint8_t *)(l.rows + run.slot * 2 * side_rows + run.head * head_rows);
        const uint8_t *values = keys + side_rows * 2;
        int n_exact = (int)(run.n_tokens - run.n_packed), g = lane / 4, t = lane % 4;
        for (uint32_t unit = run.begin; unit < run.end; unit++) {
            int row = (int)unit * EXACT_TOKENS, last = n_exact - 1;
            float p[1][TILES_N][4];
            products<KEYS>(keys, NULL, min(row + g, last), min(row + g + 8, last), q.pairs, lane, p[0]);
#pragma unroll
            for (int n = 0; n < TILES_N; n++)
#pragma unroll
                for (int e = 0; e < 4; e++) p[0][n][e] *= q.scale[n][e % 2];
            hide_exact(p, row, l.sinks, run, b, n_exact, lane);
            weigh<1>(s, p);
            int tokens[4] = {min(row + 2 * t, last), min(row + 2 * t + 1, last), min(row + 2 * t + 8, last),
                             min(row + 2 * t + 9, last)};
            accumulate<VALUES>(s, values, NULL, tokens, p[0], lane);
        }
        leave<VALUES, 0>(s, run_slot(w, run, P::COLUMNS, P::D, value_side::D), lane);
    }

    /* Row r is token r, or behind the sinks token r + n_packed. */
    __device__ static __forceinline__ void hide_exact(float p[1][TILES_N][4], int first, uint32_t sinks,
                                                      const attend_run &run, const attend_batch &b, int n_exact,
                                                      int lane)
    {
#pragma unroll
        for (int n = 0; n < TILES_N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                uint32_t row = (uint32_t)(first + lane / 4 + e / 2 * 8);
                uint32_t token = row < sinks ? row : row + run.n_packed;
                uint32_t seen = run.n_tokens - b.n_queries + 1 + (uint32_t)(n * 8 + lane % 4 * 2 + e % 2) / P::GROUP;
                if ((int)row >= n_exact || token >= seen) p[0][n][e] = -INFINITY;
            }
    }

    /* ---- a warp's share ---- */

    __device__ static void share(const attend_layer &l, const attend_batch &b, const attend_work &w, uint8_t *shared)
    {
        int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
        uint8_t *stages = shared + TABLE_BYTES + (size_t)warp * P::STAGES * STAGE_BYTES;
        ring copies;
        int now = 0; /* the stage of the ring that is next */
        copies.init(shared + BARRIERS + warp * P::STAGES * COPY_BARRIER_BYTES, lane);
        uint32_t of_head = w.units[b.n_sequences], total = l.n_heads * of_head, of_block = share_of(total, gridDim.x);
        attend_piece piece;
        for (uint32_t at = blockIdx.x * of_block; at < total && at / of_block == blockIdx.x; at = piece.end) {
            piece = piece_at(at, of_block, of_head, total, P::WARPS);
            __syncthreads(); /* nobody looks at the tables any more */
            key_side::copy_table(shared, l.key_table);
            value_side::copy_table(shared + key_side::TABLE, l.value_table);
            __syncthreads();
            uint32_t begin = piece.begin + (uint32_t)warp * piece.each;
            uint32_t end = begin + piece.each < piece.end ? begin + piece.each : piece.end;
            for (attend_run run; begin < end; begin += run.end - run.begin) {
                run = run_at(l, b, w, begin, end, P::TILE, blockIdx.x * P::WARPS + (uint32_t)warp, P::WARPS);
                if (run.exact)
                    run_exact(l, b, w, run, lane);
                else
                    run_pages(l, b, w, run, shared, stages, copies, now, lane);
            }
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
