/* append.c - kvc_cache_append(): rows in, whole pages compressed as they leave the window.
 *
 * Nothing is changed before every reason to refuse has been looked at: arguments, finite values, free pages. */
#include <string.h>
#include "cache.h"
#include "codec/half.h"
#include "simd.h"

/* ---- refusals ---- */

KVC_CLONES static uint32_t largest_exponent32(const uint32_t *restrict values, size_t n)
{
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t exponent = values[i] & 0x7f800000u;
        most = exponent > most ? exponent : most;
    }
    return most;
}

KVC_CLONES static uint16_t largest_exponent16(const uint16_t *restrict values, size_t n, uint16_t mask)
{
    uint16_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t exponent = values[i] & mask;
        most = exponent > most ? exponent : most;
    }
    return most;
}

static bool all_finite(const void *values, kvc_dtype dtype, size_t n)
{
    if (dtype == KVC_F32) return largest_exponent32(values, n) < 0x7f800000u;
    uint16_t mask = dtype == KVC_F16 ? 0x7c00u : 0x7f80u;
    return largest_exponent16(values, n, mask) < mask;
}

/* Distinct sequences, and enough free pages for all that will be compressed. */
static kvc_status check_room(kvc_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_error *err)
{
    uint64_t n_needed = 0;
    cache->n_appends++;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        uint32_t sequence = batch->sequences[i];
        if (cache->mark[sequence] == cache->n_appends)
            return kvc_fail(err, KVC_INVALID, "sequence %u is named twice", sequence);
        cache->mark[sequence] = cache->n_appends;
        uint64_t n = cache->layers[layer].length[sequence] + batch->n_tokens[i];
        uint64_t n_pages = cache_packed_at(cache, layer, sequence, n) / cache->policy.page;
        if (n_pages > cache->n_used[sequence]) n_needed += n_pages - cache->n_used[sequence];
    }
    if (n_needed > cache->n_free)
        return kvc_fail(err, KVC_FULL, "%llu pages needed, %u free", (unsigned long long)n_needed, cache->n_free);
    return KVC_OK;
}

/* ---- changes ---- */

/* The page table has an entry for page `index`; another layer may have made it. */
static void ensure_page(kvc_cache *cache, uint32_t sequence, uint64_t index)
{
    if (index < cache->n_used[sequence]) return;
    uint32_t page = cache->free_pages[--cache->n_free];
    cache->references[page] = 1;
    cache->pages[(size_t)sequence * cache->n_pages + cache->n_used[sequence]++] = page;
}

/* The window's oldest page of one side and head: its rows to the page's, which are `stride` values apart, and the
 * rows behind them move down. */
static void take_head(kvc_cache *cache, uint32_t layer, uint32_t sequence, int side, uint32_t head, float *rows,
                      size_t stride)
{
    const kvc_token_policy *p = &cache->policy;
    size_t d = cache->head_dim;
    uint16_t *oldest = cache_rows(cache, layer, sequence, side, head) + p->sinks * d;
    for (uint32_t i = 0; i < p->page; i++) kvc_rows_to_float(oldest + i * d, KVC_F16, d, rows + i * stride);
    memmove(oldest, oldest + p->page * d, p->window * d * sizeof *oldest);
}

/* All blocks of one side: each of the rows of coder->joined heads. */
static void pack_side(kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t index, int side)
{
    const kvc_coder *coder = &cache->layers[layer].coder[side];
    for (uint32_t first = 0; first < cache->n_kv_heads; first += coder->joined) {
        for (uint32_t i = 0; i < coder->joined; i++)
            take_head(cache, layer, sequence, side, first + i, cache->page_rows + i * cache->head_dim,
                      coder->head_dim);
        kvc_coder_encode(coder, kvci_coder_row(coder, first), cache->page_rows, coder->head_dim,
                         cache_block(cache, layer, sequence, index, side, first), cache->work);
    }
}

static void pack_page(kvc_cache *cache, uint32_t layer, uint32_t sequence)
{
    uint64_t *packed = &cache->layers[layer].packed[sequence], index = *packed / cache->policy.page;
    ensure_page(cache, sequence, index);
    for (int side = CACHE_KEYS; side <= CACHE_VALUES; side++) pack_side(cache, layer, sequence, index, side);
    *packed += cache->policy.page;
}

KVC_CLONES static void store_values(const void *src, kvc_dtype dtype, size_t n, uint16_t *restrict dst)
{
    const float *f32 = src;
    const uint16_t *bits = src;
    switch (dtype) {
    case KVC_F16: memcpy(dst, src, n * sizeof *dst); break;
    case KVC_F32:
        for (size_t i = 0; i < n; i++) dst[i] = half_from_float(f32[i]);
        break;
    case KVC_BF16:
        for (size_t i = 0; i < n; i++) dst[i] = half_from_float(bfloat_to_float(bits[i]));
        break;
    }
}

/* src [n_tokens][H][d] into fp16 rows first_row .. of every head. */
static void store_rows(kvc_cache *cache, uint32_t layer, uint32_t sequence, int side, uint64_t first_row,
                       uint64_t n_tokens, const void *src, kvc_dtype dtype)
{
    size_t d = cache->head_dim, row_bytes = d * cache_dtype_bytes(dtype);
    const uint8_t *from = src;
    for (uint64_t i = 0; i < n_tokens; i++)
        for (uint32_t head = 0; head < cache->n_kv_heads; head++, from += row_bytes)
            store_values(from, dtype, d, cache_rows(cache, layer, sequence, side, head) + (first_row + i) * d);
}

static void append_sequence(kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t n_tokens,
                            const uint8_t *keys, const uint8_t *values, kvc_dtype dtype)
{
    cache_layer *l = &cache->layers[layer];
    size_t token_bytes = (size_t)cache->n_kv_heads * cache->head_dim * cache_dtype_bytes(dtype);
    while (n_tokens) {
        uint64_t held = l->length[sequence] - l->packed[sequence], room = cache->capacity - held;
        uint64_t n = n_tokens < room ? n_tokens : room;
        store_rows(cache, layer, sequence, CACHE_KEYS, held, n, keys, dtype);
        store_rows(cache, layer, sequence, CACHE_VALUES, held, n, values, dtype);
        l->length[sequence] += n;
        if (n == room) pack_page(cache, layer, sequence);
        n_tokens -= n;
        keys += n * token_bytes;
        values += n * token_bytes;
    }
}

kvc_status kvc_cache_append(kvc_cache *cache, uint32_t layer, const kvc_batch *batch, const void *keys,
                            const void *values, kvc_dtype dtype, kvc_error *err)
{
    uint64_t n_rows;
    KVC_TRY(kvci_cache_check_batch(cache, layer, batch, dtype, &n_rows, err));
    size_t token_values = (size_t)cache->n_kv_heads * cache->head_dim;
    KVC_TRY(check_room(cache, layer, batch, err));
    if (!all_finite(keys, dtype, n_rows * token_values) || !all_finite(values, dtype, n_rows * token_values))
        return kvc_fail(err, KVC_NONFINITE, "layer %u: a key or value is NaN or infinite", layer);
    const uint8_t *k = keys, *v = values;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        size_t bytes = batch->n_tokens[i] * token_values * cache_dtype_bytes(dtype);
        append_sequence(cache, layer, batch->sequences[i], batch->n_tokens[i], k, v, dtype);
        k += bytes;
        v += bytes;
    }
    return KVC_OK;
}
