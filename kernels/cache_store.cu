/* cache_store.cu - see cache_store.h. An append is one launch, or one for each side where their codecs differ in
 * kind. A block has a side and a head: its warps store the new rows of a sequence each, where no page leaves, and
 * blocks share out the parts of pages that leave windows, to be encoded: eight rows each or, where many leave, more;
 * whole pages where rows share scales.
 *
 * What bounds an append is one access to memory after another, so nobody waits for anybody: with the rows of a page
 * go those that lie a whole number of pages above them, by the same threads (leaving_rows). What an append does to a
 * sequence follows from its length, which the last block to have looked at lengths advances.
 *
 * An encoder takes as long for one page as for as many as there are blocks for, and the rows of the page that leaves
 * next are there for as many steps as the window has tokens (less, where it is smaller than a page). So whenever some
 * page has to be encoded, blocks that would have nothing to do encode next pages of other sequences, each into a page
 * of the sequence's own; when it leaves it is only copied, while rows move. */
#include "cache_store.h"

#include "codec/page_launch.cuh"
#include "early.cuh"

#ifdef KVC_EMULATE
#define APPEND_BLOCKS 40u /* so that a block has several parts there too */
#else
#define APPEND_BLOCKS 264u
#endif
#define PUT_THREADS 128
#define FOUR 4u   /* values of a new row that a lane has at a time */
#define PIECES 4u /* 16 bytes each, of held rows, that a thread has on their way */

/* ---- what an append does to a sequence ---- */

struct growth {
    uint32_t slot, length, packed; /* before */
    uint32_t new_length, n_pages;  /* behind; that leave */
    bool has_next, new_has_next;   /* before and behind: its next page is encoded */
    bool dropped, ready;           /* ready: it loses nothing, and its next page can be encoded */
};

__device__ static growth growth_of(const cache_store &c, const cache_batch &b, uint32_t i)
{
    growth g;
    uint32_t page = c.policy.page;
    g.slot = b.slot[i];
    g.length = c.length[g.slot];
    g.packed = c.packed[g.slot];
    g.has_next = c.has_next[g.slot];
    uint32_t reserved = c.reserved[g.slot], exact = c.policy.sinks + c.policy.window + g.packed;
    g.new_length = g.length + b.n_tokens[i];
    /* What kvc_tokens_compressed() says goes, but never comes back: truncation leaves more. */
    g.n_pages = g.new_length > exact ? (g.new_length - exact) / page : 0;
    g.dropped = g.packed + g.n_pages * page > reserved * page;
    bool stays = g.n_pages == 0;
    if (g.dropped) g.n_pages = 0;
    g.new_has_next = stays && g.has_next;
    g.ready = stays && !g.has_next && g.new_length >= c.policy.sinks + g.packed + page;
    return g;
}

/* In shared memory. */
struct append_plan {
    growth of[CACHE_BATCH];
    uint32_t before[CACHE_BATCH]; /* pages that leave, of the sequences before */
    uint32_t ahead[CACHE_BATCH];  /* sequences whose next page is encoded */
    uint32_t n_leave, n_ahead;
};

#define PLANNED (CACHE_BATCH / WARP) /* sequences of a lane */

/* A page costs little beside others: with one that has to be encoded go next pages of other sequences, as many as
 * make `most` of all. */
__device__ static void plan_ahead(const cache_batch &b, append_plan &plan, const growth (&g)[PLANNED], bool encodes,
                                  uint32_t n_leave, uint32_t most)
{
    uint32_t room = __any_sync(0xffffffffu, encodes) && n_leave < most ? most - n_leave : 0, n = 0;
#pragma unroll
    for (uint32_t k = 0; k < PLANNED; k++) {
        uint32_t i = threadIdx.x * PLANNED + k;
        bool ready = i < b.n && g[k].ready;
        uint32_t all = __ballot_sync(0xffffffffu, ready), at = n + (uint32_t)__popc(all & ((1u << threadIdx.x) - 1));
        if (ready && at < room) plan.ahead[at] = i, plan.of[i].new_has_next = true;
        n += (uint32_t)__popc(all);
    }
    if (threadIdx.x == 0) plan.n_leave = n_leave, plan.n_ahead = least(n, room);
}

