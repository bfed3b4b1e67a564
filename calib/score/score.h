/* score.h - what a model loses under a codec: local losses of every candidate, and the global loss of a plan. */
#ifndef CALIB_SCORE_SCORE_H
#define CALIB_SCORE_SCORE_H
#include "fit.h"
#include "model.h"
#include "profile.h"

/* Seconds. What a device is asked for is waited for at the next result that the host needs. */
typedef struct profile_times {
    double layers;      /* the forward pass and statistics of channels */
    double sensitivity; /* weights, moments and samples */
    double fits, losses, checkpoints;
} profile_times;

typedef struct profile_options {
    uint32_t probe_rows;      /* query rows per sequence that losses are measured on (0: all) */
    uint32_t probe_sequences; /* of how many sequences, one of each prompt file at least (probed.h; 0: of all) */
    size_t fit_rows;          /* tokens that tables are fitted to, sampled from all sequences from fit_from on */
    size_t fit_from;          /* the sequences before it are left for measuring what was fitted to the others */
    fit_options fit;
    bool antkv_keys; /* keys count by AnTKV's score in fits, not by second-order sensitivity */
    uint64_t seed;
    uint64_t memory_limit;     /* of the hidden states, 0: none */
    const char *workdir;       /* checkpoints; NULL: none */
    double checkpoint_seconds; /* least time between two; 0: after every layer */
    profile_times *times;      /* written; NULL: not wanted */
    bool resume; /* continue from the workdir's checkpoint (its fingerprint must equal p->fingerprint) */
} profile_options;

/* Fill p (from profile_new, with fingerprint set) from calibration sequences: statistics and local losses of all
 * candidates at every layer, per prompt file as well where p has domains (profile_set_domains: one for each file of
 * which a sequence is probed, in their order). *final (may be NULL) receives the last hidden states, for measuring
 * plans on the same text. KVC_INTERRUPTED keeps the last checkpoint that was due. */
kvc_status profile_measure(profile *p, model *m, backend *b, const sequence_set *tokens,
                           const profile_options *options, hidden_states **final, const job *job, kvc_error *err);

/* Bytes of the buffers that profile_measure adds to the forward pass; of the codecs param_bytes is read. n_probed as
 * in probed.h. */
memory_need profile_memory(const backend *b, const kvc_model_info *model, const kvc_codec *keys, uint32_t n_keys,
                           const kvc_codec *values, uint32_t n_values, const profile_options *o, size_t n_probed,
                           size_t longest);
/* The finished measurements with the prices so far take the last checkpoint's place, for --resume. */
kvc_status profile_keep_prices(const profile *p, const char *workdir, kvc_error *err);
/* Remove the checkpoints of a finished profile. */
void profile_forget(const char *workdir, uint32_t n_layers);

typedef struct eval_result {
    uint64_t n_tokens;              /* scored positions */
    double ppl_ref, ppl;            /* exp of the mean negative log likelihood */
    double kl_mean, kl_stderr;      /* nats per token; standard error over tokens */
    double kl_late, kl_late_stderr; /* of the positions from half the longest sequence's length on; 0 without any */
    double top1_agreement;
} eval_result;

/* Teacher-forced, decode-faithful (methods.md section 4). layers NULL: reference only (ppl = ppl_ref). ref (may be
 * NULL): final hidden states of the same tokens, to save the reference pass. params as in kvc_coder_init. */
kvc_status evaluate(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                    const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                    hidden_states *ref, eval_result *out, const job *job, const char *stage, kvc_error *err);

/* The same, and files [sequences_files(tokens)] over each prompt file's positions; n_tokens is 0 where it has none.
 */
kvc_status evaluate_files(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                          const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                          hidden_states *ref, eval_result *out, eval_result *files, const job *job, const char *stage,
                          kvc_error *err);

/* The exact model's final hidden states: `ref` of evaluate(). Owned: hidden_free(). */
kvc_status evaluate_exact(hidden_states **out, model *m, backend *b, const sequence_set *tokens,
                          uint64_t memory_limit, const job *job, const char *stage, kvc_error *err);

/* What serving a text takes beside the passes. */
typedef struct serving_need {
    memory_need memory;
    uint32_t n_together; /* sequences at a time */
    uint64_t n_steps;    /* of a layer: an append and an attend of up to n_together tokens */
} serving_need;

