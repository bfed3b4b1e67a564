/* device.cuh - what CUDA C has no words for, each with a form for tests that run kernels on a CPU
 * (tests/gpu/emulate): dynamic shared memory, the start of a kernel, copies in the background, products of a warp. */
#ifndef KERNELS_DEVICE_CUH
#define KERNELS_DEVICE_CUH
#include <stdint.h>

#ifdef KVC_EMULATE
#define KVC_SHARED(type, name) type *name = (type *)(void *)emulate_shared
#define KVC_ALLOW_SHARED(kernel, bytes) ((void)(kernel), (void)(bytes), cudaSuccess)
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    emulate_start(stream, grid, block, shared_bytes, kernel, __VA_ARGS__)
#define KVC_LAUNCHED() cudaSuccess
#else
#define KVC_SHARED(type, name)                                                                                       \
    extern __shared__ uint4 kvc_shared_[];                                                                           \
    type *name = (type *)(void *)kvc_shared_
/* More than 48 KiB have to be asked for, with what the kernel has itself: 8 KiB at most. */
#define KVC_ALLOW_SHARED(kernel, bytes)                                                                              \
    ((bytes) > 40u * 1024u ? cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes)) \
                           : cudaSuccess)
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define KVC_LAUNCHED() cudaGetLastError()
#endif

/* What all lanes of a warp have alike, so that the compiler knows it, too: addresses and loops that follow from it
 * then cost less (64 instructions less for 64 tokens of vq4x8). */
__device__ __forceinline__ uint32_t uniform(uint32_t x)
{
    return __shfl_sync(~0u, x, 0);
}

/* ---- kernels that start before the one before them has ended (early.cuh) ----
 * A kernel that is launched early starts when each block of the one before has called let_next_start(), or is done.
 * What that one, and those before it, have written is there behind await_previous(), for the threads that call it.
 * Kernels that are not launched early, or are compiled for less than sm_90, find nothing to wait for. */
#if !defined(KVC_EMULATE) && defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
__device__ __forceinline__ void let_next_start()
{
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}
__device__ __forceinline__ void await_previous()
{
    asm volatile("griddepcontrol.wait;" ::: "memory");
}
#else
__device__ __forceinline__ void let_next_start() {}
__device__ __forceinline__ void await_previous() {}
#endif

/* What kernels before the one before have written, for a kernel that is early and has not waited: not from the cache
 * of its multiprocessor, which may hold what was there at an earlier call. */
__device__ __forceinline__ uint32_t load_early(const uint32_t *at)
{
#if defined(KVC_EMULATE) || !defined(__CUDA_ARCH__)
    return *at;
#else
    return __ldcg(at);
#endif
}

/* ---- copies from global to shared memory, in the background ----
 * A warp's ring of STAGES stages. All of its lanes call
 *
 *     ask<COPIES>(stage, all, to, from, n)  lanes 0 .. COPIES - 1 a copy of n bytes each, `all` bytes in all
 *     skip()                                or there is nothing
 *     wait(stage)                           the stage's bytes are there, for all lanes
 *     reuse()                               lanes have written to stages themselves
 *
 * in the order of the ring, with at most STAGES - 1 asked for or skipped stages behind the one that is waited for,
 * and a __syncwarp() between the last look at a stage and its next ask(). Addresses and sizes are multiples of 16. */

#if defined(KVC_EMULATE) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900)
#define COPY_BARRIERS 1 /* one lane asks for whole ranges; a barrier in shared memory counts bytes (sm_90) */
#else
#define COPY_BARRIERS 0 /* lanes ask for 16 bytes each (sm_80) */
#endif
#define COPY_BARRIER_BYTES 8

template <int STAGES> struct stage_copies {
    uint64_t *barrier; /* [STAGES] in shared memory */
    uint32_t phases;   /* bit i: the parity that stage i completes next */
    uint64_t policy;
    bool first_lane;
    int lane;

    /* once: is what is copied read once? Then it is the first to leave the second-level cache (sm_90), before what
     * later kernels need, code, partial results and maps. */
    __device__ __forceinline__ void init(void *barriers, int own_lane, bool once)
    {
        barrier = (uint64_t *)barriers;
        policy = cache_policy(once);
        phases = 0;
        lane = own_lane;
        first_lane = lane == 0;
#ifdef KVC_EMULATE
        if (first_lane)
            for (int i = 0; i < STAGES; i++) emulate_barrier_init(barrier + i);
#elif COPY_BARRIERS
        if (first_lane) {
            for (int i = 0; i < STAGES; i++)
                asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address(barrier + i)) : "memory");
            asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        }
#endif
        __syncwarp();
    }

