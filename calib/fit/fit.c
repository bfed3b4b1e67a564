/* fit.c - the parameter block of a candidate: its transform's constants, then its symbol's, as the coder lays them
 * out.
 *
 * A transform is fitted the first time that a candidate names it and copied from then on, so that candidates with the
 * same transform hold the same bytes. The latent rows are kept for the last chain of transforms: candidates that
 * come sorted by chain share them. To add a codec: a fit_*() in its own file, a line in the table below. */
#include "fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "eigen.h"
#include "join.h"
#include "kvc/codec_list.h"
#include "pieces.h"

#define ALIGNMENT 64u

const fit_options fit_defaults = {.seed = 0, .table_rows = 65536, .restarts = 1, .iterations = 10, .ridge = 1e-2};

static fit_transform_fn *const transform_fits[] = {[KVC_TRANSFORM_smooth] = fit_smooth,
                                                   [KVC_TRANSFORM_perm] = fit_perm,
                                                   [KVC_TRANSFORM_rot] = fit_rot,
                                                   [KVC_TRANSFORM_klt] = fit_klt};
static fit_symbol_fn *const symbol_fits[] = {
    [KVC_SYMBOL_lut] = fit_lut, [KVC_SYMBOL_vq] = fit_vq, [KVC_SYMBOL_seg] = fit_seg};
#define N_TRANSFORM_FITS (sizeof transform_fits / sizeof *transform_fits)
#define N_SYMBOL_FITS (sizeof symbol_fits / sizeof *symbol_fits)

struct fit {
    fit_data data;
    fit_options options;
    void *transform[N_TRANSFORM_FITS]; /* the constants of each, NULL until a candidate names it */
    float *latent;                     /* [H][R][d] through `chain`, NULL before the first */
    kvc_codec chain;                   /* of it only the transforms count */
    uint32_t n_kv_heads, head_dim;     /* of the model; those of `data` are other ones where its heads are joined */
    joined *joined; /* the data with all heads in one row, and a fit to it; NULL before the first */
    fit *whole;     /* codec "@joint" */
};

static kvc_status check_numbers(const char *what, const double *x, size_t n, bool negative_too, kvc_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || (!negative_too && x[i] < 0.0))
            return kvc_fail(err, KVC_NONFINITE, "%s: value %zu is %g", what, i, x[i]);
    return KVC_OK;
}

static kvc_status check_floats(const char *what, const float *x, size_t n, bool negative_too, kvc_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]) || (!negative_too && x[i] < 0.0f))
            return kvc_fail(err, KVC_NONFINITE, "%s: value %zu is %g", what, i, (double)x[i]);
    return KVC_OK;
}

static kvc_status check_data(const fit_data *data, kvc_error *err)
{
    size_t vectors = data->n_kv_heads, d = data->head_dim, limit = SIZE_MAX / sizeof(double);
    if (vectors == 0 || d == 0 || d % 8 || d > KVC_MAX_ROW || vectors > limit / (d * d) ||
        data->n_rows > limit / (vectors * d))
        return kvc_fail(err, KVC_INVALID, "cannot fit %zu heads of %zu channels, %zu rows", vectors, d, data->n_rows);
    KVC_TRY(check_numbers("mean", data->mean, vectors * d, true, err));
    KVC_TRY(check_numbers("covariance", data->cov, vectors * d * d, true, err));
    KVC_TRY(check_numbers("metric", data->metric, vectors * d * d, true, err));
    KVC_TRY(check_numbers("largest magnitudes", data->absmax, vectors * d, false, err));
    KVC_TRY(check_floats("sampled rows", data->rows, vectors * data->n_rows * d, true, err));
    return check_floats("sensitivity weights", data->weights, vectors * data->n_rows, false, err);
}

kvc_status fit_new(fit **out, const fit_data *data, const fit_options *options, kvc_error *err)
{
    *out = NULL;
    KVC_TRY(check_data(data, err));
    if (!isfinite(options->ridge) || options->ridge < 0.0)
        return kvc_fail(err, KVC_INVALID, "ridge %g: expected a number from 0 up", options->ridge);
    fit *f = calloc(1, sizeof *f);
    if (!f) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a fit");
    f->data = *data;
    f->options = *options;
    f->n_kv_heads = data->n_kv_heads;
    f->head_dim = data->head_dim;
    eigen_start();
    *out = f;
    return KVC_OK;
}

void fit_free(fit *f)
{
    if (!f) return;
    for (size_t i = 0; i < N_TRANSFORM_FITS; i++) free(f->transform[i]);
    free(f->latent);
    fit_free(f->whole);
    joined_free(f->joined);
    free(f);
}

