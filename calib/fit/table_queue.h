/* table_queue.h - tables that a backend iterates many of at a time: the host's threads gather, begin and store them
 * while one of them drives the backend. */
#ifndef CALIB_FIT_TABLE_QUEUE_H
#define CALIB_FIT_TABLE_QUEUE_H
#include "heads.h"
#include "kmeans.h"

typedef struct queue_steps {
    job_fn *begin, *store;                                      /* of a table, by any thread */
    kmeans_task *(*table)(const void *context, uint32_t index); /* what begin made */
    void *context;
} queue_steps;

/* n tables: begin, kmeans_solve() by the calling thread, backend->lloyd_batch or fewer at a time, store. They are
 * begun in `order` [n], best the longest first, and not many more than are solved; which are solved together depends
 * on how fast threads are, and no result on that. The error is that of the first that failed of those begun. */
kvc_status queue_run(backend *b, uint32_t n, const uint32_t *order, const queue_steps *steps, kvc_error *err);
#endif
