/* decode_batch.c - a batch of sequences decoded with the cache of libkvc_cuda, the model left out: keys, values and
 * queries are random numbers on the GPU. Shows what a server does: create, fill with prompts, capture a step in a
 * graph, reserve pages, replay, look after the lengths.
 *
 *     decode_batch cfg.bin KERNELS [BATCH [CONTEXT [STEPS]]]       (8, 4096, 256)
 *
 * KERNELS is the folder of `kvcalib compile --kernels KERNELS`. Prints tokens a second (appends and attention of all
 * layers) and bytes. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <kvc/kvc_cuda.h>

#define CHUNK 256u /* tokens of a prompt that are appended at a time */

static void check(kvc_status status, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "decode_batch: %s\n", err->message);
    exit(1);
}

static void check_cuda(cudaError_t status)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "decode_batch: CUDA: %s\n", cudaGetErrorString(status));
    exit(1);
}

typedef struct decoder {
    kvc_config *cfg;
    kvc_cuda_cache *cache;
    cudaStream_t stream;
    const kvc_model_info *model;
    uint32_t batch, *sequences, *n_tokens; /* [batch] */
    float *rows, *queries, *out;           /* on the GPU */
} decoder;

static float *random_floats(size_t n)
{
    float *host = malloc(n * sizeof *host), *dev;
    uint32_t state = 1;
    for (size_t i = 0; host && i < n; i++) {
        state = state * 1664525u + 1013904223u;
        host[i] = (float)(int32_t)state * 0x1p-31f;
    }
    check_cuda(host ? cudaMalloc((void **)&dev, n * sizeof *host) : cudaErrorMemoryAllocation);
    check_cuda(cudaMemcpy(dev, host, n * sizeof *host, cudaMemcpyHostToDevice));
    free(host);
    return dev;
}

static void open_all(decoder *d, const char *cfg, const char *kernels, uint32_t batch, uint64_t tokens_each)
{
    kvc_error err;
    *d = (decoder){.batch = batch};
    check(kvc_config_open(&d->cfg, cfg, &err), &err);
    d->model = kvc_config_model(d->cfg);
    const kvc_cuda_cache_options options = {
        .size = sizeof options, .max_sequences = batch, .max_tokens = batch * tokens_each, .kernels = kernels};
    check(kvc_cuda_cache_create(&d->cache, d->cfg, &options, &err), &err);
    check_cuda(cudaStreamCreate(&d->stream));
    size_t row = (size_t)d->model->n_kv_heads * d->model->head_dim,
           queries = (size_t)batch * d->model->n_query_heads * d->model->head_dim;
    d->rows = random_floats(batch * CHUNK * row);
    d->queries = random_floats(queries);
    d->out = random_floats(queries);
    d->sequences = malloc(batch * sizeof *d->sequences);
    d->n_tokens = malloc(batch * sizeof *d->n_tokens);
    if (!d->sequences || !d->n_tokens) exit(1);
    for (uint32_t i = 0; i < batch; i++) d->sequences[i] = i;
}

static void close_all(decoder *d)
{
    kvc_cuda_cache_destroy(d->cache);
    kvc_config_close(d->cfg);
    cudaFree(d->rows);
    cudaFree(d->queries);
    cudaFree(d->out);
    cudaStreamDestroy(d->stream);
    free(d->sequences);
    free(d->n_tokens);
}

/* n tokens for every sequence, in every layer; where `attend`, attention of the newest. */
static void step(decoder *d, uint32_t n, int attend)
{
    kvc_error err;
    for (uint32_t i = 0; i < d->batch; i++) d->n_tokens[i] = n;
    const kvc_batch batch = {d->batch, d->sequences, d->n_tokens};
    for (uint32_t layer = 0; layer < d->model->n_layers; layer++) {
        check(kvc_cuda_cache_append(d->cache, layer, &batch, d->rows, d->rows, KVC_F32, d->stream, &err), &err);
        if (!attend) continue;
        check(kvc_cuda_cache_attend(d->cache, layer, &batch, d->queries, KVC_F32, d->out, NULL, d->stream, &err),
              &err);
    }
}

static cudaGraphExec_t capture_step(decoder *d)
{
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    check_cuda(cudaStreamBeginCapture(d->stream, cudaStreamCaptureModeGlobal));
    step(d, 1, 1);
    check_cuda(cudaStreamEndCapture(d->stream, &graph));
    check_cuda(cudaGraphInstantiate(&exec, graph, 0));
    check_cuda(cudaGraphDestroy(graph));
    return exec;
}

/* Milliseconds of n_steps replays. */
static float decode(decoder *d, uint32_t context, uint32_t n_steps)
{
    kvc_error err;
    cudaEvent_t begin, end;
    float ms;
    cudaGraphExec_t exec = capture_step(d);
    for (uint32_t i = 0; i < d->batch; i++)
        check(kvc_cuda_cache_reserve(d->cache, i, (uint64_t)context + n_steps, d->stream, &err), &err);
    check_cuda(cudaEventCreate(&begin));
    check_cuda(cudaEventCreate(&end));
    check_cuda(cudaEventRecord(begin, d->stream));
    for (uint32_t i = 0; i < n_steps; i++) check_cuda(cudaGraphLaunch(exec, d->stream));
    check_cuda(cudaEventRecord(end, d->stream));
    check(kvc_cuda_cache_sync(d->cache, d->stream, &err), &err); /* lengths; that nothing was dropped */
    check_cuda(cudaEventElapsedTime(&ms, begin, end));
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(exec);
    return ms;
}

static uint32_t number(int argc, char **argv, int i, uint32_t otherwise)
{
    return argc > i ? (uint32_t)strtoul(argv[i], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    decoder d;
    uint32_t batch = number(argc, argv, 3, 8), context = number(argc, argv, 4, 4096), n = number(argc, argv, 5, 256);
    if (argc < 3 || batch == 0 || n == 0) {
        fprintf(stderr, "decode_batch cfg.bin KERNELS [BATCH [CONTEXT [STEPS]]]\n");
        return 2;
    }
    open_all(&d, argv[1], argv[2], batch, (uint64_t)context + n);
    for (uint32_t at = 0; at < context; at += CHUNK) step(&d, context - at < CHUNK ? context - at : CHUNK, 0);
    float ms = decode(&d, context, n);
    printf("%u sequences of %llu tokens, %u layers: %.1f us a step, %.0f tokens/s\n", batch,
           (unsigned long long)kvc_cuda_cache_length(d.cache, 0, 0), d.model->n_layers, (double)ms * 1e3 / n,
           (double)batch * n / ms * 1e3);
    printf("%zu bytes on the GPU; %.2f bits a value, %.2f times less than fp16\n", kvc_cuda_cache_bytes(d.cache),
           kvc_config_bits_per_value(d.cfg, context + n), 16.0 / kvc_config_bits_per_value(d.cfg, context + n));
    close_all(&d);
    return 0;
}
