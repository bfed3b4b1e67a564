/* klt.c - transform "klt": the basis in which the error that attention sees is a plain sum over channels.
 *
 * With the metric C (C_q of keys, M_v of values; methods.md, sections 3 and 4) and the weighted covariance Sigma of
 * the rows, C^1/2 Sigma C^1/2 = U' diag(lambda) U,  lambda descending,     T = U C^1/2,     S = T^-1 = C^-1/2 U': the
 * latents T (x - mean) are uncorrelated with variances lambda, and |T e|^2 = e' C e. Dropping the last of them loses
 * least of all linear maps of that rank. C is brought to mean eigenvalue 1 and given the ridge; a metric of zero
 * counts as the identity. Sigma gets a touch of ridge, only to have the metric order directions without variance.
 *
 * The runtime holds S as fp16. It is scaled per head by a power of two (free: tables are fitted behind it), rounded,
 * and T is the inverse of what was rounded, so that rounding costs no error of its own. Where latents would then
 * leave the range that the runtime clamps them to, S is scaled up further, as far as its rows may grow. A ridge so
 * small that this is not enough, or that the rounded S is all but singular, is made larger. Three decompositions a
 * head, about 40 d^3 flops. */
#include "pieces.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "eigen.h"
#include "heads.h"

#define RIDGE_MIN 1e-8   /* of C */
#define FLAT_RIDGE 1e-9  /* of Sigma, relative to its mean eigenvalue */
#define RCOND_MIN 1e-6   /* of S: an fp32 inverse is then good to the precision of fp16 */
#define SCALE_EXPONENT 3 /* the largest entry of S is in [4, 8), where that suffices */
#define LATENT_MAX 65504.0
#define ROW_MAX 0x1p15 /* of the magnitudes of a row of S together: within fp16, and the 2^17 of FORMAT.md, "klt" */

typedef struct klt_job {
    const fit_data *data;
    double ridge;
    unsigned char *part;
} klt_job;

/* Of one head. */
typedef struct moments {
    const double *metric, *cov;  /* [d][d] */
    const double *mean, *absmax; /* [d] */
} moments;

/* Of one head, in a single allocation of 6 matrices and a vector. */
typedef struct basis {
    size_t d;
    double *root, *inverse_root;  /* C^1/2, C^-1/2 */
    double *vectors, *product;    /* U; scratch */
    double *synthesis, *analysis; /* S; scratch, then T */
    double *values;               /* [d] */
} basis;

static double mean_eigenvalue(size_t d, const double *a)
{
    double trace = 0.0;
    for (size_t i = 0; i < d; i++) trace += a[i * d + i];
    return trace / (double)d;
}

/* out = a / its mean eigenvalue, or the identity for a matrix of zero. */
static void normalised(size_t d, const double *a, double *out)
{
    double mean = mean_eigenvalue(d, a);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) out[i * d + j] = mean > 0.0 ? a[i * d + j] / mean : (double)(i == j);
}

/* root and inverse_root of the normalised metric with its ridge. */
static kvc_status roots(basis *b, const double *metric, double ridge, kvc_error *err)
{
    normalised(b->d, metric, b->product);
    KVC_TRY(eigen_symmetric(b->d, b->product, b->values, b->vectors, err));
    for (size_t i = 0; i < b->d; i++) b->values[i] = fmax(b->values[i], 0.0) + ridge;
    eigen_power(b->d, b->values, b->vectors, 0.5, b->root, b->product);
    eigen_power(b->d, b->values, b->vectors, -0.5, b->inverse_root, b->product);
    return KVC_OK;
}

/* vectors = U. */
static kvc_status principal(basis *b, const double *cov, kvc_error *err)
{
    size_t d = b->d;
    normalised(d, cov, b->analysis);
    for (size_t i = 0; i < d; i++) b->analysis[i * d + i] += FLAT_RIDGE;
    eigen_multiply(d, d, d, b->root, b->analysis, b->product);
    eigen_multiply(d, d, d, b->product, b->root, b->analysis);
    for (size_t i = 0; i < d; i++) /* symmetric to the last bit */
        for (size_t j = 0; j < i; j++) b->analysis[i * d + j] = b->analysis[j * d + i];
    return eigen_symmetric(d, b->analysis, b->values, b->vectors, err);
}

static int exponent_of(double x)
{
    int exponent = 0;
    frexp(x, &exponent); /* x <= 2^exponent */
    return exponent;
}

