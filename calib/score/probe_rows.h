/* probe_rows.h - which rows of a sequence are looked at: queries to measure losses on, tokens to fit codecs to. */
#ifndef CALIB_SCORE_PROBE_ROWS_H
#define CALIB_SCORE_PROBE_ROWS_H
#include "kvc/kvc.h"

/* A stratified sample of the rows that read at least one compressed token: the range is cut into `wanted` equal
 * strata (0: every row) and one row is drawn from each. Depends on (seed, sequence) alone. rows [n_tokens] out,
 * ascending; returns their number, 0 where the sequence is too short to have a compressed token. */
uint32_t probe_rows_draw(uint32_t *rows, const kvc_token_policy *policy, uint32_t n_tokens, uint32_t wanted,
                         uint64_t seed, uint64_t sequence);

/* The same over the tokens that are compressed at the sequence's end. */
uint32_t compressed_rows_draw(uint32_t *rows, const kvc_token_policy *policy, uint32_t n_tokens, uint32_t wanted,
                              uint64_t seed, uint64_t sequence);
#endif
