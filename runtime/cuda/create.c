/* create.c - create and destroy a cache: everything that is ever allocated or loaded, is here. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include "arena.h"
#include "costs.h"
#include "cuda_cache.h"
#include "heads.h"
#include "maps.h"
#include "options.h"
#include "page.h"

/* ---- numbers ---- */

static kvc_status number_words(kvc_cuda_cache *shape, kvc_error *err)
{
    uint64_t n = shape->n_sequences, flags = 2 * n * shape->n_layers;
    uint64_t n_words = flags + 2 + (2 + shape->n_layers + (uint64_t)shape->n_pages) * n; /* in the order below */
    if (n_words > UINT32_MAX)
        return kvc_fail(err, KVC_INVALID, "%u sequences of up to %u pages are too many", shape->n_sequences,
                        shape->n_pages);
    shape->words.flags = (uint32_t)flags;
    shape->words.reserved = shape->words.flags + 1;
    shape->words.arrived = shape->words.reserved + shape->n_sequences;
    shape->words.slots = shape->words.arrived + 1;
    shape->words.next = shape->words.slots + shape->n_sequences;
    shape->words.pages = shape->words.next + shape->n_sequences * shape->n_layers;
    shape->words.n = (uint32_t)n_words;
    return KVC_OK;
}

/* The KV heads that are asked for; none means all. */
static kvc_status take_heads(const kvc_model_info *m, const kvc_cuda_cache_options *options, uint32_t *n,
                             kvc_error *err)
{
    uint32_t begin = options->kv_head_begin, end = options->kv_head_end;
    *n = begin == 0 && end == 0 ? m->n_kv_heads : end - begin;
    if (begin <= end && end <= m->n_kv_heads && *n > 0) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "KV heads %u to %u of %u", begin, end, m->n_kv_heads);
}

static kvc_status make_shape(kvc_cuda_cache *shape, const kvc_config *cfg, const kvc_cuda_cache_options *options,
                             kvc_error *err)
{
    const kvc_model_info *m = kvc_config_model(cfg);
    const kvc_token_policy *p = kvc_config_tokens(cfg);
    if (options->max_sequences == 0) return kvc_fail(err, KVC_INVALID, "a cache needs at least one sequence");
    uint32_t n_kv_heads;
    KVC_TRY(take_heads(m, options, &n_kv_heads, err));
    uint64_t capacity = (uint64_t)p->sinks + p->window + p->page;
    if (options->max_tokens > UINT32_MAX / 2 || capacity > UINT32_MAX / 2) /* lengths have 32 bits on the device */
        return kvc_fail(err, KVC_INVALID, "max_tokens is too large");
    *shape = (kvc_cuda_cache){.device = options->device,
                              .policy = *p,
                              .n_layers = m->n_layers,
                              .n_sequences = options->max_sequences,
                              .n_kv_heads = n_kv_heads,
                              .n_query_heads = m->n_query_heads / m->n_kv_heads * n_kv_heads,
                              .head_dim = m->head_dim,
                              .capacity = (uint32_t)capacity,
                              .max_queries = options->max_queries ? options->max_queries : options->max_sequences,
                              .n_pages = (uint32_t)(options->max_tokens / p->page)};
    shape->n_free = shape->n_pages;
    return number_words(shape, err);
}

/* ---- memory of the host ---- */

static kvc_status bind_all_heads(kvc_cuda_cache *cache, const kvc_config *cfg, kvc_error *err)
{
    const uint8_t *params = cache->constants = kvc_config_parameters(cfg, &cache->n_constants);
    for (uint32_t i = 0; i < 2 * cache->n_layers; i++) {
        const kvc_layer *layer = kvc_config_layer(cfg, i / 2);
        const kvc_codec *codec = i % 2 ? &layer->value : &layer->key;
        KVC_TRY(kvc_coder_init(&cache->layers[i / 2].coder[i % 2], codec,
                               codec->param_bytes ? params + codec->param_offset : NULL, cache->n_kv_heads,
                               cache->head_dim, cache->policy.page, err));
    }
    return KVC_OK;
}

