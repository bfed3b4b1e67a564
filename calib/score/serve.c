/* serve.c - a text evaluated through libkvc_cuda: not what its pages decode to, but the library itself.
 *
 * What a token's attention reads in a layer depends on the tokens before it in that layer alone. So the pass stays
 * layer by layer, with products over all rows, and only attention is done as decoding does it: sequences side by
 * side, at each step one row of every sequence that is still as long is appended and its query attends. Rows are
 * first brought into the order of steps,
 *
 *     sequence 0: a0 a1 a2 a3
 *     sequence 1: b0 b1              ->  a0 c0 b0 | a1 c1 b1 | a2 c2 | a3          the longest first
 *     sequence 2: c0 c1 c2
 *
 * and outputs back. All of it is on the stream of the backend: nothing waits but for the layer's end, where the
 * cache is asked whether all went well. Cost: a step takes a few launches, whatever the number of sequences. */
#include "cuda_open.h"
#include "evaluate.h"
#include "kvc/kvc_cuda.h"

#include <stdlib.h>

#define MOST_TOGETHER 64u /* sequences; a step of more takes longer */

typedef struct served {
    backend *b;
    const model_config *config;
    const sequence_set *tokens;
    kvc_cuda_cache *cache;
    struct CUstream_st *stream;
    uint32_t n_together;
    size_t n_rows;            /* at a time */
    float *q, *k, *v, *out;   /* backend memory: [n_rows] in the order of steps */
    size_t *of_step, *of_row; /* [n_rows] the row that comes at this place in it; the place of a row */
    uint32_t *slots, *ones;   /* [n_together] 0, 1, ..; 1, 1, .. */
    size_t *sequences;        /* [n_together] */
} served;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t length_of(const sequence_set *tokens, size_t sequence)
{
    return tokens->first[sequence + 1] - tokens->first[sequence];
}

/* ---- memory ---- */

/* Half of the room stays for the passes. */
static kvc_status open_cache(served *s, const kvc_config *config, const char *kernels, kvc_error *err)
{
    size_t room = s->b->room(s->b), longest = sequences_longest(s->tokens);
    size_t most_rows = model_rows_together(s->config, s->b, sequences_tokens(s->tokens), longest);
    int device;
    cuda_stream_of(s->b, &device, &s->stream);
    for (uint32_t n = (uint32_t)smaller(MOST_TOGETHER, s->tokens->n);; n = (n + 1) / 2) {
        s->n_together = n;
        s->n_rows = smaller(most_rows, n * longest);
        const kvc_cuda_cache_options options = {.size = sizeof options,
                                                .device = device,
                                                .max_sequences = n,
                                                .max_tokens = s->n_rows,
                                                .kernels = kernels};
        kvc_status status = kvc_cuda_cache_create(&s->cache, config, &options, err);
        if (n == 1 || (status != KVC_OK && status != KVC_NO_MEMORY)) return status;
        if (status == KVC_OK && kvc_cuda_cache_bytes(s->cache) <= room / 2) return KVC_OK;
        kvc_cuda_cache_destroy(s->cache);
        s->cache = NULL;
    }
}

static size_t query_bytes(const served *s)
{
    return s->n_rows * s->config->n_heads * s->config->head_dim * sizeof(float);
}

static size_t kv_bytes(const served *s)
{
    return s->n_rows * s->config->n_kv_heads * s->config->head_dim * sizeof(float);
}

static kvc_status open_rows(served *s, kvc_error *err)
{
    backend *b = s->b;
    s->of_step = malloc(s->n_rows * sizeof *s->of_step);
    s->of_row = malloc(s->n_rows * sizeof *s->of_row);
    s->slots = malloc(s->n_together * sizeof *s->slots);
    s->ones = malloc(s->n_together * sizeof *s->ones);
    s->sequences = malloc(s->n_together * sizeof *s->sequences);
    if (!s->of_step || !s->of_row || !s->slots || !s->ones || !s->sequences)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu rows", s->n_rows);
    for (uint32_t i = 0; i < s->n_together; i++) {
        s->slots[i] = i;
        s->ones[i] = 1;
    }
    KVC_TRY(b->buffer_new(b, query_bytes(s), (void **)&s->q, err));
    KVC_TRY(b->buffer_new(b, kv_bytes(s), (void **)&s->k, err));
    KVC_TRY(b->buffer_new(b, kv_bytes(s), (void **)&s->v, err));
    return b->buffer_new(b, query_bytes(s), (void **)&s->out, err);
}

static void served_free(served *s)
{
    float *const buffers[] = {s->q, s->k, s->v, s->out};
    for (size_t i = 0; i < 4; i++) s->b->buffer_free(s->b, buffers[i]);
    kvc_cuda_cache_destroy(s->cache);
    free(s->of_step);
    free(s->of_row);
    free(s->slots);
    free(s->ones);
    free(s->sequences);
}

/* ---- the order of steps ---- */

/* Sequences [first, first + n) into s->sequences, the longest first, equal ones in their order. */
static void sort_sequences(served *s, size_t first, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = i;
        for (; at && length_of(s->tokens, s->sequences[at - 1]) < length_of(s->tokens, first + i); at--)
            s->sequences[at] = s->sequences[at - 1];
        s->sequences[at] = first + i;
    }
}

/* How many of n sorted sequences have a token t. */
static uint32_t active_at(const served *s, uint32_t n, size_t t)
{
    while (n && length_of(s->tokens, s->sequences[n - 1]) <= t) n--;
    return n;
}

