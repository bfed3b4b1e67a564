/* cpu_attention.c - causal attention by tiles (the online softmax of FlashAttention), nothing larger than a
 * tile held.
 *
 * A task is one KV head and a tile of consecutive queries. With the G query heads of the group stacked it has
 * M = n * G rows; keys come in blocks of KEYS up to the tile's last query: S [M][KEYS] = Q K^T          one
 * product, also over the few keys above the diagonal inside the tile S <- exp(S - max)            each row
 * only as far as its query sees, zero after that O [M][d]  <- O * keep + S V Decode-faithful (k_page,
 * v_page): tiles are also cut where the count of compressed tokens changes, at positions sinks + window - 1
 * (mod page), so all rows of a tile read the same keys [sinks, sinks + c) from the pages. Cost: 4 T^2/2 d
 * flops per head in products that run at nearly the speed of any other, one exponential per score. */
#include "cpu_internal.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 192 /* of a tile, G heads stacked */
#define KEYS 512

typedef struct tile {
    size_t head, first, end;     /* KV head, queries [first, end) */
    size_t page_begin, page_end; /* keys that come from the pages */
} tile;

/* Scratch of a thread, one block: q [M][d] | o [M][d] | s [M][KEYS] | max [M] | sum [M] */
typedef struct scratch {
    float *q, *o, *s, *max, *sum;
} scratch;

static size_t group_of(const attention_args *a)
{
    return a->n_heads / a->n_kv_heads;
}
static size_t tile_queries(const attention_args *a)
{
    return cpu_max(8, ROWS / group_of(a));
}

static float *scratch_new(const attention_args *a, scratch *w)
{
    size_t M = tile_queries(a) * group_of(a), d = a->head_dim;
    float *block = aligned_alloc(64, (M * (2 * d + KEYS + 2) * sizeof *block + 63) & ~(size_t)63);
    if (!block) return NULL;
    *w = (scratch){.q = block, .o = block + M * d, .s = block + 2 * M * d};
    w->max = w->s + M * KEYS;
    w->sum = w->max + M;
    return block;
}

static size_t tile_end(const attention_args *a, size_t first)
{
    size_t end = cpu_min(first + tile_queries(a), a->n_tokens);
    if (!a->k_page && !a->v_page) return end;
    size_t step =
        (size_t)a->policy.sinks + a->policy.window + a->policy.page - 1; /* the first query that sees a page */
    if (first >= step) step += ((first - step) / a->policy.page + 1) * a->policy.page;
    return cpu_min(end, step);
}

/* Where tiles start; the last entry is n_tokens. Owned: free(). */
static size_t *cut_tiles(const attention_args *a, size_t *n)
{
    size_t most = 1;
    for (size_t at = 0; at < a->n_tokens; at = tile_end(a, at)) most++;
    size_t *first = malloc(most * sizeof *first);
    *n = most - 1;
    if (!first) return NULL;
    first[0] = 0;
    for (size_t i = 1; i < most; i++) first[i] = tile_end(a, first[i - 1]);
    return first;
}

static tile make_tile(const attention_args *a, size_t head, size_t first, size_t end)
{
    size_t compressed = a->k_page || a->v_page ? kvc_tokens_compressed(&a->policy, first + 1) : 0;
    return (tile){head, first, end, a->policy.sinks, a->policy.sinks + compressed};
}

static void load_queries(const attention_args *a, const tile *t, scratch *w)
{
    size_t d = a->head_dim, G = group_of(a), M = (t->end - t->first) * G;
    for (size_t m = 0; m < M; m++) {
        const float *q = a->q + ((t->first + m / G) * a->n_heads + t->head * G + m % G) * d;
        for (size_t i = 0; i < d; i++) w->q[m * d + i] = q[i] * a->scale;
        w->max[m] = -INFINITY;
        w->sum[m] = 0;
    }
    memset(w->o, 0, M * d * sizeof *w->o);
}

/* Rows of this KV head from token j on, as far as *end (lowered from `limit`) in one source: exact or pages
 * (NULL: all exact). */
static const float *rows_from(const attention_args *a, const tile *t, const float *exact, const float *page, size_t j,
                              size_t limit, size_t *end)
{
    bool inside = page && j >= t->page_begin && j < t->page_end;
    *end = limit;
    if (inside) *end = cpu_min(limit, t->page_end);
    if (page && j < t->page_begin && t->page_end > t->page_begin) *end = cpu_min(limit, t->page_begin);
    return (inside ? page : exact) + (j * a->n_kv_heads + t->head) * a->head_dim;
}

