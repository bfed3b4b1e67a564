/* corpus.h - the text of a run: prompt files as token sequences, and which of them are held apart from calibration.
 */
#ifndef CLI_CORPUS_H
#define CLI_CORPUS_H
#include <jansson.h>
#include "prompts.h"
#include "subject.h"

typedef struct corpus {
    prompt_file *files, *held_files; /* held_files: of --holdout */
    size_t n_files, n_held_files;
    sequence_set calibration, holdout;
    uint32_t seq_len; /* --seq-len, or less where the text is short */
} corpus;

/* The sequences of all files in turn (sequences_mix): the first calib_tokens calibrate. hold_apart: text to measure
 * the result on is needed as well; without --holdout it is the sequences that follow, about holdout_tokens or a fifth
 * of the text, so that it mixes the files too; where too few follow, the last ones. A text too short for that is cut
 * into shorter sequences, down to what still fills a page. */
kvc_status corpus_open(corpus *out, const settings *s, const subject *subject, bool hold_apart, kvc_error *err);
void corpus_close(corpus *c);
/* Sequences of `s` that hold at most n_tokens tokens, but at least one: their number. */
size_t sequences_within(const sequence_set *s, uint64_t n_tokens);
/* The first sequences of the calibration text, on which prices and anchors are measured, at most a quarter: nothing
 * is fitted to them, since a loss measured on what was fitted to comes out too small. */
size_t corpus_measured(const settings *s, const sequence_set *calibration);
/* [{"name", "sha256", "tokens"}], for the provenance. */
json_t *prompt_files_json(const prompt_file *files, size_t n);
#endif
