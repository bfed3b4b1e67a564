/* gather.c - see gather.h. Cost per layer and sequence: the sensitivity pass (about twice exact attention) and
 * d^2 products per token and head for the moments. */
#include "gather.h"
#include "probe_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CAP 200.0 /* times the mean; experiments.md section 6: powers and caps below lose */

typedef struct side {        /* of one layer; H heads */
    double *token_weight;    /* [H][T] of the sequence at hand */
    double *weight;          /* [H] sums over all sequences */
    double *first, *second;  /* [H][d], [H][d][d] */
    double *mean, *cov;      /* the same, finished */
    double *metric, *absmax; /* [H][d][d], [H][d] */
    float *rows, *weights;   /* [H][capacity][d], [H][capacity]; packed to n_rows by gather_side() */
} side;

struct gather {
    backend *b;
    const profile *p; /* shapes, policy, seed, channel ranges */
    uint32_t layer;
    size_t longest, capacity, per_sequence, first_sequence, n_rows;
    side keys, values;
    double *query_weight;                           /* [Q][T] */
    double *query_sum, *query_first, *query_second; /* [Q], [Q][d], [Q][d][d] */
    float *metric;                                  /* [Q][d][d] M_h of the layer */
    float *host;                                    /* [T][H d] sampled rows of one side */
    uint32_t *chosen;                               /* [T] */
    size_t *tokens;                                 /* [T] the same */
    float *device;                                  /* backend memory: as host */
    bool have_metric, antkv_keys;
    double *unused; /* [H][T] key weights that AnTKV's score takes the place of */
    void *memory;
};

typedef struct shape {
    size_t H, Q, d, T, capacity;
} shape;

static shape shape_of(const kvc_model_info *m, size_t longest, size_t capacity)
{
    return (shape){m->n_kv_heads, m->n_query_heads, m->head_dim, longest, capacity};
}

static size_t place(void *slot, size_t n, size_t size, size_t at, uint8_t *base)
{
    if (base) {
        void *here = base + at;
        memcpy(slot, &here, sizeof here);
    }
    return at + (n * size + 63) / 64 * 64;
}

static size_t place_side(side *s, const shape *x, size_t at, uint8_t *base)
{
    size_t Hd = x->H * x->d, Hdd = Hd * x->d;
    at = place(&s->weight, x->H, 8, at, base);
    at = place(&s->first, Hd, 8, at, base);
    at = place(&s->second, Hdd, 8, at, base);
    at = place(&s->mean, Hd, 8, at, base);
    at = place(&s->cov, Hdd, 8, at, base);
    at = place(&s->metric, Hdd, 8, at, base);
    at = place(&s->absmax, Hd, 8, at, base);
    at = place(&s->token_weight, x->H * x->T, 8, at, base);
    at = place(&s->rows, x->capacity * Hd, 4, at, base);
    return place(&s->weights, x->capacity * x->H, 4, at, base);
}

static size_t layout(gather *g, const shape *x, uint8_t *base)
{
    size_t at = place_side(&g->keys, x, 0, base), Qd = x->Q * x->d;
    at = place_side(&g->values, x, at, base);
    at = place(&g->query_weight, x->Q * x->T, 8, at, base);
    at = place(&g->unused, x->H * x->T, 8, at, base);
    at = place(&g->query_sum, x->Q, 8, at, base);
    at = place(&g->query_first, Qd, 8, at, base);
    at = place(&g->query_second, Qd * x->d, 8, at, base);
    at = place(&g->metric, Qd * x->d, 4, at, base);
    at = place(&g->host, x->T * x->H * x->d, 4, at, base);
    at = place(&g->tokens, x->T, sizeof *g->tokens, at, base);
    return place(&g->chosen, x->T, 4, at, base);
}

memory_need gather_memory(const backend *b, const kvc_model_info *m, size_t longest, size_t fit_rows,
                          size_t table_rows)
{
    gather unused;
    shape x = shape_of(m, longest, fit_rows);
    const scratch_shape pass = {.n_tokens = x.T,
                                .n_heads = x.Q,
                                .n_kv_heads = x.H,
                                .head_dim = x.d,
                                .sensitivity = true,
                                .table_points = table_rows};
    memory_need need = b->scratch(b, &pass);
    need.host += layout(&unused, &x, NULL);
    need.dev += sizeof(float) * x.T * x.H * x.d;
    return need;
}

/* fit_from, or 0 where nothing from there on gets compressed. */
static size_t first_gathered(const sequence_set *tokens, const kvc_token_policy *policy, size_t fit_from)
{
    for (size_t i = fit_from; i < tokens->n; i++)
        if (kvc_tokens_compressed(policy, tokens->first[i + 1] - tokens->first[i])) return fit_from;
    return 0;
}

