/* cpu_sensitivity_rows.c - the loops of cpu_sensitivity.c that run along one row, as vector code.
 *
 * Sums along a row run over fixed vector lanes: one machine type, one result. */
#include "cpu_internal.h"

#include <math.h>
#include <string.h>

/* An A below this counts as 0: its square would be a denormal, which some processors are slow at. */
#define NOTHING 1e-18f

CPU_CLONES float cpu_dot(size_t n, const float *x, const float *y)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

CPU_CLONES float cpu_dot_differences(size_t n, const float *x, const float *y, const float *mx, const float *my)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) sum += (x[i] - y[i]) * (mx[i] - my[i]);
    return sum;
}

CPU_CLONES void cpu_distance_row(size_t n, const float *x, float y, float *r)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++) {
        float value = x[j] + y - 2.0f * r[j];
        r[j] = value > 0 ? value : 0;
    }
}

CPU_CLONES float cpu_weigh_row(size_t n, const float *p, float factor, const float *r, float *value, float *key)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < n; j++) {
        float A = p[j] * factor;
        A = A < NOTHING ? 0 : A;
        float square = A * A, term = square * r[j];
        value[j] += square;
        key[j] += term;
        sum += term;
    }
    return sum;
}

CPU_CLONES void cpu_absolute_differences(size_t n, size_t d, const float *x, const float *y, size_t ldy, float *out)
{
    memset(out, 0, n * sizeof *out);
    for (size_t i = 0; i < d; i++)
#pragma omp simd
        for (size_t j = 0; j < n; j++) out[j] += fabsf(y[i * ldy + j] - x[i]);
}

CPU_CLONES void cpu_add_products(size_t n, float factor, const float *p, const float *x, float *y)
{
#pragma omp simd
    for (size_t j = 0; j < n; j++) y[j] += factor * p[j] * x[j];
}
