/* profile_fields.c - datasets of profile.h5 (docs/profile-h5.md): path, type, shape and meaning, each once. */
#include "profile_fields.h"
#include <stdlib.h>
#include <string.h>

void profile_arrays(profile *p, profile_array out[PROFILE_ARRAYS])
{
    const uint64_t L = p->n_layers, K = p->n_keys, V = p->n_values;
    const uint64_t D = p->n_domains, H = p->model.n_kv_heads, Q = p->model.n_query_heads, d = p->model.head_dim;
    const profile_array list[] = {
        {"losses/e_k", &p->e_k, 2, {L, K}, false, "[layer][key] mean |k - k^| / |k| over compressed rows"},
        {"losses/e_v", &p->e_v, 2, {L, V}, false, "[layer][value] mean |v - v^| / |v| over compressed rows"},
        {"losses/e_a", &p->e_a, 2, {L, K}, false, "[layer][key] mean |a - a^| over visible (query, key) pairs"},
        {"losses/e_o", &p->e_o, 3, {L, K, V}, false, "[layer][key][value] mean |o - o^| / |o|, o before W_o"},
        {"losses/key_loss", &p->key_loss, 2, {L, K}, false, "[layer][key] |dO W_o|^2 / |O W_o|^2, values exact"},
        {"losses/value_loss", &p->value_loss, 2, {L, V}, false, "[layer][value] |dO W_o|^2 / |O W_o|^2, keys exact"},
        {"losses/output_power", &p->output_power, 1, {L}, false, "[layer] mean |O W_o|^2 over probe rows"},
        {"losses/residual_power",
         &p->residual_power,
         1,
         {L},
         false,
         "[layer] mean |h|^2 over all rows from the first probed one on, h the residual stream"},
        {"domains/rows", &p->domain_rows, 1, {D}, false, "[domain] probe rows"},
        {"domains/key_loss",
         &p->domain_key_loss,
         3,
         {D, L, K},
         false,
         "[domain][layer][key] mean |dO W_o|^2 over the domain's probe rows / losses/output_power, values exact"},
        {"domains/value_loss",
         &p->domain_value_loss,
         3,
         {D, L, V},
         false,
         "[domain][layer][value] the same, keys exact"},
        {"statistics/key_mean", &p->key_mean, 3, {L, H, d}, true, "[layer][kv head][channel] mean, after RoPE"},
        {"statistics/key_rms",
         &p->key_rms,
         3,
         {L, H, d},
         false,
         "[layer][kv head][channel] root mean square, after RoPE"},
        {"statistics/key_min", &p->key_min, 3, {L, H, d}, true, "[layer][kv head][channel] minimum, after RoPE"},
        {"statistics/key_max", &p->key_max, 3, {L, H, d}, true, "[layer][kv head][channel] maximum, after RoPE"},
        {"statistics/value_mean", &p->value_mean, 3, {L, H, d}, true, "[layer][kv head][channel] mean"},
        {"statistics/value_rms", &p->value_rms, 3, {L, H, d}, false, "[layer][kv head][channel] root mean square"},
        {"statistics/value_min", &p->value_min, 3, {L, H, d}, true, "[layer][kv head][channel] minimum"},
        {"statistics/value_max", &p->value_max, 3, {L, H, d}, true, "[layer][kv head][channel] maximum"},
        {"statistics/query_rms",
         &p->query_rms,
         3,
         {L, Q, d},
         false,
         "[layer][query head][channel] root mean square, after RoPE"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_ARRAYS, "PROFILE_ARRAYS");
    memcpy(out, list, sizeof list);
}

size_t profile_array_count(const profile_array *a)
{
    h5_field f = profile_array_field(a);
    return h5_field_count(&f);
}

h5_field profile_array_field(const profile_array *a)
{
    return (h5_field){a->path, H5_F64, 0, a->rank, {a->dims[0], a->dims[1], a->dims[2]}, *a->data, a->about};
}

void profile_head(profile *p, h5_field out[PROFILE_HEAD])
{
    kvc_model_info *m = &p->model;
    const h5_field list[] = {
        {"model/name", H5_TEXT, sizeof m->name, 0, {0}, m->name, "name of the model"},
        {"model/architecture", H5_TEXT, sizeof m->architecture, 0, {0}, m->architecture, "model_type"},
        {"model/n_layers", H5_U32, 0, 0, {0}, &m->n_layers, "L, layers"},
        {"model/n_query_heads", H5_U32, 0, 0, {0}, &m->n_query_heads, "query heads"},
        {"model/n_kv_heads", H5_U32, 0, 0, {0}, &m->n_kv_heads, "H, key-value heads"},
        {"model/head_dim", H5_U32, 0, 0, {0}, &m->head_dim, "d, channels of a head"},
        {"model/hidden_size", H5_U32, 0, 0, {0}, &m->hidden_size, "width of the residual stream"},
        {"model/vocab_size", H5_U32, 0, 0, {0}, &m->vocab_size, "tokens of the vocabulary"},
        {"model/rope_theta", H5_F64, 0, 0, {0}, &m->rope_theta, "base of the RoPE frequencies"},
        {"model/weights_sha256", H5_U8, 0, 1, {32}, m->weights_sha256, "of the weights; zero: not known"},
        {"model/tokenizer_sha256", H5_U8, 0, 1, {32}, m->tokenizer_sha256, "of tokenizer.json; zero: none"},
        {"tokens/sinks", H5_U32, 0, 0, {0}, &p->tokens.sinks, "S, first tokens that stay fp16"},
        {"tokens/window", H5_U32, 0, 0, {0}, &p->tokens.window, "W, newest tokens that stay fp16"},
        {"tokens/page", H5_U32, 0, 0, {0}, &p->tokens.page, "P, tokens of a page"},
        {"tokens/seq_len", H5_U32, 0, 0, {0}, &p->seq_len, "tokens of a calibration sequence"},
        {"tokens/probe_rows",
         H5_U32,
         0,
         0,
         {0},
         &p->probe_rows,
         "query rows per sequence that losses are measured on; 0: all"},
        {"tokens/n_tokens", H5_U64, 0, 0, {0}, &p->n_tokens, "calibration tokens"},
        {"losses/layers_done", H5_U32, 0, 0, {0}, &p->layers_done, "layers measured; those from here on hold zeros"},
        {"provenance/backend", H5_TEXT, sizeof p->backend, 0, {0}, p->backend, "what computed the losses"},
        {"provenance/fingerprint",
         H5_TEXT,
         sizeof p->fingerprint,
         0,
         {0},
         p->fingerprint,
         "SHA-256 in hexadecimal of model, text, recipe and build; empty: not set"},
        {"provenance/seed", H5_U64, 0, 0, {0}, &p->seed, "seed of the random choices"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_HEAD, "PROFILE_HEAD");
    memcpy(out, list, sizeof list);
}

void profile_candidates(profile_columns *c, uint64_t K, uint64_t V, h5_field out[PROFILE_CANDIDATE_FIELDS])
{
    const h5_field list[] = {
        {"candidates/keys", H5_TEXT, KVC_SPEC_MAX, 1, {K}, c->keys, "spec strings, groups resolved"},
        {"candidates/values", H5_TEXT, KVC_SPEC_MAX, 1, {V}, c->values, "spec strings, groups resolved"},
        {"candidates/key_page", H5_U32, 0, 1, {K}, c->key_page, "bytes of one page of all heads"},
        {"candidates/value_page", H5_U32, 0, 1, {V}, c->value_page, "bytes of one page of all heads"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_CANDIDATE_FIELDS, "PROFILE_CANDIDATE_FIELDS");
    memcpy(out, list, sizeof list);
}

void profile_anchors(profile_columns *c, uint64_t A, uint64_t L, h5_field out[PROFILE_ANCHOR_FIELDS])
{
    const h5_field list[] = {
        {"anchors/key", H5_U16, 0, 2, {A, L}, c->anchor_key, "[anchor][layer] index of the key candidate"},
        {"anchors/value", H5_U16, 0, 2, {A, L}, c->anchor_value, "[anchor][layer] index of the value candidate"},
        {"anchors/local_loss",
         H5_F64,
         0,
         1,
         {A},
         c->local_loss,
         "sum over layers of (key_loss + value_loss) output_power / residual_power"},
        {"anchors/kl", H5_F64, 0, 1, {A}, c->kl, "mean KL(p_ref | p_plan) over tokens, nats"},
        {"anchors/kl_stderr", H5_F64, 0, 1, {A}, c->kl_stderr, "standard error of kl over tokens, nats"},
        {"anchors/ppl_ref", H5_F64, 0, 1, {A}, c->ppl_ref, "perplexity of the exact model"},
        {"anchors/ppl", H5_F64, 0, 1, {A}, c->ppl, "perplexity under the plan"},
        {"anchors/n_tokens", H5_U64, 0, 1, {A}, c->n_tokens, "scored tokens"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_ANCHOR_FIELDS, "PROFILE_ANCHOR_FIELDS");
    memcpy(out, list, sizeof list);
}

static bool allocate(void *slot, uint64_t n, size_t size)
{
    void *memory = calloc(n ? n : 1, size);
    memcpy(slot, &memory, sizeof memory);
    return memory != NULL;
}

void profile_prices(profile_columns *c, uint64_t N, h5_field out[PROFILE_PRICE_FIELDS])
{
    const h5_field list[] = {
        {"prices/layer", H5_U32, 0, 1, {N}, c->price_layer, "layer of the item that is changed"},
        {"prices/side", H5_U16, 0, 1, {N}, c->price_side, "0: its keys, 1: its values"},
        {"prices/candidate", H5_U16, 0, 1, {N}, c->price_candidate, "index of the candidate that it is changed to"},
        {"prices/kl", H5_F64, 0, 1, {N}, c->price_kl, "mean KL(p_ref | p) of the model with this item alone, nats"},
        {"prices/kl_stderr", H5_F64, 0, 1, {N}, c->price_stderr, "standard error of kl over positions, nats"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_PRICE_FIELDS, "PROFILE_PRICE_FIELDS");
    memcpy(out, list, sizeof list);
}

void profile_fit(profile *p, h5_field out[PROFILE_FIT_FIELDS])
{
    const uint64_t L = p->n_layers, n = PROFILE_PIECES;
    const h5_field list[] = {
        {"fit/parameters",
         H5_U8,
         0,
         1,
         {p->n_params},
         p->params,
         "constants of fitted codecs, as FORMAT.md lays them out"},
        {"fit/key_parts", H5_U64, 0, 3, {L, p->n_keys, n}, p->key_parts, "[layer][key][piece] where a part begins"},
        {"fit/value_parts", H5_U64, 0, 3, {L, p->n_values, n}, p->value_parts, "[layer][value][piece] the same"},
    };
    _Static_assert(sizeof list / sizeof *list == PROFILE_FIT_FIELDS, "PROFILE_FIT_FIELDS");
    memcpy(out, list, sizeof list);
}

kvc_status profile_columns_new(profile_columns *c, const profile_counts *n, kvc_error *err)
{
    uint64_t plans = n->anchors * n->layers;
    *c = (profile_columns){0};
    bool ok = allocate(&c->keys, n->keys, KVC_SPEC_MAX) && allocate(&c->values, n->values, KVC_SPEC_MAX) &&
              allocate(&c->key_page, n->keys, 4) && allocate(&c->value_page, n->values, 4) &&
              allocate(&c->anchor_key, plans, 2) && allocate(&c->anchor_value, plans, 2) &&
              allocate(&c->local_loss, n->anchors, 8) && allocate(&c->kl, n->anchors, 8) &&
              allocate(&c->kl_stderr, n->anchors, 8) && allocate(&c->ppl_ref, n->anchors, 8) &&
              allocate(&c->ppl, n->anchors, 8) && allocate(&c->n_tokens, n->anchors, 8) &&
              allocate(&c->price_layer, n->prices, 4) && allocate(&c->price_side, n->prices, 2) &&
              allocate(&c->price_candidate, n->prices, 2) && allocate(&c->price_kl, n->prices, 8) &&
              allocate(&c->price_stderr, n->prices, 8);
    if (ok) return KVC_OK;
    profile_columns_free(c);
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a profile");
}

void profile_columns_free(profile_columns *c)
{
    void *all[] = {c->keys,        c->values,     c->key_page,        c->value_page, c->anchor_key,  c->anchor_value,
                   c->local_loss,  c->kl,         c->kl_stderr,       c->ppl_ref,    c->ppl,         c->n_tokens,
                   c->price_layer, c->price_side, c->price_candidate, c->price_kl,   c->price_stderr};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    *c = (profile_columns){0};
}
