/* kmeans_line.c - weighted k-means in one dimension: exact, by dynamic programming over sorted points.
 *
 * Clusters on a line are intervals, so that the least cost of the first i points in j clusters is
 *
 *     D_j(i) = min over m of D_{j-1}(m) + cost(m, i),   cost by prefix sums,
 *
 * and the best m does not fall as i grows: halving i finds all of a level in n log n (Gronlund et al. 2017). More
 * points than a few for each centroid are first merged into bins, fine in weight and in place alike, so that tails
 * keep bins of their own; then Lloyd's iterations over all points, each k binary searches. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "kmeans_parts.h"

#define BINS_PER_CENTROID 16u
#define LEAST_BINS 256u

/* Prefix sums [n + 1] of w, w x and w x^2 over sorted points, or over bins of them. */
typedef struct prefix {
    size_t n;
    double *w, *wx, *wxx;
} prefix;

typedef struct pair {
    float x, w;
} pair;

typedef struct line {
    pair *sorted;         /* [n] */
    prefix all, bins;     /* over sorted; over a few thousand ranges of it */
    double *cost, *next;  /* [bins + 1] D_{j-1}, D_j */
    uint16_t *split;      /* [k][bins + 1] the m of each D_j(i) */
    double *value, *mean; /* [k] centroids, and those of the next iteration */
    double *memory;       /* of all the doubles above */
} line;

static int by_place(const void *a, const void *b)
{
    const pair *p = a, *q = b;
    if (p->x != q->x) return p->x < q->x ? -1 : 1;
    return (p->w > q->w) - (p->w < q->w);
}

/* Of the points m .. i - 1. */
static double range_cost(const prefix *p, size_t m, size_t i)
{
    double w = p->w[i] - p->w[m], wx = p->wx[i] - p->wx[m], wxx = p->wxx[i] - p->wxx[m];
    double cost = w > 0.0 ? wxx - wx * wx / w : 0.0;
    return cost > 0.0 ? cost : 0.0;
}

/* `empty` where they weigh nothing. */
static double range_mean(const prefix *p, size_t m, size_t i, double empty)
{
    double w = p->w[i] - p->w[m];
    return w > 0.0 ? (p->wx[i] - p->wx[m]) / w : empty;
}

/* D_j for i in lo .. hi, whose m lies in from .. to. */
static void solve_level(line *l, uint16_t *split, size_t lo, size_t hi, size_t from, size_t to)
{
    size_t i = lo + (hi - lo) / 2, best = from, last = to < i ? to : i;
    double least = INFINITY;
    for (size_t m = from; m <= last; m++) {
        double cost = l->cost[m] + range_cost(&l->bins, m, i);
        if (cost < least) least = cost, best = m;
    }
    l->next[i] = least;
    split[i] = (uint16_t)best;
    if (i > lo) solve_level(l, split, lo, i - 1, from, best);
    if (i < hi) solve_level(l, split, i + 1, hi, best, to);
}

static void solve(line *l, uint32_t k)
{
    size_t n = l->bins.n;
    for (size_t i = 0; i <= n; i++) l->cost[i] = range_cost(&l->bins, 0, i);
    for (uint32_t j = 1; j < k; j++) {
        solve_level(l, l->split + j * (n + 1), 0, n, 0, n);
        double *swap = l->cost;
        l->cost = l->next;
        l->next = swap;
    }
    size_t end = n;
    for (uint32_t j = k; j-- > 0;) {
        size_t first = j ? l->split[j * (n + 1) + end] : 0;
        l->value[j] = range_mean(&l->bins, first, end, j + 1 < k ? l->value[j + 1] : 0.0);
        end = first;
    }
}

static void add_point(prefix *p, size_t i, pair point)
{
    double x = (double)point.x, w = (double)point.w;
    p->w[i + 1] = p->w[i] + w;
    p->wx[i + 1] = p->wx[i] + w * x;
    p->wxx[i + 1] = p->wxx[i] + w * x * x;
}

/* Ends a bin wherever half the sum of (share of the weight) and (share of the range) passes a multiple of 1 / bins.
 */
