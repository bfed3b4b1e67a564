/* decoder.c - token by token through a kvc_cache, the way a server would run it: project, append, attend, finish.
 * All weights are resident as fp32: a step reads each of them once (memory-bound, 4 bytes per parameter).
 * The cache is libkvc's, in host memory; its attention runs on one thread per KV head. */
#include "model_private.h"

#include <omp.h>
#include <stdlib.h>

struct decoder {
    model *m;
    backend *b;
    kvc_cache *cache;
    layer_weights *layers; /* [n_layers] */
    layer_arena arena;     /* of DECODER_ROWS tokens */
    float *norm;           /* backend memory: [hidden] */
    void *head;            /* weight [vocab][hidden] */
    float *dev_logits;     /* backend memory: [vocab] */
    /* host */
    float *stage;               /* [STAGE_FLOATS] */
    float *x, *q, *k, *v, *out; /* [DECODER_ROWS] rows of hidden, query, kv, kv, query */
    float *cosine, *sine;       /* [DECODER_ROWS][d/2] */
    float *logits;              /* [vocab] */
    char *work;                 /* [n_threads][work_bytes] */
    size_t work_bytes;
    int n_threads;
};

static kvc_status load_weights(decoder *d, kvc_error *err)
{
    model *m = d->m;
    backend *b = d->b;
    const model_config *c = &m->config;
    const tensor *norm = weights_find(m->weights, arch_find(c->architecture)->final_norm),
                 *head = model_head_tensor(m);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        KVC_TRY(layer_weights_new(&d->layers[i], m, b, err));
        KVC_TRY(layer_weights_load(&d->layers[i], m, b, i, d->stage, err));
    }
    KVC_TRY(b->buffer_new(b, norm->n * sizeof(float), (void **)&d->norm, err));
    KVC_TRY(b->buffer_new(b, head->n * b->weight_bytes, &d->head, err));
    KVC_TRY(b->buffer_new(b, c->vocab * sizeof(float), (void **)&d->dev_logits, err));
    KVC_TRY(tensor_load(m, b, norm, 0, norm->n, d->stage, d->norm, err));
    return weight_load(m, b, head, 0, head->n, d->stage, d->head, err);
}

static kvc_status allocate(decoder *d, kvc_error *err)
{
    const model_config *c = &d->m->config;
    size_t rows = DECODER_ROWS, half = c->head_dim / 2;
    struct {
        float **to;
        size_t n;
    } parts[] = {{&d->stage, STAGE_FLOATS},   {&d->x, rows * c->hidden},   {&d->q, rows * query_width(c)},
                 {&d->k, rows * kv_width(c)}, {&d->v, rows * kv_width(c)}, {&d->out, rows * query_width(c)},
                 {&d->cosine, rows * half},   {&d->sine, rows * half},     {&d->logits, c->vocab}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!(*parts[i].to = malloc(parts[i].n * sizeof(float))))
            return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a decoder");
    d->n_threads = omp_get_max_threads();
    d->work_bytes = (kvc_cache_attend_work(d->cache) + 63) & ~(size_t)63;
    d->work = aligned_alloc(64, (size_t)d->n_threads * d->work_bytes + 64);
    d->layers = calloc(c->n_layers, sizeof *d->layers);
    if (!d->work || !d->layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a decoder");
    return layer_arena_new(&d->arena, c, d->b, rows, true, err);
}

kvc_status decoder_new(decoder **out, model *m, backend *b, kvc_cache *cache, kvc_error *err)
{
    decoder *d = *out = calloc(1, sizeof *d);
    if (!d) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a decoder");
    d->m = m;
    d->b = b;
    d->cache = cache;
    kvc_status status = allocate(d, err);
    if (status == KVC_OK) status = load_weights(d, err);
    if (status != KVC_OK) {
        decoder_free(d);
        *out = NULL;
    }
    return status;
}

void decoder_free(decoder *d)
{
    if (!d) return;
    float *host[] = {d->stage, d->x, d->q, d->k, d->v, d->out, d->cosine, d->sine, d->logits};
    for (uint32_t i = 0; d->layers && i < d->m->config.n_layers; i++) layer_weights_free(&d->layers[i], d->b);
    layer_arena_free(&d->arena, d->b);
    d->b->buffer_free(d->b, d->norm);
    d->b->buffer_free(d->b, d->head);
    d->b->buffer_free(d->b, d->dev_logits);
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) free(host[i]);
    free(d->work);
    free(d->layers);
    free(d);
}

