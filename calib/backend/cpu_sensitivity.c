/* cpu_sensitivity.c - how much the loss feels each key, value and query (backend.h, sensitivity).
 *
 * A tile is one KV head and consecutive queries; with the G query heads of the group stacked, row m = g n + i is
 * query i of head g, M = G n rows. V is centred first (V_j - mean V, which changes no r_ij), so is O = A V then. Keys
 * come in blocks of KEYS:
 *   1. P = exp(Q K' - running max), O <- O * keep + P V     up to the tile's last query; the P of every block stays
 *   2. C = (O M_h) V', r = V'M V + O'M O - 2 C >= 0, A = P * factor, sums of A^2 and A^2 r     compressed keys alone
 * r is a cancellation, with an error of about 1e-7 (V'M V + O'M O). Times a small A^2 that vanishes among the other
 * terms of a sum; for A > NEAR, where O is drawn to V_j, it need not, and r is taken from the difference itself:
 * (V_j - O)'(M V_j - M O), for at most 1 / NEAR keys per row.
 *
 * Sums: float within a tile and block, double beyond. A task is one KV head and every PARTS-th tile, to and fro so
 * that all cost alike; it adds to columns of its own, which are summed in task order: threads change nothing.
 * Cost: 6 d flops and one exponential per score, T^2 / 2 scores per query head; the anchor score another 3 d each,
 * outside products. Memory: M x T floats per thread (P; M falls where T is large), V and M V as floats, and 16 PARTS
 * bytes per token and KV head. */
#include "cpu_internal.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 192                /* of a tile, G heads stacked */
#define STRIP ((size_t)1 << 22) /* floats of P that a thread keeps, unless 8 queries need more */
#define KEYS 512
#define PARTS 16
#define NEAR 0.25f

typedef struct job {
    const sensitivity_args *a;
    size_t group, queries; /* G; n of a full tile */
    size_t n_tiles, parts;
    size_t n_sums;   /* columns of doubles per task: values, keys, anchors */
    float *v;        /* [n_kv_heads][T][d] centred */
    float *metric_v; /* [n_heads][T][d] M_h V_j */
    float *power_v;  /* [n_heads][T] V_j' M_h V_j */
    double *sums;    /* [n_kv_heads][parts][n_sums][T] */
} job;

typedef struct tile {
    size_t head, first, end, M; /* KV head, queries [first, end) */
    double *sums;               /* [n_sums][T] of its task */
} tile;

/* Scratch of a thread, one block:
 *     q [M][d] | o [M][d] | mo [M][d] M_h O | p [blocks][M][KEYS] | top [blocks][M] the maximum behind p |
 *     r [M][KEYS] | max [M] | sum [M] | power [M] O'M O | column [3][KEYS] |
 *     turned [d][KEYS] V', distance [KEYS] for the anchor score */
typedef struct scratch {
    float *q, *o, *mo, *p, *top, *r, *max, *sum, *power, *column, *turned, *distance;
} scratch;

static size_t scratch_layout(const job *s, float *base, scratch *w)
{
    const sensitivity_args *a = s->a;
    size_t M = s->queries * s->group, d = a->head_dim, blocks = cpu_blocks(a->n_tokens, KEYS), at = 0;
    struct {
        float **to;
        size_t n;
    } parts[] = {{&w->q, M * d},
                 {&w->o, M * d},
                 {&w->mo, M * d},
                 {&w->p, blocks * M * KEYS},
                 {&w->top, blocks * M},
                 {&w->r, M * KEYS},
                 {&w->max, M},
                 {&w->sum, M},
                 {&w->power, M},
                 {&w->column, 3 * KEYS},
                 {&w->turned, a->anchor_score ? d * KEYS : 0},
                 {&w->distance, KEYS}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].to = base + at;
        at += (parts[i].n + 15) & ~(size_t)15;
    }
    return at * sizeof *base;
}

static void product(size_t m, size_t n, size_t k, const float *x, const float *y, CBLAS_TRANSPOSE turn_y, float beta,
                    float *out, size_t ldx, size_t ldo)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, turn_y, (int)m, (int)n, (int)k, 1.0f, x, (int)ldx, y,
                (int)(turn_y == CblasTrans ? k : n), beta, out, (int)ldo);
}

