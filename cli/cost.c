/* cost.c - see cost.h. Bytes are what libkvc's layout takes for one sequence of `context` tokens. */
#include "cost.h"
#include "item_price.h"
#include <stdlib.h>

kvc_status search_failed(search_status status, kvc_error *err)
{
    switch (status) {
    case SEARCH_OK: return KVC_OK;
    case SEARCH_NO_MEMORY: return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the front of plans");
    case SEARCH_INVALID: return kvc_fail(err, KVC_FORMAT, "the profile's losses are negative or not finite");
    case SEARCH_INFEASIBLE: break;
    }
    return kvc_fail(err, KVC_INFEASIBLE, "no plan meets the request");
}

static kvc_status price_side(cost_option *out, const profile *p, bool values, const double *loss,
                             const kvc_token_policy *tokens, uint64_t context, kvc_error *err)
{
    uint32_t n = values ? p->n_values : p->n_keys;
    const kvc_codec *codecs = values ? p->values : p->keys;
    for (uint32_t i = 0; i < n; i++) {
        kvc_coder coder;
        KVC_TRY(
            kvc_coder_init(&coder, &codecs[i], NULL, p->model.n_kv_heads, p->model.head_dim, p->tokens.page, err));
        out[i] = (cost_option){kvc_coder_bytes(&coder, tokens, context), loss[i]};
    }
    return KVC_OK;
}

/* Losses of an item's candidates: prices, or with no scale for them local losses. */
static void item_losses(const profile *p, double scale, uint32_t item, double *loss)
{
    item_price price = {0};
    if (scale > 0) item_price_read(&price, p, item % 2, item / 2, ALL_DOMAINS, scale);
    for (uint32_t i = 0; i < (item % 2 ? p->n_values : p->n_keys); i++)
        loss[i] = scale > 0 ? item_price_of(&price, p, i) : profile_loss(p, item % 2, item / 2, i);
}

/* The same in every domain; where one has no price to go by, that of all text. */
static void item_domain_losses(priced *out, const profile *p, double scale, uint32_t item)
{
    item_price price = {0};
    uint32_t n = item % 2 ? p->n_values : p->n_keys;
    for (uint32_t d = 0; d < out->n_domains; d++) {
        if (out->from_prices) item_price_read(&price, p, item % 2, item / 2, d, scale);
        for (uint32_t i = 0; i < n; i++)
            out->domain_loss[item][(size_t)i * out->n_domains + d] =
                !out->from_prices ? profile_domain_loss(p, d, item % 2, item / 2, i)
                : price.n         ? item_price_of(&price, p, i)
                                  : out->loss[item][i];
    }
}

static kvc_status allocate(priced *out, const profile *p, kvc_error *err)
{
    cost_table *t = &out->table;
    t->n_items = 2 * p->n_layers;
    t->n_options = calloc(t->n_items, sizeof *t->n_options);
    t->options = calloc(t->n_items, sizeof *t->options);
    out->candidate = calloc(t->n_items, sizeof *out->candidate);
    out->loss = calloc(t->n_items, sizeof *out->loss);
    out->domain_loss = calloc(t->n_items, sizeof *out->domain_loss);
    bool ok = t->n_options && t->options && out->candidate && out->loss && out->domain_loss;
    for (uint32_t i = 0; ok && i < t->n_items; i++) {
        t->n_options[i] = i % 2 ? p->n_values : p->n_keys;
        t->options[i] = calloc(t->n_options[i], sizeof *t->options[i]);
        out->candidate[i] = calloc(t->n_options[i], sizeof *out->candidate[i]);
        out->loss[i] = calloc(t->n_options[i], sizeof *out->loss[i]);
        out->domain_loss[i] = calloc((size_t)t->n_options[i] * out->n_domains + 1, sizeof *out->domain_loss[i]);
        ok = t->options[i] && out->candidate[i] && out->loss[i] && out->domain_loss[i];
    }
    return ok ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u items", t->n_items);
}

/* Of all candidates those that the filter has. */
static void filter(priced *out, const candidate_filter *only)
{
    cost_table *t = &out->table;
    for (uint32_t i = 0; i < t->n_items; i++) {
        const bool *allowed = only ? (i % 2 ? only->values : only->keys) : NULL;
        uint32_t kept = 0;
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            if (allowed && !allowed[o]) continue;
            t->options[i][kept] = t->options[i][o];
            out->candidate[i][kept++] = (uint16_t)o;
        }
        t->n_options[i] = kept;
    }
}

