/* bench_cuda.c - libkvc_cuda on a GPU, with the images of the configuration's kernels. A cache has so many batches of
 * sequences that together they are beyond twice the second-level cache; the calls for one batch after the other are
 * one graph, whose replays are timed, so that what a start costs is shared. Lengths stand on the device, where
 * replays of append advance them. */
#include <cuda_runtime_api.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"
#include "bench_kernels.h"
#include "console.h"
#include "kvc/kvc_cuda.h"
#include "op.h"
#include "stream_read.h"

enum {
    FILL_ROWS = 16384,  /* rows that are appended at a time */
    LEAST_CALLS = 20,   /* of a graph */
    MOST_BATCHES = 1024 /* of a cache */
};
#define READ_CACHES 20u /* what is read to measure the ceiling, in second-level caches */

typedef struct gpu {
    int ordinal;
    char text[300];
    size_t cache_bytes; /* of the second level */
    cudaStream_t stream;
    cudaEvent_t begin, end;
    void *memory; /* to read */
    uint32_t *sum;
    bench_kernels kernels;
} gpu;

typedef struct rig {
    const gpu *gpu;
    kvc_cuda_cache *cache;
    const kvc_model_info *model;
    bench_load load;
    uint32_t n_batches, page;
    uint32_t *sequences, *n_tokens; /* [n_batches * batch]: 0, 1, .., and [batch] */
    void *rows, *queries; /* fp16 [FILL_ROWS or batch][KV heads][d], keys and values alike; [batch][heads][d] */
    float *out;
} rig;

static kvc_status failed(kvc_error *err, cudaError_t status, const char *where)
{
    (void)cudaGetLastError();
    return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED, "CUDA, %s: %s", where,
                    cudaGetErrorString(status));
}

#define TRY_CUDA(call)                                                                                               \
    do {                                                                                                             \
        cudaError_t try_ = (call);                                                                                   \
        if (try_ != cudaSuccess) return failed(err, try_, __func__);                                                 \
    } while (0)

/* ---- graphs ---- */

/* What a graph is captured from. */
typedef kvc_status calls(const rig *r, kvc_error *err);

static kvc_status capture(const rig *r, calls *what, cudaGraphExec_t *out, kvc_error *err)
{
    cudaGraph_t graph = NULL;
    TRY_CUDA(cudaStreamBeginCapture(r->gpu->stream, cudaStreamCaptureModeGlobal));
    kvc_status status = what(r, err);
    cudaError_t ended = cudaStreamEndCapture(r->gpu->stream, &graph);
    if (status == KVC_OK && ended == cudaSuccess) ended = cudaGraphInstantiate(out, graph, 0);
    if (status == KVC_OK && ended != cudaSuccess) status = failed(err, ended, "graph");
    if (graph) cudaGraphDestroy(graph);
    return status;
}

static kvc_status replay(const gpu *g, cudaGraphExec_t graph, uint32_t n, double *seconds, kvc_error *err)
{
    float ms;
    TRY_CUDA(cudaEventRecord(g->begin, g->stream));
    for (uint32_t i = 0; i < n; i++) TRY_CUDA(cudaGraphLaunch(graph, g->stream));
    TRY_CUDA(cudaEventRecord(g->end, g->stream));
    TRY_CUDA(cudaEventSynchronize(g->end));
    TRY_CUDA(cudaEventElapsedTime(&ms, g->begin, g->end));
    *seconds = (double)ms * 1e-3;
    return KVC_OK;
}

/* Seconds of n replays in a row, the median of `repeats`; the first one is not counted. */
static kvc_status time_calls(const rig *r, calls *what, uint32_t n, uint32_t repeats, const job *job, double *out,
                             kvc_error *err)
{
    cudaGraphExec_t graph;
    double *times = calloc(repeats + (size_t)1, sizeof *times);
    if (!times) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u times", repeats);
    kvc_status status = capture(r, what, &graph, err);
    if (status == KVC_OK) {
        for (uint32_t i = 0; i <= repeats && status == KVC_OK; i++) {
            status = replay(r->gpu, graph, n, &times[i], err);
            if (status == KVC_OK) status = bench_interrupted(job, err);
        }
        cudaGraphExecDestroy(graph);
    }
    *out = median_of(times + 1, repeats);
    free(times);
    return status;
}

/* ---- a cache ---- */

static size_t row_values(const rig *r)
{
    return (size_t)r->model->n_kv_heads * r->model->head_dim;
}

static size_t query_values(const rig *r)
{
    return (size_t)r->model->n_query_heads * r->model->head_dim;
}

