/* profile.c - one layer-streamed pass that fits every candidate codec at every layer and measures what it does there
 * (methods.md sections 3 and 4).
 *
 * While a layer's sequences pass, statistics are collected (gather.c) and the sequences that losses are measured on
 * are kept (kept.c); then the candidates are fitted (calib/fit) and measured (local_loss.c). Nothing accumulates from
 * layer to layer: the residual stream stays that of the exact model. Sums are in double, in the order of sequences,
 * so that neither threads nor resuming change them. */
#include "checkpoint.h"
#include "fit.h"
#include "gather.h"
#include "kept.h"
#include "local_loss.h"
#include "probe_rows.h"
#include "probed.h"
#include "score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct measurement {
    profile *p;
    backend *b;
    const profile_options *options;
    size_t n_tokens;
    const sequence_set *tokens;
    probed_set probed;
    local_loss *losses;
    kept *kept;
    gather *gather;                     /* NULL: no candidate is fitted */
    double *column_sum, *column_square; /* [H d] three times: keys, values, queries */
    double residual_power, n_residual;
    size_t n_positions; /* rows behind the column statistics */
    uint32_t *rows;     /* [longest] */
    double *power;      /* [longest] */
    uint32_t saved;     /* layers done in the last checkpoint, UINT32_MAX: none */
    struct timespec saved_at;
    struct timespec lap; /* when the last part of the work was done */
    profile_times times;
} measurement;

static double seconds_since(const struct timespec *t)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - t->tv_sec) + 1e-9 * (double)(now.tv_nsec - t->tv_nsec);
}

/* What was done since the last call counts as *part. */
static void add_lap(measurement *m, double *part)
{
    *part += seconds_since(&m->lap);
    clock_gettime(CLOCK_MONOTONIC, &m->lap);
}