#if COPY_BARRIERS && !defined(KVC_EMULATE)
    __device__ static __forceinline__ uint64_t cache_policy(bool once)
    {
        uint64_t first, normal;
        asm("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(first));
        asm("createpolicy.fractional.L2::evict_normal.b64 %0, 1.0;" : "=l"(normal));
        return once ? first : normal;
    }
#else
    __device__ static __forceinline__ uint64_t cache_policy(bool)
    {
        return 0;
    }
#endif

#ifdef KVC_EMULATE
    template <int COPIES> void ask(int stage, int all, void *to, const void *from, int n)
    {
        if (first_lane) emulate_barrier_expect(barrier + stage, (uint32_t)all);
        __syncwarp();
        if (lane < COPIES && n) emulate_barrier_copy(barrier + stage, to, from, (uint32_t)n);
    }
    void skip() {}
    void reuse() {}
    void wait(int stage)
    {
        emulate_barrier_wait(barrier + stage, phases >> stage & 1u);
        phases ^= 1u << stage;
    }
#elif COPY_BARRIERS
    __device__ static __forceinline__ uint32_t address(const void *p)
    {
        return (uint32_t)__cvta_generic_to_shared(p);
    }
    template <int COPIES> __device__ __forceinline__ void ask(int stage, int all, void *to, const void *from, int n)
    {
        uint32_t own = address(barrier + stage);
        if (first_lane)
            asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(own), "r"(all) : "memory");
        if (lane < COPIES && n)
            asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], "
                         "[%1], %2, [%3], %4;" ::"r"(address(to)),
                         "l"(from), "r"(n), "r"(own), "l"(policy)
                         : "memory");
    }
    __device__ __forceinline__ void skip() {}
    __device__ __forceinline__ void reuse()
    {
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
    }
    __device__ __forceinline__ void wait(int stage)
    {
        uint32_t parity = phases >> stage & 1u, done = 0;
        while (!done)
            asm volatile(
                "{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
                : "=r"(done)
                : "r"(address(barrier + stage)), "r"(parity)
                : "memory");
        phases ^= 1u << stage;
    }
#else
    template <int COPIES> __device__ __forceinline__ void ask(int, int, void *to, const void *from, int n)
    {
#pragma unroll
        for (int k = 0; k < COPIES; k++) {
            uint32_t shared = __shfl_sync(~0u, (uint32_t)__cvta_generic_to_shared(to), k);
            uint64_t at_k = __shfl_sync(~0u, (unsigned long long)from, k);
            int n_k = __shfl_sync(~0u, n, k);
            for (int at = lane * 16; at < n_k; at += 512)
                asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared + at), "l"(at_k + at)
                             : "memory");
        }
        skip();
    }
    __device__ __forceinline__ void skip()
    {
        asm volatile("cp.async.commit_group;" ::: "memory");
    }
    __device__ __forceinline__ void reuse() {}
    __device__ __forceinline__ void wait(int)
    {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 1) : "memory");
        __syncwarp();
    }
#endif
};

/* ---- products and transposes of a warp ----
 * With lane = 4 g + t: c [16][8] fp32, += a [16][16] b [16][8], fp16 in pairs:
 *     a[0] (row g, columns 2t, 2t+1)  a[1] (row g+8)  a[2] (row g, columns 2t+8, 2t+9)  a[3] (row g+8, the same)
 *     b[0] (rows 2t, 2t+1, column g)  b[1] (rows 2t+8, 2t+9)
 *     c[0], c[1] (row g, columns 2t, 2t+1)  c[2], c[3] (row g+8)
 * and the same of a [16][8] b [8][8], whose registers are the first halves of these. Subnormal fp16 numbers count as
 * they are. Of bfloat16 the first of these (_bf16).
 *
 * Of bytes: c [16][8] of 32 bits as above, += (mma_16x8x32) or = (_first) a [16][32] times b [32][8], each with a
 * sign or without:
 *     a[0] (row g, columns 4t .. 4t+3)  a[1] (row g+8)
 *     a[2] (row g, columns 4t+16 .. 4t+19)  a[3] (row g+8, the same)
 *     b[0] (rows 4t .. 4t+3, column g)  b[1] (rows 4t+16 .. 4t+19)
 *
 * A transpose of [8][8] of 16 bits: given row g, columns 2t and 2t+1; got column g, rows 2t and 2t+1. Of four in
 * shared memory (load_transposed; load_matrices: as they are): lane 8 i + r says where row r of number i is, 16
 * bytes, aligned. */

