/* profile_load.c - profile.h5, read and validated. Objects that the schema does not name are ignored. */
#include "output.h"
#include "profile_fields.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE ((size_t)1 << 32)

typedef struct loading {
    h5_file file;
    profile head; /* fixed fields only; owns nothing */
    uint64_t n_keys, n_values, n_domains, n_anchors, n_prices, n_params;
    profile_columns columns;
    kvc_codec *keys, *values;
    profile *profile;
    kvc_error *err;
} loading;

static kvc_status get_all(loading *l, const h5_field *fields, size_t n)
{
    for (size_t i = 0; i < n; i++) KVC_TRY(h5_get(&l->file, &fields[i], l->err));
    return KVC_OK;
}

static kvc_status bad(const loading *l, const char *what)
{
    return kvc_fail(l->err, KVC_FORMAT, "%s: %s", l->file.name, what);
}

static kvc_status get_shapes(loading *l)
{
    h5_field head[PROFILE_HEAD];
    kvc_error inner;
    profile_head(&l->head, head);
    KVC_TRY(get_all(l, head, PROFILE_HEAD));
    KVC_TRY(h5_length(&l->file, "candidates/keys", &l->n_keys, l->err));
    KVC_TRY(h5_length(&l->file, "candidates/values", &l->n_values, l->err));
    KVC_TRY(h5_length(&l->file, "anchors/kl", &l->n_anchors, l->err));
    KVC_TRY(h5_length(&l->file, "prices/kl", &l->n_prices, l->err));
    KVC_TRY(h5_length(&l->file, "fit/parameters", &l->n_params, l->err));
    KVC_TRY(h5_length(&l->file, PROFILE_DOMAIN_NAMES, &l->n_domains, l->err));
    if (l->n_domains > PROFILE_MAX_COUNT) return bad(l, PROFILE_DOMAIN_NAMES ": too many");
    if (profile_check_shape(&l->head.model, l->n_keys, l->n_values, &inner) != KVC_OK) return bad(l, inner.message);
    return KVC_OK;
}

/* All arrays lie in the file as they do in memory: a file that is smaller cannot hold the shapes it claims. */
static kvc_status check_size(loading *l)
{
    profile_array arrays[PROFILE_ARRAYS];
    uint64_t need = 0;
    l->head.n_layers = l->head.model.n_layers;
    l->head.n_keys = (uint32_t)l->n_keys;
    l->head.n_values = (uint32_t)l->n_values;
    l->head.n_domains = (uint32_t)l->n_domains;
    profile_arrays(&l->head, arrays);
    for (int i = 0; i < PROFILE_ARRAYS; i++) need += 8 * (uint64_t)profile_array_count(&arrays[i]);
    need += (l->n_keys + l->n_values) * (KVC_SPEC_MAX + (uint64_t)l->head.n_layers * PROFILE_PIECES * 8);
    need += l->n_domains * PROFILE_NAME;
    bool lists_fit = l->n_prices <= l->file.bytes / 8 && l->n_params <= l->file.bytes;
    if (l->n_domains) /* both have a row of domains */
        lists_fit = lists_fit && l->n_prices + l->n_anchors <= l->file.bytes / 8 / l->n_domains;
    if (need > l->file.bytes || !lists_fit || l->n_anchors > l->file.bytes / (4 * (uint64_t)l->head.n_layers))
        return bad(l, "model/n_layers: the file is too small for the shapes that it claims");
    return KVC_OK;
}

static kvc_status parse_specs(const loading *l, const char *path, char (*specs)[KVC_SPEC_MAX], size_t n,
                              kvc_codec **out)
{
    kvc_error inner;
    *out = calloc(n, sizeof **out);
    if (!*out) return kvc_fail(l->err, KVC_NO_MEMORY, "%s: out of memory", l->file.name);
    for (size_t i = 0; i < n; i++)
        if (kvc_codec_parse(&(*out)[i], specs[i], &inner) != KVC_OK)
            return kvc_fail(l->err, KVC_FORMAT, "%s: %s[%zu]: %s", l->file.name, path, i, inner.message);
    return KVC_OK;
}

static kvc_status check_blocks(const loading *l, const char *path, const uint32_t *stored, const uint32_t *computed,
                               size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (stored[i] != computed[i])
            return kvc_fail(l->err, KVC_FORMAT, "%s: %s[%zu]: %u bytes, this version makes %u", l->file.name, path, i,
                            stored[i], computed[i]);
    return KVC_OK;
}

static kvc_status get_candidates(loading *l)
{
    h5_field fields[PROFILE_CANDIDATE_FIELDS];
    profile_columns *c = &l->columns;
    kvc_error inner;
    profile_candidates(c, l->n_keys, l->n_values, fields);
    KVC_TRY(get_all(l, fields, PROFILE_CANDIDATE_FIELDS));
    KVC_TRY(parse_specs(l, "candidates/keys", c->keys, l->n_keys, &l->keys));
    KVC_TRY(parse_specs(l, "candidates/values", c->values, l->n_values, &l->values));
    kvc_status status = profile_new(&l->profile, &l->head.model, &l->head.tokens, l->keys, (uint32_t)l->n_keys,
                                    l->values, (uint32_t)l->n_values, &inner);
    if (status == KVC_NO_MEMORY) return kvc_fail(l->err, status, "%s: %s", l->file.name, inner.message);
    if (status != KVC_OK) return bad(l, inner.message);
    KVC_TRY(check_blocks(l, "candidates/key_page", c->key_page, l->profile->key_page, l->n_keys));
    return check_blocks(l, "candidates/value_page", c->value_page, l->profile->value_page, l->n_values);
}

