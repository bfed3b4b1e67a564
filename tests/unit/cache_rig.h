/* cache_rig.h - a configuration, a cache and the rows that went into it, for the tests of the runtime. */
#ifndef TESTS_UNIT_CACHE_RIG_H
#define TESTS_UNIT_CACHE_RIG_H
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cfg_write.h"
#include "check_main.h"
#include "params_rig.h"

typedef struct rig {
    kvc_model_info model;
    kvc_token_policy policy;
    void *image;
    kvc_config *cfg;
    kvc_cache *cache;
    float *keys, *values; /* [n_rows][H][d] of sequence 0, as fp16 keeps them */
    uint32_t n_rows;
    kvc_attend_options options; /* size 0: none are given */
} rig;

/* Uniform in [-1, 1), reproducible. */
static inline float rig_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

/* Rows with channels of different size and sign, as keys have them. */
static inline void rig_fill(float *rows, size_t n_rows, uint32_t d, uint64_t seed)
{
    for (size_t i = 0; i < n_rows * d; i++) {
        float channel = 1.0f + 0.25f * (float)(i % d % 7);
        rows[i] = kvc_fp16_to_float(kvc_fp16_from_float(rig_random(&seed) * channel + 0.1f * (float)(i % d % 3)));
    }
}

/* Constants for every codec that needs them, one behind the other; NULL if none does. */
static inline void *rig_params(const rig *r, kvc_layer *layers, size_t *n_bytes)
{
    uint8_t *all = NULL;
    *n_bytes = 0;
    for (uint32_t i = 0; i < 2 * r->model.n_layers; i++) {
        kvc_codec *codec = i % 2 ? &layers[i / 2].value : &layers[i / 2].key;
        size_t n, at = (*n_bytes + 63) / 64 * 64;
        void *own = codec_params(codec, r->model.n_kv_heads, r->model.head_dim, r->policy.page, i + 1, &n);
        if (!own) continue;
        all = realloc(all, at + n);
        memset(all + *n_bytes, 0, at - *n_bytes);
        memcpy(all + at, own, n);
        codec->param_offset = (uint32_t)at;
        *n_bytes = at + n;
        free(own);
    }
    return all;
}

