/* silu_mul.cu - the gated activation, in place. */
#include "op.h"

#include <cuda_bf16.h>

#include "launch.cuh"

__global__ static void silu_mul(size_t n, float *gate, const float *up, __nv_bfloat16 *half)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        float x = gate[i], value = x / (1.0f + expf(-x)) * up[i];
        gate[i] = value;
        if (half) half[i] = __float2bfloat16_rn(value);
    }
}

extern "C" cudaError_t op_silu_mul(size_t n, float *gate, const float *up, void *half, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    KVC_LAUNCH(silu_mul, loop_grid(n), THREADS, 0, stream, n, gate, up, (__nv_bfloat16 *)half);
    return KVC_LAUNCHED();
}