static kvc_status bind_coders(kvc_cuda_cache *cache, const kvc_config *cfg, uint32_t begin, kvc_error *err)
{
    for (uint32_t i = 0; i < cache->n_layers; i++)
        if ((kvc_config_layer(cfg, i)->key.flags | kvc_config_layer(cfg, i)->value.flags) & KVC_FLAG_JOINT)
            return kvc_fail(err, KVC_UNSUPPORTED, "layer %u: no cache on a GPU for rows of all heads together", i);
    if (cache->n_kv_heads < kvc_config_model(cfg)->n_kv_heads) return cuda_bind_heads(cache, cfg, begin, err);
    return bind_all_heads(cache, cfg, err);
}

static kvc_status make_host(kvc_cuda_cache **out, const kvc_cuda_cache *shape, kvc_error *err)
{
    kvc_cuda_cache planned;
    arena plan = {0};
    cuda_place_host(&plan, shape, &planned);
    void *memory = plan.overflow ? NULL : aligned_alloc(ARENA_ALIGNMENT, plan.used);
    if (!memory) return kvc_fail(err, KVC_NO_MEMORY, "no memory for the tables of a cache: %zu bytes", plan.used);
    memset(memory, 0, plan.used);
    arena block = {.base = memory};
    cuda_place_host(&block, shape, &planned);
    *out = memcpy(memory, &planned, sizeof planned);
    for (uint32_t i = 0; i < shape->n_pages; i++) (*out)->free_pages[i] = shape->n_pages - 1 - i;
    for (uint32_t i = 0; i < shape->n_layers; i++) {
        (*out)->layers[i].length = planned.state + cuda_length_word(i, shape->n_sequences);
        (*out)->layers[i].packed = planned.state + cuda_packed_word(i, shape->n_sequences);
    }
    return KVC_OK;
}

/* ---- the device ---- */

static kvc_status check_device(int device, kvc_error *err)
{
    int n = 0;
    KVC_TRY_CUDA(cudaGetDeviceCount(&n));
    if (device >= 0 && device < n) return KVC_OK;
    return kvc_fail(err, KVC_UNSUPPORTED, "CUDA device %d of %d", device, n);
}

/* A side's map and the row beside it, by way of `scratch`. */
static kvc_status upload_maps(const cuda_layer *l, float *scratch, kvc_error *err)
{
    for (int side = 0; side < 2; side++) {
        const kvc_coder *c = &l->coder[side];
        size_t n = (size_t)c->n_kv_heads * c->head_dim, n_map = c->n_kv_heads * cuda_map_words(c, side);
        const uint32_t *map = side ? l->attend.unfold : l->attend.fold;
        const float *offset = side ? l->attend.mean : l->attend.bias;
        uint32_t *words = (uint32_t *)(void *)scratch;
        if (!map) continue;
        if (side)
            cuda_unfold_map(c, words, scratch + n_map, scratch + n_map + n);
        else
            cuda_fold_map(c, words, scratch + n_map);
        KVC_TRY_CUDA(cudaMemcpy((void *)map, words, n_map * sizeof *map, cudaMemcpyHostToDevice));
        KVC_TRY_CUDA(cudaMemcpy((void *)offset, scratch + n_map, n * sizeof *offset, cudaMemcpyHostToDevice));
    }
    return KVC_OK;
}

static kvc_status upload_tables(const cuda_layer *l, kvc_error *err)
{
    for (int side = 0; side < 2; side++) {
        cuda_table t = cuda_table_of(&l->coder[side]);
        const uint16_t *to = side ? l->attend.value_table : l->attend.key_table;
        if (to) KVC_TRY_CUDA(cudaMemcpy((void *)to, t.values, t.n_values * sizeof *to, cudaMemcpyHostToDevice));
    }
    return KVC_OK;
}

/* By way of `scratch`, too. */
static kvc_status upload_costs(const cuda_layer *l, uint32_t *scratch, kvc_error *err)
{
    const uint32_t *to = l->attend.costs;
    size_t n = l->coder[0].n_kv_heads + CUDA_MORE_COSTS;
    if (!to) return KVC_OK;
    cuda_tile_costs(&l->coder[0], &l->coder[1], scratch);
    KVC_TRY_CUDA(cudaMemcpy((void *)to, scratch, n * sizeof *to, cudaMemcpyHostToDevice));
    return KVC_OK;
}

