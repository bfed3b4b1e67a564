/* probed.h - which sequences losses are measured on, and which prompt files, the domains, they speak for. */
#ifndef CALIB_SCORE_PROBED_H
#define CALIB_SCORE_PROBED_H
#include <stdbool.h>
#include "kvc/kvc.h"
#include "prompts.h"

#define NO_DOMAIN UINT32_MAX

typedef struct probed_set {
    bool *sequence;   /* [tokens->n] */
    size_t n;         /* how many are */
    uint32_t *domain; /* [n_files] the file's number among those with a probed sequence; NO_DOMAIN: it has none */
    uint32_t n_files, n_domains;
} probed_set;

/* Of the sequences that read a compressed page `wanted` (0: all), shared out evenly among the prompt files and evenly
 * spread over each, but at least one of every file. */
kvc_status probed_new(probed_set *out, const sequence_set *tokens, const kvc_token_policy *policy, size_t wanted,
                      kvc_error *err);
void probed_free(probed_set *p); /* an empty one is fine */
#endif
