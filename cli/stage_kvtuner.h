/* stage_kvtuner.h - KVTuner's search on measured losses, to compare with at equal evaluations. */
#ifndef CLI_STAGE_KVTUNER_H
#define CLI_STAGE_KVTUNER_H
#include "prompts.h"
#include "solution.h"
#include "subject.h"
#include "workdir.h"

/* Evaluates --evaluations plans on the first --price-tokens of the calibration text, at --price-rows positions per
 * sequence. The front becomes that of these plans by measured KL (solution->measured), and the chosen plan its best
 * within --bits, or its smallest within --max-loss; KVC_INFEASIBLE names the smallest loss measured. The solution is
 * solution_find()'s for --method kvtuner. Measurements are kept in the work directory's kvtuner.jsonl; with --resume
 * those that are there are not made again. */
kvc_status stage_kvtuner(solution *solution, const settings *s, const subject *subject,
                         const sequence_set *calibration, const workdir *w, kvc_error *err);
#endif