/* By the first warp, three sequences a lane; for all of the block. */
__device__ static void make_plan(const cache_store &c, const cache_batch &b, uint32_t most, append_plan &plan)
{
    if (threadIdx.x < WARP) {
        growth g[PLANNED];
        uint32_t sum = 0, first = threadIdx.x * PLANNED;
        bool encodes = false;
#pragma unroll
        for (uint32_t k = 0; k < PLANNED; k++) g[k] = growth_of(c, b, least(first + k, b.n - 1));
#pragma unroll
        for (uint32_t k = 0; k < PLANNED; k++) {
            if (first + k >= b.n) g[k].n_pages = 0;
            plan.of[first + k] = g[k];
            encodes |= g[k].n_pages > g[k].has_next;
            sum += g[k].n_pages;
        }
        uint32_t end = sum;
        for (uint32_t by = 1; by < WARP; by *= 2) {
            uint32_t other = __shfl_up_sync(0xffffffffu, end, by);
            if (threadIdx.x >= by) end += other;
        }
        plan_ahead(b, plan, g, encodes, __shfl_sync(0xffffffffu, end, WARP - 1), most);
        end -= sum;
#pragma unroll
        for (uint32_t k = 0; k < PLANNED; k++) {
            plan.before[first + k] = end;
            end += g[k].n_pages;
        }
    }
    __syncthreads();
}

/* The sequence whose page it is: the last one that has no more before it. By whole warps. */
__device__ static uint32_t find_sequence(const append_plan &plan, uint32_t page)
{
    uint32_t n = 0;
#pragma unroll
    for (uint32_t i = 0; i < CACHE_BATCH; i += WARP)
        n += (uint32_t)__popc(__ballot_sync(0xffffffffu, plan.before[i + threadIdx.x % WARP] <= page));
    return n - 1;
}

/* ---- rows of the call ---- */

/* One side; of one sequence and head from `at` on. */
struct new_rows {
    const void *values;
    kvc_dtype dtype;
    size_t at, stride; /* in values */
    uint32_t *flags;

    __device__ uint32_t load(uint32_t row, uint32_t channel) const
    {
        size_t i = at + row * stride + channel;
        return dtype == KVC_F32 ? ((const uint32_t *)values)[i] : ((const uint16_t *)values)[i];
    }
    /* What was loaded becomes what libkvc stores; what is not finite, a number. */
    template <uint32_t N> __device__ void convert(uint32_t (&x)[N]) const
    {
        bool finite = true;
#pragma unroll
        for (uint32_t k = 0; k < N; k++) {
            float value = dtype == KVC_F32   ? __uint_as_float(x[k])
                          : dtype == KVC_F16 ? __half2float(__ushort_as_half((uint16_t)x[k]))
                                             : __uint_as_float(x[k] << 16);
            finite &= fabsf(value) < INFINITY;
            value = value != value ? 0.0f : clamp_fp16(value);
            x[k] = __half_as_ushort(__float2half_rn(value));
        }
        if (!finite) atomicOr(flags, CACHE_NONFINITE);
    }
    /* Eight values of a row, fp16. */
    __device__ uint4 piece(uint32_t row, uint32_t channel) const
    {
        uint32_t x[8];
#pragma unroll
        for (uint32_t k = 0; k < 8; k++) x[k] = load(row, channel + k);
        convert(x);
        return uint4{x[0] | x[1] << 16, x[2] | x[3] << 16, x[4] | x[5] << 16, x[6] | x[7] << 16};
    }
};

/* Sides of one kind of codec share a launch: from `first` on, one for each z of the grid; y is the head. */
struct append_sides {
    page_shape shape[2];
    const uint8_t *params[2];
    const void *rows[2];
    kvc_dtype dtype;
    uint32_t first, at_once; /* at_once: pages that the blocks take together */
};

__device__ static new_rows new_rows_of(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                       uint32_t i)
{
    size_t stride = (size_t)c.n_heads * c.d;
    return new_rows{sides.rows[sides.first + blockIdx.z], sides.dtype, b.first_row[i] * stride + blockIdx.y * c.d,
                    stride, c.flags};
}

__device__ static uint16_t *held_rows(const cache_store &c, uint32_t slot, uint32_t side, uint32_t head)
{
    return c.rows + (((size_t)slot * 2 + side) * c.n_heads + head) * c.capacity * c.d;
}

/* ---- rows that stay ---- */

