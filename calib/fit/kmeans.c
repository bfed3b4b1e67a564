/* kmeans.c - weighted k-means: checks, packing, restarts, and the table that comes out.
 *
 * The start is kmeans_start.c, the iterations are the backend's, one dimension is kmeans_line.c. Points are
 * centred on their weighted mean and scaled by their largest deviation, so that fp32 products lose nothing to an
 * offset and no magnitude overflows. */
#include "kmeans.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kmeans_parts.h"
#include "random.h"

#define MAX_CENTROIDS 4096u

static kvc_status check_options(const kmeans_options *o, kvc_error *err)
{
    if (o->k == 0 || o->k > MAX_CENTROIDS)
        return kvc_fail(err, KVC_INVALID, "k-means with %u centroids, not 1 to %u", o->k, MAX_CENTROIDS);
    if (o->dims == 0 || o->dims > NEAREST_MAX_DIMS)
        return kvc_fail(err, KVC_INVALID, "k-means in %u dimensions, not 1 to %u", o->dims, NEAREST_MAX_DIMS);
    return KVC_OK;
}

/* *n_used: points of weight above 0. */
static kvc_status check_points(uint32_t dims, size_t n, const float *x, const float *w, size_t *n_used,
                               kvc_error *err)
{
    *n_used = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(w[i]) || w[i] < 0.0f)
            return kvc_fail(err, KVC_NONFINITE, "weight %zu of k-means is %g", i, (double)w[i]);
        for (uint32_t d = 0; d < dims; d++)
            if (!isfinite(x[i * dims + d]))
                return kvc_fail(err, KVC_NONFINITE, "value %u of point %zu of k-means is %g", d, i,
                                (double)x[i * dims + d]);
        *n_used += w[i] > 0.0f;
    }
    return KVC_OK;
}

/* ---- few distinct points ---- */

static uint64_t hash_of(const float *x, uint32_t dims)
{
    uint64_t hash = 0;
    for (uint32_t d = 0; d < dims; d++) {
        float value = x[d] + 0.0f; /* both zeros are one value */
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        hash = random_mix(hash ^ bits);
    }
    return hash;
}

static int same_point(const float *a, const float *b, uint32_t dims)
{
    for (uint32_t d = 0; d < dims; d++)
        if (a[d] != b[d]) return 0;
    return 1;
}

/* The distinct points of weight above 0, into rows of centroids; k + 1 where there are more than k. */
static kvc_status distinct_points(const kmeans_options *o, size_t n, const float *x, const float *w, float *centroids,
                                  uint32_t *found, kvc_error *err)
{
    uint32_t dims = o->dims, slots = 4;
    while (slots < 4 * o->k) slots *= 2;
    uint32_t *table = calloc(slots, sizeof *table); /* 1 + index, 0 where free */
    if (!table) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means");
    *found = 0;
    for (size_t i = 0; i < n && *found <= o->k; i++) {
        if (!(w[i] > 0.0f)) continue;
        uint32_t at = (uint32_t)hash_of(x + i * dims, dims) & (slots - 1);
        while (table[at] && !same_point(x + i * dims, centroids + (size_t)(table[at] - 1) * dims, dims))
            at = (at + 1) & (slots - 1);
        if (table[at]) continue;
        if (*found < o->k) memcpy(centroids + (size_t)*found * dims, x + i * dims, dims * sizeof *x);
        table[at] = ++*found;
    }
    free(table);
    return KVC_OK;
}

/* ---- packing ---- */

static void find_centre(uint32_t dims, size_t n, const float *x, const float *w, kmeans_points *points)
{
    double sum[NEAREST_MAX_DIMS] = {0}, weight = 0.0;
    for (size_t i = 0; i < n; i++) {
        weight += (double)w[i];
        for (uint32_t d = 0; d < dims; d++) sum[d] += (double)w[i] * (double)x[i * dims + d];
    }
    for (uint32_t d = 0; d < dims; d++) points->centre[d] = sum[d] / weight;
    points->unit = 0.0;
    for (size_t i = 0; i < n; i++)
        for (uint32_t d = 0; w[i] > 0.0f && d < dims; d++)
            points->unit = fmax(points->unit, fabs((double)x[i * dims + d] - points->centre[d]));
    if (!(points->unit > 0.0)) points->unit = 1.0;
}

static double largest(const float *w, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++) most = w[i] > most ? w[i] : most;
    return (double)most;
}

