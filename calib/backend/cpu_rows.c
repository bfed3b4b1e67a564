/* cpu_rows.c - the operations of a layer that work row by row: norm, rotary embedding, gated activation. */
#include "cpu_internal.h"

#include <math.h>

#define SILU_BLOCK 8192

CPU_CLONES static void norm_row(size_t dim, const float *x, const float *w, double eps, float *y)
{
    double square = 0;
#pragma omp simd reduction(+ : square)
    for (size_t i = 0; i < dim; i++) square += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(square / (double)dim + eps));
    for (size_t i = 0; i < dim; i++) y[i] = x[i] * scale * w[i];
}

kvc_status cpu_rmsnorm(backend *b, size_t rows, size_t dim, const float *x, const float *w, double eps, float *y,
                       kvc_error *err)
{
    (void)b, (void)err;
#pragma omp parallel for schedule(static) if (rows * dim > CPU_SMALL)
    for (size_t r = 0; r < rows; r++) norm_row(dim, x + r * dim, w, eps, y + r * dim);
    return KVC_OK;
}

/* One row: all heads turn by the same angles. */
CPU_CLONES static void rope_row(size_t n_heads, size_t half, const float *cosine, const float *sine, float *x)
{
    for (size_t h = 0; h < n_heads; h++) {
        float *low = x + h * 2 * half, *high = low + half;
#pragma omp simd
        for (size_t i = 0; i < half; i++) {
            float a = low[i], b = high[i];
            low[i] = a * cosine[i] - b * sine[i];
            high[i] = b * cosine[i] + a * sine[i];
        }
    }
}

kvc_status cpu_rope(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                    float *x, kvc_error *err)
{
    (void)b, (void)err;
    size_t half = head_dim / 2;
#pragma omp parallel for schedule(static) if (rows * n_heads * head_dim > CPU_SMALL)
    for (size_t r = 0; r < rows; r++)
        rope_row(n_heads, half, cosine + r * half, sine + r * half, x + r * n_heads * head_dim);
    return KVC_OK;
}

kvc_status cpu_silu_mul(backend *b, size_t n, float *gate, const float *up, kvc_error *err)
{
    (void)b, (void)err;
#pragma omp parallel for schedule(static) if (n > CPU_SMALL)
    for (size_t i = 0; i < n; i += SILU_BLOCK) cpu_silu_mul_row(cpu_min(SILU_BLOCK, n - i), gate + i, up + i);
    return KVC_OK;
}
