/* test_gpu_cache.c - libkvc_cuda against libkvc, on a GPU or (linked to tests/gpu/emulate) on the CPU: random calls,
 * graphs that are replayed over several pages, what runs out, what is not finite, what is refused.
 *
 *     test_gpu_cache [FOLDER [CASE]]     of make_kernels.c; without it `gpu_cache` beside the program
 *
 * Skips (77) where there is no GPU. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cache_pair.h"
#include "case_config.h"

static int device; /* not the first one, where there are several */

/* ---- random calls ---- */

static const uint32_t all_sequences[MOST_SEQUENCES] = {0, 1, 2, 3};

/* Some sequences in some order, and how many tokens of each. */
static kvc_batch random_batch(cache_pair *p, uint32_t sequences[MOST_SEQUENCES], uint32_t n_tokens[MOST_SEQUENCES])
{
    static const uint32_t odd[] = {0, 1, 1, 2, 15, 16, 17, 63, 64, 65};
    memcpy(sequences, all_sequences, sizeof all_sequences);
    for (uint32_t i = MOST_SEQUENCES - 1; i > 0; i--) {
        uint32_t k = pair_random(p, i + 1), held = sequences[i];
        sequences[i] = sequences[k], sequences[k] = held;
    }
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++)
        n_tokens[i] = pair_random(p, 3) ? odd[pair_random(p, sizeof odd / sizeof *odd)] : pair_random(p, 150);
    return (kvc_batch){1 + pair_random(p, MOST_SEQUENCES), sequences, n_tokens};
}

/* Unequal numbers of queries, no more than a sequence has tokens. */
static void attend_all(cache_pair *p)
{
    uint32_t sequences[MOST_SEQUENCES], n_tokens[MOST_SEQUENCES];
    kvc_batch batch = random_batch(p, sequences, n_tokens);
    uint32_t layer = pair_random(p, p->n_layers);
    for (uint32_t i = 0; i < batch.n_sequences; i++) {
        uint64_t length = kvc_cache_length(p->cpu, layer, sequences[i]);
        n_tokens[i] = pair_random(p, 4) ? pair_random(p, 3) : pair_random(p, 17);
        if (n_tokens[i] > length) n_tokens[i] = (uint32_t)length;
    }
    pair_attend(p, layer, &batch, (kvc_dtype)pair_random(p, 3));
}

static void test_random(cache_pair *p, int n_steps, bool attends)
{
    uint32_t sequences[MOST_SEQUENCES], n_tokens[MOST_SEQUENCES], sequence, n_full = 0;
    static char step[64];
    p->step = step;
    for (int i = 0; i < n_steps; i++) {
        kvc_batch batch;
        switch (pair_random(p, 8)) {
        case 0:
            sequence = pair_random(p, MOST_SEQUENCES);
            snprintf(step, sizeof step, "step %d, truncate", i);
            pair_truncate(p, sequence, pair_random(p, 1 + (uint32_t)kvc_cache_length(p->cpu, 0, sequence)));
            break;
        case 1:
            sequence = pair_random(p, MOST_SEQUENCES);
            snprintf(step, sizeof step, "step %d, fork", i);
            pair_truncate(p, sequence, 0);
            pair_fork(p, pair_random(p, MOST_SEQUENCES), sequence);
            break;
        default:
            snprintf(step, sizeof step, "step %d, append", i);
            batch = random_batch(p, sequences, n_tokens);
            n_full += pair_append(p, &batch, (kvc_dtype)pair_random(p, 3)) == KVC_FULL;
        }
        pair_compare(p);
        if (attends && i % 3 == 2) attend_all(p);
    }
    if (n_full == 0) pair_fail(p, "no append was ever refused", 0);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) pair_truncate(p, i, 0);
}

/* ---- pages that are encoded ahead ---- */

static bool has_next(cache_pair *p, uint32_t layer, uint32_t sequence)
{
    const cuda_words *words = &p->gpu->words;
    uint32_t value = 7;
    pair_must_cuda(p, cudaStreamSynchronize(p->stream), "sync");
    pair_must_cuda(p,
                   cudaMemcpy(&value, words->at + cuda_next_word(words, layer, p->gpu->n_sequences) + sequence,
                              sizeof value, cudaMemcpyDeviceToHost),
                   "cudaMemcpy");
    return value == 1;
}

