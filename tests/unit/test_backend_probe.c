/* test_backend_probe.c - the probe of candidates against a plain double-precision reference, pair by pair. */
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "backend.h"
#include "check_main.h"

enum { T = 150, HQ = 4, HKV = 2, D = 16, NK = 2, NV = 3, ROWS = 23 };
static const kvc_token_policy policy = {.sinks = 3, .window = 20, .page = 16};

typedef struct probe_case {
    float q[T][HQ][D], k[T][HKV][D], v[T][HKV][D];
    float k_page[NK][T][HKV][D], v_page[NV][T][HKV][D];
    uint32_t rows[ROWS];
    float out[ROWS][HQ][D], delta_key[NK][ROWS][HQ][D], delta_value[NV][ROWS][HQ][D];
    double score_error[NK], output_error[NK][NV], n_scores;
} probe_case;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

static void fill(probe_case *c)
{
    uint32_t seed = 7;
    float *exact = &c->q[0][0][0];
    for (size_t i = 0; i < (sizeof c->q + sizeof c->k + sizeof c->v) / sizeof(float); i++)
        exact[i] = 1.5f * noise(&seed);
    for (size_t i = 0; i < NK; i++)
        for (size_t j = 0; j < T * HKV * D; j++)
            (&c->k_page[i][0][0][0])[j] = (&c->k[0][0][0])[j] + 0.2f * (float)(i + 1) * noise(&seed);
    for (size_t i = 0; i < NV; i++)
        for (size_t j = 0; j < T * HKV * D; j++)
            (&c->v_page[i][0][0][0])[j] = (&c->v[0][0][0])[j] + 0.1f * (float)(i + 1) * noise(&seed);
    for (size_t i = 0; i < ROWS; i++) c->rows[i] = (uint32_t)(40 + i * (T - 1 - 40) / (ROWS - 1));
}

/* Attention of query `t`, head `h`, in double; candidates -1 are exact. a [T] probabilities out. */
static void reference(const probe_case *c, uint32_t t, size_t h, int key, int value, double *a, double *o)
{
    size_t kv = h / (HQ / HKV), end = policy.sinks + kvc_tokens_compressed(&policy, t + 1);
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j <= t; j++) {
        int inside = j >= policy.sinks && j < end;
        const float *k = key >= 0 && inside ? c->k_page[key][j][kv] : c->k[j][kv];
        a[j] = 0;
        for (size_t i = 0; i < D; i++) a[j] += (double)c->q[t][h][i] * k[i];
        a[j] *= 0.25;
        max = fmax(max, a[j]);
    }
    for (size_t j = 0; j <= t; j++) sum += a[j] = exp(a[j] - max);
    memset(o, 0, D * sizeof *o);
    for (size_t j = 0; j <= t; j++) {
        int inside = j >= policy.sinks && j < end;
        const float *v = value >= 0 && inside ? c->v_page[value][j][kv] : c->v[j][kv];
        a[j] /= sum;
        for (size_t i = 0; i < D; i++) o[i] += a[j] * v[i];
    }
}

