/* row_dots.cu - a warp per row. */
#include "op.h"

#include "launch.cuh"
#include "reduce.cuh"

static const unsigned WARPS = THREADS / 32;

__global__ static void row_dots(size_t rows, size_t d, const float *x, size_t share, size_t head_stride,
                                size_t row_stride, const float *y, float *out)
{
    size_t r = (size_t)blockIdx.x * WARPS + threadIdx.x / 32, head = blockIdx.y;
    if (r >= rows) return; /* whole warps */
    x += head / share * head_stride + r * row_stride;
    y += (head * rows + r) * d;
    float sum = 0;
    for (size_t i = threadIdx.x % 32; i < d; i += 32) sum += x[i] * y[i];
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) out[head * rows + r] = sum;
}

extern "C" cudaError_t op_row_dots(size_t rows, uint32_t n_heads, uint32_t head_dim, const float *x, uint32_t share,
                                   size_t head_stride, size_t row_stride, const float *y, float *out,
                                   cudaStream_t stream)
{
    if (rows == 0 || n_heads == 0) return cudaSuccess;
    dim3 grid((unsigned)blocks_of(rows, WARPS), n_heads);
    KVC_LAUNCH(row_dots, grid, THREADS, 0, stream, rows, head_dim, x, share, head_stride, row_stride, y, out);
    return KVC_LAUNCHED();
}
