/* cache.c - create and destroy a cache. All memory is one block, laid out by place() and never grown. */
#include <stdlib.h>
#include <string.h>
#include "arena.h"
#include "cache.h"
#include "config.h"
#include "options.h"

static void *default_alloc(void *context, size_t bytes, size_t alignment)
{
    (void)context;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void default_free(void *context, void *memory, size_t bytes)
{
    (void)context;
    (void)bytes;
    free(memory);
}

/* ---- layout ---- */

/* The checked configuration's codec, while planning for its layout alone. */
static kvc_coder coder_of(const kvc_config *cfg, const kvc_codec *codec, const arena *a)
{
    kvc_coder coder;
    const void *params = a->base ? kvci_config_params(cfg, codec) : NULL;
    kvc_coder_init(&coder, codec, params, cfg->model->n_kv_heads, cfg->model->head_dim, cfg->tokens->policy.page,
                   NULL);
    return coder;
}

/* Twice with the same order: once to count, once to hand out. `shape` has every number but no pointer. */
static void place_all(arena *a, const kvc_cache *shape, const kvc_config *cfg, kvc_cache *cache)
{
    uint64_t n_sequences = shape->n_sequences, row_values = (uint64_t)shape->head_dim * shape->capacity * 2u;
    uint64_t page_values = (uint64_t)shape->policy.page * shape->row_dim;
    *cache = *shape;
    arena_place(a, 1, sizeof *cache);
    cache->layers = arena_place(a, shape->n_layers, sizeof *cache->layers);
    cache->n_used = arena_place(a, n_sequences, sizeof *cache->n_used);
    cache->mark = arena_place(a, n_sequences, sizeof *cache->mark);
    cache->pages = arena_place(a, n_sequences * shape->n_pages, sizeof *cache->pages);
    cache->references = arena_place(a, shape->n_pages, sizeof *cache->references);
    cache->free_pages = arena_place(a, shape->n_pages, sizeof *cache->free_pages);
    cache->page_rows = arena_place(a, page_values, sizeof(float));
    cache->work = arena_place(a, page_values + shape->row_dim, sizeof(float));
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        cache_layer layer = {
            .coder = {coder_of(cfg, &cfg->layers[i].key, a), coder_of(cfg, &cfg->layers[i].value, a)}};
        layer.value_offset = layer.coder[0].page_bytes;
        layer.page_bytes = layer.value_offset + layer.coder[1].page_bytes;
        layer.length = arena_place(a, n_sequences, sizeof *layer.length);
        layer.packed = arena_place(a, n_sequences, sizeof *layer.packed);
        layer.rows = arena_place(a, n_sequences * shape->n_kv_heads, row_values * sizeof *layer.rows);
        layer.pool = arena_place(a, shape->n_pages, layer.page_bytes);
        if (a->base) cache->layers[i] = layer;
    }
}

static uint32_t widest_row(const kvc_config *cfg)
{
    uint32_t widest = cfg->model->head_dim;
    const arena planning = {0};
    for (uint32_t i = 0; i < 2 * cfg->model->n_layers; i++) {
        kvc_coder c = coder_of(cfg, i % 2 ? &cfg->layers[i / 2].value : &cfg->layers[i / 2].key, &planning);
        if (c.head_dim > widest) widest = c.head_dim;
    }
    return widest;
}

static kvc_status cache_shape(kvc_cache *shape, const kvc_config *cfg, const kvc_cache_options *options,
                              kvc_error *err)
{
    const kvc_model_info *m = cfg->model;
    kvc_cache_options known;
    KVC_TRY(kvci_options_take(&known, sizeof known, options, sizeof known, err));
    options = &known;
    if (options->max_sequences == 0) return kvc_fail(err, KVC_INVALID, "a cache needs at least one sequence");
    uint64_t n_pages = options->max_tokens / cfg->tokens->policy.page;
    if (n_pages > UINT32_MAX) return kvc_fail(err, KVC_INVALID, "max_tokens is too large");
    *shape = (kvc_cache){
        .policy = cfg->tokens->policy,
        .n_layers = m->n_layers,
        .n_sequences = options->max_sequences,
        .n_kv_heads = m->n_kv_heads,
        .n_query_heads = m->n_query_heads,
        .head_dim = m->head_dim,
        .n_pages = (uint32_t)n_pages,
        .n_free = (uint32_t)n_pages,
        .allocator = {default_alloc, default_free, NULL},
    };
    shape->row_dim = widest_row(cfg);
    shape->capacity = shape->policy.sinks + shape->policy.window + shape->policy.page;
    if (options->allocator) shape->allocator = *options->allocator;
    return KVC_OK;
}

