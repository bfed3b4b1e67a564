/* cache_store.cu - see cache_store.h. An append is two steps: pages that leave the window are encoded, one thread
 * block for each page, side and head (none to encode: it ends at once); then rows move down, new ones are stored, and
 * the last block of a sequence advances its length. */
#include "cache_store.h"

#include "codec/page_launch.cuh"
#include "device.cuh"

#define ROW_THREADS 128
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
    uint32_t compressed = (uint32_t)kvc_tokens_compressed(&c.policy, g.new_length);
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

/* ---- pages that leave the window ---- */

/* Sides of one kind of codec share a launch. */
struct leaving_sides {
    page_shape shape[2];
    const uint8_t *params[2];
    const void *rows[2];
    uint32_t first; /* the side of blockIdx.z 0 */
};

template <int KIND, bool MATRIX>
__global__ void __launch_bounds__(512, 1)
    encode_leaving(const __grid_constant__ cache_store c, const __grid_constant__ leaving_sides sides,
                   const __grid_constant__ cache_batch b, kvc_dtype dtype, uint32_t most_pages)
{
    uint32_t i = blockIdx.x / most_pages, head = blockIdx.y, side = sides.first + blockIdx.z, page = c.policy.page;
    growth g = growth_of(c, b, i);
    uint32_t index = g.packed / page + blockIdx.x % most_pages;
    if (g.dropped || index >= g.new_packed / page) return;
    KVC_SHARED(float, shared);
    uint32_t first = c.policy.sinks + index * page; /* token */
    const __half *held = (const __half *)held_rows(c, g.slot, side, head);
    new_rows fresh = new_rows_of(c, b, i, head, sides.rows[side], dtype);
    uint8_t *to = c.pool + c.page_table[(size_t)g.slot * c.page_stride + index] * c.page_bytes;
    page_encode<KIND, MATRIX>(
        sides.shape[side], coder_work{sides.params[side], head, 0}, shared,
        [&](uint32_t r, uint32_t channel) {
            uint32_t token = first + r;
            bool is_held = token < g.length;
            __half x = __ushort_as_half(0);
            if (is_held) x = held[(size_t)(token - g.packed) * c.d + channel]; /* no branch: none waits for another */
            if (!is_held) x = __ushort_as_half(fresh(token - g.length, channel));
            return x;
        },
        to + (side ? c.value_offset : 0));
}

/* ---- rows ---- */

/* Rows from .. end - 1 move down by `shift`, so many at a time: what a step writes, none before it still has to read.
 * A thread has MOVES pieces on their way. */
__device__ static void move_rows(uint16_t *rows, uint32_t d, uint32_t from, uint32_t end, uint32_t shift)
{
    uint32_t of_row = d / EIGHT;
    for (; from < end; from += shift) {
        uint32_t n = least(shift, end - from) * of_row;
        const uint4 *at = (const uint4 *)(rows + (size_t)from * d);
        uint4 *to = (uint4 *)(rows + (size_t)(from - shift) * d);
        for (uint32_t k = threadIdx.x; k < n; k += MOVES * ROW_THREADS) {
            uint4 x[MOVES];
#pragma unroll
            for (uint32_t j = 0; j < MOVES; j++)
                if (k + j * ROW_THREADS < n) x[j] = at[k + j * ROW_THREADS];
#pragma unroll
            for (uint32_t j = 0; j < MOVES; j++)
                if (k + j * ROW_THREADS < n) to[k + j * ROW_THREADS] = x[j];
        }
        __syncthreads();
    }
}

/* New tokens but for those that are compressed already. */
__device__ static void store_rows(uint16_t *rows, const cache_store &c, const growth &g, const new_rows &fresh)
{
    uint32_t sinks = c.policy.sinks, behind = sinks + g.new_packed;
    uint32_t token = g.length < sinks || g.length > behind ? g.length : behind;
    for (token += threadIdx.x / WARP; token < g.new_length; token += ROW_THREADS / WARP) {
        if (token >= sinks && token < behind) continue;
        uint16_t *to = rows + (size_t)(token < sinks ? token : token - g.new_packed) * c.d;
        for (uint32_t i = threadIdx.x % WARP; i < c.d; i += WARP) to[i] = fresh(token - g.length, i);
    }
}

/* The last block of a sequence, when all have read where it stood. */
__device__ static void advance(const cache_store &c, const growth &g)
{
    __syncthreads();
    if (threadIdx.x) return;
    __threadfence();
    if (atomicAdd(c.arrived + g.slot, 1u) + 1 < gridDim.y * gridDim.z) return;
    c.arrived[g.slot] = 0;
    if (g.dropped) {
        atomicOr(c.flags, CACHE_FULL);
        return;
    }
    c.length[g.slot] = g.new_length;
    c.packed[g.slot] = g.new_packed;
}

__global__ void __launch_bounds__(ROW_THREADS)
    grow(const __grid_constant__ cache_store c, const __grid_constant__ cache_batch b, const void *keys,
         const void *values, kvc_dtype dtype)
{
    uint32_t i = blockIdx.x, head = blockIdx.y, side = blockIdx.z;
    growth g = growth_of(c, b, i);
    if (!g.dropped) {
        uint16_t *rows = held_rows(c, g.slot, side, head);
        uint32_t shift = g.new_packed - g.packed, from = c.policy.sinks + shift;
        if (shift) move_rows(rows, c.d, from, g.length - g.packed, shift);
        store_rows(rows, c, g, new_rows_of(c, b, i, head, side ? values : keys, dtype));
    }
    advance(c, g);
}

