/* cache_pair.c - see cache_pair.h. */
#include "cache_pair.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cache_cases.h"
/* The inside of libkvc's cache. */
#include "../../runtime/cache.h"

#define TOLERANCE 2e-3

void pair_must(cache_pair *p, kvc_status status, const char *what, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "%s, %s: %s: %s\n", p->name, p->step, what, err->message);
    exit(1);
}

void pair_must_cuda(cache_pair *p, cudaError_t status, const char *what)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s, %s: %s: %s\n", p->name, p->step, what, cudaGetErrorString(status));
    exit(1);
}

void pair_fail(cache_pair *p, const char *what, double number)
{
    if (++p->failures <= 20) fprintf(stderr, "%s, %s: %s (%g)\n", p->name, p->step, what, number);
}

static void *need(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    if (!memory) exit(1);
    return memory;
}

/* Both caches of p->cfg. */
static void create(cache_pair *p, const char *kernels, int device, uint64_t max_tokens, uint32_t end_head)
{
    kvc_error err;
    const kvc_model_info *m = kvc_config_model(p->cfg);
    kvc_cache_options options = {sizeof options, MOST_SEQUENCES, max_tokens, NULL};
    kvc_cuda_cache_options cuda = {sizeof cuda, device,  MOST_SEQUENCES, 16 * MOST_SEQUENCES,
                                   max_tokens,  kernels, p->first_head,  end_head};
    p->n_layers = m->n_layers;
    p->row_values = m->n_kv_heads * m->head_dim;
    p->query_values = m->n_query_heads * m->head_dim;
    pair_must(p, kvc_cache_create(&p->cpu, p->cfg, &options, &err), "create", &err);
    pair_must(p, kvc_cuda_cache_create(&p->gpu, p->cfg, &cuda, &err), "create on the device", &err);
    pair_must_cuda(p, cudaSetDevice(device), "device");
    pair_must_cuda(p, cudaStreamCreate(&p->stream), "stream");
}

static cache_pair pair_of(const char *name, uint32_t first_head)
{
    return (cache_pair){
        .name = name, .step = "open", .random = 12345, .n_sequences = MOST_SEQUENCES, .first_head = first_head};
}

void pair_open(cache_pair *p, const char *folder, const char *name, int device, uint64_t max_tokens,
               uint32_t first_head, uint32_t end_head)
{
    kvc_error err;
    char path[4200];
    *p = pair_of(name, first_head);
    const cache_case *c = cache_case_find(name);
    p->options =
        (kvc_attend_options){.size = sizeof p->options, .sliding_window = c->sliding_window, .softcap = c->softcap};
    snprintf(p->folder, sizeof p->folder, "%s/%s", folder, name);
    snprintf(path, sizeof path, "%s/cfg.bin", p->folder);
    pair_must(p, kvc_config_open(&p->cfg, path, &err), "cfg.bin", &err);
    snprintf(path, sizeof path, "%s/kernels", p->folder);
    create(p, path, device, max_tokens, end_head);
}

void pair_open_memory(cache_pair *p, const void *image, size_t n, const char *name, int device, uint64_t max_tokens,
                      uint32_t first_head, uint32_t end_head)
{
    kvc_error err;
    *p = pair_of(name, first_head);
    pair_must(p, kvc_config_open_memory(&p->cfg, image, n, &err), "configuration", &err);
    create(p, NULL, device, max_tokens, end_head);
}

void pair_close(cache_pair *p)
{
    cudaStreamDestroy(p->stream);
    kvc_cuda_cache_destroy(p->gpu);
    kvc_cache_destroy(p->cpu);
    kvc_config_close(p->cfg);
}

uint32_t pair_random(cache_pair *p, uint32_t n)
{
    p->random = p->random * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(p->random >> 4) * n >> 28);
}

/* With outliers, zeros of both signs, and what is subnormal in fp16. */
static float random_value(cache_pair *p)
{
    float x = (float)pair_random(p, 1u << 16) / 32768.0f - 1.0f;
    switch (pair_random(p, 64)) {
    case 0: return 4.0f * x;
    case 1: return x < 0.0f ? -0.0f : 0.0f;
    case 2: return 1e-6f * x;
    default: return x;
    }
}

void *pair_rows(cache_pair *p, kvc_dtype dtype, size_t n)
{
    float *x = need(n * sizeof *x);
    uint16_t *bits = (uint16_t *)x;
    for (size_t i = 0; i < n; i++) {
        float value = random_value(p);
        uint32_t u;
        memcpy(&u, &value, sizeof u);
        if (dtype == KVC_F32)
            x[i] = value;
        else
            bits[i] = dtype == KVC_F16 ? kvc_fp16_from_float(value) : (uint16_t)(u >> 16);
    }
    return x;
}

