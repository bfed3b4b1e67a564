/* attend_case.c - attend_case.h: rows go through libkvc's own append; what should come out is worked out in double
 * from its decoded pages. */
#include "attend_case.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../unit/params_rig.h"
#include "cache.h"
#include "cfg_write.h"

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

/* One layer; the values' constants behind the keys'. */
static void make_config(attend_case *c)
{
    const attend_shape *s = &c->shape;
    kvc_layer layer = {0};
    kvc_error err;
    kvc_codec *side[2] = {&layer.key, &layer.value};
    const char *spec[2] = {s->key, s->value};
    uint8_t *params = need(1u << 22, 1);
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        kvc_coder coder;
        if (kvc_codec_parse(side[i], spec[i], &err)) die(spec[i], &err);
        if (kvc_coder_init(&coder, side[i], NULL, s->n_heads, s->d, s->page, &err)) die(spec[i], &err);
        side[i]->param_bytes = coder.codec.param_bytes;
        if (!coder.codec.param_bytes) continue;
        size_t own_bytes;
        void *own = codec_params(side[i], s->n_heads, s->d, s->page, 11 + (uint64_t)i, &own_bytes);
        side[i]->param_offset = (uint32_t)n;
        memcpy(params + n, own, own_bytes);
        n += (own_bytes + 63u) / 64u * 64u;
        free(own);
    }
    kvc_model_info model = {
        .name = "case", .architecture = "llama", .n_layers = 1, .hidden_size = 1, .vocab_size = 1};
    model.n_query_heads = s->n_heads * s->group;
    model.n_kv_heads = s->n_heads;
    model.head_dim = s->d;
    cfg_source source = {.model = &model, .tokens = {s->sinks, s->window, s->page}, .layers = &layer};
    source.params = n ? params : NULL;
    source.params_bytes = n;
    size_t bytes;
    if (cfg_write(&source, &c->image, &bytes, &err)) die("cfg_write", &err);
    if (kvc_config_open_memory((kvc_config **)&c->config, c->image, bytes, &err)) die("open", &err);
    free(params);
}

static void fill(attend_case *c)
{
    const attend_shape *s = &c->shape;
    size_t width = (size_t)s->n_heads * s->d;
    kvc_error err;
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < s->n_sequences; i++) {
        float *rows = need(2 * s->lengths[i] * width, sizeof *rows);
        for (size_t k = 0; k < 2 * s->lengths[i] * width; k++)
            rows[k] = params_random(&state) * (k % 7 ? 1.0f : 4.0f);
        kvc_batch batch = {1, &i, &s->lengths[i]};
        if (s->lengths[i] && kvc_cache_append(c->cache, 0, &batch, rows, rows + s->lengths[i] * width, KVC_F32, &err))
            die("append", &err);
        free(rows);
    }
}

/* Latent channels of every unit vector, from the coder's own fold and unfold. */
static void make_maps(attend_case *c)
{
    kvc_cache *cache = c->cache;
    const kvc_coder *key = &cache->layers[0].coder[0], *value = &cache->layers[0].coder[1];
    uint32_t d = c->shape.d, heads = c->shape.n_heads, dk = key->latent_dim, dv = value->latent_dim;
    c->layer.key_latent = dk;
    c->layer.value_latent = dv;
    float *work = need(kvc_coder_work(value), sizeof *work);
    if (key->codec.n_transforms || key->codec.param_bytes) {
        float *fold = need((size_t)heads * d * dk, sizeof *fold), *bias = need((size_t)heads * d, sizeof *bias);
        for (uint32_t i = 0; i < heads * d; i++) {
            float unit[512] = {0};
            unit[i % d] = 1.0f;
            bias[i] = kvc_coder_fold_query(key, i / d, unit, fold + (size_t)i * dk);
        }
        c->layer.fold = fold;
        c->layer.bias = bias;
    }
    if (value->codec.n_transforms || value->codec.param_bytes) {
        float *unfold = need((size_t)heads * d * dv, sizeof *unfold), *mean = need((size_t)heads * d, sizeof *mean);
        for (uint32_t head = 0; head < heads; head++) {
            float latent[512] = {0}, out[512];
            kvc_coder_unfold_output(value, head, latent, 1.0f, mean + head * d, work);
            for (uint32_t i = 0; i < dv; i++) {
                memset(out, 0, sizeof out);
                latent[i] = 1.0f;
                kvc_coder_unfold_output(value, head, latent, 0.0f, out, work);
                latent[i] = 0.0f;
                memcpy(unfold + ((size_t)head * dv + i) * d, out, d * sizeof *out);
            }
        }
        c->layer.unfold = unfold;
        c->layer.mean = mean;
    }
    free(work);
}

/* Codes that heads share out have numbers of codes before scales and order, and a table of each length (FORMAT.md,
 * "vq"); other codecs here have one. */
static void find_table(const kvc_coder *coder, const uint32_t **counts, const uint16_t **table, size_t *n_values)
{
    const uint32_t *at = coder->part[KVC_SYMBOL_PIECE];
    size_t heads = coder->n_kv_heads, d = coder->head_dim, entries = (size_t)1 << coder->codec.bits;
    if (!at) return;
    bool shared = coder->codec.dims == 0;
    size_t n_codes = shared ? coder->codec.segment[5] * heads * d / 64 : heads * d / coder->codec.dims;
    *counts = shared ? at : NULL;
    *table = (const uint16_t *)(at + (shared ? heads : 0) + n_codes) + (heads * d + 1) / 2 * 2;
    *n_values = entries * (shared ? 31 : coder->codec.dims);
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
    find_table(&l->coder[0], &c->layer.key_counts, &c->layer.key_table, &c->key_table_values);
    find_table(&l->coder[1], &c->layer.value_counts, &c->layer.value_table, &c->value_table_values);
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
