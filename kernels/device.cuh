/* device.cuh - what CUDA C has no words for, each with a form for tests that run kernels on a CPU
 * (tests/gpu/emulate): dynamic shared memory, the start of a kernel, copies in the background, products of a warp. */
#ifndef KERNELS_DEVICE_CUH
#define KERNELS_DEVICE_CUH
#include <stdint.h>

#ifdef KVC_EMULATE
#define KVC_SHARED(type, name) type *name = (type *)(void *)emulate_shared
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    ((void)(stream), emulate_launch(grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); }))
#else
#define KVC_SHARED(type, name)                                                                                       \
    extern __shared__ uint4 kvc_shared_[];                                                                           \
    type *name = (type *)(void *)kvc_shared_
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#endif

/* ---- copies of 16 bytes from global to shared memory, in the background (sm_80) ----
 * A lane's copies since its last copy_commit() are a group; copy_wait<n>() leaves at most the n newest groups under
 * way. Other lanes see the bytes after a barrier behind that. */

#ifdef KVC_EMULATE
static inline void copy_async16(void *shared, const void *global)
{
    emulate_copy(shared, global, 16);
}
static inline void copy_commit(void)
{
    emulate_copy_commit();
}
template <int N> static inline void copy_wait(void)
{
    emulate_copy_wait(N);
}
#else
__device__ __forceinline__ void copy_async16(void *shared, const void *global)
{
    uint32_t to = (uint32_t)__cvta_generic_to_shared(shared);
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
}
__device__ __forceinline__ void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N> __device__ __forceinline__ void copy_wait(void)
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif

/* ---- products of a warp ----
 * With lane = 4 g + t: c [16][8] fp32, += a [16][16] b [16][8], fp16 in pairs:
 *     a[0] (row g, columns 2t, 2t+1)  a[1] (row g+8)  a[2] (row g, columns 2t+8, 2t+9)  a[3] (row g+8, the same)
 *     b[0] (rows 2t, 2t+1, column g)  b[1] (rows 2t+8, 2t+9)
 *     c[0], c[1] (row g, columns 2t, 2t+1)  c[2], c[3] (row g+8)
 * Subnormal fp16 numbers count as they are. */

#ifdef KVC_EMULATE
static inline void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emulate_mma(c, a, b);
}
/* Lane 4 g + t gives row g, columns 2t, 2t+1 of an [8][8] matrix of fp16 and gets column g, rows 2t, 2t+1. */
static inline uint32_t transpose_8x8(uint32_t pair)
{
    return emulate_transpose(pair);
}
static inline float exp2_fast(float x)
{
    return exp2f(x);
}
#else
__device__ __forceinline__ void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ uint32_t transpose_8x8(uint32_t pair)
{
    uint32_t out;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(out) : "r"(pair));
    return out;
}
/* 2^x, relative error 2^-22; 2^-inf = 0 */
__device__ __forceinline__ float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
#endif

#endif
