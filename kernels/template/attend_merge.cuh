/* attend_merge.cuh - the end of a block: results that its warps have kept are put together, blocks that are done with
 * a head and sequence are counted, and the last one to be done merges all of its results into outputs.
 *
 * Who that is changes nothing: results are added up in an order that follows from numbers alone. Shared memory is
 * what the warps' rings were, RING bytes each; no copy is on its way any more. */
#ifndef KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#define KERNELS_TEMPLATE_ATTEND_MERGE_CUH
#include "template/attend_args.h"
#include "template/attend_map.cuh"
#include "template/attend_units.cuh"

#define ATTEND_NOTHING 0xfffffffeu /* for an index: not another's plus one either */

/* What a warp says at its end: the index of the result that lies in its ring, or ATTEND_NOTHING; of so many columns.
 */
struct attend_kept {
    uint32_t result, n_columns;
};

/* All results of a head and sequence, and who the outputs are. */
struct attend_merged {
    uint32_t head, sequence;
    attend_results pages, rows; /* of the first tile of columns */
};

/* Results put together, of four channels of the pages' and of the fp16 rows': weights are relative to the maximum. */
struct attend_sum {
    float most, mass[2];
    float4 x[2];

    __device__ __forceinline__ void scale(float to_most)
    {
        float weight = exp2_fast(most - to_most);
        most = to_most;
#pragma unroll
        for (int i = 0; i < 2; i++) {
            mass[i] *= weight;
            x[i].x *= weight, x[i].y *= weight, x[i].z *= weight, x[i].w *= weight;
        }
    }
};

