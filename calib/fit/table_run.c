/* table_run.c - the tables of a side: trials of the ways to arrange its channels, and the fit of the better one.
 *
 * A trial is a fit to a quarter of the points in half of the iterations. The fit in full starts from the trial's
 * centroids and makes the other half: beside a k-means++ start and all iterations over all points, and trials on top
 * of them, that takes half of the time and loses nothing (tests/bench/bench_fit.c). In one dimension, where k-means
 * is exact and as long over a quarter of the points, the trial is the fit.
 *
 * The tables of all candidates go together, first all trials and then all fits; on a device through a queue
 * (table_queue.h). */
#include <stdlib.h>
#include <string.h>
#include "heads.h"
#include "kmeans.h"
#include "kvc/codec_list.h"
#include "random.h"
#include "table.h"
#include "table_queue.h"

#define TRIAL_SHARE 4u /* of table_rows */
#define N_TRIALS 2u    /* BANDS and BALANCED */
#define FEW_JOBS 5u    /* fitted one after another, each in parallel */

/* ---- one table ---- */

/* A job of a fit under a way, from at most `most` points. */
typedef struct table_task {
    const table_fit *t;
    const table_way *way;
    uint32_t job;
    size_t most;
    kmeans_options options;
    float *centroids;   /* [2^bits][dims] out; NULL: to the job's table, in fp16 */
    double *loss;       /* out, unless NULL */
    kmeans_task *table; /* between gathering and storing */
    double weight;      /* sum over the points */
} table_task;

static double sum_of(const float *w, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) sum += (double)w[i];
    return sum;
}

static kvc_status gather(table_task *task, kvc_error *err)
{
    const table_fit *t = task->t;
    const table_job *j = &t->jobs[task->job];
    kmeans_options *o = &task->options;
    o->k = 1u << t->coder->codec.bits;
    o->dims = j->dims;
    o->seed = random_mix(t->options.seed ^ (task->job + 1u));
    size_t n = table_points(t, j, task->most ? task->most : 1);
    float *x = calloc(n * o->dims + 1, sizeof *x), *w = calloc(n + 1, sizeof *w);
    kvc_status status = KVC_OK;
    if (!x || !w) status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu sub-vectors", n);
    if (status == KVC_OK) status = table_gather(t, task->way, j, n, x, w, err);
    if (status == KVC_OK) status = kmeans_begin(&task->table, o, n, x, w, err);
    if (status == KVC_OK) task->weight = sum_of(w, n);
    free(x);
    free(w);
    return status;
}

static kvc_status store(table_task *task, kvc_error *err)
{
    size_t n = (size_t)task->options.k * task->options.dims;
    double distortion;
    float *centroids = task->centroids ? task->centroids : malloc(n * sizeof *centroids);
    if (!centroids) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %zu values", n);
    kmeans_end(task->table, centroids, &distortion);
    if (task->loss) *task->loss = distortion * task->weight;
    if (task->centroids) return KVC_OK;
    kvc_rows_to_fp16(centroids, n, task->t->jobs[task->job].table);
    free(centroids);
    return KVC_OK;
}

static kvc_status named(const table_task *task, kvc_status status, const kvc_error *why, kvc_error *err)
{
    return status == KVC_OK ? KVC_OK : fit_fail(&task->t->coder->codec, status, why, err);
}

static void drop(table_task *task)
{
    kmeans_free(task->table);
    task->table = NULL;
}

/* ---- many ---- */

/* From beginning to end; index: of the tasks. */
static kvc_status run_one(void *context, uint32_t index, kvc_error *err)
{
    table_task *task = (table_task *)context + index;
    kvc_error why;
    kvc_status status = gather(task, &why);
    if (status == KVC_OK) status = kmeans_solve(task->t->options.b, &task->table, 1, &why);
    if (status == KVC_OK) status = store(task, &why);
    drop(task);
    return named(task, status, &why, err);
}

static kvc_status begin_one(void *context, uint32_t index, kvc_error *err)
{
    table_task *task = (table_task *)context + index;
    kvc_error why;
    return named(task, gather(task, &why), &why, err);
}

static kmeans_task *table_one(const void *context, uint32_t index)
{
    return ((const table_task *)context)[index].table;
}