kvc_status gather_new(gather **out, backend *b, const profile *p, const sequence_set *tokens, size_t fit_rows,
                      size_t fit_from, bool antkv_keys, kvc_error *err)
{
    const kvc_model_info *m = &p->model;
    gather *g = calloc(1, sizeof *g);
    *out = NULL;
    if (!g) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for fitting");
    g->b = b;
    g->p = p;
    g->antkv_keys = antkv_keys;
    g->longest = sequences_longest(tokens);
    g->first_sequence = first_gathered(tokens, &p->tokens, fit_from);
    size_t n = tokens->n - g->first_sequence;
    g->per_sequence = (fit_rows + n - 1) / n;
    g->capacity = g->per_sequence * n;
    shape x = shape_of(m, g->longest, g->capacity);
    size_t device = x.T * x.H * x.d;
    g->memory = malloc(layout(g, &x, NULL));
    kvc_status status = g->memory ? b->buffer_new(b, device * sizeof(float), (void **)&g->device, err)
                                  : kvc_fail(err, KVC_NO_MEMORY, "out of memory for fitting");
    if (status != KVC_OK) {
        gather_free(g);
        return status;
    }
    layout(g, &x, g->memory);
    *out = g;
    return KVC_OK;
}

void gather_free(gather *g)
{
    if (!g) return;
    g->b->buffer_free(g->b, g->device);
    free(g->memory);
    free(g);
}

static void clear_side(side *s, size_t H, size_t d)
{
    memset(s->weight, 0, H * sizeof *s->weight);
    memset(s->first, 0, H * d * sizeof *s->first);
    memset(s->second, 0, H * d * d * sizeof *s->second);
}

void gather_begin(gather *g, uint32_t layer)
{
    const kvc_model_info *m = &g->p->model;
    size_t Q = m->n_query_heads, d = m->head_dim;
    g->layer = layer;
    g->n_rows = 0;
    g->have_metric = false;
    clear_side(&g->keys, m->n_kv_heads, d);
    clear_side(&g->values, m->n_kv_heads, d);
    memset(g->query_sum, 0, Q * sizeof *g->query_sum);
    memset(g->query_first, 0, Q * d * sizeof *g->query_first);
    memset(g->query_second, 0, Q * d * d * sizeof *g->query_second);
}

/* No weight above CAP times the mean of those that are not zero. */
static void cap_weights(double *w, size_t n)
{
    double sum = 0;
    size_t counted = 0;
    for (size_t i = 0; i < n; i++) {
        sum += w[i];
        counted += w[i] > 0;
    }
    double most = counted ? CAP * sum / (double)counted : 0;
    for (size_t i = 0; i < n; i++) w[i] = fmin(w[i], most);
}

/* Rows of the chosen tokens, behind those of earlier sequences. */
static kvc_status sample_side(gather *g, side *s, const float *device_rows, size_t n_tokens, uint32_t n_chosen,
                              kvc_error *err)
{
    size_t H = g->p->model.n_kv_heads, d = g->p->model.head_dim;
    for (uint32_t i = 0; i < n_chosen; i++) g->tokens[i] = g->chosen[i];
    KVC_TRY(g->b->gather_rows(g->b, n_chosen, H * d, device_rows, g->tokens, g->device, err));
    KVC_TRY(g->b->download(g->b, g->host, g->device, n_chosen * H * d * sizeof(float), err));
    KVC_TRY(g->b->sync(g->b, err));
    for (size_t h = 0; h < H; h++) {
        for (uint32_t i = 0; i < n_chosen; i++) {
            size_t to = h * g->capacity + g->n_rows + i;
            memcpy(s->rows + to * d, g->host + (i * H + h) * d, d * sizeof *s->rows);
            s->weights[to] = (float)s->token_weight[h * n_tokens + g->chosen[i]];
        }
    }
    return KVC_OK;
}

static kvc_status add_moments(gather *g, size_t n_tokens, size_t n_heads, const float *x, const double *weights,
                              double *sum, double *first, double *second, kvc_error *err)
{
    return g->b->moments(g->b, n_tokens, n_heads, g->p->model.head_dim, x, weights, n_tokens, sum, first, second,
                         err);
}

