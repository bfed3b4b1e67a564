/* table_queue.c - see table_queue.h. Threads take whatever can be done next, all under one lock: a table to store,
 * else one to begin. The first thread solves as soon as there is a batch, or all that is left; until then it begins
 * tables too, the shortest, so that it is not long in coming back. */
#include "table_queue.h"

#include <omp.h>
#include <sched.h>
#include <stdlib.h>

#define AHEAD 4u /* batches that are begun before the first of them is solved */

typedef struct queue {
    backend *b;
    const queue_steps *steps;
    const uint32_t *order;
    uint32_t first, end;           /* order[first .. end - 1] has not been begun */
    uint32_t *ready;               /* [n] tables in the order in which they were begun */
    kmeans_task **tables;          /* [lloyd_batch] */
    uint32_t n, n_ready, n_solved; /* of `ready` */
    uint32_t n_taken, n_stored;    /* to be stored, and stored */
    uint32_t failed;               /* the lowest number of a table that failed, n: none */
    kvc_status status;
    kvc_error *err;
} queue;

typedef enum queue_work { WORK_NONE, WORK_BEGIN, WORK_STORE, WORK_END } queue_work;

static bool may_begin(const queue *q)
{
    uint32_t begun = q->n - (q->end - q->first);
    return q->first < q->end && begun < q->n_solved + AHEAD * q->b->lloyd_batch;
}

/* What is to be done next, and with which table. */
static queue_work take(queue *q, bool shortest, uint32_t *index)
{
    queue_work work = WORK_NONE;
#pragma omp critical(fit_table_queue)
    if (q->status != KVC_OK || q->n_stored == q->n) {
        work = WORK_END;
    } else if (q->n_taken < q->n_solved) {
        work = WORK_STORE;
        *index = q->ready[q->n_taken++];
    } else if (may_begin(q)) {
        work = WORK_BEGIN;
        *index = shortest ? q->order[--q->end] : q->order[q->first++];
    }
    return work;
}

static void done(queue *q, queue_work work, uint32_t index, kvc_status status, const kvc_error *why)
{
#pragma omp critical(fit_table_queue)
    if (status != KVC_OK) {
        if (q->status == KVC_OK || index < q->failed) {
            q->failed = index;
            q->status = kvc_fail(q->err, status, "%s", why->message);
        }
    } else if (work == WORK_BEGIN) {
        q->ready[q->n_ready++] = index;
    } else {
        q->n_stored++;
    }
}

/* False where there is nothing to do now. */
static bool work_once(queue *q, bool shortest, queue_work *work)
{
    uint32_t index = 0;
    kvc_error why;
    *work = take(q, shortest, &index);
    if (*work != WORK_BEGIN && *work != WORK_STORE) return false;
    kvc_status status = (*work == WORK_BEGIN ? q->steps->begin : q->steps->store)(q->steps->context, index, &why);
    done(q, *work, index, status, &why);
    return true;
}

/* How many tables to solve now: a batch, or all that is left; none any more where something has failed. */
static uint32_t batch_of(queue *q)
{
    uint32_t n = 0, most = q->b->lloyd_batch;
#pragma omp critical(fit_table_queue)
    if (q->status == KVC_OK) {
        uint32_t n_ready = q->n_ready - q->n_solved, left = q->n - q->n_solved;
        n = n_ready >= most ? most : n_ready == left ? left : 0;
    }
    return n;
}

static void solve(queue *q, uint32_t n)
{
    kvc_error why;
    for (uint32_t i = 0; i < n; i++) q->tables[i] = q->steps->table(q->steps->context, q->ready[q->n_solved + i]);
    kvc_status status = kmeans_solve(q->b, q->tables, n, &why);
#pragma omp critical(fit_table_queue)
    if (status == KVC_OK) {
        q->n_solved += n;
    } else if (q->status == KVC_OK) {
        q->failed = 0;
        q->status = kvc_fail(q->err, status, "%s", why.message);
    }
}

static void work_all(queue *q, bool drives)
{
    queue_work work = WORK_NONE;
    while (work != WORK_END) {
        uint32_t n = drives ? batch_of(q) : 0;
        if (n)
            solve(q, n);
        else if (!work_once(q, drives, &work))
            sched_yield();
    }
}

kvc_status queue_run(backend *b, uint32_t n, const uint32_t *order, const queue_steps *steps, kvc_error *err)
{
    queue q = {.b = b, .steps = steps, .order = order, .end = n, .n = n, .failed = n, .err = err};
    q.ready = calloc(n + 1u, sizeof *q.ready);
    q.tables = calloc(b->lloyd_batch, sizeof *q.tables);
    if (!q.ready || !q.tables) {
        q.status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u tables", n);
    } else {
#pragma omp parallel
        work_all(&q, omp_get_thread_num() == 0);
    }
    free(q.ready);
    free(q.tables);
    return q.status;
}