static kvc_status store_one(void *context, uint32_t index, kvc_error *err)
{
    table_task *task = (table_task *)context + index;
    kvc_error why;
    kvc_status status = store(task, &why);
    drop(task);
    return named(task, status, &why, err);
}

/* About how long the host is at it: points are sorted and solved exactly in one dimension. */
static size_t length_of(const table_task *task)
{
    const table_job *j = &task->t->jobs[task->job];
    return table_points(task->t, j, task->most) * (j->dims > 1 ? j->dims : 64);
}

typedef struct ranked_task {
    size_t length;
    uint32_t index;
} ranked_task;

static int longer_first(const void *a, const void *b)
{
    const ranked_task *x = a, *y = b;
    if (x->length != y->length) return x->length > y->length ? -1 : 1;
    return x->index < y->index ? -1 : 1;
}

static kvc_status longest_first(const table_task *tasks, uint32_t n, uint32_t *order, kvc_error *err)
{
    ranked_task *ranks = malloc(n * sizeof *ranks);
    if (!ranks) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", n);
    for (uint32_t i = 0; i < n; i++) ranks[i] = (ranked_task){length_of(&tasks[i]), i};
    qsort(ranks, n, sizeof *ranks, longer_first);
    for (uint32_t i = 0; i < n; i++) order[i] = ranks[i].index;
    free(ranks);
    return KVC_OK;
}

/* On a device: many at a time. */
static kvc_status run_queue(backend *b, table_task *tasks, uint32_t n, kvc_error *err)
{
    const queue_steps steps = {begin_one, store_one, table_one, tasks};
    uint32_t *order = malloc(n * sizeof *order);
    kvc_status status =
        order ? longest_first(tasks, n, order, err) : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", n);
    if (status == KVC_OK) status = queue_run(b, n, order, &steps, err);
    for (uint32_t i = 0; i < n; i++) drop(&tasks[i]); /* those that failed, or were left */
    free(order);
    return status;
}

/* On the CPU few tables one after another, each in parallel; many by a thread each. */
static kvc_status run_tasks(table_task *tasks, uint32_t n, kvc_error *err)
{
    backend *b = n ? tasks->t->options.b : NULL;
    if (n == 0) return KVC_OK;
    if (b->lloyd_batch > 1) return run_queue(b, tasks, n, err);
    if (n > FEW_JOBS) return jobs_run(NULL, n, run_one, tasks, err);
    for (uint32_t i = 0; i < n; i++) KVC_TRY(run_one(tasks, i, err));
    return KVC_OK;
}

/* ---- ways ---- */

/* Of one candidate. */
typedef struct choice {
    table_way ways[N_TRIALS];
    const table_way *best;
} choice;

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

/* Trial tables, where the two ways differ. */
static kvc_status arrange(const table_fit *t, choice *c, kvc_error *err)
{
    for (uint32_t i = 0; i < N_TRIALS; i++) {
        KVC_TRY(way_new(t, &c->ways[i], err));
        table_arrange(t, (arrangement)i, &c->ways[i]);
    }
    c->best = &c->ways[BANDS];
    if (memcmp(c->ways[BANDS].order, c->ways[BALANCED].order, order_bytes(t)) == 0) return KVC_OK;
    for (uint32_t i = 0; i < N_TRIALS; i++) {
        c->ways[i].centroids = calloc(t->n_values, sizeof *c->ways[i].centroids);
        if (!c->ways[i].centroids)
            return kvc_fail(err, KVC_NO_MEMORY, "out of memory for trial tables of %zu values", t->n_values);
    }
    return KVC_OK;
}

static uint32_t half(uint32_t iterations)
{
    return (iterations + 1) / 2;
}

static float *trial_centroids(const table_fit *t, const table_way *way, uint32_t job)
{
    return way->centroids + (t->jobs[job].table - t->tables);
}

static bool is_exact(const table_fit *t, uint32_t job)
{
    return kmeans_is_exact(1u << t->coder->codec.bits, t->jobs[job].dims);
}

