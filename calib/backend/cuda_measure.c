/* cuda_measure.c - sums that the profile pass takes over rows and columns, in double. */
#include "cuda_internal.h"

#include <stdlib.h>

kvc_status cuda_row_power(backend *b, size_t rows, size_t width, const float *x, double *out, kvc_error *err)
{
    cuda_state *s = b->state;
    double *sums;
    const cuda_part part = {&sums, rows * sizeof *sums};
    if (rows == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x));
    KVC_TRY(cuda_scratch(s, &part, 1, err));
    KVC_TRY_CUDA(op_row_power(rows, width, x, sums, s->compute));
    return cuda_fetch(s, out, sums, rows * sizeof *sums, err);
}

kvc_status cuda_relative_error(backend *b, size_t n, const float *x, const float *y, double *sum, double *count,
                               kvc_error *err)
{
    cuda_state *s = b->state;
    double parts[OP_PARTS][2], *dev_parts;
    const cuda_part part = {&dev_parts, sizeof parts};
    KVC_TRY(CUDA_BEGIN(b, err, x, y));
    KVC_TRY(cuda_scratch(s, &part, 1, err));
    KVC_TRY_CUDA(op_relative_error(n, x, y, dev_parts, s->compute));
    KVC_TRY(cuda_fetch(s, parts, dev_parts, sizeof parts, err));
    for (size_t i = 0; i < OP_PARTS; i++) {
        *sum += parts[i][0];
        *count += parts[i][1];
    }
    return KVC_OK;
}

/* stats [4][width]: sum, square, min, max */
static void add_stats(size_t width, const double *stats, double *sum, double *square, double *min, double *max)
{
    const double *least = stats + 2 * width, *most = stats + 3 * width;
    for (size_t i = 0; i < width; i++) {
        sum[i] += stats[i];
        square[i] += stats[width + i];
        if (min && least[i] < min[i]) min[i] = least[i];
        if (max && most[i] > max[i]) max[i] = most[i];
    }
}

kvc_status cuda_column_stats(backend *b, size_t rows, size_t width, const float *x, double *sum, double *square,
                             double *min, double *max, kvc_error *err)
{
    cuda_state *s = b->state;
    size_t bytes = 4 * width * sizeof(double);
    double *dev_parts, *dev_stats;
    const cuda_part parts[] = {{&dev_parts, OP_PARTS * bytes}, {&dev_stats, bytes}};
    if (rows == 0 || width == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x));
    KVC_TRY(cuda_scratch(s, parts, 2, err));
    KVC_TRY_CUDA(op_column_stats(rows, width, x, dev_parts, dev_stats, s->compute));
    double *stats = malloc(bytes);
    if (!stats) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the statistics of %zu columns", width);
    kvc_status status = cuda_fetch(s, stats, dev_stats, bytes, err);
    if (status == KVC_OK) add_stats(width, stats, sum, square, min, max);
    free(stats);
    return status;
}
