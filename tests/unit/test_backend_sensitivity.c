/* test_backend_sensitivity.c - second-order weights and AnTKV's score against plain double-precision sums. */
#include "backend.h"
#include "check_main.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static kvc_error error;

typedef struct shape {
    uint32_t tokens, heads, kv_heads, d;
    kvc_token_policy policy;
} shape;

typedef struct rows {
    float *q, *k, *v, *metric;
} rows;

typedef struct weights {
    double *key, *value, *query, *anchor;
} weights;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

static float *random_floats(size_t n, uint32_t seed, float spread, float offset)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = offset + spread * noise(&seed);
    return x;
}

/* W'W of random W [2 d][d] per head */
static float *random_metric(size_t heads, size_t d)
{
    float *W = random_floats(heads * 2 * d * d, 4, 0.2f, 0), *metric = malloc(heads * d * d * sizeof *metric);
    for (size_t h = 0; h < heads; h++)
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                double sum = 0;
                for (size_t l = 0; l < 2 * d; l++)
                    sum += (double)W[(h * 2 * d + l) * d + i] * W[(h * 2 * d + l) * d + j];
                metric[(h * d + i) * d + j] = (float)sum;
            }
    free(W);
    return metric;
}

static rows rows_new(const shape *s, float spread, float value_offset)
{
    size_t q = (size_t)s->tokens * s->heads * s->d, kv = (size_t)s->tokens * s->kv_heads * s->d;
    return (rows){random_floats(q, 1, spread, 0), random_floats(kv, 2, spread, 0),
                  random_floats(kv, 3, 1, value_offset), random_metric(s->heads, s->d)};
}

static void rows_free(rows *r)
{
    free(r->q), free(r->k), free(r->v), free(r->metric);
}

/* Filled with something that a call has to overwrite. */
static weights weights_new(const shape *s)
{
    weights w;
    double **to[] = {&w.key, &w.value, &w.anchor, &w.query};
    for (size_t i = 0; i < 4; i++) {
        size_t n = (size_t)s->tokens * (i < 3 ? s->kv_heads : s->heads);
        *to[i] = malloc(n * sizeof **to[i]);
        for (size_t j = 0; j < n; j++) (*to[i])[j] = -7;
    }
    return w;
}

static void weights_free(weights *w)
{
    free(w->key), free(w->value), free(w->query), free(w->anchor);
}

static void measure(const shape *s, const rows *r, weights *w, int threads, int with_anchor)
{
    backend *b;
    sensitivity_args a = {
        s->tokens, s->heads, s->kv_heads, s->d,     1 / sqrtf((float)s->d),        s->policy, r->q, r->k, r->v,
        r->metric, w->key,   w->value,    w->query, with_anchor ? w->anchor : NULL};
    ck_assert_int_eq(backend_open_cpu(&b, threads, &error), KVC_OK);
    ck_assert_msg(b->sensitivity(b, &a, &error) == KVC_OK, "%s", error.message);
    b->close(b);
}

/* A [T] and o [d] of query i, head h */
static void attend(const shape *s, const rows *r, size_t i, size_t h, double *A, double *o)
{
    size_t d = s->d, kv = h / (s->heads / s->kv_heads);
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j <= i; j++) {
        A[j] = 0;
        for (size_t c = 0; c < d; c++)
            A[j] += (double)r->q[(i * s->heads + h) * d + c] * r->k[(j * s->kv_heads + kv) * d + c];
        A[j] /= sqrt((double)d);
        max = fmax(max, A[j]);
    }
    for (size_t j = 0; j <= i; j++) sum += A[j] = exp(A[j] - max);
    memset(o, 0, d * sizeof *o);
    for (size_t j = 0; j <= i; j++) {
        A[j] /= sum;
        for (size_t c = 0; c < d; c++) o[c] += A[j] * r->v[(j * s->kv_heads + kv) * d + c];
    }
}

static double quadratic(size_t d, const float *metric, const double *x)
{
    double sum = 0;
    for (size_t a = 0; a < d; a++)
        for (size_t b = 0; b < d; b++) sum += x[a] * metric[a * d + b] * x[b];
    return sum;
}