static kvc_status prune(priced *out, kvc_error *err)
{
    cost_table *t = &out->table;
    uint8_t **keep;
    search_status status = pareto_prune(t, &keep);
    if (status != SEARCH_OK) return search_failed(status, err);
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint32_t kept = 0;
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            if (!keep[i][o]) continue;
            t->options[i][kept] = t->options[i][o];
            out->candidate[i][kept++] = out->candidate[i][o];
        }
        t->n_options[i] = kept;
    }
    free(keep);
    return KVC_OK;
}

/* Is option q no worse than o in bytes, loss and every domain's loss? */
static bool covers(const priced *x, uint32_t item, uint32_t q, uint32_t o)
{
    const cost_option *a = &x->table.options[item][q], *b = &x->table.options[item][o];
    const double *l = x->domain_loss[item] + (size_t)x->candidate[item][q] * x->n_domains,
                 *m = x->domain_loss[item] + (size_t)x->candidate[item][o] * x->n_domains;
    bool no_worse = a->bytes <= b->bytes && a->loss <= b->loss;
    for (uint32_t d = 0; no_worse && d < x->n_domains; d++) no_worse = l[d] <= m[d];
    return no_worse;
}

/* By one of the first `kept`, or by a later one; of options that cover each other the first stays. */
static bool is_covered(const priced *x, uint32_t item, uint32_t kept, uint32_t o)
{
    for (uint32_t q = 0; q < kept; q++)
        if (covers(x, item, q, o)) return true;
    for (uint32_t q = o + 1; q < x->table.n_options[item]; q++)
        if (covers(x, item, q, o) && !covers(x, item, o, q)) return true;
    return false;
}

static void prune_domains(priced *out)
{
    cost_table *t = &out->table;
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint32_t kept = 0;
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            if (is_covered(out, i, kept, o)) continue;
            t->options[i][kept] = t->options[i][o];
            out->candidate[i][kept++] = out->candidate[i][o];
        }
        t->n_options[i] = kept;
    }
}

static kvc_status price(priced *out, const profile *p, double scale, const kvc_token_policy *tokens, uint64_t context,
                        const candidate_filter *only, kvc_error *err)
{
    *out = (priced){.from_prices = scale > 0, .n_domains = only && only->domains ? p->n_domains : 0};
    kvc_status status = allocate(out, p, err);
    for (uint32_t i = 0; status == KVC_OK && i < out->table.n_items; i++) {
        item_losses(p, scale, i, out->loss[i]);
        item_domain_losses(out, p, scale, i);
        status = price_side(out->table.options[i], p, i % 2, out->loss[i], tokens, context, err);
    }
    if (status == KVC_OK) filter(out, only);
    if (status == KVC_OK && !(only && only->alike)) {
        if (out->n_domains)
            prune_domains(out);
        else
            status = prune(out, err);
    }
    if (status != KVC_OK) priced_free(out);
    return status;
}

kvc_status priced_new(priced *out, const profile *p, const kvc_token_policy *tokens, uint64_t context,
                      const candidate_filter *only, kvc_error *err)
{
    double scale;
    KVC_TRY(item_price_scale(&scale, p, err));
    return price(out, p, scale, tokens, context, only, err);
}

kvc_status priced_new_local(priced *out, const profile *p, uint64_t context, kvc_error *err)
{
    return price(out, p, 0, &p->tokens, context, NULL, err);
}

void priced_free(priced *priced)
{
    for (uint32_t i = 0; i < priced->table.n_items; i++) {
        if (priced->table.options) free(priced->table.options[i]);
        if (priced->candidate) free(priced->candidate[i]);
        if (priced->loss) free(priced->loss[i]);
        if (priced->domain_loss) free(priced->domain_loss[i]);
    }
    free(priced->table.options);
    free(priced->table.n_options);
    free(priced->candidate);
    free(priced->loss);
    free(priced->domain_loss);
    priced->domain_loss = NULL;
    priced->loss = NULL;
    priced->table = (cost_table){0};
    priced->candidate = NULL;
}
