/* profile.h - what the profile pass measured, in memory and as profile.h5 (schema: docs/profile-h5.md). */
#ifndef CALIB_IO_PROFILE_H
#define CALIB_IO_PROFILE_H
#include <stdbool.h>
#include "kvc/codec.h"

typedef struct profile_anchor { /* a plan whose global loss was measured on calibration text */
    uint16_t *key, *value;      /* [n_layers] candidate indices */
    double local_loss;          /* sum over items of profile_loss() */
    double kl, kl_stderr;       /* mean over tokens, nats */
    double ppl_ref, ppl;
    uint64_t n_tokens;
} profile_anchor;

typedef struct profile_price { /* one item changed, everything else exact: what the whole model loses */
    uint32_t layer;
    uint16_t values;      /* 0: keys, 1: values */
    uint16_t candidate;   /* of that side */
    double kl, kl_stderr; /* mean over the scored positions, nats */
} profile_price;

enum {
    PROFILE_PIECES = 5, /* of a codec: four transforms and the symbol */
    PROFILE_NAME = 128  /* bytes of a domain's name */
};

/* Arrays are [n_layers][...], row-major, in double; K = n_keys, V = n_values candidates. */
typedef struct profile {
    kvc_model_info model;
    kvc_token_policy tokens;
    uint32_t seq_len, probe_rows; /* query rows per sequence that losses are measured on; 0 = all */
    uint64_t n_tokens, seed;
    char backend[16];
    char fingerprint[65]; /* hex SHA-256: model, text, recipe, build */
    char *recipe;         /* canonical JSON of what the profile was made with; owned */
    uint32_t n_layers, n_keys, n_values;
    kvc_codec *keys, *values;        /* [K], [V]; groups resolved */
    uint32_t *key_page, *value_page; /* [K], [V] bytes of one page of all KV heads */
    uint32_t layers_done;            /* a checkpoint holds fewer than n_layers */
    double *e_k;                     /* [L][K] mean |k - k^| / |k| over compressed rows (KVTuner) */
    double *e_v;                     /* [L][V] */
    double *e_a;                     /* [L][K] mean |a - a^| over visible (query, key) pairs */
    double *e_o;            /* [L][K][V] mean |o - o^| / |o|; 0 for fitted keys, whose pairs are not measured */
    double *key_loss;       /* [L][K] |dO Wo|^2 / |O Wo|^2, values exact */
    double *value_loss;     /* [L][V] the same, keys exact */
    double *output_power;   /* [L] mean over probe rows of |O Wo|^2 */
    double *residual_power; /* [L] mean of |h|^2, the residual stream that O Wo is added to, over rows from the first
                               probed on */
    /* Domains: prompt files that losses are told apart by. None where there is only one. */
    uint32_t n_domains;
    char (*domains)[PROFILE_NAME]; /* [D] the files' names */
    double *domain_rows;           /* [D] probe rows */
    double *domain_key_loss;   /* [D][L][K] mean over the domain's probe rows of |dO Wo|^2, relative to output_power:
                                  key_loss is their mean weighted by rows */
    double *domain_value_loss; /* [D][L][V] */
    double *anchor_domain_kl;  /* [n_anchors][D] an anchor's kl on the domain's text; kl where there is none */
    double *price_domain_kl;   /* [n_prices][D] the same of prices */
    /* statistics over all compressed-range tokens (sinks left out), post-RoPE: [L][H][d] for keys, values;
     * queries [L][Hq][d] */
    double *key_mean, *key_rms, *key_min, *key_max;
    double *value_mean, *value_rms, *value_min, *value_max;
    double *query_rms;
    /* Constants of fitted candidates: a heap of parts, equal ones stored once, and where each piece's part begins
     * (0 where it has none; its bytes follow from the codec). */
    uint8_t *params;
    uint64_t n_params;                 /* bytes */
    uint64_t *key_parts, *value_parts; /* [L][K][PROFILE_PIECES], [L][V][PROFILE_PIECES] */
    uint32_t n_anchors;
    profile_anchor *anchors;
    uint32_t n_prices;
    profile_price *prices;
} profile;