static void centre_values(const job *s, size_t head)
{
    size_t T = s->a->n_tokens, d = s->a->head_dim, stride = s->a->n_kv_heads * d;
    double mean[KVC_MAX_HEAD_DIM] = {0};
    const float *from = s->a->v + head * d;
    float *to = s->v + head * T * d;
    for (size_t j = 0; j < T; j++)
        for (size_t i = 0; i < d; i++) mean[i] += from[j * stride + i];
    for (size_t i = 0; i < d; i++) mean[i] /= (double)T;
    for (size_t j = 0; j < T; j++)
        for (size_t i = 0; i < d; i++) to[j * d + i] = (float)(from[j * stride + i] - mean[i]);
}

static void apply_metric(const job *s, size_t head)
{
    size_t T = s->a->n_tokens, d = s->a->head_dim;
    const float *v = s->v + head / s->group * T * d;
    float *mv = s->metric_v + head * T * d;
    product(T, d, d, v, s->a->output_metric + head * d * d, CblasNoTrans, 0, mv, d, d);
    for (size_t j = 0; j < T; j++) s->power_v[head * T + j] = cpu_dot(d, v + j * d, mv + j * d);
}

static void load_queries(const job *s, const tile *t, scratch *w)
{
    const sensitivity_args *a = s->a;
    size_t d = a->head_dim, n = t->end - t->first;
    for (size_t m = 0; m < t->M; m++) {
        const float *q = a->q + ((t->first + m % n) * a->n_heads + t->head * s->group + m / n) * d;
        for (size_t i = 0; i < d; i++) w->q[m * d + i] = q[i] * a->scale;
        w->max[m] = -INFINITY;
        w->sum[m] = 0;
    }
    memset(w->o, 0, t->M * d * sizeof *w->o);
}

static void softmax_block(const job *s, const tile *t, size_t begin, size_t limit, float *p, float *top, scratch *w)
{
    size_t d = s->a->head_dim, n = t->end - t->first;
    for (size_t m = 0; m < t->M; m++) {
        size_t seen = t->first + m % n + 1, count = seen <= begin ? 0 : cpu_min(seen, limit) - begin;
        float *row = p + m * KEYS, *o = w->o + m * d;
        float keep = count ? cpu_softmax_step(row, count, &w->max[m], &w->sum[m]) : 1.0f;
        memset(row + count, 0, (limit - begin - count) * sizeof *row);
        top[m] = w->max[m];
        if (keep != 1.0f)
            for (size_t i = 0; i < d; i++) o[i] *= keep;
    }
}

/* Pass 1: p, top, max, sum, and o normalised */
static void attend(const job *s, const tile *t, scratch *w)
{
    const sensitivity_args *a = s->a;
    size_t d = a->head_dim, stride = a->n_kv_heads * d;
    for (size_t begin = 0; begin < t->end; begin += KEYS) {
        size_t limit = cpu_min(begin + KEYS, t->end);
        float *p = w->p + begin * t->M;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)t->M, (int)(limit - begin), (int)d, 1.0f, w->q,
                    (int)d, a->k + begin * stride + t->head * d, (int)stride, 0.0f, p, KEYS);
        softmax_block(s, t, begin, limit, p, w->top + begin / KEYS * t->M, w);
        product(t->M, d, limit - begin, p, s->v + (t->head * a->n_tokens + begin) * d, CblasNoTrans, 1, w->o, KEYS,
                d);
    }
    for (size_t m = 0; m < t->M; m++)
        for (size_t i = 0; i < d; i++) w->o[m * d + i] /= w->sum[m];
}

/* mo = M_h O, power = O' M_h O */
static void measure_outputs(const job *s, const tile *t, scratch *w)
{
    size_t d = s->a->head_dim, n = t->end - t->first;
    for (size_t g = 0; g < s->group; g++)
        product(n, d, d, w->o + g * n * d, s->a->output_metric + (t->head * s->group + g) * d * d, CblasNoTrans, 0,
                w->mo + g * n * d, d, d);
    for (size_t m = 0; m < t->M; m++) w->power[m] = cpu_dot(d, w->o + m * d, w->mo + m * d);
}

