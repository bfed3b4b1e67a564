/* attend.c - kvc_cache_attend(): causal attention by online softmax over pages, sinks and window.
 *
 * For each KV head, up to 16 query vectors (query heads of the group, and several tokens of a chunk) pass over the
 * cache together (attend_pass.h), so that each page is read and decoded once for all of them; in a layer that has
 * rows of all heads, up to 32 of all heads. The latent sum is unfolded once, at the end, with the probability mass
 * that went to compressed tokens. */
#include <float.h>
#include <string.h>
#include "attend_options.h"
#include "attend_pass.h"
#include "simd.h"

size_t kvc_cache_attend_work(const kvc_cache *cache)
{
    return kvci_pass_work(cache);
}

/* The queries of one sequence for KV heads first_head and up; rows of `src` and `out` start at its first one. */
typedef struct query_rows {
    const uint8_t *src;
    float *out;
    kvc_dtype dtype;
    float score_scale;
    uint32_t n_tokens, first_head;
} query_rows;

/* Where query vector `index` lies, which counts query heads of a group first, then tokens, then KV heads. */
typedef struct place {
    uint32_t head, token;
    size_t offset; /* in values */
} place;

static place place_of(const kvc_cache *cache, const query_rows *rows, uint64_t index)
{
    uint32_t group = cache->n_query_heads / cache->n_kv_heads;
    uint32_t token = (uint32_t)(index / group % rows->n_tokens);
    uint32_t head = rows->first_head + (uint32_t)(index / group / rows->n_tokens);
    size_t row = (size_t)token * cache->n_query_heads + (size_t)head * group + index % group;
    return (place){head, token, row * cache->head_dim};
}

static void load_query(const attend_view *v, attend_pass *pass, uint32_t i, const query_rows *rows, place at)
{
    uint32_t d = v->cache->head_dim, D = v->cache->row_dim;
    float *q = pass->q + i * d;
    kvc_rows_to_float(rows->src + at.offset * cache_dtype_bytes(rows->dtype), rows->dtype, d, q);
    for (uint32_t c = 0; c < d; c++) q[c] *= rows->score_scale;
    pass->head[i] = at.head;
    pass->n_seen[i] = v->length - rows->n_tokens + at.token + 1;
    pass->n_hidden[i] =
        v->sliding_window && pass->n_seen[i] > v->sliding_window ? pass->n_seen[i] - v->sliding_window : 0;
    pass->bias[i] = kvc_coder_fold_query(&v->cache->layers[v->layer].coder[0], at.head, q, pass->folded + i * D);
    pass->max[i] = -FLT_MAX;
    pass->mass[i] = 0.0f;
    pass->sum[i] =
        0.0f; /* stays so for finite queries; a NaN or infinity makes this query's output NaN, and no other */
    for (uint32_t c = 0; c < d; c++) pass->sum[i] += q[c] - q[c];
    memset(pass->o + i * d, 0, d * sizeof *pass->o);
    memset(pass->latent + i * D, 0, D * sizeof *pass->latent);
}

static void store_output(const attend_view *v, attend_pass *pass, uint32_t i, float *out)
{
    uint32_t d = v->cache->head_dim;
    const kvc_coder *values = &v->cache->layers[v->layer].coder[1];
    if (pass->mass[i] > 0.0f)
        kvc_coder_unfold_output(values, pass->head[i], pass->latent + i * v->cache->row_dim, pass->mass[i],
                                pass->o + i * d, pass->unfold);
    for (uint32_t c = 0; c < d; c++) out[c] = pass->o[i * d + c] / pass->sum[i];
}

/* The queries of n_heads KV heads, as many at a time as may pass together. */
static void attend_heads(const attend_view *v, const query_rows *rows, uint32_t n_heads, void *work)
{
    uint32_t most = kvci_pass_queries(v->cache), group = v->cache->n_query_heads / v->cache->n_kv_heads;
    uint64_t n_vectors = (uint64_t)rows->n_tokens * group * n_heads;
    attend_pass pass = kvci_pass_in(v->cache, work);
    for (uint64_t first = 0; first < n_vectors; first += pass.n) {
        pass.n = n_vectors - first < most ? (uint32_t)(n_vectors - first) : most;
        for (uint32_t i = 0; i < pass.n; i++) load_query(v, &pass, i, rows, place_of(v->cache, rows, first + i));
        kvci_pass_rows(v, &pass);
        for (uint32_t i = 0; i < pass.n; i++)
            store_output(v, &pass, i, rows->out + place_of(v->cache, rows, first + i).offset);
    }
}

/* Heads whose rows are decoded apart pass apart. */
static void attend_sequence(const attend_view *v, query_rows rows, uint32_t end, void *work)
{
    const kvc_coder *coder = v->cache->layers[v->layer].coder;
    uint32_t together = coder[0].joined > 1 || coder[1].joined > 1 ? end - rows.first_head : 1;
    for (; rows.first_head < end; rows.first_head += together) attend_heads(v, &rows, together, work);
}

static kvc_status check_attend(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                               const void *work, kvc_error *err)
{
    uint64_t n_rows;
    KVC_TRY(kvci_cache_check_batch(cache, layer, batch, dtype, &n_rows, err));
    if ((uintptr_t)work % 64u) return kvc_fail(err, KVC_INVALID, "the scratch is not 64-byte aligned");
    for (uint32_t i = 0; i < batch->n_sequences; i++)
        if (batch->n_tokens[i] > cache->layers[layer].length[batch->sequences[i]])
            return kvc_fail(err, KVC_INVALID, "sequence %u: %u queries for %llu tokens", batch->sequences[i],
                            batch->n_tokens[i], (unsigned long long)cache->layers[layer].length[batch->sequences[i]]);
    return KVC_OK;
}

kvc_status kvc_cache_attend(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, const void *queries,
                            kvc_dtype dtype, float *out, void *work, const kvc_attend_options *options,
                            kvc_error *err)
{
    kvc_attend_options o;
    KVC_TRY(check_attend(cache, layer, batch, dtype, work, err));
    KVC_TRY(kvci_attend_options_take(&o, options, cache->n_kv_heads, cache->head_dim, err));
    size_t row_values = (size_t)cache->n_query_heads * cache->head_dim;
    query_rows rows = {
        .src = queries, .out = out, .dtype = dtype, .score_scale = o.score_scale, .first_head = o.kv_head_begin};
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        const cache_layer *l = &cache->layers[layer];
        uint32_t sequence = batch->sequences[i];
        attend_view v = {cache,    layer, sequence, l->length[sequence], l->packed[sequence], o.sliding_window,
                         o.softcap};
        rows.n_tokens = batch->n_tokens[i];
        attend_sequence(&v, rows, o.kv_head_end, work);
        rows.src += rows.n_tokens * row_values * cache_dtype_bytes(dtype);
        rows.out += rows.n_tokens * row_values;
    }
    return KVC_OK;
}
