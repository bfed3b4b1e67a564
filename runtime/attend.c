/* attend.c - kvc_cache_attend(): causal attention by online softmax over pages, sinks and window.
 *
 * For each KV head, up to 16 query vectors (query heads of the group, and several tokens of a chunk) pass over the
 * cache together, so that each page is read and decoded once for all of them. Compressed and exact rows share one
 * softmax but not their vectors: a query has a raw and a folded form, an output a raw and a latent sum; the latent
 * sum is unfolded once, at the end, with the probability mass that went to compressed tokens. Rows pass in tiles that
 * stay in the first-level cache, whose borders depend on the cache alone: a query sees the same sums alone and in a
 * chunk. */
#include <float.h>
#include <math.h>
#include <string.h>
#include "attend_kernel.h"
#include "cache.h"
#include "simd.h"

#define MAX_QUERIES 16u
#define TILE_VALUES 4096u

/* Rows of a tile: about 16 KiB of floats, at least 8 rows. */
static uint32_t tile_rows(const kvc_cache *cache)
{
    uint32_t n = TILE_VALUES / cache->row_dim / 8u * 8u;
    return n < 8 ? 8 : n > 64 ? 64 : n;
}

/* The caller's scratch, D = row_dim:  q, o [16][d] | folded, latent [16][D] | p [16][tile] | tile [tile][D] | unfold
 * [D] */
typedef struct queries {
    uint32_t n;
    float *q, *folded, *o, *latent, *p, *tile, *unfold;
    float bias[MAX_QUERIES], max[MAX_QUERIES], sum[MAX_QUERIES], mass[MAX_QUERIES];
    uint64_t n_seen[MAX_QUERIES]; /* tokens that the query may see */
} queries;

size_t kvc_cache_attend_work(const kvc_cache *cache)
{
    size_t d = cache->head_dim, D = cache->row_dim, tile = tile_rows(cache);
    return (2 * MAX_QUERIES * (d + D) + MAX_QUERIES * tile + tile * D + D) * sizeof(float);
}

static queries queries_in(const kvc_cache *cache, void *work)
{
    size_t D = cache->row_dim, tile = tile_rows(cache), raw = MAX_QUERIES * (size_t)cache->head_dim;
    float *at = work, *p = at + 2 * raw + 2 * MAX_QUERIES * D;
    return (queries){.q = at,
                     .o = at + raw,
                     .folded = at + 2 * raw,
                     .latent = at + 2 * raw + MAX_QUERIES * D,
                     .p = p,
                     .tile = p + MAX_QUERIES * tile,
                     .unfold = p + MAX_QUERIES * tile + tile * D};
}

/* Which part of the cache a call reads. */
typedef struct view {
    const kvc_cache *cache;
    uint32_t layer, sequence, head;
    uint64_t length, packed;
} view;

/* How many of n_rows, whose first is row `first` of its region, a query sees that sees `n_seen` of the region. */
static uint32_t visible_rows(uint64_t n_seen, uint64_t first, uint32_t n_rows)
{
    if (n_seen <= first) return 0;
    return n_seen - first < n_rows ? (uint32_t)(n_seen - first) : n_rows;
}

/* Of the compressed tokens, and of the fp16 rows, those that a query sees which sees the first n tokens. */
static uint64_t seen_packed(const view *v, uint64_t n)
{
    uint64_t sinks = v->cache->policy.sinks, behind = n > sinks ? n - sinks : 0;
    return behind < v->packed ? behind : v->packed;
}

static uint64_t seen_rows(const view *v, uint64_t n)
{
    return n - seen_packed(v, n);
}

KVC_CLONES static void rescale(float *restrict x, uint32_t n, float factor)
{
    for (uint32_t i = 0; i < n; i++) x[i] *= factor;
}

/* Scores in p become weights; earlier sums of the query move to the new maximum. */
static void weigh(const view *v, queries *b, uint32_t i, uint32_t n_rows, uint32_t n_visible, bool latent)
{
    uint32_t d = v->cache->head_dim, D = v->cache->row_dim, stride = tile_rows(v->cache);
    float scale, sum = kvci_kernel_softmax(b->p + i * stride, n_rows, n_visible, &b->max[i], &scale);
    if (scale != 1.0f) {
        rescale(b->o + i * d, d, scale);
        rescale(b->latent + i * D, v->cache->layers[v->layer].coder[CACHE_VALUES].latent_dim, scale);
        b->sum[i] *= scale;
        b->mass[i] *= scale;
    }
    b->sum[i] += sum;
    if (latent) b->mass[i] += sum;
}

/* Zero rows up to the next multiple of 8; returns it. */
static uint32_t pad_rows(float *tile, uint32_t n_rows, uint32_t d)
{
    uint32_t padded = (n_rows + 7u) & ~7u;
    memset(tile + (size_t)n_rows * d, 0, (size_t)(padded - n_rows) * d * sizeof *tile);
    return padded;
}

