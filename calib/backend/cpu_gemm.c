/* cpu_gemm.c - y = x w^T by OpenBLAS, one single-threaded call per block of y.
 *
 * A block packs its own rows of x and w, which costs about 1/rows + 1/columns of the product: 256 x 768 stays
 * within 5 % of the library's peak and still gives a layer of a small model a dozen tasks. Few rows
 * (decoding) are bound by reading w instead and are cut into narrow columns. Blocks depend on the shape
 * alone. */
#include "cpu_internal.h"

#include <cblas.h>
#include <string.h>

#define ROWS 256
#define COLUMNS 768
#define COLUMNS_FEW_ROWS 64

typedef struct product {
    size_t m, n, k;
    const float *x, *w, *bias;
    int accumulate;
    float *y;
} product;

/* What the product is added to; returns beta. */
static float start_block(const product *p, size_t row, size_t rows, size_t column, size_t columns)
{
    if (!p->bias) return p->accumulate ? 1.0f : 0.0f;
    const float *bias = p->bias + column;
    for (size_t r = row; r < row + rows; r++) {
        float *y = p->y + r * p->n + column;
        if (p->accumulate)
            for (size_t i = 0; i < columns; i++) y[i] += bias[i];
        else
            memcpy(y, bias, columns * sizeof *y);
    }
    return 1.0f;
}

static void multiply_block(const product *p, size_t row, size_t rows, size_t column, size_t columns)
{
    float beta = start_block(p, row, rows, column, columns);
    const float *x = p->x + row * p->k, *w = p->w + column * p->k;
    float *y = p->y + row * p->n + column;
    if (rows == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)columns, (int)p->k, 1.0f, w, (int)p->k, x, 1, beta, y, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)p->k, 1.0f, x, (int)p->k,
                    w, (int)p->k, beta, y, (int)p->n);
}

kvc_status cpu_gemm(backend *b, size_t m, size_t n, size_t k, const float *x, const void *w, const float *bias,
                    int accumulate, float *y, kvc_error *err)
{
    (void)b, (void)err;
    product p = {m, n, k, x, w, bias, accumulate, y};
    size_t rows = m >= 4 * ROWS ? ROWS : cpu_max(32, cpu_min(ROWS, cpu_blocks(m, 4)));
    size_t columns = m >= 32 ? COLUMNS : COLUMNS_FEW_ROWS;
    size_t down = cpu_blocks(m, rows), across = cpu_blocks(n, columns);
#pragma omp parallel for schedule(dynamic) if (m * n * k > CPU_SMALL)
    for (size_t i = 0; i < down * across; i++) {
        size_t row = i % down * rows, column = i / down * columns;
        multiply_block(&p, row, cpu_min(rows, m - row), column, cpu_min(columns, n - column));
    }
    return KVC_OK;
}
