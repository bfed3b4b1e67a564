/* forward.c - the decoder pass: layer by layer over all sequences, so that one layer's weights are in memory at a
 * time and every observer sees a layer's keys and values of all text together. Cost per layer: 2 (hidden (2 query + 2
 * kv) + 3 hidden ffn) flops per token and attention; the stream is read and written once.
 *
 * Consecutive sequences go through a layer's products together, as many as batch_rows() says (on the CPU one), and
 * those of them that have one length through attention. A stream in the backend's memory is updated where it lies;
 * then nothing but observers makes the host wait, and the next layer's weights arrive while this one is computed. */
#include "model_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_ROWS ((size_t)65536) /* of the stream, at a time */

typedef struct pass {
    model *m;
    backend *b;
    const sequence_set *tokens;
    hidden_states *hidden;
    const forward_hooks *hooks; /* may be NULL */
    layer_weights *weights;     /* of the present layer */
    layer_arena arena;          /* may be kept by m->resident */
    float *stage;               /* host [STAGE_FLOATS] */
    float *rows;                /* host [arena.n_tokens][hidden]; only where the stream is in a file */
    double *power;              /* host [CHECK_ROWS]; only where the stream is in the backend's memory */
} pass;

static void pass_free(pass *p)
{
    resident_leave(p->m);
    free(p->stage);
    free(p->rows);
    free(p->power);
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
    size_t longest = sequences_longest(p->tokens),
           most = model_rows_together(&p->m->config, p->b, sequences_tokens(p->tokens), longest);
    bool on_device = hidden_device(p->hidden, 0), in_file = !on_device && !hidden_rows(p->hidden, 0);
    p->stage = malloc(STAGE_FLOATS * sizeof *p->stage);
    if (in_file) p->rows = malloc((most * p->m->config.hidden + 1) * sizeof *p->rows);
    if (on_device) p->power = malloc(CHECK_ROWS * sizeof *p->power);
    if (!p->stage || (in_file && !p->rows) || (on_device && !p->power))
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for sequences of %zu tokens", longest);
    KVC_TRY(resident_open(p->m, p->b, err));
    bool fresh;
    KVC_TRY(resident_arena(p->m, most, !on_device, &p->arena, &fresh, err));
    return fresh ? load_angles(p, most, err) : KVC_OK;
}

static kvc_status load_stream(pass *p, size_t first, size_t n, kvc_error *err)
{
    const float *rows = hidden_rows(p->hidden, first);
    if (hidden_device(p->hidden, 0)) {
        p->arena.x = hidden_device(p->hidden, first);
        return KVC_OK;
    }
    if (!rows) KVC_TRY(hidden_read(p->hidden, first, n, p->rows, err));
    return p->b->upload(p->b, p->arena.x, rows ? rows : p->rows, n * p->m->config.hidden * sizeof(float), err);
}

static kvc_status fail_overflow(uint32_t layer, kvc_error *err)
{
    return kvc_fail(err, KVC_NONFINITE, "layer %u: the residual stream overflows fp32", layer);
}

/* Finite weights can still overflow on the way. */
static kvc_status check_stream(const float *rows, size_t n, uint32_t layer, kvc_error *err)
{
    uint32_t bad = 0, bits;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, rows + i, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad ? fail_overflow(layer, err) : KVC_OK;
}

/* The same for a stream in the backend's memory; squares of fp32 values do not overflow double. */
static kvc_status check_device(pass *p, uint32_t layer, kvc_error *err)
{
    size_t total = sequences_tokens(p->tokens);
    if (!hidden_device(p->hidden, 0)) return KVC_OK;
    for (size_t at = 0; at < total; at += CHECK_ROWS) {
        size_t n = min_size(CHECK_ROWS, total - at);
        KVC_TRY(p->b->row_power(p->b, n, p->m->config.hidden, hidden_device(p->hidden, at), p->power, err));
        for (size_t i = 0; i < n; i++)
            if (!isfinite(p->power[i])) return fail_overflow(layer, err);
    }
    return KVC_OK;
}

static kvc_status store_stream(pass *p, uint32_t layer, size_t first, size_t n, kvc_error *err)
{
    float *rows = hidden_rows(p->hidden, first), *to = rows ? rows : p->rows;
    size_t count = n * p->m->config.hidden;
    if (hidden_device(p->hidden, 0)) return KVC_OK;
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
        .n_more = view->n_more,
    };
    return view->backend->attention(view->backend, &args, err);
}

static size_t sequence_tokens(const pass *p, size_t sequence)
{
    return p->tokens->first[sequence + 1] - p->tokens->first[sequence];
}