/* fp16 in +-[.5, 2). */
static kvc_status make_random(void **out, size_t n, kvc_error *err)
{
    uint32_t random = 2463534242u;
    uint16_t *host = malloc(n * sizeof *host);
    if (!host) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu values", n);
    for (size_t i = 0; i < n; i++) {
        random ^= random << 13, random ^= random >> 17, random ^= random << 5;
        host[i] = (uint16_t)((random >> 8 & 0x87ffu) + 0x3800u);
    }
    cudaError_t status = cudaMalloc(out, n * sizeof *host);
    if (status == cudaSuccess) status = cudaMemcpy(*out, host, n * sizeof *host, cudaMemcpyHostToDevice);
    free(host);
    return status == cudaSuccess ? KVC_OK : failed(err, status, "rows");
}

static uint32_t fill_rows(const rig *r)
{
    return r->load.batch > FILL_ROWS ? r->load.batch : FILL_ROWS;
}

/* How many batches of so many bytes. */
static uint32_t batches_of(const gpu *g, double bytes)
{
    double n = 2.0 * (double)g->cache_bytes / bytes + 1.0;
    if (n <= MOST_BATCHES) return (uint32_t)n;
    console_note("%d batches are %.0f KiB, less than twice the cache of the second level: some is read from there",
                 MOST_BATCHES, bytes * MOST_BATCHES / 1024);
    return MOST_BATCHES;
}

static kvc_status make_buffers(rig *r, kvc_error *err)
{
    size_t batch = r->load.batch, n = r->n_batches * batch;
    r->sequences = calloc(n, sizeof *r->sequences);
    r->n_tokens = calloc(batch, sizeof *r->n_tokens);
    if (!r->sequences || !r->n_tokens) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu sequences", n);
    for (size_t i = 0; i < n; i++) r->sequences[i] = (uint32_t)i;
    KVC_TRY(make_random(&r->rows, fill_rows(r) * row_values(r), err));
    KVC_TRY(make_random(&r->queries, batch * query_values(r), err));
    TRY_CUDA(cudaMalloc((void **)&r->out, batch * query_values(r) * sizeof *r->out));
    return KVC_OK;
}

static kvc_status rig_new(rig *r, const gpu *g, const bench_layer *layer, bench_load load, uint64_t n_appended,
                          kvc_error *err)
{
    char folder[4200];
    const kvc_config *config = layer->image.config;
    *r = (rig){.gpu = g, .model = kvc_config_model(config), .load = load, .page = kvc_config_tokens(config)->page};
    KVC_TRY(bench_kernels_of(&g->kernels, layer, folder, err));
    r->n_batches = batches_of(g, (double)kvc_config_bytes(config, load.context) * load.batch);
    const kvc_cuda_cache_options options = {.size = sizeof options,
                                            .device = g->ordinal,
                                            .max_sequences = r->n_batches * load.batch,
                                            .max_queries = load.batch,
                                            .max_tokens =
                                                (uint64_t)r->n_batches * load.batch * (load.context + n_appended),
                                            .kernels = folder};
    KVC_TRY(kvc_cuda_cache_create(&r->cache, config, &options, err));
    return make_buffers(r, err);
}

static void rig_free(rig *r)
{
    kvc_cuda_cache_destroy(r->cache);
    free(r->sequences);
    free(r->n_tokens);
    cudaFree(r->rows);
    cudaFree(r->queries);
    cudaFree(r->out);
}

/* n tokens for every sequence of a batch. */
static kvc_status append(const rig *r, uint32_t batch, uint32_t n, kvc_error *err)
{
    for (uint32_t i = 0; i < r->load.batch; i++) r->n_tokens[i] = n;
    const kvc_batch b = {r->load.batch, r->sequences + (size_t)batch * r->load.batch, r->n_tokens};
    return kvc_cuda_cache_append(r->cache, 0, &b, r->rows, r->rows, KVC_F16, r->gpu->stream, err);
}

static kvc_status fill(const rig *r, uint64_t n_appended, const job *job, kvc_error *err)
{
    uint32_t context = r->load.context, most = fill_rows(r) / r->load.batch;
    for (uint32_t batch = 0; batch < r->n_batches; batch++)
        for (uint32_t at = 0, n; at < context; at += n) {
            n = context - at < most ? context - at : most;
            KVC_TRY(append(r, batch, n, err));
            KVC_TRY(bench_interrupted(job, err));
            job_progress(job, "fill", (double)batch * context + at + n, (double)r->n_batches * context);
        }
    for (uint32_t i = 0; i < r->n_batches * r->load.batch; i++)
        KVC_TRY(kvc_cuda_cache_reserve(r->cache, i, context + n_appended, r->gpu->stream, err));
    return kvc_cuda_cache_sync(r->cache, r->gpu->stream, err);
}

/* ---- what is timed ---- */

/* Each batch as often as the others. */
static uint32_t attend_rounds(const rig *r)
{
    return (LEAST_CALLS + r->n_batches - 1) / r->n_batches;
}

