/* kmeans.c - weighted k-means: checks, packing, restarts, and the table that comes out.
 *
 * The start is kmeans_start.c, the iterations kmeans_lloyd.c over nearest.c, one dimension kmeans_line.c. Points are
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

/* o->start as packed centroids. */
static void given_start(const kmeans_options *o, const kmeans_points *points, packed_centroids *c)
{
    for (uint32_t j = 0; j < o->k; j++)
        for (uint32_t d = 0; d < o->dims; d++) {
            double off = ((double)o->start[(size_t)j * o->dims + d] - points->centre[d]) / points->unit;
            c->c[packed_at(c->dims, j) + d * NEAREST_GROUP] = (float)off;
        }
    packed_centroids_ready(c);
}

/* The best of the restarts into `best`; `trial` is room for one. */
static kvc_status best_of_restarts(const kmeans_options *o, const kmeans_points *points, packed_centroids *best,
                                   packed_centroids *trial, double *least, kvc_error *err)
{
    *least = INFINITY;
    for (uint32_t restart = 0; restart == 0 || restart < o->restarts; restart++) {
        double distortion;
        if (o->start && restart == 0)
            given_start(o, points, trial);
        else
            KVC_TRY(kmeans_start(o, points, restart, trial, err));
        KVC_TRY(kmeans_lloyd(o, points, trial, &distortion, err));
        if (!(distortion < *least)) continue;
        *least = distortion;
        packed_centroids swap = *best;
        *best = *trial;
        *trial = swap;
    }
    return KVC_OK;
}

static kvc_status many_points(const kmeans_options *o, size_t n, const float *x, const float *w, size_t n_used,
                              float *centroids, double *distortion, kvc_error *err)
{
    kmeans_points points = {0};
    packed_centroids best = {0}, trial = {0};
    double least = 0.0;
    kvc_status status = pack(o->dims, n, x, w, n_used, &points, err);
    if (status == KVC_OK) status = packed_centroids_new(&best, o->k, o->dims, err);
    if (status == KVC_OK) status = packed_centroids_new(&trial, o->k, o->dims, err);
    if (status != KVC_OK) goto done;
    if (o->dims == 1 && o->k <= KMEANS_LINE_MAX)
        status = kmeans_line(o, &points, &best, &least, err);
    else
        status = best_of_restarts(o, &points, &best, &trial, &least, err);
    if (status != KVC_OK) goto done;
    unpack(&points, &best, o->dims, centroids);
    sort_rows(centroids, o->k, o->k, o->dims);
    *distortion = least / points.weight * points.unit * points.unit;
done:
    packed_points_free(&points.p);
    packed_centroids_free(&best);
    packed_centroids_free(&trial);
    return status;
}

kvc_status kmeans(const kmeans_options *o, size_t n, const float *x, const float *w, float *centroids,
                  double *distortion, kvc_error *err)
{
    size_t n_used;
    uint32_t found = 0;
    KVC_TRY(check_options(o, err));
    KVC_TRY(check_points(o->dims, n, x, w, &n_used, err));
    memset(centroids, 0, (size_t)o->k * o->dims * sizeof *centroids);
    *distortion = 0.0;
    KVC_TRY(distinct_points(o, n, x, w, centroids, &found, err));
    if (found > o->k) return many_points(o, n, x, w, n_used, centroids, distortion, err);
    sort_rows(centroids, found, o->k, o->dims);
    return KVC_OK;
}
