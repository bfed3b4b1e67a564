/* local_loss.c - see local_loss.h.
 *
 * Every candidate is encoded and decoded by libkvc's own codec, and its effect on sampled query rows is measured as
 * decoding would see it: pages decoded, sinks and window exact. Sums are in double, in the order of sequences. Cost
 * per layer and sequence, R rows, T tokens, K and V candidates: about (K + 1) (1 + V / 2) products of R x T x d per
 * head. */
#include "local_loss.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over the sequences of one layer. */
typedef struct layer_sums {
    double *key_error, *key_count;     /* [K] */
    double *value_error, *value_count; /* [V] */
    double *score_error;               /* [K] */
    double *output_error;              /* [K][V] */
    double *key_power, *value_power;   /* [K], [V]: |dO Wo|^2 */
    double *domain_key, *domain_value; /* [D][K], [D][V]: the same over each domain's rows */
    double *domain_rows;               /* [D] */
    double n_scores, n_outputs, n_probed, output_power;
} layer_sums;

struct local_loss {
    profile *p;
    backend *b;
    uint32_t layer;
    kvc_coder *keys, *values;               /* [K], [V] */
    bool *paired;                           /* [K] keys that are not fitted: KVTuner's pairs */
    void **key_params, **value_params;      /* [K], [V] owned */
    float **k_page, **v_page;               /* [K], [V] of [T][H][d], backend memory */
    float *out, **delta_key, **delta_value; /* [rows][D] */
    float *projected;                       /* [rows][hidden] */
    double *power;                          /* [rows] */
    double *memory;
    layer_sums sums;
};

/* One allocation for all sums. */
static size_t sums_layout(local_loss *l, double *base)
{
    size_t K = l->p->n_keys, V = l->p->n_values, D = l->p->n_domains, at = 0;
    struct {
        double **to;
        size_t n;
    } parts[] = {{&l->sums.key_error, K},        {&l->sums.key_count, K},   {&l->sums.value_error, V},
                 {&l->sums.value_count, V},      {&l->sums.score_error, K}, {&l->sums.output_error, K * V},
                 {&l->sums.key_power, K},        {&l->sums.value_power, V}, {&l->sums.domain_key, D * K},
                 {&l->sums.domain_value, D * V}, {&l->sums.domain_rows, D}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].to = base + at;
        at += parts[i].n;
    }
    return at;
}

/* ---- one sequence ---- */

/* |x Wo^T|^2 summed over the probed rows, also into `own` if that is not NULL */
static kvc_status projected_power(local_loss *l, const layer_view *view, size_t rows, const float *x, double *sum,
                                  double *own, kvc_error *err)
{
    const model_config *c = view->config;
    KVC_TRY(
        l->b->gemm(l->b, rows, c->hidden, (size_t)c->n_heads * c->head_dim, x, view->wo, NULL, 0, l->projected, err));
    KVC_TRY(l->b->row_power(l->b, rows, c->hidden, l->projected, l->power, err));
    for (size_t i = 0; i < rows; i++) *sum += l->power[i];
    for (size_t i = 0; own && i < rows; i++) *own += l->power[i];
    return KVC_OK;
}

/* A side's candidates: pages, and how far they are from the rows they stand for (KVTuner's e_k and e_v). */
static kvc_status decode_side(local_loss *l, const layer_view *view, const float *x, const kvc_coder *coders,
                              uint32_t n, float **pages, double *error, double *count, kvc_error *err)
{
    const profile *p = l->p;
    size_t width = (size_t)p->model.n_kv_heads * p->model.head_dim, skip = p->tokens.sinks * width;
    size_t values = kvc_tokens_compressed(&p->tokens, view->n_tokens) * width;
    for (uint32_t i = 0; i < n; i++) {
        KVC_TRY(l->b->transcode(l->b, &coders[i], &p->tokens, view->n_tokens, x, NULL, pages[i], err));
        KVC_TRY(l->b->relative_error(l->b, values, x + skip, pages[i] + skip, &error[i], &count[i], err));
    }
    return KVC_OK;
}

