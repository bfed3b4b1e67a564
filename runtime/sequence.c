/* sequence.c - whole sequences: truncate, fork, reset. Pages are counted references, rows are copied. */
#include <string.h>
#include "cache.h"

static kvc_status check_sequence(const kvc_cache *cache, uint32_t sequence, kvc_error *err)
{
    if (sequence < cache->n_sequences) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "sequence %u of %u", sequence, cache->n_sequences);
}

/* The first n_rows of a compressed page return to the head of the window. */
static void unpack_side(kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t index, uint64_t n_rows,
                        int side)
{
    const kvc_coder *coder = &cache->layers[layer].coder[side];
    size_t d = cache->head_dim, stride = coder->head_dim;
    for (uint32_t head = 0; head < cache->n_kv_heads; head++) {
        uint32_t within = head % coder->joined;
        if (within == 0)
            kvc_coder_decode(coder, kvci_coder_row(coder, head),
                             cache_block(cache, layer, sequence, index, side, head), cache->page_rows, stride,
                             cache->work);
        uint16_t *rows = cache_rows(cache, layer, sequence, side, head) + cache->policy.sinks * d;
        for (uint64_t i = 0; i < n_rows; i++)
            kvc_rows_to_fp16(cache->page_rows + i * stride + within * d, d, rows + i * d);
    }
}

/* Pages that the cut leaves whole stay compressed, so that nothing is ever quantised twice but the cut page's rows.
 */
static void truncate_layer(kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t n)
{
    cache_layer *l = &cache->layers[layer];
    uint64_t page = cache->policy.page, behind_sinks = n > cache->policy.sinks ? n - cache->policy.sinks : 0;
    if (l->length[sequence] <= n) return;
    l->length[sequence] = n;
    if (behind_sinks >= l->packed[sequence]) return;
    uint64_t index = behind_sinks / page, n_rows = behind_sinks % page;
    l->packed[sequence] = index * page;
    for (int side = CACHE_KEYS; n_rows && side <= CACHE_VALUES; side++)
        unpack_side(cache, layer, sequence, index, n_rows, side);
}

/* Give back the pages that no layer of the sequence uses any longer. */
static void release_pages(kvc_cache *cache, uint32_t sequence)
{
    uint64_t packed = 0;
    for (uint32_t i = 0; i < cache->n_layers; i++)
        if (cache->layers[i].packed[sequence] > packed) packed = cache->layers[i].packed[sequence];
    uint32_t *n_used = &cache->n_used[sequence], *pages = cache->pages + (size_t)sequence * cache->n_pages;
    while (*n_used > packed / cache->policy.page) {
        uint32_t page = pages[--*n_used];
        if (--cache->references[page] == 0) cache->free_pages[cache->n_free++] = page;
    }
}

kvc_status kvc_cache_truncate(kvc_cache *cache, uint32_t sequence, uint64_t n_tokens, kvc_error *err)
{
    KVC_TRY(check_sequence(cache, sequence, err));
    for (uint32_t i = 0; i < cache->n_layers; i++) truncate_layer(cache, i, sequence, n_tokens);
    release_pages(cache, sequence);
    return KVC_OK;
}

kvc_status kvc_cache_reset(kvc_cache *cache, uint32_t sequence, kvc_error *err)
{
    return kvc_cache_truncate(cache, sequence, 0, err);
}

/* Between two steps every layer has the same length; only then is what a shared page will hold already decided. */
static kvc_status check_fork(const kvc_cache *cache, uint32_t from, uint32_t to, kvc_error *err)
{
    KVC_TRY(check_sequence(cache, from, err));
    KVC_TRY(check_sequence(cache, to, err));
    if (from == to) return kvc_fail(err, KVC_INVALID, "sequence %u onto itself", from);
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        if (cache->layers[i].length[to]) return kvc_fail(err, KVC_INVALID, "sequence %u is not empty", to);
        if (cache->layers[i].length[from] != cache->layers[0].length[from])
            return kvc_fail(err, KVC_INVALID, "the layers of sequence %u are not equally long", from);
    }
    return KVC_OK;
}

static void copy_layer(kvc_cache *cache, uint32_t layer, uint32_t from, uint32_t to)
{
    cache_layer *l = &cache->layers[layer];
    size_t bytes = (size_t)(l->length[from] - l->packed[from]) * cache->head_dim * sizeof *l->rows;
    l->length[to] = l->length[from];
    l->packed[to] = l->packed[from];
    for (int side = CACHE_KEYS; side <= CACHE_VALUES; side++)
        for (uint32_t head = 0; head < cache->n_kv_heads; head++)
            memcpy(cache_rows(cache, layer, to, side, head), cache_rows(cache, layer, from, side, head), bytes);
}

kvc_status kvc_cache_fork(kvc_cache *cache, uint32_t from, uint32_t to, kvc_error *err)
{
    KVC_TRY(check_fork(cache, from, to, err));
    uint32_t *source = cache->pages + (size_t)from * cache->n_pages,
             *target = cache->pages + (size_t)to * cache->n_pages;
    for (uint32_t i = 0; i < cache->n_used[from]; i++) {
        target[i] = source[i];
        cache->references[source[i]]++;
    }
    cache->n_used[to] = cache->n_used[from];
    for (uint32_t i = 0; i < cache->n_layers; i++) copy_layer(cache, i, from, to);
    return KVC_OK;
}
