/* cpu_probe.c - what every candidate codec does to sampled query rows (backend.h, probe).
 *
 * A task is one KV head and TILE query rows: with the G query heads of the group stacked it works on M = TILE * G
 * rows. Letters: S [M][T] exact scores, A = softmax(S), O = A V; for key candidate c: P = softmax with the compressed
 * range's scores replaced; A', P' the part of A, P inside each row's compressed range (zero elsewhere), dV_v = V^_v -
 * V over that range delta_key_c = (P - A) V      delta_value_v = A' dV_v      pair (c, v): (P - A) V + P' dV_v All
 * values' dV lie side by side, so a pair costs one column block of a single product. Sums go to the task's own slots
 * and are added in task order: threads change nothing. Cost: (n_keys + 1) products M x T x d, as many M x C x
 * (n_values d), and n_keys + 1 exponentials per score. */
#include "cpu_internal.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE 16

typedef struct probe_shape {
    const probe_args *a;
    size_t group, rows; /* G, M = TILE * G */
    size_t compressed;  /* C: most compressed tokens any row sees */
    size_t n_tiles;
    const float *dv; /* [n_kv_heads][C][n_values * d] */
} probe_shape;

/* Scratch of one task; drawn as offsets into one block:
 *     q [M][d] | scores [M][T] | exact [M][T] | other [M][T] | inside [M][C] | pair [M][n_values d] | out [M][d] |
 * delta [M][d] */
typedef struct probe_scratch {
    float *q, *scores, *exact, *other, *inside, *pair, *out, *delta;
} probe_scratch;

static size_t scratch_layout(const probe_shape *s, float *base, probe_scratch *w)
{
    size_t M = s->rows, T = s->a->n_tokens, d = s->a->head_dim, at = 0;
    struct {
        float **to;
        size_t n;
    } parts[] = {{&w->q, M * d},
                 {&w->scores, M * T},
                 {&w->exact, M * T},
                 {&w->other, M * T},
                 {&w->inside, M * s->compressed},
                 {&w->pair, M * s->a->n_values * d},
                 {&w->out, M * d},
                 {&w->delta, M * d}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (base) *parts[i].to = base + at;
        at += (parts[i].n + 15) & ~(size_t)15;
    }
    return at;
}

static void product(size_t m, size_t n, size_t k, const float *x, size_t ldx, const float *y, size_t ldy,
                    int transpose_y, float *out, size_t ldo)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, transpose_y ? CblasTrans : CblasNoTrans, (int)m, (int)n, (int)k, 1.0f, x,
                (int)ldx, y, (int)ldy, 0.0f, out, (int)ldo);
}

/* What the rows of one task have in common. */
typedef struct probe_tile {
    size_t head, first, n, M; /* KV head, first probe row, their number, n * G */
    size_t visible;           /* keys that the last row sees */
    size_t compressed;        /* of them compressed */
} probe_tile;

static size_t row_length(const probe_args *a, const probe_tile *t, size_t m, size_t group)
{
    return (size_t)a->rows[t->first + m / group] + 1;
}

static void pack_queries(const probe_shape *s, const probe_tile *t, float *q)
{
    const probe_args *a = s->a;
    size_t d = a->head_dim;
    for (size_t m = 0; m < t->M; m++) {
        size_t row = a->rows[t->first + m / s->group], head = t->head * s->group + m % s->group;
        const float *from = a->q + (row * a->n_heads + head) * d;
        for (size_t i = 0; i < d; i++) q[m * d + i] = from[i] * a->scale;
    }
}

/* inside[m] = row m restricted to its compressed range */
static void keep_inside(const probe_shape *s, const probe_tile *t, const float *rows, float *inside)
{
    const probe_args *a = s->a;
    for (size_t m = 0; m < t->M; m++) {
        size_t c = kvc_tokens_compressed(&a->policy, row_length(a, t, m, s->group));
        memcpy(inside + m * t->compressed, rows + m * a->n_tokens + a->policy.sinks, c * sizeof(float));
        memset(inside + m * t->compressed + c, 0, (t->compressed - c) * sizeof(float));
    }
}

static void probabilities(const probe_shape *s, const probe_tile *t, float *scores)
{
    for (size_t m = 0; m < t->M; m++) {
        size_t n = row_length(s->a, t, m, s->group);
        float *row = scores + m * s->a->n_tokens;
        cpu_softmax(row, n);
        memset(row + n, 0, (t->visible - n) * sizeof(float));
    }
}