/* The candidates' errors behind W_o. */
static kvc_status probe_projections(local_loss *l, const layer_view *view, uint32_t n_rows, uint32_t domain,
                                    kvc_error *err)
{
    layer_sums *s = &l->sums;
    size_t K = l->p->n_keys, V = l->p->n_values;
    double *own_key = l->p->n_domains ? s->domain_key + domain * K : NULL,
           *own_value = l->p->n_domains ? s->domain_value + domain * V : NULL;
    if (l->p->n_domains) s->domain_rows[domain] += n_rows;
    for (size_t i = 0; i < K; i++)
        KVC_TRY(
            projected_power(l, view, n_rows, l->delta_key[i], &s->key_power[i], own_key ? &own_key[i] : NULL, err));
    for (size_t i = 0; i < V; i++)
        KVC_TRY(projected_power(l, view, n_rows, l->delta_value[i], &s->value_power[i],
                                own_value ? &own_value[i] : NULL, err));
    return KVC_OK;
}

static kvc_status probe_candidates(local_loss *l, const layer_view *view, const uint32_t *rows, uint32_t n_rows,
                                   uint32_t domain, kvc_error *err)
{
    const profile *p = l->p;
    const model_config *c = view->config;
    layer_sums *s = &l->sums;
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
        .rows = rows,
        .n_keys = p->n_keys,
        .n_values = p->n_values,
        .k_page = (const float *const *)l->k_page,
        .v_page = (const float *const *)l->v_page,
        .out = l->out,
        .delta_key = l->delta_key,
        .delta_value = l->delta_value,
        .paired = l->paired,
        .score_error = s->score_error,
        .output_error = s->output_error,
        .n_scores = &s->n_scores,
    };
    KVC_TRY(l->b->probe(l->b, &args, err));
    s->n_outputs += (double)n_rows * c->n_heads * c->head_dim;
    s->n_probed += n_rows;
    KVC_TRY(projected_power(l, view, n_rows, l->out, &s->output_power, NULL, err));
    return probe_projections(l, view, n_rows, domain, err);
}

kvc_status local_loss_add(local_loss *l, const layer_view *view, const uint32_t *rows, uint32_t n_rows,
                          uint32_t domain, kvc_error *err)
{
    const profile *p = l->p;
    layer_sums *s = &l->sums;
    if (n_rows == 0) return KVC_OK;
    KVC_TRY(decode_side(l, view, view->k, l->keys, p->n_keys, l->k_page, s->key_error, s->key_count, err));
    KVC_TRY(decode_side(l, view, view->v, l->values, p->n_values, l->v_page, s->value_error, s->value_count, err));
    return probe_candidates(l, view, rows, n_rows, domain, err);
}

/* ---- a layer ---- */

static kvc_status bind_side(local_loss *l, bool values, kvc_error *err)
{
    const profile *p = l->p;
    for (uint32_t i = 0; i < (values ? p->n_values : p->n_keys); i++) {
        void **params = values ? &l->value_params[i] : &l->key_params[i];
        free(*params);
        KVC_TRY(profile_get_params(p, values, l->layer, i, params, err));
        KVC_TRY(kvc_coder_init(values ? &l->values[i] : &l->keys[i], values ? &p->values[i] : &p->keys[i], *params,
                               p->model.n_kv_heads, p->model.head_dim, p->tokens.page, err));
    }
    return KVC_OK;
}

kvc_status local_loss_begin(local_loss *l, uint32_t layer, kvc_error *err)
{
    memset(l->memory, 0, sums_layout(l, l->memory) * sizeof *l->memory);
    l->sums.n_scores = l->sums.n_outputs = l->sums.n_probed = l->sums.output_power = 0;
    l->layer = layer;
    KVC_TRY(bind_side(l, false, err));
    return bind_side(l, true, err);
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : 0;
}

/* Means over each domain's rows, relative to the power of all rows' outputs. */
static void finish_domains(local_loss *l)
{
    profile *p = l->p;
    const layer_sums *s = &l->sums;
    size_t K = p->n_keys, V = p->n_values;
    double mean_power = ratio(s->output_power, s->n_probed);
    for (size_t d = 0; d < p->n_domains; d++) {
        double rows = p->domain_rows[d] = s->domain_rows[d];
        double *key = p->domain_key_loss + (d * p->n_layers + l->layer) * K,
               *value = p->domain_value_loss + (d * p->n_layers + l->layer) * V;
        for (size_t i = 0; i < K; i++) key[i] = ratio(s->domain_key[d * K + i], rows * mean_power);
        for (size_t i = 0; i < V; i++) value[i] = ratio(s->domain_value[d * V + i], rows * mean_power);
    }
}