void *pair_to_device(cache_pair *p, const void *host, size_t bytes)
{
    void *dev;
    pair_must_cuda(p, cudaMalloc(&dev, bytes + 16), "cudaMalloc");
    pair_must_cuda(p, cudaMemcpy(dev, host, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
    return dev;
}

static size_t bytes_of(kvc_dtype dtype)
{
    return dtype == KVC_F32 ? 4 : 2;
}

static uint32_t rows_of(const kvc_batch *batch)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < batch->n_sequences; i++) n += batch->n_tokens[i];
    return n;
}

/* What the GPU's cache has of n rows [values] of all heads; as many values for each KV head. */
static void *own_columns(const cache_pair *p, const void *rows, size_t n, size_t values, size_t bytes_each)
{
    size_t of_head = values / p->cpu->n_kv_heads * bytes_each, own = of_head * p->gpu->n_kv_heads;
    uint8_t *out = need(n * own);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * own, (const uint8_t *)rows + i * values * bytes_each + p->first_head * of_head, own);
    return out;
}

static void *own_to_device(cache_pair *p, const void *rows, size_t n, size_t values, size_t bytes_each)
{
    void *own = own_columns(p, rows, n, values, bytes_each);
    void *dev = pair_to_device(p, own, n * values / p->cpu->n_kv_heads * p->gpu->n_kv_heads * bytes_each);
    free(own);
    return dev;
}

/* ---- changes ---- */

kvc_status pair_append(cache_pair *p, const kvc_batch *batch, kvc_dtype dtype)
{
    kvc_error err;
    size_t n_rows = rows_of(batch), n = n_rows * p->row_values, each = bytes_of(dtype);
    kvc_status first = KVC_OK;
    for (uint32_t layer = 0; layer < p->n_layers && first == KVC_OK; layer++) {
        void *keys = pair_rows(p, dtype, n), *values = pair_rows(p, dtype, n);
        void *dev_keys = own_to_device(p, keys, n_rows, p->row_values, each),
             *dev_values = own_to_device(p, values, n_rows, p->row_values, each);
        first = kvc_cache_append(p->cpu, layer, batch, keys, values, dtype, &err);
        kvc_status second = kvc_cuda_cache_append(p->gpu, layer, batch, dev_keys, dev_values, dtype, p->stream, &err);
        if (first != second) pair_fail(p, "append: another status than libkvc's", second);
        pair_must_cuda(p, cudaStreamSynchronize(p->stream), "append");
        cudaFree(dev_keys);
        cudaFree(dev_values);
        free(keys);
        free(values);
    }
    return first;
}

void pair_truncate(cache_pair *p, uint32_t sequence, uint64_t n_tokens)
{
    kvc_error err;
    pair_must(p, kvc_cache_truncate(p->cpu, sequence, n_tokens, &err), "truncate", &err);
    pair_must(p, kvc_cuda_cache_truncate(p->gpu, sequence, n_tokens, p->stream, &err), "truncate on the device",
              &err);
}

void pair_fork(cache_pair *p, uint32_t from, uint32_t to)
{
    kvc_error err;
    kvc_status status = kvc_cache_fork(p->cpu, from, to, &err);
    if (kvc_cuda_cache_fork(p->gpu, from, to, p->stream, &err) != status)
        pair_fail(p, "fork: another status than libkvc's", status);
}

/* ---- comparisons ---- */

static uint8_t *fetch(cache_pair *p, const void *dev, size_t bytes)
{
    uint8_t *host = need(bytes);
    pair_must_cuda(p, cudaMemcpy(host, dev, bytes, cudaMemcpyDeviceToHost), "cudaMemcpy");
    return host;
}

/* Those that are in use, and no others: they were never written. */
static void compare_rows(cache_pair *p, uint32_t layer, uint32_t sequence)
{
    const cuda_layer *l = &p->gpu->layers[layer];
    uint32_t heads = p->gpu->n_kv_heads;
    size_t of_head = (size_t)p->gpu->capacity * p->gpu->head_dim;
    size_t bytes = (size_t)(l->length[sequence] - l->packed[sequence]) * p->gpu->head_dim * sizeof(uint16_t);
    for (uint32_t i = 0; i < 2 * heads && bytes; i++) {
        uint8_t *rows = fetch(p, l->store.rows + (sequence * 2 * heads + i) * of_head, bytes);
        const uint16_t *want = cache_rows(p->cpu, layer, sequence, (int)(i / heads), p->first_head + i % heads);
        if (memcmp(rows, want, bytes)) pair_fail(p, "fp16 rows differ: layer", layer);
        free(rows);
    }
}

/* Is a page what libkvc's is, or its part of that? */
static bool same_page(const cache_pair *p, uint32_t layer, const uint8_t *page, const uint8_t *want)
{
    const cuda_layer *l = &p->gpu->layers[layer];
    const cache_layer *all = &p->cpu->layers[layer];
    if (p->gpu->n_kv_heads == p->cpu->n_kv_heads) return memcmp(page, want, all->page_bytes) == 0;
    for (int side = 0; side < 2; side++) {
        size_t block = l->coder[side].block_bytes, n = p->gpu->n_kv_heads * block;
        const uint8_t *own = page + (side ? l->store.value_offset : 0);
        if (memcmp(own, want + (side ? all->value_offset : 0) + p->first_head * block, n) != 0) return false;
    }
    return true;
}