static kvc_status attend_all(const rig *r, kvc_error *err)
{
    const kvc_attend_options options = {.size = sizeof options, .softcap = r->gpu->kernels.softcap ? 50.0f : 0.0f};
    for (uint32_t i = 0; i < r->load.batch; i++) r->n_tokens[i] = 1;
    for (uint32_t i = 0; i < attend_rounds(r) * r->n_batches; i++) {
        const kvc_batch b = {r->load.batch, r->sequences + (size_t)(i % r->n_batches) * r->load.batch, r->n_tokens};
        KVC_TRY(kvc_cuda_cache_attend(r->cache, 0, &b, r->queries, KVC_F16, r->out, &options, r->gpu->stream, err));
    }
    return KVC_OK;
}

/* Tokens of a graph: few batches have all of a page. */
static uint32_t append_tokens(const rig *r)
{
    return r->n_batches < LEAST_CALLS ? r->page : 1;
}

static kvc_status append_all(const rig *r, kvc_error *err)
{
    for (uint32_t i = 0; i < append_tokens(r) * r->n_batches; i++) KVC_TRY(append(r, i % r->n_batches, 1, err));
    return KVC_OK;
}

static kvc_status read_all(const rig *r, kvc_error *err)
{
    const gpu *g = r->gpu;
    for (int i = 0; i < LEAST_CALLS; i++)
        TRY_CUDA(op_stream_read(g->memory, READ_CACHES * g->cache_bytes, g->sum, g->stream));
    return KVC_OK;
}

/* Appends of a page's worth of tokens one by one, which completes a page in every sequence once. */
static kvc_status time_rig(const rig *r, uint32_t repeats, uint32_t rounds, const job *job, bench_times *out,
                           kvc_error *err)
{
    KVC_TRY(fill(r, (uint64_t)(rounds + 1) * r->page, job, err));
    KVC_TRY(time_calls(r, attend_all, 1, repeats, job, &out->attend, err));
    out->attend /= (double)attend_rounds(r) * r->n_batches;
    KVC_TRY(time_calls(r, append_all, r->page / append_tokens(r), rounds, job, &out->append, err));
    out->append /= (double)r->page * r->n_batches;
    return kvc_cuda_cache_sync(r->cache, r->gpu->stream, err); /* nothing was dropped */
}

static kvc_status time_cache(void *state, const bench_layer *layer, bench_load load, uint32_t repeats, const job *job,
                             bench_times *out, kvc_error *err)
{
    rig r;
    uint32_t rounds = repeats < 5 ? repeats : 5, page = kvc_config_tokens(layer->image.config)->page;
    kvc_status status = rig_new(&r, state, layer, load, (uint64_t)(rounds + 1) * page, err);
    if (status == KVC_OK) status = time_rig(&r, repeats, rounds, job, out, err);
    rig_free(&r);
    return status;
}

static kvc_status read_rate(void *state, uint32_t repeats, double *out, kvc_error *err)
{
    const rig r = {.gpu = state};
    KVC_TRY(time_calls(&r, read_all, 1, repeats, NULL, out, err));
    *out = (double)READ_CACHES * (double)r.gpu->cache_bytes * LEAST_CALLS / *out;
    return KVC_OK;
}

/* ---- the device ---- */

static kvc_status open_gpu(void **state, const bench_place *place, kvc_error *err)
{
    struct cudaDeviceProp p;
    KVC_TRY(backend_check_cuda(place->ordinal, err));
    gpu *g = *state = calloc(1, sizeof *g);
    if (!g) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    g->ordinal = place->ordinal;
    TRY_CUDA(cudaGetDeviceProperties(&p, place->ordinal));
    snprintf(g->text, sizeof g->text, "libkvc_cuda on %.200s, %d multiprocessors", p.name, p.multiProcessorCount);
    g->cache_bytes = (size_t)p.l2CacheSize;
    TRY_CUDA(cudaStreamCreate(&g->stream));
    TRY_CUDA(cudaEventCreate(&g->begin));
    TRY_CUDA(cudaEventCreate(&g->end));
    TRY_CUDA(cudaMalloc(&g->memory, READ_CACHES * g->cache_bytes));
    TRY_CUDA(cudaMemset(g->memory, 1, READ_CACHES * g->cache_bytes));
    TRY_CUDA(cudaMalloc((void **)&g->sum, sizeof *g->sum));
    return bench_kernels_open(&g->kernels, place, err);
}

static void close_gpu(void *state)
{
    gpu *g = state;
    if (!g) return;
    bench_kernels_close(&g->kernels);
    cudaFree(g->memory);
    cudaFree(g->sum);
    if (g->begin) cudaEventDestroy(g->begin);
    if (g->end) cudaEventDestroy(g->end);
    if (g->stream) cudaStreamDestroy(g->stream);
    free(g);
}

static const char *text(const void *state)
{
    return ((const gpu *)state)->text;
}

const bench_device bench_cuda = {
    .name = "cuda", .open = open_gpu, .close = close_gpu, .text = text, .read_rate = read_rate, .time = time_cache};
