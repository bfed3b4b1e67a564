/* table.c - the constants of "vq" and "lut": scales and tables (FORMAT.md, "vq", has their layout).
 *
 * The scale of a sub-vector is the root of its mean energy per channel, weighted by sensitivity, so that sub-vectors
 * which share a table are alike. Its points are the sampled sub-vectors divided by their scales, each with the weight
 * of its token times the scale squared: k-means then minimises the error in latent units. A table that is shared
 * pools heads and sub-vectors. Where there are more than options->table_rows sub-vectors, tokens are sampled, one of
 * each equal part of them, and stay whole. Cost: that of k-means (kmeans.c). */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include "heads.h"
#include "kmeans.h"
#include "pieces.h"
#include "random.h"

#define SYMBOL_PIECE 4u
#define LEAST_SCALE 1e-12 /* below, a sub-vector counts as zero */

/* Neighbouring eighths of equal dims, or all channels. */
typedef struct band {
    uint32_t channel, code; /* the first of each */
    uint32_t n, dims;       /* sub-vectors, channels of each */
} band;

/* What one table is fitted to: sub-vectors code .. code + n_codes - 1 of a band, in some heads. */
typedef struct job {
    const band *band;
    uint32_t head, n_heads, code, n_codes;
    uint16_t *table;
} job;

typedef struct table_fit {
    const fit_data *data;
    const fit_options *options;
    const kvc_coder *coder;
    const float *y; /* [H][R][d'] */
    band bands[8];
    uint32_t n_bands, n_codes;
    float *scales; /* [H][n_codes] */
    job *jobs;
    uint32_t n_jobs;
} table_fit;

static uint32_t eighth_dims(const kvc_codec *codec, uint32_t i)
{
    return codec->dims ? codec->dims : codec->segment[i];
}

static void find_bands(table_fit *t)
{
    const kvc_codec *codec = &t->coder->codec;
    uint32_t eighth = t->coder->latent_dim / 8;
    for (uint32_t i = 0, end; i < 8 && eighth_dims(codec, i); i = end) {
        uint32_t dims = eighth_dims(codec, i);
        for (end = i + 1; end < 8 && eighth_dims(codec, end) == dims;) end++;
        uint32_t n = (end - i) * eighth / dims;
        t->bands[t->n_bands++] = (band){.channel = i * eighth, .code = t->n_codes, .n = n, .dims = dims};
        t->n_codes += n;
    }
}

/* ---- scales ---- */

static const float *row_of(const table_fit *t, uint32_t head, size_t row)
{
    return t->y + (head * t->data->n_rows + row) * t->coder->latent_dim;
}

/* energy [d'] = weighted mean of y^2. */
static void channel_energies(const table_fit *t, uint32_t head, double *energy)
{
    const float *weights = t->data->weights + head * t->data->n_rows;
    double weight = 0.0;
    for (size_t row = 0; row < t->data->n_rows; row++) {
        const float *y = row_of(t, head, row);
        double w = (double)weights[row];
        weight += w;
        for (uint32_t i = 0; i < t->coder->latent_dim; i++) energy[i] += w * (double)y[i] * (double)y[i];
    }
    for (uint32_t i = 0; weight > 0.0 && i < t->coder->latent_dim; i++) energy[i] /= weight;
}

static kvc_status find_scales(void *context, uint32_t head, kvc_error *err)
{
    table_fit *t = context;
    double energy[KVC_MAX_ROW] = {0};
    (void)err;
    channel_energies(t, head, energy);
    for (const band *b = t->bands; b < t->bands + t->n_bands; b++)
        for (uint32_t g = 0; g < b->n; g++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < b->dims; k++) sum += energy[b->channel + g + k * b->n];
            double scale = sqrt(sum / b->dims);
            t->scales[head * t->n_codes + b->code + g] = scale > LEAST_SCALE ? (float)scale : 1.0f;
        }
    return KVC_OK;
}

/* ---- tables ---- */

