/* checkpoint.h - the two files that let an interrupted profile go on: profile.partial.h5 (losses of the finished
 * layers) and hidden-<layer>.bin (the residual stream that enters the next one). Each is whole or absent; the pair is
 * valid when the profile's layers_done names a hidden file with the same fingerprint. */
#ifndef CALIB_SCORE_CHECKPOINT_H
#define CALIB_SCORE_CHECKPOINT_H
#include "model.h"
#include "profile.h"

/* Write both, the hidden states first, then remove those of `previous` layers done (if it differs; UINT32_MAX: none).
 */
kvc_status checkpoint_save(const profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir,
                           uint32_t previous, kvc_error *err);
/* Restore p's losses and the hidden states; *found is false where there is no checkpoint. Another fingerprint is
 * KVC_MISMATCH. */
kvc_status checkpoint_load(profile *p, hidden_states *hidden, size_t n_tokens, const char *workdir, bool *found,
                           kvc_error *err);
#endif
