/* profile_domains.c - what a profile tells apart by prompt file. */
#include "profile_fields.h"
#include <stdlib.h>
#include <string.h>

kvc_status profile_allocate_domains(profile *p, uint32_t n, kvc_error *err)
{
    size_t D = n, key = D * p->n_layers * p->n_keys, value = D * p->n_layers * p->n_values;
    void *names = calloc(D + 1, PROFILE_NAME), *rows = calloc(D + 1, sizeof(double));
    double *key_loss = calloc(key + 1, sizeof(double)), *value_loss = calloc(value + 1, sizeof(double));
    p->n_domains = 0;
    free(p->domains);
    free(p->domain_rows);
    free(p->domain_key_loss);
    free(p->domain_value_loss);
    p->domains = names;
    p->domain_rows = rows;
    p->domain_key_loss = key_loss;
    p->domain_value_loss = value_loss;
    if (!names || !rows || !key_loss || !value_loss)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u domains", n);
    p->n_domains = n;
    return KVC_OK;
}

kvc_status profile_set_domains(profile *p, const char *const *names, uint32_t n, kvc_error *err)
{
    if (n > PROFILE_MAX_COUNT)
        return kvc_fail(err, KVC_INVALID, "%u prompt files: at most %u are told apart", n, PROFILE_MAX_COUNT);
    if (n < 2) n = 0;
    KVC_TRY(profile_allocate_domains(p, n, err));
    for (uint32_t i = 0; i < n; i++) strncat(p->domains[i], names[i], PROFILE_NAME - 1);
    return KVC_OK;
}

kvc_status profile_extend_domains(const profile *p, double **rows, uint32_t n, double value, kvc_error *err)
{
    size_t D = p->n_domains;
    double *larger = realloc(*rows, (n + (size_t)1) * (D ? D : 1) * sizeof **rows);
    if (!larger) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
    *rows = larger;
    for (size_t i = 0; i < D; i++) larger[n * D + i] = value;
    return KVC_OK;
}

void profile_domains(profile *p, h5_field out[PROFILE_DOMAIN_FIELDS])
{
    const uint64_t D = p->n_domains;
    const h5_field list[] = {
        {PROFILE_DOMAIN_NAMES,
         H5_TEXT,
         PROFILE_NAME,
         1,
         {D},
         p->domains,
         "prompt files that losses are told apart by"},
        {"domains/anchor_kl",
         H5_F64,
         0,
         2,
         {p->n_anchors, D},
         p->anchor_domain_kl,
         "[anchor][domain] anchors/kl on the domain's text; anchors/kl where none of it was scored"},
        {"domains/price_kl",
         H5_F64,
         0,
         2,
         {p->n_prices, D},
         p->price_domain_kl,
         "[price][domain] prices/kl on the domain's text; prices/kl where none of it was scored"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_DOMAIN_FIELDS, "PROFILE_DOMAIN_FIELDS");
    memcpy(out, list, sizeof list);
}
