/* test_io_profile_params.c - constants of fitted codecs: kept once, found again, put together for a plan. */
#include "check_main.h"
#include "profile.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { L = 2, H = 2, D = 16, PAGE = 32 };

static kvc_error err;
static const kvc_model_info model = {.name = "tiny",
                                     .architecture = "llama",
                                     .n_layers = L,
                                     .n_query_heads = 4,
                                     .n_kv_heads = H,
                                     .head_dim = D,
                                     .hidden_size = 64,
                                     .vocab_size = 320,
                                     .rope_theta = 1e4};
static const kvc_token_policy tokens = {4, 32, PAGE};
static const char *const key_specs[] = {"int4.ch", "vq4x4+klt", "vq2x2+klt", "lut3"};
static const char *const value_specs[] = {"fp16", "vq4x4+klt"};
enum { K = 4, V = 2 };

static kvc_codec codec(const char *spec)
{
    kvc_codec c;
    ck_assert_msg(kvc_codec_parse(&c, spec, &err) == KVC_OK, "%s", err.message);
    return c;
}

static profile *new_profile(void)
{
    kvc_codec keys[K], values[V];
    profile *p;
    for (int i = 0; i < K; i++) keys[i] = codec(key_specs[i]);
    for (int i = 0; i < V; i++) values[i] = codec(value_specs[i]);
    ck_assert_int_eq(profile_new(&p, &model, &tokens, keys, K, values, V, &err), KVC_OK);
    return p;
}

/* Constants that a coder takes: scales of `mark`, which tells blocks apart, channels in their order, tables of zeros.
 * The klt part depends on the layer alone, as when candidates share a fit. */
static void *block(const kvc_codec *c, uint32_t layer, float mark)
{
    kvc_coder coder;
    ck_assert_int_eq(kvc_coder_init(&coder, c, NULL, H, D, PAGE, &err), KVC_OK);
    uint8_t *bytes = aligned_alloc(64, (coder.codec.param_bytes + 63u) / 64 * 64);
    memset(bytes, 0, (coder.codec.param_bytes + 63u) / 64 * 64);
    float *first = (float *)(bytes + kvc_coder_part_offset(&coder, 0));
    if (kvc_coder_part_bytes(&coder, 0)) first[0] = (float)(layer + 1);
    float *scale = (float *)(bytes + kvc_coder_part_offset(&coder, 4));
    uint32_t n_scales = H * (D / (c->dims ? c->dims : 1u));
    for (uint32_t i = 0; i < n_scales; i++) scale[i] = mark;
    uint16_t *order = (uint16_t *)(scale + n_scales);
    for (uint32_t i = 0; i < H * D; i++) order[i] = (uint16_t)(i % D);
    return bytes;
}

static void keep(profile *p, bool values, uint32_t layer, uint32_t candidate, float mark)
{
    const kvc_codec *c = values ? &p->values[candidate] : &p->keys[candidate];
    void *bytes = block(c, layer, mark);
    ck_assert_msg(profile_keep_params(p, values, layer, candidate, bytes, &err) == KVC_OK, "%s", err.message);
    free(bytes);
}

static profile *filled(void)
{
    profile *p = new_profile();
    for (uint32_t layer = 0; layer < L; layer++) {
        for (uint32_t i = 1; i < K; i++) keep(p, false, layer, i, (float)(10 * layer + i));
        keep(p, true, layer, 1, 99);
    }
    p->layers_done = L;
    return p;
}

START_TEST(profile_params__come_back_whole)
{
    profile *p = filled();
    for (uint32_t layer = 0; layer < L; layer++) {
        for (uint32_t i = 1; i < K; i++) {
            void *found, *wanted = block(&p->keys[i], layer, (float)(10 * layer + i));
            ck_assert_int_eq(profile_get_params(p, false, layer, i, &found, &err), KVC_OK);
            ck_assert_mem_eq(found, wanted, p->keys[i].param_bytes);
            free(found);
            free(wanted);
        }
    }
    void *none;
    ck_assert_int_eq(profile_get_params(p, false, 0, 0, &none, &err), KVC_OK);
    ck_assert_ptr_null(none);
    profile_free(p);
}
END_TEST

START_TEST(profile_params__shared_parts_are_kept_once)
{
    profile *p = filled();
    uint64_t *first = p->key_parts + 1 * 5, *second = p->key_parts + 2 * 5;
    ck_assert_uint_eq(first[0], second[0]);
    ck_assert_uint_ne(first[4], second[4]);
    uint64_t before = p->n_params;
    keep(p, false, 1, 2, 12); /* its klt is that of the candidate before; the symbol is kept anew */
    ck_assert_uint_lt(p->n_params - before, p->keys[2].param_bytes / 2);
    profile_free(p);
}
END_TEST

