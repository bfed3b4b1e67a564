/* stage_refine.h - a better plan than the front's by measuring plans on calibration text (methods.md section 5,
 * "refine"). */
#ifndef CLI_STAGE_REFINE_H
#define CLI_STAGE_REFINE_H
#include "prompts.h"
#include "solution.h"
#include "subject.h"
#include "workdir.h"

/* Improves solution->chosen within `budget` bytes (at least what it has) and `evaluations` measurements of one item
 * or one plan each, on the first --price-tokens of the calibration text, at --price-rows positions per sequence. The
 * chosen plan never measures worse than it was. With --objective max KL is that of the prompt file that loses most.
 * Measurements are kept in the work directory's refine.jsonl; with
 * --resume those that are there are not made again. The model runs only if something has to be measured. */
kvc_status stage_refine(solution *solution, uint64_t budget, uint32_t evaluations, const settings *s,
                        const subject *subject, const sequence_set *calibration, const workdir *w, kvc_error *err);
#endif
