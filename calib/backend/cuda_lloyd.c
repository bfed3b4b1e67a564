/* cuda_lloyd.c - k-means iterations of many tables at a time: points and centroids go to the device, the kernels of
 * kernels/op/lloyd.cu run all iterations, centroids come back. Memory: per point of a table 4 (dims + 3) bytes. */
#include "cuda_internal.h"
#include "nearest.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(LLOYD_LEAST_GAIN == 1e-4, "kernels/op/lloyd.cu");

enum { X, W, C, HALF, KEPT, LABEL, SUMS, COST, N_PIECES }; /* of a job's memory */

#define USUAL_DIMS 8 /* in the mean over a batch of tables */

size_t cuda_lloyd_bytes(uint32_t n, size_t points)
{
    return n * points * (USUAL_DIMS + 3) * sizeof(float);
}

typedef struct batch {
    uint32_t n;
    lloyd_job *jobs;
    op_lloyd_job *host, *dev; /* [n] */
    cuda_part *parts;         /* [n][N_PIECES], and dev */
    uint32_t most_k, most_iterations;
    size_t most_points;
} batch;

static void describe(batch *b, uint32_t index)
{
    const lloyd_job *job = &b->jobs[index];
    const packed_points *p = job->points;
    const packed_centroids *c = job->centroids;
    op_lloyd_job *o = &b->host[index];
    uint32_t slots = (c->k + NEAREST_GROUP - 1) / NEAREST_GROUP * NEAREST_GROUP;
    size_t points = p->groups * NEAREST_GROUP, f = sizeof(float);
    *o = (op_lloyd_job){
        .n = p->n, .dims = p->dims, .k = c->k, .slots = slots, .iterations = job->iterations, .energy = job->energy};
    const cuda_part parts[N_PIECES] = {[X] = {&o->x, points * p->dims * f},
                                       [W] = {&o->w, points * f},
                                       [C] = {&o->c, (size_t)slots * p->dims * f},
                                       [HALF] = {&o->half, slots * f},
                                       [KEPT] = {&o->kept, (size_t)slots * p->dims * f},
                                       [LABEL] = {&o->label, points * sizeof *o->label},
                                       [SUMS] = {&o->sums, (size_t)c->k * (p->dims + 1) * sizeof *o->sums},
                                       [COST] = {&o->cost, points * f}};
    memcpy(b->parts + (size_t)index * N_PIECES, parts, sizeof parts);
    b->most_k = c->k > b->most_k ? c->k : b->most_k;
    b->most_points = p->n > b->most_points ? p->n : b->most_points;
    b->most_iterations = job->iterations > b->most_iterations ? job->iterations : b->most_iterations;
}

static kvc_status send(cuda_state *s, const batch *b, uint32_t index, kvc_error *err)
{
    const lloyd_job *job = &b->jobs[index];
    const cuda_part *part = b->parts + (size_t)index * N_PIECES;
    const op_lloyd_job *o = &b->host[index];
    KVC_TRY(cuda_put(s, (float *)o->x, job->points->x, part[X].bytes, err));
    KVC_TRY(cuda_put(s, (float *)o->w, job->points->w, part[W].bytes, err));
    KVC_TRY(cuda_put(s, o->c, job->centroids->c, part[C].bytes, err));
    return cuda_put(s, o->half, job->centroids->half, part[HALF].bytes, err);
}

static kvc_status run(cuda_state *s, batch *b, kvc_error *err)
{
    size_t n = b->n;
    for (uint32_t i = 0; i < n; i++) describe(b, i);
    b->parts[n * N_PIECES] = (cuda_part){&b->dev, n * sizeof *b->dev};
    KVC_TRY(cuda_scratch(s, b->parts, n * N_PIECES + 1, err));
    for (uint32_t i = 0; i < n; i++) KVC_TRY(send(s, b, i, err));
    KVC_TRY(cuda_put(s, b->dev, b->host, n * sizeof *b->dev, err));
    KVC_TRY_CUDA(op_lloyd(b->n, b->dev, b->most_points, b->most_k, b->most_iterations, s->compute));
    for (uint32_t i = 0; i < n; i++)
        KVC_TRY(cuda_fetch(s, b->jobs[i].centroids->c, b->host[i].c, b->parts[i * N_PIECES + C].bytes, err));
    KVC_TRY(cuda_fetch(s, b->host, b->dev, n * sizeof *b->dev, err));
    for (uint32_t i = 0; i < n; i++) b->jobs[i].distortion = b->host[i].distortion;
    return KVC_OK;
}

kvc_status cuda_lloyd(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err)
{
    batch own = {.n = n, .jobs = jobs};
    if (n == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    own.host = calloc(n, sizeof *own.host);
    own.parts = calloc((size_t)n * N_PIECES + 1, sizeof *own.parts);
    kvc_status status = own.host && own.parts ? run(b->state, &own, err)
                                              : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", n);
    for (uint32_t i = 0; i < n && status == KVC_OK; i++) packed_centroids_ready(jobs[i].centroids);
    free(own.host);
    free(own.parts);
    return status;
}
