/* stage_profile.h - the long stage that `run` and `profile` share: measure candidates, then a few plans along the
 * front. */
#ifndef CLI_STAGE_PROFILE_H
#define CLI_STAGE_PROFILE_H
#include "corpus.h"
#include "plan.h"
#include "profile.h"
#include "subject.h"
#include "workdir.h"

/* What the profile depends on: {"model", "tokenizer", "text", "recipe", "build"}, and its SHA-256 in hex. */
kvc_status profile_fingerprint(json_t **out, char hex[65], const settings *s, const subject *subject,
                               const corpus *corpus, const codec_space *space, kvc_error *err);

/* Continues from the work directory's checkpoint with --resume. Checkpoints stay until profile_forget(). */
kvc_status stage_profile(profile **out, const settings *s, const subject *subject, const corpus *corpus,
                         const codec_space *space, const workdir *w, const json_t *fingerprint, const char *hex,
                         kvc_error *err);

/* KVC_INTERRUPTED says how to go on; other failures stay as they are. */
kvc_status resumable(kvc_status status, const workdir *w, kvc_error *err);
#endif