static inline void rig_config(rig *r, uint32_t n_layers, uint32_t n_query_heads, uint32_t n_kv_heads, uint32_t d,
                              kvc_token_policy policy, const char *key, const char *value)
{
    kvc_error err = {""};
    kvc_layer layers[8];
    size_t n_bytes;
    memset(r, 0, sizeof *r);
    r->model = (kvc_model_info){.name = "rig",
                                .architecture = "llama",
                                .n_layers = n_layers,
                                .n_query_heads = n_query_heads,
                                .n_kv_heads = n_kv_heads,
                                .head_dim = d,
                                .hidden_size = 64,
                                .vocab_size = 100,
                                .rope_theta = 1e4};
    r->policy = policy;
    for (uint32_t i = 0; i < n_layers; i++) {
        ck_assert_msg(kvc_codec_parse(&layers[i].key, key, &err) == KVC_OK, "%s", err.message);
        ck_assert_msg(kvc_codec_parse(&layers[i].value, value, &err) == KVC_OK, "%s", err.message);
    }
    cfg_source source = {.model = &r->model, .tokens = policy, .layers = layers};
    source.params = rig_params(r, layers, &source.params_bytes);
    ck_assert_msg(cfg_write(&source, &r->image, &n_bytes, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(kvc_config_open_memory(&r->cfg, r->image, n_bytes, &err) == KVC_OK, "%s", err.message);
    free((void *)source.params);
}

static inline void rig_cache(rig *r, uint32_t n_sequences, uint64_t max_tokens)
{
    kvc_error err = {""};
    kvc_cache_options options = {.size = sizeof options, .max_sequences = n_sequences, .max_tokens = max_tokens};
    ck_assert_msg(kvc_cache_create(&r->cache, r->cfg, &options, &err) == KVC_OK, "%s", err.message);
}

static inline void rig_rows(rig *r, uint32_t n_rows, uint64_t seed)
{
    size_t row_values = (size_t)r->model.n_kv_heads * r->model.head_dim;
    r->n_rows = n_rows;
    r->keys = malloc((n_rows + 1) * row_values * sizeof *r->keys);
    r->values = malloc((n_rows + 1) * row_values * sizeof *r->values);
    rig_fill(r->keys, (size_t)n_rows * r->model.n_kv_heads, r->model.head_dim, seed);
    rig_fill(r->values, (size_t)n_rows * r->model.n_kv_heads, r->model.head_dim, seed + 1);
}

static inline void rig_free(rig *r)
{
    kvc_cache_destroy(r->cache);
    kvc_config_close(r->cfg);
    free(r->image);
    free(r->keys);
    free(r->values);
}

/* Rows first .. first + n - 1 of the rig to one sequence. */
static inline kvc_status rig_append(rig *r, uint32_t layer, uint32_t sequence, uint32_t first, uint32_t n)
{
    size_t row_values = (size_t)r->model.n_kv_heads * r->model.head_dim;
    kvc_batch batch = {1, &sequence, &n};
    return kvc_cache_append(r->cache, layer, &batch, r->keys + first * row_values, r->values + first * row_values,
                            KVC_F32, NULL);
}

static inline void rig_append_all_layers(rig *r, uint32_t sequence, uint32_t first, uint32_t n)
{
    for (uint32_t i = 0; i < r->model.n_layers; i++) ck_assert_int_eq(rig_append(r, i, sequence, first, n), KVC_OK);
}

/* queries, out [n][n_query_heads][d] of the newest n tokens */
static inline void rig_attend(const rig *r, uint32_t layer, uint32_t sequence, uint32_t n, const float *queries,
                              float *out)
{
    kvc_error err = {""};
    kvc_batch batch = {1, &sequence, &n};
    void *work = aligned_alloc(64, (kvc_cache_attend_work(r->cache) + 63) / 64 * 64);
    kvc_status status = kvc_cache_attend(r->cache, layer, &batch, queries, KVC_F32, out, work,
                                         r->options.size ? &r->options : NULL, &err);
    ck_assert_msg(status == KVC_OK, "%s", err.message);
    free(work);
}

/* The rows as attention should see them when n tokens are there and `packed` of them compressed: decoded, in double.
 */
static inline double *rig_decoded(const rig *r, const kvc_codec *codec, const float *rows, uint32_t n,
                                  uint32_t packed)
{
    uint32_t heads = r->model.n_kv_heads, d = r->model.head_dim, page = r->policy.page, sinks = r->policy.sinks;
    double *out = malloc(((size_t)n * heads * d + 1) * sizeof *out);
    for (size_t i = 0; i < (size_t)n * heads * d; i++) out[i] = rows[i];
    kvc_coder coder;
    size_t n_bytes;
    const uint8_t *params = kvc_config_parameters(r->cfg, &n_bytes);
    if (params) params += codec->param_offset;
    ck_assert_int_eq(kvc_coder_init(&coder, codec, params, heads, d, page, NULL), KVC_OK);
    uint32_t row = coder.head_dim; /* of one head, or of all */
    float *work = malloc(kvc_coder_work(&coder) * sizeof *work),
          *decoded = malloc((size_t)page * row * sizeof *decoded);
    for (uint32_t first = sinks; first < sinks + packed; first += page) {
        for (uint32_t h = 0; h < coder.n_kv_heads; h++) {
            size_t at = (size_t)first * heads * d + (size_t)h * row;
            void *block = malloc(kvc_coder_block(&coder, h).bytes);
            kvc_coder_encode(&coder, h, rows + at, (size_t)heads * d, block, work);
            kvc_coder_decode(&coder, h, block, decoded, row, work);
            for (uint32_t t = 0; t < page; t++)
                for (uint32_t c = 0; c < row; c++) out[at + (size_t)t * heads * d + c] = decoded[(size_t)t * row + c];
            free(block);
        }
    }
    free(work);
    free(decoded);
    return out;
}

/* Softmax attention in double of query [d], token n_seen - 1, over the tokens of one KV head that it sees, with the
 * rig's sliding window and softcap. */
static inline void rig_reference(const rig *r, const double *keys, const double *values, uint32_t kv_head,
                                 uint32_t n_seen, const float *query, double *out)
{
    uint32_t heads = r->model.n_kv_heads, d = r->model.head_dim, window = r->options.sliding_window;
    uint32_t first = window && window < n_seen ? n_seen - window : 0;
    double cap = r->options.softcap;
    double *p = malloc(n_seen * sizeof *p), most = -INFINITY, sum = 0.0;
    for (uint32_t t = first; t < n_seen; t++) {
        p[t] = 0.0;
        for (uint32_t c = 0; c < d; c++) p[t] += query[c] * keys[((size_t)t * heads + kv_head) * d + c];
        p[t] /= sqrt((double)d);
        if (cap > 0.0) p[t] = cap * tanh(p[t] / cap);
        if (p[t] > most) most = p[t];
    }
    for (uint32_t t = first; t < n_seen; t++) sum += p[t] = exp(p[t] - most);
    for (uint32_t c = 0; c < d; c++) {
        out[c] = 0.0;
        for (uint32_t t = first; t < n_seen; t++)
            out[c] += p[t] / sum * values[((size_t)t * heads + kv_head) * d + c];
    }
    free(p);
}

#endif
