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
    price *files;      /* [n_files] of the text that is priced */
    uint32_t n_files;
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

static kvc_status measure(pricing_work *x, uint32_t item, uint16_t candidate, kvc_error *err)
{
    profile *p = x->p;
    void *params;
    price found;
    KVC_TRY(profile_get_params(p, item % 2, item / 2, candidate, &params, err));
    kvc_status status =
        pricing_item(x->pricing, item / 2, item % 2, item % 2 ? &p->values[candidate] : &p->keys[candidate], params,
                     &found, x->files, console_job(), err);
    free(params);
    if (status != KVC_OK) return status;
    profile_price price = {item / 2, (uint16_t)(item % 2), candidate, found.kl, found.kl_stderr};
    KVC_TRY(profile_add_price(p, &price, err));
    double *domains = p->price_domain_kl + (p->n_prices - (size_t)1) * p->n_domains;
    for (uint32_t i = 0; p->n_domains && i < x->n_files; i++)
        if (x->files[i].n_rows && x->probed.domain[i] != NO_DOMAIN) domains[x->probed.domain[i]] = x->files[i].kl;
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

static kvc_status measure_all(pricing_work *x, kvc_error *err)
{
    size_t done = 0, total = 0;
    for (uint32_t item = 0; item < x->table.table.n_items; item++)
        for (uint32_t i = 0; i < x->table.table.n_options[item]; i++) total += is_wanted(x, item, i);
    for (uint32_t item = 0; item < x->table.table.n_items; item++) {
        for (uint32_t i = 0; i < x->table.table.n_options[item]; i++) {
            uint16_t candidate = x->table.candidate[item][i];
            if (!is_wanted(x, item, i)) continue;
            kvc_status status = is_known(x->p, item, candidate) ? KVC_OK : measure(x, item, candidate, err);
            if (status == KVC_INTERRUPTED) KVC_TRY(keep(x, true, err));
            KVC_TRY(status);
            KVC_TRY(keep(x, false, err));
            console_detail("price %zu of %zu: layer %u %s: KL %.3g", ++done, total, item / 2,
                           item % 2 ? "values" : "keys", x->p->prices[x->p->n_prices - 1].kl);
        }
    }
    return KVC_OK;
}

/* Room for what the text's files lose, and which domains they are. */
static kvc_status tell_files_apart(pricing_work *x, const sequence_set *calibration, const sequence_set *part,
                                   kvc_error *err)
{
    KVC_TRY(probed_new(&x->probed, calibration, &x->p->tokens, x->s->probe_sequences, err));
    x->n_files = sequences_files(part);
    x->files = calloc(x->n_files, sizeof *x->files);
    return x->files ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for prices");
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
    free(x.files);
    sequences_free(&part);
    priced_free(&x.table);
    return status;
}
