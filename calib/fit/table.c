/* table.c - the constants of "vq" and "lut": scales, order and tables (FORMAT.md, "vq", has their layout).
 *
 * The scale of a sub-vector is the root of its mean energy per channel, weighted by sensitivity, so that sub-vectors
 * which share a table are alike. Its points are the sampled sub-vectors divided by their scales, each with the weight
 * of its token times the scale squared: k-means then minimises the error in latent units. A table that is shared
 * pools heads and sub-vectors.
 *
 * Where there are more than options->table_rows sub-vectors, that many are drawn, tokens by the root of their weight,
 * and count as much more as they are rarer: heavy tokens are then not left to chance. Which channels share a code
 * (order.h) is decided by trial: both ways are fitted coarsely, and the better one then in full. Cost:
 * that of k-means (kmeans.c). */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include "heads.h"
#include "kmeans.h"
#include "order.h"
#include "pieces.h"
#include "random.h"

#define SYMBOL_PIECE 4u
#define LEAST_SCALE 1e-12 /* below, a sub-vector counts as zero */
#define TRIAL_SHARE 2u    /* of table_rows, for trials of an order */
#define TRIAL_ITERATIONS 6u

typedef enum arrangement { AS_THEY_ARE, BANDS, BALANCED } arrangement;

/* What one table is fitted to: codes first .. first + n_codes - 1 of a class, in some heads. */
typedef struct job {
    const code_class *class;
    uint32_t head, n_heads, first, n_codes;
    uint16_t *table;
    double loss; /* weighted error of all rows, in latent units */
} job;

typedef struct table_fit {
    const fit_data *data;
    fit_options options;
    const kvc_coder *coder;
    const float *y; /* [H][R][d] */
    code_classes classes;
    double *energy;  /* [H][d] weighted mean squares */
    float *scales;   /* [H][n_codes] */
    uint16_t *order; /* [H][n_kept] */
    job *jobs;
    uint32_t n_jobs;
} table_fit;

static code_classes classes_of(const kvc_coder *coder)
{
    code_classes all = {0};
    uint32_t d = coder->head_dim, dims = coder->codec.dims;
    if (dims) classes_add(&all, d / dims, dims);
    for (uint32_t k = 0; dims == 0 && k < 5; k++)
        if (coder->codec.segment[k]) classes_add(&all, coder->codec.segment[k] * d / 64u, 1u << k);
    return all;
}

/* ---- order and scales ---- */

static const float *row_of(const table_fit *t, uint32_t head, size_t row)
{
    return t->y + (head * t->data->n_rows + row) * t->coder->head_dim;
}

static kvc_status find_energies(void *context, uint32_t head, kvc_error *err)
{
    const table_fit *t = context;
    uint32_t d = t->coder->head_dim;
    double weight = 0.0, *energy = t->energy + (size_t)head * d;
    (void)err;
    for (size_t row = 0; row < t->data->n_rows; row++) {
        const float *y = row_of(t, head, row);
        double w = (double)t->data->weights[head * t->data->n_rows + row];
        weight += w;
        for (uint32_t i = 0; i < d; i++) energy[i] += w * (double)y[i] * (double)y[i];
    }
    for (uint32_t i = 0; weight > 0.0 && i < d; i++) energy[i] /= weight;
    return KVC_OK;
}

static void find_scales(const code_classes *classes, const double *energy, const uint16_t *order, float *scales)
{
    for (const code_class *c = classes->class; c < classes->class + classes->n; c++)
        for (uint32_t g = 0; g < c->n; g++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < c->dims; k++) sum += energy[order[c->position + g * c->dims + k]];
            double scale = sqrt(sum / c->dims);
            scales[c->code + g] = scale > LEAST_SCALE ? (float)scale : 1.0f;
        }
}

static void arrange(const table_fit *t, arrangement how)
{
    uint32_t d = t->coder->head_dim;
    for (uint32_t head = 0; head < t->data->n_kv_heads; head++) {
        const double *energy = t->energy + (size_t)head * d;
        uint16_t *order = t->order + (size_t)head * t->classes.n_kept;
        for (uint32_t i = 0; how == AS_THEY_ARE && i < d; i++) order[i] = (uint16_t)i;
        if (how == BANDS) order_bands(&t->classes, d, energy, order);
        if (how == BALANCED) order_balanced(&t->classes, t->coder->codec.bits, d, energy, order);
        find_scales(&t->classes, energy, order, t->scales + (size_t)head * t->classes.n_codes);
    }
}