static kvc_status pack(uint32_t dims, size_t n, const float *x, const float *w, size_t n_used, kmeans_points *points,
                       kvc_error *err)
{
    KVC_TRY(packed_points_new(&points->p, n_used, dims, err));
    find_centre(dims, n, x, w, points);
    packed_points *p = &points->p;
    double most = largest(w, n);
    points->weight = points->energy = 0.0;
    for (size_t i = 0, used = 0; i < n; i++) {
        if (!(w[i] > 0.0f)) continue;
        float *to = p->x + packed_at(p->dims, used);
        double square = 0.0;
        for (uint32_t d = 0; d < dims; d++) {
            float value = (float)(((double)x[i * dims + d] - points->centre[d]) / points->unit);
            to[d * NEAREST_GROUP] = value;
            square += (double)value * (double)value;
        }
        p->w[used] = (float)((double)w[i] / most);
        points->weight += (double)p->w[used];
        points->energy += (double)p->w[used] * square;
        used++;
    }
    return KVC_OK;
}

/* ---- the table ---- */

void kmeans_pack(const kmeans_points *points, const float *values, uint32_t k, uint32_t dims, packed_centroids *c)
{
    for (uint32_t j = 0; j < k; j++)
        for (uint32_t d = 0; d < dims; d++) {
            double off = ((double)values[(size_t)j * dims + d] - points->centre[d]) / points->unit;
            c->c[packed_at(c->dims, j) + d * NEAREST_GROUP] = (float)off;
        }
    packed_centroids_ready(c);
}

static void unpack(const kmeans_points *points, const packed_centroids *c, uint32_t dims, float *centroids)
{
    for (uint32_t j = 0; j < c->k; j++)
        for (uint32_t d = 0; d < dims; d++) {
            double packed = (double)c->c[packed_at(c->dims, j) + d * NEAREST_GROUP];
            double value = points->centre[d] + points->unit * packed;
            centroids[j * dims + d] = (float)fmin(fmax(value, -(double)FLT_MAX), (double)FLT_MAX);
        }
}

static int compare(const void *a, const void *b, void *dims)
{
    const float *x = a, *y = b;
    for (uint32_t d = 0; d < *(const uint32_t *)dims; d++)
        if (x[d] != y[d]) return x[d] < y[d] ? -1 : 1;
    return 0;
}

/* The first n rows ascending, the rest like the last of them. */
static void sort_rows(float *centroids, uint32_t n, uint32_t k, uint32_t dims)
{
    for (uint32_t i = 0; i < n * dims; i++) centroids[i] += 0.0f;
    qsort_r(centroids, n, dims * sizeof *centroids, compare, &dims);
    for (uint32_t j = n; n && j < k; j++)
        memcpy(centroids + j * dims, centroids + (n - 1) * dims, dims * sizeof *centroids);
}

/* ---- a table ---- */

bool kmeans_is_exact(uint32_t k, uint32_t dims)
{
    return dims == 1 && k <= KMEANS_LINE_MAX;
}

struct kmeans_task {
    kmeans_options o;
    float *table; /* [k][dims] in the end, where it does not come from `restarts`; else NULL */
    bool few;     /* the table has all distinct points, and what follows is empty */
    kmeans_points points;
    packed_centroids *restarts; /* [n_restarts] starts, then what iterations make of them */
    uint32_t n_restarts, best;
    bool done;    /* without iterations */
    double least; /* distortion of the best */
};

static kvc_status start(kmeans_task *t, uint32_t restart, kvc_error *err)
{
    packed_centroids *c = &t->restarts[restart];
    KVC_TRY(packed_centroids_new(c, t->o.k, t->o.dims, err));
    if (t->done) return kmeans_line(&t->o, &t->points, c, &t->least, err);
    if (!t->o.start || restart) return kmeans_start(&t->o, &t->points, restart, c, err);
    kmeans_pack(&t->points, t->o.start, t->o.k, t->o.dims, c);
    return KVC_OK;
}

static kvc_status begin_many(kmeans_task *t, size_t n, const float *x, const float *w, size_t n_used, kvc_error *err)
{
    KVC_TRY(pack(t->o.dims, n, x, w, n_used, &t->points, err));
    t->done = kmeans_is_exact(t->o.k, t->o.dims);
    t->least = INFINITY;
    t->n_restarts = t->done || t->o.restarts == 0 ? 1 : t->o.restarts;
    t->restarts = calloc(t->n_restarts, sizeof *t->restarts);
    if (!t->restarts) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u starts of k-means", t->n_restarts);
    for (uint32_t i = 0; i < t->n_restarts; i++) KVC_TRY(start(t, i, err));
    return KVC_OK;
}

