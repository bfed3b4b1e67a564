/* layout.c - where everything of a cache lies in its two blocks of memory. */
#include "arena.h"
#include "costs.h"
#include "cuda_cache.h"
#include "maps.h"

void cuda_place_host(arena *a, const kvc_cuda_cache *shape, kvc_cuda_cache *cache)
{
    uint64_t n = shape->n_sequences;
    *cache = *shape;
    arena_place(a, 1, sizeof *cache);
    cache->layers = arena_place(a, shape->n_layers, sizeof *cache->layers);
    cache->state = arena_place(a, shape->words.flags + 1, sizeof *cache->state);
    cache->n_used = arena_place(a, n, sizeof *cache->n_used);
    cache->mark = arena_place(a, n, sizeof *cache->mark);
    cache->pages = arena_place(a, n * shape->n_pages, sizeof *cache->pages);
    cache->references = arena_place(a, shape->n_pages, sizeof *cache->references);
    cache->free_pages = arena_place(a, shape->n_pages, sizeof *cache->free_pages);
}

/* ---- on the device ---- */

/* Bytes that memory is read by: pages of whole lines, as most are, then come without parts of others. */
#define LINE 256

static void place_map(arena *a, const kvc_coder *coder, bool is_value, const uint32_t **map, const float **offset)
{
    uint64_t n = coder->n_kv_heads;
    if (!cuda_has_map(coder)) return;
    *map = arena_place(a, n * cuda_map_words(coder, is_value), sizeof **map);
    *offset = arena_place(a, n * coder->head_dim, sizeof **offset);
}

/* A copy of the table, since constants have it at any multiple of 4; counts where constants have them. */
static void place_table(arena *a, const kvc_coder *coder, const uint8_t *params, const uint16_t **table,
                        const uint32_t **counts)
{
    cuda_table t = cuda_table_of(coder);
    if (!t.values) return;
    *table = arena_place(a, t.n_values, sizeof **table);
    if (t.counts && params)
        *counts = (const uint32_t *)(params + ((const uint8_t *)t.counts - (const uint8_t *)coder->params));
}

static void place_costs(arena *a, const kvc_coder coder[2], const uint32_t **costs)
{
    if (cuda_tile_costs(&coder[0], &coder[1], NULL))
        *costs = arena_place(a, coder->n_kv_heads + CUDA_MORE_COSTS, sizeof **costs);
}

/* A word's place; NULL while planning. */
static uint32_t *word(const kvc_cuda_cache *cache, uint32_t index)
{
    return cache->words.at ? cache->words.at + index : NULL;
}

static void place_layer(arena *a, const kvc_cuda_cache *cache, uint32_t index, cuda_layer *layer)
{
    uint64_t n = cache->n_sequences, of_head = (uint64_t)cache->capacity * cache->head_dim;
    const kvc_coder *key = &layer->coder[0], *value = &layer->coder[1];
    const cuda_words *w = &cache->words;
    cache_store *s = &layer->store;
    attend_layer *l = &layer->attend;
    *s = (cache_store){.page_bytes = key->page_bytes + value->page_bytes,
                       .value_offset = key->page_bytes,
                       .page_table = word(cache, w->pages),
                       .reserved = word(cache, w->reserved),
                       .length = word(cache, cuda_length_word(index, cache->n_sequences)),
                       .packed = word(cache, cuda_packed_word(index, cache->n_sequences)),
                       .has_next = word(cache, cuda_next_word(w, index, cache->n_sequences)),
                       .arrived = word(cache, w->arrived),
                       .flags = word(cache, w->flags),
                       .page_stride = cache->n_pages,
                       .capacity = cache->capacity,
                       .n_heads = cache->n_kv_heads,
                       .d = cache->head_dim,
                       .policy = cache->policy};
    s->rows = arena_place(a, n * 2 * cache->n_kv_heads, of_head * sizeof *s->rows);
    arena_align(a, LINE);
    s->pool = arena_place(a, cache->n_pages, s->page_bytes);
    arena_align(a, LINE);
    s->next = arena_place(a, s->policy.window ? n : 0, s->page_bytes);
    *l = (attend_layer){.pool = s->pool,
                        .page_bytes = s->page_bytes,
                        .value_offset = s->value_offset,
                        .key_block = key->block_bytes,
                        .value_block = value->block_bytes,
                        .rows = s->rows,
                        .page_table = s->page_table,
                        .length = s->length,
                        .packed = s->packed,
                        .page_stride = s->page_stride,
                        .capacity = s->capacity,
                        .n_heads = s->n_heads,
                        .sinks = s->policy.sinks,
                        .key_latent = cuda_latent(key),
                        .value_latent = cuda_latent(value)};
    if (!layer->kernel) return;
    place_map(a, key, false, &l->fold, &l->bias);
    place_map(a, value, true, &l->unfold, &l->mean);
    place_table(a, key, layer->params[0], &l->key_table, &l->key_counts);
    place_table(a, value, layer->params[1], &l->value_table, &l->value_counts);
    place_costs(a, layer->coder, &l->costs);
    cuda_table_steps(key, l->key_steps);
    cuda_table_steps(value, l->value_steps);
}

/* Scratch of attend, for the layer that needs most. */
static void place_work(arena *a, kvc_cuda_cache *cache)
{
    uint64_t rows = (uint64_t)cache->max_queries * cache->n_query_heads, latent = 0, partial = 0;
    uint32_t n = cuda_attend_sequences(cache);
    attend_work *w = &cache->work;
    if (!cache->images.n) return;
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        const cuda_layer *l = &cache->layers[i];
        size_t own =
            kernel_attend_partial(l->kernel, cache->n_kv_heads, n, cache->max_queries, l->attend.value_latent);
        partial = own > partial ? own : partial;
        if (l->attend.key_latent > latent) latent = l->attend.key_latent;
    }
    arena_align(a, LINE);
    w->latent = arena_place(a, rows * latent, sizeof *w->latent);
    w->query_bias = arena_place(a, rows, sizeof *w->query_bias);
    w->units = arena_place(a, 2 * ((uint64_t)n + 1), sizeof *w->units);
    w->sequences = arena_place(a, n, sizeof *w->sequences);
    w->results = arena_place(a, 2 * (uint64_t)n * cache->n_kv_heads, sizeof *w->results);
    w->partial = arena_place(a, partial, sizeof *w->partial);
    cache->queries = arena_place(a, rows * cache->head_dim, sizeof *cache->queries);
}

void cuda_place_device(arena *a, size_t n_params, kvc_cuda_cache *cache)
{
    cache->words.at = arena_place(a, cache->words.n, sizeof *cache->words.at);
    cache->params = arena_place(a, n_params, 1);
    cache->page_rows =
        arena_place(a, (uint64_t)cache->policy.page * cache->n_kv_heads, cache->head_dim * sizeof *cache->page_rows);
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        cuda_layer *l = &cache->layers[i];
        for (int side = 0; side < 2; side++)
            l->params[side] =
                l->coder[side].params && a->base ? cache->params + l->coder[side].codec.param_offset : NULL;
        place_layer(a, cache, i, l);
    }
    place_work(a, cache);
}
