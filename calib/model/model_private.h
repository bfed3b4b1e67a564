/* model_private.h - what the files of the forward pass share. */
#ifndef CALIB_MODEL_MODEL_PRIVATE_H
#define CALIB_MODEL_MODEL_PRIVATE_H
#include "arch.h"
#include "model.h"

enum {
    STAGE_FLOATS = 1 << 20,      /* weights are converted to fp32 through a host buffer of this size */
    MLP_ROWS = 1024,             /* rows of the gated activation held at a time */
    LOGIT_ROWS = 2048,           /* tokens whose logits are compared at a time, */
    LOGIT_COLUMNS = 768,         /* this many vocabulary entries at a time: both models' logits stay in the cache; */
    LOGIT_COLUMNS_DEVICE = 8192, /* on a device, which wants large products */
    MOST_COPIES = 32,            /* of a text that run together */
    DECODER_ROWS = 128,          /* tokens that the decoder feeds at a time */
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

/* Tokens that the backend is better given at a time, sequences together; 0: each for itself. */
static inline size_t batch_rows(const backend *b, const model_config *c)
{
    return b->batch_values / c->hidden;
}

/* ---- tensors ---- */
/* model_open() has checked that it is there, with its shape. layer and slot name it. */
const tensor *model_layer_tensor(const model *m, uint32_t layer, layer_slot slot); /* NULL: the model has none */
const tensor *model_head_tensor(const model *m);                                   /* [vocab][hidden] */
/* Values [first, first + n) to backend memory, as fp32 or as a weight. stage: host, [STAGE_FLOATS]. */
kvc_status tensor_load(const model *m, backend *b, const tensor *t, uint64_t first, uint64_t n, float *stage,
                       float *dev, kvc_error *err);
kvc_status weight_load(const model *m, backend *b, const tensor *t, uint64_t first, uint64_t n, float *stage,
                       void *dev, kvc_error *err);

/* ---- one layer's weights in backend memory ---- */
#define NO_LAYER UINT32_MAX
typedef struct layer_weights {
    void *slot[SLOT_COUNT]; /* NULL: none */
    void *memory;
    uint32_t layer; /* whose they are */
} layer_weights;
size_t layer_weights_bytes(const model_config *c, const arch *a, size_t weight_bytes);
kvc_status layer_weights_new(layer_weights *w, const model *m, backend *b, kvc_error *err);
void layer_weights_free(layer_weights *w, backend *b);
/* Unless they are there: converts the layer's tensors and releases their mapped pages. */
kvc_status layer_weights_load(layer_weights *w, const model *m, backend *b, uint32_t layer, float *stage,
                              kvc_error *err);

/* ---- rotary embedding ---- */
/* cosine, sine [n][d/2] of positions [first, first + n), host */
void rope_fill(const model_config *c, size_t first, size_t n, float *cosine, float *sine);

/* ---- the parts of a layer, alike for the pass and the decoder ---- */
typedef struct layer_arena {
    size_t n_tokens, mlp_rows; /* T, R */
    float *x, *normed;         /* [T][hidden]; x may also lie elsewhere */
    float *q, *k, *v, *out;    /* [T][query], [T][kv] twice, [T][query] */
    float *gate, *up;          /* [R][ffn], in the place of q, k, v, out */
    float *cosine, *sine;      /* [T][d/2] */
    void *memory;
} layer_arena;
/* For n_tokens tokens at a time. own_x: with room for x, else that is NULL. */
size_t layer_arena_floats(const backend *b, const model_config *c, size_t n_tokens, bool own_x);
kvc_status layer_arena_new(layer_arena *s, const model_config *c, backend *b, size_t n_tokens, bool own_x,
                           kvc_error *err);
void layer_arena_free(layer_arena *s, backend *b);
/* x -> q, k, v */
kvc_status layer_project(const model *m, backend *b, const layer_weights *w, const layer_arena *s, size_t n,
                         kvc_error *err);
/* q, k of rows [first, first + n) by the first n of the arena's angles */
kvc_status layer_rotate(const model *m, backend *b, const layer_arena *s, size_t first, size_t n, kvc_error *err);
/* x += out W_o^T, then x += MLP(norm(x)) */
kvc_status layer_finish(const model *m, backend *b, const layer_weights *w, const layer_arena *s, size_t n,
                        kvc_error *err);

/* ---- weights that passes leave behind (resident.c) ---- */
typedef struct resident resident;
/* How many layers' weights are held at a time: 1 in host memory, all on a device that has twice the room, else 2 by
 * turns: one is used while the next arrives. */
uint32_t resident_count(const model_config *c, size_t room, size_t weight_bytes);
/* m->resident for passes on `b`. */
kvc_status resident_open(model *m, backend *b, kvc_error *err);
/* The layer's weights: loaded unless they are there. stage: host, [STAGE_FLOATS]. */
kvc_status resident_layer(model *m, uint32_t layer, float *stage, layer_weights **out, kvc_error *err);
/* The arena of the last pass, if it has these sizes, else a *fresh one, whose angles have to be loaded. */
kvc_status resident_arena(model *m, size_t n_tokens, bool own_x, layer_arena *out, bool *fresh, kvc_error *err);
/* Whether the next layer's weights have a place while one is computed. */
bool resident_ahead(const model *m);
/* The vocabulary matrix, a weight [vocab][hidden]; *out is NULL where it is not to be held as a whole. */
kvc_status resident_head(model *m, float *stage, void **out, kvc_error *err);
bool resident_holds_head(const model_config *c, size_t room, size_t weight_bytes);
/* After a pass: host memory is let go of, a device's is kept. */
void resident_leave(model *m);
void resident_free(model *m);

/* ---- residual stream ---- */
/* The rows in the backend's memory, in the host's, or both NULL where they are in a file. */
float *hidden_device(hidden_states *h, size_t first);
float *hidden_rows(hidden_states *h, size_t first);
/* Whether hidden_new() takes the backend's memory while it has this much room. */
bool hidden_on_device(const backend *b, size_t room, uint64_t bytes, uint64_t memory_limit);

/* Vocabulary entries whose logits are computed at a time. */
size_t logit_columns(const backend *b, const model_config *c);

/* Every id is below the vocabulary's size, or KVC_INVALID naming the first that is not. */
kvc_status check_ids(const model *m, const uint32_t *ids, size_t n, kvc_error *err);
/* Embedding rows of ids [n] to host memory. */
kvc_status embed_rows(const model *m, const uint32_t *ids, size_t n, float *rows, kvc_error *err);
#endif
