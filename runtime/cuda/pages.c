/* pages.c - which sequence has which pages: decided here, told to the device. */
#include "cuda_cache.h"

kvc_status cuda_put_flush(cuda_puts *p, kvc_error *err)
{
    KVC_TRY_CUDA(kernel_cache_put(p->cache->words.at, &p->puts, p->stream));
    p->puts.n = 0;
    return KVC_OK;
}

kvc_status cuda_put_word(cuda_puts *p, uint32_t word, uint32_t value, kvc_error *err)
{
    if (p->puts.n == CACHE_PUTS) KVC_TRY(cuda_put_flush(p, err));
    p->puts.at[p->puts.n] = word;
    p->puts.value[p->puts.n++] = value;
    return KVC_OK;
}

kvc_status cuda_take_pages(cuda_puts *p, uint32_t sequence, uint64_t n_pages, kvc_error *err)
{
    kvc_cuda_cache *cache = p->cache;
    uint32_t *n_used = &cache->n_used[sequence];
    if (n_pages <= *n_used) return KVC_OK;
    for (; *n_used < n_pages; ++*n_used) {
        uint32_t page = cache->free_pages[--cache->n_free], at = sequence * cache->n_pages + *n_used;
        cache->references[page] = 1;
        cache->pages[at] = page;
        KVC_TRY(cuda_put_word(p, cache->words.pages + at, page, err));
    }
    return cuda_put_word(p, cache->words.reserved + sequence, *n_used, err);
}

kvc_status cuda_release_pages(cuda_puts *p, uint32_t sequence, uint64_t n_pages, kvc_error *err)
{
    kvc_cuda_cache *cache = p->cache;
    uint32_t *n_used = &cache->n_used[sequence], *pages = cache->pages + (size_t)sequence * cache->n_pages;
    if (*n_used <= n_pages) return KVC_OK;
    while (*n_used > n_pages) {
        uint32_t page = pages[--*n_used];
        if (--cache->references[page] == 0) cache->free_pages[cache->n_free++] = page;
    }
    return cuda_put_word(p, cache->words.reserved + sequence, *n_used, err);
}

static kvc_status reserve(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens, cudaStream_t stream,
                          kvc_error *err)
{
    cuda_puts puts = {.cache = cache, .stream = stream};
    uint64_t n_pages = kvc_tokens_compressed(&cache->policy, n_tokens) / cache->policy.page;
    KVC_TRY(cuda_refuse_capture(stream, "reserve", err));
    KVC_TRY(cuda_check_sequence(cache, sequence, err));
    if (n_pages > (uint64_t)cache->n_used[sequence] + cache->n_free)
        return kvc_fail(err, KVC_FULL, "%llu pages needed, %u free",
                        (unsigned long long)(n_pages - cache->n_used[sequence]), cache->n_free);
    KVC_TRY(cuda_take_pages(&puts, sequence, n_pages, err));
    return cuda_put_flush(&puts, err);
}

kvc_status kvc_cuda_cache_reserve(kvc_cuda_cache *cache, uint32_t sequence, uint64_t n_tokens, cudaStream_t stream,
                                  kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    return cuda_leave(before, reserve(cache, sequence, n_tokens, stream, err));
}
