/* model_private.h - what the files of the forward pass share. */
#ifndef CALIB_MODEL_MODEL_PRIVATE_H
#define CALIB_MODEL_MODEL_PRIVATE_H
#include "arch.h"
#include "model.h"

enum {
    STAGE_FLOATS = 1 << 20, /* weights are converted to fp32 through a host buffer of this size */
    MLP_ROWS = 1024,        /* rows of the gated activation held at a time */
    LOGIT_ROWS = 2048,      /* tokens whose logits are compared at a time, */
    LOGIT_COLUMNS = 768,    /* this many vocabulary entries at a time: both models' logits stay in the cache */
    DECODER_ROWS = 128,     /* tokens that the decoder feeds at a time */
};

static inline size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}
static inline size_t query_width(const model_config *c)
{
    return (size_t)c->n_heads * c->head_dim;
}
static inline size_t kv_width(const model_config *c)
{
    return (size_t)c->n_kv_heads * c->head_dim;
}

/* ---- tensors ---- */
/* model_open() has checked that it is there, with its shape. layer and slot name it. */
const tensor *model_layer_tensor(const model *m, uint32_t layer, layer_slot slot); /* NULL: the model has none */
const tensor *model_head_tensor(const model *m);                                   /* [vocab][hidden] */
/* Values [first, first + n) as fp32 to backend memory. stage: host, [STAGE_FLOATS]. */
kvc_status tensor_load(const model *m, backend *b, const tensor *t, uint64_t first, uint64_t n, float *stage,
                       float *dev, kvc_error *err);

/* ---- one layer's weights in backend memory ---- */
typedef struct layer_weights {
    float *slot[SLOT_COUNT]; /* NULL: none */
    void *memory;
} layer_weights;
size_t layer_weights_floats(const model_config *c, const arch *a);
kvc_status layer_weights_new(layer_weights *w, const model *m, backend *b, kvc_error *err);
void layer_weights_free(layer_weights *w, backend *b);
/* Converts the layer's tensors and releases their mapped pages. */
kvc_status layer_weights_load(layer_weights *w, const model *m, backend *b, uint32_t layer, float *stage,
                              kvc_error *err);

/* ---- rotary embedding ---- */
/* cosine, sine [n][d/2] of positions [first, first + n), host */
void rope_fill(const model_config *c, size_t first, size_t n, float *cosine, float *sine);

/* ---- the parts of a layer, alike for the pass and the decoder ---- */
typedef struct layer_arena {
    float *x, *normed;      /* [T][hidden] */
    float *q, *k, *v, *out; /* [T][query], [T][kv] twice, [T][query] */
    float *gate, *up;       /* [min(T, MLP_ROWS)][ffn], in the place of q, k, v, out */
    float *cosine, *sine;   /* [T][d/2] */
    void *memory;
} layer_arena;
size_t layer_arena_floats(const model_config *c, size_t n_tokens);
kvc_status layer_arena_new(layer_arena *s, const model_config *c, backend *b, size_t n_tokens, kvc_error *err);
void layer_arena_free(layer_arena *s, backend *b);
/* x -> q, k, v, rotated by the arena's cosine and sine */
kvc_status layer_project(const model *m, backend *b, const layer_weights *w, layer_arena *s, size_t n,
                         kvc_error *err);
/* x += out W_o^T, then x += MLP(norm(x)) */
kvc_status layer_finish(const model *m, backend *b, const layer_weights *w, layer_arena *s, size_t n, kvc_error *err);

/* ---- residual stream ---- */
/* The rows in memory, or NULL where they are in a file. */
float *hidden_rows(hidden_states *h, size_t first);

/* Every id is below the vocabulary's size, or KVC_INVALID naming the first that is not. */
kvc_status check_ids(const model *m, const uint32_t *ids, size_t n, kvc_error *err);
/* Embedding rows of ids [n] to host memory. */
kvc_status embed_rows(const model *m, const uint32_t *ids, size_t n, float *rows, kvc_error *err);
#endif