/* [M][width] rows of a task to [n_rows][n_heads * d], `from` with leading dimension ld */
static void store_rows(const probe_shape *s, const probe_tile *t, const float *from, size_t ld, float *to)
{
    const probe_args *a = s->a;
    for (size_t m = 0; m < t->M; m++) {
        size_t row = t->first + m / s->group, head = t->head * s->group + m % s->group;
        memcpy(to + (row * a->n_heads + head) * a->head_dim, from + m * ld, a->head_dim * sizeof(float));
    }
}

static void exact_rows(const probe_shape *s, const probe_tile *t, probe_scratch *w)
{
    const probe_args *a = s->a;
    size_t d = a->head_dim, T = a->n_tokens, kv = a->n_kv_heads * d, wide = a->n_values * d;
    pack_queries(s, t, w->q);
    product(t->M, t->visible, d, w->q, d, a->k + t->head * d, kv, 1, w->scores, T);
    for (size_t m = 0; m < t->M; m++) memcpy(w->exact + m * T, w->scores + m * T, t->visible * sizeof(float));
    probabilities(s, t, w->exact);
    product(t->M, d, t->visible, w->exact, T, a->v + t->head * d, kv, 0, w->out, d);
    store_rows(s, t, w->out, d, a->out);
    keep_inside(s, t, w->exact, w->inside);
    product(t->M, wide, t->compressed, w->inside, t->compressed, s->dv + t->head * s->compressed * wide, wide, 0,
            w->pair, wide);
    for (size_t v = 0; v < a->n_values; v++) store_rows(s, t, w->pair + v * d, wide, a->delta_value[v]);
}

/* other = P: the exact scores with the compressed range's replaced by the candidate's, through the softmax */
static void candidate_probabilities(const probe_shape *s, const probe_tile *t, const float *k_page, probe_scratch *w)
{
    const probe_args *a = s->a;
    size_t d = a->head_dim, T = a->n_tokens, kv = a->n_kv_heads * d, sinks = a->policy.sinks;
    product(t->M, t->compressed, d, w->q, d, k_page + sinks * kv + t->head * d, kv, 1, w->inside, t->compressed);
    for (size_t m = 0; m < t->M; m++) {
        size_t c = kvc_tokens_compressed(&a->policy, row_length(a, t, m, s->group));
        memcpy(w->other + m * T, w->scores + m * T, t->visible * sizeof(float));
        memcpy(w->other + m * T + sinks, w->inside + m * t->compressed, c * sizeof(float));
    }
    probabilities(s, t, w->other);
}

/* rows -= exact; returns the sum of the absolute differences */
static double subtract_rows(const probe_tile *t, size_t T, const float *exact, float *rows)
{
    double total = 0;
    for (size_t m = 0; m < t->M; m++) {
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < t->visible; j++) {
            float difference = rows[m * T + j] - exact[m * T + j];
            rows[m * T + j] = difference;
            sum += fabsf(difference);
        }
        total += sum;
    }
    return total;
}

static double relative_rows(const probe_shape *s, const probe_tile *t, const probe_scratch *w, size_t v)
{
    size_t d = s->a->head_dim, wide = s->a->n_values * d;
    double total = 0;
    for (size_t m = 0; m < t->M; m++) {
        const float *o = w->out + m * d, *key = w->delta + m * d, *value = w->pair + m * wide + v * d;
        double sum = 0;
#pragma omp simd reduction(+ : sum)
        for (size_t i = 0; i < d; i++) sum += fabsf(key[i] + value[i]) / (fabsf(o[i]) + 1e-30f);
        total += sum;
    }
    return total;
}

