/* profile_check.c - what must hold for every profile, on its way out and in. */
#include "profile_fields.h"
#include <math.h>
#include <string.h>

typedef struct checking {
    const char *name; /* of the file */
    kvc_status nonfinite, bad;
    kvc_error *err;
} checking;

static kvc_status check_value(const checking *c, const char *path, size_t i, double value, bool is_signed)
{
    if (!isfinite(value)) return kvc_fail(c->err, c->nonfinite, "%s: %s: value %zu is not finite", c->name, path, i);
    if (!is_signed && value < 0) return kvc_fail(c->err, c->bad, "%s: %s: value %zu is negative", c->name, path, i);
    return KVC_OK;
}

static kvc_status check_arrays(const checking *c, profile *p)
{
    profile_array arrays[PROFILE_ARRAYS];
    profile_arrays(p, arrays);
    for (int k = 0; k < PROFILE_ARRAYS; k++)
        for (size_t i = 0, n = profile_array_count(&arrays[k]); i < n; i++)
            KVC_TRY(check_value(c, arrays[k].path, i, (*arrays[k].data)[i], arrays[k].is_signed));
    return KVC_OK;
}

static kvc_status check_choice(const checking *c, const char *path, const uint16_t *choice, uint32_t n,
                               uint32_t limit)
{
    for (uint32_t i = 0; i < n; i++)
        if (choice[i] >= limit)
            return kvc_fail(c->err, c->bad, "%s: %s: layer %u has candidate %u of %u", c->name, path, i, choice[i],
                            limit);
    return KVC_OK;
}

static kvc_status check_anchors(const checking *c, const profile *p)
{
    for (uint32_t i = 0; i < p->n_anchors; i++) {
        const profile_anchor *a = &p->anchors[i];
        KVC_TRY(check_choice(c, "anchors/key", a->key, p->n_layers, p->n_keys));
        KVC_TRY(check_choice(c, "anchors/value", a->value, p->n_layers, p->n_values));
        KVC_TRY(check_value(c, "anchors/local_loss", i, a->local_loss, false));
        KVC_TRY(check_value(c, "anchors/kl", i, a->kl, true)); /* rounding may leave a tiny negative one */
        KVC_TRY(check_value(c, "anchors/kl_stderr", i, a->kl_stderr, false));
        KVC_TRY(check_value(c, "anchors/ppl_ref", i, a->ppl_ref, false));
        KVC_TRY(check_value(c, "anchors/ppl", i, a->ppl, false));
    }
    return KVC_OK;
}

static kvc_status check_prices(const checking *c, const profile *p)
{
    for (uint32_t i = 0; i < p->n_prices; i++) {
        const profile_price *price = &p->prices[i];
        if (price->layer >= p->n_layers || price->values > 1 ||
            price->candidate >= (price->values ? p->n_values : p->n_keys))
            return kvc_fail(c->err, c->bad, "%s: prices: entry %u names layer %u, side %u, candidate %u", c->name, i,
                            price->layer, price->values, price->candidate);
        KVC_TRY(check_value(c, "prices/kl", i, price->kl, true));
        KVC_TRY(check_value(c, "prices/kl_stderr", i, price->kl_stderr, false));
    }
    return KVC_OK;
}

static kvc_status check_domains(const checking *c, const profile *p)
{
    for (size_t i = 0; i < (size_t)p->n_anchors * p->n_domains; i++)
        KVC_TRY(check_value(c, "domains/anchor_kl", i, p->anchor_domain_kl[i], true));
    for (size_t i = 0; i < (size_t)p->n_prices * p->n_domains; i++)
        KVC_TRY(check_value(c, "domains/price_kl", i, p->price_domain_kl[i], true));
    return KVC_OK;
}

/* Every part of every candidate at the layers done lies in the heap, and what it holds is usable. */
static kvc_status check_side(const checking *c, const profile *p, bool values, uint64_t *end)
{
    uint32_t n = values ? p->n_values : p->n_keys;
    for (uint32_t i = 0; i < p->layers_done * n; i++) {
        kvc_error why;
        kvc_status status = profile_check_params(p, values, i / n, i % n, end, &why);
        if (status == KVC_NO_MEMORY) return kvc_fail(c->err, status, "%s: %s", c->name, why.message);
        if (status != KVC_OK)
            return kvc_fail(c->err, c->bad, "%s: fit/%s_parts: layer %u, candidate %u: %s", c->name,
                            values ? "value" : "key", i / n, i % n, why.message);
    }
    return KVC_OK;
}

static kvc_status check_fit(const checking *c, const profile *p)
{
    uint64_t end = 0;
    KVC_TRY(check_side(c, p, false, &end));
    KVC_TRY(check_side(c, p, true, &end));
    if (end == p->n_params) return KVC_OK;
    return kvc_fail(c->err, c->bad, "%s: fit/parameters: %llu bytes, the candidates' parts end at %llu", c->name,
                    (unsigned long long)p->n_params, (unsigned long long)end);
}

kvc_status profile_check(profile *p, const char *name, kvc_status nonfinite, kvc_status bad, kvc_error *err)
{
    const checking c = {name, nonfinite, bad, err};
    size_t digits = strlen(p->fingerprint);
    if (p->layers_done > p->n_layers)
        return kvc_fail(err, bad, "%s: losses/layers_done: %u of %u layers", name, p->layers_done, p->n_layers);
    if ((digits && digits != 64) || strspn(p->fingerprint, "0123456789abcdef") != digits)
        return kvc_fail(err, bad, "%s: provenance/fingerprint: is not 64 hexadecimal digits", name);
    KVC_TRY(check_value(&c, "model/rope_theta", 0, p->model.rope_theta, false));
    KVC_TRY(check_arrays(&c, p));
    KVC_TRY(check_anchors(&c, p));
    KVC_TRY(check_prices(&c, p));
    KVC_TRY(check_domains(&c, p));
    return check_fit(&c, p);
}
