/* cpu_metric.c - M_h = W_h' W_h of every query head. W [rows][n_heads d] is transposed first, so that a head's
 * columns are rows and the product is cpu_gemm()'s. Cost: 2 rows d^2 flops a head; W again in memory. */
#include "cpu_internal.h"

#include <stdlib.h>

kvc_status cpu_output_metric(backend *b, size_t rows, size_t n_heads, size_t head_dim, const void *w, float *metric,
                             kvc_error *err)
{
    size_t n = n_heads * head_dim, d = head_dim;
    const float *from = w;
    float *to = malloc((n * rows + 1) * sizeof *to);
    if (!to) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a transposed weight of %zu values", n * rows);
    for (size_t row = 0; row < rows; row++)
        for (size_t c = 0; c < n; c++) to[c * rows + row] = from[row * n + c];
    for (size_t h = 0; h < n_heads; h++) /* never fails */
        cpu_gemm(b, d, d, rows, to + h * d * rows, to + h * d * rows, NULL, 0, metric + h * d * d, err);
    free(to);
    return KVC_OK;
}
