/* item_price.c - see item_price.h. */
#include "item_price.h"
#include "console.h"
#include <math.h>
#include <stdlib.h>

static bool of_item(const profile_price *price, bool values, uint32_t layer)
{
    return price->values == values && price->layer == layer;
}

static double local_of(const profile *p, int64_t domain, bool values, uint32_t layer, uint32_t candidate)
{
    if (domain == ALL_DOMAINS) return profile_loss(p, values, layer, candidate);
    return profile_domain_loss(p, (uint32_t)domain, values, layer, candidate);
}

static double kl_of(const profile *p, uint32_t index, int64_t domain)
{
    return domain == ALL_DOMAINS ? p->prices[index].kl
                                 : p->price_domain_kl[(size_t)index * p->n_domains + (size_t)domain];
}

static bool usable(const profile *p, uint32_t index, int64_t domain)
{
    const profile_price *price = &p->prices[index];
    return kl_of(p, index, domain) > 0 && local_of(p, domain, price->values, price->layer, price->candidate) > 0;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

kvc_status item_price_scale(double *out, const profile *p, kvc_error *err)
{
    size_t n = 0;
    double *ratios = malloc((p->n_prices + 1) * sizeof *ratios);
    if (!ratios) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u prices", p->n_prices);
    for (uint32_t i = 0; i < p->n_prices; i++) {
        const profile_price *price = &p->prices[i];
        if (usable(p, i, ALL_DOMAINS))
            ratios[n++] = price->kl / local_of(p, ALL_DOMAINS, price->values, price->layer, price->candidate);
    }
    qsort(ratios, n, sizeof *ratios, by_size);
    *out = n ? 0.5 * (ratios[(n - 1) / 2] + ratios[n / 2]) : 0;
    free(ratios);
    return KVC_OK;
}

static bool has_point(const profile *p, bool values, uint32_t layer)
{
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (of_item(&p->prices[i], values, layer) && usable(p, i, ALL_DOMAINS)) return true;
    return false;
}

/* What is kept in 16 bits or more needs no price. */
static bool is_compressed(const profile *p, bool values)
{
    for (uint32_t i = 0; i < (values ? p->n_values : p->n_keys); i++)
        if (profile_code_bits(p, values, i) < 16) return true;
    return false;
}

void item_price_note(const profile *p)
{
    uint32_t without = 0, first = 0;
    for (uint32_t item = 2 * p->n_layers; item-- > 0;)
        if (is_compressed(p, item % 2) && !has_point(p, item % 2, item / 2)) without++, first = item;
    if (p->n_prices == 0 || without == 0) return;
    console_note("%u of %u layers' sides have no price above zero (layer %u %s %s): their local losses count, scaled "
                 "by the other sides' median of KL over local loss",
                 without, 2 * p->n_layers, first / 2, first % 2 ? "values" : "keys",
                 without > 1 ? "is the first" : "alone");
}

void item_price_read(item_price *out, const profile *p, bool values, uint32_t layer, int64_t domain, double scale)
{
    *out = (item_price){.values = values, .layer = layer, .domain = domain, .scale = scale};
    for (uint32_t i = 0; i < p->n_prices && out->n < ITEM_PRICES; i++) {
        if (!of_item(&p->prices[i], values, layer) || !usable(p, i, domain)) continue;
        double x = log(local_of(p, domain, values, layer, p->prices[i].candidate)), y = log(kl_of(p, i, domain));
        size_t at = out->n++;
        for (; at > 0 && out->log_local[at - 1] > x; at--) {
            out->log_local[at] = out->log_local[at - 1];
            out->log_kl[at] = out->log_kl[at - 1];
        }
        out->log_local[at] = x;
        out->log_kl[at] = y;
    }
}

/* The candidate's own measurement; 0: none, or too small. */
static double measured(const item_price *price, const profile *p, uint32_t candidate)
{
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (of_item(&p->prices[i], price->values, price->layer) && p->prices[i].candidate == candidate)
            return fmax(0, kl_of(p, i, price->domain));
    return 0;
}

double item_price_of(const item_price *price, const profile *p, uint32_t candidate)
{
    double local = local_of(p, price->domain, price->values, price->layer, candidate),
           own = measured(price, p, candidate);
    if (own > 0) return own;
    if (!(local > 0)) return 0;
    if (price->n == 0) return price->scale * local;
    const double *x = price->log_local, *y = price->log_kl;
    double at = log(local);
    size_t last = price->n - 1, i = 0;
    if (at <= x[0]) return exp(y[0] + at - x[0]);
    if (at >= x[last]) return exp(y[last] + at - x[last]);
    while (x[i + 1] < at) i++;
    return exp(y[i] + (y[i + 1] - y[i]) * (at - x[i]) / (x[i + 1] - x[i]));
}