static void copy_head(profile *p, const profile *head)
{
    p->seq_len = head->seq_len;
    p->probe_rows = head->probe_rows;
    p->n_tokens = head->n_tokens;
    p->seed = head->seed;
    p->layers_done = head->layers_done;
    memcpy(p->backend, head->backend, sizeof p->backend);
    memcpy(p->fingerprint, head->fingerprint, sizeof p->fingerprint);
}

static kvc_status get_recipe(loading *l)
{
    size_t n = 0;
    KVC_TRY(h5_text_bytes(&l->file, PROFILE_RECIPE, &n, l->err));
    char *text = malloc(n);
    if (!text) return kvc_fail(l->err, KVC_NO_MEMORY, "%s: out of memory", l->file.name);
    const h5_field recipe = {PROFILE_RECIPE, H5_TEXT, n, 0, {0}, text, NULL};
    kvc_status status = h5_get(&l->file, &recipe, l->err);
    if (status == KVC_OK && *text)
        l->profile->recipe = text;
    else
        free(text);
    return status;
}

static kvc_status get_arrays(loading *l)
{
    profile_array arrays[PROFILE_ARRAYS];
    profile_arrays(l->profile, arrays);
    for (int i = 0; i < PROFILE_ARRAYS; i++) {
        h5_field f = profile_array_field(&arrays[i]);
        KVC_TRY(h5_get(&l->file, &f, l->err));
    }
    return KVC_OK;
}

static kvc_status get_anchors(loading *l)
{
    h5_field fields[PROFILE_ANCHOR_FIELDS];
    profile_columns *c = &l->columns;
    profile *p = l->profile;
    profile_anchors(c, l->n_anchors, p->n_layers, fields);
    KVC_TRY(get_all(l, fields, PROFILE_ANCHOR_FIELDS));
    for (size_t i = 0; i < l->n_anchors; i++) {
        KVC_TRY(profile_add_anchor(p, c->anchor_key + i * p->n_layers, c->anchor_value + i * p->n_layers, l->err));
        profile_anchor *a = &p->anchors[i];
        a->local_loss = c->local_loss[i];
        a->kl = c->kl[i];
        a->kl_stderr = c->kl_stderr[i];
        a->ppl_ref = c->ppl_ref[i];
        a->ppl = c->ppl[i];
        a->n_tokens = c->n_tokens[i];
    }
    return KVC_OK;
}

/* After anchors and prices, of which each has a row. */
static kvc_status get_domains(loading *l)
{
    h5_field fields[PROFILE_DOMAIN_FIELDS];
    profile_domains(l->profile, fields);
    return get_all(l, fields, PROFILE_DOMAIN_FIELDS);
}

static kvc_status get_prices(loading *l)
{
    h5_field fields[PROFILE_PRICE_FIELDS];
    profile_columns *c = &l->columns;
    profile_prices(c, l->n_prices, fields);
    KVC_TRY(get_all(l, fields, PROFILE_PRICE_FIELDS));
    for (size_t i = 0; i < l->n_prices; i++) {
        profile_price price = {c->price_layer[i], c->price_side[i], c->price_candidate[i], c->price_kl[i],
                               c->price_stderr[i]};
        KVC_TRY(profile_add_price(l->profile, &price, l->err));
    }
    return KVC_OK;
}

static kvc_status get_fit(loading *l)
{
    h5_field fields[PROFILE_FIT_FIELDS];
    profile *p = l->profile;
    p->params = malloc(l->n_params ? l->n_params : 1);
    if (!p->params) return kvc_fail(l->err, KVC_NO_MEMORY, "%s: out of memory", l->file.name);
    p->n_params = l->n_params;
    profile_fit(p, fields);
    return get_all(l, fields, PROFILE_FIT_FIELDS);
}

static kvc_status load(loading *l)
{
    profile_counts counts;
    KVC_TRY(get_shapes(l));
    KVC_TRY(check_size(l));
    counts = (profile_counts){l->n_keys, l->n_values, l->n_anchors, l->head.n_layers, l->n_prices};
    KVC_TRY(profile_columns_new(&l->columns, &counts, l->err));
    KVC_TRY(get_candidates(l));
    KVC_TRY(profile_allocate_domains(l->profile, l->head.n_domains, l->err));
    copy_head(l->profile, &l->head);
    KVC_TRY(get_recipe(l));
    KVC_TRY(get_arrays(l));
    KVC_TRY(get_anchors(l));
    KVC_TRY(get_prices(l));
    KVC_TRY(get_domains(l));
    KVC_TRY(get_fit(l));
    return profile_check(l->profile, l->file.name, KVC_FORMAT, KVC_FORMAT, l->err);
}

kvc_status profile_load(profile **out, const char *path, kvc_error *err)
{
    loading l = {.err = err};
    char *bytes;
    size_t n;
    *out = NULL;
    KVC_TRY(input_read(&bytes, &n, path, MAX_FILE, err));
    kvc_status status = h5_open(&l.file, path, bytes, n, PROFILE_KIND, PROFILE_SCHEMA, err);
    if (status == KVC_OK) status = load(&l);
    if (status == KVC_OK)
        *out = l.profile;
    else
        profile_free(l.profile);
    h5_close(&l.file);
    profile_columns_free(&l.columns);
    free(l.keys);
    free(l.values);
    free(bytes);
    return status;
}
