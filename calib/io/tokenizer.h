/* tokenizer.h - byte-level BPE from a tokenizer.json (Hugging Face tokenizers). A component that is not implemented
 * is KVC_UNSUPPORTED with its name; nothing is guessed. Ids are those of Hugging Face (tests/golden/tokenizer), but
 * for characters that only one side's Unicode version knows. "truncation" and "padding" are never applied. */
#ifndef CALIB_IO_TOKENIZER_H
#define CALIB_IO_TOKENIZER_H
#include <stdbool.h>
#include "kvc/kvc.h"

typedef struct tokenizer tokenizer;

typedef struct token_list { /* zero-initialise; token_list_free() */
    uint32_t *ids;
    size_t n, capacity;
} token_list;
kvc_status token_list_push(token_list *list, uint32_t id, kvc_error *err);
void token_list_free(token_list *list);

kvc_status tokenizer_open(tokenizer **out, const char *path, kvc_error *err);
kvc_status tokenizer_open_memory(tokenizer **out, const char *json, size_t n, const char *what, kvc_error *err);
void tokenizer_close(tokenizer *t);
uint32_t tokenizer_vocab(const tokenizer *t); /* largest id + 1 */
/* Appends the ids of UTF-8 text (invalid UTF-8 is KVC_FORMAT with its offset). Added tokens in the text are
 * recognised, as Hugging Face does. No BOS or EOS is added here: see tokenizer_prefix. Thread-safe. */
kvc_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, kvc_error *err);
/* The id that the post-processor puts before a single sequence (BOS), or -1. */
int64_t tokenizer_prefix(const tokenizer *t);
int64_t tokenizer_find(const tokenizer *t,
                       const char *token); /* id of a token by its text (added or vocabulary), or -1 */
bool tokenizer_is_special(const tokenizer *t, uint32_t id);
/* Raw bytes of one token (borrowed), for streaming output; *n = 0 for unknown ids. */
const char *tokenizer_bytes(const tokenizer *t, uint32_t id, size_t *n);
/* UTF-8 text of ids, invalid sequences as U+FFFD; owned: free(). NUL-terminated: text with NUL characters needs
 * tokenizer_bytes(). */
char *tokenizer_decode(const tokenizer *t, const uint32_t *ids, size_t n, bool skip_special);
#endif