/* In the order of the file: for each head that has its own, for each band, for each sub-vector that has its own. */
static void list_jobs(table_fit *t, uint16_t *table)
{
    const kvc_codec *codec = &t->coder->codec;
    uint32_t heads = t->data->n_kv_heads, pooled = codec->scale == KVC_SCALE_NONE ? heads : 1;
    for (uint32_t head = 0; head < heads; head += pooled)
        for (const band *b = t->bands; b < t->bands + t->n_bands; b++) {
            uint32_t together = codec->scale == KVC_SCALE_STATIC ? 1 : b->n;
            for (uint32_t g = 0; g < b->n; g += together) {
                t->jobs[t->n_jobs++] = (job){b, head, pooled, g, together, table};
                table += (size_t)b->dims << codec->bits;
            }
        }
}

/* Tokens that a table is fitted to: at most all, at least one if there is one. */
static size_t n_tokens(const table_fit *t, const job *j)
{
    size_t most = t->options->table_rows / ((size_t)j->n_heads * j->n_codes);
    if (most == 0) most = 1;
    return most < t->data->n_rows ? most : t->data->n_rows;
}

static size_t token_of(const table_fit *t, size_t i, size_t n)
{
    size_t rows = t->data->n_rows;
    if (n == rows) return i;
    size_t row = (size_t)(((double)i + random_unit(t->options->seed, 0, i)) * ((double)rows / (double)n));
    return row < rows ? row : rows - 1;
}

static void gather(const table_fit *t, const job *j, size_t tokens, float *x, float *w)
{
    const band *b = j->band;
    for (size_t i = 0; i < tokens; i++) {
        size_t row = token_of(t, i, tokens);
        for (uint32_t head = j->head; head < j->head + j->n_heads; head++) {
            const float *y = row_of(t, head, row) + b->channel;
            const float *scales = t->scales + head * t->n_codes + b->code;
            for (uint32_t g = j->code; g < j->code + j->n_codes; g++) {
                for (uint32_t k = 0; k < b->dims; k++) *x++ = y[g + k * b->n] / scales[g];
                *w++ = t->data->weights[head * t->data->n_rows + row] * scales[g] * scales[g];
            }
        }
    }
}

static kvc_status fit_one(void *context, uint32_t index, kvc_error *err)
{
    const table_fit *t = context;
    const job *j = &t->jobs[index];
    kmeans_options o = {.k = 1u << t->coder->codec.bits,
                        .dims = j->band->dims,
                        .iterations = t->options->iterations,
                        .restarts = t->options->restarts,
                        .seed = random_mix(t->options->seed ^ (index + 1u))};
    size_t tokens = n_tokens(t, j), n = tokens * j->n_heads * j->n_codes;
    float *x = calloc(n * o.dims + 1, sizeof *x), *w = calloc(n + 1, sizeof *w);
    float *centroids = calloc((size_t)o.k * o.dims, sizeof *centroids);
    kvc_status status = KVC_OK;
    double distortion;
    if (!x || !w || !centroids) {
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu sub-vectors", n);
        goto done;
    }
    gather(t, j, tokens, x, w);
    status = kmeans(&o, n, x, w, centroids, &distortion, err);
    if (status == KVC_OK) kvc_rows_to_fp16(centroids, (size_t)o.k * o.dims, j->table);
done:
    free(x);
    free(w);
    free(centroids);
    return status;
}

static kvc_status fit_tables(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                             void *part, kvc_error *err)
{
    table_fit t = {.data = data, .options = options, .coder = coder, .y = y, .scales = part};
    find_bands(&t);
    t.jobs = calloc((size_t)data->n_kv_heads * t.n_codes, sizeof *t.jobs);
    if (!t.jobs) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", t.n_codes);
    list_jobs(&t, (uint16_t *)(t.scales + (size_t)data->n_kv_heads * t.n_codes));
    const job *last = &t.jobs[t.n_jobs - 1];
    assert((char *)(last->table + ((size_t)last->band->dims << coder->codec.bits)) ==
           (char *)part + kvc_coder_part_bytes(coder, SYMBOL_PIECE));
    (void)last;
    kvc_status status = heads_run(data->n_kv_heads, find_scales, &t, err);
    if (status == KVC_OK) status = t.n_jobs > 1 ? heads_run(t.n_jobs, fit_one, &t, err) : fit_one(&t, 0, err);
    free(t.jobs);
    return status;
}

kvc_status fit_vq(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                  void *part, kvc_error *err)
{
    return fit_tables(data, options, coder, y, part, err);
}

kvc_status fit_lut(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                   void *part, kvc_error *err)
{
    return fit_tables(data, options, coder, y, part, err);
}
