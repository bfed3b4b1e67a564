/* cache_store.cu - see cache_store.h. An append is one launch, or one for each side where their codecs differ in
 * kind. Its blocks, no more than are on a large device at a time, share out
 *
 *     parts of the pages that leave windows, to be encoded: eight rows each or, where many leave, more; whole pages
 *         where rows share scales. Whoever ends the last part of a sequence, side and head moves rows down there and
 *         stores the new ones.
 *     sequences, sides and heads that lose no page: a warp stores the new rows.
 *
 * What an append does to a sequence follows from its length, which the last block of all advances: before that, every
 * block has looked at it. */
#include "cache_store.h"

#include "codec/page_launch.cuh"
#include "device.cuh"

#ifdef KVC_EMULATE
#define APPEND_BLOCKS 40u /* so that a block has several parts there too */
#else
#define APPEND_BLOCKS 264u
#endif
#define PUT_THREADS 128
#define EIGHT 8u /* fp16 values of a 16-byte access */
#define MOVES 8u

/* ---- what an append does to a sequence ---- */

struct growth {
    uint32_t slot, length, packed;   /* before */
    uint32_t new_length, new_packed; /* behind */
    bool dropped;
};

__device__ static growth growth_of(const cache_store &c, const cache_batch &b, uint32_t i)
{
    growth g;
    g.slot = b.slot[i];
    g.length = c.length[g.slot];
    g.packed = c.packed[g.slot];
    g.new_length = g.length + b.n_tokens[i];
    uint64_t exact = (uint64_t)c.policy.sinks + c.policy.window;
    uint32_t beyond = g.new_length > exact ? g.new_length - (uint32_t)exact : 0;
    uint32_t compressed =
        beyond / c.policy.page * c.policy.page; /* kvc_tokens_compressed(), without 64-bit quotients */
    g.new_packed = compressed > g.packed ? compressed : g.packed; /* never fewer: truncation leaves more */
    g.dropped = g.new_packed / c.policy.page > c.reserved[g.slot];
    return g;
}

/* ---- rows of the call ---- */

/* One side; of one head from `at` on. */
struct new_rows {
    const void *values;
    kvc_dtype dtype;
    size_t at, stride; /* in values */
    uint32_t *flags;

    /* As libkvc stores it; what is not finite, as a number. */
    __device__ uint16_t operator()(uint32_t row, uint32_t channel) const
    {
        size_t i = at + row * stride + channel;
        float x = dtype == KVC_F32   ? ((const float *)values)[i]
                  : dtype == KVC_F16 ? __half2float(((const __half *)values)[i])
                                     : __uint_as_float((uint32_t)((const uint16_t *)values)[i] << 16);
        if (!(fabsf(x) < INFINITY)) {
            atomicOr(flags, CACHE_NONFINITE);
            if (x != x) x = 0.0f;
        }
        return __half_as_ushort(__float2half_rn(clamp_fp16(x)));
    }
};

__device__ static new_rows new_rows_of(const cache_store &c, const cache_batch &b, uint32_t i, uint32_t head,
                                       const void *values, kvc_dtype dtype)
{
    size_t stride = (size_t)c.n_heads * c.d;
    return new_rows{values, dtype, b.first_row[i] * stride + head * c.d, stride, c.flags};
}

__device__ static uint16_t *held_rows(const cache_store &c, uint32_t slot, uint32_t side, uint32_t head)
{
    return c.rows + (((size_t)slot * 2 + side) * c.n_heads + head) * c.capacity * c.d;
}

/* ---- who does what ---- */

/* Sides of one kind of codec share a launch: from `first` on, n of them. */
struct append_sides {
    page_shape shape[2];
    const uint8_t *params[2];
    const void *rows[2];
    kvc_dtype dtype;
    uint32_t first, n;
};

/* Rows of a page, one side and head, to be encoded. */
struct page_work {
    uint32_t i, index; /* sequence of the batch; page of it */
    uint32_t side, head;
    page_part part;
};

/* In shared memory, where it takes no registers from whoever encodes. */
struct append_plan {
    growth of[CACHE_BATCH];
    uint32_t before[CACHE_BATCH + 1]; /* pages that leave, of the sequences before */
    uint32_t rows[2], parts[2],
        all[2]; /* of each side: rows of a part, parts of a page, and of all pages and heads */
    page_work work;
};