__global__ void __launch_bounds__(ROW_THREADS)
    put_rows(const __grid_constant__ cache_store c, uint32_t slot, uint32_t side, const float *from)
{
    uint32_t row = blockIdx.x, head = blockIdx.y;
    uint16_t *to = held_rows(c, slot, side, head) + (size_t)(c.policy.sinks + row) * c.d;
    from += ((size_t)row * c.n_heads + head) * c.d;
    for (uint32_t i = threadIdx.x; i < c.d; i += ROW_THREADS)
        to[i] = __half_as_ushort(__float2half_rn(clamp_fp16(from[i])));
}

__global__ void __launch_bounds__(ROW_THREADS) put_words(uint32_t *words, const __grid_constant__ cache_puts puts)
{
    if (threadIdx.x < puts.n) words[puts.at[threadIdx.x]] = puts.value[threadIdx.x];
}

/* ---- on the host ---- */

typedef void leaving_kernel(cache_store, leaving_sides, cache_batch, kvc_dtype, uint32_t);
static leaving_kernel *const leaving_kernels[][2] = PAGE_KERNELS(encode_leaving);

/* Pages that a sequence may be about to lose: a window that is full but for one row, and the new ones. */
static uint32_t most_pages_of(const cache_batch *b, uint32_t page)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < b->n; i++) most = b->n_tokens[i] > most ? b->n_tokens[i] : most;
    return (uint32_t)(((uint64_t)page - 1 + most) / page);
}

static cudaError_t encode_sides(leaving_kernel *kernel, const cache_store *c, leaving_sides sides, uint32_t first,
                                uint32_t n_sides, const cache_batch *b, kvc_dtype dtype, cudaStream_t stream)
{
    uint32_t most = most_pages_of(b, c->policy.page), threads = 0;
    size_t bytes = 0;
    sides.first = first;
    for (uint32_t i = first; i < first + n_sides; i++) {
        size_t own = page_shared_bytes(sides.shape[i]);
        bytes = own > bytes ? own : bytes;
        threads = sides.shape[i].threads > threads ? sides.shape[i].threads : threads;
    }
    if (most == 0) return cudaSuccess;
    cudaError_t status = KVC_ALLOW_SHARED(kernel, bytes);
    if (status != cudaSuccess) return status;
    KVC_LAUNCH(kernel, dim3(b->n * most, c->n_heads, n_sides), dim3(threads), bytes, stream, *c, sides, *b, dtype,
               most);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_append(const cache_store *c, const kvc_coder coder[2],
                                           const void *const dev_params[2], const cache_batch *b, const void *keys,
                                           const void *values, kvc_dtype dtype, cudaStream_t stream)
{
    leaving_sides sides = {};
    leaving_kernel *kernel[2];
    cudaError_t status;
    if (b->n == 0) return cudaSuccess;
    for (int i = 0; i < 2; i++) {
        status = page_describe(&coder[i], dev_params[i], 1, &sides.shape[i]);
        if (status != cudaSuccess) return status;
        sides.params[i] = (const uint8_t *)dev_params[i];
        sides.rows[i] = i ? values : keys;
        kernel[i] = page_kernel_of(leaving_kernels, &coder[i].codec);
    }
    bool together = kernel[0] == kernel[1];
    status = encode_sides(kernel[0], c, sides, 0, together ? 2 : 1, b, dtype, stream);
    if (status == cudaSuccess && !together) status = encode_sides(kernel[1], c, sides, 1, 1, b, dtype, stream);
    if (status != cudaSuccess) return status;
    KVC_LAUNCH(grow, dim3(b->n, c->n_heads, 2), dim3(ROW_THREADS), 0, stream, *c, *b, keys, values, dtype);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_put_rows(const cache_store *c, uint32_t slot, int side, const float *rows,
                                             uint32_t n_rows, cudaStream_t stream)
{
    if (n_rows == 0) return cudaSuccess;
    KVC_LAUNCH(put_rows, dim3(n_rows, c->n_heads), dim3(ROW_THREADS), 0, stream, *c, slot, (uint32_t)side, rows);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_put(uint32_t *words, const cache_puts *puts, cudaStream_t stream)
{
    if (puts->n == 0) return cudaSuccess;
    KVC_LAUNCH(put_words, dim3(1), dim3(ROW_THREADS), 0, stream, words, *puts);
    return KVC_LAUNCHED();
}

extern "C" cudaError_t kernel_cache_load(const kvc_coder coder[2])
{
    cudaFuncAttributes unused;
    const void *const kernels[] = {(const void *)grow, (const void *)put_rows, (const void *)put_words,
                                   (const void *)page_kernel_of(leaving_kernels, &coder[0].codec),
                                   (const void *)page_kernel_of(leaving_kernels, &coder[1].codec)};
    cudaError_t status = cudaSuccess;
    for (const void *kernel : kernels)
        if (status == cudaSuccess) status = cudaFuncGetAttributes(&unused, kernel);
    return status;
}
