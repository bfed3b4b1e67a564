/* batch.c - what the calls for a batch have in common; append, advance, sync and what the host knows of lengths. */
#include "cuda_cache.h"

kvc_status cuda_check_sequence(const kvc_cuda_cache *cache, uint32_t sequence, kvc_error *err)
{
    if (sequence < cache->n_sequences) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "sequence %u of %u", sequence, cache->n_sequences);
}

kvc_status cuda_check_batch(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                            uint64_t *n_rows, kvc_error *err)
{
    if (layer >= cache->n_layers) return kvc_fail(err, KVC_INVALID, "layer %u of %u", layer, cache->n_layers);
    if (dtype != KVC_F32 && dtype != KVC_F16 && dtype != KVC_BF16)
        return kvc_fail(err, KVC_INVALID, "dtype %d is unknown", (int)dtype);
    *n_rows = 0;
    cache->n_appends++;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        uint32_t sequence = batch->sequences[i];
        KVC_TRY(cuda_check_sequence(cache, sequence, err));
        if (cache->mark[sequence] == cache->n_appends)
            return kvc_fail(err, KVC_INVALID, "sequence %u is named twice", sequence);
        cache->mark[sequence] = cache->n_appends;
        *n_rows += batch->n_tokens[i];
    }
    if (*n_rows > UINT32_MAX) return kvc_fail(err, KVC_INVALID, "%llu rows", (unsigned long long)*n_rows);
    return KVC_OK;
}

/* ---- append ---- */

static uint64_t pages_behind(const kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, uint32_t i)
{
    uint32_t sequence = batch->sequences[i];
    uint64_t n = (uint64_t)cache->layers[layer].length[sequence] + batch->n_tokens[i];
    return cuda_packed_at(cache, layer, sequence, n) / cache->policy.page;
}

/* Pages for all that will be compressed, or none. */
static kvc_status take_pages(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, cudaStream_t stream,
                             kvc_error *err)
{
    cuda_puts puts = {.cache = cache, .stream = stream};
    uint64_t n_needed = 0;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        uint64_t n_pages = pages_behind(cache, layer, batch, i), n_used = cache->n_used[batch->sequences[i]];
        n_needed += n_pages > n_used ? n_pages - n_used : 0;
    }
    if (n_needed > cache->n_free)
        return kvc_fail(err, KVC_FULL, "%llu pages needed, %u free", (unsigned long long)n_needed, cache->n_free);
    for (uint32_t i = 0; i < batch->n_sequences; i++)
        KVC_TRY(cuda_take_pages(&puts, batch->sequences[i], pages_behind(cache, layer, batch, i), err));
    return cuda_put_flush(&puts, err);
}

/* The host's lengths follow; false where the device had no page. */
static bool grow(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch)
{
    bool all = true;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        uint32_t sequence = batch->sequences[i];
        uint64_t n_pages = pages_behind(cache, layer, batch, i);
        if (n_pages > cache->n_used[sequence]) {
            all = false;
            continue;
        }
        cache->layers[layer].length[sequence] += batch->n_tokens[i];
        cache->layers[layer].packed[sequence] = (uint32_t)n_pages * cache->policy.page;
    }
    return all;
}

/* As many sequences at a time as a launch carries. */
static kvc_status launch_append(const cuda_layer *l, const kvc_batch *batch, const void *keys, const void *values,
                                kvc_dtype dtype, cudaStream_t stream, kvc_error *err)
{
    cache_batch b = {0};
    uint32_t row = 0;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        b.slot[b.n] = batch->sequences[i];
        b.n_tokens[b.n] = batch->n_tokens[i];
        b.first_row[b.n++] = row;
        row += batch->n_tokens[i];
        if (b.n < CACHE_BATCH && i + 1 < batch->n_sequences) continue;
        KVC_TRY_CUDA(kernel_cache_append(&l->store, l->coder, l->params, &b, keys, values, dtype, stream));
        b.n = 0;
    }
    return KVC_OK;
}

static kvc_status append(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, const void *keys,
                         const void *values, kvc_dtype dtype, cudaStream_t stream, kvc_error *err)
{
    uint64_t n_rows;
    bool captured;
    KVC_TRY(cuda_check_batch(cache, layer, batch, dtype, &n_rows, err));
    KVC_TRY(cuda_is_captured(stream, &captured, err));
    if (!captured) KVC_TRY(take_pages(cache, layer, batch, stream, err));
    KVC_TRY(launch_append(&cache->layers[layer], batch, keys, values, dtype, stream, err));
    if (!captured) grow(cache, layer, batch);
    return KVC_OK;
}

kvc_status kvc_cuda_cache_append(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, const void *keys,
                                 const void *values, kvc_dtype dtype, cudaStream_t stream, kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    return cuda_leave(before, append(cache, layer, batch, keys, values, dtype, stream, err));
}

/* ---- what the host knows ---- */

kvc_status kvc_cuda_cache_advance(kvc_cuda_cache *cache, const kvc_batch *batch, kvc_error *err)
{
    uint64_t n_rows;
    bool all = true;
    KVC_TRY(cuda_check_batch(cache, 0, batch, KVC_F32, &n_rows, err));
    for (uint32_t i = 0; i < cache->n_layers; i++) all &= grow(cache, i, batch);
    return all ? KVC_OK : kvc_fail(err, KVC_FULL, "a replay had no page left for some sequence");
}

static kvc_status read_back(kvc_cuda_cache *cache, cudaStream_t stream, kvc_error *err)
{
    cuda_puts puts = {.cache = cache, .stream = stream};
    uint32_t at = cache->words.flags;
    KVC_TRY(cuda_refuse_capture(stream, "sync", err));
    KVC_TRY_CUDA(cudaMemcpyAsync(cache->state, cache->words.at, (at + 1) * sizeof *cache->state,
                                 cudaMemcpyDeviceToHost, stream));
    KVC_TRY_CUDA(cudaStreamSynchronize(stream));
    if (cache->state[at] == 0) return KVC_OK;
    KVC_TRY(cuda_put_word(&puts, at, 0, err));
    KVC_TRY(cuda_put_flush(&puts, err));
    if (cache->state[at] & CACHE_FULL)
        return kvc_fail(err, KVC_FULL, "an append had no page left: tokens were dropped");
    return kvc_fail(err, KVC_NONFINITE, "an appended key or value was NaN or infinite");
}

kvc_status kvc_cuda_cache_sync(kvc_cuda_cache *cache, cudaStream_t stream, kvc_error *err)
{
    int before;
    KVC_TRY(cuda_enter(cache->device, &before, err));
    return cuda_leave(before, read_back(cache, stream, err));
}

uint64_t kvc_cuda_cache_length(const kvc_cuda_cache *cache, uint32_t layer, uint32_t sequence)
{
    return layer < cache->n_layers && sequence < cache->n_sequences ? cache->layers[layer].length[sequence] : 0;
}

uint32_t kvc_cuda_cache_chunk(const kvc_cuda_cache *cache, uint32_t layer, uint32_t sequence)
{
    if (layer >= cache->n_layers || sequence >= cache->n_sequences) return 1;
    uint64_t n = cache->layers[layer].length[sequence];
    return (uint32_t)(cuda_packed_at(cache, layer, sequence, n + 1) + cache->capacity - 1 - n);
}