/* Pages that leave, by the first warp, three sequences a lane. */
__device__ static void count_pages(const cache_store &c, const cache_batch &b, append_plan &plan)
{
    const uint32_t per_lane = CACHE_BATCH / WARP;
    uint32_t n_pages[per_lane], sum = 0, first = threadIdx.x * per_lane;
#pragma unroll
    for (uint32_t k = 0; k < per_lane; k++) {
        n_pages[k] = 0;
        if (first + k < b.n) {
            growth g = growth_of(c, b, first + k);
            plan.of[first + k] = g;
            n_pages[k] = g.dropped ? 0 : (g.new_packed - g.packed) / c.policy.page;
        }
        sum += n_pages[k];
    }
    uint32_t end = sum;
    for (uint32_t by = 1; by < WARP; by *= 2) {
        uint32_t other = __shfl_up_sync(0xffffffffu, end, by);
        if (threadIdx.x >= by) end += other;
    }
    end -= sum;
#pragma unroll
    for (uint32_t k = 0; k < per_lane; k++) {
        plan.before[first + k] = end;
        end += n_pages[k];
    }
    if (threadIdx.x == WARP - 1) plan.before[CACHE_BATCH] = end;
}

/* So few rows that every block has a part, if that can be. */
__device__ static void cut_pages(const cache_store &c, const append_sides &sides, append_plan &plan)
{
    uint32_t n = plan.before[CACHE_BATCH] * c.n_heads, page = c.policy.page;
    for (uint32_t z = 0; z < 2; z++) {
        const page_shape &s = sides.shape[z];
        uint32_t rows = page_has_parts(s) ? 8 : page;
        while (rows < s.tile && (uint64_t)n * sides.n * ((page + rows - 1) / rows) > gridDim.x)
            rows = least(2 * rows, s.tile);
        plan.rows[z] = rows;
        plan.parts[z] = (page + rows - 1) / rows;
        plan.all[z] = z >= sides.first && z < sides.first + sides.n ? n * plan.parts[z] : 0;
    }
}

__device__ static void make_plan(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                 append_plan &plan)
{
    if (threadIdx.x < WARP) count_pages(c, b, plan);
    __syncwarp();
    if (threadIdx.x == 0) cut_pages(c, sides, plan);
    __syncthreads();
}