/* Rows count from that of token `base`. */
static void order_rows(served *s, uint32_t n, size_t base)
{
    size_t at = 0;
    for (size_t t = 0; (n = active_at(s, n, t)); t++)
        for (uint32_t i = 0; i < n; i++, at++) {
            size_t row = s->tokens->first[s->sequences[i]] + t - base;
            s->of_step[at] = row;
            s->of_row[row] = at;
        }
}

/* ---- steps ---- */

static kvc_status step(served *s, uint32_t layer, uint32_t n, size_t row, kvc_error *err)
{
    const kvc_batch batch = {n, s->slots, s->ones};
    size_t q = row * s->config->n_heads * s->config->head_dim, kv = row * s->config->n_kv_heads * s->config->head_dim;
    KVC_TRY(kvc_cuda_cache_append(s->cache, layer, &batch, s->k + kv, s->v + kv, KVC_F32, s->stream, err));
    return kvc_cuda_cache_attend(s->cache, layer, &batch, s->q + q, KVC_F32, s->out + q, NULL, s->stream, err);
}

static kvc_status serve_steps(served *s, uint32_t layer, uint32_t n, kvc_error *err)
{
    for (uint32_t i = 0; i < s->n_together; i++) KVC_TRY(kvc_cuda_cache_reset(s->cache, i, s->stream, err));
    for (size_t t = 0, row = 0; (n = active_at(s, n, t)); t++, row += n) KVC_TRY(step(s, layer, n, row, err));
    return kvc_cuda_cache_sync(s->cache, s->stream, err);
}

/* Sequences first .. first + n - 1, whose rows begin at row `row` of the view. */
static kvc_status serve(served *s, const layer_view *view, size_t first, uint32_t n, size_t row, kvc_error *err)
{
    backend *b = s->b;
    size_t base = s->tokens->first[first], n_rows = s->tokens->first[first + n] - base;
    size_t query = (size_t)s->config->n_heads * s->config->head_dim,
           kv = (size_t)s->config->n_kv_heads * s->config->head_dim;
    sort_sequences(s, first, n);
    order_rows(s, n, base);
    KVC_TRY(b->gather_rows(b, n_rows, query, view->q + row * query, s->of_step, s->q, err));
    KVC_TRY(b->gather_rows(b, n_rows, kv, view->k + row * kv, s->of_step, s->k, err));
    KVC_TRY(b->gather_rows(b, n_rows, kv, view->v + row * kv, s->of_step, s->v, err));
    KVC_TRY(serve_steps(s, view->layer, n, err));
    return b->gather_rows(b, n_rows, query, s->out, s->of_row, view->out + row * query, err);
}

static kvc_status attend(void *context, const layer_view *view, kvc_error *err)
{
    served *s = context;
    kvc_error why;
    const size_t *first = s->tokens->first, begin = view->sequence;
    size_t end = begin;
    while (first[end] - first[begin] < view->n_tokens) end++;
    for (size_t i = begin; i < end; i += s->n_together) {
        uint32_t n = (uint32_t)smaller(s->n_together, end - i);
        kvc_status status = serve(s, view, i, n, first[i] - first[begin], &why);
        if (status) return kvc_fail(err, status, "libkvc_cuda, layer %u: %s", view->layer, why.message);
    }
    return KVC_OK;
}

/* ---- for others ---- */

static kvc_status served_new(served *s, const model_config *c, backend *b, const sequence_set *tokens,
                             const kvc_config *config, const char *kernels, kvc_error *err)
{
    *s = (served){.b = b, .config = c, .tokens = tokens};
    KVC_TRY(evaluate_check(tokens, kvc_config_tokens(config), err));
    KVC_TRY(open_cache(s, config, kernels, err));
    return open_rows(s, err);
}

/* Batches as the pass will have them, but for one more at the end of what goes through a layer together. */
static uint64_t count_steps(const served *s)
{
    const size_t *first = s->tokens->first;
    uint64_t n_steps = 0;
    for (size_t begin = 0, end; begin < s->tokens->n; begin = end) {
        size_t longest = 0;
        for (end = begin; end < s->tokens->n && end - begin < s->n_together; end++) {
            if (first[end + 1] - first[begin] > s->n_rows) break;
            if (length_of(s->tokens, end) > longest) longest = length_of(s->tokens, end);
        }
        n_steps += longest;
    }
    return n_steps;
}

static serving_need need_of(const served *s)
{
    return (serving_need){
        .memory = {.host = s->n_rows * (sizeof *s->of_step + sizeof *s->of_row),
                   .dev = kvc_cuda_cache_bytes(s->cache) + 2 * query_bytes(s) + 2 * kv_bytes(s)},
        .n_together = s->n_together,
        .n_steps = count_steps(s),
    };
}

kvc_status evaluate_served(model *m, backend *b, const sequence_set *tokens, const kvc_config *config,
                           const char *kernels, uint64_t memory_limit, eval_result *out, serving_need *need,
                           const job *job, const char *stage, kvc_error *err)
{
    served s;
    const forward_hooks hooks = {.attention_together = attend, .context = &s};
    kvc_status status = served_new(&s, &m->config, b, tokens, config, kernels, err);
    if (status == KVC_OK) {
        *need = need_of(&s);
        status = evaluate_passes(m, b, tokens, &hooks, memory_limit, NULL, out, NULL, job, stage, err);
    }
    served_free(&s);
    return status;
}

kvc_status serving_forecast(serving_need *out, const model_config *c, backend *b, const sequence_set *tokens,
                            const kvc_config *config, const char *kernels, kvc_error *err)
{
    served s;
    kvc_status status = served_new(&s, c, b, tokens, config, kernels, err);
    if (status == KVC_OK) *out = need_of(&s);
    served_free(&s);
    return status;
}