static void run(probe_case *c, const bool *paired, int threads)
{
    backend *b;
    kvc_error err = {""};
    const float *k_page[NK], *v_page[NV];
    float *delta_key[NK], *delta_value[NV];
    for (size_t i = 0; i < NK; i++) k_page[i] = &c->k_page[i][0][0][0], delta_key[i] = &c->delta_key[i][0][0][0];
    for (size_t i = 0; i < NV; i++) v_page[i] = &c->v_page[i][0][0][0], delta_value[i] = &c->delta_value[i][0][0][0];
    probe_args args = {
        .n_tokens = T,
        .n_heads = HQ,
        .n_kv_heads = HKV,
        .head_dim = D,
        .scale = 0.25f,
        .policy = policy,
        .q = &c->q[0][0][0],
        .k = &c->k[0][0][0],
        .v = &c->v[0][0][0],
        .n_rows = ROWS,
        .rows = c->rows,
        .n_keys = NK,
        .n_values = NV,
        .paired = paired,
        .k_page = k_page,
        .v_page = v_page,
        .out = &c->out[0][0][0],
        .delta_key = delta_key,
        .delta_value = delta_value,
        .score_error = c->score_error,
        .output_error = &c->output_error[0][0],
        .n_scores = &c->n_scores,
    };
    ck_assert_msg(backend_open_cpu(&b, threads, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(b->probe(b, &args, &err) == KVC_OK, "%s", err.message);
    b->close(b);
}

START_TEST(probe__equals_plain_reference)
{
    static probe_case c;
    double score_error[NK] = {0}, output_error[NK][NV] = {{0}}, n = 0;
    double a[T], o[D], ak[T], ok[D], av[T], ov[D], ap[T], op[D];
    fill(&c);
    run(&c, NULL, 2);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t h = 0; h < HQ; h++) {
            reference(&c, c.rows[r], h, -1, -1, a, o);
            for (size_t i = 0; i < D; i++) ck_assert_double_eq_tol(c.out[r][h][i], o[i], 1e-5);
            for (int v = 0; v < NV; v++) {
                reference(&c, c.rows[r], h, -1, v, av, ov);
                for (size_t i = 0; i < D; i++) ck_assert_double_eq_tol(c.delta_value[v][r][h][i], ov[i] - o[i], 1e-5);
            }
            for (int k = 0; k < NK; k++) {
                reference(&c, c.rows[r], h, k, -1, ak, ok);
                for (size_t i = 0; i < D; i++) ck_assert_double_eq_tol(c.delta_key[k][r][h][i], ok[i] - o[i], 1e-5);
                for (size_t j = 0; j <= c.rows[r]; j++) score_error[k] += fabs(ak[j] - a[j]);
                for (int v = 0; v < NV; v++) {
                    reference(&c, c.rows[r], h, k, v, ap, op);
                    for (size_t i = 0; i < D; i++) output_error[k][v] += fabs(op[i] - o[i]) / fabs(o[i]);
                }
            }
            n += c.rows[r] + 1;
        }
    ck_assert_double_eq(c.n_scores, n);
    for (int k = 0; k < NK; k++) {
        ck_assert_double_eq_tol(c.score_error[k] / score_error[k], 1, 1e-4);
        for (int v = 0; v < NV; v++) ck_assert_double_eq_tol(c.output_error[k][v] / output_error[k][v], 1, 5e-3);
    }
}
END_TEST

START_TEST(probe__does_not_depend_on_threads)
{
    static probe_case one, two;
    fill(&one);
    fill(&two);
    run(&one, NULL, 1);
    run(&two, NULL, 2);
    ck_assert_int_eq(memcmp(&one, &two, sizeof one), 0);
}
END_TEST

/* A key that no value is paired with has no output errors; everything else is as with them. */
START_TEST(probe__leaves_out_pairs_of_keys_that_are_not_paired)
{
    static const bool paired[NK] = {true, false};
    static probe_case all, some;
    fill(&all);
    fill(&some);
    for (int v = 0; v < NV; v++) some.output_error[1][v] = -3.0;
    run(&all, NULL, 2);
    run(&some, paired, 2);
    for (int v = 0; v < NV; v++) {
        ck_assert_double_gt(all.output_error[1][v], 0.0);
        ck_assert_double_eq(some.output_error[1][v], -3.0);
        some.output_error[1][v] = all.output_error[1][v];
    }
    ck_assert_int_eq(memcmp(&all, &some, sizeof all), 0);
}
END_TEST

START_TEST(column_stats_and_relative_error__equal_plain_sums)
{
    enum { N = 77, W = 35 };
    static float x[N][W], y[N][W];
    double sum[W] = {0}, square[W] = {0}, min[W], max[W], error = 0, count = 0, want = 0, power[N];
    uint32_t seed = 3;
    backend *b;
    for (size_t i = 0; i < W; i++) min[i] = INFINITY, max[i] = -INFINITY;
    for (size_t r = 0; r < N; r++)
        for (size_t i = 0; i < W; i++) {
            x[r][i] = r == 5 ? 0 : noise(&seed);
            y[r][i] = x[r][i] + 0.1f * noise(&seed);
            want += r == 5 ? 0 : fabs(x[r][i] - y[r][i]) / fabs(x[r][i]);
        }
    ck_assert_int_eq(backend_open_cpu(&b, 2, NULL), KVC_OK);
    ck_assert_int_eq(b->column_stats(b, N, W, &x[0][0], sum, square, min, max, NULL), KVC_OK);
    ck_assert_int_eq(b->relative_error(b, N * W, &x[0][0], &y[0][0], &error, &count, NULL), KVC_OK);
    ck_assert_int_eq(b->row_power(b, N, W, &x[0][0], power, NULL), KVC_OK);
    b->close(b);
    ck_assert_double_eq(count, (N - 1) * W);
    ck_assert_double_eq_tol(error / want, 1, 1e-5);
    for (size_t i = 0; i < W; i++) {
        double s = 0, q = 0, lo = INFINITY, hi = -INFINITY;
        for (size_t r = 0; r < N; r++)
            s += x[r][i], q += (double)x[r][i] * x[r][i], lo = fmin(lo, x[r][i]), hi = fmax(hi, x[r][i]);
        ck_assert_double_eq_tol(sum[i], s, 1e-12);
        ck_assert_double_eq_tol(square[i], q, 1e-12);
        ck_assert_double_eq(min[i], lo);
        ck_assert_double_eq(max[i], hi);
    }
    double q = 0;
    for (size_t i = 0; i < W; i++) q += (double)x[9][i] * x[9][i];
    ck_assert_double_eq_tol(power[9], q, 1e-12);
}
END_TEST

CHECK_MAIN("backend probe", probe__equals_plain_reference, probe__does_not_depend_on_threads,
           probe__leaves_out_pairs_of_keys_that_are_not_paired, column_stats_and_relative_error__equal_plain_sums)
