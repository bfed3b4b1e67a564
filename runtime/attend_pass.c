/* attend_pass.c - attend_pass.h: every page and row is read once for all queries that it concerns. */
#include "attend_pass.h"
#include <string.h>
#include "attend_kernel.h"
#include "simd.h"

#define TILE_VALUES 4096u

/* Rows of a tile: about 16 KiB of floats, at least 8 rows. */
static uint32_t tile_rows(const kvc_cache *cache)
{
    uint32_t n = TILE_VALUES / cache->row_dim / 8u * 8u;
    return n < 8 ? 8 : n > 64 ? 64 : n;
}

size_t kvci_pass_work(const kvc_cache *cache)
{
    size_t d = cache->head_dim, D = cache->row_dim, tile = tile_rows(cache), n = kvci_pass_queries(cache);
    return (2 * n * (d + D) + n * tile + tile * D + D) * sizeof(float);
}

attend_pass kvci_pass_in(const kvc_cache *cache, void *work)
{
    size_t D = cache->row_dim, tile = tile_rows(cache), n = kvci_pass_queries(cache), raw = n * cache->head_dim;
    float *at = work, *p = at + 2 * raw + 2 * n * D;
    return (attend_pass){.q = at,
                         .o = at + raw,
                         .folded = at + 2 * raw,
                         .latent = at + 2 * raw + n * D,
                         .p = p,
                         .tile = p + n * tile,
                         .unfold = p + n * tile + tile * D};
}

/* ---- what a query sees ---- */

/* Of n_rows, whose first is row `first` of its region, those before row n of the region. */
static uint32_t rows_before(uint64_t n, uint64_t first, uint32_t n_rows)
{
    if (n <= first) return 0;
    return n - first < n_rows ? (uint32_t)(n - first) : n_rows;
}

/* How many compressed tokens, and how many fp16 rows, are among the first n tokens. */
static uint64_t packed_before(const attend_view *v, uint64_t n)
{
    uint64_t sinks = v->cache->policy.sinks, behind = n > sinks ? n - sinks : 0;
    return behind < v->packed ? behind : v->packed;
}

static uint64_t exact_before(const attend_view *v, uint64_t n)
{
    return n - packed_before(v, n);
}

/* Rows first .. end - 1 of a tile. */
typedef struct rows_seen {
    uint32_t first, end;
} rows_seen;

/* The oldest token that a query of the pass sees. */
static uint64_t oldest_of(const attend_pass *pass)
{
    uint64_t oldest = pass->n_hidden[0];
    for (uint32_t i = 1; i < pass->n; i++)
        if (pass->n_hidden[i] < oldest) oldest = pass->n_hidden[i];
    return oldest;
}

/* ---- tiles ---- */

KVC_CLONES static void rescale(float *restrict x, uint32_t n, float factor)
{
    for (uint32_t i = 0; i < n; i++) x[i] *= factor;
}

/* Scores in p become weights; earlier sums of the query move to the new maximum. */
static void weigh(const attend_view *v, attend_pass *pass, uint32_t i, uint32_t n_rows, rows_seen seen, bool latent)
{
    uint32_t d = v->cache->head_dim, D = v->cache->row_dim;
    float *p = pass->p + i * tile_rows(v->cache);
    if (v->softcap > 0.0f) kvci_kernel_softcap(p, n_rows, v->softcap);
    float scale, sum = kvci_kernel_softmax(p, n_rows, seen.first, seen.end, &pass->max[i], &scale);
    if (scale != 1.0f) {
        rescale(pass->o + i * d, d, scale);
        rescale(pass->latent + i * D, v->cache->layers[v->layer].coder[CACHE_VALUES].latent_dim, scale);
        pass->sum[i] *= scale;
        pass->mass[i] *= scale;
    }
    pass->sum[i] += sum;
    if (latent) pass->mass[i] += sum;
}

/* Queries from .. next - 1 read the same rows: those of a head, or all where a row has all heads. */
static uint32_t next_unit(const attend_pass *pass, uint32_t from, const kvc_coder *coder)
{
    uint32_t next = from + 1;
    while (next < pass->n && (coder->joined > 1 || pass->head[next] == pass->head[from])) next++;
    return next;
}

/* Zero rows up to the next multiple of 8; returns it. */
static uint32_t pad_rows(float *tile, uint32_t n_rows, uint32_t d)
{
    uint32_t padded = (n_rows + 7u) & ~7u;
    memset(tile + (size_t)n_rows * d, 0, (size_t)(padded - n_rows) * d * sizeof *tile);
    return padded;
}

