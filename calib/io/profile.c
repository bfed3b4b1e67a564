/* profile.c - profiles in memory. */
#include "profile_fields.h"
#include <stdlib.h>
#include <string.h>

static kvc_status check_count(uint64_t n, const char *what, kvc_error *err)
{
    if (n >= 1 && n <= PROFILE_MAX_COUNT) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "%s: %llu is not between 1 and %u", what, (unsigned long long)n,
                    PROFILE_MAX_COUNT);
}

kvc_status profile_check_shape(const kvc_model_info *m, uint64_t n_keys, uint64_t n_values, kvc_error *err)
{
    KVC_TRY(check_count(m->n_layers, "model/n_layers", err));
    KVC_TRY(check_count(m->n_query_heads, "model/n_query_heads", err));
    KVC_TRY(check_count(m->n_kv_heads, "model/n_kv_heads", err));
    KVC_TRY(check_count(n_keys, "candidates/keys", err));
    KVC_TRY(check_count(n_values, "candidates/values", err));
    if (m->head_dim < 8 || m->head_dim > KVC_MAX_HEAD_DIM)
        return kvc_fail(err, KVC_INVALID, "model/head_dim: %u is not between 8 and %u", m->head_dim,
                        KVC_MAX_HEAD_DIM);
    return KVC_OK;
}

static kvc_status resolve(const profile *p, const char *side, const kvc_codec *in, uint32_t n, kvc_codec **codecs,
                          uint32_t **page, kvc_error *err)
{
    *codecs = calloc(n, sizeof **codecs);
    *page = calloc(n, sizeof **page);
    if (!*codecs || !*page) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    for (uint32_t i = 0; i < n; i++) {
        kvc_coder coder;
        kvc_error inner;
        const kvc_model_info *m = &p->model;
        kvc_status status = kvc_coder_init(&coder, &in[i], NULL, m->n_kv_heads, m->head_dim, p->tokens.page, &inner);
        if (status != KVC_OK) return kvc_fail(err, status, "candidates/%s[%u]: %s", side, i, inner.message);
        if (coder.page_bytes > UINT32_MAX)
            return kvc_fail(err, KVC_INVALID, "candidates/%s[%u]: a page of 4 GiB or more", side, i);
        (*codecs)[i] = coder.codec;
        (*page)[i] = (uint32_t)coder.page_bytes;
    }
    return KVC_OK;
}

static kvc_status allocate_arrays(profile *p, kvc_error *err)
{
    profile_array arrays[PROFILE_ARRAYS];
    profile_arrays(p, arrays);
    for (int i = 0; i < PROFILE_ARRAYS; i++) {
        *arrays[i].data = calloc(profile_array_count(&arrays[i]) + 1, sizeof(double)); /* no domains, no values */
        if (!*arrays[i].data) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    }
    size_t n = (size_t)p->n_layers * PROFILE_PIECES;
    p->key_parts = calloc(n * p->n_keys, sizeof *p->key_parts);
    p->value_parts = calloc(n * p->n_values, sizeof *p->value_parts);
    return p->key_parts && p->value_parts ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
}

kvc_status profile_new(profile **out, const kvc_model_info *model, const kvc_token_policy *tokens,
                       const kvc_codec *keys, uint32_t n_keys, const kvc_codec *values, uint32_t n_values,
                       kvc_error *err)
{
    *out = NULL;
    KVC_TRY(profile_check_shape(model, n_keys, n_values, err));
    profile *p = calloc(1, sizeof *p);
    if (!p) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    p->model = *model;
    p->tokens = *tokens;
    p->n_layers = model->n_layers;
    p->n_keys = n_keys;
    p->n_values = n_values;
    kvc_status status = resolve(p, "keys", keys, n_keys, &p->keys, &p->key_page, err);
    if (status == KVC_OK) status = resolve(p, "values", values, n_values, &p->values, &p->value_page, err);
    if (status == KVC_OK) status = allocate_arrays(p, err);
    if (status == KVC_OK)
        *out = p;
    else
        profile_free(p);
    return status;
}

kvc_status profile_add_anchor(profile *p, const uint16_t *key, const uint16_t *value, kvc_error *err)
{
    size_t n = p->n_layers, bytes = n * sizeof *key;
    profile_anchor *larger = realloc(p->anchors, (p->n_anchors + 1u) * sizeof *larger);
    if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    p->anchors = larger;
    KVC_TRY(profile_extend_domains(p, &p->anchor_domain_kl, p->n_anchors, 0, err));
    profile_anchor *a = &larger[p->n_anchors];
    *a = (profile_anchor){.key = malloc(bytes), .value = malloc(bytes)};
    if (!a->key || !a->value) {
        free(a->key);
        free(a->value);
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    }
    memcpy(a->key, key, bytes);
    memcpy(a->value, value, bytes);
    p->n_anchors++;
    return KVC_OK;
}

kvc_status profile_add_price(profile *p, const profile_price *price, kvc_error *err)
{
    profile_price *larger = realloc(p->prices, (p->n_prices + 1u) * sizeof *larger);
    if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    p->prices = larger;
    KVC_TRY(profile_extend_domains(p, &p->price_domain_kl, p->n_prices, price->kl, err));
    larger[p->n_prices++] = *price;
    return KVC_OK;
}

void profile_free(profile *p)
{
    profile_array arrays[PROFILE_ARRAYS];
    if (!p) return;
    profile_arrays(p, arrays);
    for (int i = 0; i < PROFILE_ARRAYS; i++) free(*arrays[i].data);
    for (uint32_t i = 0; i < p->n_anchors; i++) {
        free(p->anchors[i].key);
        free(p->anchors[i].value);
    }
    free(p->anchors);
    free(p->anchor_domain_kl);
    free(p->price_domain_kl);
    free(p->domains);
    free(p->prices);
    free(p->params);
    free(p->key_parts);
    free(p->value_parts);
    free(p->recipe);
    free(p->keys);
    free(p->values);
    free(p->key_page);
    free(p->value_page);
    free(p);
}

kvc_status profile_copy_measurements(profile *to, profile *from, kvc_error *err)
{
    profile_array a[PROFILE_ARRAYS], b[PROFILE_ARRAYS];
    profile_arrays(to, a);
    profile_arrays(from, b);
    for (size_t i = 0; i < PROFILE_ARRAYS; i++)
        if (a[i].rank != b[i].rank || memcmp(a[i].dims, b[i].dims, sizeof a[i].dims) != 0)
            return kvc_fail(err, KVC_MISMATCH, "%s has another shape", a[i].path);
    for (size_t i = 0; i < PROFILE_ARRAYS; i++)
        memcpy(*a[i].data, *b[i].data, profile_array_count(&a[i]) * sizeof(double));
    KVC_TRY(profile_copy_params(to, from, err));
    for (uint32_t i = 0; i < from->n_prices; i++) {
        size_t D = to->n_domains, row = to->n_prices * D;
        KVC_TRY(profile_add_price(to, &from->prices[i], err));
        if (D) memcpy(to->price_domain_kl + row, from->price_domain_kl + i * D, D * sizeof(double));
    }
    to->layers_done = from->layers_done;
    return KVC_OK;
}
