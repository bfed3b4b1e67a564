/* cpu_lloyd.c - Lloyd's iterations: each centroid becomes the weighted mean of the points nearest to it.
 *
 * Points are cut into blocks by their number alone; each block adds up its own sums in double, and blocks are added
 * in order: threads change nothing. The distortion comes from the sums, without a pass over the points: with S and W
 * the sums of w x and w of the points nearest to c,
 *
 *     sum of w |x - c|^2 = sum of w |x|^2 - sum over c of (2 c.S - W |c|^2),
 *
 * which loses nothing that matters, x being centred: 1e-15 of the points' energy. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "cpu_internal.h"
#include "nearest.h"

#define GROUP NEAREST_GROUP
#define BLOCK_GROUPS 256u
#define MOST_BLOCKS 32u

typedef struct lloyd {
    const packed_points *p;
    double energy;
    packed_centroids *c;
    uint32_t *label; /* [groups][16] */
    double *sums;    /* [blocks][k][dims + 1]: of w x and, last, of w; block 0 ends up with the total */
    float *cost;     /* [groups][16] w d^2, used where a centroid has no points */
    size_t n_blocks, block_groups, row;
} lloyd;

static void add_block(lloyd *l, size_t block)
{
    const packed_points *p = l->p;
    uint32_t dims = p->dims;
    double *sums = l->sums + block * l->c->k * l->row;
    size_t first = block * l->block_groups, last = first + l->block_groups;
    last = last < p->groups ? last : p->groups;
    memset(sums, 0, l->c->k * l->row * sizeof *sums);
    nearest(p, l->c, first, last - first, l->label + first * GROUP);
    for (size_t i = first * GROUP; i < last * GROUP; i++) {
        const float *x = p->x + packed_at(dims, i);
        double *sum = sums + l->label[i] * l->row, w = (double)p->w[i];
        for (uint32_t d = 0; d < dims; d++) sum[d] += w * (double)x[d * GROUP];
        sum[dims] += w;
    }
}

/* Nearest centroids and the sums over their points; returns the distortion. */
static double assign(lloyd *l)
{
    size_t n = l->c->k * l->row;
    uint32_t dims = l->c->dims;
#pragma omp parallel for schedule(dynamic)
    for (size_t block = 0; block < l->n_blocks; block++) add_block(l, block);
    for (size_t block = 1; block < l->n_blocks; block++)
        for (size_t i = 0; i < n; i++) l->sums[i] += l->sums[block * n + i];
    double gain = 0.0;
    for (uint32_t j = 0; j < l->c->k; j++) {
        const float *c = l->c->c + packed_at(dims, j);
        const double *sum = l->sums + j * l->row;
        for (uint32_t d = 0; d < dims; d++) {
            double value = (double)c[d * GROUP];
            gain += value * (2.0 * sum[d] - sum[dims] * value);
        }
    }
    return fmax(l->energy - gain, 0.0);
}

static float square_distance(const packed_points *p, size_t i, const float *c)
{
    const float *x = p->x + packed_at(p->dims, i);
    float square = 0.0f;
    for (uint32_t d = 0; d < p->dims; d++) {
        float off = x[d * GROUP] - c[d * GROUP];
        square += off * off;
    }
    return square;
}

/* Puts a centroid where it saves most: on the point that costs most, whose neighbours then cost less. */
static void move_to_costliest(lloyd *l, uint32_t j)
{
    const packed_points *p = l->p;
    size_t most = 0;
    for (size_t i = 1; i < p->n; i++)
        if (l->cost[i] > l->cost[most]) most = i;
    if (!(l->cost[most] > 0.0f)) return;
    float *c = l->c->c + packed_at(p->dims, j);
    for (uint32_t d = 0; d < p->dims; d++) c[d * GROUP] = p->x[packed_at(p->dims, most) + d * GROUP];
    for (size_t i = 0; i < p->n; i++) l->cost[i] = fminf(l->cost[i], p->w[i] * square_distance(p, i, c));
}

static void repair(lloyd *l)
{
    const packed_points *p = l->p;
    int costs_known = 0;
    for (uint32_t j = 0; j < l->c->k; j++) {
        if (l->sums[j * l->row + p->dims] > 0.0) continue;
        for (size_t i = 0; !costs_known && i < p->n; i++)
            l->cost[i] = p->w[i] * square_distance(p, i, l->c->c + packed_at(p->dims, l->label[i]));
        costs_known = 1;
        move_to_costliest(l, j);
    }
}

static void update(lloyd *l)
{
    uint32_t dims = l->c->dims;
    for (uint32_t j = 0; j < l->c->k; j++) {
        const double *sum = l->sums + j * l->row;
        float *c = l->c->c + packed_at(dims, j);
        for (uint32_t d = 0; sum[dims] > 0.0 && d < dims; d++) c[d * GROUP] = (float)(sum[d] / sum[dims]);
    }
    repair(l);
    packed_centroids_ready(l->c);
}

/* An iteration that does not gain ends it; `kept` are the centroids before. */
static double iterate(lloyd *l, uint32_t iterations, packed_centroids *kept)
{
    size_t slots = (l->c->k + GROUP - 1) / GROUP * GROUP;
    double distortion = assign(l);
    for (uint32_t i = 0; i < iterations && distortion > 0.0; i++) {
        memcpy(kept->c, l->c->c, slots * l->c->dims * sizeof *kept->c);
        memcpy(kept->half, l->c->half, slots * sizeof *kept->half);
        update(l);
        double next = assign(l);
        if (!(next < distortion)) {
            packed_centroids swap = *l->c;
            *l->c = *kept;
            *kept = swap;
            break;
        }
        int go_on = distortion - next >= LLOYD_LEAST_GAIN * distortion;
        distortion = next;
        if (!go_on) break;
    }
    return distortion;
}

static kvc_status run_job(lloyd_job *job, kvc_error *err)
{
    const packed_points *p = job->points;
    packed_centroids *c = job->centroids, kept = {0};
    lloyd l = {.p = p, .energy = job->energy, .c = c, .row = p->dims + 1u};
    l.block_groups = (p->groups + MOST_BLOCKS - 1) / MOST_BLOCKS;
    if (l.block_groups < BLOCK_GROUPS) l.block_groups = BLOCK_GROUPS;
    l.n_blocks = (p->groups + l.block_groups - 1) / l.block_groups;
    l.label = malloc(p->groups * GROUP * sizeof *l.label);
    l.cost = malloc(p->groups * GROUP * sizeof *l.cost);
    l.sums = malloc(l.n_blocks * c->k * l.row * sizeof *l.sums);
    kvc_status status = packed_centroids_new(&kept, c->k, c->dims, err);
    if (status == KVC_OK && (!l.label || !l.cost || !l.sums))
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means of %zu points", p->n);
    if (status == KVC_OK) job->distortion = iterate(&l, job->iterations, &kept);
    packed_centroids_free(&kept);
    free(l.label);
    free(l.cost);
    free(l.sums);
    return status;
}

kvc_status cpu_lloyd(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err)
{
    (void)b;
    for (uint32_t i = 0; i < n; i++) KVC_TRY(run_job(&jobs[i], err));
    return KVC_OK;
}