/* The sequence whose page it is. */
__device__ static uint32_t find_sequence(const append_plan &plan, uint32_t page)
{
    uint32_t low = 0, high = CACHE_BATCH;
    while (high - low > 1) {
        uint32_t middle = (low + high) / 2;
        if (plan.before[middle] <= page)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* plan.work is the item of that number, for all of the block; false: there is none. */
__device__ static bool take_work(const cache_store &c, append_plan &plan, uint32_t item)
{
    __syncthreads();
    if (item >= plan.all[0] + plan.all[1]) return false;
    if (threadIdx.x == 0) {
        uint32_t side = item >= plan.all[0], parts = plan.parts[side];
        item -= side ? plan.all[0] : 0;
        uint32_t begin = item % parts * plan.rows[side], block = item / parts, page = block / c.n_heads;
        uint32_t i = find_sequence(plan, page), index = plan.of[i].packed / c.policy.page + page - plan.before[i];
        page_part part = {begin, least(begin + plan.rows[side], c.policy.page)};
        plan.work = page_work{i, index, side, block % c.n_heads, part};
    }
    __syncthreads();
    return true;
}

/* Is it true of the block's first thread? The block meets. */
__device__ static bool first_says(bool is_true)
{
    __shared__ bool shared;
    __syncthreads();
    if (threadIdx.x == 0) shared = is_true;
    __syncthreads();
    return shared;
}

/* The block has done what it does before it calls this. Is it the last of n to come? The counter is zero again then.
 */
__device__ static bool is_last(uint32_t *counter, uint32_t n)
{
    bool last = false;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(counter, 1u) + 1 == n;
        if (last) *counter = 0;
    }
    return first_says(last);
}

/* ---- rows ---- */

/* Rows from .. end - 1 move down by `shift`, so many at a time: what a step writes, none before it still has to read.
 * A thread has MOVES pieces on their way. */
__device__ static void move_rows(uint16_t *rows, uint32_t d, uint32_t from, uint32_t end, uint32_t shift)
{
    uint32_t of_row = d / EIGHT, step = blockDim.x;
    for (; from < end; from += shift) {
        uint32_t n = least(shift, end - from) * of_row;
        const uint4 *at = (const uint4 *)(rows + (size_t)from * d);
        uint4 *to = (uint4 *)(rows + (size_t)(from - shift) * d);
        for (uint32_t k = threadIdx.x; k < n; k += MOVES * step) {
            uint4 x[MOVES];
#pragma unroll
            for (uint32_t j = 0; j < MOVES; j++)
                if (k + j * step < n) x[j] = at[k + j * step];
#pragma unroll
            for (uint32_t j = 0; j < MOVES; j++)
                if (k + j * step < n) to[k + j * step] = x[j];
        }
        __syncthreads();
    }
}

/* New tokens but for those that are compressed already: `warp` has each n_warps-th. */
__device__ static void store_rows(uint16_t *rows, const cache_store &c, const growth &g, const new_rows &fresh,
                                  uint32_t warp, uint32_t n_warps)
{
    uint32_t sinks = c.policy.sinks, behind = sinks + g.new_packed;
    uint32_t token = g.length < sinks || g.length > behind ? g.length : behind;
    for (token += warp; token < g.new_length; token += n_warps) {
        if (token >= sinks && token < behind) continue;
        uint16_t *to = rows + (size_t)(token < sinks ? token : token - g.new_packed) * c.d;
        for (uint32_t i = threadIdx.x % WARP; i < c.d; i += 4 * WARP) {
            uint16_t x[4];
#pragma unroll
            for (uint32_t k = 0; k < 4; k++)
                if (i + k * WARP < c.d) x[k] = fresh(token - g.length, i + k * WARP);
#pragma unroll
            for (uint32_t k = 0; k < 4; k++)
                if (i + k * WARP < c.d) to[i + k * WARP] = x[k];
        }
    }
}

/* ---- the two lists ---- */

template <int KIND, bool MATRIX>
__device__ static void encode_part(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                   const append_plan &plan, float *shared)
{
    page_work w = plan.work;
    growth g = plan.of[w.i];
    uint32_t first = c.policy.sinks + w.index * c.policy.page; /* token */
    const __half *held = (const __half *)held_rows(c, g.slot, w.side, w.head);
    new_rows fresh = new_rows_of(c, b, w.i, w.head, sides.rows[w.side], sides.dtype);
    uint8_t *to = c.pool + c.page_table[(size_t)g.slot * c.page_stride + w.index] * c.page_bytes;
    page_encode<KIND, MATRIX>(
        sides.shape[w.side], coder_work{sides.params[w.side], w.head, 0}, shared,
        [&](uint32_t r, uint32_t channel) {
            uint32_t token = first + r;
            bool is_held = token < g.length;
            __half x = __ushort_as_half(0);
            if (is_held) x = held[(size_t)(token - g.packed) * c.d + channel]; /* no branch: none waits for another */
            if (!is_held) x = __ushort_as_half(fresh(token - g.length, channel));
            return x;
        },
        w.part, to + (w.side ? c.value_offset : 0));
}

/* With the last part of all pages that a sequence's side and head loses, its rows. */
__device__ static void finish_part(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                   const append_plan &plan)
{
    page_work w = plan.work;
    growth g = plan.of[w.i];
    uint32_t shift = g.new_packed - g.packed;
    uint32_t *counter = c.arrived + 1 + ((size_t)g.slot * 2 + w.side) * c.n_heads + w.head;
    uint16_t *rows = held_rows(c, g.slot, w.side, w.head);
    if (!is_last(counter, shift / c.policy.page * plan.parts[w.side])) return;
    move_rows(rows, c.d, c.policy.sinks + shift, g.length - g.packed, shift);
    store_rows(rows, c, g, new_rows_of(c, b, w.i, w.head, sides.rows[w.side], sides.dtype), threadIdx.x / WARP,
               blockDim.x / WARP);
}

/* The last warps first: the first blocks have parts to encode. */
__device__ static void store_new(const cache_store &c, const append_sides &sides, const cache_batch &b,
                                 const append_plan &plan)
{
    uint32_t n_warps = blockDim.x / WARP, all = gridDim.x * n_warps, n = b.n * sides.n * c.n_heads;
    for (uint32_t k = all - 1 - (blockIdx.x * n_warps + threadIdx.x / WARP); k < n; k += all) {
        uint32_t head = k % c.n_heads, side = sides.first + k / c.n_heads % sides.n, i = k / c.n_heads / sides.n;
        growth g = plan.of[i];
        if (g.dropped || g.new_packed > g.packed) continue;
        store_rows(held_rows(c, g.slot, side, head), c, g, new_rows_of(c, b, i, head, sides.rows[side], sides.dtype),
                   0, 1);
    }
}

__device__ static void advance(const cache_store &c, const growth &g)
{
    if (g.dropped) {
        atomicOr(c.flags, CACHE_FULL);
        return;
    }
    c.length[g.slot] = g.new_length;
    c.packed[g.slot] = g.new_packed;
}

/* advances: no other launch of this append comes behind it. */
template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
    append_rows(const __grid_constant__ cache_store c, const __grid_constant__ append_sides sides,
                const __grid_constant__ cache_batch b, bool advances)
{
    __shared__ append_plan plan;
    KVC_SHARED(float, shared);
    make_plan(c, sides, b, plan);
    store_new(c, sides, b, plan);
    for (uint32_t item = blockIdx.x; take_work(c, plan, item); item += gridDim.x) {
        encode_part<KIND, MATRIX>(c, sides, b, plan, shared);
        finish_part(c, sides, b, plan);
    }
    if (!advances || !is_last(c.arrived, gridDim.x)) return;
    for (uint32_t i = threadIdx.x; i < b.n; i += blockDim.x) advance(c, plan.of[i]);
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

/* As many as there can be parts or warps for rows. */
static uint32_t blocks_of(const cache_store *c, const cache_batch *b, uint32_t n_sides, uint32_t threads)
{
    uint64_t n = (uint64_t)b->n * c->n_heads * n_sides, n_warps = threads / WARP;
    uint64_t n_parts = n * most_pages_of(b, c->policy.page) * (c->policy.page / 8);
    uint64_t n_blocks = n_parts > (n + n_warps - 1) / n_warps ? n_parts : (n + n_warps - 1) / n_warps;
    return n_blocks < APPEND_BLOCKS ? (uint32_t)n_blocks : APPEND_BLOCKS;
}

static cudaError_t append_to_sides(append_kernel *kernel, const cache_store *c, append_sides sides, uint32_t first,
                                   uint32_t n_sides, const cache_batch *b, bool advances, cudaStream_t stream)
{
    uint32_t threads = 0;
    size_t bytes = 0;
    sides.first = first;
    sides.n = n_sides;
    for (uint32_t i = first; i < first + n_sides; i++) {
        size_t own = page_shared_bytes(sides.shape[i]);
        bytes = own > bytes ? own : bytes;
        threads = sides.shape[i].threads > threads ? sides.shape[i].threads : threads;
    }
    cudaError_t status = KVC_ALLOW_SHARED(kernel, bytes);
    if (status != cudaSuccess) return status;
    KVC_LAUNCH(kernel, dim3(blocks_of(c, b, n_sides, threads)), dim3(threads), bytes, stream, *c, sides, *b,
               advances);
    return KVC_LAUNCHED();
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

extern "C" cudaError_t kernel_cache_load(const kvc_coder coder[2])
{
    cudaFuncAttributes unused;
    const void *const kernels[] = {(const void *)put_rows, (const void *)put_words,
                                   (const void *)page_kernel_of(append_kernels, &coder[0].codec),
                                   (const void *)page_kernel_of(append_kernels, &coder[1].codec)};
    cudaError_t status = cudaSuccess;
    for (const void *kernel : kernels)
        if (status == cudaSuccess) status = cudaFuncGetAttributes(&unused, kernel);
    return status;
}