static void fill_bins(line *l, size_t most)
{
    const prefix *all = &l->all;
    prefix *bins = &l->bins;
    double weight = all->w[all->n], first = (double)l->sorted[0].x;
    double range = (double)l->sorted[all->n - 1].x - first;
    bins->n = 0;
    for (size_t i = 1; i <= all->n; i++) {
        double place = i < all->n ? ((double)l->sorted[i].x - first) / range : 1.0;
        double share = 0.5 * (all->w[i] / weight + place) * (double)most;
        if (i < all->n && all->n > most && share < (double)(bins->n + 1)) continue;
        bins->n++;
        bins->w[bins->n] = all->w[i];
        bins->wx[bins->n] = all->wx[i];
        bins->wxx[bins->n] = all->wxx[i];
    }
}

/* Sorted points up to x. */
static size_t points_below(const line *l, double x)
{
    size_t lo = 0, hi = l->all.n;
    while (lo < hi) {
        size_t middle = lo + (hi - lo) / 2;
        if ((double)l->sorted[middle].x <= x)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

/* Assigns points to the ascending centroids value[]; each becomes the mean of its own in mean[]. Returns the cost of
 * value[]. */
static double iterate(const line *l, uint32_t k, double *mean)
{
    double total = 0.0;
    for (size_t j = 0, first = 0, end; j < k; j++, first = end) {
        double c = l->value[j];
        end = j + 1 < k ? points_below(l, 0.5 * (c + l->value[j + 1])) : l->all.n;
        if (end < first) end = first;
        mean[j] = range_mean(&l->all, first, end, c);
        double w = l->all.w[end] - l->all.w[first];
        total += range_cost(&l->all, first, end) + w * (mean[j] - c) * (mean[j] - c);
    }
    return total;
}

/* Until nothing is gained; returns the cost of value[]. */
static double polish(line *l, uint32_t k, uint32_t iterations)
{
    double cost = iterate(l, k, l->mean);
    for (uint32_t i = 0; i < iterations; i++) {
        double before = cost, *swap = l->value;
        l->value = l->mean;
        l->mean = swap;
        cost = iterate(l, k, l->mean);
        if (!(cost < before)) break;
    }
    return cost;
}

static void fill_points(line *l, const packed_points *p)
{
    for (size_t i = 0; i < p->n; i++) l->sorted[i] = (pair){p->x[i], p->w[i]};
    qsort(l->sorted, p->n, sizeof *l->sorted, by_place);
    for (size_t i = 0; i < p->n; i++) add_point(&l->all, i, l->sorted[i]);
}

static void take_prefix(prefix *p, size_t n, double **at)
{
    *p = (prefix){n, *at, *at + n + 1, *at + 2 * (n + 1)};
    *at += 3 * (n + 1);
}

static kvc_status line_new(line *l, size_t n, size_t most_bins, uint32_t k, kvc_error *err)
{
    size_t doubles = 3 * (n + 1) + 5 * (most_bins + 1) + 2 * k;
    *l = (line){.sorted = malloc(n * sizeof *l->sorted),
                .split = malloc(k * (most_bins + 1) * sizeof *l->split),
                .memory = calloc(doubles, sizeof *l->memory)};
    if (!l->sorted || !l->split || !l->memory)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means of %zu values", n);
    double *at = l->memory;
    take_prefix(&l->all, n, &at);
    take_prefix(&l->bins, most_bins, &at);
    l->cost = at;
    l->next = l->cost + most_bins + 1;
    l->value = l->next + most_bins + 1;
    l->mean = l->value + k;
    return KVC_OK;
}

kvc_status kmeans_line(const kmeans_options *o, const kmeans_points *points, packed_centroids *c, double *distortion,
                       kvc_error *err)
{
    line l;
    size_t most = (size_t)o->k * BINS_PER_CENTROID;
    if (most < LEAST_BINS) most = LEAST_BINS;
    /* One more than asked for: the last bin may be what rounding leaves. */
    kvc_status status = line_new(&l, points->p.n, most + 1, o->k, err);
    if (status == KVC_OK) {
        fill_points(&l, &points->p);
        fill_bins(&l, most);
        solve(&l, o->k);
        *distortion = polish(&l, o->k, o->iterations);
        for (uint32_t j = 0; j < o->k; j++) c->c[packed_at(1, j)] = (float)l.value[j];
    }
    free(l.sorted);
    free(l.split);
    free(l.memory);
    return status;
}
