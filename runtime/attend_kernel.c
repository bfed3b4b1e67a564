/* attend_kernel.c - scores, exponentials and weighted sums; attend_kernel.h says what makes them reproducible. */
#include "attend_kernel.h"
#include "simd.h"

#define SHUFFLE __builtin_shufflevector

/* Lane i of the result is the sum of the lanes of a[i], added as ((0+1)+(2+3))+((4+5)+(6+7)). */
KVC_INLINE v8 add_lanes(const v8 a[8])
{
    v8 pairs[4], quads[2];
    for (int i = 0; i < 4; i++)
        pairs[i] = SHUFFLE(a[2 * i], a[2 * i + 1], 0, 8, 2, 10, 4, 12, 6, 14) +
                   SHUFFLE(a[2 * i], a[2 * i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    for (int i = 0; i < 2; i++)
        quads[i] = SHUFFLE(pairs[2 * i], pairs[2 * i + 1], 0, 1, 8, 9, 4, 5, 12, 13) +
                   SHUFFLE(pairs[2 * i], pairs[2 * i + 1], 2, 3, 10, 11, 6, 7, 14, 15);
    return SHUFFLE(quads[0], quads[1], 0, 1, 2, 3, 8, 9, 10, 11) +
           SHUFFLE(quads[0], quads[1], 4, 5, 6, 7, 12, 13, 14, 15);
}

KVC_CLONES void kvci_kernel_scores(const float *q, const float *rows, uint32_t n_rows, uint32_t dim, float bias,
                                   float *scores)
{
    for (uint32_t row = 0; row < n_rows; row += KVC_LANES) {
        const float *x = rows + (size_t)row * dim;
        v8 sum[KVC_LANES] = {0};
        for (uint32_t c = 0; c < dim; c += KVC_LANES) {
            v8 query = v8_load(q + c);
            for (uint32_t i = 0; i < KVC_LANES; i++) sum[i] += query * v8_load(x + (size_t)i * dim + c);
        }
        v8_store(scores + row, add_lanes(sum) + bias);
    }
}

/* exp(x), -86 <= x <= 0: x = n ln 2 + r, the series of exp(r) to degree 7 (|r| < .35: truncated below 1e-8), times
 * 2^n. */
KVC_INLINE v8 exponential(v8 x)
{
    const float to_integer = 0x1.8p23f; /* adding it leaves n in the low bits */
    x = v8_choose(x > -86.0f, x, v8_all(-86.0f));
    v8 shifted = x * 0x1.715476p0f + to_integer, n = shifted - to_integer;
    v8 r = (x - n * 0x1.62ep-1f) - n * 0x1.0bfbe8p-15f;
    v8 sum = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
    sum = sum * r + 1.0f / 120.0f;
    sum = sum * r + 1.0f / 24.0f;
    sum = sum * r + 1.0f / 6.0f;
    sum = sum * r + 0.5f;
    sum = sum * r + 1.0f;
    sum = sum * r + 1.0f;
    return (v8)((v8i)sum + ((v8i)shifted << 23));
}

/* tanh |x| = (1 - e) / (1 + e), e = exp(-2 |x|) */
KVC_CLONES void kvci_kernel_softcap(float *scores, uint32_t n_rows, float cap)
{
    const v8i sign = (v8i){0} + INT32_MIN;
    for (uint32_t i = 0; i < n_rows; i += KVC_LANES) {
        v8 x = v8_load(scores + i) / cap, minus = (v8)((v8i)x | sign), e = exponential(minus + minus);
        v8 y = cap * ((1.0f - e) / (1.0f + e));
        v8_store(scores + i, (v8)((v8i)y | ((v8i)x & sign)));
    }
}

/* Lanes of rows i .. i + 7 that are in first .. end - 1. */
KVC_INLINE v8i lanes_in(uint32_t i, uint32_t first, uint32_t end)
{
    const v8i row = (v8i){0, 1, 2, 3, 4, 5, 6, 7} + (int32_t)i;
    return (row >= (v8i){0} + (int32_t)first) & (row < (v8i){0} + (int32_t)end);
}

KVC_CLONES float kvci_kernel_softmax(float *p, uint32_t n_rows, uint32_t first, uint32_t end, float *max,
                                     float *scale)
{
    v8 most = v8_all(*max), total = {0};
    for (uint32_t i = 0; i < n_rows; i += KVC_LANES) {
        v8 score = v8_load(p + i);
        v8i visible = lanes_in(i, first, end);
        most = v8_choose(visible & (score > most), score, most);
    }
    float peak = most[0];
    for (uint32_t i = 1; i < KVC_LANES; i++) peak = most[i] > peak ? most[i] : peak;
    for (uint32_t i = 0; i < n_rows; i += KVC_LANES) {
        v8i visible = lanes_in(i, first, end);
        v8 weight = v8_choose(visible, exponential(v8_load(p + i) - peak), (v8){0});
        v8_store(p + i, weight);
        total += weight;
    }
    *scale = exponential(v8_all(*max - peak))[0];
    *max = peak;
    return ((total[0] + total[1]) + (total[2] + total[3])) + ((total[4] + total[5]) + (total[6] + total[7]));
}

/* `n` vectors of a row stay in registers while all rows pass. */
KVC_INLINE void accumulate_part(const float *p, const float *rows, uint32_t n_rows, uint32_t dim, float *o,
                                const uint32_t n)
{
    v8 sum[8];
    for (uint32_t i = 0; i < n; i++) sum[i] = v8_load(o + i * KVC_LANES);
    for (uint32_t row = 0; row < n_rows; row++, rows += dim)
        for (uint32_t i = 0; i < n; i++) sum[i] += p[row] * v8_load(rows + i * KVC_LANES);
    for (uint32_t i = 0; i < n; i++) v8_store(o + i * KVC_LANES, sum[i]);
}

KVC_CLONES void kvci_kernel_accumulate(const float *p, const float *rows, uint32_t n_rows, uint32_t dim, float *o)
{
    uint32_t c = 0;
    for (; c + 64 <= dim; c += 64) accumulate_part(p, rows + c, n_rows, dim, o + c, 8);
    for (; c + 16 <= dim; c += 16) accumulate_part(p, rows + c, n_rows, dim, o + c, 2);
    if (c < dim) accumulate_part(p, rows + c, n_rows, dim, o + c, 1);
}
