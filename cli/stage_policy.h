/* stage_policy.h - --window auto and --sinks auto: how many of the newest and first tokens stay fp16.
 *
 * What stays fp16 costs bytes that codes could have instead. For each of a few windows the plan is solved with that
 * window's bytes counted at --context, by the losses of the profile, which was made with the default window; what the
 * plan then loses is measured on the pricing text through the cache's own rules. Sinks are looked for in the same
 * way, after the window and with it. Ties go to the smaller number.
 *
 * Under --bits the plan wins that loses least in the later half of the sequences: early positions, which read exact
 * rows alone for as long as window and sinks last, would flatter long windows. Under --max-loss every policy gets the
 * cheapest plan whose loss, over all positions as everywhere, keeps the bound as measured: where the prediction was
 * off it is corrected by what was measured, a few times at most; the fewest bytes win.
 *
 * Tried are 0, 16, 32, 64, 128, 256 newest and 0, 1, 2, 4, 8, 16 first tokens, as far as they leave half of the
 * positions of the text's longest sequence, and --context, compressed pages to read. */
#ifndef CLI_STAGE_POLICY_H
#define CLI_STAGE_POLICY_H
#include "solution.h"
#include "subject.h"
#include "workdir.h"

bool policy_is_auto(const settings *s);
/* The policy of the fewest exact tokens that may be tried; without auto the settings' own. */
kvc_token_policy policy_least(const settings *s);
/* How many policies are tried, at most, on text whose longest sequence has that many tokens. */
size_t policy_count(const settings *s, size_t longest);
/* Like solution_find(). What was tried is in out->trials; predictions are scaled so that the chosen plan's is what
 * was measured. Measurements are kept in the work directory's policy.jsonl. */
kvc_status stage_policy(solution *out, const profile *p, const settings *s, const subject *subject,
                        const sequence_set *calibration, const workdir *w, kvc_error *err);
#endif
