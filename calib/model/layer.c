/* layer.c - the two halves of a decoder layer, before and after attention.
 *
 * Arena, one block, T tokens; every part starts on a 64-byte boundary:
 *     x [T][hidden], if it is here | normed [T][hidden] | cosine [T][d/2] | sine [T][d/2] | shared
 *     shared: q [T][query] | k [T][kv] | v [T][kv] | out [T][query]        until the output projection
 *             gate [R][ffn] | up [R][ffn], R = min(T, MLP_ROWS or batch_rows())        after it */
#include "model_private.h"

typedef struct part {
    float **to;
    size_t n;
} part;

/* Puts parts behind one another from `at` on; returns where they end. base NULL: only counts. */
static size_t place(const part *parts, size_t n_parts, size_t at, float *base)
{
    for (size_t i = 0; i < n_parts; i++) {
        if (base) *parts[i].to = base + at;
        at += (parts[i].n + 15) & ~(size_t)15;
    }
    return at;
}

static size_t arena_layout(const model_config *c, size_t T, size_t rows, bool own_x, float *base, layer_arena *s)
{
    size_t half = c->head_dim / 2, q = query_width(c), kv = kv_width(c);
    const part stream[] = {{&s->x, T * c->hidden}};
    const part always[] = {{&s->normed, T * c->hidden}, {&s->cosine, T * half}, {&s->sine, T * half}};
    const part attention[] = {{&s->q, T * q}, {&s->k, T * kv}, {&s->v, T * kv}, {&s->out, T * q}};
    const part mlp[] = {{&s->gate, rows * c->ffn}, {&s->up, rows * c->ffn}};
    size_t shared = place(always, 3, place(stream, own_x, 0, base), base);
    size_t first = place(attention, 4, shared, base), second = place(mlp, 2, shared, base);
    return first > second ? first : second;
}

static size_t mlp_rows_of(const backend *b, const model_config *c, size_t n_tokens)
{
    size_t together = batch_rows(b, c);
    return min_size(n_tokens, together > MLP_ROWS ? together : MLP_ROWS);
}

size_t layer_arena_floats(const backend *b, const model_config *c, size_t n_tokens, bool own_x)
{
    layer_arena unused;
    return arena_layout(c, n_tokens, mlp_rows_of(b, c, n_tokens), own_x, NULL, &unused);
}

kvc_status layer_arena_new(layer_arena *s, const model_config *c, backend *b, size_t n_tokens, bool own_x,
                           kvc_error *err)
{
    *s = (layer_arena){0};
    size_t floats = layer_arena_floats(b, c, n_tokens, own_x);
    KVC_TRY(b->buffer_new(b, floats * sizeof(float), &s->memory, err));
    s->n_tokens = n_tokens;
    s->mlp_rows = mlp_rows_of(b, c, n_tokens);
    arena_layout(c, n_tokens, s->mlp_rows, own_x, s->memory, s);
    return KVC_OK;
}

void layer_arena_free(layer_arena *s, backend *b)
{
    b->buffer_free(b, s->memory);
    *s = (layer_arena){0};
}

kvc_status layer_project(const model *m, backend *b, const layer_weights *w, const layer_arena *s, size_t n,
                         kvc_error *err)
{
    const model_config *c = &m->config;
    void *const *slot = w->slot;
    size_t hidden = c->hidden, q = query_width(c), kv = kv_width(c);
    KVC_TRY(b->rmsnorm(b, n, hidden, s->x, slot[SLOT_ATTENTION_NORM], c->rms_eps, s->normed, err));
    KVC_TRY(b->gemm(b, n, q, hidden, s->normed, slot[SLOT_Q], slot[SLOT_Q_BIAS], 0, s->q, err));
    KVC_TRY(b->gemm(b, n, kv, hidden, s->normed, slot[SLOT_K], slot[SLOT_K_BIAS], 0, s->k, err));
    return b->gemm(b, n, kv, hidden, s->normed, slot[SLOT_V], slot[SLOT_V_BIAS], 0, s->v, err);
}

kvc_status layer_rotate(const model *m, backend *b, const layer_arena *s, size_t first, size_t n, kvc_error *err)
{
    const model_config *c = &m->config;
    float *q = s->q + first * query_width(c), *k = s->k + first * kv_width(c);
    KVC_TRY(b->rope(b, n, c->n_heads, c->head_dim, s->cosine, s->sine, q, err));
    return b->rope(b, n, c->n_kv_heads, c->head_dim, s->cosine, s->sine, k, err);
}

/* MLP of `rows` rows that have gone through the norm; adds to x. */
static kvc_status mlp_rows(const model_config *c, backend *b, const layer_weights *w, const layer_arena *s,
                           size_t rows, const float *normed, float *x, kvc_error *err)
{
    void *const *slot = w->slot;
    KVC_TRY(b->gemm(b, rows, c->ffn, c->hidden, normed, slot[SLOT_GATE], slot[SLOT_GATE_BIAS], 0, s->gate, err));
    KVC_TRY(b->gemm(b, rows, c->ffn, c->hidden, normed, slot[SLOT_UP], slot[SLOT_UP_BIAS], 0, s->up, err));
    KVC_TRY(b->silu_mul(b, rows * c->ffn, s->gate, s->up, err));
    return b->gemm(b, rows, c->hidden, c->ffn, s->gate, slot[SLOT_DOWN], slot[SLOT_DOWN_BIAS], 1, x, err);
}

kvc_status layer_finish(const model *m, backend *b, const layer_weights *w, const layer_arena *s, size_t n,
                        kvc_error *err)
{
    const model_config *c = &m->config;
    KVC_TRY(b->gemm(b, n, c->hidden, query_width(c), s->out, w->slot[SLOT_O], w->slot[SLOT_O_BIAS], 1, s->x, err));
    KVC_TRY(b->rmsnorm(b, n, c->hidden, s->x, w->slot[SLOT_MLP_NORM], c->rms_eps, s->normed, err));
    for (size_t row = 0; row < n; row += s->mlp_rows) {
        size_t at = row * c->hidden;
        KVC_TRY(mlp_rows(c, b, w, s, min_size(s->mlp_rows, n - row), s->normed + at, s->x + at, err));
    }
    return KVC_OK;
}