static size_t columns(const profile *p)
{
    return (2 * (size_t)p->model.n_kv_heads + p->model.n_query_heads) * p->model.head_dim;
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
    memset(m->column_sum, 0, columns(p) * sizeof *m->column_sum);
    memset(m->column_square, 0, columns(p) * sizeof *m->column_square);
    m->residual_power = m->n_residual = 0;
    m->n_positions = 0;
    kept_clear(m->kept);
    if (m->gather) gather_begin(m->gather, layer);
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

/* The residual stream's power from the first row on that reads a page. */
static kvc_status collect_residual(measurement *m, const layer_view *view, kvc_error *err)
{
    size_t first = (size_t)m->p->tokens.sinks + m->p->tokens.window + m->p->tokens.page - 1;
    if (view->n_tokens <= first) return KVC_OK;
    size_t width = view->config->hidden, rest = view->n_tokens - first;
    KVC_TRY(m->b->row_power(m->b, rest, width, view->residual + first * width, m->power, err));
    for (size_t i = 0; i < rest; i++) m->residual_power += m->power[i];
    m->n_residual += (double)rest;
    return KVC_OK;
}

static kvc_status observe(void *context, const layer_view *view, kvc_error *err)
{
    measurement *m = context;
    KVC_TRY(collect_statistics(m, view, err));
    KVC_TRY(collect_residual(m, view, err));
    add_lap(m, &m->times.layers);
    if (m->gather) KVC_TRY(gather_add(m->gather, view, err));
    add_lap(m, &m->times.sensitivity);
    return m->probed.sequence[view->sequence] ? kept_add(m->kept, view, err) : KVC_OK;
}

/* ---- at the end of a layer ---- */

static void finish_columns(const double *sum, const double *square, size_t width, double n, double *mean, double *rms)
{
    for (size_t i = 0; i < width; i++) {
        if (mean) mean[i] = sum[i] / n;
        rms[i] = sqrt(square[i] / n);
    }
}

static void finish_statistics(measurement *m, uint32_t layer)
{
    profile *p = m->p;
    size_t kv = (size_t)p->model.n_kv_heads * p->model.head_dim,
           q = (size_t)p->model.n_query_heads * p->model.head_dim;
    double n = (double)m->n_positions;
    finish_columns(m->column_sum, m->column_square, kv, n, p->key_mean + layer * kv, p->key_rms + layer * kv);
    finish_columns(m->column_sum + kv, m->column_square + kv, kv, n, p->value_mean + layer * kv,
                   p->value_rms + layer * kv);
    finish_columns(m->column_sum + 2 * kv, m->column_square + 2 * kv, q, n, NULL, p->query_rms + layer * q);
    p->residual_power[layer] = m->n_residual > 0 ? m->residual_power / m->n_residual : 0;
}

/* The constants of a side's candidates go into the profile. */
static kvc_status keep_params(measurement *m, bool values, uint32_t layer, const fitted *list, uint32_t n,
                              kvc_error *err)
{
    for (uint32_t i = 0; i < n; i++)
        if (list[i].params) KVC_TRY(profile_keep_params(m->p, values, layer, i, list[i].params, err));
    return KVC_OK;
}

static kvc_status fit_candidates(measurement *m, fit *f, bool values, uint32_t layer, kvc_error *err)
{
    const profile *p = m->p;
    const kvc_codec *codecs = values ? p->values : p->keys;
    uint32_t n = values ? p->n_values : p->n_keys;
    fitted *list = calloc(n, sizeof *list);
    kvc_error why;
    if (!list) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u candidates", n);
    kvc_status status = fit_codecs(f, codecs, n, p->tokens.page, list, &why);
    if (status != KVC_OK)
        kvc_fail(err, status, "layer %u %s: %s", layer, values ? "values" : "keys", why.message);
    else
        status = keep_params(m, values, layer, list, n, err);
    for (uint32_t i = 0; i < n; i++) free(list[i].params);
    free(list);
    return status;
}

static kvc_status fit_side(measurement *m, bool values, uint32_t layer, kvc_error *err)
{
    fit_data data;
    fit *f;
    fit_options options = m->options->fit;
    options.b = m->b;
    gather_side(m->gather, values, &data);
    KVC_TRY(fit_new(&f, &data, &options, err));
    kvc_status status = fit_candidates(m, f, values, layer, err);
    fit_free(f);
    return status;
}

static kvc_status measure_layer(measurement *m, uint32_t layer, kvc_error *err)
{
    KVC_TRY(local_loss_begin(m->losses, layer, err));
    for (size_t i = 0; i < kept_count(m->kept); i++) {
        const layer_view *view = kept_view(m->kept, i);
        uint32_t n = probe_rows_draw(m->rows, &m->p->tokens, (uint32_t)view->n_tokens, m->options->probe_rows,
                                     m->options->seed, view->sequence);
        uint32_t domain = m->probed.domain[m->tokens->file[view->sequence]];
        KVC_TRY(local_loss_add(m->losses, view, m->rows, n, domain, err));
    }
    local_loss_finish(m->losses);
    return KVC_OK;
}

static kvc_status layer_done(void *context, uint32_t layer, hidden_states *hidden, kvc_error *err)
{
    measurement *m = context;
    profile *p = m->p;
    finish_statistics(m, layer);
    add_lap(m, &m->times.layers);
    if (m->gather) {
        KVC_TRY(fit_side(m, false, layer, err));
        KVC_TRY(fit_side(m, true, layer, err));
    }
    add_lap(m, &m->times.fits);
    KVC_TRY(measure_layer(m, layer, err));
    add_lap(m, &m->times.losses);
    p->layers_done = layer + 1;
    bool due = seconds_since(&m->saved_at) >= m->options->checkpoint_seconds || p->layers_done == p->n_layers;
    if (m->options->workdir && due) {
        KVC_TRY(checkpoint_save(p, hidden, m->n_tokens, m->options->workdir, m->saved, err));
        m->saved = p->layers_done;
        clock_gettime(CLOCK_MONOTONIC, &m->saved_at);
    }
    add_lap(m, &m->times.checkpoints);
    begin_layer(m, layer + 1);
    return KVC_OK;
}

/* ---- the pass ---- */

static bool any_fitted(const profile *p)
{
    for (uint32_t i = 0; i < p->n_keys; i++)
        if (p->keys[i].param_bytes) return true;
    for (uint32_t i = 0; i < p->n_values; i++)
        if (p->values[i].param_bytes) return true;
    return false;
}

static void measurement_free(measurement *m)
{
    local_loss_free(m->losses);
    kept_free(m->kept);
    gather_free(m->gather);
    probed_free(&m->probed);
    free(m->column_sum);
    free(m->rows);
    free(m->power);
}

static kvc_status measurement_new(measurement *m, const model_config *c, const sequence_set *tokens, kvc_error *err)
{
    profile *p = m->p;
    const profile_options *o = m->options;
    size_t longest = sequences_longest(tokens);
    m->column_sum = malloc(2 * columns(p) * sizeof *m->column_sum);
    m->rows = malloc(longest * sizeof *m->rows);
    m->power = malloc(longest * sizeof *m->power);
    if (!m->column_sum || !m->rows || !m->power) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses");
    m->column_square = m->column_sum + columns(p);
    KVC_TRY(local_loss_new(&m->losses, m->b, p, o->probe_rows, longest, err));
    KVC_TRY(probed_new(&m->probed, tokens, &p->tokens, o->probe_sequences, err));
    if (p->n_domains && p->n_domains != m->probed.n_domains)
        return kvc_fail(err, KVC_INVALID, "the profile has %u domains, the text %u", p->n_domains,
                        m->probed.n_domains);
    KVC_TRY(kept_new(&m->kept, m->b, c, tokens, &m->probed, err));
    return any_fitted(p) ? gather_new(&m->gather, m->b, p, tokens, o->fit_rows, o->fit_from, o->antkv_keys, err)
                         : KVC_OK;
}

memory_need profile_memory(const backend *b, const kvc_model_info *model, const kvc_codec *keys, uint32_t n_keys,
                           const kvc_codec *values, uint32_t n_values, const profile_options *o, size_t n_probed,
                           size_t longest)
{
    const profile shape = {
        .n_keys = n_keys, .n_values = n_values, .keys = (kvc_codec *)keys, .values = (kvc_codec *)values};
    memory_need need = local_loss_memory(b, model, n_keys, n_values, o->probe_rows, longest);
    need.dev += kept_memory(model, n_probed, longest);
    if (!any_fitted(&shape)) return need;
    return memory_sum(need, gather_memory(b, model, longest, o->fit_rows, o->fit.table_rows));
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
    state.tokens = tokens;
    clock_gettime(CLOCK_MONOTONIC, &state.saved_at);
    state.lap = state.saved_at;
    snprintf(p->backend, sizeof p->backend, "%s", b->name);
    p->n_tokens = state.n_tokens;
    p->probe_rows = options->probe_rows;
    p->seed = options->seed;
    if ((status = measurement_new(&state, &m->config, tokens, err))) goto done;
    if ((status =
             hidden_new(&hidden, b, state.n_tokens, m->config.hidden, options->memory_limit, options->workdir, err)))
        goto done;
    if (options->resume && options->workdir &&
        (status = checkpoint_load(p, hidden, state.n_tokens, options->workdir, &resumed, err)))
        goto done;
    if (resumed) state.saved = p->layers_done;
    begin_layer(&state, p->layers_done);
    if (!resumed && (status = model_embed(m, tokens, hidden, err))) goto done;
    status = model_layers(m, b, tokens, hidden, p->layers_done, p->n_layers, &hooks, job, "profile", err);
done:
    if (options->times) *options->times = state.times;
    measurement_free(&state);
    if (status == KVC_OK && final) {
        *final = hidden;
        hidden = NULL;
    }
    hidden_free(hidden);
    return status;
}