static kvc_status begin(kmeans_task *t, size_t n, const float *x, const float *w, kvc_error *err)
{
    size_t n_used;
    uint32_t found = 0;
    KVC_TRY(check_options(&t->o, err));
    KVC_TRY(check_points(t->o.dims, n, x, w, &n_used, err));
    t->table = calloc((size_t)t->o.k * t->o.dims, sizeof *t->table);
    if (!t->table) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means");
    KVC_TRY(distinct_points(&t->o, n, x, w, t->table, &found, err));
    if (found <= t->o.k) {
        t->few = t->done = true;
        if (t->o.bytes) kmeans_round(t->table, (size_t)found * t->o.dims);
        sort_rows(t->table, found, t->o.k, t->o.dims);
        return KVC_OK;
    }
    free(t->table);
    t->table = NULL;
    return begin_many(t, n, x, w, n_used, err);
}

kvc_status kmeans_begin(kmeans_task **out, const kmeans_options *o, size_t n, const float *x, const float *w,
                        kvc_error *err)
{
    kmeans_task *t = *out = calloc(1, sizeof *t);
    if (!t) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means");
    t->o = *o;
    kvc_status status = begin(t, n, x, w, err);
    if (status == KVC_OK) return KVC_OK;
    kmeans_free(t);
    *out = NULL;
    return status;
}

void kmeans_free(kmeans_task *t)
{
    if (!t) return;
    free(t->table);
    packed_points_free(&t->points.p);
    for (uint32_t i = 0; t->restarts && i < t->n_restarts; i++) packed_centroids_free(&t->restarts[i]);
    free(t->restarts);
    free(t);
}

/* One restart of the tasks that have it; returns how many those were. */
static kvc_status solve_round(backend *b, kmeans_task *const *tasks, uint32_t n, uint32_t restart, kmeans_task **some,
                              lloyd_job *jobs, uint32_t *n_some, kvc_error *err)
{
    *n_some = 0;
    for (uint32_t i = 0; i < n; i++) {
        kmeans_task *t = tasks[i];
        if (t->done || restart >= t->n_restarts) continue;
        jobs[*n_some] = (lloyd_job){&t->points.p, t->points.energy, t->o.iterations, &t->restarts[restart], 0};
        some[(*n_some)++] = t;
    }
    if (*n_some == 0) return KVC_OK;
    KVC_TRY(b->lloyd(b, *n_some, jobs, err));
    for (uint32_t i = 0; i < *n_some; i++) {
        if (!(jobs[i].distortion < some[i]->least)) continue;
        some[i]->least = jobs[i].distortion;
        some[i]->best = restart;
    }
    return KVC_OK;
}

/* The best restart's table, in bytes. */
static kvc_status to_bytes(backend *b, kmeans_task *t, kvc_error *err)
{
    t->table = malloc((size_t)t->o.k * t->o.dims * sizeof *t->table);
    if (!t->table) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a table of %u centroids", t->o.k);
    unpack(&t->points, &t->restarts[t->best], t->o.dims, t->table);
    return kmeans_bytes(b, &t->points, t->o.k, t->o.dims, t->table, &t->least, err);
}

kvc_status kmeans_solve(backend *b, kmeans_task *const *tasks, uint32_t n, kvc_error *err)
{
    uint32_t n_some = n;
    kmeans_task **some = calloc(n + 1u, sizeof *some);
    lloyd_job *jobs = calloc(n + 1u, sizeof *jobs);
    kvc_status status = some && jobs ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", n);
    for (uint32_t restart = 0; status == KVC_OK && n_some > 0; restart++)
        status = solve_round(b, tasks, n, restart, some, jobs, &n_some, err);
    for (uint32_t i = 0; i < n && status == KVC_OK; i++)
        if (tasks[i]->o.bytes && !tasks[i]->few) status = to_bytes(b, tasks[i], err);
    free(some);
    free(jobs);
    return status;
}

void kmeans_end(const kmeans_task *t, float *centroids, double *distortion)
{
    *distortion = 0.0;
    if (t->table)
        memcpy(centroids, t->table, (size_t)t->o.k * t->o.dims * sizeof *centroids);
    else
        unpack(&t->points, &t->restarts[t->best], t->o.dims, centroids);
    if (t->few) return;
    sort_rows(centroids, t->o.k, t->o.k, t->o.dims);
    *distortion = t->least / t->points.weight * t->points.unit * t->points.unit;
}

kvc_status kmeans(backend *b, const kmeans_options *o, size_t n, const float *x, const float *w, float *centroids,
                  double *distortion, kvc_error *err)
{
    kmeans_task *t;
    KVC_TRY(kmeans_begin(&t, o, n, x, w, err));
    kvc_status status = kmeans_solve(b, &t, 1, err);
    if (status == KVC_OK) kmeans_end(t, centroids, distortion);
    kmeans_free(t);
    return status;
}