/* fp16 rows first .. first + n_rows - 1. */
static void attend_exact_tile(const view *v, queries *b, uint32_t first, uint32_t n_rows)
{
    uint32_t d = v->cache->head_dim, stride = tile_rows(v->cache), n_visible[MAX_QUERIES];
    const uint16_t *keys = cache_rows(v->cache, v->layer, v->sequence, CACHE_KEYS, v->head) + (size_t)first * d;
    const uint16_t *values = cache_rows(v->cache, v->layer, v->sequence, CACHE_VALUES, v->head) + (size_t)first * d;
    kvc_rows_to_float(keys, KVC_F16, (size_t)n_rows * d, b->tile);
    uint32_t padded = pad_rows(b->tile, n_rows, d);
    for (uint32_t i = 0; i < b->n; i++) {
        n_visible[i] = visible_rows(seen_rows(v, b->n_seen[i]), first, n_rows);
        if (n_visible[i] == 0) continue;
        kvci_kernel_scores(b->q + i * d, b->tile, padded, d, 0.0f, b->p + i * stride);
        weigh(v, b, i, padded, n_visible[i], false);
    }
    kvc_rows_to_float(values, KVC_F16, (size_t)n_rows * d, b->tile);
    for (uint32_t i = 0; i < b->n; i++)
        if (n_visible[i]) kvci_kernel_accumulate(b->p + i * stride, b->tile, n_visible[i], d, b->o + i * d);
}

/* Rows first .. first + n_rows - 1 of compressed page `index`. */
static void attend_page_tile(const view *v, queries *b, uint64_t index, uint32_t first, uint32_t n_rows)
{
    const kvc_cache *cache = v->cache;
    const kvc_coder *keys = &cache->layers[v->layer].coder[0], *values = &cache->layers[v->layer].coder[1];
    uint32_t D = cache->row_dim, stride = tile_rows(cache), n_visible[MAX_QUERIES];
    uint32_t key_unit = keys->joined > 1 ? 0 : v->head, value_unit = values->joined > 1 ? 0 : v->head;
    uint64_t token = index * cache->policy.page + first;
    kvci_coder_decode_rows(keys, key_unit, cache_block(cache, v->layer, v->sequence, index, CACHE_KEYS, v->head),
                           first, n_rows, b->tile);
    for (uint32_t i = 0; i < b->n; i++) {
        n_visible[i] = visible_rows(seen_packed(v, b->n_seen[i]), token, n_rows);
        if (n_visible[i] == 0) continue;
        kvci_kernel_scores(b->folded + i * D, b->tile, n_rows, keys->latent_dim, b->bias[i], b->p + i * stride);
        weigh(v, b, i, n_rows, n_visible[i], true);
    }
    kvci_coder_decode_rows(values, value_unit,
                           cache_block(cache, v->layer, v->sequence, index, CACHE_VALUES, v->head), first, n_rows,
                           b->tile);
    for (uint32_t i = 0; i < b->n; i++)
        if (n_visible[i])
            kvci_kernel_accumulate(b->p + i * stride, b->tile, n_visible[i], values->latent_dim, b->latent + i * D);
}

/* A head's pages lie apart, so that the machine does not foresee the next one. */
static void prefetch_page(const view *v, uint64_t index)
{
    const cache_layer *l = &v->cache->layers[v->layer];
    for (int side = CACHE_KEYS; side <= CACHE_VALUES; side++) {
        const uint8_t *block = cache_block(v->cache, v->layer, v->sequence, index, side, v->head);
        for (size_t i = 0; i < l->coder[side].block_bytes; i += 64) __builtin_prefetch(block + i, 0, 2);
    }
}

static void attend_tiles(const view *v, queries *b)
{
    uint32_t tile = tile_rows(v->cache), page = v->cache->policy.page, n_exact = (uint32_t)(v->length - v->packed);
    for (uint64_t index = 0; index < v->packed / page; index++) {
        if (index + 1 < v->packed / page) prefetch_page(v, index + 1);
        for (uint32_t row = 0; row < page; row += tile)
            attend_page_tile(v, b, index, row, page - row < tile ? page - row : tile);
    }
    for (uint32_t row = 0; row < n_exact; row += tile)
        attend_exact_tile(v, b, row, n_exact - row < tile ? n_exact - row : tile);
}

/* Query vector `index` of the head's group counts tokens first, heads within a token second. */
static size_t vector_offset(const view *v, uint64_t index)
{
    uint32_t group = v->cache->n_query_heads / v->cache->n_kv_heads;
    uint64_t token = index / group, head = (uint64_t)v->head * group + index % group;
    return (size_t)(token * v->cache->n_query_heads + head) * v->cache->head_dim;
}