/* want: bit i for sequence i. */
static void expect_next(cache_pair *p, const char *step, uint32_t want)
{
    uint32_t got = 0;
    p->step = step;
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) {
        got |= (uint32_t)has_next(p, 0, i) << i;
        if (has_next(p, p->n_layers - 1, i) != has_next(p, 0, i)) pair_fail(p, "layers differ: sequence", i);
    }
    if (p->gpu->policy.window && got != want) pair_fail(p, "sequences with their next page encoded", got);
    if (!p->gpu->policy.window && got) pair_fail(p, "pages encoded ahead without a window", got);
    pair_compare(p);
}

static void append_each(cache_pair *p, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    const uint32_t n_tokens[] = {a, b, c, d};
    const kvc_batch batch = {4, all_sequences, n_tokens};
    if (pair_append(p, &batch, KVC_F16) != KVC_OK) pair_fail(p, "refused", 0);
}

/* Sequence 0 loses a page; 1 has a whole next page, 2 will have, 3 has not. */
static void start_ahead(cache_pair *p)
{
    const kvc_token_policy *t = &p->gpu->policy;
    uint32_t whole = t->sinks + t->page, less = t->window == 0; /* without a window pages leave as they are whole */
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) pair_truncate(p, i, 0);
    append_each(p, whole + t->window - 1, whole - less, whole - 1 - less, whole - 3);
    expect_next(p, "nothing left yet", 0);
    append_each(p, 1, 0, 1 - less, 1);
    expect_next(p, "a page left", 6);
}

static void test_ahead(cache_pair *p)
{
    const kvc_token_policy *t = &p->gpu->policy;
    uint32_t page = t->page, whole = t->sinks + page, window = t->window;
    uint32_t again = window >= page; /* sequence 0 has another whole page then */
    start_ahead(p);
    pair_truncate(p, 1, whole - 1);
    pair_truncate(p, 2, whole - page / 2);
    expect_next(p, "truncated within next pages", 0);
    append_each(p, 0, window + 1, window + page / 2, 0);
    expect_next(p, "others came, and left", again);
    start_ahead(p);
    append_each(p, 0, window ? window - 1 : 0, 0, 0);
    if (window) pair_truncate(p, 1, whole);
    expect_next(p, "truncated behind a next page", 6);
    append_each(p, 0, window, window + 3 * page + 7, 0);
    expect_next(p, "several pages left, one of them encoded before", again);
    start_ahead(p);
    pair_truncate(p, 3, 0);
    pair_fork(p, 1, 3);
    expect_next(p, "forked", 6);
    append_each(p, 0, window + page, 0, window + 1);
    expect_next(p, "forks went apart", 4 | again);
    pair_truncate(p, 2, 0);
    pair_fork(p, 1, 2);
    append_each(p, 1, page, page + 1, 0);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) pair_truncate(p, i, 0);
    expect_next(p, "all empty", 0);
}

/* ---- graphs ---- */

/* One token for each of some sequences, in all layers, and attention: captured once. */
typedef struct step_graph {
    cache_pair *p;
    kvc_batch batch;
    size_t n_rows, n_queries;             /* values of a layer */
    float *keys, *values, *queries, *out; /* on the device, [layers][...] */
    cudaGraphExec_t exec;
} step_graph;

static float *device_floats(cache_pair *p, size_t n)
{
    void *memory;
    pair_must_cuda(p, cudaMalloc(&memory, n * sizeof(float)), "cudaMalloc");
    pair_must_cuda(p, cudaMemset(memory, 0, n * sizeof(float)), "cudaMemset");
    return memory;
}

