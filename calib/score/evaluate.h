/* evaluate.h - an evaluation's parts, for whatever computes the attention of its compressed model. */
#ifndef CALIB_SCORE_EVALUATE_H
#define CALIB_SCORE_EVALUATE_H
#include "score.h"

/* KVC_INPUT where there is no position to score, or with a policy (NULL: the exact model alone) nothing to compress.
 */
kvc_status evaluate_check(const sequence_set *tokens, const kvc_token_policy *policy, kvc_error *err);
/* evaluate_files() with the attention of these hooks; NULL: reference only. */
kvc_status evaluate_passes(model *m, backend *b, const sequence_set *tokens, const forward_hooks *hooks,
                           uint64_t memory_limit, hidden_states *ref, eval_result *out, eval_result *files,
                           const job *job, const char *stage, kvc_error *err);
#endif
