/* profile.c - one layer-streamed pass that measures what every candidate codec does to every layer (methods.md
 * section 4, local).
 *
 * At each layer the exact queries, keys and values of a sequence are in memory. Every candidate is encoded and
 * decoded by libkvc's own codec, and its effect on sampled query rows is measured as decoding would see it: pages
 * decoded, sinks and window exact. Nothing accumulates from layer to layer: the residual stream stays that of the
 * exact model. Sums are in double, in the order of sequences, so that neither threads nor resuming change them. Cost
 * per layer and sequence, R rows, T tokens, K and V candidates: about (K + 1) (1 + V / 2) products of R x T x d per
 * head. */
#include "checkpoint.h"
#include "probe_rows.h"
#include "score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Sums over the sequences of one layer. */
typedef struct layer_sums {
    double *key_error, *key_count;     /* [K] */
    double *value_error, *value_count; /* [V] */
    double *score_error;               /* [K] */
    double *output_error;              /* [K][V] */
    double *key_power, *value_power;   /* [K], [V]: |dO Wo|^2 */
    double n_scores, n_outputs, n_probed, n_residual;
    double output_power, residual_power;
} layer_sums;

typedef struct measurement {
    profile *p;
    backend *b;
    const profile_options *options;
    size_t n_tokens;                        /* of all sequences */
    kvc_coder *keys, *values;               /* [K], [V] */
    float *exact;                           /* backend memory [T][H][d], not read */
    float **k_page, **v_page;               /* [K], [V] of [T][H][d] */
    float *out, **delta_key, **delta_value; /* [rows][D] */
    float *projected;                       /* [rows][hidden] */
    uint32_t *rows;
    double *power; /* [longest] */
    double *memory;
    layer_sums sums;
    double *column_sum, *column_square; /* [H d] three times: keys, values, queries */
    size_t n_positions;                 /* rows behind the column statistics */
    uint32_t saved;                     /* layers done in the last checkpoint, UINT32_MAX: none */
    struct timespec saved_at;
} measurement;

/* One allocation for all sums; zeroed at the start of every layer. */
static size_t sums_layout(measurement *m, double *base)
{
    size_t K = m->p->n_keys, V = m->p->n_values, d = m->p->model.head_dim, at = 0;
    size_t columns = (2 * (size_t)m->p->model.n_kv_heads + m->p->model.n_query_heads) * d;
    struct {
        double **to;
        size_t n;
    } parts[] = {{&m->sums.key_error, K},     {&m->sums.key_count, K},   {&m->sums.value_error, V},
                 {&m->sums.value_count, V},   {&m->sums.score_error, K}, {&m->sums.output_error, K * V},
                 {&m->sums.key_power, K},     {&m->sums.value_power, V}, {&m->column_sum, columns},
                 {&m->column_square, columns}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].to = base + at;
        at += parts[i].n;
    }
    return at;
}

/* Sums at zero, ranges of the layer empty. */
static void begin_layer(measurement *m, uint32_t layer)
{
    profile *p = m->p;
    size_t width = (size_t)p->model.n_kv_heads * p->model.head_dim;
    for (size_t i = layer * width; layer < p->n_layers && i < (layer + 1) * width; i++) {
        p->key_min[i] = p->value_min[i] = INFINITY;
        p->key_max[i] = p->value_max[i] = -INFINITY;
    }
    memset(m->memory, 0, sums_layout(m, m->memory) * sizeof(double));
    m->sums.n_scores = m->sums.n_outputs = m->sums.n_probed = m->sums.n_residual = 0;
    m->sums.output_power = m->sums.residual_power = 0;
    m->n_positions = 0;
}