static void step_graph_open(step_graph *g, cache_pair *p, const kvc_batch *batch)
{
    kvc_error err;
    cudaGraph_t graph;
    *g = (step_graph){.p = p,
                      .batch = *batch,
                      .n_rows = (size_t)batch->n_sequences * p->row_values,
                      .n_queries = (size_t)batch->n_sequences * p->query_values};
    g->keys = device_floats(p, g->n_rows * p->n_layers);
    g->values = device_floats(p, g->n_rows * p->n_layers);
    g->queries = device_floats(p, g->n_queries * p->n_layers);
    g->out = device_floats(p, g->n_queries * p->n_layers);
    pair_must_cuda(p, cudaStreamBeginCapture(p->stream, cudaStreamCaptureModeGlobal), "capture");
    for (uint32_t i = 0; i < p->n_layers; i++) {
        pair_must(p,
                  kvc_cuda_cache_append(p->gpu, i, batch, g->keys + i * g->n_rows, g->values + i * g->n_rows, KVC_F32,
                                        p->stream, &err),
                  "append", &err);
        pair_must(p,
                  kvc_cuda_cache_attend(p->gpu, i, batch, g->queries + i * g->n_queries, KVC_F32,
                                        g->out + i * g->n_queries, &p->options, p->stream, &err),
                  "attend", &err);
    }
    if (kvc_cuda_cache_truncate(p->gpu, 0, 0, p->stream, &err) != KVC_INVALID ||
        kvc_cuda_cache_reserve(p->gpu, 0, 1, p->stream, &err) != KVC_INVALID ||
        kvc_cuda_cache_fork(p->gpu, 0, 1, p->stream, &err) != KVC_INVALID ||
        kvc_cuda_cache_sync(p->gpu, p->stream, &err) != KVC_INVALID)
        pair_fail(p, "not refused while captured", 0);
    pair_must_cuda(p, cudaStreamEndCapture(p->stream, &graph), "capture");
    pair_must_cuda(p, cudaGraphInstantiate(&g->exec, graph, 0), "graph");
    pair_must_cuda(p, cudaGraphDestroy(graph), "graph");
}

static void step_graph_close(step_graph *g)
{
    cudaGraphExecDestroy(g->exec);
    cudaFree(g->keys);
    cudaFree(g->values);
    cudaFree(g->queries);
    cudaFree(g->out);
}

/* A replay. With `cpu`, libkvc is given the same; with `compare`, outputs are compared. */
static void step_graph_run(step_graph *g, bool cpu, bool compare)
{
    cache_pair *p = g->p;
    kvc_error err;
    size_t rows = g->n_rows * p->n_layers * 4, queries = g->n_queries * p->n_layers * 4;
    float *k = pair_rows(p, KVC_F32, rows / 4), *v = pair_rows(p, KVC_F32, rows / 4),
          *q = pair_rows(p, KVC_F32, queries / 4), *got = malloc(queries), *want = malloc(queries);
    pair_must_cuda(p, cudaMemcpyAsync(g->keys, k, rows, cudaMemcpyHostToDevice, p->stream), "copy");
    pair_must_cuda(p, cudaMemcpyAsync(g->values, v, rows, cudaMemcpyHostToDevice, p->stream), "copy");
    pair_must_cuda(p, cudaMemcpyAsync(g->queries, q, queries, cudaMemcpyHostToDevice, p->stream), "copy");
    pair_must_cuda(p, cudaGraphLaunch(g->exec, p->stream), "replay");
    pair_must_cuda(p, cudaMemcpyAsync(got, g->out, queries, cudaMemcpyDeviceToHost, p->stream), "copy");
    pair_must_cuda(p, cudaStreamSynchronize(p->stream), "replay");
    for (uint32_t i = 0; i < p->n_layers && cpu; i++) {
        pair_must(p, kvc_cache_append(p->cpu, i, &g->batch, k + i * g->n_rows, v + i * g->n_rows, KVC_F32, &err),
                  "append", &err);
        if (!compare) continue;
        pair_attend_cpu(p, i, &g->batch, q + i * g->n_queries, KVC_F32, want);
        pair_compare_outputs(p, want, got + i * g->n_queries, g->n_queries);
    }
    free(k), free(v), free(q), free(got), free(want);
}

static uint64_t length_of(const cache_pair *p, uint32_t sequence)
{
    return kvc_cuda_cache_length(p->gpu, p->n_layers - 1, sequence);
}

/* Two pages and more, from different lengths, with pages reserved ahead and the host told of every step. */
static void test_graph(cache_pair *p)
{
    static const uint32_t sequences[] = {2, 0}, ones[] = {1, 1}, first[] = {70, 3};
    const kvc_batch start = {2, sequences, first}, batch = {2, sequences, ones};
    uint32_t n_steps = 2 * p->gpu->policy.page + 7;
    kvc_error err;
    step_graph g;
    p->step = "graph";
    pair_append(p, &start, KVC_F32);
    step_graph_open(&g, p, &batch);
    for (int i = 0; i < 2; i++)
        pair_must(p, kvc_cuda_cache_reserve(p->gpu, sequences[i], first[i] + n_steps, p->stream, &err), "reserve",
                  &err);
    for (uint32_t i = 0; i < n_steps; i++) {
        step_graph_run(&g, true, i % 16 == 5);
        pair_must(p, kvc_cuda_cache_advance(p->gpu, &batch, &err), "advance", &err);
        if (length_of(p, 2) != first[0] + i + 1 || length_of(p, 0) != first[1] + i + 1)
            pair_fail(p, "advance: wrong lengths at step", i);
    }
    uint32_t packed = p->gpu->layers[0].packed[2];
    pair_compare(p); /* which takes lengths from the device */
    if (p->gpu->layers[0].packed[2] != packed) pair_fail(p, "advance: wrong number of pages", packed);
    step_graph_close(&g);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) pair_truncate(p, i, 0);
}

