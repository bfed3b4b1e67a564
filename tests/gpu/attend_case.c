/* attend_case.c - attend_case.h: rows go through libkvc's own append; what should come out is worked out in double
 * from its decoded pages. */
#include "attend_case.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../unit/params_rig.h"
#include "cache.h"
#include "case_config.h"
#include "costs.h"
#include "maps.h"

static void die(const char *what, const kvc_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

static void *need(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p) exit(1);
    return p;
}

static void make_config(attend_case *c)
{
    const attend_shape *s = &c->shape;
    kvc_error err;
    size_t bytes;
    case_config config = {s->n_heads, s->group, s->d, {s->sinks, s->window, s->page}, 1, 1, {{s->key, s->value}}};
    c->image = case_config_image(&config, &bytes);
    if (kvc_config_open_memory((kvc_config **)&c->config, c->image, bytes, &err)) die("open", &err);
}

/* Keys of the first page are small, so that what is scaled to them has to be scaled anew; values of one token are
 * large. */
static float size_of(const attend_shape *s, bool is_value, uint64_t token)
{
    if (is_value) return token == s->sinks + s->page + 12 ? 20.0f : 1.0f;
    return token < s->sinks + s->page ? 1e-3f : 1.0f;
}

static void fill(attend_case *c)
{
    const attend_shape *s = &c->shape;
    size_t width = (size_t)s->n_heads * s->d;
    kvc_error err;
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        float *rows = need(2 * s->lengths[i] * width, sizeof *rows);
        for (size_t k = 0, n = s->lengths[i] * width; k < 2 * n; k++)
            rows[k] = params_random(&state) * (k % 7 ? 1.0f : 4.0f) * size_of(s, k >= n, k % n / width);
        kvc_batch batch = {1, &i, &s->lengths[i]};
        if (s->lengths[i] && kvc_cache_append(c->cache, 0, &batch, rows, rows + s->lengths[i] * width, KVC_F32, &err))
            die("append", &err);
        free(rows);
    }
}

static void make_maps(attend_case *c)
{
    kvc_cache *cache = c->cache;
    const kvc_coder *key = &cache->layers[0].coder[0], *value = &cache->layers[0].coder[1];
    size_t n = (size_t)c->shape.n_heads * c->shape.d;
    c->layer.key_latent = cuda_latent(key);
    c->layer.value_latent = cuda_latent(value);
    if (cuda_has_map(key)) {
        uint32_t *fold = need(c->shape.n_heads * cuda_map_words(key, false), sizeof *fold);
        float *bias = need(n, sizeof *bias);
        cuda_fold_map(key, fold, bias);
        c->layer.fold = fold;
        c->layer.bias = bias;
    }
    if (cuda_has_map(value)) {
        uint32_t *unfold = need(c->shape.n_heads * cuda_map_words(value, true), sizeof *unfold);
        float *mean = need(n, sizeof *mean), *work = need(kvc_coder_work(value), sizeof *work);
        cuda_unfold_map(value, unfold, mean, work);
        c->layer.unfold = unfold;
        c->layer.mean = mean;
        free(work);
    }
}

static void make_costs(attend_case *c, const kvc_coder coder[2])
{
    uint32_t *costs = need(c->shape.n_heads + CUDA_MORE_COSTS, sizeof *costs);
    if (cuda_tile_costs(&coder[0], &coder[1], costs))
        c->layer.costs = costs;
    else
        free(costs);
}

static void describe(attend_case *c)
{
    kvc_cache *cache = c->cache;
    const cache_layer *l = &cache->layers[0];
    uint32_t n = c->shape.n_sequences;
    c->lengths = need(n, sizeof *c->lengths);
    c->packed = need(n, sizeof *c->packed);
    c->slots = need(n, sizeof *c->slots);
    for (uint32_t i = 0; i < n; i++)
        c->lengths[i] = (uint32_t)l->length[i], c->packed[i] = (uint32_t)l->packed[i], c->slots[i] = i;
    c->layer.pool = l->pool;
    c->layer.page_bytes = l->page_bytes;
    c->layer.value_offset = l->value_offset;
    c->layer.key_block = l->coder[0].block_bytes;
    c->layer.value_block = l->coder[1].block_bytes;
    cuda_table key = cuda_table_of(&l->coder[0]), value = cuda_table_of(&l->coder[1]);
    c->layer.key_counts = key.counts, c->layer.key_table = key.values, c->key_table_values = key.n_values;
    c->layer.value_counts = value.counts, c->layer.value_table = value.values, c->value_table_values = value.n_values;
    make_costs(c, l->coder);
    cuda_table_steps(&l->coder[0], c->layer.key_steps);
    cuda_table_steps(&l->coder[1], c->layer.value_steps);
    c->layer.rows = l->rows;
    c->layer.page_table = cache->pages;
    c->layer.length = c->lengths;
    c->layer.packed = c->packed;
    c->layer.page_stride = cache->n_pages;
    c->layer.capacity = cache->capacity;
    c->layer.n_heads = cache->n_kv_heads;
    c->layer.sinks = cache->policy.sinks;
    c->pool_bytes = cache->n_pages * l->page_bytes;
    c->rows_bytes = (size_t)n * 2 * cache->n_kv_heads * cache->capacity * cache->head_dim * 2;
}

