/* plan_search.h - what the searches that measure plans share: the text they measure on, a choice of options as a plan
 * with its constants, and the file in the work directory that keeps what was measured. */
#ifndef CLI_PLAN_SEARCH_H
#define CLI_PLAN_SEARCH_H
#include "bound_plan.h"
#include "refine_file.h"
#include "settings.h"
#include "solution.h"
#include "workdir.h"

/* The first --price-tokens of the calibration text. Owned: sequences_free(). */
kvc_status plan_search_text(sequence_set *out, const settings *s, const sequence_set *calibration, kvc_error *err);
/* choice [n_items] of options. Owned: bound_plan_free(). */
kvc_status plan_search_bind(bound_plan *out, const solution *s, const uint16_t *choice, kvc_error *err);
/* The records of `name` in the work directory that belong to this profile, text and policy (refine_file.h). */
kvc_status plan_search_file(refine_file *f, const char *name, const profile *p, const kvc_token_policy *tokens,
                            const settings *s, const sequence_set *text, const workdir *w, kvc_error *err);
#endif