static void compare_pages(cache_pair *p, uint32_t layer, uint32_t sequence)
{
    const cuda_layer *l = &p->gpu->layers[layer];
    const cache_layer *want = &p->cpu->layers[layer];
    for (uint32_t i = 0; i < l->packed[sequence] / p->gpu->policy.page; i++) {
        size_t entry = (size_t)sequence * p->gpu->n_pages + i;
        uint8_t *page = fetch(p, l->store.pool + p->gpu->pages[entry] * l->store.page_bytes, l->store.page_bytes);
        if (!same_page(p, layer, page, want->pool + p->cpu->pages[entry] * want->page_bytes))
            pair_fail(p, "pages differ: layer", layer);
        free(page);
    }
}

void pair_compare(cache_pair *p)
{
    kvc_error err = {""};
    pair_must(p, kvc_cuda_cache_sync(p->gpu, p->stream, &err), "sync", &err);
    for (uint32_t layer = 0; layer < p->n_layers; layer++)
        for (uint32_t sequence = 0; sequence < p->n_sequences; sequence++) {
            uint64_t n = kvc_cache_length(p->cpu, layer, sequence);
            if (kvc_cuda_cache_length(p->gpu, layer, sequence) != n ||
                p->gpu->layers[layer].packed[sequence] != p->cpu->layers[layer].packed[sequence])
                return pair_fail(p, "lengths differ: sequence", sequence);
            if (kvc_cuda_cache_chunk(p->gpu, layer, sequence) != kvc_cache_chunk(p->cpu, layer, sequence))
                pair_fail(p, "chunks differ: sequence", sequence);
            compare_rows(p, layer, sequence);
            compare_pages(p, layer, sequence);
        }
}

void pair_attend_cpu(cache_pair *p, uint32_t layer, const kvc_batch *batch, const void *queries, kvc_dtype dtype,
                     float *out)
{
    kvc_error err;
    void *work = aligned_alloc(64, (kvc_cache_attend_work(p->cpu) + 63) / 64 * 64);
    pair_must(p, kvc_cache_attend(p->cpu, layer, batch, queries, dtype, out, work, &p->options, &err), "attend",
              &err);
    free(work);
}

void pair_compare_outputs(cache_pair *p, const float *want, const float *got, size_t n)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    if (!(sqrt(error) <= TOLERANCE * sqrt(norm))) pair_fail(p, "outputs differ", sqrt(error / norm));
}

/* The same a value further on in memory of its own: rows that cannot be read by 16 bytes. */
static void *shift_on_device(cache_pair *p, void *rows, size_t bytes, size_t by)
{
    uint8_t *to;
    pair_must_cuda(p, cudaMalloc((void **)&to, bytes + by), "cudaMalloc");
    pair_must_cuda(p, cudaMemcpy(to + by, rows, bytes, cudaMemcpyDeviceToDevice), "cudaMemcpy");
    cudaFree(rows);
    return to;
}

/* Of every other call queries are aligned to no more than their values. */
void pair_attend(cache_pair *p, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype)
{
    kvc_error err;
    size_t n_rows = rows_of(batch), n = n_rows * p->query_values, own = n / p->cpu->n_kv_heads * p->gpu->n_kv_heads;
    void *queries = pair_rows(p, dtype, n);
    size_t by = p->n_attends++ % 2 ? bytes_of(dtype) : 0;
    uint8_t *dev_queries = own_to_device(p, queries, n_rows, p->query_values, bytes_of(dtype));
    if (by) dev_queries = shift_on_device(p, dev_queries, own * bytes_of(dtype), by);
    float *want = need(n * sizeof *want), *dev_out;
    pair_must_cuda(p, cudaMalloc((void **)&dev_out, n * sizeof *want + 16), "cudaMalloc");
    pair_must_cuda(p, cudaMemset(dev_out, 0xff, n * sizeof *want), "cudaMemset");
    pair_attend_cpu(p, layer, batch, queries, dtype, want);
    pair_must(
        p,
        kvc_cuda_cache_attend(p->gpu, layer, batch, dev_queries + by, dtype, dev_out, &p->options, p->stream, &err),
        "attend on the device", &err);
    pair_must_cuda(p, cudaStreamSynchronize(p->stream), "attend");
    float *got = (float *)fetch(p, dev_out, own * sizeof *got);
    float *part = own_columns(p, want, n_rows, p->query_values, sizeof *want);
    pair_compare_outputs(p, part, got, own);
    cudaFree(dev_queries);
    cudaFree(dev_out);
    free(queries);
    free(want);
    free(part);
    free(got);
}