/* Those of the call that a sequence's own warp stores, its first ones: all of them, or sinks. */
__device__ static uint32_t rows_to_store(const cache_store &c, const growth &g)
{
    uint32_t sinks = least(c.policy.sinks, g.new_length);
    if (g.dropped) return 0;
    if (g.n_pages == 0) return g.new_length - g.length;
    return sinks > g.length ? sinks - g.length : 0;
}

__device__ static void load_four(const new_rows &fresh, uint32_t d, uint32_t row, uint32_t first, uint32_t (&x)[FOUR])
{
#pragma unroll
    for (uint32_t k = 0; k < FOUR; k++) {
        uint32_t i = first + k * WARP + threadIdx.x % WARP;
        x[k] = i < d ? fresh.load(row, i) : 0;
    }
}

/* By a warp; x: what load_four() makes of the beginning. */
__device__ static void store_rows(const cache_store &c, const growth &g, const new_rows &fresh, uint16_t *rows,
                                  uint32_t (&x)[FOUR])
{
    uint32_t n_rows = rows_to_store(c, g);
    for (uint32_t row = 0, first = 0; row < n_rows;) {
        uint32_t token = g.length + row;
        uint16_t *to = rows + (size_t)(token < c.policy.sinks ? token : token - g.packed) * c.d;
        fresh.convert(x);
#pragma unroll
        for (uint32_t k = 0; k < FOUR; k++) {
            uint32_t i = first + k * WARP + threadIdx.x % WARP;
            if (i < c.d) to[i] = (uint16_t)x[k];
        }
        first += FOUR * WARP;
        if (first >= c.d) first = 0, row++;
        if (row < n_rows) load_four(fresh, c.d, row, first, x);
    }
}

/* ---- rows that leave ---- */

/* Rows behind a sequence's sinks, of one side and head, when pages leave. A page's go into tiles, as page_encode()
 * asks for them; what lies `shift` above a row takes its place, and so on up, new rows last. The thread that reads a
 * piece of a row is the only one that looks at it or at those above it: the order is its own. Without a shift rows
 * stay where they are. */
struct leaving_rows {
    uint16_t *held;
    new_rows fresh;
    uint32_t d, page;          /* page: its first row */
    uint32_t n_held, n, shift; /* n: with new ones */
    uint32_t first_new;        /* row r is the call's r + first_new */

    __device__ uint4 *at(uint32_t row, uint32_t channel) const { return (uint4 *)(held + (size_t)row * d + channel); }

    /* Of PIECES rows from `row` on, `step` apart, before `end`, those that are held, `up` above. */
    __device__ void load(uint32_t row, uint32_t step, uint32_t end, uint32_t up, uint32_t channel,
                         uint4 (&x)[PIECES]) const
    {
#pragma unroll
        for (uint32_t j = 0; j < PIECES; j++)
            if (row + j * step < end && row + j * step + up < n_held) x[j] = *at(row + j * step + up, channel);
    }
    /* They go down. */
    __device__ void store(uint32_t row, uint32_t step, uint32_t end, uint32_t up, uint32_t channel,
                          const uint4 (&x)[PIECES]) const
    {
#pragma unroll
        for (uint32_t j = 0; j < PIECES; j++)
            if (row + j * step < end && row + j * step + up < n_held)
                *at(row + j * step + up - shift, channel) = x[j];
    }

    /* What lies above PIECES rows goes down: held rows, then new ones. */
    __device__ void move(uint32_t row, uint32_t step, uint32_t end, uint32_t channel) const
    {
        uint4 x[PIECES];
        for (uint32_t up = shift; row + up < n_held; up += shift) {
            load(row, step, end, up, channel, x);
            store(row, step, end, up, channel, x);
        }
        for (uint32_t j = 0; j < PIECES && row + j * step < end; j++)
            for (uint32_t r = row + j * step + shift; r < n; r += shift)
                if (r >= n_held) *at(r - shift, channel) = fresh.piece(r + first_new, channel);
    }

    /* f(row, step, end, channel) for the thread's rows of the page's first .. first + n_rows - 1, PIECES at a time.
     */
    template <typename F> __device__ void each(uint32_t first, uint32_t n_rows, F f) const
    {
        uint32_t of_row = d / 8, step = blockDim.x / of_row, own = threadIdx.x / of_row, end = page + first + n_rows;
        uint32_t row = own < step ? page + first + own : end, channel = threadIdx.x % of_row * 8;
        for (; row < end; row += PIECES * step) f(row, step, end, channel);
    }

