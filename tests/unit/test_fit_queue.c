/* test_fit_queue.c - tables through a queue (calib/fit/table_queue.h): all of them, and an error in any step. */
#include <stdio.h>
#include "check_main.h"
#include "fit_rig.h"
#include "table_queue.h"

enum { TABLES = 40, POINTS = 60, K = 8, DIMS = 2 };

typedef struct rig {
    kmeans_task *task[TABLES];
    float centroids[TABLES][K * DIMS];
    bool stored[TABLES];
    uint32_t bad_begin, bad_store; /* this one and those behind it fail */
    kvc_error error;
} rig;

typedef struct table_data {
    kmeans_options options;
    float x[POINTS * DIMS], w[POINTS];
} table_data;

static table_data data_of(uint32_t index)
{
    table_data t = {.options = {.k = K, .dims = DIMS, .iterations = 5, .restarts = 1, .seed = index}};
    uint64_t state = index + 1u;
    for (int i = 0; i < POINTS * DIMS; i++) t.x[i] = (float)rig_random(&state);
    for (int i = 0; i < POINTS; i++) t.w[i] = 1.0f;
    return t;
}

static kvc_status begin(void *context, uint32_t index, kvc_error *err)
{
    rig *r = context;
    const table_data t = data_of(index);
    if (index >= r->bad_begin) return kvc_fail(err, KVC_NO_MEMORY, "begin %u", index);
    return kmeans_begin(&r->task[index], &t.options, POINTS, t.x, t.w, err);
}

static kvc_status store(void *context, uint32_t index, kvc_error *err)
{
    rig *r = context;
    double distortion;
    if (index >= r->bad_store) return kvc_fail(err, KVC_IO, "store %u", index);
    kmeans_end(r->task[index], r->centroids[index], &distortion);
    r->stored[index] = true;
    return KVC_OK;
}

static kmeans_task *table(const void *context, uint32_t index)
{
    return ((const rig *)context)->task[index];
}

static kvc_status run(rig *r, backend *b)
{
    uint32_t order[TABLES];
    const queue_steps steps = {.begin = begin, .store = store, .table = table, .context = r};
    for (uint32_t i = 0; i < TABLES; i++) order[i] = TABLES - 1 - i;
    kvc_status status = queue_run(b, TABLES, order, &steps, &r->error);
    for (uint32_t i = 0; i < TABLES; i++) kmeans_free(r->task[i]);
    return status;
}

static kvc_status no_lloyd(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err)
{
    (void)b, (void)jobs;
    return kvc_fail(err, KVC_UNSUPPORTED, "lloyd of %u", n);
}

START_TEST(queue_run__stores_every_table_as_it_would_be_alone)
{
    static rig r;
    r = (rig){.bad_begin = TABLES, .bad_store = TABLES};
    backend b = *rig_backend();
    b.lloyd_batch = 7; /* does not divide their number */
    ck_assert_int_eq(run(&r, &b), KVC_OK);
    for (uint32_t i = 0; i < TABLES; i++) {
        const table_data t = data_of(i);
        float alone[K * DIMS];
        double distortion;
        kvc_error error;
        ck_assert_int_eq(kmeans(rig_backend(), &t.options, POINTS, t.x, t.w, alone, &distortion, &error), KVC_OK);
        ck_assert(r.stored[i]);
        ck_assert_mem_eq(alone, r.centroids[i], sizeof alone);
    }
}
END_TEST

START_TEST(queue_run__ends_with_the_error_of_a_step)
{
    static rig r;
    for (uint32_t from = 0; from < TABLES; from += 13) { /* several fail at about the same time */
        r = (rig){.bad_begin = from, .bad_store = TABLES};
        ck_assert_int_eq(run(&r, rig_backend()), KVC_NO_MEMORY);
        ck_assert_ptr_nonnull(strstr(r.error.message, "begin "));
        r = (rig){.bad_begin = TABLES, .bad_store = from};
        ck_assert_int_eq(run(&r, rig_backend()), KVC_IO);
        ck_assert_ptr_nonnull(strstr(r.error.message, "store "));
    }
}
END_TEST

START_TEST(queue_run__ends_where_the_backend_fails)
{
    static rig r;
    r = (rig){.bad_begin = TABLES, .bad_store = TABLES};
    backend b = *rig_backend();
    b.lloyd = no_lloyd;
    b.lloyd_batch = 4;
    ck_assert_int_eq(run(&r, &b), KVC_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(r.error.message, "lloyd of"));
    for (uint32_t i = 0; i < TABLES; i++) ck_assert(!r.stored[i]);
}
END_TEST

CHECK_MAIN("fit_queue", queue_run__stores_every_table_as_it_would_be_alone, queue_run__ends_with_the_error_of_a_step,
           queue_run__ends_where_the_backend_fails)