/* synthesis = C^-1/2 U', scaled and rounded to fp16. */
static void round_synthesis(basis *b)
{
    size_t n = b->d * b->d;
    double largest = 0.0;
    eigen_multiply_transposed(b->d, b->d, b->d, b->inverse_root, b->vectors, b->synthesis);
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(b->synthesis[i]));
    double scale = ldexp(1.0, SCALE_EXPONENT - exponent_of(largest));
    for (size_t i = 0; i < n; i++)
        b->synthesis[i] = kvc_fp16_to_float(kvc_fp16_from_float((float)(b->synthesis[i] * scale)));
}

/* The power of two that latents of the largest rows have to shrink by, at least 0: |T_i (x - mean)| is at most the
 * sum of |T_ij| (absmax_j + |mean_j|). */
static int excess_of(const basis *b, const moments *m)
{
    double most = 0.0;
    for (size_t i = 0; i < b->d; i++) {
        double sum = 0.0;
        for (size_t j = 0; j < b->d; j++) sum += fabs(b->analysis[i * b->d + j]) * (m->absmax[j] + fabs(m->mean[j]));
        most = fmax(most, sum);
    }
    return most > LATENT_MAX ? exponent_of(most / LATENT_MAX) : 0;
}

/* The power of two that S may grow by. */
static int room_of(const basis *b)
{
    double most = 0.0;
    for (size_t j = 0; j < b->d; j++) {
        double sum = 0.0;
        for (size_t i = 0; i < b->d; i++) sum += fabs(b->synthesis[j * b->d + i]);
        most = fmax(most, sum);
    }
    return -exponent_of(most / ROW_MAX);
}

/* By a power of two, up: exact. */
static void scale_synthesis(basis *b, int exponent)
{
    for (size_t i = 0; i < b->d * b->d; i++) {
        b->synthesis[i] = ldexp(b->synthesis[i], exponent);
        b->analysis[i] = ldexp(b->analysis[i], -exponent);
    }
}

/* The basis for the smallest ridge, a power of ten times `ridge`, that leaves S well conditioned and latents within
 * their range. One above 1 always does the former, and the latter but for rows at the end of their own range. */
static kvc_status fit_basis(basis *b, const moments *m, double ridge, kvc_error *err)
{
    for (ridge = fmax(ridge, RIDGE_MIN);; ridge *= 10.0) {
        double rcond;
        KVC_TRY(roots(b, m->metric, ridge, err));
        KVC_TRY(principal(b, m->cov, err));
        round_synthesis(b);
        KVC_TRY(eigen_inverse(b->d, b->synthesis, b->analysis, &rcond, err));
        int excess = excess_of(b, m), room = room_of(b);
        if ((rcond < RCOND_MIN || excess > room) && ridge <= 1e3) continue;
        scale_synthesis(b, excess < room ? excess : room);
        return KVC_OK;
    }
}

/* FORMAT.md, "klt": mean [d] fp32, T transposed [d][d] fp32, S [d][d] fp16. */
static void write_head(const basis *b, const double *mean, unsigned char *out)
{
    size_t d = b->d;
    float *means = (float *)out, *forward = means + d;
    uint16_t *inverse = (uint16_t *)(forward + d * d);
    for (size_t i = 0; i < d; i++) means[i] = (float)fmin(fmax(mean[i], -65504.0), 65504.0);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) forward[j * d + i] = (float)b->analysis[i * d + j];
    for (size_t i = 0; i < d * d; i++) inverse[i] = kvc_fp16_from_float((float)b->synthesis[i]);
}

static kvc_status fit_head(void *context, uint32_t head, kvc_error *err)
{
    const klt_job *job = context;
    size_t d = job->data->head_dim, n = d * d;
    double *memory = malloc((6 * n + d) * sizeof *memory);
    if (!memory) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a klt of %zu channels", d);
    basis b = {d, memory, memory + n, memory + 2 * n, memory + 3 * n, memory + 4 * n, memory + 5 * n, memory + 6 * n};
    moments m = {job->data->metric + head * n, job->data->cov + head * n, job->data->mean + head * d,
                 job->data->absmax + head * d};
    kvc_status status = fit_basis(&b, &m, job->ridge, err);
    if (status == KVC_OK) write_head(&b, m.mean, job->part + head * (d * 4 + n * 6));
    free(memory);
    return status;
}

kvc_status fit_klt(const fit_data *data, const fit_options *options, const kvc_coder *coder, void *part,
                   kvc_error *err)
{
    (void)coder;
    klt_job job = {data, options->ridge, part};
    return heads_run(data->n_kv_heads, fit_head, &job, err);
}