    /* Rows first .. of the page into the tile; again: they will be read once more. */
    __device__ void operator()(const page_tile &t, uint32_t first, bool again) const
    {
        each(first, t.n_rows, [&](uint32_t row, uint32_t step, uint32_t end, uint32_t channel) {
            float *y = t.y + (row - page - first) * d + channel;
            uint4 x[PIECES];
            load(row, step, end, 0, channel, x);
            if (shift && !again) move(row, step, end, channel);
#pragma unroll
            for (uint32_t j = 0; j < PIECES; j++) {
                uint32_t r = row + j * step;
                if (r < end) put_piece(y + j * step * d, r < n_held ? x[j] : fresh.piece(r + first_new, channel));
            }
        });
    }

    /* fp16 to a tile. */
    __device__ static void put_piece(float *y, uint4 piece)
    {
        const __half2 *x = (const __half2 *)&piece;
        float2 a = __half22float2(x[0]), b = __half22float2(x[1]), c = __half22float2(x[2]), e = __half22float2(x[3]);
        *(float4 *)y = float4{a.x, a.y, b.x, b.y};
        *(float4 *)(y + 4) = float4{c.x, c.y, e.x, e.y};
    }
};

/* A page that is encoded already, or part of it: its bytes go where pages are, and rows move. */
__device__ static void link_part(const leaving_rows &rows, page_part part, uint32_t n_rows, const uint4 *from,
                                 uint4 *to, uint32_t n)
{
    uint32_t end = n * part.end / n_rows, step = PIECES * blockDim.x;
    uint4 x[PIECES];
    auto load = [&](uint32_t first) {
#pragma unroll
        for (uint32_t j = 0; j < PIECES; j++)
            if (first + j * blockDim.x < end) x[j] = from[first + j * blockDim.x];
    };
    uint32_t at = n * part.begin / n_rows + threadIdx.x;
    load(at);
    rows.each(part.begin, part.end - part.begin, [&](uint32_t row, uint32_t step, uint32_t end, uint32_t channel) {
        rows.move(row, step, end, channel);
    });
    for (; at < end; load(at += step)) {
#pragma unroll
        for (uint32_t j = 0; j < PIECES; j++)
            if (at + j * blockDim.x < end) to[at + j * blockDim.x] = x[j];
    }
}

/* Of a page that leaves or, behind those, of one that is encoded ahead. */
template <int KIND, bool MATRIX>
__device__ static void store_part(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                  const append_plan &plan, uint32_t page, page_part part, float *shared)
{
    bool leaves = page < plan.n_leave;
    uint32_t i = leaves ? find_sequence(plan, page) : plan.ahead[page - plan.n_leave];
    uint32_t index = leaves ? page - plan.before[i] : 0, side = sides.first + blockIdx.z, head = blockIdx.y;
    growth g = plan.of[i];
    uint32_t behind = c.policy.sinks + g.packed; /* tokens before the rows */
    const uint32_t *entry = c.page_table + (size_t)g.slot * c.page_stride + g.packed / c.policy.page + index;
    uint8_t *next = c.next + g.slot * c.page_bytes, *to = leaves ? c.pool + *entry * c.page_bytes : next;
    leaving_rows rows = {held_rows(c, g.slot, side, head) + (size_t)c.policy.sinks * c.d,
                         new_rows_of(c, sides, b, i),
                         c.d,
                         index * c.policy.page,
                         g.length > behind ? g.length - behind : 0,
                         g.new_length - behind,
                         g.n_pages * c.policy.page,
                         behind - g.length};
    if (leaves && g.has_next && index == 0) {
        /* The head's share of the side's bytes, whose ever they are. */
        uint64_t begin = side ? c.value_offset : 0, n = ((side ? c.page_bytes : c.value_offset) - begin) / 16;
        uint64_t first = n * head / c.n_heads;
        link_part(rows, part, c.policy.page, (const uint4 *)(next + begin) + first, (uint4 *)(to + begin) + first,
                  (uint32_t)(n * (head + 1) / c.n_heads - first));
    } else {
        page_encode<KIND, MATRIX>(sides.shape[side], coder_work{sides.params[side], head, 0}, shared, rows, part,
                                  to + (side ? c.value_offset : 0));
    }
}

