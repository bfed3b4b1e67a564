/* The row operations and products of the CPU backend against double precision, and the same bits on one and two
 * threads. */
#include "backend.h"
#include "check_main.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static kvc_error error;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

static float *random_floats(size_t n, uint32_t seed, float spread)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = spread * noise(&seed);
    return x;
}

static backend *open_cpu(int threads)
{
    backend *b;
    ck_assert_int_eq(backend_open(&b, "cpu", threads, &error), KVC_OK);
    return b;
}

/* Rows and columns below, at and above the block sizes; one row takes another path. */
static const struct {
    size_t m, n, k;
} shapes[] = {{1, 1, 1},      {1, 200, 33},  {2, 65, 16},   {31, 70, 8},   {32, 7, 64},
              {130, 800, 24}, {257, 64, 40}, {300, 96, 72}, {1100, 30, 16}};

static double worst_product(const float *x, const float *w, const float *bias, const float *before, const float *y,
                            size_t m, size_t n, size_t k)
{
    double worst = 0;
    for (size_t r = 0; r < m; r++)
        for (size_t c = 0; c < n; c++) {
            double want = (bias ? bias[c] : 0) + (before ? before[r * n + c] : 0);
            for (size_t i = 0; i < k; i++) want += (double)x[r * k + i] * w[c * k + i];
            worst = fmax(worst, fabs(want - y[r * n + c]));
        }
    return worst;
}

START_TEST(gemm__equals_double_precision)
{
    backend *b = open_cpu(2);
    for (size_t s = 0; s < 4 * (sizeof shapes / sizeof *shapes); s++) {
        size_t m = shapes[s / 4].m, n = shapes[s / 4].n, k = shapes[s / 4].k;
        int accumulate = s % 2, with_bias = s / 2 % 2;
        float *x = random_floats(m * k, 1, 1), *w = random_floats(n * k, 2, 1), *bias = random_floats(n, 3, 1);
        float *before = random_floats(m * n, 4, 1), *y = random_floats(m * n, 4, 1);
        ck_assert_int_eq(b->gemm(b, m, n, k, x, w, with_bias ? bias : NULL, accumulate, y, &error), KVC_OK);
        double worst = worst_product(x, w, with_bias ? bias : NULL, accumulate ? before : NULL, y, m, n, k);
        ck_assert_msg(worst < 1e-5, "%zu x %zu x %zu bias %d accumulate %d: %g", m, n, k, with_bias, accumulate,
                      worst);
        free(x), free(w), free(bias), free(before), free(y);
    }
    b->close(b);
}
END_TEST

START_TEST(rmsnorm__equals_double_precision)
{
    enum { ROWS = 5, DIM = 71 };
    backend *b = open_cpu(2);
    float *x = random_floats(ROWS * DIM, 1, 3), *w = random_floats(DIM, 2, 1), y[ROWS * DIM];
    ck_assert_int_eq(b->rmsnorm(b, ROWS, DIM, x, w, 1e-3, y, &error), KVC_OK);
    for (size_t r = 0; r < ROWS; r++) {
        double square = 0;
        for (size_t i = 0; i < DIM; i++) square += (double)x[r * DIM + i] * x[r * DIM + i];
        for (size_t i = 0; i < DIM; i++)
            ck_assert_double_eq_tol(y[r * DIM + i], x[r * DIM + i] / sqrt(square / DIM + 1e-3) * w[i], 1e-6);
    }
    free(x), free(w);
    b->close(b);
}
END_TEST

START_TEST(rope__turns_channel_with_its_partner_half_a_head_away)
{
    enum { ROWS = 3, HEADS = 2, D = 8 };
    backend *b = open_cpu(2);
    float *x = random_floats(ROWS * HEADS * D, 1, 1), *before = random_floats(ROWS * HEADS * D, 1, 1);
    float cosine[ROWS * D / 2], sine[ROWS * D / 2];
    for (size_t i = 0; i < ROWS * D / 2; i++) cosine[i] = cosf(0.3f * i), sine[i] = sinf(0.3f * i);
    ck_assert_int_eq(b->rope(b, ROWS, HEADS, D, cosine, sine, x, &error), KVC_OK);
    for (size_t i = 0; i < ROWS * HEADS * D; i++) {
        size_t pair = i % (D / 2), angle = i / (HEADS * D) * (D / 2) + pair, high = i % D >= D / 2;
        double other = high ? before[i - D / 2] : -before[i + D / 2];
        ck_assert_double_eq_tol(x[i], (double)before[i] * cosine[angle] + other * sine[angle], 1e-6);
    }
    free(x), free(before);
    b->close(b);
}
END_TEST

START_TEST(silu_mul__equals_double_precision_over_the_range_of_exp)
{
    enum { N = 20000 };
    backend *b = open_cpu(2);
    float *gate = malloc(N * sizeof *gate), *up = random_floats(N, 2, 2);
    for (size_t i = 0; i < N; i++) gate[i] = -100.0f + 0.01f * (float)i;
    ck_assert_int_eq(b->silu_mul(b, N, gate, up, &error), KVC_OK);
    for (size_t i = 0; i < N; i++) {
        double x = -100.0f + 0.01f * (float)i, want = x / (1 + exp(-x)) * up[i];
        ck_assert_double_eq_tol(gate[i], want, 5e-7 * fabs(want) + 1e-35);
    }
    free(gate), free(up);
    b->close(b);
}
END_TEST

