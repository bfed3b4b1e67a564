/* cuda_moments.c - weighted first and second moments of rows, per head, in double by cuBLAS.
 *
 * With a column of ones behind the channels, Y = (X, 1) and Z = w Y, one product Y' Z holds all three moments: the
 * second of X, the first in the column behind it, the weight in the corner. Rows come CHUNK at a time, all heads in
 * one batch. Cost: 2 (d + 8)^2 flops per row and head, 16 (d + 8) bytes written and read. */
#include "cuda_internal.h"

#include <stdlib.h>

#define CHUNK ((size_t)1 << 22) /* doubles of Y and of Z */

typedef struct moments_job {
    size_t rows, n_heads, d, width, chunk; /* width: d + 1, padded; chunk: rows at a time */
    double *y, *z, *weights, *sums; /* [n_heads][chunk][width] twice, [n_heads][rows], [n_heads][width][width] */
} moments_job;

/* sums += Y' Z; row-major as it is here, cuBLAS computes (Z' Y)' */
static kvc_status add_rows(cuda_state *s, const moments_job *j, size_t first, size_t n, const float *x,
                           kvc_error *err)
{
    const double one = 1;
    int64_t width = (int64_t)j->width;
    long long rows = (long long)(n * j->width), square = (long long)(j->width * j->width);
    KVC_TRY_CUDA(op_weighted_rows(n, j->n_heads, j->d, x + first * j->n_heads * j->d, j->weights + first, j->rows,
                                  j->width, j->y, j->z, s->compute));
    KVC_TRY_CUBLAS(s, s->blas.double_products(s->handle, CUBLAS_OP_N, CUBLAS_OP_T, width, width, (int64_t)n, &one,
                                              j->z, width, rows, j->y, width, rows, &one, j->sums, width, square,
                                              (int64_t)j->n_heads));
    return KVC_OK;
}

/* The upper triangle speaks for both: the lower one may differ by rounding. */
static void add_head(const moments_job *j, const double *sums, double *weight, double *first, double *second)
{
    size_t d = j->d, width = j->width;
    *weight += sums[d * width + d];
    for (size_t a = 0; a < d; a++) {
        first[a] += sums[a * width + d];
        for (size_t b = 0; b < d; b++) second[a * d + b] += a <= b ? sums[a * width + b] : sums[b * width + a];
    }
}

static kvc_status put_weights(cuda_state *s, const moments_job *j, const double *weights, size_t stride,
                              kvc_error *err)
{
    for (size_t head = 0; head < j->n_heads; head++)
        KVC_TRY(cuda_put(s, j->weights + head * j->rows, weights + head * stride, j->rows * sizeof *weights, err));
    return KVC_OK;
}

static moments_job plan_job(size_t rows, size_t n_heads, size_t head_dim)
{
    moments_job j = {.rows = rows, .n_heads = n_heads, .d = head_dim, .width = (head_dim + 8) & ~(size_t)7};
    j.chunk = CHUNK / (n_heads * j.width);
    j.chunk = j.chunk < 256 ? 256 : j.chunk;
    j.chunk = j.chunk < rows ? j.chunk : rows;
    return j;
}

static size_t sums_bytes(const moments_job *j)
{
    return j->n_heads * j->width * j->width * sizeof *j->sums;
}

static void list_parts(moments_job *j, cuda_part out[4])
{
    size_t rows = j->n_heads * j->chunk * j->width * sizeof *j->y;
    out[0] = (cuda_part){&j->y, rows};
    out[1] = (cuda_part){&j->z, rows};
    out[2] = (cuda_part){&j->weights, j->n_heads * j->rows * sizeof *j->weights};
    out[3] = (cuda_part){&j->sums, sums_bytes(j)};
}

/* Those of the queries. */
size_t cuda_moments_bytes(const scratch_shape *s)
{
    cuda_part parts[4];
    moments_job j = plan_job(s->n_tokens, s->n_heads, s->head_dim);
    list_parts(&j, parts);
    return cuda_parts_bytes(parts, 4);
}

static kvc_status run_job(cuda_state *s, moments_job *j, const float *x, const double *weights, size_t stride,
                          kvc_error *err)
{
    cuda_part parts[4];
    list_parts(j, parts);
    KVC_TRY(cuda_scratch(s, parts, 4, err));
    KVC_TRY(put_weights(s, j, weights, stride, err));
    KVC_TRY_CUDA(cudaMemsetAsync(j->sums, 0, sums_bytes(j), s->compute));
    for (size_t at = 0; at < j->rows; at += j->chunk)
        KVC_TRY(add_rows(s, j, at, j->rows - at < j->chunk ? j->rows - at : j->chunk, x, err));
    return KVC_OK;
}

kvc_status cuda_moments(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *x,
                        const double *weights, size_t weight_stride, double *weight, double *first, double *second,
                        kvc_error *err)
{
    cuda_state *s = b->state;
    if (rows == 0 || n_heads == 0) return KVC_OK;
    moments_job j = plan_job(rows, n_heads, head_dim);
    size_t square = j.width * j.width, bytes = sums_bytes(&j), d = head_dim;
    KVC_TRY(CUDA_BEGIN(b, err, x));
    KVC_TRY(run_job(s, &j, x, weights, weight_stride, err));
    double *sums = malloc(bytes);
    if (!sums) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the moments of %zu heads", n_heads);
    kvc_status status = cuda_fetch(s, sums, j.sums, bytes, err);
    for (size_t h = 0; h < n_heads && status == KVC_OK; h++)
        add_head(&j, sums + h * square, weight + h, first + h * d, second + h * d * d);
    free(sums);
    return status;
}