/* fp16 rows first .. first + n_rows - 1 of one head, for queries from .. to - 1. */
static void exact_tile_of_head(const attend_view *v, attend_pass *pass, uint32_t from, uint32_t to, uint32_t first,
                               uint32_t n_rows)
{
    const kvc_cache *cache = v->cache;
    uint32_t d = cache->head_dim, stride = tile_rows(cache), head = pass->head[from];
    rows_seen seen[PASS_MAX_QUERIES];
    const uint16_t *keys = cache_rows(cache, v->layer, v->sequence, CACHE_KEYS, head) + (size_t)first * d;
    const uint16_t *values = cache_rows(cache, v->layer, v->sequence, CACHE_VALUES, head) + (size_t)first * d;
    kvc_rows_to_float(keys, KVC_F16, (size_t)n_rows * d, pass->tile);
    uint32_t padded = pad_rows(pass->tile, n_rows, d);
    for (uint32_t i = from; i < to; i++) {
        seen[i].first = rows_before(exact_before(v, pass->n_hidden[i]), first, n_rows);
        seen[i].end = rows_before(exact_before(v, pass->n_seen[i]), first, n_rows);
        if (seen[i].first >= seen[i].end) continue;
        kvci_kernel_scores(pass->q + i * d, pass->tile, padded, d, 0.0f, pass->p + i * stride);
        weigh(v, pass, i, padded, seen[i], false);
    }
    kvc_rows_to_float(values, KVC_F16, (size_t)n_rows * d, pass->tile);
    for (uint32_t i = from; i < to; i++)
        if (seen[i].first < seen[i].end)
            kvci_kernel_accumulate(pass->p + i * stride, pass->tile, seen[i].end, d, pass->o + i * d);
}

/* The same rows of every head. */
static void exact_tile(const attend_view *v, attend_pass *pass, uint32_t first, uint32_t n_rows)
{
    for (uint32_t from = 0, to; from < pass->n; from = to) {
        for (to = from + 1; to < pass->n && pass->head[to] == pass->head[from];) to++;
        exact_tile_of_head(v, pass, from, to, first, n_rows);
    }
}

/* Rows first .. first + n_rows - 1 of compressed page `index`, as queries `from` .. of one unit see them. */
static void decode_tile(const attend_view *v, attend_pass *pass, uint32_t from, int side, uint64_t index,
                        uint32_t first, uint32_t n_rows)
{
    const kvc_coder *coder = &v->cache->layers[v->layer].coder[side];
    uint32_t head = pass->head[from];
    kvci_coder_decode_rows(coder, kvci_coder_row(coder, head),
                           cache_block(v->cache, v->layer, v->sequence, index, side, head), first, n_rows,
                           pass->tile);
}

static void page_tile(const attend_view *v, attend_pass *pass, uint64_t index, uint32_t first, uint32_t n_rows)
{
    const kvc_coder *coder = v->cache->layers[v->layer].coder;
    uint32_t D = v->cache->row_dim, stride = tile_rows(v->cache);
    rows_seen seen[PASS_MAX_QUERIES];
    uint64_t token = index * v->cache->policy.page + first;
    for (uint32_t i = 0, next; i < pass->n; i = next) {
        next = next_unit(pass, i, &coder[CACHE_KEYS]);
        decode_tile(v, pass, i, CACHE_KEYS, index, first, n_rows);
        for (uint32_t k = i; k < next; k++) {
            seen[k].first = rows_before(packed_before(v, pass->n_hidden[k]), token, n_rows);
            seen[k].end = rows_before(packed_before(v, pass->n_seen[k]), token, n_rows);
            if (seen[k].first >= seen[k].end) continue;
            kvci_kernel_scores(pass->folded + k * D, pass->tile, n_rows, coder[CACHE_KEYS].latent_dim, pass->bias[k],
                               pass->p + k * stride);
            weigh(v, pass, k, n_rows, seen[k], true);
        }
    }
    for (uint32_t i = 0, next; i < pass->n; i = next) {
        next = next_unit(pass, i, &coder[CACHE_VALUES]);
        decode_tile(v, pass, i, CACHE_VALUES, index, first, n_rows);
        for (uint32_t k = i; k < next; k++)
            if (seen[k].first < seen[k].end)
                kvci_kernel_accumulate(pass->p + k * stride, pass->tile, seen[k].end, coder[CACHE_VALUES].latent_dim,
                                       pass->latent + k * D);
    }
}

/* ---- all rows ---- */

/* A head's pages lie apart, so that the machine does not foresee the next one. */
static void prefetch_page(const attend_view *v, const attend_pass *pass, uint64_t index)
{
    const cache_layer *l = &v->cache->layers[v->layer];
    for (int side = CACHE_KEYS; side <= CACHE_VALUES; side++)
        for (uint32_t i = 0; i < pass->n; i = next_unit(pass, i, &l->coder[side])) {
            const uint8_t *block = cache_block(v->cache, v->layer, v->sequence, index, side, pass->head[i]);
            uint32_t bytes = kvc_coder_block(&l->coder[side], kvci_coder_row(&l->coder[side], pass->head[i])).bytes;
            for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(block + at, 0, 2);
        }
}

void kvci_pass_rows(const attend_view *v, attend_pass *pass)
{
    uint32_t tile = tile_rows(v->cache), page = v->cache->policy.page, n_exact = (uint32_t)(v->length - v->packed);
    uint64_t oldest = oldest_of(pass);
    for (uint64_t index = packed_before(v, oldest) / page; index < v->packed / page; index++) {
        if (index + 1 < v->packed / page) prefetch_page(v, pass, index + 1);
        for (uint32_t row = 0; row < page; row += tile)
            page_tile(v, pass, index, row, page - row < tile ? page - row : tile);
    }
    for (uint32_t row = (uint32_t)exact_before(v, oldest) / tile * tile; row < n_exact; row += tile)
        exact_tile(v, pass, row, n_exact - row < tile ? n_exact - row : tile);
}
