/* kmeans_start.c - greedy k-means++ (Arthur and Vassilvitskii 2007): each centroid is drawn with probability w d^2,
 * d the distance to the nearest one so far, a few times, and the draw that leaves the least cost is kept.
 *
 * It runs on a subsample of SAMPLE_PER_CENTROID points a centroid, evenly spread over the points' order. After
 * Lloyd's iterations over 131072 points, k = 256, starts from all points cost 16 times as much and gave distortions
 * .8 % lower in 2 dimensions, .2 % in 4, none in 8; a single draw gave them up to .7 % higher, seven .1 % lower.
 * Cost: k draws sample dims. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "isa.h"
#include "kmeans_parts.h"
#include "random.h"

#define SAMPLE_PER_CENTROID 32u
#define SAMPLE_LEAST 4096u
#define GROUP NEAREST_GROUP
#define DRAWS 4u
#define APART (5u * GROUP) /* costs that are a power of two apart would share a few lines of the cache */

/* w d^2 of each point [groups][16], and the sums of the 16 columns. */
typedef struct costs {
    float *point, column[GROUP];
} costs;

typedef struct start {
    packed_points p;
    costs now, with[DRAWS];        /* with the centroids so far, and with each of those drawn for one more */
    uint64_t seed, restart, draws; /* drawn so far */
    float *memory;
} start;

static double draw(start *s)
{
    return random_unit(s->seed, s->restart, s->draws++);
}

/* A point's chance: half by its weight, half by its part of the energy, so that far points are not left out. */
static double chance(const kmeans_points *points, size_t i)
{
    const packed_points *p = &points->p;
    const float *x = p->x + packed_at(p->dims, i);
    double square = 0.0;
    for (uint32_t d = 0; d < p->dims; d++) square += (double)x[d * GROUP] * (double)x[d * GROUP];
    return .5 * (double)p->w[i] * (1.0 / points->weight + square / points->energy);
}

/* One point from each of s->p.n equal parts of the chances, with the weight of those that it stands for. */
static void take_sample(start *s, const kmeans_points *points)
{
    const packed_points *from = &points->p;
    double before = 0.0, own = chance(points, 0), n = (double)s->p.n;
    for (size_t i = 0, at = 0; i < s->p.n; i++) {
        double place = ((double)i + draw(s)) / n;
        while (at + 1 < from->n && before + own <= place) {
            before += own;
            own = chance(points, ++at);
        }
        const float *x = from->x + packed_at(from->dims, at);
        float *to = s->p.x + packed_at(from->dims, i);
        for (uint32_t d = 0; d < from->dims; d++) to[d * GROUP] = x[d * GROUP];
        s->p.w[i] = (float)((double)from->w[at] / (own * n));
    }
}

/* 16 floats, anywhere in memory. Where the machine has shorter vectors the compiler makes do. */
typedef float lanes __attribute__((vector_size(4 * GROUP), aligned(4), may_alias));
typedef int32_t masks __attribute__((vector_size(4 * GROUP), aligned(4), may_alias));

/* Points in the outer loop: each is loaded once for all the centroids tried. */
FIT_INLINE void add_costs(uint32_t dims, const packed_points *p, uint32_t n,
                          const float (*centroid)[NEAREST_MAX_DIMS], const float *before, costs *after)
{
    lanes column[DRAWS] = {{0}};
    for (size_t g = 0; g < p->groups; g++) {
        const lanes *x = (const lanes *)(p->x + g * dims * GROUP), *w = (const lanes *)(p->w + g * GROUP);
        lanes now = *(const lanes *)(before + g * GROUP);
        for (uint32_t t = 0; t < n; t++) {
            lanes square = {0};
#pragma GCC unroll 16
            for (uint32_t d = 0; d < dims; d++) {
                lanes off = x[d] - centroid[t][d];
                square += off * off;
            }
            lanes cost = *w * square;
            masks less = cost < now;
            lanes least = (lanes)((less & (masks)cost) | (~less & (masks)now));
            *(lanes *)(after[t].point + g * GROUP) = least;
            column[t] += least;
        }
    }
    for (uint32_t t = 0; t < n; t++) memcpy(after[t].column, &column[t], sizeof column[t]);
}

/* The costs with one more centroid, for each of n. */
FIT_CLONES static void costs_with(const packed_points *p, uint32_t n, const float (*centroid)[NEAREST_MAX_DIMS],
                                  const costs *before, costs *after)
{
    const float *from = before->point;
    switch (p->dims) {
    case 1: add_costs(1, p, n, centroid, from, after); break;
    case 2: add_costs(2, p, n, centroid, from, after); break;
    case 4: add_costs(4, p, n, centroid, from, after); break;
    case 8: add_costs(8, p, n, centroid, from, after); break;
    case 16: add_costs(16, p, n, centroid, from, after); break;
    }
}

