/* baselines.h - plans that a result is compared with: published and uniform pairs, and other ways to spend the same
 * bytes. */
#ifndef CLI_BASELINES_H
#define CLI_BASELINES_H
#include "report_doc.h"
#include "subject.h"

enum { MAX_BASELINES = 16 };

typedef struct baselines {
    baseline list[MAX_BASELINES];
    size_t n;
} baselines;

/* Beside the solution that the rivals are of. Measures each on `text`, whose exact final hidden states are
 * `reference`. Pairs that the model's shape does not allow are left out. yardstick [sequences_files(text)]: KIVI-2 on
 * each prompt file; n_tokens is 0 where it was not measured. */
kvc_status baselines_measure(baselines *out, const settings *s, const subject *subject, const rivals *rivals,
                             const sequence_set *text, hidden_states *reference, eval_result *yardstick,
                             kvc_error *err);
#endif