/* Everything that is read before it is written; rows, pools and scratch stay untouched. */
static void clear(kvc_cache *cache)
{
    size_t n = cache->n_sequences;
    memset(cache->n_used, 0, n * sizeof *cache->n_used);
    memset(cache->mark, 0, n * sizeof *cache->mark);
    for (uint32_t i = 0; i < cache->n_pages; i++) {
        cache->references[i] = 0;
        cache->free_pages[i] = cache->n_pages - 1 - i; /* page 0 is taken first */
    }
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        memset(cache->layers[i].length, 0, n * sizeof *cache->layers[i].length);
        memset(cache->layers[i].packed, 0, n * sizeof *cache->layers[i].packed);
    }
}

kvc_status kvc_cache_create(kvc_cache **out, const kvc_config *cfg, const kvc_cache_options *options, kvc_error *err)
{
    kvc_cache shape, planned;
    arena plan = {0};
    *out = NULL;
    KVC_TRY(cache_shape(&shape, cfg, options, err));
    place_all(&plan, &shape, cfg, &planned);
    if (plan.overflow) return kvc_fail(err, KVC_NO_MEMORY, "a cache of this size cannot be addressed");
    void *memory = shape.allocator.alloc(shape.allocator.context, plan.used, ARENA_ALIGNMENT);
    if (!memory) return kvc_fail(err, KVC_NO_MEMORY, "no memory for a cache of %zu bytes", plan.used);
    arena block = {.base = memory};
    shape.bytes = plan.used;
    place_all(&block, &shape, cfg, &planned);
    *out = memcpy(memory, &planned, sizeof planned);
    clear(*out);
    return KVC_OK;
}

void kvc_cache_destroy(kvc_cache *cache)
{
    if (!cache) return;
    kvc_allocator allocator = cache->allocator;
    allocator.free(allocator.context, cache, cache->bytes);
}

size_t kvc_cache_bytes(const kvc_cache *cache)
{
    return cache->bytes;
}

uint64_t kvc_cache_length(const kvc_cache *cache, uint32_t layer, uint32_t sequence)
{
    return layer < cache->n_layers && sequence < cache->n_sequences ? cache->layers[layer].length[sequence] : 0;
}

uint32_t kvc_cache_chunk(const kvc_cache *cache, uint32_t layer, uint32_t sequence)
{
    if (layer >= cache->n_layers || sequence >= cache->n_sequences) return 1;
    const kvc_token_policy *p = &cache->policy;
    uint64_t n = cache->layers[layer].length[sequence];
    uint64_t packed = cache_packed_at(cache, layer, sequence, n + 1);
    uint64_t next_move = packed + p->sinks + p->window + p->page; /* the length at which another page is compressed */
    return (uint32_t)(next_move - 1 - n);
}

kvc_status kvci_cache_check_batch(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                                  uint64_t *n_rows, kvc_error *err)
{
    if (layer >= cache->n_layers) return kvc_fail(err, KVC_INVALID, "layer %u of %u", layer, cache->n_layers);
    if (dtype != KVC_F32 && dtype != KVC_F16 && dtype != KVC_BF16)
        return kvc_fail(err, KVC_INVALID, "dtype %d is unknown", (int)dtype);
    *n_rows = 0;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        if (batch->sequences[i] >= cache->n_sequences)
            return kvc_fail(err, KVC_INVALID, "sequence %u of %u", batch->sequences[i], cache->n_sequences);
        *n_rows += batch->n_tokens[i];
    }
    return KVC_OK;
}
