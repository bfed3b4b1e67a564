/* bench_cpu.c - libkvc on one core. The processor's caches are emptied before each call of attend, as a model's other
 * layers do. */
#include "bench.h"
#include "stream_read.h"
#include <stdlib.h>

enum { FILL_ROWS = 64 }; /* rows that are appended at a time, and between two looks at the signals */

typedef struct rig {
    kvc_cache *cache;
    const kvc_model_info *model;
    bench_load load;
    uint32_t *sequences, *ones; /* [batch]: 0, 1, .., and 1 for each */
    float *rows;                /* [max(FILL_ROWS, batch)][KV heads][d], keys and values alike */
    float *queries, *out;       /* [batch][query heads][d] */
    void *work;
    double *times; /* [repeats] */
    uint64_t random;
} rig;

/* xorshift: the figures must not depend on anything but the machine. */
static void fill_random(rig *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        r->random ^= r->random << 13;
        r->random ^= r->random >> 7;
        r->random ^= r->random << 17;
        x[i] = (float)(r->random >> 40) * 0x1p-23f - 1.0f;
    }
}

static size_t row_values(const rig *r)
{
    return (size_t)r->model->n_kv_heads * r->model->head_dim;
}

static size_t query_values(const rig *r)
{
    return (size_t)r->model->n_query_heads * r->model->head_dim;
}

static void rig_free(rig *r)
{
    kvc_cache_destroy(r->cache);
    free(r->sequences);
    free(r->ones);
    free(r->rows);
    free(r->queries);
    free(r->out);
    free(r->work);
    free(r->times);
}

static kvc_status rig_new(rig *r, const kvc_config *config, bench_load load, uint64_t appended, uint32_t repeats,
                          kvc_error *err)
{
    size_t n = load.batch, n_rows = n > FILL_ROWS ? n : FILL_ROWS;
    *r = (rig){.model = kvc_config_model(config), .load = load, .random = 88172645463325252u};
    const kvc_cache_options options = {
        .size = sizeof options, .max_sequences = load.batch, .max_tokens = n * (load.context + appended)};
    KVC_TRY(kvc_cache_create(&r->cache, config, &options, err));
    r->sequences = calloc(n, sizeof *r->sequences);
    r->ones = calloc(n, sizeof *r->ones);
    r->rows = calloc(n_rows, row_values(r) * sizeof *r->rows);
    r->queries = calloc(n, query_values(r) * sizeof *r->queries);
    r->out = calloc(n, query_values(r) * sizeof *r->out);
    r->work = aligned_alloc(64, (kvc_cache_attend_work(r->cache) + 63) / 64 * 64);
    r->times = calloc(repeats, sizeof *r->times);
    if (!r->sequences || !r->ones || !r->rows || !r->queries || !r->out || !r->work || !r->times)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for rows and queries of %u sequences", load.batch);
    for (uint32_t i = 0; i < load.batch; i++) r->sequences[i] = i, r->ones[i] = 1;
    fill_random(r, r->queries, n * query_values(r));
    return KVC_OK;
}

static kvc_status fill(rig *r, const job *job, kvc_error *err)
{
    const bench_load load = r->load;
    for (uint32_t i = 0; i < load.batch; i++)
        for (uint32_t at = 0, n; at < load.context; at += n) {
            n = load.context - at < FILL_ROWS ? load.context - at : FILL_ROWS;
            const kvc_batch batch = {1, &i, &n};
            fill_random(r, r->rows, n * row_values(r));
            KVC_TRY(kvc_cache_append(r->cache, 0, &batch, r->rows, r->rows, KVC_F32, err));
            KVC_TRY(bench_interrupted(job, err));
            job_progress(job, "fill", (double)i * load.context + at + n, (double)load.batch * load.context);
        }
    return KVC_OK;
}

static kvc_status time_attend(rig *r, stream_memory *memory, uint32_t repeats, const job *job, double *out,
                              kvc_error *err)
{
    const kvc_batch batch = {r->load.batch, r->sequences, r->ones};
    for (uint32_t i = 0; i <= repeats; i++) { /* the first one touches its memory for the first time: not counted */
        stream_read(memory);
        double start = thread_seconds();
        KVC_TRY(kvc_cache_attend(r->cache, 0, &batch, r->queries, KVC_F32, r->out, r->work, NULL, err));
        if (i) r->times[i - 1] = thread_seconds() - start;
        KVC_TRY(bench_interrupted(job, err));
    }
    *out = median_of(r->times, repeats);
    return KVC_OK;
}

/* A page's worth of tokens one by one, which completes a page in every sequence once. */
static kvc_status time_append(rig *r, uint32_t page, uint32_t repeats, const job *job, double *out, kvc_error *err)
{
    const kvc_batch batch = {r->load.batch, r->sequences, r->ones};
    for (uint32_t i = 0; i < repeats; i++) {
        r->times[i] = 0;
        for (uint32_t token = 0; token < page; token++) {
            fill_random(r, r->rows, r->load.batch * row_values(r));
            double start = thread_seconds();
            KVC_TRY(kvc_cache_append(r->cache, 0, &batch, r->rows, r->rows, KVC_F32, err));
            r->times[i] += (thread_seconds() - start) / page;
        }
        KVC_TRY(bench_interrupted(job, err));
    }
    *out = median_of(r->times, repeats);
    return KVC_OK;
}

static kvc_status time_cache(void *state, const bench_layer *layer, bench_load load, uint32_t repeats, const job *job,
                             bench_times *out, kvc_error *err)
{
    rig r;
    const kvc_config *config = layer->image.config;
    uint32_t page = kvc_config_tokens(config)->page, rounds = repeats < 5 ? repeats : 5;
    kvc_status status = rig_new(&r, config, load, (uint64_t)rounds * page, repeats, err);
    if (status == KVC_OK) status = fill(&r, job, err);
    if (status == KVC_OK) status = time_attend(&r, state, repeats, job, &out->attend, err);
    if (status == KVC_OK) status = time_append(&r, page, rounds, job, &out->append, err);
    rig_free(&r);
    return status;
}

static kvc_status read_rate(void *state, uint32_t repeats, double *out, kvc_error *err)
{
    double *times = calloc(repeats, sizeof *times);
    if (!times) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u times", repeats);
    *out = stream_rate(state, times, repeats);
    free(times);
    return KVC_OK;
}

static kvc_status open_memory(void **state, const bench_place *place, kvc_error *err)
{
    (void)place;
    stream_memory *memory = calloc(1, sizeof *memory);
    *state = memory;
    if (memory && stream_open(memory)) return KVC_OK;
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for what the reading speed is measured on");
}

static void close_memory(void *state)
{
    if (state) stream_close(state);
    free(state);
}

static const char *text(const void *state)
{
    (void)state;
    return "libkvc on one core";
}

const bench_device bench_cpu = {.name = "cpu",
                                .open = open_memory,
                                .close = close_memory,
                                .text = text,
                                .read_rate = read_rate,
                                .time = time_cache};