/* Nothing reserved: tokens are dropped from where a page is needed, and go on once there is one. ahead: the page is
 * encoded before. */
static void test_graph_without_pages(cache_pair *p, bool ahead)
{
    static const uint32_t sequence = 1, one = 1;
    const kvc_batch batch = {1, &sequence, &one};
    uint32_t most = p->gpu->capacity - 1, start = most - 2;
    const kvc_batch first = {1, &sequence, &start};
    kvc_error err;
    step_graph g;
    p->step = "graph without pages";
    pair_append(p, &first, KVC_F32);
    if (ahead) append_each(p, p->gpu->capacity, 0, 0, 0);
    step_graph_open(&g, p, &batch);
    for (int i = 0; i < 2; i++) step_graph_run(&g, true, false);
    for (int i = 0; i < 3; i++) step_graph_run(&g, false, false);
    if (kvc_cuda_cache_sync(p->gpu, p->stream, &err) != KVC_FULL) pair_fail(p, "KVC_FULL expected", 0);
    if (length_of(p, 1) != most) pair_fail(p, "dropped tokens: length", (double)length_of(p, 1));
    if (kvc_cuda_cache_advance(p->gpu, &batch, &err) != KVC_FULL) pair_fail(p, "advance: KVC_FULL expected", 0);
    pair_compare(p); /* and the flag is gone */
    if (has_next(p, 0, 1) != (ahead && p->gpu->policy.window)) pair_fail(p, "wrong state of the next page", ahead);
    pair_must(p, kvc_cuda_cache_reserve(p->gpu, 1, most + 2, p->stream, &err), "reserve", &err);
    for (int i = 0; i < 2; i++) step_graph_run(&g, true, true);
    pair_compare(p);
    step_graph_close(&g);
    pair_truncate(p, 0, 0);
    pair_truncate(p, 1, 0);
}

/* Attention for a sequence that is still empty when the graph is replayed. */
static void test_empty(cache_pair *p)
{
    static const uint32_t sequence = 3, one = 1;
    const kvc_batch batch = {1, &sequence, &one};
    kvc_error err;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    float *q = pair_rows(p, KVC_F32, p->query_values), *dev = pair_to_device(p, q, p->query_values * sizeof *q);
    p->step = "empty sequence";
    if (kvc_cuda_cache_attend(p->gpu, 0, &batch, dev, KVC_F32, dev, &p->options, p->stream, &err) != KVC_INVALID)
        pair_fail(p, "queries without tokens are not refused", 0);
    pair_must_cuda(p, cudaStreamBeginCapture(p->stream, cudaStreamCaptureModeGlobal), "capture");
    pair_must(p, kvc_cuda_cache_attend(p->gpu, 0, &batch, dev, KVC_F32, dev, &p->options, p->stream, &err), "attend",
              &err);
    pair_must_cuda(p, cudaStreamEndCapture(p->stream, &graph), "capture");
    pair_must_cuda(p, cudaGraphInstantiate(&exec, graph, 0), "graph");
    pair_must_cuda(p, cudaGraphLaunch(exec, p->stream), "replay");
    pair_must_cuda(p, cudaStreamSynchronize(p->stream), "replay");
    pair_must_cuda(p, cudaMemcpy(q, dev, p->query_values * sizeof *q, cudaMemcpyDeviceToHost), "copy");
    for (uint32_t i = 0; i < p->query_values; i++)
        if (q[i] != 0.0f) return pair_fail(p, "not zero", q[i]);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaFree(dev);
    free(q);
}

/* ---- what is not finite ---- */

