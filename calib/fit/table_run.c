/* table_run.c - the tables of a side: trials of the ways to arrange its channels, and the fit of the better one.
 *
 * A trial is a fit to a quarter of the points in half of the iterations. The fit in full starts from the trial's
 * centroids and makes the other half: beside a k-means++ start and all iterations over all points, and trials on top
 * of them, that takes half of the time and loses nothing (tests/bench/bench_fit.c). */
#include <stdlib.h>
#include <string.h>
#include "heads.h"
#include "kmeans.h"
#include "random.h"
#include "table.h"

#define TRIAL_SHARE 4u /* of table_rows */
#define N_TRIALS 2u    /* BANDS and BALANCED */
#define FEW_JOBS 5u    /* fitted one after another, each in parallel */

/* ---- tables ---- */

static double sum_of(const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i];
    return sum;
}

/* Of job `index` under `way`, from at most `most` points: centroids [2^bits][dims], and *loss. */
static kvc_status fit_centroids(const table_fit *t, const table_way *way, uint32_t index, size_t most,
                                const kmeans_options *limits, float *centroids, double *loss, kvc_error *err)
{
    const table_job *j = &t->jobs[index];
    kmeans_options o = *limits;
    o.k = 1u << t->coder->codec.bits;
    o.dims = j->dims;
    o.seed = random_mix(t->options.seed ^ (index + 1u));
    size_t n = table_points(t, j, most ? most : 1);
    float *x = calloc(n * o.dims + 1, sizeof *x), *w = calloc(n + 1, sizeof *w);
    double distortion = 0.0;
    kvc_status status = KVC_OK;
    if (!x || !w) status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu sub-vectors", n);
    if (status == KVC_OK) status = table_gather(t, way, j, n, x, w, err);
    if (status == KVC_OK) status = kmeans(&o, n, x, w, centroids, &distortion, err);
    if (status == KVC_OK) *loss = distortion * sum_of(w, n);
    free(x);
    free(w);
    return status;
}

typedef struct run {
    const table_fit *t;
    table_way *ways;
    uint32_t n_ways;
} run;

static uint32_t half(uint32_t iterations)
{
    return (iterations + 1) / 2;
}

/* A trial of one job in one way. */
static kvc_status try_one(void *context, uint32_t index, kvc_error *err)
{
    const run *r = context;
    const table_fit *t = r->t;
    table_way *way = &r->ways[index % r->n_ways];
    uint32_t job = index / r->n_ways;
    kmeans_options o = {.restarts = 1, .iterations = half(t->options.iterations)};
    float *centroids = way->centroids + (t->jobs[job].table - t->tables);
    return fit_centroids(t, way, job, t->options.table_rows / TRIAL_SHARE, &o, centroids, &way->loss[job], err);
}

/* A table in full, from the trial's where there was one. */
static kvc_status fit_one(void *context, uint32_t index, kvc_error *err)
{
    const run *r = context;
    const table_fit *t = r->t;
    const table_way *way = r->ways;
    const table_job *j = &t->jobs[index];
    size_t n = (size_t)j->dims << t->coder->codec.bits;
    kmeans_options o = {.restarts = t->options.restarts, .iterations = t->options.iterations};
    if (way->centroids) o.start = way->centroids + (j->table - t->tables);
    if (way->centroids && o.restarts <= 1) o.iterations = half(o.iterations);
    double loss;
    float *centroids = malloc(n * sizeof *centroids);
    if (!centroids) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu values", n);
    kvc_status status = fit_centroids(t, way, index, t->options.table_rows, &o, centroids, &loss, err);
    if (status == KVC_OK) kvc_rows_to_fp16(centroids, n, j->table);
    free(centroids);
    return status;
}

/* Few tables one after another, each in parallel; many at a time. */
static kvc_status fit_jobs(const table_fit *t, table_way *way, kvc_error *err)
{
    run r = {t, way, 1};
    if (t->n_jobs > FEW_JOBS) return jobs_run("table", t->n_jobs, fit_one, &r, err);
    for (uint32_t i = 0; i < t->n_jobs; i++) KVC_TRY(fit_one(&r, i, err));
    return KVC_OK;
}

/* ---- the better way ---- */

static kvc_status way_new(const table_fit *t, table_way *way, kvc_error *err)
{
    way->order = calloc((size_t)t->data->n_kv_heads * t->order_stride, sizeof *way->order);
    way->scales = calloc(t->n_codes, sizeof *way->scales);
    way->loss = calloc(t->n_jobs, sizeof *way->loss);
    if (way->order && way->scales && way->loss) return KVC_OK;
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the order of %u codes", t->n_codes);
}

static void way_free(table_way *way)
{
    free(way->order);
    free(way->scales);
    free(way->centroids);
    free(way->loss);
}

static double total_loss(const table_fit *t, const table_way *way)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < t->n_jobs; i++) sum += way->loss[i];
    return sum;
}

static size_t order_bytes(const table_fit *t)
{
    return (size_t)t->data->n_kv_heads * t->order_stride * sizeof(uint16_t);
}

static bool same_order(const table_fit *t, const table_way *a, const table_way *b)
{
    return memcmp(a->order, b->order, order_bytes(t)) == 0;
}

/* Both ways tried: the better one. */
static kvc_status choose(const table_fit *t, table_way *ways, table_way **best, kvc_error *err)
{
    run r = {t, ways, N_TRIALS};
    for (uint32_t i = 0; i < N_TRIALS; i++) {
        ways[i].centroids = calloc(t->n_values, sizeof *ways[i].centroids);
        if (!ways[i].centroids)
            return kvc_fail(err, KVC_NO_MEMORY, "out of memory for trial tables of %zu values", t->n_values);
    }
    KVC_TRY(jobs_run("trial", N_TRIALS * t->n_jobs, try_one, &r, err));
    if (total_loss(t, &ways[BALANCED]) < total_loss(t, &ways[BANDS])) *best = &ways[BALANCED];
    return KVC_OK;
}

static kvc_status fit_arranged(const table_fit *t, table_way *ways, table_way *out, kvc_error *err)
{
    table_way *best = &ways[BANDS];
    for (uint32_t i = 0; i < N_TRIALS; i++) {
        KVC_TRY(way_new(t, &ways[i], err));
        table_arrange(t, (arrangement)i, &ways[i]);
    }
    if (!same_order(t, &ways[BANDS], &ways[BALANCED])) KVC_TRY(choose(t, ways, &best, err));
    memcpy(out->order, best->order, order_bytes(t));
    memcpy(out->scales, best->scales, t->n_codes * sizeof *out->scales);
    return fit_jobs(t, best, err);
}

kvc_status table_run(const table_fit *t, bool sorted, table_way *out, kvc_error *err)
{
    table_way ways[N_TRIALS] = {0};
    if (!sorted) {
        table_arrange(t, AS_THEY_ARE, out);
        return fit_jobs(t, out, err);
    }
    kvc_status status = fit_arranged(t, ways, out, err);
    for (uint32_t i = 0; i < N_TRIALS; i++) way_free(&ways[i]);
    return status;
}