/* Rows [length][d] of one side and head as the cache holds them. */
static float *decoded(const attend_case *c, int side, uint32_t sequence, uint32_t head)
{
    kvc_cache *cache = c->cache;
    const kvc_coder *coder = &cache->layers[0].coder[side];
    uint32_t d = c->shape.d, n = c->lengths[sequence], packed = c->packed[sequence];
    float *all = need((size_t)n * d, sizeof *all), *work = need(kvc_coder_work(coder), sizeof *work);
    const uint16_t *rows = cache_rows(cache, 0, sequence, side, head);
    for (uint32_t row = 0; row < n - packed; row++) {
        uint32_t token = row < c->shape.sinks ? row : row + packed;
        kvc_rows_to_float(rows + (size_t)row * d, KVC_F16, d, all + (size_t)token * d);
    }
    for (uint32_t page = 0; page < packed / c->shape.page; page++)
        kvc_coder_decode(coder, head, cache_block(cache, 0, sequence, page, side, head),
                         all + (size_t)(c->shape.sinks + page * c->shape.page) * d, d, work);
    free(work);
    return all;
}

/* Over tokens first .. n_seen - 1. */
static void attend_one(const attend_case *c, const float *keys, const float *values, uint32_t first, uint32_t n_seen,
                       const float *q, double *out)
{
    uint32_t d = c->shape.d;
    double most = -INFINITY, sum = 0, *p = need(n_seen, sizeof *p);
    for (uint32_t t = first; t < n_seen; t++) {
        for (uint32_t i = 0; i < d; i++) p[t] += (double)q[i] * keys[(size_t)t * d + i];
        p[t] /= sqrt(d);
        if (c->shape.softcap > 0.0f) p[t] = c->shape.softcap * tanh(p[t] / c->shape.softcap);
        most = fmax(most, p[t]);
    }
    for (uint32_t t = first; t < n_seen; t++) sum += p[t] = exp(p[t] - most);
    for (uint32_t t = first; t < n_seen; t++)
        for (uint32_t i = 0; i < d; i++) out[i] += p[t] / sum * values[(size_t)t * d + i];
    free(p);
}

static void make_answer(attend_case *c)
{
    const attend_shape *s = &c->shape;
    uint32_t d = s->d, n_query_heads = s->n_heads * s->group;
    size_t n = (size_t)s->n_sequences * s->n_queries * n_query_heads * d;
    uint64_t state = 362436069;
    c->queries = need(n, sizeof *c->queries);
    c->want = need(n, sizeof *c->want);
    for (size_t i = 0; i < n; i++) c->queries[i] = 1.5f * params_random(&state);
    for (uint32_t sequence = 0; sequence < s->n_sequences; sequence++)
        for (uint32_t head = 0; head < s->n_heads; head++) {
            float *keys = decoded(c, 0, sequence, head), *values = decoded(c, 1, sequence, head);
            for (uint32_t i = 0; i < s->n_queries * s->group; i++) {
                uint32_t token = i / s->group, seen = c->lengths[sequence] - s->n_queries + token + 1;
                size_t at =
                    (((size_t)sequence * s->n_queries + token) * n_query_heads + head * s->group + i % s->group) * d;
                uint32_t first = s->sliding_window && seen > s->sliding_window ? seen - s->sliding_window : 0;
                attend_one(c, keys, values, first, seen, c->queries + at, c->want + at);
            }
            free(keys);
            free(values);
        }
}

void attend_case_new(attend_case *out, const attend_shape *shape)
{
    kvc_error err;
    *out = (attend_case){.shape = *shape};
    make_config(out);
    uint64_t n_tokens = 0;
    for (uint32_t i = 0; i < shape->n_sequences; i++) n_tokens += shape->lengths[i];
    kvc_cache_options options = {
        .size = sizeof options, .max_sequences = shape->n_sequences, .max_tokens = n_tokens + 1};
    if (kvc_cache_create((kvc_cache **)&out->cache, out->config, &options, &err)) die("create", &err);
    fill(out);
    describe(out);
    make_maps(out);
    make_answer(out);
}

void attend_case_free(attend_case *c)
{
    free((void *)c->layer.fold);
    free((void *)c->layer.bias);
    free((void *)c->layer.unfold);
    free((void *)c->layer.mean);
    free((void *)c->layer.costs);
    free(c->lengths);
    free(c->packed);
    free(c->slots);
    free(c->queries);
    free(c->want);
    kvc_cache_destroy(c->cache);
    kvc_config_close(c->config);
    free(c->image);
}

double attend_case_error(const attend_case *c, const float *got)
{
    const attend_shape *s = &c->shape;
    size_t n = (size_t)s->n_sequences * s->n_queries * s->n_heads * s->group * s->d;
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(got[i])) return INFINITY;
        error += (got[i] - c->want[i]) * (got[i] - c->want[i]);
        norm += c->want[i] * c->want[i];
    }
    return sqrt(error / norm);
}