/* Each KV head is a task of its own: kvc_cache_attend() only reads. */
static kvc_status attend_heads(decoder *d, uint32_t layer, const kvc_batch *batch, kvc_error *err)
{
    uint32_t n_heads = d->m->config.n_kv_heads, failed = UINT32_MAX;
#pragma omp parallel for schedule(static) num_threads(d->n_threads) reduction(min : failed)
    for (uint32_t head = 0; head < n_heads; head++) {
        kvc_attend_options only = {.size = sizeof only, .kv_head_begin = head, .kv_head_end = head + 1};
        char *work = d->work + (size_t)omp_get_thread_num() * d->work_bytes;
        kvc_status status = kvc_cache_attend(d->cache, layer, batch, d->q, KVC_F32, d->out, work, &only, NULL);
        if (status != KVC_OK && head < failed) failed = head;
    }
    if (failed == UINT32_MAX) return KVC_OK;
    kvc_attend_options only = {.size = sizeof only, .kv_head_begin = failed, .kv_head_end = failed + 1};
    return kvc_cache_attend(d->cache, layer, batch, d->q, KVC_F32, d->out, d->work, &only, err);
}

static kvc_status run_layer(decoder *d, uint32_t layer, const kvc_batch *batch, kvc_error *err)
{
    const model_config *c = &d->m->config;
    backend *b = d->b;
    layer_arena *s = &d->arena;
    size_t n = *batch->n_tokens, q_bytes = n * query_width(c) * sizeof(float),
           kv_bytes = n * kv_width(c) * sizeof(float);
    KVC_TRY(layer_project(d->m, b, &d->layers[layer], s, n, err));
    KVC_TRY(layer_rotate(d->m, b, s, 0, n, err));
    KVC_TRY(b->download(b, d->q, s->q, q_bytes, err));
    KVC_TRY(b->download(b, d->k, s->k, kv_bytes, err));
    KVC_TRY(b->download(b, d->v, s->v, kv_bytes, err));
    KVC_TRY(b->sync(b, err));
    KVC_TRY(kvc_cache_append(d->cache, layer, batch, d->k, d->v, KVC_F32, err));
    KVC_TRY(attend_heads(d, layer, batch, err));
    KVC_TRY(b->upload(b, s->out, d->out, q_bytes, err));
    return layer_finish(d->m, b, &d->layers[layer], s, n, err);
}

/* n <= DECODER_ROWS tokens whose queries all see the cache as it then is. */
static kvc_status feed_chunk(decoder *d, uint32_t sequence, const uint32_t *ids, uint32_t n, kvc_error *err)
{
    const model_config *c = &d->m->config;
    backend *b = d->b;
    kvc_batch batch = {1, &sequence, &n};
    size_t angle_bytes = (size_t)n * (c->head_dim / 2) * sizeof(float);
    rope_fill(c, kvc_cache_length(d->cache, 0, sequence), n, d->cosine, d->sine);
    KVC_TRY(embed_rows(d->m, ids, n, d->x, err));
    KVC_TRY(b->upload(b, d->arena.cosine, d->cosine, angle_bytes, err));
    KVC_TRY(b->upload(b, d->arena.sine, d->sine, angle_bytes, err));
    KVC_TRY(b->upload(b, d->arena.x, d->x, (size_t)n * c->hidden * sizeof(float), err));
    for (uint32_t layer = 0; layer < c->n_layers; layer++) KVC_TRY(run_layer(d, layer, &batch, err));
    return KVC_OK;
}

/* Of row `row` of the last chunk. */
static kvc_status compute_logits(decoder *d, size_t row, kvc_error *err)
{
    const model_config *c = &d->m->config;
    backend *b = d->b;
    const float *x = d->arena.x + row * c->hidden;
    KVC_TRY(b->rmsnorm(b, 1, c->hidden, x, d->norm, c->rms_eps, d->arena.normed, err));
    KVC_TRY(b->gemm(b, 1, c->vocab, c->hidden, d->arena.normed, d->head, NULL, 0, d->dev_logits, err));
    KVC_TRY(b->download(b, d->logits, d->dev_logits, c->vocab * sizeof(float), err));
    return b->sync(b, err);
}

kvc_status decoder_feed(decoder *d, uint32_t sequence, const uint32_t *ids, size_t n, const float **logits,
                        kvc_error *err)
{
    uint32_t count = 0;
    if (n == 0) return kvc_fail(err, KVC_INVALID, "no tokens to feed");
    KVC_TRY(check_ids(d->m, ids, n, err));
    for (size_t at = 0; at < n; at += count) {
        count = (uint32_t)min_size(min_size(n - at, DECODER_ROWS), kvc_cache_chunk(d->cache, 0, sequence));
        KVC_TRY(feed_chunk(d, sequence, ids + at, count, err));
    }
    KVC_TRY(compute_logits(d, count - 1, err));
    *logits = d->logits;
    return KVC_OK;
}
