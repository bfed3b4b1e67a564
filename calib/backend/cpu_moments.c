/* cpu_moments.c - weighted first and second moments of rows, per head, in double.
 *
 * Rows come in blocks of BLOCK, converted to double: Y = X and Z = w X, second += Y' Z. A dgemm costs no more here
 * than the dsyrk of sqrt(w) X (47 and 45 us for 256 x 64, 174 and 132 us for 256 x 128) and takes weights of any
 * sign. A task is one head and one of PARTS fixed runs of blocks; its sums are its own and are added in task order:
 * threads change nothing. Cost: 2 d^2 flops per row and head; memory PARTS n_heads d^2 doubles. */
#include "cpu_internal.h"

#include <cblas.h>
#include <stdlib.h>

#define BLOCK 256
#define PARTS 4

typedef struct moments_job {
    size_t rows, n_heads, d, stride; /* of weights */
    const float *x;
    const double *weights;
    double *sums; /* [n_heads][PARTS][1 + d + d d]: weight, first, second */
} moments_job;

static size_t sums_of(size_t d)
{
    return 1 + d + d * d;
}

/* Adds rows [first, first + n) of one head; y, z [BLOCK][d] scratch. */
static void add_block(const moments_job *s, size_t head, size_t first, size_t n, double *y, double *z, double *sums)
{
    size_t d = s->d;
    for (size_t r = 0; r < n; r++) {
        const float *x = s->x + ((first + r) * s->n_heads + head) * d;
        double w = s->weights[head * s->stride + first + r];
        sums[0] += w;
        for (size_t i = 0; i < d; i++) {
            y[r * d + i] = x[i];
            z[r * d + i] = w * x[i];
            sums[1 + i] += z[r * d + i];
        }
    }
    cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)d, (int)d, (int)n, 1.0, y, (int)d, z, (int)d, 1.0,
                sums + 1 + d, (int)d);
}

static void run_part(const moments_job *s, size_t task, double *scratch)
{
    size_t blocks = cpu_blocks(s->rows, BLOCK), part = task % PARTS;
    double *sums = s->sums + task * sums_of(s->d);
    for (size_t i = blocks * part / PARTS; i < blocks * (part + 1) / PARTS; i++)
        add_block(s, task / PARTS, i * BLOCK, cpu_min(BLOCK, s->rows - i * BLOCK), scratch, scratch + BLOCK * s->d,
                  sums);
}

/* The upper triangle speaks for both: the lower one may differ by rounding. */
static void add_parts(const moments_job *s, size_t head, double *weight, double *first, double *second)
{
    size_t d = s->d;
    for (size_t part = 0; part < PARTS; part++) {
        const double *own = s->sums + (head * PARTS + part) * sums_of(d), *square = own + 1 + d;
        weight[head] += own[0];
        for (size_t i = 0; i < d; i++) first[head * d + i] += own[1 + i];
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                second[(head * d + i) * d + j] += i <= j ? square[i * d + j] : square[j * d + i];
    }
}

kvc_status cpu_moments(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *x,
                       const double *weights, size_t weight_stride, double *weight, double *first, double *second,
                       kvc_error *err)
{
    (void)b;
    moments_job s = {rows, n_heads, head_dim, weight_stride, x, weights, NULL};
    size_t failed = 0;
    s.sums = calloc(n_heads * PARTS * sums_of(head_dim) + 1, sizeof *s.sums);
    if (!s.sums) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the moments of %zu heads", n_heads);
#pragma omp parallel reduction(+ : failed)
    {
        double *own = malloc(2 * BLOCK * head_dim * sizeof *own);
        failed += own == NULL;
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < n_heads * PARTS; task++)
            if (own) run_part(&s, task, own);
        free(own);
    }
    for (size_t head = 0; head < n_heads && !failed; head++) add_parts(&s, head, weight, first, second);
    free(s.sums);
    return failed ? kvc_fail(err, KVC_NO_MEMORY, "out of memory for the moments of %zu heads", n_heads) : KVC_OK;
}