/* So few rows a part that every block of a side and head has one, if that can be. */
template <int KIND, bool MATRIX>
__device__ static void store_parts(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                   const append_plan &plan, float *shared)
{
    const page_shape &s = sides.shape[sides.first + blockIdx.z];
    bool whole = !page_has_parts(s);
    uint32_t rows = whole ? s.page : 8, n_parts = whole ? 1 : s.page / 8, n_pages = plan.n_leave + plan.n_ahead;
    for (; !whole && 2 * rows <= s.tile && n_pages * n_parts > gridDim.x; rows *= 2) n_parts = (n_parts + 1) / 2;
    for (uint32_t k = blockIdx.x; k < n_pages * n_parts; k += gridDim.x) {
        uint32_t page = k / n_parts, begin = (k - page * n_parts) * rows;
        store_part<KIND, MATRIX>(c, sides, b, plan, page, page_part{begin, least(begin + rows, s.page)}, shared);
    }
}

/* ---- the launch ---- */

__device__ static void advance(const cache_store &c, const growth &g)
{
    if (g.dropped) {
        atomicOr(c.flags, CACHE_FULL);
        return;
    }
    c.length[g.slot] = g.new_length;
    c.packed[g.slot] = g.packed + g.n_pages * c.policy.page;
    c.has_next[g.slot] = g.new_has_next;
}

/* advances: no other launch of this append comes behind it. */
template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
    append_rows(const __grid_constant__ cache_store c, const __grid_constant__ append_sides sides,
                const __grid_constant__ cache_batch b, bool advances)
{
    __shared__ append_plan plan;
    KVC_SHARED(float, shared);
    await_previous();
    let_next_start();
    /* The last warps first: the first blocks have parts to encode, and first warps make plans. */
    uint32_t n_warps = blockDim.x / WARP, i = (n_warps - 1 - threadIdx.x / WARP) * gridDim.x + blockIdx.x;
    uint32_t x[FOUR], n_blocks = gridDim.x * gridDim.y * gridDim.z, before = 0;
    new_rows fresh = new_rows_of(c, sides, b, least(i, b.n - 1));
    if (i < b.n && b.n_tokens[i] > 0) load_four(fresh, c.d, 0, 0, x);
    make_plan(c, b, sides.at_once, plan);
    /* What this block reads of lengths it has read, the plan is made of it: no fence. The answer is needed late. */
    if (advances && threadIdx.x == 0) before = atomicAdd(c.arrived, 1u);
    if (i < b.n)
        store_rows(c, plan.of[i], fresh, held_rows(c, plan.of[i].slot, sides.first + blockIdx.z, blockIdx.y), x);
    store_parts<KIND, MATRIX>(c, sides, b, plan, shared);
    if (threadIdx.x >= WARP || __shfl_sync(0xffffffffu, before, 0) + 1 < n_blocks || !advances) return;
    for (uint32_t k = threadIdx.x; k < b.n; k += WARP) advance(c, plan.of[k]);
    if (threadIdx.x == 0) *c.arrived = 0;
}

/* ---- other kernels ---- */

__global__ void __launch_bounds__(PUT_THREADS)
    put_rows(const __grid_constant__ cache_store c, uint32_t slot, uint32_t side, const float *from)
{
    uint32_t row = blockIdx.x, head = blockIdx.y;
    uint16_t *to = held_rows(c, slot, side, head) + (size_t)(c.policy.sinks + row) * c.d;
    from += ((size_t)row * c.n_heads + head) * c.d;
    for (uint32_t i = threadIdx.x; i < c.d; i += PUT_THREADS)
        to[i] = __half_as_ushort(__float2half_rn(clamp_fp16(from[i])));
}

__global__ void __launch_bounds__(PUT_THREADS) put_words(uint32_t *words, const __grid_constant__ cache_puts puts)
{
    if (threadIdx.x < puts.n) words[puts.at[threadIdx.x]] = puts.value[threadIdx.x];
}

/* ---- on the host ---- */

typedef void append_kernel(cache_store, append_sides, cache_batch, bool);
static append_kernel *const append_kernels[][2] = PAGE_KERNELS(append_rows);