/* A sequence whose rows begin at row `at` of the arena, and n_more behind it. */
static layer_view view_at(const pass *p, uint32_t layer, size_t sequence, uint32_t n_more, size_t at)
{
    const model_config *c = &p->m->config;
    const layer_arena *s = &p->arena;
    return (layer_view){
        .backend = p->b,
        .config = c,
        .layer = layer,
        .sequence = sequence,
        .n_tokens = sequence_tokens(p, sequence),
        .n_more = n_more,
        .q = s->q + at * query_width(c),
        .k = s->k + at * kv_width(c),
        .v = s->v + at * kv_width(c),
        .wo = p->weights->slot[SLOT_O],
        .residual = s->x + at * c->hidden,
        .out = s->out + at * query_width(c),
    };
}

layer_view layer_view_of(const layer_view *view, size_t i)
{
    const model_config *c = view->config;
    size_t row = i * view->n_tokens;
    layer_view one = *view;
    one.n_more = 0;
    one.sequence += i;
    one.q += row * query_width(c);
    one.k += row * kv_width(c);
    one.v += row * kv_width(c);
    one.residual += row * c->hidden;
    one.out += row * query_width(c);
    return one;
}

/* Positions, and what observers see: sequence by sequence. */
static kvc_status prepare_sequences(pass *p, uint32_t layer, size_t begin, size_t end, kvc_error *err)
{
    const forward_hooks *hooks = p->hooks;
    for (size_t i = begin, at = 0; i < end; at += sequence_tokens(p, i++)) {
        const layer_view view = view_at(p, layer, i, 0, at);
        KVC_TRY(layer_rotate(p->m, p->b, &p->arena, at, view.n_tokens, err));
        if (hooks && hooks->observe) KVC_TRY(hooks->observe(hooks->context, &view, err));
    }
    return KVC_OK;
}

/* Attention of sequences of one length at a time. */
static kvc_status attend_sequences(pass *p, uint32_t layer, size_t begin, size_t end, kvc_error *err)
{
    const forward_hooks *hooks = p->hooks;
    for (size_t i = begin, at = 0, next; i < end; at += (next - i) * sequence_tokens(p, i), i = next) {
        for (next = i + 1; next < end && sequence_tokens(p, next) == sequence_tokens(p, i);) next++;
        const layer_view view = view_at(p, layer, i, (uint32_t)(next - i - 1), at);
        KVC_TRY(hooks && hooks->attention ? hooks->attention(hooks->context, &view, err) : attend_exact(&view, err));
    }
    return KVC_OK;
}

/* The first sequence that does not fit into the arena together with `begin` and those behind it. */
static size_t group_end(const pass *p, size_t begin)
{
    const size_t *first = p->tokens->first;
    size_t end = begin + 1;
    while (p->b->batch_values && end < p->tokens->n && first[end + 1] - first[begin] <= p->arena.n_tokens) end++;
    return end;
}

static kvc_status run_group(pass *p, uint32_t layer, size_t begin, size_t end, kvc_error *err)
{
    size_t first = p->tokens->first[begin], n = p->tokens->first[end] - first;
    const forward_hooks *hooks = p->hooks;
    KVC_TRY(load_stream(p, first, n, err));
    KVC_TRY(layer_project(p->m, p->b, p->weights, &p->arena, n, err));
    KVC_TRY(prepare_sequences(p, layer, begin, end, err));
    if (hooks && hooks->attention_together) {
        layer_view all = view_at(p, layer, begin, 0, 0);
        all.n_tokens = n;
        KVC_TRY(hooks->attention_together(hooks->context, &all, err));
    } else {
        KVC_TRY(attend_sequences(p, layer, begin, end, err));
    }
    KVC_TRY(layer_finish(p->m, p->b, p->weights, &p->arena, n, err));
    return store_stream(p, layer, first, n, err);
}

static kvc_status run_layers(pass *p, uint32_t first_layer, uint32_t last_layer, const job *job, const char *stage,
                             kvc_error *err)
{
    double total = (double)(last_layer - first_layer) * (double)p->tokens->n, done = 0;
    layer_weights *next;
    for (uint32_t layer = first_layer; layer < last_layer; layer++) {
        KVC_TRY(resident_layer(p->m, layer, p->stage, &p->weights, err));
        for (size_t i = 0, end; i < p->tokens->n; i = end) {
            if (job_cancelled(job))
                return kvc_fail(err, KVC_INTERRUPTED, "interrupted in layer %u of %u", layer, p->m->config.n_layers);
            end = group_end(p, i);
            KVC_TRY(run_group(p, layer, i, end, err));
            done += (double)(end - i);
            job_progress(job, stage, done, total);
        }
        if (layer + 1 < last_layer && resident_ahead(p->m))
            KVC_TRY(resident_layer(p->m, layer + 1, p->stage, &next, err));
        KVC_TRY(check_device(p, layer, err));
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