/* ---- points of a table ---- */

/* In the order of the file: for each head that has its own, for each class, for each code that has its own. */
static void list_jobs(table_fit *t, uint16_t *table)
{
    const kvc_codec *codec = &t->coder->codec;
    uint32_t heads = t->data->n_kv_heads, pooled = codec->scale == KVC_SCALE_NONE ? heads : 1;
    for (uint32_t head = 0; head < heads; head += pooled)
        for (const code_class *c = t->classes.class; c < t->classes.class + t->classes.n; c++) {
            uint32_t together = codec->scale == KVC_SCALE_STATIC ? 1 : c->n;
            for (uint32_t g = 0; g < c->n; g += together) {
                t->jobs[t->n_jobs++] = (job){c, head, pooled, g, together, table, 0.0};
                table += (size_t)c->dims << codec->bits;
            }
        }
}

/* Sub-vector `index` of the job in a row: its values to x, its weight returned. */
static float take_point(const table_fit *t, const job *j, uint32_t index, size_t row, float *x)
{
    const code_class *c = j->class;
    uint32_t head = j->head + index / j->n_codes, g = j->first + index % j->n_codes;
    const float *y = row_of(t, head, row);
    const uint16_t *order = t->order + (size_t)head * t->classes.n_kept + c->position + g * c->dims;
    float scale = t->scales[(size_t)head * t->classes.n_codes + c->code + g];
    for (uint32_t k = 0; k < c->dims; k++) x[k] = y[order[k]] / scale;
    return t->data->weights[head * t->data->n_rows + row] * scale * scale;
}

/* How much a row is to be drawn. */
static double row_share(const table_fit *t, const job *j, size_t row)
{
    double sum = 0.0;
    for (uint32_t head = j->head; head < j->head + j->n_heads; head++)
        sum += (double)t->data->weights[head * t->data->n_rows + row];
    return sqrt(sum / j->n_heads);
}

static void gather_all(const table_fit *t, const job *j, uint32_t per_row, float *x, float *w)
{
    for (size_t row = 0; row < t->data->n_rows; row++)
        for (uint32_t i = 0; i < per_row; i++, x += j->class->dims) *w++ = take_point(t, j, i, row, x);
}

/* n points: one from each equal part of the rows' shares, sub-vectors in turn. */
static void gather_drawn(const table_fit *t, const job *j, uint32_t per_row, size_t n, float *x, float *w)
{
    double total = 0.0, before = 0.0;
    for (size_t row = 0; row < t->data->n_rows; row++) total += row_share(t, j, row);
    if (!(total > 0.0)) return; /* all weights are zero */
    size_t row = 0, last = t->data->n_rows - 1;
    double share = row_share(t, j, row);
    for (size_t i = 0; i < n; i++, x += j->class->dims) {
        double at = ((double)i + random_unit(t->options.seed, 0, i)) * (total / (double)n);
        while (row < last && before + share <= at) {
            before += share;
            share = row_share(t, j, ++row);
        }
        float own = take_point(t, j, (uint32_t)(i % per_row), row, x);
        w[i] = share > 0.0 ? (float)((double)own * (total / share) * per_row / (double)n) : 0.0f;
    }
}

/* ---- tables ---- */

static double sum_of(const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i];
    return sum;
}