#ifdef KVC_EMULATE
template <bool SIGNED_A, bool SIGNED_B>
static inline void mma_16x8x32(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    emulate_mma_bytes(c, a, b, SIGNED_A, SIGNED_B);
}
template <bool SIGNED_A, bool SIGNED_B>
static inline void mma_16x8x32_first(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    c[0] = c[1] = c[2] = c[3] = 0;
    emulate_mma_bytes(c, a, b, SIGNED_A, SIGNED_B);
}
static inline uint32_t transpose_8x8(uint32_t pair)
{
    return emulate_transpose(pair);
}
static inline void load_transposed(const uint8_t *row, uint32_t out[4])
{
    emulate_load_transposed(row, out);
}
static inline void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emulate_mma(c, a, b);
}
static inline void mma_16x8x16_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emulate_mma_bf16(c, a, b);
}
static inline void mma_16x8x8(float c[4], const uint32_t a[2], uint32_t b)
{
    const uint32_t wide_a[4] = {a[0], a[1], 0, 0}, wide_b[2] = {b, 0};
    emulate_mma(c, wide_a, wide_b);
}
static inline float exp2_fast(float x)
{
    return exp2f(x);
}
static inline float divide_fast(float x, float y)
{
    return x / y;
}
#else
__device__ __forceinline__ void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_16x8x16_bf16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_16x8x8(float c[4], const uint32_t a[2], uint32_t b)
{
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(b));
}
#define KVC_MMA_BYTES(type_a, type_b)                                                                                \
    asm("mma.sync.aligned.m16n8k32.row.col.s32." type_a "." type_b ".s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "    \
        "{%10,%11,%12,%13};"                                                                                         \
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3])                                                             \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "r"(to[0]), "r"(to[1]), "r"(to[2]),      \
          "r"(to[3]))
/* c = to + a b */
template <bool SIGNED_A, bool SIGNED_B>
__device__ __forceinline__ void mma_bytes(int c[4], const uint32_t a[4], const uint32_t b[2], const int to[4])
{
    if (SIGNED_A && SIGNED_B)
        KVC_MMA_BYTES("s8", "s8");
    else if (SIGNED_A)
        KVC_MMA_BYTES("s8", "u8");
    else if (SIGNED_B)
        KVC_MMA_BYTES("u8", "s8");
    else
        KVC_MMA_BYTES("u8", "u8");
}
template <bool SIGNED_A, bool SIGNED_B>
__device__ __forceinline__ void mma_16x8x32(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    mma_bytes<SIGNED_A, SIGNED_B>(c, a, b, c);
}
template <bool SIGNED_A, bool SIGNED_B>
__device__ __forceinline__ void mma_16x8x32_first(int c[4], const uint32_t a[4], const uint32_t b[2])
{
    const int none[4] = {0, 0, 0, 0};
    mma_bytes<SIGNED_A, SIGNED_B>(c, a, b, none);
}
#undef KVC_MMA_BYTES
__device__ __forceinline__ uint32_t transpose_8x8(uint32_t pair)
{
    uint32_t out;
    asm("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
    return out;
}
__device__ __forceinline__ void load_transposed(const uint8_t *row, uint32_t out[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row))
                 : "memory");
}
/* 2^x, relative error 2^-22; 2^-inf = 0 */
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
/* Relative error 2^-22; x / inf = 0 */
__device__ __forceinline__ float divide_fast(float x, float y)
{
    return __fdividef(x, y);
}
#endif

/* ---- look-ups in shared memory ----
 * Of rows of ROW bytes the address of the one that byte k of a word says: one instruction, where a pointer takes
 * another to add its base. What is loaded by such an address has to be there before the word is. */
#ifdef KVC_EMULATE
typedef const uint8_t *shared_address;
static inline shared_address shared_address_of(const void *at)
{
    return (shared_address)at;
}
static inline void load_matrices(shared_address row, uint32_t out[4])
{
    emulate_load_matrices(row, out);
}
template <int ROW> static inline shared_address shared_row(shared_address first, uint32_t word, int k)
{
    return first + (word >> 8 * k & 255u) * ROW;
}
template <int BYTES> static inline void load_shared(shared_address at, uint32_t *words)
{
    words[0] = 0;
    for (int i = 0; i < BYTES; i++) ((uint8_t *)words)[i] = at[i];
}
#else
typedef uint32_t shared_address;
__device__ __forceinline__ shared_address shared_address_of(const void *at)
{
    return (uint32_t)__cvta_generic_to_shared(at);
}
__device__ __forceinline__ void load_matrices(shared_address row, uint32_t out[4])
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(row)
                 : "memory");
}
template <int ROW> __device__ __forceinline__ shared_address shared_row(shared_address first, uint32_t word, int k)
{
    const uint32_t pick = (uint32_t)ROW << k % 2 * 16;
    return k < 2 ? __dp2a_lo(pick, word, first) : __dp2a_hi(pick, word, first);
}
/* BYTES (2, 4, 8 or 16) to words. */
template <int BYTES> __device__ __forceinline__ void load_shared(shared_address at, uint32_t *words)
{
    if (BYTES == 16)
        asm("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
            : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
            : "r"(at));
    else if (BYTES == 8)
        asm("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(words[0]), "=r"(words[1]) : "r"(at));
    else if (BYTES == 4)
        asm("ld.shared.u32 %0, [%1];" : "=r"(words[0]) : "r"(at));
    else
        asm("ld.shared.u16 %0, [%1];" : "=r"(words[0]) : "r"(at));
}
#endif

#endif
