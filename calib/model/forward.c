/* forward.c - the decoder pass: layer by layer over all sequences, so that one layer's weights are in memory at a
 * time and every observer sees a layer's keys and values of all text together. Cost per layer: 2 (hidden (2 query + 2
 * kv) + 3 hidden ffn) flops per token and attention; the stream is read and written once. */
#include "model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct pass {
    model *m;
    backend *b;
    const sequence_set *tokens;
    hidden_states *hidden;
    const forward_hooks *hooks; /* may be NULL */
    layer_weights weights;
    layer_arena arena;
    float *stage; /* host [STAGE_FLOATS] */
    float *rows;  /* host [longest][hidden]; only where the stream is in a file */
} pass;

static void pass_free(pass *p)
{
    layer_weights_free(&p->weights, p->b);
    layer_arena_free(&p->arena, p->b);
    free(p->stage);
    free(p->rows);
}

/* Angles of positions 0 .. n - 1 to the arena, by way of the stage. */
static kvc_status load_angles(pass *p, size_t n, kvc_error *err)
{
    size_t half = p->m->config.head_dim / 2, most = STAGE_FLOATS / 2 / half;
    for (size_t at = 0; at < n; at += most) {
        size_t count = min_size(most, n - at), bytes = count * half * sizeof(float);
        rope_fill(&p->m->config, at, count, p->stage, p->stage + most * half);
        KVC_TRY(p->b->upload(p->b, p->arena.cosine + at * half, p->stage, bytes, err));
        KVC_TRY(p->b->upload(p->b, p->arena.sine + at * half, p->stage + most * half, bytes, err));
        KVC_TRY(p->b->sync(p->b, err));
    }
    return KVC_OK;
}

static kvc_status pass_new(pass *p, kvc_error *err)
{
    size_t longest = sequences_longest(p->tokens);
    p->stage = malloc(STAGE_FLOATS * sizeof *p->stage);
    if (!hidden_rows(p->hidden, 0)) p->rows = malloc((longest * p->m->config.hidden + 1) * sizeof *p->rows);
    if (!p->stage || (!p->rows && !hidden_rows(p->hidden, 0)))
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for sequences of %zu tokens", longest);
    KVC_TRY(layer_weights_new(&p->weights, p->m, p->b, err));
    KVC_TRY(layer_arena_new(&p->arena, &p->m->config, p->b, longest, err));
    return load_angles(p, longest, err);
}

static kvc_status load_stream(pass *p, size_t first, size_t n, kvc_error *err)
{
    const float *rows = hidden_rows(p->hidden, first);
    if (!rows) KVC_TRY(hidden_read(p->hidden, first, n, p->rows, err));
    return p->b->upload(p->b, p->arena.x, rows ? rows : p->rows, n * p->m->config.hidden * sizeof(float), err);
}

/* Finite weights can still overflow on the way. */
static kvc_status check_stream(const float *rows, size_t n, uint32_t layer, kvc_error *err)
{
    uint32_t bad = 0, bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, rows + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad ? kvc_fail(err, KVC_NONFINITE, "layer %u: the residual stream overflows fp32", layer) : KVC_OK;
}

static kvc_status store_stream(pass *p, uint32_t layer, size_t first, size_t n, kvc_error *err)
{
    float *rows = hidden_rows(p->hidden, first), *to = rows ? rows : p->rows;
    size_t count = n * p->m->config.hidden;
    KVC_TRY(p->b->download(p->b, to, p->arena.x, count * sizeof *to, err));
    KVC_TRY(p->b->sync(p->b, err));
    KVC_TRY(check_stream(to, count, layer, err));
    return rows ? KVC_OK : hidden_write(p->hidden, first, n, p->rows, err);
}

static kvc_status attend_exact(const layer_view *view, kvc_error *err)
{
    const model_config *c = view->config;
    attention_args args = {
        .n_tokens = (uint32_t)view->n_tokens,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .q = view->q,
        .k = view->k,
        .v = view->v,
        .out = view->out,
    };
    return view->backend->attention(view->backend, &args, err);
}

static kvc_status run_sequence(pass *p, uint32_t layer, size_t sequence, kvc_error *err)
{
    size_t first = p->tokens->first[sequence], n = p->tokens->first[sequence + 1] - first;
    layer_arena *s = &p->arena;
    layer_view view = {
        .backend = p->b,
        .config = &p->m->config,
        .layer = layer,
        .sequence = sequence,
        .n_tokens = n,
        .q = s->q,
        .k = s->k,
        .v = s->v,
        .wo = p->weights.slot[SLOT_O],
        .residual = s->x,
        .out = s->out,
    };
    const forward_hooks *hooks = p->hooks;
    KVC_TRY(load_stream(p, first, n, err));
    KVC_TRY(layer_project(p->m, p->b, &p->weights, s, n, err));
    if (hooks && hooks->observe) KVC_TRY(hooks->observe(hooks->context, &view, err));
    KVC_TRY(hooks && hooks->attention ? hooks->attention(hooks->context, &view, err) : attend_exact(&view, err));
    KVC_TRY(layer_finish(p->m, p->b, &p->weights, s, n, err));
    return store_stream(p, layer, first, n, err);
}

static kvc_status run_layers(pass *p, uint32_t first_layer, uint32_t last_layer, const job *job, const char *stage,
                             kvc_error *err)
{
    double total = (double)(last_layer - first_layer) * (double)p->tokens->n, done = 0;
    for (uint32_t layer = first_layer; layer < last_layer; layer++) {
        KVC_TRY(layer_weights_load(&p->weights, p->m, p->b, layer, p->stage, err));
        for (size_t i = 0; i < p->tokens->n; i++) {
            if (job_cancelled(job))
                return kvc_fail(err, KVC_INTERRUPTED, "interrupted in layer %u of %u", layer, p->m->config.n_layers);
            KVC_TRY(run_sequence(p, layer, i, err));
            job_progress(job, stage, ++done, total);
        }
        if (p->hooks && p->hooks->layer_done) KVC_TRY(p->hooks->layer_done(p->hooks->context, layer, p->hidden, err));
    }
    return KVC_OK;
}

kvc_status model_layers(model *m, backend *b, const sequence_set *tokens, hidden_states *hidden, uint32_t first_layer,
                        uint32_t last_layer, const forward_hooks *hooks, const job *job, const char *stage,
                        kvc_error *err)
{
    pass p = {.m = m, .b = b, .tokens = tokens, .hidden = hidden, .hooks = hooks};
    kvc_status status = pass_new(&p, err);
    if (status == KVC_OK) status = run_layers(&p, first_layer, last_layer, job, stage, err);
    pass_free(&p);
    return status;
}
