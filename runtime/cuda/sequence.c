/* sequence.c - whole sequences: truncate, fork, reset. Pages are counted references, rows are copied. */
#include "cuda_cache.h"
#include "page.h"

/* The first n_rows of a compressed page return to the head of the window. */
static kvc_status unpack(kvc_cuda_cache *cache, const cuda_layer *l, uint32_t sequence, uint32_t index,
                         uint32_t n_rows, cudaStream_t stream, kvc_error *err)
{
    const uint8_t *page =
        l->store.pool + cache->pages[(size_t)sequence * cache->n_pages + index] * l->store.page_bytes;
    for (int side = 0; side < 2; side++) {
        KVC_TRY_CUDA(kernel_decode_pages(&l->coder[side], l->params[side], page + (side ? l->store.value_offset : 0),
                                         1, cache->page_rows, stream));
        KVC_TRY_CUDA(kernel_cache_put_rows(&l->store, sequence, side, cache->page_rows, n_rows, stream));
    }
    return KVC_OK;
}

/* Pages that the cut leaves whole stay compressed, so that nothing is ever quantised twice but the cut page's rows;
 * so does the next page if all of its rows stay. */
static kvc_status truncate_layer(cuda_puts *p, uint32_t layer, uint32_t sequence, uint64_t n, kvc_error *err)
{
    kvc_cuda_cache *cache = p->cache;
    cuda_layer *l = &cache->layers[layer];
    uint32_t page = cache->policy.page, *packed = &l->packed[sequence];
    if (l->length[sequence] <= n) return KVC_OK;
    l->length[sequence] = (uint32_t)n;
    KVC_TRY(cuda_put_word(p, cuda_length_word(layer, cache->n_sequences) + sequence, (uint32_t)n, err));
    uint32_t behind_sinks = n > cache->policy.sinks ? (uint32_t)n - cache->policy.sinks : 0;
    if (behind_sinks < *packed + page)
        KVC_TRY(cuda_put_word(p, cuda_next_word(&cache->words, layer, cache->n_sequences) + sequence, 0, err));
    if (behind_sinks >= *packed) return KVC_OK;
    uint32_t index = behind_sinks / page, n_rows = behind_sinks % page;
    *packed = index * page;
    KVC_TRY(cuda_put_word(p, cuda_packed_word(layer, cache->n_sequences) + sequence, *packed, err));
    return n_rows ? unpack(cache, l, sequence, index, n_rows, p->stream, err) : KVC_OK;
}

static kvc_status truncate_sequence(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens, cudaStream_t stream,
                                    kvc_error *err)
{
    cuda_puts puts = {.cache = cache, .stream = stream};
    uint32_t packed = 0;
    KVC_TRY(cuda_refuse_capture(stream, "truncate", err));
    KVC_TRY(cuda_check_sequence(cache, sequence, err));
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        KVC_TRY(truncate_layer(&puts, i, sequence, n_tokens, err));
        uint32_t own = cache->layers[i].packed[sequence];
        packed = own > packed ? own : packed;
    }
    KVC_TRY(cuda_release_pages(&puts, sequence, packed / cache->policy.page, err));
    return cuda_put_flush(&puts, err);
}

kvc_status kvc_cuda_cache_truncate(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens, cudaStream_t stream,
                                   kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    return cuda_leave(before, truncate_sequence(cache, sequence, n_tokens, stream, err));
}

kvc_status kvc_cuda_cache_reset(kvc_cuda_cache *cache, uint32_t sequence, cudaStream_t stream, kvc_error *err)
{
    return kvc_cuda_cache_truncate(cache, sequence, 0, stream, err);
}

/* Between two steps every layer has the same length; only then is what a shared page will hold already decided. */
static kvc_status check_fork(const kvc_cuda_cache *cache, uint32_t from, uint32_t to, kvc_error *err)
{
    KVC_TRY(cuda_check_sequence(cache, from, err));
    KVC_TRY(cuda_check_sequence(cache, to, err));
    if (from == to) return kvc_fail(err, KVC_INVALID, "sequence %u onto itself", from);
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        if (cache->layers[i].length[to]) return kvc_fail(err, KVC_INVALID, "sequence %u is not empty", to);
        if (cache->layers[i].length[from] != cache->layers[0].length[from])
            return kvc_fail(err, KVC_INVALID, "the layers of sequence %u are not equally long", from);
    }
    return KVC_OK;
}

static kvc_status copy_layer(cuda_puts *p, uint32_t layer, uint32_t from, uint32_t to, kvc_error *err)
{
    kvc_cuda_cache *cache = p->cache;
    cuda_layer *l = &cache->layers[layer];
    size_t pitch = (size_t)cache->capacity * cache->head_dim * sizeof *l->store.rows,
           of_sequence = 2 * cache->n_kv_heads * (size_t)cache->capacity * cache->head_dim,
           used = (size_t)(l->length[from] - l->packed[from]) * cache->head_dim * sizeof *l->store.rows;
    l->length[to] = l->length[from];
    l->packed[to] = l->packed[from];
    KVC_TRY(cuda_put_word(p, cuda_length_word(layer, cache->n_sequences) + to, l->length[to], err));
    KVC_TRY(cuda_put_word(p, cuda_packed_word(layer, cache->n_sequences) + to, l->packed[to], err));
    KVC_TRY(cuda_put_word(p, cuda_next_word(&cache->words, layer, cache->n_sequences) + to, 0, err));
    if (used)
        KVC_TRY_CUDA(cudaMemcpy2DAsync(l->store.rows + to * of_sequence, pitch, l->store.rows + from * of_sequence,
                                       pitch, used, 2 * cache->n_kv_heads, cudaMemcpyDeviceToDevice, p->stream));
    return KVC_OK;
}

/* Pages that are reserved and not in use stay the origin's. */
static kvc_status share_pages(cuda_puts *p, uint32_t from, uint32_t to, kvc_error *err)
{
    kvc_cuda_cache *cache = p->cache;
    uint32_t first = to * cache->n_pages, n = 0;
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        uint32_t own = cache->layers[i].packed[from] / cache->policy.page;
        n = own > n ? own : n;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t page = cache->pages[(size_t)from * cache->n_pages + i];
        cache->pages[first + i] = page;
        cache->references[page]++;
        KVC_TRY(cuda_put_word(p, cache->words.pages + first + i, page, err));
    }
    cache->n_used[to] = n;
    return cuda_put_word(p, cache->words.reserved + to, n, err);
}

static kvc_status fork_sequence(kvc_cuda_cache *cache, uint32_t from, uint32_t to, cudaStream_t stream,
                                kvc_error *err)
{
    cuda_puts puts = {.cache = cache, .stream = stream};
    KVC_TRY(cuda_refuse_capture(stream, "fork", err));
    KVC_TRY(check_fork(cache, from, to, err));
    KVC_TRY(cuda_release_pages(&puts, to, 0, err)); /* what was reserved for it */
    KVC_TRY(cuda_put_flush(&puts, err));            /* a word stands once in a list */
    KVC_TRY(share_pages(&puts, from, to, err));
    for (uint32_t i = 0; i < cache->n_layers; i++) KVC_TRY(copy_layer(&puts, i, from, to, err));
    return cuda_put_flush(&puts, err);
}

kvc_status kvc_cuda_cache_fork(kvc_cuda_cache *cache, uint32_t from, uint32_t to, cudaStream_t stream, kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    return cuda_leave(before, fork_sequence(cache, from, to, stream, err));
}
