/* cpu_softmax.c - everything that needs many exponentials.
 *
 * exp(x): n = round(x log2 e), r = x - n ln 2 in two parts (|r| <= ln 2 / 2), 1 + r + r^2 p(r) with a minimax
 * p of degree 4 (relative error 3e-9 before rounding), exponent set by an integer addition. Arguments below
 * -87 give about 1e-38 instead of a denormal, those above 88 about 1.6e38. Straight-line code, so that the
 * loops below become vector code; a softmax costs about one cycle per value with AVX-512. Sums of one row run
 * over fixed vector lanes: one machine type, one result. */
#include "cpu_internal.h"

#include <math.h>
#include <string.h>

static inline __attribute__((always_inline)) float fast_exp(float x)
{
    const float log2e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    const float shift = 0x1.8p23f; /* adding it rounds to an integer, which then is in the low bits */
    x = x < -87.0f ? -87.0f : x;
    x = x > 88.0f ? 88.0f : x;
    float shifted = x * log2e + shift, n = shifted - shift;
    float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.38145988e-3f;
    p = p * r + 8.36871658e-3f;
    p = p * r + 4.16683890e-2f;
    p = p * r + 1.66665211e-1f;
    p = p * r + 4.99999940e-1f;
    float y = p * (r * r) + r + 1.0f;
    int32_t bits, exponent;
    memcpy(&exponent, &shifted, sizeof exponent);
    memcpy(&bits, &y, sizeof bits);
    bits = (int32_t)((uint32_t)bits + ((uint32_t)exponent << 23));
    memcpy(&y, &bits, sizeof y);
    return y;
}

CPU_CLONES float cpu_row_max(const float *x, size_t n)
{
    float max = -INFINITY;
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

CPU_CLONES static float exp_row(float *x, size_t n, float max)
{
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++) {
        float e = fast_exp(x[i] - max);
        x[i] = e;
        sum += e;
    }
    return sum;
}

float cpu_softmax_step(float *x, size_t n, float *max, float *sum)
{
    float block = cpu_row_max(x, n), next = block > *max ? block : *max;
    float keep = *max == next ? 1.0f : fast_exp(*max - next);
    *sum = *sum * keep + exp_row(x, n, next);
    *max = next;
    return keep;
}

CPU_CLONES static void scale_row(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++) x[i] *= scale;
}

void cpu_softmax(float *x, size_t n)
{
    scale_row(x, n, 1.0f / exp_row(x, n, cpu_row_max(x, n)));
}

CPU_CLONES void cpu_silu_mul_row(size_t n, float *x, const float *up)
{
#pragma omp simd
    for (size_t i = 0; i < n; i++) x[i] = x[i] / (1.0f + fast_exp(-x[i])) * up[i];
}

CPU_CLONES void cpu_exp_sums(const float *x, const float *y, size_t n, float max, double *sum, double *cross)
{
    double s = 0, c = 0;
#pragma omp simd reduction(+ : s, c)
    for (size_t i = 0; i < n; i++) {
        double e = fast_exp(x[i] - max);
        s += e;
        c += e * ((double)x[i] - y[i]);
    }
    *sum += s;
    *cross += c;
}