static kvc_status fit_one(void *context, uint32_t index, kvc_error *err)
{
    const table_fit *t = context;
    job *j = &t->jobs[index];
    kmeans_options o = {.k = 1u << t->coder->codec.bits,
                        .dims = j->class->dims,
                        .iterations = t->options.iterations,
                        .restarts = t->options.restarts,
                        .seed = random_mix(t->options.seed ^ (index + 1u))};
    uint32_t per_row = j->n_heads * j->n_codes;
    size_t all = t->data->n_rows * per_row, most = t->options.table_rows ? t->options.table_rows : 1;
    size_t n = all < most ? all : most;
    float *x = calloc(n * o.dims + 1, sizeof *x), *w = calloc(n + 1, sizeof *w);
    float *centroids = calloc((size_t)o.k * o.dims, sizeof *centroids);
    kvc_status status = KVC_OK;
    double distortion = 0.0;
    if (!x || !w || !centroids) {
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu sub-vectors", n);
        goto done;
    }
    if (n == all)
        gather_all(t, j, per_row, x, w);
    else
        gather_drawn(t, j, per_row, n, x, w);
    status = kmeans(&o, n, x, w, centroids, &distortion, err);
    if (status == KVC_OK) kvc_rows_to_fp16(centroids, (size_t)o.k * o.dims, j->table);
    j->loss = distortion * sum_of(w, n);
done:
    free(x);
    free(w);
    free(centroids);
    return status;
}

static kvc_status fit_jobs(table_fit *t, kvc_error *err)
{
    return t->n_jobs > 1 ? heads_run(t->n_jobs, fit_one, t, err) : fit_one(t, 0, err);
}

static kvc_status try_arrangement(table_fit *t, arrangement how, double *loss, kvc_error *err)
{
    fit_options all = t->options;
    t->options.table_rows = all.table_rows / TRIAL_SHARE;
    t->options.iterations = all.iterations < TRIAL_ITERATIONS ? all.iterations : TRIAL_ITERATIONS;
    t->options.restarts = 1;
    arrange(t, how);
    kvc_status status = fit_jobs(t, err);
    t->options = all;
    *loss = 0.0;
    for (uint32_t i = 0; i < t->n_jobs; i++) *loss += t->jobs[i].loss;
    return status;
}

/* Leaves the order and the scales of the better arrangement. */
static kvc_status choose_arrangement(table_fit *t, kvc_error *err)
{
    double bands, balanced;
    arrangement best = BANDS;
    if (t->classes.n_codes > 1 && t->classes.n_codes < t->classes.n_kept) {
        KVC_TRY(try_arrangement(t, BANDS, &bands, err));
        KVC_TRY(try_arrangement(t, BALANCED, &balanced, err));
        if (balanced < bands) best = BALANCED;
    }
    arrange(t, best);
    return KVC_OK;
}

static kvc_status fit_tables(table_fit *t, bool sorted, void *part, kvc_error *err)
{
    uint32_t heads = t->data->n_kv_heads;
    t->classes = classes_of(t->coder);
    size_t order_bytes = ((size_t)heads * t->classes.n_kept * sizeof *t->order + 3u) / 4u * 4u;
    t->scales = part;
    t->order = (uint16_t *)(t->scales + (size_t)heads * t->classes.n_codes);
    t->jobs = calloc((size_t)heads * t->classes.n_codes, sizeof *t->jobs);
    t->energy = calloc((size_t)heads * t->coder->head_dim, sizeof *t->energy);
    if (!t->jobs || !t->energy)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", t->classes.n_codes);
    list_jobs(t, (uint16_t *)((char *)t->order + order_bytes));
    const job *last = &t->jobs[t->n_jobs - 1];
    assert((char *)(last->table + ((size_t)last->class->dims << t->coder->codec.bits)) ==
           (char *)part + kvc_coder_part_bytes(t->coder, SYMBOL_PIECE));
    (void)last;
    KVC_TRY(heads_run(heads, find_energies, t, err));
    if (sorted)
        KVC_TRY(choose_arrangement(t, err));
    else
        arrange(t, AS_THEY_ARE);
    return fit_jobs(t, err);
}

static kvc_status fit_symbol(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                             bool sorted, void *part, kvc_error *err)
{
    table_fit t = {.data = data, .options = *options, .coder = coder, .y = y};
    kvc_status status = fit_tables(&t, sorted, part, err);
    free(t.jobs);
    free(t.energy);
    return status;
}

kvc_status fit_vq(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                  void *part, kvc_error *err)
{
    return fit_symbol(data, options, coder, y, true, part, err);
}

kvc_status fit_lut(const fit_data *data, const fit_options *options, const kvc_coder *coder, const float *y,
                   void *part, kvc_error *err)
{
    return fit_symbol(data, options, coder, y, false, part, err);
}
