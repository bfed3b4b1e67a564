/* model.h - the decoder forward pass, streamed layer by layer: one layer's weights in memory at a time, the residual
 * stream of all tokens kept (in a file above a memory limit). One descriptor per architecture (arch_*.c) names the
 * tensors. */
#ifndef CALIB_MODEL_MODEL_H
#define CALIB_MODEL_MODEL_H
#include "backend.h"
#include "job.h"
#include "model_config.h"
#include "prompts.h"
#include "weights.h"

typedef struct model {
    model_config config;
    weights *weights;
    kvc_model_info info;       /* as it goes into cfg.bin */
    struct resident *resident; /* what passes leave in a device's memory for the next one; NULL: nothing */
} model;

/* `path` as in contract.md (MODEL). Reads config.json beside it, checks every tensor that the pass needs (name,
 * shape, dtype). hash: also fill info.weights_sha256 and tokenizer_sha256 (reads the whole file). */
kvc_status model_open(model **out, const char *path, bool hash, kvc_error *err);
void model_close(model *m); /* while the backends that it ran on are still open; NULL is fine */
/* Path of tokenizer.json beside the model, into buf. */
void model_tokenizer_path(const model *m, char *buf, size_t n);

/* The residual stream of a set of sequences: hidden[token][hidden_size] fp32, token order of the sequence_set.
 * Kept in the memory of `b`, a device, as long as it takes no more than half of what is free there; else, or with
 * NULL, in host memory, or in an unlinked temporary file in `spill_folder` if it exceeds memory_limit bytes (0: no
 * limit). */
typedef struct hidden_states hidden_states;
kvc_status hidden_new(hidden_states **out, backend *b, size_t n_tokens, uint32_t width, uint64_t memory_limit,
                      const char *spill_folder, kvc_error *err);
void hidden_free(hidden_states *h);
kvc_status hidden_read(hidden_states *h, size_t first, size_t n, float *dst, kvc_error *err);
kvc_status hidden_write(hidden_states *h, size_t first, size_t n, const float *src, kvc_error *err);

/* Row i of `to` becomes row rows[i] of `from`; n rows. */
kvc_status hidden_gather(hidden_states *to, hidden_states *from, const size_t *rows, size_t n, kvc_error *err);
/* Rows [first, first + n) of `to` become the first n of `from`. */
kvc_status hidden_copy(hidden_states *to, size_t first, hidden_states *from, size_t n, kvc_error *err);
/* Tokens that model_layers() takes through a layer together, at most: whole sequences, one at least. */
size_t model_rows_together(const model_config *c, const backend *b, size_t n_tokens, size_t longest);
/* Copies of a text of `length` tokens that model_layers() is better given at a time: 1 where it makes no difference.
 */
size_t model_together(const model_config *c, const backend *b, size_t length);

/* One sequence inside one layer, after RoPE and before attention; for the attention hook also several that are alike,
 * one behind another. All pointers are backend memory and valid during the call. */
typedef struct layer_view {
    backend *backend;
    const model_config *config;
    uint32_t layer;
    size_t sequence, n_tokens; /* number of the first sequence, tokens of each */
    uint32_t n_more;           /* sequences behind the first */
    const float *q, *k, *v;    /* [T][n_heads][d], [T][n_kv_heads][d] twice */
    const void *wo;            /* weight [hidden][n_heads * d] */
    const float *residual;     /* [T][hidden], the stream before attention's output is added */
    float *out;                /* [T][n_heads][d], for the attention hook */
} layer_view;

/* Sequence i of a view alone. */
layer_view layer_view_of(const layer_view *view, size_t i);

typedef struct forward_hooks {
    /* Replaces exact attention where set: must fill view->out. */
    kvc_status (*attention)(void *context, const layer_view *view, kvc_error *err);
    /* Or that of all sequences that go through the layer together: `sequence` is the first of them, and their rows
     * follow one another, n_tokens in all. */
    kvc_status (*attention_together)(void *context, const layer_view *view, kvc_error *err);
    /* Looks at the layer's inputs (called before attention). */
    kvc_status (*observe)(void *context, const layer_view *view, kvc_error *err);
    /* After all sequences of a layer; `hidden` now holds the input of layer + 1. */
    kvc_status (*layer_done)(void *context, uint32_t layer, hidden_states *hidden, kvc_error *err);
    void *context;
} forward_hooks;

/* Embeds the tokens. */
kvc_status model_embed(model *m, const sequence_set *tokens, hidden_states *hidden, kvc_error *err);
/* Runs layers [first_layer, last_layer) over all sequences, updating `hidden` in place. KVC_INTERRUPTED between
 * sequences if the job is cancelled (hidden is then part old, part new). */
kvc_status model_layers(model *m, backend *b, const sequence_set *tokens, hidden_states *hidden, uint32_t first_layer,
                        uint32_t last_layer, const forward_hooks *hooks, const job *job, const char *stage,
                        kvc_error *err);
/* Final norm and logits of rows x [n][hidden] (host) into logits [n][vocab] (host); for single rows and tests. */
kvc_status model_logits(model *m, backend *b, size_t n, const float *x, float *logits, kvc_error *err);

/* Score every position but the first of every sequence. ref and cfg may be the same object (KL 0). rows: one
 * logit_row per scored position, caller-owned, [n_tokens - n_sequences] in token order. Works in row blocks and
 * streams the vocabulary matrix. */
kvc_status model_compare(model *m, backend *b, const sequence_set *tokens, hidden_states *ref, hidden_states *cfg,
                         logit_row *rows, const job *job, kvc_error *err);
/* The same for n rows that were picked (hidden_gather), beside those of n_copies other models, one behind another in
 * cfg [n_copies][n]: all of them are scored, and as their next tokens are not known, negative log likelihoods say
 * nothing. rows [n_copies][n]. */
kvc_status model_compare_rows(model *m, backend *b, size_t n, hidden_states *ref, size_t n_copies, hidden_states *cfg,
                              logit_row *rows, const job *job, kvc_error *err);

/* One decoder step, for generation through a kvc_cache: all weights held as fp32 in memory. */
typedef struct decoder decoder;
kvc_status decoder_new(decoder **out, model *m, backend *b, kvc_cache *cache, kvc_error *err);
void decoder_free(decoder *d);
/* Append n tokens to one sequence of the cache and return the logits of the last, [vocab], borrowed until the next
 * call. Rows go in chunks of kvc_cache_chunk(), so the result is that of feeding them one by one. */
kvc_status decoder_feed(decoder *d, uint32_t sequence, const uint32_t *ids, size_t n, const float **logits,
                        kvc_error *err);

/* Peak bytes that a pass over these shapes takes beside the mapped weights (formula in docs/memory.md), from what is
 * free on the backend now. */
memory_need model_memory(const model_config *c, backend *b, size_t n_tokens, size_t longest, uint64_t memory_limit);
/* Of them those of the residual stream. */
memory_need stream_memory(const model_config *c, backend *b, size_t n_tokens, size_t longest, uint64_t memory_limit);
#endif