/* One query of one head, added to w. */
static void add_query(const shape *s, const rows *r, size_t i, size_t h, double *A, weights *w)
{
    size_t d = s->d, T = s->tokens, kv = h / (s->heads / s->kv_heads), first = s->policy.sinks;
    double o[128], x[128], norm = 0;
    attend(s, r, i, h, A, o);
    for (size_t c = 0; c < d; c++) norm += pow(r->q[(i * s->heads + h) * d + c], 2);
    for (size_t j = first; j < first + kvc_tokens_compressed(&s->policy, i + 1); j++) {
        double length = 0;
        for (size_t c = 0; c < d; c++) {
            x[c] = r->v[(j * s->kv_heads + kv) * d + c] - o[c];
            length += fabs(x[c]);
        }
        double term = A[j] * A[j] * quadratic(d, r->metric + h * d * d, x);
        w->value[kv * T + j] += A[j] * A[j];
        w->key[kv * T + j] += term;
        w->query[h * T + i] += term;
        w->anchor[kv * T + j] += A[j] * length * sqrt(norm / (double)d);
    }
}

static weights reference(const shape *s, const rows *r)
{
    weights w = weights_new(s);
    size_t T = s->tokens;
    double *A = malloc(T * sizeof *A);
    for (size_t j = 0; j < T * s->kv_heads; j++) w.key[j] = w.value[j] = w.anchor[j] = 0;
    for (size_t i = 0; i < T * s->heads; i++) w.query[i] = 0;
    for (size_t i = 0; i < T; i++)
        for (size_t h = 0; h < s->heads; h++) add_query(s, r, i, h, A, &w);
    free(A);
    return w;
}

static void check_equal(const char *what, size_t n, const double *got, const double *want, double tolerance)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(got[i] - want[i]) <= tolerance * fabs(want[i]), "%s [%zu]: %.9g, expected %.9g", what, i,
                      got[i], want[i]);
}

static void check_shape(const shape *s, float spread, float value_offset, double tolerance)
{
    rows r = rows_new(s, spread, value_offset);
    weights got = weights_new(s), want = reference(s, &r);
    size_t kv = (size_t)s->tokens * s->kv_heads, q = (size_t)s->tokens * s->heads;
    measure(s, &r, &got, 2, 1);
    check_equal("value", kv, got.value, want.value, tolerance);
    check_equal("key", kv, got.key, want.key, tolerance);
    check_equal("query", q, got.query, want.query, tolerance);
    check_equal("anchor", kv, got.anchor, want.anchor, tolerance);
    weights_free(&got);
    weights_free(&want);
    rows_free(&r);
}

/* Lengths around tiles and key blocks, groups of 1, 3 and many, no window, no sinks, pages that never fill. */
static const shape shapes[] = {
    {1, 1, 1, 8, {0, 0, 8}},     {5, 3, 1, 8, {1, 0, 8}},       {63, 3, 3, 64, {4, 8, 16}},
    {63, 3, 1, 80, {0, 0, 8}},   {130, 6, 2, 64, {4, 64, 64}},  {130, 2, 2, 80, {3, 7, 16}},
    {300, 3, 1, 8, {4, 64, 64}}, {300, 9, 3, 64, {4, 30, 64}},  {257, 40, 1, 8, {3, 7, 8}},
    {700, 4, 4, 8, {5, 20, 32}}, {1100, 3, 1, 8, {0, 500, 64}}, {1100, 2, 1, 16, {600, 0, 8}},
};

START_TEST(sensitivity__equals_plain_sums)
{
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) check_shape(&shapes[n], 1.5f, 0, 3e-5);
}
END_TEST

/* sqrt(A^2 r) is a length: O_i, of length 6 in the metric, is known to a few units in the last place. */
static void check_lengths(size_t n, const double *got, const double *want)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_msg(fabs(sqrt(got[i]) - sqrt(want[i])) <= 3e-5, "[%zu]: %.9g, expected %.9g", i, got[i], want[i]);
}

