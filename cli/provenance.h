/* provenance.h - where a cfg.bin comes from, as JSON: tool, recipe, text by name and hash, measured and predicted
 * figures, the front. No time, host, path or thread count: the same inputs give the same bytes. */
#ifndef CLI_PROVENANCE_H
#define CLI_PROVENANCE_H
#include "corpus.h"
#include "score.h"
#include "solution.h"

/* Of `run`. NULL: out of memory. */
json_t *provenance_run(const settings *s, const profile *p, const corpus *corpus, const solution *solution,
                       const eval_result *r);
/* Of `compile`: profile may be NULL. */
json_t *provenance_compile(const char *plan_path, const uint8_t plan_sha256[32], const profile *p);
/* {"tokens", "ppl_ref", "ppl", "kl_mean", "kl_stderr", "top1_agreement"} */
json_t *eval_result_json(const eval_result *r);
#endif