/* A layer's worth of operations; returns the outputs in one array. */
static float *run_all(int threads, size_t *n)
{
    enum { T = 700, HEADS = 6, KV = 2, D = 16, FFN = 90 };
    backend *b = open_cpu(threads);
    size_t q = HEADS * D, kv = KV * D, at = 0;
    float *x = random_floats(T * q, 1, 1), *w = random_floats(FFN * q, 2, 0.2f), *k = random_floats(T * kv, 3, 2);
    float *v = random_floats(T * kv, 4, 1), *out = calloc(T * (3 * q + 2 * kv + FFN), sizeof *out);
    float *normed = out, *gate = (at = T * q, out + at), *attended = (at += T * FFN, out + at);
    float *k_exact = (at += T * q, out + at), *k_page = (at += T * kv, out + at);
    kvc_token_policy policy = {4, 64, 64};
    kvc_codec codec;
    kvc_coder coder;
    ck_assert_int_eq(kvc_codec_parse(&codec, "int4.ch32", &error), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, KV, D, 64, &error), KVC_OK);
    ck_assert_int_eq(b->rmsnorm(b, T, q, x, w, 1e-5, normed, &error), KVC_OK);
    ck_assert_int_eq(b->gemm(b, T, FFN, q, normed, w, NULL, 0, gate, &error), KVC_OK);
    ck_assert_int_eq(b->silu_mul(b, T * FFN / 2, gate, gate + T * FFN / 2, &error), KVC_OK);
    ck_assert_int_eq(b->transcode(b, &coder, &policy, T, k, k_exact, k_page, &error), KVC_OK);
    attention_args args = {T, HEADS, KV, D, 0.25f, x, k_exact, v, k_page, NULL, policy, attended, 0};
    ck_assert_int_eq(b->attention(b, &args, &error), KVC_OK);
    free(x), free(w), free(k), free(v);
    b->close(b);
    *n = T * (3 * q + 2 * kv + FFN);
    return out;
}

START_TEST(operations__give_the_same_bits_on_one_and_two_threads)
{
    size_t n;
    float *one = run_all(1, &n), *two = run_all(2, &n), *three = run_all(3, &n);
    ck_assert_mem_eq(one, two, n * sizeof *one);
    ck_assert_mem_eq(one, three, n * sizeof *one);
    free(one), free(two), free(three);
}
END_TEST

START_TEST(buffer_new__is_aligned_and_refuses_the_impossible)
{
    backend *b = open_cpu(1);
    void *buffer = NULL;
    ck_assert_int_eq(b->buffer_new(b, 100, &buffer, &error), KVC_OK);
    ck_assert_uint_eq((uintptr_t)buffer % 64, 0);
    b->buffer_free(b, buffer);
    b->buffer_free(b, NULL);
    ck_assert_int_eq(b->buffer_new(b, SIZE_MAX - 5, &buffer, &error), KVC_NO_MEMORY);
    ck_assert_ptr_null(buffer);
    b->close(b);
}
END_TEST

START_TEST(backend_open__knows_its_devices)
{
    static const struct {
        const char *device;
        kvc_status status;
    } cases[] = {{"cpu", KVC_OK},           {"auto", KVC_OK},
                 {"cuda,", KVC_INVALID},    {"cuda,faster", KVC_INVALID},
                 {"cuda:1,", KVC_INVALID},  {"gpu", KVC_INVALID},
                 {"", KVC_INVALID},         {"cuda:", KVC_INVALID},
                 {"cuda:1x", KVC_INVALID},  {"cuda:-1", KVC_INVALID},
                 {"cudax", KVC_INVALID},    {"cuda:99999999999999999999", KVC_INVALID},
                 {"cuda:1023", KVC_INVALID}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        backend *b = (backend *)&error;
        ck_assert_msg(backend_open(&b, cases[i].device, 1, &error) == cases[i].status, "%s", cases[i].device);
        ck_assert_int_eq(b != NULL, cases[i].status == KVC_OK);
        if (b)
            b->close(b);
        else
            ck_assert_ptr_nonnull(strstr(error.message, cases[i].device));
    }
}
END_TEST

START_TEST(backend_open__refuses_impossible_threads)
{
    backend *b;
    ck_assert_int_eq(backend_open(&b, "cpu", -1, &error), KVC_INVALID);
    ck_assert_int_eq(backend_open(&b, "cpu", 5000, &error), KVC_INVALID);
    ck_assert_ptr_null(b);
}
END_TEST

CHECK_MAIN("backend cpu", gemm__equals_double_precision, rmsnorm__equals_double_precision,
           rope__turns_channel_with_its_partner_half_a_head_away,
           silu_mul__equals_double_precision_over_the_range_of_exp,
           operations__give_the_same_bits_on_one_and_two_threads, buffer_new__is_aligned_and_refuses_the_impossible,
           backend_open__knows_its_devices, backend_open__refuses_impossible_threads)
