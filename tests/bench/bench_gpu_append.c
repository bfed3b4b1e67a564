/* bench_gpu_append.c - one token for each of 64 sequences of 8192, by libkvc_cuda on one GPU, beside attention over
 * them.
 *
 *     bench_gpu_append [FOLDER [CASE]]     of make_kernels.c (default: bench_cache beside the program); cases whose
 *                                          name contains CASE
 *
 * 8 layers of 8 KV heads of 128 channels; random rows. A graph has one step, an append (or attention) in each layer,
 * and is replayed 64 times, in which every sequence loses a page once: all in the same step ("together"), one in each
 * step ("apart"), or each in a random one ("at random": none, one, two or three in most steps). Figures are of one
 * layer: append over 64 replays (medians of ROUNDS); of replays by themselves (from event to event, so with the start
 * of the graph) the median and the longest of 64 (median of ROUNDS); attention, and append as a part of it. */
#include <cuda_runtime_api.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "../gpu/cache_cases.h"
#include "kvc/kvc_cuda.h"

enum {
    BATCH = 64,
    CONTEXT = 8192,
    CHUNK = 512,
    STEPS = 64,
    ROUNDS = 21,
    MOST_TOKENS = CONTEXT + STEPS * (ROUNDS + 3)
};

/* When pages leave. */
static const char *const order_names[] = {"together", "apart", "at random"};
enum { TOGETHER, APART, AT_RANDOM, N_ORDERS };

static const char *doing = "";

static void must_cuda(cudaError_t status)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", doing, cudaGetErrorString(status));
    exit(1);
}

static void must(kvc_status status, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "%s: %s\n", doing, err->message);
    exit(1);
}

/* ---- one cache ---- */

typedef struct bench {
    kvc_config *cfg;
    kvc_cuda_cache *cache;
    cudaStream_t stream;
    uint32_t n_layers, sequences[BATCH], n_tokens[BATCH];
    uint16_t *rows; /* fp16, for a chunk of all sequences */
    float *queries, *out;
} bench;

static uint32_t random_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 16;
}

/* fp16 in +-[1, 2) and +-[.5, 1). */
static uint16_t *random_rows(size_t n)
{
    uint16_t *host = malloc(n * sizeof *host), *dev;
    uint32_t state = 1;
    if (!host) exit(1);
    for (size_t i = 0; i < n; i++) {
        host[i] = (uint16_t)((random_number(&state) & 0x87ffu) + 0x3800u);
    }
    must_cuda(cudaMalloc((void **)&dev, n * sizeof *host));
    must_cuda(cudaMemcpy(dev, host, n * sizeof *host, cudaMemcpyHostToDevice));
    free(host);
    return dev;
}

/* b->n_tokens more for every sequence. */
static void append_all(bench *b)
{
    kvc_error err;
    const kvc_batch batch = {BATCH, b->sequences, b->n_tokens};
    for (uint32_t layer = 0; layer < b->n_layers; layer++)
        must(kvc_cuda_cache_append(b->cache, layer, &batch, b->rows, b->rows + 77 * 8, KVC_F16, b->stream, &err),
             &err);
}

/* Every sequence has CONTEXT tokens, and up to STEPS - 1 more. */
static void append_context(bench *b, int order)
{
    uint32_t state = 1;
    for (uint32_t i = 0; i < BATCH; i++) b->n_tokens[i] = CHUNK;
    for (uint32_t at = 0; at < CONTEXT; at += CHUNK) append_all(b);
    for (uint32_t i = 0; i < BATCH; i++)
        b->n_tokens[i] = order == APART ? i % STEPS : order == AT_RANDOM ? random_number(&state) % STEPS : 0;
    append_all(b);
}

static void bench_open(bench *b, const char *folder, const char *name, int order)
{
    char path[4200], kernels[4200];
    kvc_error err;
    *b = (bench){0};
    snprintf(path, sizeof path, "%s/%s/cfg.bin", folder, name);
    snprintf(kernels, sizeof kernels, "%s/%s/kernels", folder, name);
    must(kvc_config_open(&b->cfg, path, &err), &err);
    const kvc_model_info *m = kvc_config_model(b->cfg);
    kvc_cuda_cache_options options = {sizeof options, 0, BATCH, 0, (uint64_t)BATCH * MOST_TOKENS, kernels, 0, 0};
    must(kvc_cuda_cache_create(&b->cache, b->cfg, &options, &err), &err);
    must_cuda(cudaStreamCreate(&b->stream));
    b->n_layers = m->n_layers;
    b->rows = random_rows((size_t)BATCH * CHUNK * m->n_kv_heads * m->head_dim + 77 * 8);
    size_t n = (size_t)BATCH * m->n_query_heads * m->head_dim;
    must_cuda(cudaMalloc((void **)&b->queries, n * sizeof(float)));
    must_cuda(cudaMalloc((void **)&b->out, n * sizeof(float)));
    must_cuda(cudaMemset(b->queries, 0x3d, n * sizeof(float))); /* .046 */
    for (uint32_t i = 0; i < BATCH; i++) b->sequences[i] = i;
    append_context(b, order);
    for (uint32_t i = 0; i < BATCH; i++)
        must(kvc_cuda_cache_reserve(b->cache, i, MOST_TOKENS, b->stream, &err), &err);
    must_cuda(cudaStreamSynchronize(b->stream));
}