/* Row m of a tile and keys [from, to) of one block. */
typedef struct segment {
    size_t m, head, from, to; /* query head */
    const float *p;           /* [to - from] */
    float factor;             /* A = factor p */
} segment;

static void distances(const job *s, const tile *t, const segment *g, const scratch *w, float *r)
{
    size_t d = s->a->head_dim, T = s->a->n_tokens;
    cpu_distance_row(g->to - g->from, s->power_v + g->head * T + g->from, w->power[g->m], r);
    if (w->sum[g->m] > 1 / NEAR) return; /* the row's largest A is 1 / sum */
    for (size_t j = g->from; j < g->to; j++) {
        if (g->p[j - g->from] * g->factor <= NEAR) continue;
        float near = cpu_dot_differences(d, s->v + (t->head * T + j) * d, w->o + g->m * d,
                                         s->metric_v + (g->head * T + j) * d, w->mo + g->m * d);
        r[j - g->from] = near > 0 ? near : 0;
    }
}

/* Values [from, to), one channel after the other. */
static void turn_values(const job *s, const tile *t, size_t from, size_t to, float *turned)
{
    size_t d = s->a->head_dim;
    const float *v = s->v + (t->head * s->a->n_tokens + from) * d;
    for (size_t j = 0; j < to - from; j++)
        for (size_t i = 0; i < d; i++) turned[i * KEYS + j] = v[j * d + i];
}

static void anchor_row(const job *s, const segment *g, const scratch *w, float *column)
{
    size_t d = s->a->head_dim, n = g->to - g->from;
    const float *q = w->q + g->m * d; /* times the scale */
    cpu_absolute_differences(n, d, w->o + g->m * d, w->turned, KEYS, w->distance);
    cpu_add_products(n, g->factor * sqrtf(cpu_dot(d, q, q)), g->p, w->distance, column);
}

/* Pass 2 on keys [from, to) of the block that starts at `begin` */
static void weigh_block(const job *s, const tile *t, size_t begin, size_t from, size_t to, scratch *w)
{
    const sensitivity_args *a = s->a;
    size_t d = a->head_dim, T = a->n_tokens, n = t->end - t->first;
    product(t->M, to - from, d, w->mo, s->v + (t->head * T + from) * d, CblasTrans, 0, w->r, d, KEYS);
    if (a->anchor_score) turn_values(s, t, from, to, w->turned);
    memset(w->column, 0, s->n_sums * KEYS * sizeof *w->column);
    for (size_t m = 0; m < t->M; m++) {
        size_t query = t->first + m % n, end = a->policy.sinks + kvc_tokens_compressed(&a->policy, query + 1);
        if (end <= from) continue;
        float *r = w->r + m * KEYS, factor = expf(w->top[begin / KEYS * t->M + m] - w->max[m]) / w->sum[m];
        segment g = {m,
                     t->head * s->group + m / n,
                     from,
                     cpu_min(to, end),
                     w->p + begin * t->M + m * KEYS + (from - begin),
                     factor};
        distances(s, t, &g, w, r);
        a->query_weight[g.head * T + query] +=
            cpu_weigh_row(g.to - from, g.p, factor, r, w->column, w->column + KEYS);
        if (a->anchor_score) anchor_row(s, &g, w, w->column + 2 * KEYS);
    }
    for (size_t i = 0; i < s->n_sums; i++)
        for (size_t j = from; j < to; j++) t->sums[i * T + j] += w->column[i * KEYS + j - from];
}

static void weigh_tile(const job *s, const tile *t, scratch *w)
{
    const kvc_token_policy *policy = &s->a->policy;
    size_t compressed = kvc_tokens_compressed(policy, t->end), last = policy->sinks + compressed;
    if (!compressed) return;
    load_queries(s, t, w);
    attend(s, t, w);
    measure_outputs(s, t, w);
    for (size_t begin = policy->sinks / KEYS * KEYS; begin < last; begin += KEYS)
        weigh_block(s, t, begin, cpu_max(begin, policy->sinks), cpu_min(begin + KEYS, last), w);
}

