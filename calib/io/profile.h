/* profile.h - what the profile pass measured, in memory and as profile.h5 (schema: docs/profile-h5.md). */
#ifndef CALIB_IO_PROFILE_H
#define CALIB_IO_PROFILE_H
#include "kvc/codec.h"

typedef struct profile_anchor { /* a plan whose global loss was measured on calibration text */
    uint16_t *key, *value;      /* [n_layers] candidate indices */
    double local_loss;          /* sum over items of profile_loss() */
    double kl, kl_stderr;       /* mean over tokens, nats */
    double ppl_ref, ppl;
    uint64_t n_tokens;
} profile_anchor;

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
    kvc_codec *keys, *values;          /* [K], [V]; groups resolved */
    uint32_t *key_block, *value_block; /* [K], [V] bytes of one page of one head */
    uint32_t layers_done;              /* a checkpoint holds fewer than n_layers */
    double *e_k;                       /* [L][K] mean |k - k^| / |k| over compressed rows (KVTuner) */
    double *e_v;                       /* [L][V] */
    double *e_a;                       /* [L][K] mean |a - a^| over visible (query, key) pairs */
    double *e_o;                       /* [L][K][V] mean |o - o^| / |o| */
    double *key_loss;                  /* [L][K] |dO Wo|^2 / |O Wo|^2, values exact */
    double *value_loss;                /* [L][V] the same, keys exact */
    double *output_power;              /* [L] mean over probe rows of |O Wo|^2 */
    double *residual_power; /* [L] mean of |h|^2, the residual stream that O Wo is added to, over rows from the first probed on */
    /* statistics over all compressed-range tokens (sinks left out), post-RoPE: [L][H][d] for keys, values;
     * queries [L][Hq][d] */
    double *key_mean, *key_rms, *key_min, *key_max;
    double *value_mean, *value_rms, *value_min, *value_max;
    double *query_rms;
    uint32_t n_anchors;
    profile_anchor *anchors;
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

/* All arrays allocated and zero; keys and values are copied and resolved against the model's shape (a candidate that
 * does not fit is named). Owned: profile_free(). */
kvc_status profile_new(profile **out, const kvc_model_info *model, const kvc_token_policy *tokens,
                       const kvc_codec *keys, uint32_t n_keys, const kvc_codec *values, uint32_t n_values,
                       kvc_error *err);
/* Copies both; the new one is p->anchors[n_anchors - 1], its losses are zero. */
kvc_status profile_add_anchor(profile *p, const uint16_t *key, const uint16_t *value, kvc_error *err);
/* Losses, statistics and layers_done of `from`, which must have the same shapes: KVC_MISMATCH otherwise. */
kvc_status profile_copy_measurements(profile *to, profile *from, kvc_error *err);
void profile_free(profile *p); /* NULL is fine */
/* Byte-identical for identical contents. Whole or absent. A NaN or infinity is KVC_NONFINITE with the dataset's name.
 */
kvc_status profile_save(const profile *p, const char *path, kvc_error *err);
/* The schema, every dataset's type, shape and values, and the candidate specs are checked; KVC_FORMAT names the
 * dataset. */
kvc_status profile_load(profile **out, const char *path, kvc_error *err);
#endif