static kvc_status upload_layers(kvc_cuda_cache *cache, kvc_error *err)
{
    uint32_t d = cache->head_dim;
    size_t most = (size_t)cache->n_kv_heads * (attend_map_words(d, d) + d) + (size_t)cache->policy.page * d;
    float *scratch = malloc(most * sizeof *scratch);
    kvc_status status = scratch ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "no memory for a layer's maps");
    for (uint32_t i = 0; i < cache->n_layers && status == KVC_OK; i++) {
        status = upload_tables(&cache->layers[i], err);
        if (status == KVC_OK) status = upload_costs(&cache->layers[i], (uint32_t *)(void *)scratch, err);
        if (status == KVC_OK) status = upload_maps(&cache->layers[i], scratch, err);
    }
    free(scratch);
    return status;
}

/* Code is loaded now, so that neither a first call nor a capture has to. */
static kvc_status load_code(kvc_cuda_cache *cache, kvc_error *err)
{
    for (uint32_t i = 0; i < cache->n_layers; i++) {
        cuda_layer *l = &cache->layers[i];
        KVC_TRY_CUDA(kernel_cache_load(&l->store, l->coder));
        for (int side = 0; side < 2; side++) KVC_TRY_CUDA(kernel_decode_load(&l->coder[side]));
    }
    for (uint32_t i = 0; i < cache->images.n; i++) KVC_TRY_CUDA(kernel_attend_load(&cache->images.images[i].kernel));
    return KVC_OK;
}

static kvc_status make_device(kvc_cuda_cache *cache, kvc_error *err)
{
    size_t n_params = cache->n_constants;
    arena plan = {0};
    cuda_place_device(&plan, n_params, cache);
    if (plan.overflow) return kvc_fail(err, KVC_NO_MEMORY, "a cache of this size cannot be addressed");
    cudaError_t status = cudaMalloc(&cache->memory, plan.used);
    if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        return kvc_fail(err, KVC_NO_MEMORY, "no memory on the device for a cache of %zu bytes", plan.used);
    }
    KVC_TRY_CUDA(status);
    arena block = {.base = cache->memory};
    cuda_place_device(&block, n_params, cache);
    cache->bytes = plan.used;
    KVC_TRY_CUDA(cudaMemset(cache->words.at, 0, cache->words.n * sizeof *cache->words.at));
    if (n_params) KVC_TRY_CUDA(cudaMemcpy(cache->params, cache->constants, n_params, cudaMemcpyHostToDevice));
    return upload_layers(cache, err);
}

static kvc_status fill(kvc_cuda_cache *cache, const kvc_config *cfg, const kvc_cuda_cache_options *options,
                       kvc_error *err)
{
    const char *kernels = options->kernels;
    KVC_TRY(bind_coders(cache, cfg, options->kv_head_begin, err));
    if (kernels) KVC_TRY(cuda_images_load(&cache->images, kernels, cfg, err));
    for (uint32_t i = 0; i < cache->n_layers && kernels; i++)
        cache->layers[i].kernel = &cache->images.images[cache->images.of_layer[i]].kernel;
    KVC_TRY(make_device(cache, err));
    KVC_TRY(load_code(cache, err));
    KVC_TRY_CUDA(cudaDeviceSynchronize());
    return KVC_OK;
}

kvc_status kvc_cuda_cache_create(kvc_cuda_cache **out, const kvc_config *cfg, const kvc_cuda_cache_options *options,
                                 kvc_error *err)
{
    kvc_cuda_cache shape, *cache = NULL;
    kvc_cuda_cache_options known;
    int before;
    *out = NULL;
    KVC_TRY(kvci_options_take(&known, sizeof known, options, offsetof(kvc_cuda_cache_options, kv_head_begin), err));
    KVC_TRY(make_shape(&shape, cfg, &known, err));
    KVC_TRY(check_device(shape.device, err));
    KVC_TRY(make_host(&cache, &shape, err));
    kvc_status status = cuda_enter(cache->device, &before, err);
    if (status == KVC_OK) status = cuda_leave(before, fill(cache, cfg, &known, err));
    if (status == KVC_OK)
        *out = cache;
    else
        kvc_cuda_cache_destroy(cache);
    return status;
}

void kvc_cuda_cache_destroy(kvc_cuda_cache *cache)
{
    int before;
    if (!cache) return;
    if (cuda_enter(cache->device, &before, NULL) == KVC_OK) {
        if (cache->memory) cudaFree(cache->memory); /* waits */
        cuda_images_unload(&cache->images);
        cuda_leave(before, KVC_OK);
    }
    free(cache->own_constants);
    free(cache);
}

size_t kvc_cuda_cache_bytes(const kvc_cuda_cache *cache)
{
    return cache->bytes;
}