static void append_floats(cache_pair *p, const kvc_batch *batch, const float *rows, size_t n)
{
    kvc_error err;
    float *dev = pair_to_device(p, rows, n * sizeof *rows);
    for (uint32_t i = 0; i < p->n_layers; i++)
        pair_must(p, kvc_cuda_cache_append(p->gpu, i, batch, dev, dev, KVC_F32, p->stream, &err), "append", &err);
    pair_must_cuda(p, cudaStreamSynchronize(p->stream), "append");
    cudaFree(dev);
}

/* NaN is stored as 0, infinity and what is beyond fp16 as its largest number; enough rows that some are compressed.
 */
static void test_rows_not_finite(cache_pair *p)
{
    uint32_t sequence = 0, n_tokens = p->gpu->capacity + 5;
    const kvc_batch batch = {1, &sequence, &n_tokens};
    size_t n = (size_t)n_tokens * p->row_values;
    kvc_error err;
    float *rows = pair_rows(p, KVC_F32, n);
    p->step = "rows that are not finite";
    rows[n / 2] = NAN, rows[n - 3] = -INFINITY, rows[7] = INFINITY, rows[8] = 1e30f;
    append_floats(p, &batch, rows, n);
    if (kvc_cuda_cache_sync(p->gpu, p->stream, &err) != KVC_NONFINITE) pair_fail(p, "KVC_NONFINITE expected", 0);
    rows[n / 2] = 0.0f, rows[n - 3] = -65504.0f, rows[7] = 65504.0f;
    for (uint32_t i = 0; i < p->n_layers; i++)
        pair_must(p, kvc_cache_append(p->cpu, i, &batch, rows, rows, KVC_F32, &err), "append", &err);
    pair_compare(p);
    pair_truncate(p, 0, 0);
    free(rows);
}

/* A NaN stays in the row of its query and head. */
static void test_query_nan(cache_pair *p)
{
    static const uint32_t sequences[] = {1, 3}, n_tokens[] = {80, 20}, ones[] = {1, 1};
    const kvc_batch start = {2, sequences, n_tokens}, batch = {2, sequences, ones};
    size_t n = 2 * p->query_values, d = p->gpu->head_dim;
    kvc_error err;
    float *q = pair_rows(p, KVC_F32, n), *dev = pair_to_device(p, q, n * sizeof *q), *out = device_floats(p, n);
    float *good = malloc(n * sizeof *good), *got = malloc(n * sizeof *got);
    p->step = "a query that is NaN";
    pair_append(p, &start, KVC_F16);
    for (int pass = 0; pass < 2; pass++) {
        pair_must(p, kvc_cuda_cache_attend(p->gpu, 1, &batch, dev, KVC_F32, out, &p->options, p->stream, &err),
                  "attend", &err);
        pair_must_cuda(p, cudaStreamSynchronize(p->stream), "attend");
        pair_must_cuda(p, cudaMemcpy(pass ? got : good, out, n * sizeof *q, cudaMemcpyDeviceToHost), "copy");
        q[d + 3] = NAN;
        pair_must_cuda(p, cudaMemcpy(dev, q, n * sizeof *q, cudaMemcpyHostToDevice), "copy");
    }
    for (size_t i = 0; i < n; i++)
        if (i / d == 1 ? got[i] == got[i] : memcmp(&got[i], &good[i], sizeof *q) != 0)
            pair_fail(p, "not in its own row", (double)i);
    for (uint32_t i = 0; i < MOST_SEQUENCES; i++) pair_truncate(p, i, 0);
    cudaFree(dev), cudaFree(out);
    free(q), free(good), free(got);
}

/* ---- what is refused ---- */

static void expect(cache_pair *p, const char *what, kvc_status got, kvc_status want, const kvc_error *err,
                   const char *words)
{
    if (got == want && strstr(err->message, words)) return;
    fprintf(stderr, "%s: '%s' expected, not '%s'\n", what, words, err->message);
    pair_fail(p, what, got);
}

