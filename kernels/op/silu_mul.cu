/* silu_mul.cu - the gated activation, in place. */
#include "op.h"

#include "launch.cuh"

__global__ static void silu_mul(size_t n, float *gate, const float *up)
{
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        float x = gate[i];
        gate[i] = x / (1.0f + expf(-x)) * up[i];
    }
}

extern "C" cudaError_t op_silu_mul(size_t n, float *gate, const float *up, cudaStream_t stream)
{
    if (n == 0) return cudaSuccess;
    KVC_LAUNCH(silu_mul, loop_grid(n), THREADS, 0, stream, n, gate, up);
    return KVC_LAUNCHED();
}