/* sums: score_error [n_keys], output_error [n_keys][n_values] of this task */
static void probe_task(const probe_shape *s, const probe_tile *t, probe_scratch *w, double *sums)
{
    const probe_args *a = s->a;
    size_t d = a->head_dim, T = a->n_tokens, kv = a->n_kv_heads * d, wide = a->n_values * d;
    exact_rows(s, t, w);
    for (size_t c = 0; c < a->n_keys; c++) {
        bool paired = !a->paired || a->paired[c];
        candidate_probabilities(s, t, a->k_page[c], w);
        if (paired) keep_inside(s, t, w->other, w->inside);
        sums[c] = subtract_rows(t, T, w->exact, w->other);
        product(t->M, d, t->visible, w->other, T, a->v + t->head * d, kv, 0, w->delta, d);
        store_rows(s, t, w->delta, d, a->delta_key[c]);
        if (!paired) continue;
        product(t->M, wide, t->compressed, w->inside, t->compressed, s->dv + t->head * s->compressed * wide, wide, 0,
                w->pair, wide);
        for (size_t v = 0; v < a->n_values; v++) sums[a->n_keys + c * a->n_values + v] = relative_rows(s, t, w, v);
    }
}

static probe_tile tile_of(const probe_shape *s, size_t task)
{
    const probe_args *a = s->a;
    probe_tile t = {.head = task / s->n_tiles, .first = task % s->n_tiles * TILE};
    t.n = a->n_rows - t.first < TILE ? a->n_rows - t.first : TILE;
    t.M = t.n * s->group;
    t.visible = (size_t)a->rows[t.first + t.n - 1] + 1;
    t.compressed = kvc_tokens_compressed(&a->policy, t.visible);
    return t;
}

/* dv[h][j][v][d] = decoded minus exact value of compressed token j */
static void pack_value_errors(const probe_args *a, size_t compressed, float *dv)
{
    size_t d = a->head_dim, kv = a->n_kv_heads * d;
#pragma omp parallel for collapse(2) schedule(static)
    for (size_t h = 0; h < a->n_kv_heads; h++)
        for (size_t j = 0; j < compressed; j++)
            for (size_t v = 0; v < a->n_values; v++) {
                size_t from = (a->policy.sinks + j) * kv + h * d;
                float *to = dv + ((h * compressed + j) * a->n_values + v) * d;
                for (size_t i = 0; i < d; i++) to[i] = a->v_page[v][from + i] - a->v[from + i];
            }
}

static void add_sums(const probe_args *a, const double *sums, size_t n_tasks, size_t stride)
{
    for (size_t task = 0; task < n_tasks; task++) {
        const double *own = sums + task * stride;
        for (size_t c = 0; c < a->n_keys; c++) a->score_error[c] += own[c];
        for (size_t i = 0; i < (size_t)a->n_keys * a->n_values; i++) a->output_error[i] += own[a->n_keys + i];
    }
    for (size_t r = 0; r < a->n_rows; r++) *a->n_scores += (double)a->n_heads * (a->rows[r] + 1.0);
}

kvc_status cpu_probe(backend *b, const probe_args *a, kvc_error *err)
{
    (void)b;
    if (a->n_rows == 0) return KVC_OK;
    probe_shape s = {.a = a, .group = a->n_heads / a->n_kv_heads};
    s.rows = TILE * s.group;
    s.n_tiles = (a->n_rows + TILE - 1) / TILE;
    s.compressed = kvc_tokens_compressed(&a->policy, (uint64_t)a->rows[a->n_rows - 1] + 1);
    size_t n_tasks = s.n_tiles * a->n_kv_heads, stride = (size_t)a->n_keys * (1 + a->n_values), failed = 0;
    probe_scratch none;
    size_t scratch = scratch_layout(&s, NULL, &none);
    float *dv = malloc((a->n_kv_heads * s.compressed * a->n_values * a->head_dim + 1) * sizeof *dv);
    double *sums = calloc(n_tasks * stride + 1, sizeof *sums);
    if (!dv || !sums) {
        failed = 1;
        goto done;
    }
    pack_value_errors(a, s.compressed, dv);
    s.dv = dv;
#pragma omp parallel reduction(+ : failed)
    {
        float *own = malloc(scratch * sizeof *own);
        probe_scratch w;
        if (own) scratch_layout(&s, own, &w);
        failed += own == NULL;
#pragma omp for schedule(dynamic)
        for (size_t task = 0; task < n_tasks; task++) {
            probe_tile t = tile_of(&s, task);
            if (own) probe_task(&s, &t, &w, sums + task * stride);
        }
        free(own);
    }
    if (!failed) add_sums(a, sums, n_tasks, stride);
done:
    free(dv);
    free(sums);
    return failed ? kvc_fail(err, KVC_NO_MEMORY, "out of memory for the losses of %u x %u candidates", a->n_keys,
                             a->n_values)
                  : KVC_OK;
}
