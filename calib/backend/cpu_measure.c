/* cpu_measure.c - sums that the profile pass takes over rows and columns, in double.
 *
 * Every sum is cut into PARTS fixed parts that are added in order, or runs along one row or column, so that the
 * number of threads changes nothing. All are bound by memory reads: 4 bytes per value and operand. */
#include "cpu_internal.h"

#include <math.h>

#define PARTS 64
#define COLUMNS 32 /* columns that one task walks down together: two cache lines of a row */

kvc_status cpu_row_power(backend *b, size_t rows, size_t width, const float *x, double *out, kvc_error *err)
{
    (void)b, (void)err;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < width; i++) sum += (double)x[r * width + i] * x[r * width + i];
        out[r] = sum;
    }
    return KVC_OK;
}

kvc_status cpu_relative_error(backend *b, size_t n, const float *x, const float *y, double *sum, double *count,
                              kvc_error *err)
{
    (void)b, (void)err;
    double sums[PARTS], counts[PARTS];
#pragma omp parallel for schedule(static)
    for (int part = 0; part < PARTS; part++) {
        double s = 0, c = 0;
#pragma omp simd reduction(+ : s, c)
        for (size_t i = n * part / PARTS; i < n * (part + 1) / PARTS; i++) {
            float size = fabsf(x[i]), known = size > 0 ? 1.0f : 0.0f;
            s += known * (fabsf(x[i] - y[i]) / (size + (1.0f - known)));
            c += known;
        }
        sums[part] = s;
        counts[part] = c;
    }
    for (int part = 0; part < PARTS; part++) {
        *sum += sums[part];
        *count += counts[part];
    }
    return KVC_OK;
}

static void stats_columns(size_t rows, size_t width, size_t first, size_t n, const float *x, double *sum,
                          double *square, double *min, double *max)
{
    for (size_t r = 0; r < rows; r++) {
        const float *row = x + r * width + first;
        for (size_t i = 0; i < n; i++) {
            double value = row[i];
            sum[first + i] += value;
            square[first + i] += value * value;
            if (min && value < min[first + i]) min[first + i] = value;
            if (max && value > max[first + i]) max[first + i] = value;
        }
    }
}

kvc_status cpu_column_stats(backend *b, size_t rows, size_t width, const float *x, double *sum, double *square,
                            double *min, double *max, kvc_error *err)
{
    (void)b, (void)err;
#pragma omp parallel for schedule(static)
    for (size_t first = 0; first < width; first += COLUMNS) {
        size_t n = width - first < COLUMNS ? width - first : COLUMNS;
        stats_columns(rows, width, first, n, x, sum, square, min, max);
    }
    return KVC_OK;
}
