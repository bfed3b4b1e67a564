/* fit.c - the parameter block of a candidate: its transform's constants, then its symbol's, as the coder lays them
 * out.
 *
 * A transform is fitted the first time that a candidate names it and copied from then on, so that candidates with the
 * same transform hold the same bytes. The latent rows are kept for the last chain of transforms: candidates that
 * come sorted by chain share them, and their tables are fitted at the same time: dozens of small jobs keep all
 * threads and a device busy, those of one candidate do not. To add a codec: a fit_*() in its own file, a line in the
 * table below. */
#include "fit.h"

#include <assert.h>
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
    [KVC_SYMBOL_lut] = fit_tables, [KVC_SYMBOL_vq] = fit_tables, [KVC_SYMBOL_seg] = fit_seg};
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

/* Millions of values: looked at all together, and one by one only where some are bad. */
static kvc_status check_floats(const char *what, const float *x, size_t n, bool negative_too, kvc_error *err)
{
    int bad = 0;
    float least = negative_too ? -INFINITY : 0.0f;
    for (size_t i = 0; i < n; i++) bad |= !(x[i] - x[i] == 0.0f) | (x[i] < least);
    for (size_t i = 0; bad && i < n; i++)
        if (!isfinite(x[i]) || x[i] < least)
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
    assert(options->b);
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

kvc_status fit_fail(const kvc_codec *codec, kvc_status status, const kvc_error *why, kvc_error *err)
{
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(codec, spec);
    return kvc_fail(err, status, "%s: %s", spec, why->message);
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

/* ---- candidates ---- */

typedef struct candidate {
    fit *f; /* or its fit to rows of all heads */
    const kvc_codec *codec;
    kvc_coder coder;      /* a layout; its transforms work once their constants are in place */
    unsigned char *block; /* NULL: no constants */
} candidate;

static kvc_codec without_params(const kvc_codec *codec)
{
    kvc_codec bare = *codec;
    bare.param_offset = bare.param_bytes = 0;
    return bare;
}

static kvc_status prepare(candidate *c, fit *f, const kvc_codec *codec, uint32_t page, kvc_error *err)
{
    kvc_codec bare = without_params(codec);
    *c = (candidate){.f = f, .codec = codec};
    KVC_TRY(kvc_coder_init(&c->coder, &bare, NULL, f->n_kv_heads, f->head_dim, page, err));
    if (c->coder.joined > 1 && f->data.n_kv_heads > 1) {
        KVC_TRY(join(f, err));
        c->f = f->whole;
    }
    size_t bytes = c->coder.codec.param_bytes;
    if (bytes == 0) return KVC_OK;
    KVC_TRY(check_chain(&c->coder, err));
    c->block = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
    if (!c->block) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu bytes of constants", bytes);
    memset(c->block, 0, bytes);
    return KVC_OK;
}

static kvc_status fill_transform(candidate *c, kvc_error *err)
{
    if (!c->block || !kvc_coder_part_bytes(&c->coder, 0)) return KVC_OK;
    void *part = c->block + kvc_coder_part_offset(&c->coder, 0);
    c->coder.part[0] = part;
    return transform_part(c->f, &c->coder, part, err);
}

static bool has_symbol(const candidate *c)
{
    return c->block && kvc_coder_part_bytes(&c->coder, KVC_SYMBOL_PIECE);
}

static kvc_status check_symbol(const candidate *c, kvc_error *err)
{
    uint8_t id = c->coder.codec.symbol;
    if (!has_symbol(c) || (id < N_SYMBOL_FITS && symbol_fits[id])) return KVC_OK;
    return kvc_fail(err, KVC_UNSUPPORTED, "nothing here fits symbol %u", id);
}

/* The symbols of one family among n candidates of one chain. */
static kvc_status fill_symbols(candidate *list, uint32_t n, fit_symbol_fn *family, symbol_wish *wishes,
                               kvc_error *err)
{
    uint32_t n_wishes = 0;
    fit *f = list->f;
    for (uint32_t i = 0; i < n; i++) {
        candidate *c = &list[i];
        if (!has_symbol(c) || symbol_fits[c->coder.codec.symbol] != family) continue;
        wishes[n_wishes++] = (symbol_wish){&c->coder, c->block + kvc_coder_part_offset(&c->coder, KVC_SYMBOL_PIECE)};
    }
    if (n_wishes == 0) return KVC_OK;
    KVC_TRY(latent_rows(f, wishes->coder, err));
    return family(&f->data, &f->options, f->latent, n_wishes, wishes, err);
}

static kvc_status fill_chain(candidate *list, uint32_t n, kvc_error *err)
{
    kvc_error why;
    for (uint32_t i = 0; i < n; i++) {
        kvc_status status = fill_transform(&list[i], &why);
        if (status == KVC_OK) status = check_symbol(&list[i], &why);
        if (status != KVC_OK) return fit_fail(list[i].codec, status, &why, err);
    }
    symbol_wish *wishes = calloc(n, sizeof *wishes);
    if (!wishes) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    kvc_status status = fill_symbols(list, n, fit_tables, wishes, err);
    if (status == KVC_OK) status = fill_symbols(list, n, fit_seg, wishes, err);
    free(wishes);
    return status;
}

static kvc_status fill_all(candidate *list, uint32_t n, kvc_error *err)
{
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n; end++)
            if (list[end].f != list[i].f || !same_chain(&list[end].coder.codec, &list[i].coder.codec)) break;
        KVC_TRY(fill_chain(list + i, end - i, err));
    }
    return KVC_OK;
}

/* What the runtime would refuse is refused here, where the candidate is known. */
static kvc_status check_block(const candidate *c, uint32_t page, kvc_error *err)
{
    kvc_coder coder;
    kvc_codec bare = without_params(c->codec);
    return c->block ? kvc_coder_init(&coder, &bare, c->block, c->f->n_kv_heads, c->f->head_dim, page, err) : KVC_OK;
}

static kvc_status fit_list(fit *f, const kvc_codec *codecs, uint32_t n, uint32_t page, candidate *list,
                           kvc_error *err)
{
    kvc_error why;
    kvc_status status;
    for (uint32_t i = 0; i < n; i++)
        if ((status = prepare(&list[i], f, &codecs[i], page, &why))) return fit_fail(&codecs[i], status, &why, err);
    KVC_TRY(fill_all(list, n, err));
    for (uint32_t i = 0; i < n; i++)
        if ((status = check_block(&list[i], page, &why))) return fit_fail(&codecs[i], status, &why, err);
    return KVC_OK;
}

kvc_status fit_codecs(fit *f, const kvc_codec *codecs, uint32_t n, uint32_t page, fitted *out, kvc_error *err)
{
    candidate *list = calloc(n + 1u, sizeof *list);
    if (!list) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    kvc_status status = fit_list(f, codecs, n, page, list, err);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (fitted){0};
        if (status == KVC_OK && list[i].block)
            out[i] = (fitted){list[i].block, list[i].coder.codec.param_bytes};
        else
            free(list[i].block);
    }
    free(list);
    return status;
}

kvc_status fit_codec(fit *f, const kvc_codec *codec, uint32_t page, void **params, size_t *n, kvc_error *err)
{
    fitted one = {0};
    kvc_status status = fit_codecs(f, codec, 1, page, &one, err);
    *params = one.params;
    *n = one.n;
    return status;
}