/* s = q k^T for keys [begin, limit) */
static void score_block(const attention_args *a, const tile *t, size_t begin, size_t limit, scratch *w)
{
    int M = (int)((t->end - t->first) * group_of(a)), d = (int)a->head_dim, stride = d * (int)a->n_kv_heads;
    for (size_t j = begin, end; j < limit; j = end) {
        const float *k = rows_from(a, t, a->k, a->k_page, j, limit, &end);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, M, (int)(end - j), d, 1.0f, w->q, d, k, stride, 0.0f,
                    w->s + (j - begin), KEYS);
    }
}

/* o += s v for keys [begin, limit) */
static void value_block(const attention_args *a, const tile *t, size_t begin, size_t limit, scratch *w)
{
    int M = (int)((t->end - t->first) * group_of(a)), d = (int)a->head_dim, stride = d * (int)a->n_kv_heads;
    for (size_t j = begin, end; j < limit; j = end) {
        const float *v = rows_from(a, t, a->v, a->v_page, j, limit, &end);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, M, d, (int)(end - j), 1.0f, w->s + (j - begin), KEYS,
                    v, stride, 1.0f, w->o, d);
    }
}

static void softmax_block(const attention_args *a, const tile *t, size_t begin, size_t limit, scratch *w)
{
    size_t d = a->head_dim, G = group_of(a), M = (t->end - t->first) * G;
    for (size_t m = 0; m < M; m++) {
        size_t seen = t->first + m / G + 1, n = seen <= begin ? 0 : cpu_min(seen, limit) - begin;
        float *s = w->s + m * KEYS, *o = w->o + m * d;
        float keep = n ? cpu_softmax_step(s, n, &w->max[m], &w->sum[m]) : 1.0f;
        memset(s + n, 0, (limit - begin - n) * sizeof *s);
        if (keep != 1.0f)
            for (size_t i = 0; i < d; i++) o[i] *= keep;
    }
}

static void store_outputs(const attention_args *a, const tile *t, const scratch *w)
{
    size_t d = a->head_dim, G = group_of(a), M = (t->end - t->first) * G;
    for (size_t m = 0; m < M; m++) {
        float *out = a->out + ((t->first + m / G) * a->n_heads + t->head * G + m % G) * d, scale = 1.0f / w->sum[m];
        for (size_t i = 0; i < d; i++) out[i] = w->o[m * d + i] * scale;
    }
}

static void attend_tile(const attention_args *a, const tile *t, scratch *w)
{
    load_queries(a, t, w);
    for (size_t begin = 0; begin < t->end; begin += KEYS) {
        size_t limit = cpu_min(begin + KEYS, t->end);
        score_block(a, t, begin, limit, w);
        softmax_block(a, t, begin, limit, w);
        value_block(a, t, begin, limit, w);
    }
    store_outputs(a, t, w);
}

static kvc_status attend_sequence(const attention_args *a, kvc_error *err)
{
    size_t n_tiles, failed = 0, *first = cut_tiles(a, &n_tiles);
    if (!first) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for attention over %u tokens", a->n_tokens);
#pragma omp parallel reduction(+ : failed)
    {
        scratch w = {0};
        float *own = scratch_new(a, &w);
        failed += own == NULL;
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < n_tiles * a->n_kv_heads; i++) { /* the longest tiles come first */
            size_t n = n_tiles - 1 - i / a->n_kv_heads;
            tile t = make_tile(a, i % a->n_kv_heads, first[n], first[n + 1]);
            if (own) attend_tile(a, &t, &w);
        }
        free(own);
    }
    free(first);
    return failed ? kvc_fail(err, KVC_NO_MEMORY, "out of memory for attention tiles") : KVC_OK;
}

static const float *rows_behind(const float *rows, size_t values)
{
    return rows ? rows + values : NULL;
}

kvc_status cpu_attention(backend *b, const attention_args *a, kvc_error *err)
{
    size_t query = (size_t)a->n_tokens * a->n_heads * a->head_dim;
    size_t kv = (size_t)a->n_tokens * a->n_kv_heads * a->head_dim;
    (void)b;
    for (uint32_t i = 0; i <= a->n_more; i++) {
        attention_args one = *a;
        one.q += i * query;
        one.k += i * kv;
        one.v += i * kv;
        one.k_page = rows_behind(a->k_page, i * kv);
        one.v_page = rows_behind(a->v_page, i * kv);
        one.out += i * query;
        KVC_TRY(attend_sequence(&one, err));
    }
    return KVC_OK;
}