START_TEST(profile_params__survive_the_file)
{
    char path[4096];
    profile *p = filled(), *q;
    snprintf(path, sizeof path, "%s/test_io_profile_params.h5", getenv("KVC_TEST_BUILD"));
    profile_price price = {1, 1, 1, 0.25, 0.01};
    ck_assert_int_eq(profile_set_domains(p, (const char *[]){"a.txt", "b.txt"}, 2, &err), KVC_OK);
    ck_assert_int_eq(profile_add_price(p, &price, &err), KVC_OK);
    p->price_domain_kl[1] = 0.5;
    ck_assert_msg(profile_save(p, path, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(profile_load(&q, path, &err) == KVC_OK, "%s", err.message);
    ck_assert_uint_eq(q->n_params, p->n_params);
    ck_assert_mem_eq(q->params, p->params, p->n_params);
    ck_assert_uint_eq(q->n_prices, 1);
    ck_assert_uint_eq(q->prices[0].layer, 1);
    ck_assert_double_eq(q->prices[0].kl, 0.25);
    ck_assert(q->price_domain_kl[0] == 0.25 && q->price_domain_kl[1] == 0.5);
    ck_assert_int_eq(profile_copy_measurements(q, p, &err), KVC_OK);
    ck_assert_uint_eq(q->n_prices, 2);
    ck_assert(q->price_domain_kl[2] == 0.25 && q->price_domain_kl[3] == 0.5);
    p->price_domain_kl[1] = INFINITY;
    ck_assert_int_eq(profile_save(p, path, &err), KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(err.message, "domains/price_kl: value 1"));
    p->price_domain_kl[1] = 0.5;
    /* a part beyond the heap, constants that no codec takes, a heap with a tail */
    uint64_t saved = p->key_parts[5];
    p->key_parts[5] = p->n_params - 8;
    ck_assert_int_eq(profile_save(p, path, &err), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(err.message, "fit/key_parts"));
    p->key_parts[5] = saved;
    float *scale = (float *)(p->params + p->key_parts[5 + 4]), one = *scale;
    *scale = -1;
    ck_assert_int_eq(profile_save(p, path, &err), KVC_INVALID);
    *scale = one;
    ck_assert_int_eq(profile_save(p, path, &err), KVC_OK);
    profile_free(p);
    profile_free(q);
}
END_TEST

START_TEST(profile_bind__lays_out_a_plan)
{
    profile *p = filled();
    kvc_layer layers[L] = {{codec("vq4x4+klt"), codec("int4")}, {codec("int4.ch"), codec("vq4x4+klt")}};
    void *params;
    size_t n;
    ck_assert_msg(profile_bind_params(p, &model, PAGE, layers, &params, &n, &err) == KVC_OK, "%s", err.message);
    ck_assert_uint_eq(layers[0].key.param_offset, 0);
    ck_assert_uint_eq(layers[0].key.param_bytes, p->keys[1].param_bytes);
    ck_assert_uint_eq(layers[1].value.param_offset % 64, 0);
    ck_assert_uint_ge(layers[1].value.param_offset, layers[0].key.param_bytes);
    ck_assert_uint_eq(layers[0].value.param_bytes, 0);
    void *wanted = block(&p->values[1], 1, 99);
    ck_assert_mem_eq((uint8_t *)params + layers[1].value.param_offset, wanted, p->values[1].param_bytes);
    ck_assert_uint_ge(n, layers[1].value.param_offset + layers[1].value.param_bytes);
    free(wanted);
    free(params);
    profile_free(p);
}
END_TEST

START_TEST(profile_bind__names_what_has_no_fit)
{
    profile *p = filled();
    kvc_layer layers[L] = {{codec("int4.ch"), codec("int4")}, {codec("int4.ch"), codec("vq2x2+klt")}};
    void *params;
    size_t n;
    ck_assert_int_eq(profile_bind_params(p, &model, PAGE, layers, &params, &n, &err), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(err.message, "layer 1 value"));
    ck_assert_ptr_nonnull(strstr(err.message, "vq2x2+klt"));
    ck_assert_int_eq(profile_bind_params(NULL, &model, PAGE, layers, &params, &n, &err), KVC_INPUT);
    layers[1].value = codec("int4");
    ck_assert_int_eq(profile_bind_params(NULL, &model, PAGE, layers, &params, &n, &err), KVC_OK);
    ck_assert_ptr_null(params);
    ck_assert_uint_eq(n, 0);
    profile_free(p);
}
END_TEST

CHECK_MAIN("profile_params", profile_params__come_back_whole, profile_params__shared_parts_are_kept_once,
           profile_params__survive_the_file, profile_bind__lays_out_a_plan, profile_bind__names_what_has_no_fit)
