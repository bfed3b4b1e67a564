/* attend.c - kvc_cuda_cache_attend(): sequences that follow one another and have as many queries go together. */
#include "attend_options.h"
#include "cuda_cache.h"

static kvc_status take_options(const kvc_cuda_cache *cache, const cuda_layer *l, const kvc_attend_options *options,
                               kvc_attend_options *out, kvc_error *err)
{
    KVC_TRY(kvci_attend_options_take(out, options, cache->n_kv_heads, cache->head_dim, err));
    if (out->kv_head_end - out->kv_head_begin != cache->n_kv_heads)
        return kvc_fail(err, KVC_UNSUPPORTED, "KV heads %u to %u: on a GPU all of them are computed",
                        out->kv_head_begin, out->kv_head_end);
    if (l->kernel->info.softcap == (out->softcap > 0.0f)) return KVC_OK;
    return kvc_fail(err, KVC_UNSUPPORTED, "a softcap of %g, and the kernel was compiled %s --softcap",
                    (double)out->softcap, l->kernel->info.softcap ? "with" : "without");
}

/* While captured, lengths are not known yet. */
static kvc_status check_attend(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                               cudaStream_t stream, kvc_error *err)
{
    uint64_t n_rows;
    bool captured;
    KVC_TRY(cuda_check_batch(cache, layer, batch, dtype, &n_rows, err));
    const cuda_layer *l = &cache->layers[layer];
    if (!l->kernel) return kvc_fail(err, KVC_UNSUPPORTED, "the cache was made without kernels");
    if (n_rows > cache->max_queries)
        return kvc_fail(err, KVC_INVALID, "%llu queries, the cache was made for %u", (unsigned long long)n_rows,
                        cache->max_queries);
    KVC_TRY(cuda_is_captured(stream, &captured, err));
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        uint32_t n = batch->n_tokens[i], length = l->length[batch->sequences[i]];
        if (n > ATTEND_MOST_QUERIES)
            return kvc_fail(err, KVC_UNSUPPORTED, "sequence %u: %u queries, kernels take up to %u of a sequence",
                            batch->sequences[i], n, ATTEND_MOST_QUERIES);
        if (n > length && !captured)
            return kvc_fail(err, KVC_INVALID, "sequence %u: %u queries for %u tokens", batch->sequences[i], n,
                            length);
    }
    return KVC_OK;
}

/* Of one call. */
typedef struct query_rows {
    const uint8_t *queries;
    float *out;
    kvc_dtype dtype;
    kvc_attend_options options;
    cudaStream_t stream;
} query_rows;

/* Sequences first .. first + n - 1 of the batch, whose queries begin at row `row`. */
static kvc_status attend_alike(const kvc_cuda_cache *cache, const cuda_layer *l, const kvc_batch *batch,
                               uint32_t first, uint32_t n, size_t row, const query_rows *q, kvc_error *err)
{
    attend_batch b = {.n_sequences = n,
                      .n_queries = batch->n_tokens[first],
                      .score_scale = q->options.score_scale,
                      .sliding_window = q->options.sliding_window,
                      .softcap = q->options.softcap};
    size_t at = row * cache->n_query_heads * cache->head_dim;
    KVC_TRY_CUDA(kernel_attend(l->kernel, &l->attend, &b, &cache->work, cache->words.at + cache->words.slots + first,
                               batch->sequences + first, q->queries + at * (q->dtype == KVC_F32 ? 4 : 2), q->dtype,
                               cache->queries + at, q->out + at, q->stream));
    return KVC_OK;
}

static kvc_status attend(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, const query_rows *q,
                         kvc_error *err)
{
    size_t row = 0;
    for (uint32_t first = 0, n; first < batch->n_sequences; first += n) {
        uint32_t n_tokens = batch->n_tokens[first];
        for (n = 1; first + n < batch->n_sequences && batch->n_tokens[first + n] == n_tokens; n++) {
        }
        if (n_tokens) KVC_TRY(attend_alike(cache, &cache->layers[layer], batch, first, n, row, q, err));
        row += (size_t)n * n_tokens;
    }
    return KVC_OK;
}

kvc_status kvc_cuda_cache_attend(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, const void *queries,
                                 kvc_dtype dtype, float *out, const kvc_attend_options *options, cudaStream_t stream,
                                 kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    query_rows q = {.queries = queries, .out = out, .dtype = dtype, .stream = stream};
    kvc_status status = check_attend(cache, layer, batch, dtype, stream, err);
    if (status == KVC_OK) status = take_options(cache, &cache->layers[layer], options, &q.options, err);
    if (status == KVC_OK) status = attend(cache, layer, batch, &q, err);
    return cuda_leave(before, status);
}