/* Task: tiles part, 2 parts - 1 - part, 2 parts + part, ... of one KV head */
static void run_task(const job *s, size_t task, scratch *w)
{
    size_t part = task % s->parts, T = s->a->n_tokens;
    for (size_t step = 0; step * s->parts < s->n_tiles; step++) {
        size_t i = step * s->parts + (step % 2 ? s->parts - 1 - part : part);
        if (i >= s->n_tiles) continue;
        tile t = {task / s->parts, i * s->queries, cpu_min((i + 1) * s->queries, T), 0,
                  s->sums + task * s->n_sums * T};
        t.M = (t.end - t.first) * s->group;
        weigh_tile(s, &t, w);
    }
}

static void add_parts(const job *s, size_t head)
{
    size_t T = s->a->n_tokens;
    double *to[] = {s->a->value_weight + head * T, s->a->key_weight + head * T, s->a->anchor_score};
    if (to[2]) to[2] += head * T;
    for (size_t i = 0; i < s->n_sums; i++) {
        memset(to[i], 0, T * sizeof *to[i]);
        for (size_t part = 0; part < s->parts; part++) {
            const double *own = s->sums + ((head * s->parts + part) * s->n_sums + i) * T;
            for (size_t j = 0; j < T; j++) to[i][j] += own[j];
        }
    }
}

static job plan_job(const sensitivity_args *a)
{
    job s = {.a = a, .group = a->n_heads / a->n_kv_heads, .n_sums = a->anchor_score ? 3 : 2};
    size_t rows = cpu_min(ROWS, STRIP / cpu_max(a->n_tokens, 1));
    s.queries = cpu_min(cpu_max(8, rows / s.group), cpu_max(a->n_tokens, 1));
    s.n_tiles = cpu_blocks(a->n_tokens, s.queries);
    s.parts = cpu_min(PARTS, s.n_tiles);
    return s;
}

/* Returns how many threads found no memory. */
static size_t run_job(const job *s)
{
    const sensitivity_args *a = s->a;
    size_t failed = 0, bytes = scratch_layout(s, NULL, &(scratch){0});
    memset(a->query_weight, 0, (size_t)a->n_heads * a->n_tokens * sizeof *a->query_weight);
#pragma omp parallel reduction(+ : failed)
    {
        scratch w;
        float *own = aligned_alloc(64, bytes);
        if (own) scratch_layout(s, own, &w);
        failed += own == NULL;
#pragma omp for schedule(static)
        for (size_t head = 0; head < a->n_kv_heads; head++) centre_values(s, head);
#pragma omp for schedule(static)
        for (size_t head = 0; head < a->n_heads; head++) apply_metric(s, head);
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < s->parts * a->n_kv_heads; task++)
            if (own) run_task(s, task, &w);
#pragma omp for schedule(static)
        for (size_t head = 0; head < a->n_kv_heads; head++) add_parts(s, head);
        free(own);
    }
    return failed;
}

kvc_status cpu_sensitivity(backend *b, const sensitivity_args *a, kvc_error *err)
{
    (void)b;
    job s = plan_job(a);
    size_t T = a->n_tokens, d = a->head_dim, failed = 1;
    s.v = malloc((a->n_kv_heads * T * d + 1) * sizeof *s.v);
    s.metric_v = malloc((a->n_heads * T * d + 1) * sizeof *s.metric_v);
    s.power_v = malloc((a->n_heads * T + 1) * sizeof *s.power_v);
    s.sums = calloc(a->n_kv_heads * s.parts * s.n_sums * T + 1, sizeof *s.sums);
    if (s.v && s.metric_v && s.power_v && s.sums) failed = run_job(&s);
    free(s.v);
    free(s.metric_v);
    free(s.power_v);
    free(s.sums);
    return failed ? kvc_fail(err, KVC_NO_MEMORY, "out of memory for the sensitivity of %u tokens", a->n_tokens)
                  : KVC_OK;
}
