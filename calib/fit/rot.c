/* rot.c - transform "rot": an orthogonal map that spreads what attention cares about evenly over the channels.
 *
 * OSCAR's rotation R = U H P: the eigenvectors U of E[q q'] (keys) or of the weighted second moment of the values,
 * sorted by eigenvalue; the orthonormal Walsh-Hadamard transform H; a bit reversal P of the eigenvalues' order, which
 * for Hadamard matrices is the same before and behind H. A head that is not a power of two has one Hadamard block for
 * each of its largest power-of-two divisor n, as "had" does; eigenvalues are dealt to the blocks in turn, so that
 * each has its share of the spectrum. Orthogonal whatever the data: the runtime inverts by the transpose. One
 * decomposition a head. */
#include "pieces.h"

#include <math.h>
#include <stdlib.h>
#include "eigen.h"
#include "heads.h"

typedef struct rot_job {
    const fit_data *data;
    uint16_t *part;
    double *moments, *values, *vectors; /* [H][d][d], [H][d], [H][d][d] */
} rot_job;

/* What the eigenvectors are of: the metric of keys, cov + mean mean' of values. */
static void second_moment(const fit_data *data, uint32_t head, double *out)
{
    size_t d = data->head_dim;
    const double *mean = data->mean + head * d;
    const double *base = (data->values ? data->cov : data->metric) + head * d * d;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) out[i * d + j] = base[i * d + j] + (data->values ? mean[i] * mean[j] : 0.0);
}

static size_t bits_reversed(size_t i, size_t n)
{
    size_t reversed = 0;
    for (; n > 1; n /= 2, i /= 2) reversed = 2 * reversed + i % 2;
    return reversed;
}

/* out [j][i] = sum over eigenvectors k of vectors[k][j] H[k's place][i]. */
static void mix(size_t d, const double *vectors, double *hadamard, double *out)
{
    size_t n = d & -d, blocks = d / n;
    for (size_t k = 0; k < d; k++) { /* row k: of the eigenvector's place */
        size_t block = k % blocks, place = bits_reversed(k / blocks, n);
        for (size_t i = 0; i < d; i++) {
            double sign = __builtin_popcountll(place & i % n) % 2 ? -1.0 : 1.0;
            hadamard[i * d + k] = i / n == block ? sign / sqrt((double)n) : 0.0;
        }
    }
    double *transposed = hadamard + d * d;
    for (size_t k = 0; k < d; k++)
        for (size_t j = 0; j < d; j++) transposed[j * d + k] = vectors[k * d + j];
    eigen_multiply_transposed(d, d, d, transposed, hadamard, out);
}

static kvc_status find_moment(void *context, uint32_t head, kvc_error *err)
{
    const rot_job *job = context;
    size_t d = job->data->head_dim;
    (void)err;
    second_moment(job->data, head, job->moments + head * d * d);
    return KVC_OK;
}

static kvc_status write_head(void *context, uint32_t head, kvc_error *err)
{
    const rot_job *job = context;
    size_t d = job->data->head_dim, n = d * d;
    double *scratch = calloc(3 * n, sizeof *scratch), *mixed = scratch + 2 * n;
    if (!scratch) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a rotation of %zu channels", d);
    mix(d, job->vectors + head * n, scratch, mixed);
    for (size_t i = 0; i < n; i++) job->part[head * n + i] = kvc_fp16_from_float((float)mixed[i]);
    free(scratch);
    return KVC_OK;
}

kvc_status fit_rot(const fit_data *data, const fit_options *options, const kvc_coder *coder, void *part,
                   kvc_error *err)
{
    size_t H = data->n_kv_heads, d = data->head_dim, n = d * d;
    double *memory = malloc(H * (2 * n + d) * sizeof *memory);
    rot_job job = {data, part, memory, memory + 2 * H * n, memory + H * n};
    (void)coder;
    if (!memory) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a rotation of %zu channels", d);
    kvc_status status = heads_run(data->n_kv_heads, find_moment, &job, err);
    if (status == KVC_OK)
        status = options->b->eigen(options->b, data->n_kv_heads, d, job.moments, job.values, job.vectors, err);
    if (status == KVC_OK) status = heads_run(data->n_kv_heads, write_head, &job, err);
    free(memory);
    return status;
}
