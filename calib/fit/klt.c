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

/* Of one head. */
typedef struct moments {
    const double *metric, *cov;  /* [d][d] */
    const double *mean, *absmax; /* [d] */
} moments;

/* Of one head, in a single allocation of 5 matrices. */
typedef struct basis {
    size_t d;
    double *root, *inverse_root;  /* C^1/2, C^-1/2 */
    double *product;              /* scratch */
    double *synthesis, *analysis; /* S; scratch, then T */
    double *memory;
    bool done;
} basis;

/* Of all heads: those that are not done go through each step together. */
typedef struct klt_fit {
    const fit_data *data;
    backend *b;
    unsigned char *part;
    double ridge;
    basis *heads;     /* [H] */
    uint32_t *active; /* [n_active] heads */
    uint32_t n_active;
    double *matrices, *values,
        *vectors; /* [n_active][d][d], [n_active][d], [n_active][d][d]: to be decomposed, and so */
} klt_fit;

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

/* What a step works on: number `index` of the active heads. */
typedef struct step {
    uint32_t head;
    basis *b;
    double *matrix, *values, *vectors;
} step;

static step step_of(const klt_fit *f, uint32_t index)
{
    size_t d = f->data->head_dim;
    uint32_t head = f->active[index];
    return (step){head, &f->heads[head], f->matrices + index * d * d, f->values + index * d,
                  f->vectors + index * d * d};
}

/* matrix = the normalised metric */
static kvc_status prepare_roots(void *context, uint32_t index, kvc_error *err)
{
    const klt_fit *f = context;
    step s = step_of(f, index);
    (void)err;
    normalised(s.b->d, f->data->metric + s.head * s.b->d * s.b->d, s.matrix);
    return KVC_OK;
}

/* root and inverse_root of the metric with its ridge; matrix = C^1/2 Sigma C^1/2 */
static kvc_status prepare_principal(void *context, uint32_t index, kvc_error *err)
{
    const klt_fit *f = context;
    step s = step_of(f, index);
    basis *b = s.b;
    size_t d = b->d;
    (void)err;
    for (size_t i = 0; i < d; i++) s.values[i] = fmax(s.values[i], 0.0) + f->ridge;
    eigen_power(d, s.values, s.vectors, 0.5, b->root, b->product);
    eigen_power(d, s.values, s.vectors, -0.5, b->inverse_root, b->product);
    normalised(d, f->data->cov + s.head * d * d, b->analysis);
    for (size_t i = 0; i < d; i++) b->analysis[i * d + i] += FLAT_RIDGE;
    eigen_multiply(d, d, d, b->root, b->analysis, b->product);
    eigen_multiply(d, d, d, b->product, b->root, s.matrix);
    for (size_t i = 0; i < d; i++) /* symmetric to the last bit */
        for (size_t j = 0; j < i; j++) s.matrix[i * d + j] = s.matrix[j * d + i];
    return KVC_OK;
}

static int exponent_of(double x)
{
    int exponent = 0;
    frexp(x, &exponent); /* x <= 2^exponent */
    return exponent;
}

/* synthesis = C^-1/2 U', scaled and rounded to fp16. */
static void round_synthesis(basis *b, const double *vectors)
{
    size_t n = b->d * b->d;
    double largest = 0.0;
    eigen_multiply_transposed(b->d, b->d, b->d, b->inverse_root, vectors, b->synthesis);
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

/* S and T from U (vectors); done if S is well conditioned and latents stay within their range, or the ridge is as
 * large as it gets: one above 1 always does the former, and the latter but for rows at the end of their own range. */
static kvc_status finish(void *context, uint32_t index, kvc_error *err)
{
    const klt_fit *f = context;
    step s = step_of(f, index);
    size_t d = s.b->d, n = d * d;
    moments m = {f->data->metric + s.head * n, f->data->cov + s.head * n, f->data->mean + s.head * d,
                 f->data->absmax + s.head * d};
    double rcond;
    round_synthesis(s.b, s.vectors);
    KVC_TRY(eigen_inverse(d, s.b->synthesis, s.b->analysis, &rcond, err));
    int excess = excess_of(s.b, &m), room = room_of(s.b);
    if ((rcond < RCOND_MIN || excess > room) && f->ridge <= 1e3) return KVC_OK;
    scale_synthesis(s.b, excess < room ? excess : room);
    write_head(s.b, m.mean, f->part + s.head * (d * 4 + n * 6));
    s.b->done = true;
    return KVC_OK;
}

static void list_active(klt_fit *f)
{
    f->n_active = 0;
    for (uint32_t head = 0; head < f->data->n_kv_heads; head++)
        if (!f->heads[head].done) f->active[f->n_active++] = head;
}

static kvc_status decompose(const klt_fit *f, kvc_error *err)
{
    return f->b->eigen(f->b, f->n_active, f->data->head_dim, f->matrices, f->values, f->vectors, err);
}

/* For each head the smallest ridge, a power of ten times `ridge`, with which it is done. */
static kvc_status fit_heads(klt_fit *f, double ridge, kvc_error *err)
{
    f->ridge = fmax(ridge, RIDGE_MIN);
    for (list_active(f); f->n_active > 0; list_active(f)) {
        KVC_TRY(heads_run(f->n_active, prepare_roots, f, err));
        KVC_TRY(decompose(f, err));
        KVC_TRY(heads_run(f->n_active, prepare_principal, f, err));
        KVC_TRY(decompose(f, err));
        KVC_TRY(heads_run(f->n_active, finish, f, err));
        f->ridge *= 10.0;
    }
    return KVC_OK;
}

static kvc_status allocate(klt_fit *f, kvc_error *err)
{
    size_t heads = f->data->n_kv_heads, d = f->data->head_dim, n = d * d;
    bool enough = true;
    f->heads = calloc(heads, sizeof *f->heads);
    f->active = calloc(heads, sizeof *f->active);
    f->matrices = malloc(heads * (2 * n + d) * sizeof *f->matrices);
    if (!f->heads || !f->active || !f->matrices) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a klt");
    f->vectors = f->matrices + heads * n;
    f->values = f->vectors + heads * n;
    for (size_t head = 0; head < heads; head++) {
        double *memory = malloc(5 * n * sizeof *memory);
        f->heads[head] = (basis){.d = d, .memory = memory};
        enough = enough && memory;
        if (!memory) continue;
        f->heads[head].root = memory;
        f->heads[head].inverse_root = memory + n;
        f->heads[head].product = memory + 2 * n;
        f->heads[head].synthesis = memory + 3 * n;
        f->heads[head].analysis = memory + 4 * n;
    }
    return enough ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a klt of %zu channels", d);
}

kvc_status fit_klt(const fit_data *data, const fit_options *options, const kvc_coder *coder, void *part,
                   kvc_error *err)
{
    klt_fit f = {.data = data, .b = options->b, .part = part};
    (void)coder;
    kvc_status status = allocate(&f, err);
    if (status == KVC_OK) status = fit_heads(&f, options->ridge, err);
    for (uint32_t head = 0; f.heads && head < data->n_kv_heads; head++) free(f.heads[head].memory);
    free(f.heads);
    free(f.active);
    free(f.matrices);
    return status;
}
