/* prices.c - see prices.h. Of every item the candidates on its front of (bytes, local loss) may be priced: all of
 * them
 * (--price full), or those nearest to the anchor rates (--price anchor), from which item_price.c prices the others.
 */
#include "prices.h"
#include "console.h"
#include "cost.h"
#include "plan_search.h"
#include "probed.h"
#include "score.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Bits of codes and metadata of the first and the second anchor. */
static const double anchor_bits[2] = {1.0, 3.0};

typedef struct pricing_work {
    profile *p;
    const settings *s;
    const workdir *w;
    priced table; /* local losses */
    pricing *pricing;
    probed_set probed; /* which domain a file is */
    uint32_t n_files;  /* of the text that is priced */
    size_t done, total;
    struct timespec saved;
} pricing_work;

size_t prices_count(const settings *s, uint32_t n_layers, uint32_t n_keys, uint32_t n_values)
{
    if (strcmp(s->price, "local") == 0) return 0;
    if (strcmp(s->price, "full") == 0) return (size_t)n_layers * (n_keys + n_values);
    return 2 * (size_t)n_layers * s->price_anchors;
}

/* The item's option whose rate is nearest, by ratio, to `bits`; fp16 is none. UINT32_MAX: there is no other. */
static uint32_t nearest_option(const pricing_work *x, uint32_t item, double bits)
{
    uint32_t best = UINT32_MAX;
    double least = INFINITY;
    for (uint32_t i = 0; i < x->table.table.n_options[item]; i++) {
        double own = profile_code_bits(x->p, item % 2, x->table.candidate[item][i]), away = fabs(log(own / bits));
        if (own < 16 && away < least) least = away, best = i;
    }
    return best;
}

static bool is_wanted(const pricing_work *x, uint32_t item, uint32_t option)
{
    if (strcmp(x->s->price, "full") == 0)
        return profile_code_bits(x->p, item % 2, x->table.candidate[item][option]) < 16;
    for (uint64_t i = 0; i < x->s->price_anchors; i++)
        if (nearest_option(x, item, anchor_bits[i]) == option) return true;
    return false;
}

static bool is_known(const profile *p, uint32_t item, uint16_t candidate)
{
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (p->prices[i].layer == item / 2 && p->prices[i].values == item % 2 && p->prices[i].candidate == candidate)
            return true;
    return false;
}

/* Candidates of one item, priced at the same time. */
typedef struct price_batch {
    uint32_t n;
    uint16_t *candidate;     /* [together] */
    pricing_change *changes; /* whose constants are owned */
    price *prices, *files;   /* [together], [together][n_files] */
} price_batch;

static void batch_clear(price_batch *b)
{
    for (uint32_t i = 0; i < b->n; i++) free((void *)b->changes[i].params);
    b->n = 0;
}

static void batch_free(price_batch *b)
{
    batch_clear(b);
    free(b->candidate);
    free(b->changes);
    free(b->prices);
    free(b->files);
}

static kvc_status batch_new(price_batch *b, size_t together, uint32_t n_files, kvc_error *err)
{
    *b = (price_batch){.candidate = calloc(together, sizeof *b->candidate),
                       .changes = calloc(together, sizeof *b->changes),
                       .prices = calloc(together, sizeof *b->prices),
                       .files = calloc(together * n_files + 1, sizeof *b->files)};
    return b->candidate && b->changes && b->prices && b->files
               ? KVC_OK
               : kvc_fail(err, KVC_NO_MEMORY, "out of memory for prices");
}

static kvc_status batch_add(pricing_work *x, price_batch *b, uint32_t item, uint16_t candidate, kvc_error *err)
{
    void *params;
    KVC_TRY(profile_get_params(x->p, item % 2, item / 2, candidate, &params, err));
    b->candidate[b->n] = candidate;
    b->changes[b->n++] = (pricing_change){item % 2 ? &x->p->values[candidate] : &x->p->keys[candidate], params};
    return KVC_OK;
}

static kvc_status keep_price(pricing_work *x, const price_batch *b, uint32_t item, uint32_t index, kvc_error *err)
{
    profile *p = x->p;
    const price *found = &b->prices[index], *files = b->files + (size_t)index * x->n_files;
    profile_price price = {item / 2, (uint16_t)(item % 2), b->candidate[index], found->kl, found->kl_stderr};
    KVC_TRY(profile_add_price(p, &price, err));
    double *domains = p->price_domain_kl + (p->n_prices - (size_t)1) * p->n_domains;
    for (uint32_t i = 0; p->n_domains && i < x->n_files; i++)
        if (files[i].n_rows && x->probed.domain[i] != NO_DOMAIN) domains[x->probed.domain[i]] = files[i].kl;
    console_detail("price %zu of %zu: layer %u %s: KL %.3g", ++x->done, x->total, item / 2,
                   item % 2 ? "values" : "keys", found->kl);
    return KVC_OK;
}

