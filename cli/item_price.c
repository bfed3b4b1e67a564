/* item_price.c - see item_price.h. */
#include "item_price.h"
#include <math.h>

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

bool item_prices_complete(const profile *p)
{
    for (uint32_t item = 0; item < 2 * p->n_layers; item++) {
        bool found = false;
        for (uint32_t i = 0; i < p->n_prices && !found; i++)
            found = of_item(&p->prices[i], item % 2, item / 2) && usable(p, i, ALL_DOMAINS);
        if (!found) return false;
    }
    return true;
}

void item_price_read(item_price *out, const profile *p, bool values, uint32_t layer, int64_t domain)
{
    *out = (item_price){.values = values, .layer = layer, .domain = domain};
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

/* The candidate's own measurement, or a negative number. */
static double measured(const item_price *price, const profile *p, uint32_t candidate)
{
    for (uint32_t i = 0; i < p->n_prices; i++)
        if (of_item(&p->prices[i], price->values, price->layer) && p->prices[i].candidate == candidate)
            return fmax(0, kl_of(p, i, price->domain));
    return -1;
}

double item_price_of(const item_price *price, const profile *p, uint32_t candidate)
{
    double local = local_of(p, price->domain, price->values, price->layer, candidate),
           own = measured(price, p, candidate);
    if (own >= 0) return own;
    if (!(local > 0)) return 0;
    const double *x = price->log_local, *y = price->log_kl;
    double at = log(local);
    size_t last = price->n - 1, i = 0;
    if (at <= x[0]) return exp(y[0] + at - x[0]);
    if (at >= x[last]) return exp(y[last] + at - x[last]);
    while (x[i + 1] < at) i++;
    return exp(y[i] + (y[i + 1] - y[i]) * (at - x[i]) / (x[i + 1] - x[i]));
}
