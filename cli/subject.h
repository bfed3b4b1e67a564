/* subject.h - the model that a command works on, with its tokenizer and the backend that runs it. */
#ifndef CLI_SUBJECT_H
#define CLI_SUBJECT_H
#include "backend.h"
#include "model.h"
#include "settings.h"
#include "tokenizer.h"

typedef struct subject {
    model *model;
    tokenizer *tokenizer; /* NULL where the model has no tokenizer.json */
    backend *backend;
} subject;

/* hash: the SHA-256 of weights and tokenizer are needed. On failure `out` is empty but may be closed. */
kvc_status subject_open(subject *out, const settings *s, bool hash, kvc_error *err);
void subject_close(subject *subject);
/* A note if sequences of n_tokens are longer than the model was made for. */
void subject_note_length(const subject *subject, uint64_t n_tokens);
/* Two model identities: shapes and weights. KVC_MISMATCH names the field; `left` and `right` name the sides. */
kvc_status model_info_match(const kvc_model_info *a, const char *left, const kvc_model_info *b, const char *right,
                            kvc_error *err);
#endif
