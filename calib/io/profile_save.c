/* profile_save.c - profile.h5, written: an image in memory, then one whole-or-absent file. */
#include "output.h"
#include "profile_fields.h"
#include <stdlib.h>
#include <string.h>

static void fill_columns(const profile *p, profile_columns *c)
{
    size_t L = p->n_layers;
    for (uint32_t i = 0; i < p->n_keys; i++) kvc_codec_format(&p->keys[i], c->keys[i]);
    for (uint32_t i = 0; i < p->n_values; i++) kvc_codec_format(&p->values[i], c->values[i]);
    memcpy(c->key_page, p->key_page, p->n_keys * sizeof *c->key_page);
    memcpy(c->value_page, p->value_page, p->n_values * sizeof *c->value_page);
    for (uint32_t i = 0; i < p->n_anchors; i++) {
        const profile_anchor *a = &p->anchors[i];
        memcpy(c->anchor_key + i * L, a->key, L * sizeof *a->key);
        memcpy(c->anchor_value + i * L, a->value, L * sizeof *a->value);
        c->local_loss[i] = a->local_loss;
        c->kl[i] = a->kl;
        c->kl_stderr[i] = a->kl_stderr;
        c->ppl_ref[i] = a->ppl_ref;
        c->ppl[i] = a->ppl;
        c->n_tokens[i] = a->n_tokens;
    }
    for (uint32_t i = 0; i < p->n_prices; i++) {
        const profile_price *price = &p->prices[i];
        c->price_layer[i] = price->layer;
        c->price_side[i] = price->values;
        c->price_candidate[i] = price->candidate;
        c->price_kl[i] = price->kl;
        c->price_stderr[i] = price->kl_stderr;
    }
}

static kvc_status add_all(h5_file *file, const h5_field *fields, size_t n, kvc_error *err)
{
    for (size_t i = 0; i < n; i++) KVC_TRY(h5_add(file, &fields[i], err));
    return KVC_OK;
}

/* Text fields are stored whole: nothing may lie behind their NUL. */
static void clear_tails(profile *p)
{
    h5_field head[PROFILE_HEAD];
    profile_head(p, head);
    for (int i = 0; i < PROFILE_HEAD; i++) {
        if (head[i].kind != H5_TEXT) continue;
        char *text = head[i].data;
        size_t n = strnlen(text, head[i].text_bytes - 1);
        memset(text + n, 0, head[i].text_bytes - n);
    }
}

static kvc_status add_profile(h5_file *file, profile *p, profile_columns *c, kvc_error *err)
{
    h5_field head[PROFILE_HEAD], candidates[PROFILE_CANDIDATE_FIELDS], anchors[PROFILE_ANCHOR_FIELDS];
    h5_field prices[PROFILE_PRICE_FIELDS], fit[PROFILE_FIT_FIELDS], domains[PROFILE_DOMAIN_FIELDS];
    profile_array arrays[PROFILE_ARRAYS];
    char *text = p->recipe ? p->recipe : "";
    const h5_field recipe = {
        PROFILE_RECIPE, H5_TEXT, strlen(text) + 1, 0, {0}, text, "what the profile was made with, JSON"};
    profile_head(p, head);
    profile_candidates(c, p->n_keys, p->n_values, candidates);
    profile_anchors(c, p->n_anchors, p->n_layers, anchors);
    profile_prices(c, p->n_prices, prices);
    profile_fit(p, fit);
    profile_domains(p, domains);
    profile_arrays(p, arrays);
    KVC_TRY(add_all(file, head, PROFILE_HEAD, err));
    KVC_TRY(h5_add(file, &recipe, err));
    KVC_TRY(add_all(file, candidates, PROFILE_CANDIDATE_FIELDS, err));
    for (int i = 0; i < PROFILE_ARRAYS; i++) {
        h5_field f = profile_array_field(&arrays[i]);
        KVC_TRY(h5_add(file, &f, err));
    }
    KVC_TRY(add_all(file, anchors, PROFILE_ANCHOR_FIELDS, err));
    KVC_TRY(add_all(file, prices, PROFILE_PRICE_FIELDS, err));
    KVC_TRY(add_all(file, domains, PROFILE_DOMAIN_FIELDS, err));
    return add_all(file, fit, PROFILE_FIT_FIELDS, err);
}

static kvc_status make_image(profile *p, const char *path, void **bytes, size_t *n, kvc_error *err)
{
    profile_columns c;
    h5_file file;
    profile_counts counts = {p->n_keys, p->n_values, p->n_anchors, p->n_layers, p->n_prices};
    KVC_TRY(profile_columns_new(&c, &counts, err));
    fill_columns(p, &c);
    kvc_status status = h5_create(&file, path, PROFILE_KIND, PROFILE_SCHEMA, err);
    if (status == KVC_OK) status = add_profile(&file, p, &c, err);
    if (status == KVC_OK) status = h5_finish(&file, bytes, n, err);
    h5_close(&file);
    profile_columns_free(&c);
    return status;
}

kvc_status profile_save(const profile *profile_in, const char *path, kvc_error *err)
{
    profile p = *profile_in; /* arrays are shared, texts are not */
    void *bytes = NULL;
    size_t n = 0;
    clear_tails(&p);
    KVC_TRY(profile_check(&p, path, KVC_NONFINITE, KVC_INVALID, err));
    KVC_TRY(make_image(&p, path, &bytes, &n, err));
    kvc_status status = output_write(path, bytes, n, err);
    free(bytes);
    return status;
}
