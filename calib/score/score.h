/* score.h - what a model loses under a codec: local losses of every candidate, and the global loss of a plan. */
#ifndef CALIB_SCORE_SCORE_H
#define CALIB_SCORE_SCORE_H
#include "model.h"
#include "profile.h"

typedef struct profile_options {
    uint32_t probe_rows; /* query rows per sequence (0: all) */
    uint64_t seed;
    uint64_t memory_limit;     /* of the hidden states, 0: none */
    const char *workdir;       /* checkpoints; NULL: none */
    double checkpoint_seconds; /* least time between two; 0: after every layer */
    bool resume; /* continue from the workdir's checkpoint (its fingerprint must equal p->fingerprint) */
} profile_options;

/* Fill p (from profile_new, with fingerprint set) from calibration sequences: statistics and local losses of all
 * candidates at every layer. *final (may be NULL) receives the last hidden states, for measuring plans on the same
 * text. KVC_INTERRUPTED keeps the last checkpoint that was due. */
kvc_status profile_measure(profile *p, model *m, backend *b, const sequence_set *tokens,
                           const profile_options *options, hidden_states **final, const job *job, kvc_error *err);

/* Bytes of the buffers that profile_measure adds to the forward pass. */
uint64_t profile_memory(const kvc_model_info *model, uint32_t n_keys, uint32_t n_values, uint32_t probe_rows,
                        size_t longest);
/* Remove the checkpoints of a finished profile. */
void profile_forget(const char *workdir, uint32_t n_layers);

typedef struct eval_result {
    uint64_t n_tokens;         /* scored positions */
    double ppl_ref, ppl;       /* exp of the mean negative log likelihood */
    double kl_mean, kl_stderr; /* nats per token; standard error over tokens */
    double top1_agreement;
} eval_result;

/* Teacher-forced, decode-faithful (methods.md section 4). layers NULL: reference only (ppl = ppl_ref). ref (may be
 * NULL): final hidden states of the same tokens, to save the reference pass. params as in kvc_coder_init. */
kvc_status evaluate(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                    const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                    hidden_states *ref, eval_result *out, const job *job, const char *stage, kvc_error *err);
#endif