static void test_arguments(cache_pair *p)
{
    static const uint32_t twice[] = {1, 1}, ones[] = {1, 1}, beyond = MOST_SEQUENCES, many = 100, some = 17;
    uint32_t first = 0;
    const kvc_batch good = {1, &first, ones};
    kvc_attend_options options = p->options;
    options.kv_head_end = 1;
    kvc_error err = {""};
    float *x = device_floats(p, p->query_values);
    kvc_cuda_cache *gpu = p->gpu;
    p->step = "arguments";
#define APPEND(layer, batch, dtype) kvc_cuda_cache_append(gpu, layer, batch, x, x, dtype, p->stream, &err)
#define ATTEND(batch, options) kvc_cuda_cache_attend(gpu, 0, batch, x, KVC_F32, x, options, p->stream, &err)
    expect(p, "layer", APPEND(p->n_layers, &good, KVC_F32), KVC_INVALID, &err, "layer");
    expect(p, "dtype", APPEND(0, &good, (kvc_dtype)7), KVC_INVALID, &err, "dtype 7");
    expect(p, "twice", APPEND(0, (&(kvc_batch){2, twice, ones}), KVC_F32), KVC_INVALID, &err, "twice");
    expect(p, "sequence", APPEND(0, (&(kvc_batch){1, &beyond, ones}), KVC_F32), KVC_INVALID, &err, "sequence 4 of 4");
    expect(p, "append", APPEND(0, &good, KVC_F32), KVC_OK, &err, "");
    expect(p, "queries", ATTEND((&(kvc_batch){1, &first, &many}), NULL), KVC_INVALID, &err, "100 queries");
    expect(p, "of one", ATTEND((&(kvc_batch){1, &first, &some}), NULL), KVC_UNSUPPORTED, &err, "17 queries");
    expect(p, "heads", ATTEND(&good, &options), KVC_UNSUPPORTED, &err, "KV heads 0 to 1");
    options.kv_head_end = 0, options.softcap = p->options.softcap > 0.0f ? 0.0f : 3.0f;
    expect(p, "softcap", ATTEND(&good, &options), KVC_UNSUPPORTED, &err, "--softcap");
    options.size = 4;
    expect(p, "options", ATTEND(&good, &options), KVC_INVALID, &err, "options of 4 bytes");
    expect(p, "fork", kvc_cuda_cache_fork(gpu, 1, 1, p->stream, &err), KVC_INVALID, &err, "onto itself");
    expect(p, "reserve", kvc_cuda_cache_reserve(gpu, 1, 1u << 30, p->stream, &err), KVC_FULL, &err, "pages needed");
    pair_truncate(p, 0, 0);
    cudaFree(x);
}

static void test_create(cache_pair *p)
{
    char kernels[4200];
    kvc_cuda_cache_options options = {sizeof options, device, 1, 1u << 28, 500,
                                      kernels,        0,      0}; /* 400 GB of scratch */
    kvc_cuda_cache *cache = NULL;
    kvc_error err;
    int before, now;
    p->step = "create";
    cudaGetDevice(&before);
    snprintf(kernels, sizeof kernels, "%s/kernels", p->folder);
    expect(p, "memory", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_NO_MEMORY, &err, "no memory");
    options.max_queries = 0, options.kernels = NULL;
    options.device = 1000;
    expect(p, "device", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_UNSUPPORTED, &err, "1000");
    options.device = device, options.max_sequences = 0;
    expect(p, "sequences", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_INVALID, &err, "sequence");
    options.max_sequences = 2;
    options.kv_head_begin = 1, options.kv_head_end = 9;
    expect(p, "heads", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_INVALID, &err, "KV heads 1 to 9");
    options.kv_head_end = 2;
    if (strcmp(p->name, "short") == 0)
        expect(p, "codes of all heads", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_UNSUPPORTED, &err,
               "layer 1 keys: all KV heads of vq[8]x8+klt");
    options.kv_head_begin = options.kv_head_end = 0;
    cudaSetDevice(0);
    pair_must(p, kvc_cuda_cache_create(&cache, p->cfg, &options, &err), "create", &err);
    const kvc_batch batch = {1, all_sequences, (const uint32_t[]){1}};
    expect(p, "kernels", kvc_cuda_cache_attend(cache, 0, &batch, NULL, KVC_F32, NULL, NULL, NULL, &err),
           KVC_UNSUPPORTED, &err, "without kernels");
    if (cudaGetDevice(&now) != cudaSuccess || now != 0) pair_fail(p, "the current device has changed", now);
    cudaSetDevice(before);
    if (kvc_cuda_cache_bytes(cache) < 500) pair_fail(p, "bytes", (double)kvc_cuda_cache_bytes(cache));
    kvc_cuda_cache_destroy(cache);
    kvc_cuda_cache_destroy(NULL);
}

/* ---- folders of kernels ---- */