static void load_query(const view *v, queries *b, uint32_t i, const void *src, kvc_dtype dtype, float score_scale)
{
    uint32_t d = v->cache->head_dim, D = v->cache->row_dim;
    float *q = b->q + i * d;
    kvc_rows_to_float(src, dtype, d, q);
    rescale(q, d, score_scale);
    b->bias[i] = kvc_coder_fold_query(&v->cache->layers[v->layer].coder[0], v->head, q, b->folded + i * D);
    b->max[i] = -FLT_MAX;
    b->mass[i] = 0.0f;
    b->sum[i] = 0.0f; /* stays so for finite queries; a NaN or infinity makes this query's output NaN, and no other */
    for (uint32_t c = 0; c < d; c++) b->sum[i] += q[c] - q[c];
    memset(b->o + i * d, 0, d * sizeof *b->o);
    memset(b->latent + i * D, 0, D * sizeof *b->latent);
}

static void store_output(const view *v, queries *b, uint32_t i, float *out)
{
    uint32_t d = v->cache->head_dim;
    const kvc_coder *values = &v->cache->layers[v->layer].coder[1];
    if (b->mass[i] > 0.0f)
        kvc_coder_unfold_output(values, v->head, b->latent + i * v->cache->row_dim, b->mass[i], b->o + i * d,
                                b->unfold);
    for (uint32_t c = 0; c < d; c++) out[c] = b->o[i * d + c] / b->sum[i];
}

/* All queries of one sequence and head; rows of `src` and `out` start at the sequence's first query. */
static void attend_head(const view *v, uint32_t n_tokens, const uint8_t *src, kvc_dtype dtype, float score_scale,
                        float *out, void *work)
{
    uint32_t group = v->cache->n_query_heads / v->cache->n_kv_heads;
    uint64_t n_vectors = (uint64_t)n_tokens * group;
    queries b = queries_in(v->cache, work);
    for (uint64_t first = 0; first < n_vectors; first += b.n) {
        b.n = n_vectors - first < MAX_QUERIES ? (uint32_t)(n_vectors - first) : MAX_QUERIES;
        for (uint32_t i = 0; i < b.n; i++) {
            b.n_seen[i] = v->length - n_tokens + (first + i) / group + 1;
            load_query(v, &b, i, src + vector_offset(v, first + i) * cache_dtype_bytes(dtype), dtype, score_scale);
        }
        attend_tiles(v, &b);
        for (uint32_t i = 0; i < b.n; i++) store_output(v, &b, i, out + vector_offset(v, first + i));
    }
}

static kvc_status check_attend(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                               const void *work, const kvc_attend_options *options, kvc_error *err)
{
    uint64_t n_rows;
    KVC_TRY(kvci_cache_check_batch(cache, layer, batch, dtype, &n_rows, err));
    if ((uintptr_t)work % 64u) return kvc_fail(err, KVC_INVALID, "the scratch is not 64-byte aligned");
    for (uint32_t i = 0; i < batch->n_sequences; i++)
        if (batch->n_tokens[i] > cache->layers[layer].length[batch->sequences[i]])
            return kvc_fail(err, KVC_INVALID, "sequence %u: %u queries for %llu tokens", batch->sequences[i],
                            batch->n_tokens[i], (unsigned long long)cache->layers[layer].length[batch->sequences[i]]);
    if (!options) return KVC_OK;
    KVC_TRY(kvci_cache_check_options(options, options->size, sizeof *options, err));
    if (options->kv_head_begin > options->kv_head_end || options->kv_head_end > cache->n_kv_heads)
        return kvc_fail(err, KVC_INVALID, "KV heads %u to %u of %u", options->kv_head_begin, options->kv_head_end,
                        cache->n_kv_heads);
    return KVC_OK;
}

kvc_status kvc_cache_attend(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, const void *queries,
                            kvc_dtype dtype, float *out, void *work, const kvc_attend_options *options,
                            kvc_error *err)
{
    KVC_TRY(check_attend(cache, layer, batch, dtype, work, options, err));
    uint32_t begin = options ? options->kv_head_begin : 0, end = options ? options->kv_head_end : 0;
    if (begin == 0 && end == 0) end = cache->n_kv_heads;
    float scale =
        options && options->score_scale != 0.0f ? options->score_scale : 1.0f / sqrtf((float)cache->head_dim);
    size_t row_values = (size_t)cache->n_query_heads * cache->head_dim;
    const uint8_t *src = queries;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        const cache_layer *l = &cache->layers[layer];
        uint32_t sequence = batch->sequences[i];
        view v = {cache, layer, sequence, 0, l->length[sequence], l->packed[sequence]};
        for (v.head = begin; v.head < end; v.head++)
            attend_head(&v, batch->n_tokens[i], src, dtype, scale, out, work);
        src += batch->n_tokens[i] * row_values * cache_dtype_bytes(dtype);
        out += batch->n_tokens[i] * row_values;
    }
    return KVC_OK;
}