/* The first transform's constants, fitted once, into `part`. */
static kvc_status transform_part(fit *f, const kvc_coder *coder, void *part, kvc_error *err)
{
    uint8_t id = coder->codec.transform[0];
    size_t n = kvc_coder_part_bytes(coder, 0);
    if (id >= N_TRANSFORM_FITS || !transform_fits[id])
        return kvc_fail(err, KVC_UNSUPPORTED, "nothing here fits transform %u", id);
    if (!f->transform[id]) {
        void *fresh = calloc(1, n);
        if (!fresh) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu bytes of constants", n);
        kvc_status status = transform_fits[id](&f->data, &f->options, coder, fresh, err);
        if (status != KVC_OK) {
            free(fresh);
            return status;
        }
        f->transform[id] = fresh;
    }
    memcpy(part, f->transform[id], n);
    return KVC_OK;
}

static bool same_chain(const kvc_codec *a, const kvc_codec *b)
{
    return a->n_transforms == b->n_transforms && memcmp(a->transform, b->transform, sizeof a->transform) == 0;
}

/* f->latent through the transforms of `coder`, whose constants are there already. */
static kvc_status latent_rows(fit *f, const kvc_coder *coder, kvc_error *err)
{
    if (f->latent && same_chain(&f->chain, &coder->codec)) return KVC_OK;
    size_t heads = f->data.n_kv_heads, rows = f->data.n_rows, d = f->data.head_dim;
    free(f->latent);
    f->latent = malloc((heads * rows * d + 1) * sizeof *f->latent);
    if (!f->latent) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu rows of latents", heads * rows);
    f->chain = coder->codec;
#pragma omp parallel for
    for (size_t i = 0; i < heads * rows; i++)
        kvc_coder_transform(coder, (uint32_t)(i / rows), f->data.rows + i * d, f->latent + i * d);
    return KVC_OK;
}

static kvc_status symbol_part(fit *f, const kvc_coder *coder, void *part, kvc_error *err)
{
    uint8_t id = coder->codec.symbol;
    if (id >= N_SYMBOL_FITS || !symbol_fits[id])
        return kvc_fail(err, KVC_UNSUPPORTED, "nothing here fits symbol %u", id);
    KVC_TRY(latent_rows(f, coder, err));
    return symbol_fits[id](&f->data, &f->options, coder, f->latent, part, err);
}

/* `coder` is a layout; its transforms work once their constants are in place, before the symbol's are. */
static kvc_status fill(fit *f, kvc_coder *coder, unsigned char *params, kvc_error *err)
{
    if (kvc_coder_part_bytes(coder, 0)) {
        void *part = params + kvc_coder_part_offset(coder, 0);
        KVC_TRY(transform_part(f, coder, part, err));
        coder->part[0] = part;
    }
    if (!kvc_coder_part_bytes(coder, KVC_SYMBOL_PIECE)) return KVC_OK;
    return symbol_part(f, coder, params + kvc_coder_part_offset(coder, KVC_SYMBOL_PIECE), err);
}

static kvc_status check_chain(const kvc_coder *coder, kvc_error *err)
{
    for (uint32_t i = 1; i < coder->codec.n_transforms; i++)
        if (kvc_coder_part_bytes(coder, i))
            return kvc_fail(err, KVC_UNSUPPORTED, "a fitted transform must be the first of its chain, not number %u",
                            i + 1);
    return KVC_OK;
}

/* The fit to rows of all heads. */
static kvc_status join(fit *f, kvc_error *err)
{
    if (f->whole) return KVC_OK;
    if (!f->joined) KVC_TRY(joined_new(&f->joined, &f->data, err));
    KVC_TRY(fit_new(&f->whole, joined_data(f->joined), &f->options, err));
    f->whole->n_kv_heads = f->n_kv_heads;
    f->whole->head_dim = f->head_dim;
    return KVC_OK;
}

kvc_status fit_codec(fit *f, const kvc_codec *codec, uint32_t page, void **params, size_t *n, kvc_error *err)
{
    kvc_coder coder;
    kvc_codec bare = *codec;
    bare.param_offset = bare.param_bytes = 0;
    *params = NULL;
    *n = 0;
    KVC_TRY(kvc_coder_init(&coder, &bare, NULL, f->n_kv_heads, f->head_dim, page, err));
    if (coder.joined > 1 && f->data.n_kv_heads > 1) {
        KVC_TRY(join(f, err));
        return fit_codec(f->whole, codec, page, params, n, err);
    }
    size_t bytes = coder.codec.param_bytes;
    if (bytes == 0) return KVC_OK;
    KVC_TRY(check_chain(&coder, err));
    void *block = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!block) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu bytes of constants", bytes);
    memset(block, 0, bytes);
    kvc_status status = fill(f, &coder, block, err);
    /* What the runtime would refuse is refused here, where the candidate is known. */
    if (status == KVC_OK) status = kvc_coder_init(&coder, &bare, block, f->n_kv_heads, f->head_dim, page, err);
    if (status != KVC_OK) {
        free(block);
        return status;
    }
    *params = block;
    *n = bytes;
    return KVC_OK;
}