void local_loss_finish(local_loss *l)
{
    profile *p = l->p;
    const layer_sums *s = &l->sums;
    size_t K = p->n_keys, V = p->n_values, layer = l->layer;
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
    finish_domains(l);
}

/* ---- memory ---- */

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

static void params_free(void **list, uint32_t n)
{
    for (uint32_t i = 0; list && i < n; i++) free(list[i]);
    free(list);
}

void local_loss_free(local_loss *l)
{
    if (!l) return;
    uint32_t K = l->p->n_keys, V = l->p->n_values;
    params_free(l->key_params, K);
    params_free(l->value_params, V);
    l->b->buffer_free(l->b, l->out);
    l->b->buffer_free(l->b, l->projected);
    buffers_free(l->b, l->k_page, K);
    buffers_free(l->b, l->v_page, V);
    buffers_free(l->b, l->delta_key, K);
    buffers_free(l->b, l->delta_value, V);
    free(l->paired);
    free(l->keys);
    free(l->values);
    free(l->power);
    free(l->memory);
    free(l);
}

/* Rows that a sequence of n tokens is probed on, at most. */
static size_t most_rows(uint32_t probe_rows, size_t n)
{
    return probe_rows && probe_rows < n ? probe_rows : n;
}

static kvc_status allocate(local_loss *l, uint32_t probe_rows, size_t longest, kvc_error *err)
{
    const kvc_model_info *m = &l->p->model;
    uint32_t K = l->p->n_keys, V = l->p->n_values;
    size_t width = longest * m->n_kv_heads * m->head_dim, rows = most_rows(probe_rows, longest);
    size_t out = rows * m->n_query_heads * m->head_dim;
    l->keys = calloc(K, sizeof *l->keys);
    l->values = calloc(V, sizeof *l->values);
    l->paired = calloc(K, sizeof *l->paired);
    l->key_params = calloc(K, sizeof *l->key_params);
    l->value_params = calloc(V, sizeof *l->value_params);
    l->power = malloc(rows * sizeof *l->power);
    l->memory = malloc(sums_layout(l, NULL) * sizeof *l->memory);
    if (!l->keys || !l->values || !l->paired || !l->key_params || !l->value_params || !l->power || !l->memory)
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses");
    for (uint32_t i = 0; i < K; i++) l->paired[i] = l->p->keys[i].param_bytes == 0;
    KVC_TRY(l->b->buffer_new(l->b, out * sizeof(float), (void **)&l->out, err));
    KVC_TRY(l->b->buffer_new(l->b, rows * m->hidden_size * sizeof(float), (void **)&l->projected, err));
    KVC_TRY(buffers_new(l->b, &l->k_page, K, width, err));
    KVC_TRY(buffers_new(l->b, &l->v_page, V, width, err));
    KVC_TRY(buffers_new(l->b, &l->delta_key, K, out, err));
    return buffers_new(l->b, &l->delta_value, V, out, err);
}

kvc_status local_loss_new(local_loss **out, backend *b, profile *p, uint32_t probe_rows, size_t longest,
                          kvc_error *err)
{
    local_loss *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses");
    l->p = p;
    l->b = b;
    kvc_status status = allocate(l, probe_rows, longest, err);
    if (status == KVC_OK)
        *out = l;
    else
        local_loss_free(l);
    return status;
}

memory_need local_loss_memory(const backend *b, const kvc_model_info *model, uint32_t n_keys, uint32_t n_values,
                              uint32_t probe_rows, size_t longest)
{
    uint64_t page = (uint64_t)longest * model->n_kv_heads * model->head_dim, n = n_keys + n_values;
    uint64_t rows = most_rows(probe_rows, longest), out = rows * model->n_query_heads * model->head_dim;
    const scratch_shape shape = {.n_tokens = longest,
                                 .n_heads = model->n_query_heads,
                                 .n_kv_heads = model->n_kv_heads,
                                 .head_dim = model->head_dim,
                                 .n_rows = rows,
                                 .n_keys = n_keys,
                                 .n_values = n_values};
    memory_need need = b->scratch(b, &shape);
    need.dev += sizeof(float) * (n * page + (n + 1) * out + rows * model->hidden_size);
    return need;
}