/* An image has a second kernel where one token's query heads are few columns, and nowhere else; of shared codes in
 * products of bytes the one for few columns alone. */
static void test_few_columns(cache_pair *p)
{
    p->step = "few columns";
    for (uint32_t i = 0; i < p->n_layers; i++) {
        const attend_kernel *k = p->gpu->layers[i].kernel;
        bool alone = strcmp(p->name, "shared") == 0 && i != 2, few = k->group <= 4 && !alone;
        if ((k->info.many.columns == 4) != alone) pair_fail(p, "columns of layer", i);
        if (k->info.few.columns != (few ? 4 : 0) || (k->few != NULL) != few || k->few == k->kernel)
            pair_fail(p, "kernels of layer", i);
    }
}

typedef struct kernel_copy {
    char folder[64], list[8192]; /* a folder of our own, the text of its kernels.list */
    char image[256];             /* of layer 0 */
} kernel_copy;

static void write_text(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    if (!out || fputs(text, out) < 0 || fclose(out)) exit(1);
}

/* The list with the first `from` as `to`, if any, and what create makes of it. */
static void expect_load(cache_pair *p, const kernel_copy *c, const char *from, const char *to, kvc_status want,
                        const char *words)
{
    char text[9000];
    const char *at = from ? strstr(c->list, from) : c->list;
    kvc_cuda_cache *cache = NULL;
    kvc_error err = {""};
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - c->list), c->list, from ? to : "",
             at + (from ? strlen(from) : 0));
    write_text(c->folder, "kernels.list", text);
    kvc_cuda_cache_options options = {sizeof options, device, 1, 0, 500, c->folder, 0, 0};
    kvc_status got = kvc_cuda_cache_create(&cache, p->cfg, &options, &err);
    expect(p, from ? from : "as it is", got, want, &err, words);
    kvc_cuda_cache_destroy(cache);
}

/* A link to an image of the case. */
static void link_image(const kernel_copy *c, const cache_pair *p, const char *image)
{
    char from[PATH_MAX + 256], to[320], *whole = realpath(p->folder, NULL);
    snprintf(from, sizeof from, "%.4000s/kernels/%s", whole ? whole : "", image);
    snprintf(to, sizeof to, "%s/%s", c->folder, image);
    if (!whole || (symlink(from, to) && errno != EEXIST)) exit(1);
    free(whole);
}

static void open_copy(kernel_copy *c, const cache_pair *p)
{
    char path[4200], image[201];
    snprintf(path, sizeof path, "%s/kernels/kernels.list", p->folder);
    FILE *in = fopen(path, "r");
    size_t n = in ? fread(c->list, 1, sizeof c->list - 1, in) : 0;
    if (in) fclose(in);
    c->list[n] = 0;
    strcpy(c->folder, "/tmp/kvc-kernels-XXXXXX");
    if (n == 0 || !mkdtemp(c->folder)) exit(1);
    for (const char *at = c->list; (at = strstr(at, "layer ")); at++) {
        if (sscanf(at, "layer %*u %200s", image) != 1) exit(1);
        if (!c->image[0]) strcpy(c->image, image);
        link_image(c, p, image);
    }
}

static void test_kernels(cache_pair *p)
{
    kernel_copy c = {0};
    char path[512], long_line[600];
    p->step = "kernels";
    open_copy(&c, p);
    expect_load(p, &c, NULL, NULL, KVC_OK, "");
    expect_load(p, &c, "kvc-kernels 1", "kvc-kernels 2", KVC_MISMATCH, "another version");
    expect_load(p, &c, "kvc-kernels", "x", KVC_FORMAT, "kvc-kernels");
    expect_load(p, &c, "template ", "template 0", KVC_MISMATCH, "compile them again");
    expect_load(p, &c, "config ", "config 0", KVC_MISMATCH, "another configuration");
    expect_load(p, &c, "layer 1", "layer 2", KVC_FORMAT, "layer 1 FILE KEY");
    expect_load(p, &c, "layer 0 ", "layer 0 ../", KVC_FORMAT, "layer 0 FILE KEY");
    expect_load(p, &c, " d64", " d65", KVC_MISMATCH, c.image);
    expect_load(p, &c, c.image, "attend_none.fatbin", KVC_MISMATCH, "attend_none.fatbin: cannot be loaded");
    memset(long_line, 'x', sizeof long_line);
    long_line[sizeof long_line - 1] = 0;
    expect_load(p, &c, "layer 0", long_line, KVC_FORMAT, "too long");
    snprintf(path, sizeof path, "%s/%s", c.folder, c.image);
    unlink(path);
    write_text(c.folder, c.image, "no image");
    expect_load(p, &c, NULL, NULL, KVC_MISMATCH, c.image);
    snprintf(path, sizeof path, "%s/kernels.list", c.folder);
    unlink(path);
    kvc_cuda_cache_options options = {sizeof options, device, 1, 0, 500, c.folder, 0, 0};
    kvc_cuda_cache *cache;
    kvc_error err;
    expect(p, "no list", kvc_cuda_cache_create(&cache, p->cfg, &options, &err), KVC_INPUT, &err, "kernels.list");
    snprintf(path, sizeof path, "rm -r %s", c.folder);
    if (system(path)) pair_fail(p, path, 0);
}

