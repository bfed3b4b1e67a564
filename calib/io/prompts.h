/* prompts.h - text files into token sequences.
 * .txt: the file is one document. .jsonl: one document a line, {"text": "..."} or {"messages": [{"role","content"}]}.
 * .tokens: ids in decimal, separated by white space, one document a line. Blank lines and empty documents are
 * skipped. Other suffixes are refused by name. */
#ifndef CALIB_IO_PROMPTS_H
#define CALIB_IO_PROMPTS_H
#include "tokenizer.h"

typedef struct prompt_file { /* one file's tokens, documents joined (each .jsonl or .tokens document starts with the
                                prefix token, if any) */
    char name[128];          /* base name */
    uint8_t sha256[32];      /* of the file */
    token_list tokens;
} prompt_file;

/* `vocab` is the model's: an id beyond it is an error. `t` may be NULL for .tokens only. */
kvc_status prompts_read(prompt_file *out, const char *path, const tokenizer *t, uint32_t vocab, kvc_error *err);
/* The same from memory, for built-in prompt sets; the kind is taken from the name's suffix. */
kvc_status prompts_read_memory(prompt_file *out, const char *name, const char *text, size_t n, const tokenizer *t,
                               uint32_t vocab, kvc_error *err);
void prompt_file_free(prompt_file *f);

/* Independent sequences of at most seq_len tokens, cut consecutively; the tokenizer's prefix (BOS) comes first in
 * each and counts (where the text has it at the cut anyway it is not doubled); a last partial one is kept if it has
 * at least 2 tokens. max_tokens bounds all tokens of the set, prefixes included; 0: no bound. */
typedef struct sequence_set {
    uint32_t *ids;  /* all tokens, sequence after sequence */
    size_t *first;  /* [n + 1] */
    uint32_t *file; /* [n] index of the prompt file */
    size_t n;
} sequence_set;
kvc_status sequences_cut(sequence_set *out, const prompt_file *file, uint32_t file_index, uint32_t seq_len,
                         int64_t prefix, uint64_t max_tokens, kvc_error *err);
/* Several files: their sequences in round-robin order (first of each file, second of each, ...), so that any prefix
 * of the set mixes the files. */
kvc_status sequences_mix(sequence_set *out, const prompt_file *files, size_t n_files, uint32_t seq_len,
                         int64_t prefix, kvc_error *err);
/* Move the sequences [begin, end) into a set of their own. */
kvc_status sequences_slice(sequence_set *out, const sequence_set *in, size_t begin, size_t end, kvc_error *err);
size_t sequences_tokens(const sequence_set *s);
size_t sequences_longest(const sequence_set *s);
uint32_t sequences_files(const sequence_set *s); /* one more than the highest index of a prompt file; 0: none */
void sequences_sha256(const sequence_set *s, uint8_t out[32]); /* of all that the set says */
void sequences_free(sequence_set *s);

/* The built-in mixed set (configs/prompts/, embedded at build time). */
typedef struct builtin_prompt {
    const char *name;
    const char *text;
    size_t n;
} builtin_prompt;
const builtin_prompt *builtin_prompts(size_t *n);

/* One chat as text by the template that the tokenizer's special tokens imply: ChatML (<|im_start|>), Llama-3
 * (<|start_header_id|>), else "role: content" lines. open_reply adds the header of the assistant's turn. Owned:
 * free(). */
char *chat_format(const tokenizer *t, const char *const *roles, const char *const *contents, size_t n,
                  bool open_reply);
#endif