/* What decisions add up: |dO Wo|^2 of one side relative to |h|^2, the residual stream that it is added to. The stream
 * is what later layers read, so this compares layers; relative to |O Wo|^2 alone, a layer that hardly writes would
 * count like one that does. */
static inline double profile_loss(const profile *p, int values, uint32_t layer, uint32_t candidate)
{
    double own = values ? p->value_loss[(size_t)layer * p->n_values + candidate]
                        : p->key_loss[(size_t)layer * p->n_keys + candidate];
    return p->residual_power[layer] > 0 ? own * p->output_power[layer] / p->residual_power[layer] : own;
}

/* The same on one domain's text. */
static inline double profile_domain_loss(const profile *p, uint32_t domain, int values, uint32_t layer,
                                         uint32_t candidate)
{
    size_t row = (size_t)domain * p->n_layers + layer;
    double own = values ? p->domain_value_loss[row * p->n_values + candidate]
                        : p->domain_key_loss[row * p->n_keys + candidate];
    return p->residual_power[layer] > 0 ? own * p->output_power[layer] / p->residual_power[layer] : own;
}

static inline uint32_t profile_page_bytes(const profile *p, int values, uint32_t candidate)
{
    return values ? p->value_page[candidate] : p->key_page[candidate];
}

/* Bits per value of codes and metadata, sinks and window apart. */
static inline double profile_code_bits(const profile *p, int values, uint32_t candidate)
{
    return 8.0 * (double)profile_page_bytes(p, values, candidate) /
           ((double)p->tokens.page * p->model.n_kv_heads * p->model.head_dim);
}

/* All arrays allocated and zero; keys and values are copied and resolved against the model's shape (a candidate that
 * does not fit is named). Owned: profile_free(). */
kvc_status profile_new(profile **out, const kvc_model_info *model, const kvc_token_policy *tokens,
                       const kvc_codec *keys, uint32_t n_keys, const kvc_codec *values, uint32_t n_values,
                       kvc_error *err);
/* Names are copied, losses zero; before any measurement. n < 2: no domains. */
kvc_status profile_set_domains(profile *p, const char *const *names, uint32_t n, kvc_error *err);
/* Copies both; the new one is p->anchors[n_anchors - 1], its losses are zero, those of domains too. */
kvc_status profile_add_anchor(profile *p, const uint16_t *key, const uint16_t *value, kvc_error *err);
/* The new one's domains are at its kl. */
kvc_status profile_add_price(profile *p, const profile_price *price, kvc_error *err);
/* The candidate that a codec with its group resolved is, or UINT32_MAX. */
uint32_t profile_find_candidate(const profile *p, bool values, const kvc_codec *codec);
/* Keep the parameter block of a candidate at a layer (codec.param_bytes of it; 0: nothing to keep). */
kvc_status profile_keep_params(profile *p, bool values, uint32_t layer, uint32_t candidate, const void *params,
                               kvc_error *err);
/* The block again, put together: *params is owned (free()), 64-byte aligned, NULL where the candidate has none. */
kvc_status profile_get_params(const profile *p, bool values, uint32_t layer, uint32_t candidate, void **params,
                              kvc_error *err);
/* The parameters section for a plan: layers [n_layers] get groups, param_offset and param_bytes; *params (owned) is
 * NULL where no codec has any. A fitted codec that the profile (may be NULL) has no fit of is KVC_INPUT, with layer,
 * side and spec named. */
kvc_status profile_bind_params(const profile *p, const kvc_model_info *model, uint32_t page, kvc_layer *layers,
                               void **params, size_t *n, kvc_error *err);
/* Losses, statistics, parameters, prices and layers_done of `from`, which must have the same shapes: KVC_MISMATCH
 * otherwise.
 */
kvc_status profile_copy_measurements(profile *to, profile *from, kvc_error *err);
void profile_free(profile *p); /* NULL is fine */
/* Byte-identical for identical contents. Whole or absent. A NaN or infinity is KVC_NONFINITE with the dataset's name.
 */
kvc_status profile_save(const profile *p, const char *path, kvc_error *err);
/* The schema, every dataset's type, shape and values, and the candidate specs are checked; KVC_FORMAT names the
 * dataset. */
kvc_status profile_load(profile **out, const char *path, kvc_error *err);
#endif
