/* emulate.h - CUDA kernels as plain C++ on a CPU, for tests on machines without a GPU. Include before kernel code.
 *
 * Every thread of a block is a fiber. Fibers take turns where threads meet: the lanes of a warp at warp operations,
 * all threads of a block at __syncthreads(). In between each runs alone, in ascending or (emulate_order()) descending
 * order, so that code which lacks a barrier gives another result in one of the two. Blocks run one after another, in
 * the same order.
 * Threads that wait for each other in vain end the program with a message. Not for speed: some 1e6 meetings a second.
 *
 * Kernels are started by emulate_launch(); there is no <<<>>>. `extern __shared__` has no counterpart: kernels take
 * their dynamic shared memory from KVC_SHARED() (kernels/device.cuh). */
#ifndef TESTS_GPU_EMULATE_H
#define TESTS_GPU_EMULATE_H
#ifdef __CUDACC__
#error "for a C++ compiler"
#endif
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <functional>
#include <vector>

#undef __global__
#undef __shared__
#undef __launch_bounds__
#undef __grid_constant__
#define KVC_EMULATE 1
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
#define __grid_constant__

struct emulated_lane {
    dim3 thread, block;
    uint32_t index; /* of the thread in its block */
};
extern emulated_lane *emulate_self;
extern dim3 emulate_block_dim, emulate_grid_dim;
extern unsigned char *emulate_shared; /* dynamic shared memory */
#define threadIdx (emulate_self->thread)
#define blockIdx (emulate_self->block)
#define blockDim emulate_block_dim
#define gridDim emulate_grid_dim

/* Run the kernel: `body` once in every thread. Shared memory is filled with NaN before each block. */
void emulate_launch(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()> &body);
/* How kernels are started in a stream, for whoever has streams (fake_runtime.cpp): NULL, at once. */
extern void (*emulate_enqueue)(cudaStream_t stream, std::function<void()> work);
/* In a stream, with arguments, which are taken now, whenever the kernel runs. */
template <typename... PARAMETERS, typename... ARGUMENTS>
static inline void emulate_start(cudaStream_t stream, dim3 grid, dim3 block, size_t shared_bytes,
                                 void (*kernel)(PARAMETERS...), ARGUMENTS... arguments)
{
    auto work = [=] { emulate_launch(grid, block, shared_bytes, [=] { kernel(arguments...); }); };
    if (emulate_enqueue)
        emulate_enqueue(stream, work);
    else
        work();
}
/* Until it is called with NULL, launches are not run but kept: what a captured stream does. */
struct emulated_launch {
    dim3 grid, block;
    size_t shared_bytes;
    std::function<void()> body;
};
void emulate_record(std::vector<emulated_launch> *to);
/* Threads run in descending order from now on, or in ascending order again. */
void emulate_order(bool descending);

/* Meetings. The lanes of a warp leave `n` words each and find all 32 lanes' of them: result[lane * n + i]. */
void __syncthreads(void);
void __syncwarp(uint32_t mask = 0xffffffffu);
const uint32_t *emulate_exchange(const uint32_t *words, uint32_t n);

/* ---- operations of a warp ---- */

template <typename T> static inline T __shfl_sync(uint32_t, T value, int from, int width = 32)
{
    static_assert(sizeof(T) % 4 == 0, "words");
    uint32_t words[sizeof(T) / 4];
    memcpy(words, &value, sizeof words);
    const uint32_t *all = emulate_exchange(words, sizeof(T) / 4);
    int first = (int)(emulate_self->index % 32u) / width * width;
    memcpy(&value, all + (first + from % width) * (int)(sizeof(T) / 4), sizeof words);
    return value;
}

template <typename T> static inline T __shfl_xor_sync(uint32_t mask, T value, int with)
{
    return __shfl_sync(mask, value, (int)(emulate_self->index % 32u) ^ with);
}

template <typename T> static inline T __shfl_up_sync(uint32_t mask, T value, unsigned by)
{
    unsigned lane = emulate_self->index % 32u;
    return __shfl_sync(mask, value, (int)(lane < by ? lane : lane - by));
}

static inline uint32_t __ballot_sync(uint32_t, int predicate)
{
    uint32_t word = predicate != 0, bits = 0;
    const uint32_t *all = emulate_exchange(&word, 1);
    for (int i = 0; i < 32; i++) bits |= all[i] << i;
    return bits;
}

static inline int __popc(uint32_t x)
{
    return __builtin_popcount(x);
}
static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}
static inline uint32_t __funnelshift_l(uint32_t low, uint32_t high, uint32_t by)
{
    return (uint32_t)(((uint64_t)high << 32 | low) << (by & 31) >> 32);
}
static inline int __any_sync(uint32_t mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(uint32_t mask, int predicate)
{
    return __ballot_sync(mask, predicate) == 0xffffffffu;
}

/* kernels/device.cuh says what these are. In ascending order a copy is made when it is asked for, in descending order
 * when it is waited for: neither a copy that nothing waits for nor one that comes too early goes unseen in both. */
void emulate_barrier_init(uint64_t *barrier);
void emulate_barrier_expect(uint64_t *barrier, uint32_t n_bytes);
void emulate_barrier_copy(uint64_t *barrier, void *to, const void *from, uint32_t n_bytes);
void emulate_barrier_wait(uint64_t *barrier, uint32_t parity);
void emulate_mma(float c[4], const uint32_t a[4], const uint32_t b[2]);
void emulate_mma_bf16(float c[4], const uint32_t a[4], const uint32_t b[2]);
void emulate_mma_bytes(int c[4], const uint32_t a[4], const uint32_t b[2], bool signed_a, bool signed_b);
uint32_t emulate_transpose(uint32_t pair);
void emulate_load_transposed(const uint8_t *row, uint32_t out[4]);
void emulate_load_matrices(const uint8_t *row, uint32_t out[4]);

/* ---- operations of a thread ---- */

static inline uint32_t __byte_perm(uint32_t a, uint32_t b, uint32_t selector)
{
    uint64_t bytes = (uint64_t)b << 32 | a;
    uint32_t out = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t s = selector >> (4 * i) & 15u, byte = (uint32_t)(bytes >> (8 * (s & 7u))) & 255u;
        out |= (s & 8u ? (byte & 128u ? 255u : 0u) : byte) << (8 * i);
    }
    return out;
}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return bits;
}

/* cuda_fp16.h has this one for a GPU alone. */
static inline __half2 __hfma2(__half2 a, __half2 b, __half2 c)
{
    float2 x = __half22float2(a), y = __half22float2(b), z = __half22float2(c);
    return __halves2half2(__double2half((double)x.x * y.x + z.x), __double2half((double)x.y * y.y + z.y));
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, 4);
    return x;
}

/* Threads take turns, so that nothing comes between. */
template <typename T> static inline T atomicAdd(T *at, T value)
{
    T before = *at;
    *at = before + value;
    return before;
}

static inline uint32_t atomicOr(uint32_t *at, uint32_t bits)
{
    uint32_t before = *at;
    *at = before | bits;
    return before;
}

static inline int min(int a, int b)
{
    return a < b ? a : b;
}
static inline uint32_t min(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}
static inline int max(int a, int b)
{
    return a > b ? a : b;
}
static inline uint32_t max(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

template <typename T> static inline T __ldcs(const T *at)
{
    return *at;
}
#endif