static void bench_close(bench *b)
{
    kvc_error err;
    must(kvc_cuda_cache_sync(b->cache, b->stream, &err), &err); /* nothing was dropped */
    kvc_cuda_cache_destroy(b->cache);
    kvc_config_close(b->cfg);
    cudaFree(b->rows);
    cudaFree(b->queries);
    cudaFree(b->out);
    cudaStreamDestroy(b->stream);
}

/* ---- graphs ---- */

static cudaGraphExec_t capture(bench *b, int attend)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    kvc_error err;
    for (uint32_t i = 0; i < BATCH; i++) b->n_tokens[i] = 1;
    const kvc_batch batch = {BATCH, b->sequences, b->n_tokens};
    must_cuda(cudaStreamBeginCapture(b->stream, cudaStreamCaptureModeGlobal));
    for (uint32_t i = 0; i < b->n_layers; i++)
        must(attend ? kvc_cuda_cache_attend(b->cache, i, &batch, b->queries, KVC_F32, b->out, NULL, b->stream, &err)
                    : kvc_cuda_cache_append(b->cache, i, &batch, b->rows, b->rows, KVC_F16, b->stream, &err),
             &err);
    must_cuda(cudaStreamEndCapture(b->stream, &graph));
    must_cuda(cudaGraphInstantiate(&exec, graph, 0));
    must_cuda(cudaGraphDestroy(graph));
    return exec;
}

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double median(float *times, size_t n)
{
    qsort(times, n, sizeof *times, ascending);
    return times[n / 2];
}

/* Microseconds of a replay: the mean of STEPS in a row; the median and the longest of them alone. */
typedef struct replay_times {
    double mean, median, worst;
} replay_times;

static replay_times time_replays(bench *b, cudaGraphExec_t exec)
{
    cudaEvent_t at[STEPS + 1];
    float means[ROUNDS], worst[ROUNDS], steps[ROUNDS * STEPS], ms;
    for (int i = 0; i <= STEPS; i++) must_cuda(cudaEventCreate(&at[i]));
    for (int round = -1; round < ROUNDS; round++) {
        for (int i = 0; i < STEPS; i++) {
            must_cuda(cudaEventRecord(at[i], b->stream));
            must_cuda(cudaGraphLaunch(exec, b->stream));
        }
        must_cuda(cudaEventRecord(at[STEPS], b->stream));
        must_cuda(cudaEventSynchronize(at[STEPS]));
        if (round < 0) continue;
        must_cuda(cudaEventElapsedTime(&ms, at[0], at[STEPS]));
        means[round] = ms * 1e3f / STEPS;
        worst[round] = 0.0f;
        for (int i = 0; i < STEPS; i++) {
            must_cuda(cudaEventElapsedTime(&ms, at[i], at[i + 1]));
            steps[round * STEPS + i] = ms * 1e3f;
            if (ms * 1e3f > worst[round]) worst[round] = ms * 1e3f;
        }
    }
    for (int i = 0; i <= STEPS; i++) cudaEventDestroy(at[i]);
    return (replay_times){median(means, ROUNDS), median(steps, (size_t)ROUNDS * STEPS), median(worst, ROUNDS)};
}

static void time_case(const char *folder, const char *name, int order)
{
    bench b;
    doing = name;
    bench_open(&b, folder, name, order);
    cudaGraphExec_t append = capture(&b, 0), attend = capture(&b, 1);
    replay_times attention = time_replays(&b, attend), appends = time_replays(&b, append);
    double n = b.n_layers;
    printf("%-12s %2u x %u, pages %-9s  append %6.2f us, alone %6.2f, longest %7.2f us, attend %7.1f us: %4.1f %%\n",
           name, BATCH, CONTEXT, order_names[order], appends.mean / n, appends.median / n, appends.worst / n,
           attention.mean / n, 100.0 * appends.mean / attention.mean);
    fflush(stdout);
    cudaGraphExecDestroy(append);
    cudaGraphExecDestroy(attend);
    bench_close(&b);
}

int main(int argc, char **argv)
{
    char self[4000] = "", folder[4096];
    struct cudaDeviceProp p;
    if (cudaGetDeviceProperties(&p, 0) != cudaSuccess) {
        puts("skipped: no GPU");
        return 77;
    }
    if (readlink("/proc/self/exe", self, sizeof self - 1) < 0) return 1;
    snprintf(folder, sizeof folder, "%s/bench_cache", dirname(self));
    printf("%s, %d multiprocessors\n", p.name, p.multiProcessorCount);
    for (size_t i = 0; i < sizeof cache_cases / sizeof *cache_cases; i++) {
        const char *name = cache_cases[i].name;
        if (strncmp(name, "bench", 5) != 0 || !strstr(name, argc > 2 ? argv[2] : "")) continue;
        for (int order = 0; order < N_ORDERS; order++) time_case(argc > 1 ? argv[1] : folder, name, order);
    }
    return 0;
}
