/* tokenizer_parts.h - the parts of a tokenizer and how they meet; private to the tokenizer_*.c files.
 *
 *     text
 *      -> added tokens found in the raw text            tokenizer_added.c
 *      -> Unicode normalisation of what is between      tokenizer_normal.c
 *      -> added tokens found in the normalised text
 *      -> split steps, each cutting every piece         tokenizer_split.c, tokenizer_regex.c
 *      -> byte-pair merges within each piece            tokenizer_bpe.c over tokenizer_vocab.c
 *      -> ids
 *
 * All parts are immutable once loaded; what a call needs besides lives in its encoder (bpe_work, splitter).
 */
#ifndef CALIB_IO_TOKENIZER_PARTS_H
#define CALIB_IO_TOKENIZER_PARTS_H
#include "tokenizer.h"
#include "tokenizer_field.h"
#include "tokenizer_text.h"

#define NO_TOKEN UINT32_MAX

/* ---- vocabulary and merges
 * ----------------------------------------------------------------------------------- */

enum { TOKEN_MODEL = 1, TOKEN_ADDED = 2, TOKEN_SPECIAL = 4 };

typedef struct vocab_token {
    const char *text;  /* as in the file: bytes in the printable alphabet of GPT-2 */
    const char *bytes; /* what it stands for */
    uint32_t n_text, n_bytes;
    uint8_t flags; /* 0: no token has this id */
} vocab_token;

typedef struct vocab_merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free slot */
    uint32_t rank, id;
} vocab_merge;

typedef struct vocab {
    vocab_token *tokens; /* [n] by id */
    uint32_t n;
    char *arena;    /* the texts and bytes of all tokens */
    uint32_t *slot; /* [slot_mask + 1] id + 1 by hash of the text; 0: free */
    uint32_t slot_mask;
    vocab_merge *merge; /* [merge_mask + 1] */
    uint32_t merge_mask;
    uint32_t byte_id[256]; /* token of each single byte, or NO_TOKEN */
    bool ignore_merges;
} vocab;

/* `json_bytes`, the size of the whole file, bounds the ids and so the memory. */
kvc_status vocab_load(vocab *v, const field *model, const field *added, size_t json_bytes, kvc_error *err);
void vocab_free(vocab *v);
uint32_t vocab_find(const vocab *v, const char *text, size_t n);                  /* NO_TOKEN if there is none */
const vocab_merge *vocab_merge_of(const vocab *v, uint32_t left, uint32_t right); /* NULL if they do not merge */
/* `bytes` in the printable alphabet, appended to out. */
bool vocab_spell(text_buffer *out, const char *bytes, size_t n);
/* Enters the JSON pairs of "model.merges" (tokenizer_merges.c). */
kvc_status vocab_load_merges(vocab *v, const field *merges, kvc_error *err);

/* ---- normalisers
 * --------------------------------------------------------------------------------------------- */

enum { NORMAL_STEPS_MAX = 8 };

typedef struct normaliser {
    int options[NORMAL_STEPS_MAX]; /* utf8proc options of each step */
    size_t n;
} normaliser;

kvc_status normaliser_load(normaliser *out, const field *f, kvc_error *err);
/* Replaces *out by the normal form. */
kvc_status normaliser_run(const normaliser *m, text_buffer *out, const char *text, size_t n, kvc_error *err);

/* ---- added tokens
 * -------------------------------------------------------------------------------------------- */

typedef struct added_token {
    char *text; /* as it is searched for; owned */
    size_t n;
    uint32_t id;
    bool strip_left, strip_right, single_word, normalised;
} added_token;

typedef struct added_node {         /* of a trie; siblings are a list */
    uint32_t child, sibling, token; /* 0: none; token counts from 1 */
    uint8_t byte;
} added_node;

typedef struct added_trie {
    added_node *nodes; /* nodes[0] is the root */
    uint32_t n, capacity;
    uint32_t first[256]; /* the root's children */
} added_trie;

typedef struct added_set {
    added_token *tokens;
    size_t n;
    added_trie raw, normal;
} added_set;

kvc_status added_load(added_set *out, const field *f, const normaliser *m, kvc_error *err);
void added_free(added_set *set);
/* Calls `part` for each added token in the text (its id, no text) and for each run between them (NO_TOKEN),
 * in order. */
typedef kvc_status (*added_part)(void *context, uint32_t id, const char *text, size_t n);
kvc_status added_split(const added_set *set, const added_trie *trie, const char *text, size_t n, added_part part,
                       void *context);

/* ---- split steps
 * --------------------------------------------------------------------------------------------- */

/* An Oniguruma pattern (the syntax of Hugging Face files) in PCRE2's syntax with the same meaning, appended
 * to out. Constructs that PCRE2 could read otherwise are refused by name. */
kvc_status regex_translate(text_buffer *out, const char *pattern, size_t n, const field *where, kvc_error *err);

typedef struct split_plan split_plan;
kvc_status split_load(split_plan **out, const field *f, kvc_error *err);
void split_free(split_plan *plan);

/* ---- one call of tokenizer_encode
 * ---------------------------------------------------------------------------- */

typedef struct bpe_work bpe_work;
/* `n` bytes are to come; only a hint for the size of the word cache. */
kvc_status bpe_open(bpe_work **out, const vocab *v, size_t n, kvc_error *err);
void bpe_close(bpe_work *work);
kvc_status bpe_encode(bpe_work *work, const char *word, size_t n, token_list *out, kvc_error *err);

typedef struct splitter splitter; /* match data and buffers of one thread */
kvc_status splitter_open(splitter **out, const split_plan *plan, bpe_work *bpe, const char *what, kvc_error *err);
void splitter_close(splitter *s);
/* Cuts one piece of text and appends the ids of what comes out. */
kvc_status splitter_run(splitter *s, const char *text, size_t n, token_list *out, kvc_error *err);

/* ---- the tokenizer
 * ------------------------------------------------------------------------------------------- */

struct tokenizer {
    vocab vocab;
    normaliser normal;
    added_set added;
    split_plan *split;
    int64_t prefix;
    char *what;
};
#endif
