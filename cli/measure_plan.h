/* measure_plan.h - what the whole model loses under a plan, on a text. */
#ifndef CLI_MEASURE_PLAN_H
#define CLI_MEASURE_PLAN_H
#include "profile.h"
#include "score.h"
#include "settings.h"
#include "subject.h"

typedef struct plan_measure { /* borrowed */
    const profile *profile;   /* of which fitted codecs take their constants */
    const settings *s;
    const subject *subject;
    const sequence_set *text;
    hidden_states *reference; /* the exact model's final states of the text */
    const char *stage;        /* in what progress shows */
} plan_measure;

/* layers [n_layers]; files (may be NULL) [sequences_files(text)]: the same over each prompt file's positions. */
kvc_status measure_plan(const plan_measure *m, const kvc_token_policy *tokens, const kvc_layer *layers,
                        eval_result *out, eval_result *files, kvc_error *err);
#endif
