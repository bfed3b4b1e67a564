/* round.cu - fp32 rows to bfloat16 for the tensor cores and back, and rounded to fp16 as a cache holds them. Bound by
 * memory.
 */
#include "op.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "bf16.cuh"
#include "launch.cuh"

__global__ static void to_bf16(size_t n, const float *x, __nv_bfloat16 *y)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) y[i] = __float2bfloat16_rn(x[i]);
}

/* Four at a time: x from a 16-byte boundary, y from one of 8. */
__global__ static void to_bf16_wide(size_t n, const float4 *x, uint2 *y)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) y[i] = four_bf16(x[i]);
}

extern "C" cudaError_t op_to_bf16(size_t n, const float *x, void *y, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    if (n % 4 == 0 && (uintptr_t)x % 16 == 0 && (uintptr_t)y % 8 == 0)
        KVC_LAUNCH(to_bf16_wide, loop_grid(n / 4), THREADS, 0, stream, n / 4, (const float4 *)x, (uint2 *)y);
    else
        KVC_LAUNCH(to_bf16, loop_grid(n), THREADS, 0, stream, n, x, (__nv_bfloat16 *)y);
    return KVC_LAUNCHED();
}

__global__ static void from_bf16(size_t n, const uint16_t *x, float *y)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) y[i] = __uint_as_float((uint32_t)x[i] << 16);
}

extern "C" cudaError_t op_from_bf16(size_t n, const void *x, float *y, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    KVC_LAUNCH(from_bf16, loop_grid(n), THREADS, 0, stream, n, (const uint16_t *)x, y);
    return KVC_LAUNCHED();
}

/* As kvc_rows_to_fp16() and back: a zero keeps its sign. */
__global__ static void round_fp16(size_t n, const float *x, float *y, uint32_t *nonfinite)
{
    bool bad = false;
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        float a = x[i];
        bad |= (__float_as_uint(a) & 0x7f800000u) == 0x7f800000u;
        a = a > -65504.0f ? a : -65504.0f;
        a = a < 65504.0f ? a : 65504.0f;
        y[i] = __half2float(__float2half_rn(a));
    }
    if (bad) *nonfinite = 1; /* whoever writes writes the same */
}

extern "C" cudaError_t op_round_fp16(size_t n, const float *x, float *y, uint32_t *nonfinite, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    KVC_LAUNCH(round_fp16, loop_grid(n), THREADS, 0, stream, n, x, y, nonfinite);
    return KVC_LAUNCHED();
}