static table_task trial_of(const table_fit *t, table_way *way, uint32_t job)
{
    bool whole = is_exact(t, job);
    return (table_task){
        .t = t,
        .way = way,
        .job = job,
        .most = whole ? t->options.table_rows : t->options.table_rows / TRIAL_SHARE,
        .options = {.restarts = 1, .iterations = whole ? t->options.iterations : half(t->options.iterations)},
        .centroids = trial_centroids(t, way, job),
        .loss = &way->loss[job]};
}

/* In full, from the trial's table where there was one. */
static table_task fit_of(const table_fit *t, const table_way *way, uint32_t job)
{
    table_task task = {.t = t,
                       .way = way,
                       .job = job,
                       .most = t->options.table_rows,
                       .options = {.restarts = t->options.restarts, .iterations = t->options.iterations}};
    task.options.bytes = t->bytes && t->jobs[job].dims >= BYTES_LEAST_DIMS;
    if (!way->centroids) return task;
    task.options.start = trial_centroids(t, way, job);
    if (task.options.restarts <= 1) task.options.iterations = half(task.options.iterations);
    return task;
}

/* ---- all ---- */

static kvc_status run_trials(const table_fit *fits, choice *choices, uint32_t n, table_task *tasks, kvc_error *err)
{
    uint32_t n_tasks = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!choices[i].ways[0].centroids) continue;
        for (uint32_t job = 0; job < fits[i].n_jobs; job++)
            for (uint32_t way = 0; way < N_TRIALS; way++)
                tasks[n_tasks++] = trial_of(&fits[i], &choices[i].ways[way], job);
    }
    KVC_TRY(run_tasks(tasks, n_tasks, err));
    for (uint32_t i = 0; i < n; i++) {
        table_way *ways = choices[i].ways;
        if (ways->centroids && total_loss(&fits[i], &ways[BALANCED]) < total_loss(&fits[i], &ways[BANDS]))
            choices[i].best = &ways[BALANCED];
    }
    return KVC_OK;
}

static kvc_status run_fits(const table_fit *fits, const choice *choices, uint32_t n, table_task *tasks,
                           kvc_error *err)
{
    uint32_t n_tasks = 0;
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t job = 0; job < fits[i].n_jobs; job++) {
            const table_way *way = choices[i].best;
            if (way->centroids && is_exact(&fits[i], job))
                kvc_rows_to_fp16(trial_centroids(&fits[i], way, job), (size_t)1 << fits[i].coder->codec.bits,
                                 fits[i].jobs[job].table);
            else
                tasks[n_tasks++] = fit_of(&fits[i], way, job);
        }
    return run_tasks(tasks, n_tasks, err);
}

static kvc_status run_all(const table_fit *fits, choice *choices, table_way *out, uint32_t n, table_task *tasks,
                          kvc_error *err)
{
    for (uint32_t i = 0; i < n; i++) {
        const table_fit *t = &fits[i];
        choices[i].best = &out[i];
        if (t->coder->codec.symbol == KVC_SYMBOL_vq)
            KVC_TRY(arrange(t, &choices[i], err));
        else
            table_arrange(t, AS_THEY_ARE, &out[i]);
    }
    KVC_TRY(run_trials(fits, choices, n, tasks, err));
    for (uint32_t i = 0; i < n; i++) {
        const table_way *best = choices[i].best;
        if (best == &out[i]) continue;
        memcpy(out[i].order, best->order, order_bytes(&fits[i]));
        memcpy(out[i].scales, best->scales, fits[i].n_codes * sizeof *best->scales);
    }
    return run_fits(fits, choices, n, tasks, err);
}

kvc_status table_run(const table_fit *fits, table_way *out, uint32_t n, kvc_error *err)
{
    size_t n_jobs = 0;
    for (uint32_t i = 0; i < n; i++) n_jobs += fits[i].n_jobs;
    choice *choices = calloc(n, sizeof *choices);
    table_task *tasks = calloc(N_TRIALS * n_jobs + 1, sizeof *tasks);
    kvc_status status = choices && tasks ? run_all(fits, choices, out, n, tasks, err)
                                         : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu tables", n_jobs);
    for (uint32_t i = 0; choices && i < n; i++)
        for (uint32_t way = 0; way < N_TRIALS; way++) way_free(&choices[i].ways[way]);
    free(choices);
    free(tasks);
    return status;
}
