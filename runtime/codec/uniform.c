/* uniform.c - uniform.h: scales and minima of columns. */
#include "codec/uniform.h"
#include <string.h>

KVC_CLONES static void column_extremes(const float *restrict y, uint32_t rows, uint32_t stride, uint32_t n,
                                       float *restrict lo, float *restrict hi)
{
    memcpy(lo, y, n * sizeof *lo);
    memcpy(hi, y, n * sizeof *hi);
    for (uint32_t row = 1; row < rows; row++) {
        const float *x = y + (size_t)row * stride;
        for (uint32_t i = 0; i < n; i++) lo[i] = x[i] < lo[i] ? x[i] : lo[i];
        for (uint32_t i = 0; i < n; i++) hi[i] = x[i] > hi[i] ? x[i] : hi[i];
    }
}

void kvci_uniform_columns(const float *y, uint32_t rows, uint32_t stride, uint32_t n, float levels, uint16_t *scales,
                          uint16_t *minima, row_scale *range, uint32_t first)
{
    float lo[KVC_MAX_ROW], hi[KVC_MAX_ROW];
    column_extremes(y, rows, stride, n, lo, hi);
    for (uint32_t i = 0; i < n; i++) {
        uniform_choose(lo[i], hi[i], levels, &scales[i], &minima[i]);
        range->scale[first + i] = half_to_float(scales[i]);
        range->minimum[first + i] = half_to_float(minima[i]);
    }
}