kvc_status gather_add(gather *g, const layer_view *view, kvc_error *err)
{
    const kvc_model_info *m = &g->p->model;
    size_t T = view->n_tokens, H = m->n_kv_heads;
    side *k = &g->keys, *v = &g->values;
    if (view->sequence < g->first_sequence || kvc_tokens_compressed(&g->p->tokens, T) == 0) return KVC_OK;
    if (!g->have_metric)
        KVC_TRY(g->b->output_metric(g->b, m->hidden_size, m->n_query_heads, m->head_dim, view->wo, g->metric, err));
    g->have_metric = true;
    sensitivity_args args = {
        .n_tokens = (uint32_t)T,
        .n_heads = m->n_query_heads,
        .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim,
        .scale = 1.0f / sqrtf((float)m->head_dim),
        .policy = g->p->tokens,
        .q = view->q,
        .k = view->k,
        .v = view->v,
        .output_metric = g->metric,
        .key_weight = g->antkv_keys ? g->unused : k->token_weight,
        .value_weight = v->token_weight,
        .query_weight = g->query_weight,
        .anchor_score = g->antkv_keys ? k->token_weight : NULL,
    };
    KVC_TRY(g->b->sensitivity(g->b, &args, err));
    cap_weights(k->token_weight, H * T);
    cap_weights(v->token_weight, H * T);
    cap_weights(g->query_weight, m->n_query_heads * T);
    KVC_TRY(add_moments(g, T, H, view->k, k->token_weight, k->weight, k->first, k->second, err));
    KVC_TRY(add_moments(g, T, H, view->v, v->token_weight, v->weight, v->first, v->second, err));
    KVC_TRY(add_moments(g, T, m->n_query_heads, view->q, g->query_weight, g->query_sum, g->query_first,
                        g->query_second, err));
    uint32_t n = compressed_rows_draw(g->chosen, &g->p->tokens, (uint32_t)T, (uint32_t)g->per_sequence, g->p->seed,
                                      view->sequence);
    KVC_TRY(sample_side(g, k, view->k, T, n, err));
    KVC_TRY(sample_side(g, v, view->v, T, n, err));
    g->n_rows += n;
    return KVC_OK;
}

/* Mean and covariance of heads [H] from their sums; zero where nothing had weight. */
static void finish_moments(side *s, size_t H, size_t d)
{
    for (size_t h = 0; h < H; h++) {
        double *mean = s->mean + h * d, *cov = s->cov + h * d * d, w = s->weight[h] > 0 ? 1 / s->weight[h] : 0;
        for (size_t i = 0; i < d; i++) mean[i] = s->first[h * d + i] * w;
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) cov[i * d + j] = s->second[(h * d + i) * d + j] * w - mean[i] * mean[j];
    }
}

/* C_q = sum u q q' / sum u over the group's queries. */
static void key_metric(gather *g)
{
    size_t H = g->p->model.n_kv_heads, group = g->p->model.n_query_heads / H, dd = (size_t)g->p->model.head_dim;
    dd *= dd;
    for (size_t h = 0; h < H; h++) {
        double *out = g->keys.metric + h * dd, sum = 0;
        memset(out, 0, dd * sizeof *out);
        for (size_t q = h * group; q < (h + 1) * group; q++) {
            sum += g->query_sum[q];
            for (size_t i = 0; i < dd; i++) out[i] += g->query_second[q * dd + i];
        }
        for (size_t i = 0; i < dd; i++) out[i] = sum > 0 ? out[i] / sum : 0;
    }
}

/* M_v = mean of M_h over the group. */
static void value_metric(gather *g)
{
    size_t H = g->p->model.n_kv_heads, group = g->p->model.n_query_heads / H, dd = (size_t)g->p->model.head_dim;
    dd *= dd;
    for (size_t h = 0; h < H; h++) {
        double *out = g->values.metric + h * dd;
        memset(out, 0, dd * sizeof *out);
        if (!g->have_metric) continue;
        for (size_t q = h * group; q < (h + 1) * group; q++)
            for (size_t i = 0; i < dd; i++) out[i] += (double)g->metric[q * dd + i] / (double)group;
    }
}

static void channel_ranges(const profile *p, bool values, uint32_t layer, double *absmax)
{
    size_t n = (size_t)p->model.n_kv_heads * p->model.head_dim, at = layer * n;
    const double *low = (values ? p->value_min : p->key_min) + at, *high = (values ? p->value_max : p->key_max) + at;
    for (size_t i = 0; i < n; i++) absmax[i] = fmax(fabs(low[i]), fabs(high[i]));
}

/* Heads side by side without the room that was left, weights with mean 1. */
static void pack_rows(const gather *g, side *s)
{
    size_t H = g->p->model.n_kv_heads, d = g->p->model.head_dim, R = g->n_rows;
    double sum = 0;
    for (size_t h = 0; h < H; h++) {
        memmove(s->rows + h * R * d, s->rows + h * g->capacity * d, R * d * sizeof *s->rows);
        memmove(s->weights + h * R, s->weights + h * g->capacity, R * sizeof *s->weights);
    }
    for (size_t i = 0; i < H * R; i++) sum += s->weights[i];
    for (size_t i = 0; i < H * R; i++) s->weights[i] = sum > 0 ? (float)(s->weights[i] * (double)(H * R) / sum) : 1;
}

void gather_side(gather *g, bool values, fit_data *out)
{
    const kvc_model_info *m = &g->p->model;
    side *s = values ? &g->values : &g->keys;
    finish_moments(s, m->n_kv_heads, m->head_dim);
    if (values)
        value_metric(g);
    else
        key_metric(g);
    channel_ranges(g->p, values, g->layer, s->absmax);
    pack_rows(g, s);
    *out = (fit_data){
        .values = values,
        .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim,
        .n_rows = g->n_rows,
        .rows = s->rows,
        .weights = s->weights,
        .mean = s->mean,
        .cov = s->cov,
        .metric = s->metric,
        .absmax = s->absmax,
    };
}
