/* silu_mul.cu - the gated activation, in place. Bound by memory. */
#include "op.h"

#include <cuda_bf16.h>

#include "bf16.cuh"
#include "launch.cuh"

__device__ static float gated(float x, float up)
{
    return x / (1.0f + expf(-x)) * up;
}

__global__ static void silu_mul(size_t n, float *gate, const float *up, __nv_bfloat16 *half)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        gate[i] = gated(gate[i], up[i]);
        if (half) half[i] = __float2bfloat16_rn(gate[i]);
    }
}

/* Four at a time: gate and up from 16-byte boundaries, half from one of 8. */
__global__ static void silu_mul_wide(size_t n, float4 *gate, const float4 *up, uint2 *half)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        float4 x = gate[i], y = up[i];
        x.x = gated(x.x, y.x), x.y = gated(x.y, y.y), x.z = gated(x.z, y.z), x.w = gated(x.w, y.w);
        gate[i] = x;
        if (half) half[i] = four_bf16(x);
    }
}

extern "C" cudaError_t op_silu_mul(size_t n, float *gate, const float *up, void *half, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    if (n % 4 == 0 && ((uintptr_t)gate | (uintptr_t)up) % 16 == 0 && (uintptr_t)half % 8 == 0)
        KVC_LAUNCH(silu_mul_wide, loop_grid(n / 4), THREADS, 0, stream, n / 4, (float4 *)gate, (const float4 *)up,
                   (uint2 *)half);
    else
        KVC_LAUNCH(silu_mul, loop_grid(n), THREADS, 0, stream, n, gate, up, (__nv_bfloat16 *)half);
    return KVC_LAUNCHED();
}
