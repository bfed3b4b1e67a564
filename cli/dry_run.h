/* dry_run.h - --dry-run: what a command would take, without doing it. Memory and disk follow from shapes; times from
 * a short measurement of the two operations that dominate, products and codecs. */
#ifndef CLI_DRY_RUN_H
#define CLI_DRY_RUN_H
#include "corpus.h"
#include "plan.h"
#include "subject.h"

/* Of `profile`, and with held-out text of `run`. */
kvc_status dry_run_profile(const settings *s, const subject *subject, const corpus *corpus, const codec_space *space,
                           kvc_error *err);
kvc_status dry_run_eval(const settings *s, const subject *subject, const sequence_set *tokens, bool compressed,
                        kvc_error *err);
/* Of `eval --kernels`: kernels that do not serve the configuration are refused. */
kvc_status dry_run_served(const settings *s, const subject *subject, const sequence_set *tokens,
                          const kvc_config *config, kvc_error *err);
#endif