static double total(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* |x Wo^T|^2 summed over the probed rows */
static kvc_status projected_power(measurement *m, const layer_view *view, size_t rows, const float *x, double *sum,
                                  kvc_error *err)
{
    const model_config *c = view->config;
    KVC_TRY(
        m->b->gemm(m->b, rows, c->hidden, (size_t)c->n_heads * c->head_dim, x, view->wo, NULL, 0, m->projected, err));
    KVC_TRY(m->b->row_power(m->b, rows, c->hidden, m->projected, m->power, err));
    *sum += total(m->power, rows);
    return KVC_OK;
}

/* Mean, rms and range of each channel, sinks left out. */
static kvc_status collect_statistics(measurement *m, const layer_view *view, kvc_error *err)
{
    profile *p = m->p;
    size_t skip = p->tokens.sinks;
    if (view->n_tokens <= skip) return KVC_OK;
    size_t rows = view->n_tokens - skip, kv = (size_t)p->model.n_kv_heads * p->model.head_dim;
    size_t q = (size_t)p->model.n_query_heads * p->model.head_dim, at = view->layer * kv;
    double *sum = m->column_sum, *square = m->column_square;
    KVC_TRY(
        m->b->column_stats(m->b, rows, kv, view->k + skip * kv, sum, square, p->key_min + at, p->key_max + at, err));
    KVC_TRY(m->b->column_stats(m->b, rows, kv, view->v + skip * kv, sum + kv, square + kv, p->value_min + at,
                               p->value_max + at, err));
    KVC_TRY(m->b->column_stats(m->b, rows, q, view->q + skip * q, sum + 2 * kv, square + 2 * kv, NULL, NULL, err));
    m->n_positions += rows;
    return KVC_OK;
}

/* Every candidate's pages, and how far they are from the rows they stand for (KVTuner's e_k and e_v). */
static kvc_status decode_candidates(measurement *m, const layer_view *view, kvc_error *err)
{
    profile *p = m->p;
    size_t width = (size_t)p->model.n_kv_heads * p->model.head_dim, skip = p->tokens.sinks * width;
    size_t n = kvc_tokens_compressed(&p->tokens, view->n_tokens) * width;
    for (uint32_t i = 0; i < p->n_keys; i++) {
        KVC_TRY(m->b->transcode(m->b, &m->keys[i], &p->tokens, view->n_tokens, view->k, m->exact, m->k_page[i], err));
        KVC_TRY(m->b->relative_error(m->b, n, view->k + skip, m->k_page[i] + skip, &m->sums.key_error[i],
                                     &m->sums.key_count[i], err));
    }
    for (uint32_t i = 0; i < p->n_values; i++) {
        KVC_TRY(
            m->b->transcode(m->b, &m->values[i], &p->tokens, view->n_tokens, view->v, m->exact, m->v_page[i], err));
        KVC_TRY(m->b->relative_error(m->b, n, view->v + skip, m->v_page[i] + skip, &m->sums.value_error[i],
                                     &m->sums.value_count[i], err));
    }
    return KVC_OK;
}

static kvc_status probe_candidates(measurement *m, const layer_view *view, uint32_t n_rows, kvc_error *err)
{
    profile *p = m->p;
    const model_config *c = view->config;
    probe_args args = {
        .n_tokens = (uint32_t)view->n_tokens,
        .n_heads = c->n_heads,
        .n_kv_heads = c->n_kv_heads,
        .head_dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .policy = p->tokens,
        .q = view->q,
        .k = view->k,
        .v = view->v,
        .n_rows = n_rows,
        .rows = m->rows,
        .n_keys = p->n_keys,
        .n_values = p->n_values,
        .k_page = (const float *const *)m->k_page,
        .v_page = (const float *const *)m->v_page,
        .out = m->out,
        .delta_key = m->delta_key,
        .delta_value = m->delta_value,
        .score_error = m->sums.score_error,
        .output_error = m->sums.output_error,
        .n_scores = &m->sums.n_scores,
    };
    KVC_TRY(m->b->probe(m->b, &args, err));
    m->sums.n_outputs += (double)n_rows * c->n_heads * c->head_dim;
    m->sums.n_probed += n_rows;
    KVC_TRY(projected_power(m, view, n_rows, m->out, &m->sums.output_power, err));
    for (uint32_t i = 0; i < p->n_keys; i++)
        KVC_TRY(projected_power(m, view, n_rows, m->delta_key[i], &m->sums.key_power[i], err));
    for (uint32_t i = 0; i < p->n_values; i++)
        KVC_TRY(projected_power(m, view, n_rows, m->delta_value[i], &m->sums.value_power[i], err));
    return KVC_OK;
}

static kvc_status observe(void *context, const layer_view *view, kvc_error *err)
{
    measurement *m = context;
    profile *p = m->p;
    uint32_t n_rows = probe_rows_draw(m->rows, &p->tokens, (uint32_t)view->n_tokens, m->options->probe_rows,
                                      m->options->seed, view->sequence);
    KVC_TRY(collect_statistics(m, view, err));
    if (n_rows == 0) return KVC_OK;
    size_t first = m->rows[0], rest = view->n_tokens - first;
    KVC_TRY(m->b->row_power(m->b, rest, view->config->hidden, view->residual + first * view->config->hidden, m->power,
                            err));
    m->sums.residual_power += total(m->power, rest);
    m->sums.n_residual += rest;
    KVC_TRY(decode_candidates(m, view, err));
    return probe_candidates(m, view, n_rows, err);
}

static void finish_columns(const double *sum, const double *square, size_t width, double n, double *mean, double *rms)
{
    for (size_t i = 0; i < width; i++) {
        if (mean) mean[i] = sum[i] / n;
        rms[i] = sqrt(square[i] / n);
    }
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

static void finish_losses(measurement *m, uint32_t layer)
{
    profile *p = m->p;
    const layer_sums *s = &m->sums;
    size_t K = p->n_keys, V = p->n_values;
    for (size_t i = 0; i < K; i++) {
        p->e_k[layer * K + i] = ratio(s->key_error[i], s->key_count[i]);
        p->e_a[layer * K + i] = ratio(s->score_error[i], s->n_scores);
        p->key_loss[layer * K + i] = ratio(s->key_power[i], s->output_power);
    }
    for (size_t i = 0; i < V; i++) {
        p->e_v[layer * V + i] = ratio(s->value_error[i], s->value_count[i]);
        p->value_loss[layer * V + i] = ratio(s->value_power[i], s->output_power);
    }
    for (size_t i = 0; i < K * V; i++) p->e_o[layer * K * V + i] = ratio(s->output_error[i], s->n_outputs);
    p->output_power[layer] = ratio(s->output_power, s->n_probed);
    p->residual_power[layer] = ratio(s->residual_power, s->n_residual);
}

static double seconds_since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

static kvc_status layer_done(void *context, uint32_t layer, hidden_states *hidden, kvc_error *err)
{
    measurement *m = context;
    profile *p = m->p;
    size_t kv = (size_t)p->model.n_kv_heads * p->model.head_dim,
           q = (size_t)p->model.n_query_heads * p->model.head_dim;
    double n = (double)m->n_positions;
    finish_columns(m->column_sum, m->column_square, kv, n, p->key_mean + layer * kv, p->key_rms + layer * kv);
    finish_columns(m->column_sum + kv, m->column_square + kv, kv, n, p->value_mean + layer * kv,
                   p->value_rms + layer * kv);
    finish_columns(m->column_sum + 2 * kv, m->column_square + 2 * kv, q, n, NULL, p->query_rms + layer * q);
    finish_losses(m, layer);
    p->layers_done = layer + 1;
    bool due = seconds_since(&m->saved_at) >= m->options->checkpoint_seconds || p->layers_done == p->n_layers;
    if (m->options->workdir && due) {
        KVC_TRY(checkpoint_save(p, hidden, m->n_tokens, m->options->workdir, m->saved, err));
        m->saved = p->layers_done;
        clock_gettime(CLOCK_MONOTONIC, &m->saved_at);
    }
    begin_layer(m, layer + 1);
    return KVC_OK;
}

static kvc_status buffers_new(backend *b, float ***out, uint32_t n, size_t floats, kvc_error *err)
{
    *out = calloc(n, sizeof **out);
    if (!*out) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    for (uint32_t i = 0; i < n; i++) KVC_TRY(b->buffer_new(b, floats * sizeof(float), (void **)&(*out)[i], err));
    return KVC_OK;
}

static void buffers_free(backend *b, float **list, uint32_t n)
{
    for (uint32_t i = 0; list && i < n; i++) b->buffer_free(b, list[i]);
    free(list);
}

static kvc_status coders_new(kvc_coder **out, const profile *p, const kvc_codec *codecs, uint32_t n, kvc_error *err)
{
    *out = malloc(n * sizeof **out);
    if (!*out) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    for (uint32_t i = 0; i < n; i++)
        KVC_TRY(kvc_coder_init(&(*out)[i], &codecs[i], NULL, p->model.n_kv_heads, p->model.head_dim, p->tokens.page,
                               err));
    return KVC_OK;
}

static void measurement_free(measurement *m)
{
    free(m->keys);
    free(m->values);
    m->b->buffer_free(m->b, m->exact);
    m->b->buffer_free(m->b, m->out);
    m->b->buffer_free(m->b, m->projected);
    buffers_free(m->b, m->k_page, m->p->n_keys);
    buffers_free(m->b, m->v_page, m->p->n_values);
    buffers_free(m->b, m->delta_key, m->p->n_keys);
    buffers_free(m->b, m->delta_value, m->p->n_values);
    free(m->rows);
    free(m->power);
    free(m->memory);
}

/* Rows that a sequence of n tokens is probed on, at most. */
static size_t most_rows(const profile_options *o, size_t n)
{
    return o->probe_rows && o->probe_rows < n ? o->probe_rows : n;
}

static kvc_status measurement_new(measurement *m, size_t longest, kvc_error *err)
{
    profile *p = m->p;
    size_t width = longest * p->model.n_kv_heads * p->model.head_dim;
    size_t rows = most_rows(m->options, longest), out = rows * p->model.n_query_heads * p->model.head_dim;
    KVC_TRY(coders_new(&m->keys, p, p->keys, p->n_keys, err));
    KVC_TRY(coders_new(&m->values, p, p->values, p->n_values, err));
    KVC_TRY(m->b->buffer_new(m->b, width * sizeof(float), (void **)&m->exact, err));
    KVC_TRY(m->b->buffer_new(m->b, out * sizeof(float), (void **)&m->out, err));
    KVC_TRY(m->b->buffer_new(m->b, rows * p->model.hidden_size * sizeof(float), (void **)&m->projected, err));
    KVC_TRY(buffers_new(m->b, &m->k_page, p->n_keys, width, err));
    KVC_TRY(buffers_new(m->b, &m->v_page, p->n_values, width, err));
    KVC_TRY(buffers_new(m->b, &m->delta_key, p->n_keys, out, err));
    KVC_TRY(buffers_new(m->b, &m->delta_value, p->n_values, out, err));
    m->rows = malloc(longest * sizeof *m->rows);
    m->power = malloc(longest * sizeof *m->power);
    m->memory = malloc(sums_layout(m, NULL) * sizeof *m->memory);
    if (!m->rows || !m->power || !m->memory) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses");
    return KVC_OK;
}

uint64_t profile_memory(const kvc_model_info *model, uint32_t n_keys, uint32_t n_values, uint32_t probe_rows,
                        size_t longest)
{
    profile_options o = {.probe_rows = probe_rows};
    uint64_t page = (uint64_t)longest * model->n_kv_heads * model->head_dim, n = n_keys + n_values;
    uint64_t out = (uint64_t)most_rows(&o, longest) * model->n_query_heads * model->head_dim;
    uint64_t errors = n_values * page, tile = 16 * (model->n_query_heads / model->n_kv_heads); /* cpu_probe.c */
    uint64_t scratch = tile * (4 * (uint64_t)longest + (uint64_t)n_values * model->head_dim);
    return sizeof(float) *
           ((n + 1) * page + (n + 1) * out + most_rows(&o, longest) * model->hidden_size + errors + 2 * scratch);
}

kvc_status profile_measure(profile *p, model *m, backend *b, const sequence_set *tokens,
                           const profile_options *options, hidden_states **final, const job *job, kvc_error *err)
{
    measurement state = {.p = p, .b = b, .options = options, .saved = UINT32_MAX};
    forward_hooks hooks = {.observe = observe, .layer_done = layer_done, .context = &state};
    size_t longest = sequences_longest(tokens);
    hidden_states *hidden = NULL;
    bool resumed = false;
    kvc_status status;
    if (kvc_tokens_compressed(&p->tokens, longest) == 0)
        return kvc_fail(err, KVC_INPUT,
                        "the longest calibration sequence has %zu tokens and the cache keeps the first %u and newest "
                        "%u to %u exact: "
                        "nothing to measure",
                        longest, p->tokens.sinks, p->tokens.window, p->tokens.window + p->tokens.page - 1);
    state.n_tokens = sequences_tokens(tokens);
    clock_gettime(CLOCK_MONOTONIC, &state.saved_at);
    snprintf(p->backend, sizeof p->backend, "%s", b->name);
    p->n_tokens = state.n_tokens;
    p->probe_rows = options->probe_rows;
    p->seed = options->seed;
    if ((status = measurement_new(&state, longest, err))) goto done;
    if ((status =
             hidden_new(&hidden, state.n_tokens, m->config.hidden, options->memory_limit, options->workdir, err)))
        goto done;
    if (options->resume && options->workdir &&
        (status = checkpoint_load(p, hidden, state.n_tokens, options->workdir, &resumed, err)))
        goto done;
    if (resumed) state.saved = p->layers_done;
    begin_layer(&state, p->layers_done);
    if (!resumed && (status = model_embed(m, tokens, hidden, err))) goto done;
    status = model_layers(m, b, tokens, hidden, p->layers_done, p->n_layers, &hooks, job, "profile", err);
done:
    measurement_free(&state);
    if (status == KVC_OK && final) {
        *final = hidden;
        hidden = NULL;
    }
    hidden_free(hidden);
    return status;
}