/* One key takes nearly all of a query's attention, so that O_i is nearly V_j and r_ij nearly nothing. */
START_TEST(sensitivity__keeps_digits_where_attention_is_sharp)
{
    rows r = rows_new(&shapes[7], 1.5f, 0);
    const shape *s = &shapes[7];
    for (size_t i = 200; i < s->tokens; i++) /* q points along the key of 100 tokens earlier, more from row to row */
        for (size_t h = 0; h < s->heads; h++)
            for (size_t c = 0; c < s->d; c++)
                r.q[(i * s->heads + h) * s->d + c] =
                    (float)(1.0 + 0.02 * (double)(i - 200)) * r.k[((i - 100) * s->kv_heads + h / 3) * s->d + c];
    weights got = weights_new(s), want = reference(s, &r);
    size_t sharp = 0;
    measure(s, &r, &got, 2, 1);
    check_lengths((size_t)s->tokens * s->heads, got.query, want.query);
    check_lengths((size_t)s->tokens * s->kv_heads, got.key, want.key);
    for (size_t i = 0; i < (size_t)s->tokens * s->heads; i++) sharp += want.query[i] > 0 && want.query[i] < 1e-5;
    ck_assert_uint_gt(sharp, 50); /* that the case is what it says */
    weights_free(&got);
    weights_free(&want);
    rows_free(&r);
}
END_TEST

/* r_ij knows differences of values only. */
START_TEST(sensitivity__is_not_disturbed_by_a_common_value)
{
    check_shape(&shapes[7], 1.5f, 60.0f, 2e-4);
}
END_TEST

START_TEST(sensitivity__survives_scores_of_thousands)
{
    const shape *s = &shapes[7];
    rows r = rows_new(s, 60, 0);
    weights w = weights_new(s);
    measure(s, &r, &w, 2, 1);
    for (size_t j = 0; j < (size_t)s->tokens * s->kv_heads; j++)
        ck_assert(isfinite(w.key[j]) && w.key[j] >= 0 && isfinite(w.value[j]) && w.value[j] >= 0 &&
                  isfinite(w.anchor[j]));
    weights_free(&w);
    rows_free(&r);
}
END_TEST

START_TEST(sensitivity__is_zero_without_compressed_tokens)
{
    static const kvc_token_policy policies[] = {{4, 64, 256}, {200, 0, 8}, {0, 193, 8}, {100, 93, 8}};
    for (size_t n = 0; n < 4; n++) {
        shape s = {200, 6, 2, 16, policies[n]};
        rows r = rows_new(&s, 1, 0);
        weights w = weights_new(&s);
        measure(&s, &r, &w, 2, 1);
        for (size_t i = 0; i < 200 * 2; i++)
            ck_assert(w.key[i] == 0 && w.value[i] == 0 && w.anchor[i] == 0 && w.query[i] == 0);
        for (size_t i = 0; i < 200 * 6; i++) ck_assert(w.query[i] == 0);
        weights_free(&w);
        rows_free(&r);
    }
}
END_TEST

START_TEST(sensitivity__does_not_depend_on_threads_or_on_the_anchor_score)
{
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        const shape *s = &shapes[n];
        size_t kv = (size_t)s->tokens * s->kv_heads * sizeof(double),
               q = (size_t)s->tokens * s->heads * sizeof(double);
        rows r = rows_new(s, 1.5f, 0);
        weights one = weights_new(s), two = weights_new(s), three = weights_new(s);
        measure(s, &r, &one, 1, 1);
        measure(s, &r, &two, 2, 0);
        measure(s, &r, &three, 3, 1);
        ck_assert_mem_eq(one.key, two.key, kv);
        ck_assert_mem_eq(one.value, two.value, kv);
        ck_assert_mem_eq(one.query, two.query, q);
        ck_assert_mem_eq(one.anchor, three.anchor, kv);
        ck_assert_mem_eq(one.key, three.key, kv);
        for (size_t j = 0; j < kv / sizeof(double); j++) ck_assert(two.anchor[j] == -7); /* NULL: nothing written */
        weights_free(&one), weights_free(&two), weights_free(&three);
        rows_free(&r);
    }
}
END_TEST

CHECK_MAIN("backend sensitivity", sensitivity__equals_plain_sums, sensitivity__keeps_digits_where_attention_is_sharp,
           sensitivity__is_not_disturbed_by_a_common_value, sensitivity__survives_scores_of_thousands,
           sensitivity__is_zero_without_compressed_tokens,
           sensitivity__does_not_depend_on_threads_or_on_the_anchor_score)