template <typename P, int RING, int AHEAD> struct attend_merge {
    static const uint32_t LATENT = P::value_side::D, D = P::D, WIDTH = LATENT + D, WARPS = P::WARPS,
                          COLUMNS = P::COLUMNS, STRIDE = result_floats(D, LATENT);
    /* A kept result lies in front of a ring, and what a warp says behind it. */
    static const bool KEEPS = COLUMNS * STRIDE * sizeof(float) <= AHEAD;
    /* Of a merge: how many are complete and which, then, for each of WARPS tasks, maximum and sums of weights, and
     * the channels of the latent space and of the head. */
    static const uint32_t OF_LIST = 16, LIST_BYTES = 16 + 2 * OF_LIST * sizeof(attend_merged), TASK_FLOATS = 4;
    static_assert(LIST_BYTES % 16 == 0 && LIST_BYTES + WARPS * (TASK_FLOATS + WIDTH) * sizeof(float) <= WARPS * RING,
                  "room for a merge");

    const attend_layer &l;
    const attend_batch &b;
    const attend_work &w;
    const attend_roles &roles;
    const attend_lists &lists;
    uint8_t *rings;
    uint32_t warp, lane;

    /* ---- results that were kept ---- */

    __device__ __forceinline__ attend_kept *kept_of(uint32_t index) const
    {
        return (attend_kept *)(rings + index * RING + AHEAD);
    }

    /* Results that warps first .. last have kept of one run become one, that of the last; of four channels of a
     * column. All that is read is asked for before it is needed. */
    __device__ __forceinline__ void join(uint32_t first, uint32_t last, uint32_t result, uint32_t column,
                                         uint32_t channel) const
    {
        float2 head[WARPS]; /* maximum, sum of weights */
        float4 x[WARPS], sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float most = ATTEND_LEAST, mass = 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < WARPS; i++) {
            const float *from = (const float *)(rings + i * RING) + column * STRIDE;
            head[i] = make_float2(-INFINITY, 0.0f), x[i] = sum;
            if (i < first || i > last) continue;
            head[i] = *(const float2 *)from, x[i] = *(const float4 *)(from + RESULT_CHANNELS + channel);
        }
#pragma unroll
        for (uint32_t i = 0; i < WARPS; i++) most = fmaxf(most, head[i].x);
#pragma unroll
        for (uint32_t i = 0; i < WARPS; i++) {
            float weight = exp2_fast(head[i].x - most);
            mass += weight * head[i].y;
            add_scaled(sum, weight, x[i]);
        }
        float *to = w.partial + ((size_t)result * COLUMNS + column) * STRIDE;
        if (channel == 0) *(float2 *)to = make_float2(most, mass);
        *(float4 *)(to + RESULT_CHANNELS + channel) = sum;
    }

    /* Neighbours' results that lie side by side are of one run. The first warps have fewer columns: they count. */
    __device__ __forceinline__ void join_kept() const
    {
        attend_kept kept[WARPS];
#pragma unroll
        for (uint32_t i = 0; i < WARPS; i++) kept[i] = *kept_of(i);
        uint32_t first = 0;
#pragma unroll 1
        for (uint32_t last = 0; last < WARPS; last++) {
            attend_kept own = kept[0];
            bool goes_on = false;
#pragma unroll
            for (uint32_t i = 0; i < WARPS; i++) {
                if (i == last) own = kept[i];
                if (i == last + 1) goes_on = kept[i].result == own.result + 1;
            }
            if (goes_on) continue;
#pragma unroll 1
            for (uint32_t at = threadIdx.x * 4; own.result != ATTEND_NOTHING && at < own.n_columns * LATENT;
                 at += WARPS * 128)
                join(first, last, own.result, at / LATENT, at % LATENT);
            first = last + 1;
        }
    }

    /* ---- arrivals ---- */

    /* Heads and sequences, as head * n_sequences + sequence, that the block's share of a list is of. */
    struct span {
        uint32_t first, last; /* none: first > last */
    };
    __device__ __forceinline__ uint32_t number_of(const attend_list &list, const uint32_t *units, uint32_t at) const
    {
        uint32_t head = list.of_head.under(at);
        return head * b.n_sequences + last_below(units, b.n_sequences, at - head * list.of_head.n, lane);
    }
    __device__ __forceinline__ span span_of(bool of_rows) const
    {
        const attend_list &list = of_rows ? lists.rows : lists.pages;
        const uint32_t *units = units_of(lists, b, of_rows);
        uint32_t begin = min(blockIdx.x * list.of_block.n, list.total.n),
                 end = min(begin + list.of_block.n, list.total.n);
        if (of_rows) {
            attend_piece p = rows_of_block(list, blockIdx.x, gridDim.x, roles.columns.parts);
            begin = p.begin, end = p.end;
        }
        if (begin >= end) return span{1, 0};
        return span{number_of(list, units, begin), number_of(list, units, end - 1)};
    }

    __device__ __forceinline__ uint32_t *n_complete() const
    {
        return (uint32_t *)rings;
    }
    __device__ __forceinline__ attend_merged *list() const
    {
        return (attend_merged *)(rings + 16);
    }

    /* Number `at` of a list: how many blocks have results of it; 0: of this list none. */
    __device__ __forceinline__ uint32_t look_up(uint32_t at, bool of_rows, attend_merged *m) const
    {
        const attend_cut cut = {b.n_sequences, gridDim.x, roles.columns.parts};
        const uint32_t *pages = units_of(lists, b, false), *rows = units_of(lists, b, true);
        uint32_t n = b.n_sequences, head = at / n, i = at % n;
        m->head = head, m->sequence = i;
        m->pages = results_of_pages(lists.pages, cut, head, i, pages[i], pages[i + 1]);
        m->rows = results_of_rows(lists.rows, cut, head, i, rows[i], rows[i + 1]);
        bool has_any = of_rows ? m->rows.n_blocks : m->pages.n_blocks;
        return has_any ? m->pages.n_blocks + m->rows.n_blocks : 0;
    }

    /* Of each lane's number, by one warp: those that this block completes go to the list of merges. */
    __device__ __forceinline__ void arrive(uint32_t at, const attend_merged &m, uint32_t n_blocks) const
    {
        bool complete = n_blocks > 0 && count_arrival(w.arrived + at) + 1 == n_blocks;
        uint32_t all = __ballot_sync(~0u, complete);
        if (complete) {
            w.arrived[at] = 0;
            list()[__popc(all & ((1u << lane) - 1))] = m;
        }
        if (lane == 0) *n_complete() = (uint32_t)__popc(all);
    }

    /* ---- merges ---- */

    /* Where task i has its results: maximum and sums of weights, and behind them channels. */
    __device__ __forceinline__ float *task_head(uint32_t i) const
    {
        return (float *)(rings + LIST_BYTES) + i * TASK_FLOATS;
    }
    __device__ __forceinline__ float *task_channels(uint32_t i) const
    {
        return task_head(WARPS) + i * WIDTH;
    }

    /* A column's results part, part + parts, ..., first those of pages. All that is read is asked for before it is
     * needed. */
    struct column_results {
        const float *base;
        attend_results pages, rows;
        uint32_t rows_behind, n_pages, n; /* the results of rows come so many behind those of pages */
        bool kept;

        __device__ __forceinline__ const float *at(uint32_t i) const
        {
            uint32_t index = i < n_pages ? pages.at(i, kept) : rows_behind + rows.at(i - n_pages, false);
            return base + (size_t)index * (COLUMNS * STRIDE);
        }
    };
    __device__ __forceinline__ column_results results_of(const attend_merged &m, uint32_t column) const
    {
        column_results c;
        uint32_t tile = column / COLUMNS;
        c.kept = KEEPS && tile + roles.columns.together >= roles.columns.tiles;
        c.base = w.partial + ((size_t)roles.first_result(tile, false) * COLUMNS + column % COLUMNS) * STRIDE;
        c.pages = m.pages, c.rows = m.rows;
        c.rows_behind = roles.of_list;
        c.n_pages = m.pages.count(c.kept), c.n = c.n_pages + m.rows.count(false);
        return c;
    }

    __device__ static __forceinline__ attend_sum add_results(const column_results &c, uint32_t part, uint32_t parts,
                                                             uint32_t channel)
    {
        const int N = 8;
        const float4 none = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        attend_sum s = {ATTEND_LEAST, {0.0f, 0.0f}, {none, none}};
#pragma unroll 1
        for (uint32_t first = part; first < c.n; first += N * parts) {
            float2 head[N]; /* maximum, sum of weights */
            float4 x[N];
#pragma unroll
            for (int k = 0; k < N; k++) {
                uint32_t i = first + k * parts;
                head[k] = make_float2(-INFINITY, 0.0f), x[k] = none;
                if (i >= c.n) continue;
                const float *from = c.at(i);
                head[k] = __ldcg((const float2 *)from);
                if (channel < (i < c.n_pages ? LATENT : D))
                    x[k] = __ldcg((const float4 *)(from + RESULT_CHANNELS + channel));
            }
            float most = s.most;
#pragma unroll
            for (int k = 0; k < N; k++) most = fmaxf(most, head[k].x);
            s.scale(most);
#pragma unroll
            for (int k = 0; k < N; k++) {
                float weight = exp2_fast(head[k].x - most);
                bool of_pages = first + k * parts < c.n_pages;
                float pages = of_pages ? weight : 0.0f, rows = of_pages ? 0.0f : weight;
                s.mass[0] += pages * head[k].y, s.mass[1] += rows * head[k].y;
                add_scaled(s.x[0], pages, x[k]), add_scaled(s.x[1], rows, x[k]);
            }
        }
        return s;
    }

    /* Task: a share of a column's results. */
    __device__ __forceinline__ void run_task(uint32_t task, const column_results &c, uint32_t part,
                                             uint32_t parts) const
    {
        float *to = task_channels(task);
#pragma unroll 1
        for (uint32_t j = lane * 4; j < (LATENT > D ? LATENT : D); j += 128) {
            attend_sum s = add_results(c, part, parts, j);
            if (j < LATENT) *(float4 *)(to + j) = s.x[0];
            if (j < D) *(float4 *)(to + LATENT + j) = s.x[1];
            if (j == 0) *(float4 *)task_head(task) = make_float4(s.most, s.mass[0], s.mass[1], 0.0f);
        }
    }

    /* A row's tasks together: four channels of the latent space, or (from LATENT on) of the head. */
    __device__ __forceinline__ float4 join_tasks(uint32_t row, uint32_t parts, uint32_t channel, float *mass,
                                                 float *all) const
    {
        float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
        float most = ATTEND_LEAST;
        *mass = *all = 0.0f;
#pragma unroll 1
        for (uint32_t i = row * parts; i < (row + 1) * parts; i++) most = fmaxf(most, task_head(i)[0]);
#pragma unroll 1
        for (uint32_t i = row * parts; i < (row + 1) * parts; i++) {
            float4 head = *(const float4 *)task_head(i);
            float weight = exp2_fast(head.x - most);
            *mass += weight * head.y, *all += weight * (head.y + head.z);
            add_scaled(sum, weight, *(const float4 *)(task_channels(i) + channel));
        }
        return sum;
    }

    /* Row `row` of those that begin with no. `first` of merges m: its output. A sum of 0: it sees no token. */
    __device__ __forceinline__ void put(const attend_merged *m, uint32_t first, uint32_t row, uint32_t channel,
                                        const float4 &x, float all) const
    {
        uint32_t of_merge = b.n_queries * P::GROUP, column = (first + row) % of_merge;
        m += (first + row) / of_merge;
        size_t token = (size_t)m->sequence * b.n_queries + column / P::GROUP,
               query_head = m->head * P::GROUP + column % P::GROUP;
        float *out = b.out + (token * (l.n_heads * P::GROUP) + query_head) * D + channel;
        float factor = all == 0.0f ? 0.0f : 1.0f / all;
        out[0] = x.x * factor, out[1] = x.y * factor, out[2] = x.z * factor, out[3] = x.w * factor;
    }

    /* Rows first .. first + n - 1 of merges of one head, `parts` tasks each; all warps of the block. */
    __device__ __forceinline__ void merge_rows(const attend_merged *m, uint32_t first, uint32_t n,
                                               uint32_t parts) const
    {
        uint32_t of_merge = b.n_queries * P::GROUP;
        if (warp < n * parts) {
            uint32_t row = first + warp / parts;
            run_task(warp, results_of(m[row / of_merge], row % of_merge), warp % parts, parts);
        }
        __syncthreads();
        float mass, all;
        if (!l.unfold) {
#pragma unroll 1
            for (uint32_t at = threadIdx.x * 4; at < n * D; at += WARPS * 128) {
                float4 x = join_tasks(at / D, parts, at % D, &mass, &all);
                float4 rows = join_tasks(at / D, parts, LATENT + at % D, &mass, &all);
                x.x += rows.x, x.y += rows.y, x.z += rows.z, x.w += rows.w;
                put(m, first, at / D, at % D, x, all);
            }
            return;
        }
#pragma unroll 1
        for (uint32_t at = threadIdx.x * 4; at < n * LATENT; at += WARPS * 128)
            *(float4 *)(task_channels(at / LATENT * parts) + at % LATENT) =
                join_tasks(at / LATENT, parts, at % LATENT, &mass, &all);
        __syncthreads();
        size_t head = m->head;
        apply_map(n, task_channels(0), parts * WIDTH, l.unfold + head * LATENT * D, LATENT, D,
                  [&](uint32_t row, uint32_t channel, float4 x) {
                      float4 rows = join_tasks(row, parts, LATENT + channel, &mass, &all);
                      x.x += rows.x, x.y += rows.y, x.z += rows.z, x.w += rows.w;
                      add_scaled(x, mass, *(const float4 *)(l.mean + head * D + channel));
                      put(m, first, row, channel, x, all);
                  });
    }

    /* Tasks of each of a merge's rows: few results are read at once. */
    __device__ __forceinline__ uint32_t parts_of(const attend_merged &m) const
    {
        uint32_t rows = b.n_queries * P::GROUP;
        return rows < WARPS && m.pages.n_whole + m.rows.count(false) > 8 ? WARPS / rows : 1;
    }

    /* Those of one head go together as far as there are warps. */
    __device__ __forceinline__ void merge_all(uint32_t n) const
    {
        const attend_merged *m = list();
        uint32_t of_merge = b.n_queries * P::GROUP, most = WARPS < MAP_ROWS ? WARPS : MAP_ROWS;
#pragma unroll 1
        for (uint32_t i = 0, together; i < n; i += together) {
            uint32_t parts = parts_of(m[i]), rows = min(WARPS / parts, most);
#pragma unroll 1
            for (together = 1; i + together < n && (together + 1) * of_merge <= rows; together++)
                if (m[i + together].head != m[i].head || parts_of(m[i + together]) != parts) break;
#pragma unroll 1
            for (uint32_t first = 0, all = together * of_merge; first < all; first += rows) {
                merge_rows(m + i, first, min(rows, all - first), parts);
                __syncthreads();
            }
        }
    }

    /* ---- all of it ---- */

    /* By all threads of the block. */
    __device__ __forceinline__ void finish(const attend_kept &own) const
    {
        span pages = span_of(false), rows = span_of(true);
        if (lane == 0) *kept_of(warp) = own;
        __syncthreads();
        join_kept();
#pragma unroll 1
        for (uint32_t first = 0; pages.first + first <= pages.last || rows.first + first <= rows.last;
             first += OF_LIST) {
            bool of_rows = lane >= OF_LIST;
            uint32_t at = (of_rows ? rows.first : pages.first) + first + lane % OF_LIST;
            attend_merged m;
            uint32_t n_blocks = 0;
            if (warp == 0 && at <= (of_rows ? rows.last : pages.last)) n_blocks = look_up(at, of_rows, &m);
            __syncthreads();
            if (warp == 0) arrive(at, m, n_blocks);
            __syncthreads();
            merge_all(*n_complete());
        }
    }
};

#endif