/* ---- all ---- */

static uint32_t test_case(const char *folder, const char *name, int n_steps)
{
    cache_pair p;
    pair_open(&p, folder, name, device, 700, 0, 0);
    test_random(&p, n_steps, true);
    test_graph(&p);
    test_ahead(&p);
    test_graph_without_pages(&p, false);
    test_graph_without_pages(&p, true);
    test_empty(&p);
    test_rows_not_finite(&p);
    test_query_nan(&p);
    test_arguments(&p);
    test_create(&p);
    test_few_columns(&p);
    test_kernels(&p);
    pair_close(&p);
    printf("%s: %u failures\n", name, p.failures);
    return p.failures;
}

/* A cache of the last KV head alone, as a second GPU has it. */
static uint32_t test_heads(const char *folder, const char *name, int n_steps)
{
    cache_pair p;
    pair_open(&p, folder, name, device, 700, 1, 2);
    test_random(&p, n_steps, true);
    printf("%s, one KV head: %u failures\n", name, p.failures);
    pair_close(&p);
    return p.failures;
}

/* Pages of two of three heads, whatever constants look like. */
static uint32_t test_constants(kvc_token_policy tokens)
{
    const case_config config = {3,
                                1,
                                64,
                                tokens,
                                4,
                                4,
                                {{"vq4x8.static", "vq2x8.head+klt"},
                                 {"lut3.static", "lut4.head+smooth"},
                                 {"vq[4*8,1*16]x6", "seg[8,4,2,1,0,0,0,0].static+klt"},
                                 {"int4.ch16+perm", "vq[4*1,10*2,10*4]x3.static+rot"}}};
    size_t n;
    void *image = case_config_image(&config, &n);
    cache_pair p;
    pair_open_memory(&p, image, n, "constants", device, 700, 1, 3);
    test_random(&p, 40, false);
    test_ahead(&p);
    printf("constants, two of three KV heads, window %u, pages of %u: %u failures\n", tokens.window, tokens.page,
           p.failures);
    pair_close(&p);
    free(image);
    return p.failures;
}

int main(int argc, char **argv)
{
    char self[4000] = "", folder[4096];
    int n = 0, n_steps = getenv("KVC_TEST_STEPS") ? atoi(getenv("KVC_TEST_STEPS")) : 300;
    if (cudaGetDeviceCount(&n) != cudaSuccess || n == 0) {
        puts("skipped: no GPU");
        return 77;
    }
    device = n > 1;
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
    snprintf(folder, sizeof folder, "%s/gpu_cache", dirname(self));
    const char *const cases[] = {"mixed", "short", "bytes", "shared", "single"};
    const char *const of_heads[] = {"mixed", "single"};
    const kvc_token_policy policies[] = {{4, 16, 16}, {3, 7, 32}, {1, 90, 32}};
    uint32_t n_failures = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (argc < 3 || strcmp(argv[2], cases[i]) == 0)
            n_failures += test_case(argc > 1 ? argv[1] : folder, cases[i], n_steps);
    for (size_t i = 0; i < sizeof of_heads / sizeof *of_heads; i++)
        if (argc < 3 || strcmp(argv[2], of_heads[i]) == 0)
            n_failures += test_heads(argc > 1 ? argv[1] : folder, of_heads[i], n_steps);
    for (size_t i = 0; i < sizeof policies / sizeof *policies && (argc < 3 || strcmp(argv[2], "mixed") == 0); i++)
        n_failures += test_constants(policies[i]);
    return n_failures != 0;
}