/* Pages that a sequence may be about to lose: a window that is full but for one row, and the new ones. */
static uint32_t most_pages_of(const cache_batch *b, uint32_t page)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < b->n; i++) most = b->n_tokens[i] > most ? b->n_tokens[i] : most;
    return (uint32_t)(((uint64_t)page - 1 + most) / page);
}

/* For a side and head: as many as there can be parts, but a warp for each sequence. */
static uint32_t blocks_of(const cache_store *c, const cache_batch *b, uint32_t n_sides, uint32_t threads)
{
    uint64_t n_parts = (uint64_t)b->n * most_pages_of(b, c->policy.page) * (c->policy.page / 8);
    uint32_t n_warps = threads / WARP, fewest = (b->n + n_warps - 1) / n_warps;
    uint32_t most = APPEND_BLOCKS / (c->n_heads * n_sides);
    uint32_t n = n_parts < most ? (uint32_t)n_parts : most;
    return n > fewest ? n : fewest;
}

static cudaError_t append_to_sides(append_kernel *kernel, const cache_store *c, append_sides sides, uint32_t first,
                                   uint32_t n_sides, const cache_batch *b, bool advances, cudaStream_t stream)
{
    uint32_t threads = 0;
    size_t bytes = 0;
    sides.first = first;
    for (uint32_t i = first; i < first + n_sides; i++) {
        size_t own = page_shared_bytes(sides.shape[i]);
        bytes = own > bytes ? own : bytes;
        threads = sides.shape[i].threads > threads ? sides.shape[i].threads : threads;
    }
    cudaError_t status = KVC_ALLOW_SHARED(kernel, bytes);
    if (status != cudaSuccess) return status;
    dim3 grid(blocks_of(c, b, n_sides, threads), c->n_heads, n_sides);
    return launch(c->early, kernel, grid, threads, (uint32_t)bytes, stream, *c, sides, *b, advances);
}

extern "C" cudaError_t kernel_cache_append(const cache_store *c, const kvc_coder coder[2],
                                           const void *const dev_params[2], const cache_batch *b, const void *keys,
                                           const void *values, kvc_dtype dtype, cudaStream_t stream)
{
    append_sides sides = {};
    append_kernel *kernel[2];
    if (b->n == 0) return cudaSuccess;
    for (int i = 0; i < 2; i++) {
        cudaError_t status = page_describe(&coder[i], dev_params[i], 1, &sides.shape[i]);
        if (status != cudaSuccess) return status;
        sides.params[i] = (const uint8_t *)dev_params[i];
        sides.rows[i] = i ? values : keys;
        kernel[i] = page_kernel_of(append_kernels, &coder[i].codec);
    }
    sides.dtype = dtype;
    sides.at_once = APPEND_BLOCKS / (2 * c->n_heads);
    if (kernel[0] == kernel[1]) return append_to_sides(kernel[0], c, sides, 0, 2, b, true, stream);
    cudaError_t status = append_to_sides(kernel[0], c, sides, 0, 1, b, false, stream);
    return status == cudaSuccess ? append_to_sides(kernel[1], c, sides, 1, 1, b, true, stream) : status;
}

extern "C" cudaError_t kernel_cache_put_rows(const cache_store *c, uint32_t slot, int side, const float *rows,
                                             uint32_t n_rows, cudaStream_t stream)
{
    if (n_rows == 0) return cudaSuccess;
    KVC_LAUNCH(put_rows, dim3(n_rows, c->n_heads), dim3(PUT_THREADS), 0, stream, *c, slot, (uint32_t)side, rows);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_put(uint32_t *words, const cache_puts *puts, cudaStream_t stream)
{
    if (puts->n == 0) return cudaSuccess;
    KVC_LAUNCH(put_words, dim3(1), dim3(PUT_THREADS), 0, stream, words, *puts);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_load(cache_store *c, const kvc_coder coder[2])
{
    const void *const kernels[] = {(const void *)put_rows, (const void *)put_words,
                                   (const void *)page_kernel_of(append_kernels, &coder[0].codec),
                                   (const void *)page_kernel_of(append_kernels, &coder[1].codec)};
    uint32_t alone;
    cudaError_t status = early_bytes(kernels, 4, &alone);
    if (status == cudaSuccess) c->early = alone != 0;
    return status;
}