/* evaluate() with the attention of libkvc_cuda, as a server runs it: in each layer a token's keys and values are
 * appended to the cache, then its query attends, token after token, sequences side by side as far as memory goes. b
 * is a GPU; `kernels` the folder that `kvcalib compile --kernels` wrote for the configuration. KVC_INVALID: this
 * build has no libkvc_cuda. KVC_MISMATCH: kernels of another configuration or version. need: written. */
kvc_status evaluate_served(model *m, backend *b, const sequence_set *tokens, const kvc_config *config,
                           const char *kernels, uint64_t memory_limit, eval_result *out, serving_need *need,
                           const job *job, const char *stage, kvc_error *err);
/* The need alone; loads the kernels and makes the cache to find out. */
kvc_status serving_forecast(serving_need *out, const model_config *c, backend *b, const sequence_set *tokens,
                            const kvc_config *config, const char *kernels, kvc_error *err);

/* Isolated global losses: what one changed item (a layer's keys or values) costs, everything else as in a base plan.
 * The streams that enter each layer under the base plan are kept, so that only the changed layer and later ones are
 * computed. */
typedef struct pricing pricing;

typedef struct plan_ref {    /* a plan with its parameters; borrowed */
    const kvc_layer *layers; /* [n_layers]; NULL: the exact model */
    const void *params;
    size_t params_bytes;
} plan_ref;

/* Runs the base plan (and the exact model, where `exact` is not the base) over the tokens and keeps what later calls
 * need. score_rows: positions per sequence whose next-token distributions are compared, evenly spread over those that
 * see compressed pages; 0: all. m, b, tokens and the base's parameters are borrowed until pricing_free(); policy and
 * layers are copied. */
kvc_status pricing_new(pricing **out, model *m, backend *b, const sequence_set *tokens,
                       const kvc_token_policy *policy, const plan_ref *base, uint32_t score_rows,
                       uint64_t memory_limit, const job *job, kvc_error *err);
/* Another base plan, computed from the first layer in which it differs. After a failure (KVC_INTERRUPTED too) `p` is
 * good for pricing_rebase() and pricing_free() only. */
kvc_status pricing_rebase(pricing *p, const plan_ref *base, const job *job, kvc_error *err);
void pricing_free(pricing *p); /* NULL is fine */
/* kl: mean KL(exact || base with the item changed) over the scored positions, with its standard error; delta: its
 * difference from the base plan's KL, whose standard error is that of the differences, position by position. */
typedef struct price {
    double kl, kl_stderr, delta, delta_stderr;
    size_t n_rows; /* scored positions */
} price;
/* params: the item's own block (codec->param_offset counts for nothing), read during the call. files (may be NULL)
 * [sequences_files(tokens)]: the same over each prompt file's positions, all 0 where it has none. */
kvc_status pricing_item(pricing *p, uint32_t layer, bool values, const kvc_codec *codec, const void *params,
                        price *out, price *files, const job *job, kvc_error *err);
/* The same of n changes of one layer's side, no more than pricing_together(), at a time; out [n], files NULL or
 * [n][sequences_files(tokens)]. */
typedef struct pricing_change {
    const kvc_codec *codec;
    const void *params;
} pricing_change;
size_t pricing_together(const pricing *p);
kvc_status pricing_items(pricing *p, uint32_t layer, bool values, uint32_t n, const pricing_change *changes,
                         price *out, price *files, const job *job, kvc_error *err);
/* The same measure for a whole plan, computed from the first layer in which it differs from the base. */
kvc_status pricing_plan(pricing *p, const plan_ref *plan, price *out, price *files, const job *job, kvc_error *err);
/* Positions that see a compressed page, as a share of those that evaluate() scores. A price is the mean over the
 * former; the others read what the exact model reads, rounded to fp16, and lose next to nothing. So price->kl times
 * this is evaluate()'s mean, up to that rounding and, with score_rows, up to which positions were drawn. */
double pricing_share(const sequence_set *tokens, const kvc_token_policy *policy);
/* Peak bytes that a pricing adds to the forward pass of the copies that run together (model_memory(), of
 * model_together() texts). */
memory_need pricing_memory(const model_config *c, backend *b, size_t n_tokens, size_t n_sequences, size_t longest,
                           uint32_t score_rows, uint64_t memory_limit);
#endif