static double total_of(const costs *c)
{
    double total = 0.0;
    for (uint32_t i = 0; i < GROUP; i++) total += (double)c->column[i];
    return total;
}

static void swap_costs(costs *a, costs *b)
{
    costs swap = *a;
    *a = *b;
    *b = swap;
}

/* A point drawn by its cost: first a column, then down it. The last that costs anything where rounding leads past the
 * end. */
static size_t draw_point(start *s)
{
    const costs *c = &s->now;
    double left = draw(s) * total_of(c);
    size_t last = 0;
    for (uint32_t i = 0; i < GROUP; i++) {
        if (left >= (double)c->column[i]) {
            left -= (double)c->column[i];
            continue;
        }
        for (size_t at = i; at < s->p.groups * GROUP; at += GROUP) {
            if (!(c->point[at] > 0.0f)) continue;
            last = at;
            left -= (double)c->point[at];
            if (left < 0.0) return at;
        }
        left = 0.0;
    }
    return last;
}

static void read_point(const packed_points *p, size_t at, float *x)
{
    for (uint32_t d = 0; d < p->dims; d++) x[d] = p->x[packed_at(p->dims, at) + d * GROUP];
}

static void write_centroid(packed_centroids *c, uint32_t j, const float *x)
{
    for (uint32_t d = 0; d < c->dims; d++) c->c[packed_at(c->dims, j) + d * GROUP] = x[d];
}

/* The first is drawn by weight: what it costs to be at distance 1 of everything. */
static void first_centroid(start *s, packed_centroids *c)
{
    float x[NEAREST_MAX_DIMS];
    for (size_t i = 0; i < s->p.groups * GROUP; i++) {
        s->now.point[i] = s->p.w[i];
        s->now.column[i % GROUP] += s->p.w[i];
    }
    read_point(&s->p, draw_point(s), x);
    write_centroid(c, 0, x);
    for (size_t i = 0; i < s->p.groups * GROUP; i++) s->now.point[i] = INFINITY;
    costs_with(&s->p, 1, (const float(*)[NEAREST_MAX_DIMS])x, &s->now, s->with);
    swap_costs(&s->now, s->with);
}

/* Where every point has its own centroid already, the rest repeat one: kmeans_lloyd.c moves them. */
static void next_centroid(start *s, packed_centroids *c, uint32_t j)
{
    float x[DRAWS][NEAREST_MAX_DIMS];
    uint32_t best = 0;
    for (uint32_t i = 0; i < DRAWS; i++) read_point(&s->p, draw_point(s), x[i]);
    costs_with(&s->p, DRAWS, (const float(*)[NEAREST_MAX_DIMS])x, &s->now, s->with);
    for (uint32_t i = 1; i < DRAWS; i++)
        if (total_of(&s->with[i]) < total_of(&s->with[best])) best = i;
    write_centroid(c, j, x[best]);
    swap_costs(&s->now, &s->with[best]);
}

static kvc_status start_new(start *s, size_t n, uint32_t dims, kvc_error *err)
{
    KVC_TRY(packed_points_new(&s->p, n, dims, err));
    size_t each = s->p.groups * GROUP + APART;
    s->memory = calloc((1 + DRAWS) * each, sizeof *s->memory);
    if (!s->memory) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the start of k-means");
    s->now.point = s->memory;
    for (uint32_t i = 0; i < DRAWS; i++) s->with[i].point = s->memory + (1 + i) * each;
    return KVC_OK;
}

kvc_status kmeans_start(const kmeans_options *o, const kmeans_points *points, uint32_t restart, packed_centroids *c,
                        kvc_error *err)
{
    size_t n = (size_t)o->k * SAMPLE_PER_CENTROID;
    if (n < SAMPLE_LEAST) n = SAMPLE_LEAST;
    if (n > points->p.n) n = points->p.n;
    start s = {.seed = o->seed, .restart = restart};
    kvc_status status = start_new(&s, n, points->p.dims, err);
    if (status != KVC_OK) goto done;
    take_sample(&s, points);
    first_centroid(&s, c);
    for (uint32_t j = 1; j < o->k; j++) next_centroid(&s, c, j);
    packed_centroids_ready(c);
done:
    packed_points_free(&s.p);
    free(s.memory);
    return status;
}