/* Prices so far into the work directory, not more often than asked. */
static kvc_status keep(pricing_work *x, bool now, kvc_error *err)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double elapsed = (double)(t.tv_sec - x->saved.tv_sec) + 1e-9 * (double)(t.tv_nsec - x->saved.tv_nsec);
    if (!now && elapsed < x->s->checkpoint_interval) return KVC_OK;
    x->saved = t;
    return profile_keep_prices(x->p, x->w->path, err);
}

static kvc_status batch_measure(pricing_work *x, price_batch *b, uint32_t item, kvc_error *err)
{
    if (b->n == 0) return KVC_OK;
    kvc_status status =
        pricing_items(x->pricing, item / 2, item % 2, b->n, b->changes, b->prices, b->files, console_job(), err);
    for (uint32_t i = 0; i < b->n && status == KVC_OK; i++) status = keep_price(x, b, item, i, err);
    batch_clear(b);
    if (status == KVC_OK) return keep(x, false, err);
    return status;
}

/* Wanted and not yet known. */
static bool is_open(const pricing_work *x, uint32_t item, uint32_t option)
{
    return is_wanted(x, item, option) && !is_known(x->p, item, x->table.candidate[item][option]);
}

static kvc_status measure_item(pricing_work *x, price_batch *b, uint32_t item, kvc_error *err)
{
    for (uint32_t i = 0; i < x->table.table.n_options[item]; i++) {
        if (!is_open(x, item, i)) continue;
        KVC_TRY(batch_add(x, b, item, x->table.candidate[item][i], err));
        if (b->n == pricing_together(x->pricing)) KVC_TRY(batch_measure(x, b, item, err));
    }
    return batch_measure(x, b, item, err);
}

static kvc_status measure_all(pricing_work *x, kvc_error *err)
{
    price_batch b;
    const cost_table *t = &x->table.table;
    for (uint32_t item = 0; item < t->n_items; item++)
        for (uint32_t i = 0; i < t->n_options[item]; i++) {
            x->total += is_wanted(x, item, i);
            x->done += is_wanted(x, item, i) && !is_open(x, item, i);
        }
    kvc_status status = batch_new(&b, pricing_together(x->pricing), x->n_files, err);
    for (uint32_t item = 0; item < t->n_items && status == KVC_OK; item++) {
        status = measure_item(x, &b, item, err);
        if (status != KVC_INTERRUPTED) continue;
        kvc_status kept = keep(x, true, err);
        if (kept != KVC_OK) status = kept;
    }
    batch_free(&b);
    return status;
}

/* Which domains the text's files are. */
static kvc_status tell_files_apart(pricing_work *x, const sequence_set *calibration, const sequence_set *part,
                                   kvc_error *err)
{
    KVC_TRY(probed_new(&x->probed, calibration, &x->p->tokens, x->s->probe_sequences, err));
    x->n_files = sequences_files(part);
    return KVC_OK;
}

kvc_status prices_measure(profile *p, const settings *s, const subject *subject, const sequence_set *calibration,
                          const workdir *w, kvc_error *err)
{
    pricing_work x = {.p = p, .s = s, .w = w};
    sequence_set part = {0};
    if (strcmp(s->price, "local") == 0) return KVC_OK;
    KVC_TRY(priced_new_local(&x.table, p, s->context, err));
    clock_gettime(CLOCK_MONOTONIC, &x.saved);
    kvc_status status = plan_search_text(&part, s, calibration, err);
    plan_ref exact = {0};
    if (status == KVC_OK) status = tell_files_apart(&x, calibration, &part, err);
    if (status == KVC_OK)
        status = pricing_new(&x.pricing, subject->model, subject->backend, &part, &p->tokens, &exact,
                             (uint32_t)s->price_rows, s->memory, console_job(), err);
    if (status == KVC_OK) status = measure_all(&x, err);
    pricing_free(x.pricing);
    probed_free(&x.probed);
    sequences_free(&part);
    priced_free(&x.table);
    return status;
}
