/* centre.cu - values without their mean. */
#include "op.h"

#include "launch.cuh"

__global__ static void centre(size_t total, size_t n_tokens, size_t width, const float *v, const double *sums,
                              float *out)
{
    for (size_t at = loop_first(); at < total; at += loop_step())
        out[at] = (float)(v[at] - sums[at % width] / (double)n_tokens);
}

extern "C" cudaError_t op_centre(size_t n_tokens, size_t width, const float *v, const double *sums, float *out,
                                 cudaStream_t stream)
{
    size_t total = n_tokens * width;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(centre, loop_grid(total), THREADS, 0, stream, total, n_tokens, width, v, sums, out);
    return KVC_LAUNCHED();
}
