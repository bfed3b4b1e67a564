/* strip_rows.cu - queries into a strip, results out of it. */
#include "op.h"

#include "launch.cuh"
#include "rows.cuh"

__global__ static void gather_queries(op_rows rows, size_t total, size_t n_heads, size_t d, const float *q,
                                      float scale, float *out)
{
    for (size_t at = loop_first(); at < total; at += loop_step()) {
        size_t i = at % d, r = at / d % rows.n, head = at / d / rows.n;
        out[at] = q[(row_position(rows, (uint32_t)r) * n_heads + head) * d + i] * scale;
    }
}

extern "C" cudaError_t op_gather_queries(op_rows rows, uint32_t n_heads, uint32_t head_dim, const float *q,
                                         float scale, float *out, cudaStream_t stream)
{
    size_t total = (size_t)rows.n * n_heads * head_dim;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(gather_queries, loop_grid(total), THREADS, 0, stream, rows, total, n_heads, head_dim, q, scale, out);
    return KVC_LAUNCHED();
}

__global__ static void scatter_rows(size_t total, size_t n, size_t n_heads, size_t d, const float *from, size_t ld,
                                    float *to)
{
    for (size_t at = loop_first(); at < total; at += loop_step()) {
        size_t i = at % d, head = at / d % n_heads, r = at / d / n_heads;
        to[at] = from[(head * n + r) * ld + i];
    }
}

extern "C" cudaError_t op_scatter_rows(uint32_t n, uint32_t n_heads, uint32_t head_dim, const float *from, size_t ld,
                                       float *to, cudaStream_t stream)
{
    size_t total = (size_t)n * n_heads * head_dim;
    if (total == 0) return cudaSuccess;
    KVC_LAUNCH(scatter_rows, loop_grid(total), THREADS, 0, stream, total, n, n_heads, head_dim, from, ld, to);
    return KVC_LAUNCHED();
}
