/* Tiled attention and transcoding of the CPU backend against a plain reference in double precision. */
#include "backend.h"
#include "check_main.h"

#include <math.h>
#include <stdbool.h>
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

static const float *source(const attention_args *a, const float *exact, const float *page, size_t t, size_t j)
{
    size_t end = a->policy.sinks + (page ? kvc_tokens_compressed(&a->policy, t + 1) : 0);
    return page && j >= a->policy.sinks && j < end ? page : exact;
}

/* One query of one head; scores [T] scratch, o [d] out */
static void reference(const attention_args *a, size_t t, size_t h, double *scores, double *o)
{
    size_t d = a->head_dim, kv = h / (a->n_heads / a->n_kv_heads);
    double max = -INFINITY, sum = 0;
    for (size_t j = 0; j <= t; j++) {
        const float *k = source(a, a->k, a->k_page, t, j) + (j * a->n_kv_heads + kv) * d;
        scores[j] = 0;
        for (size_t i = 0; i < d; i++) scores[j] += (double)a->q[(t * a->n_heads + h) * d + i] * k[i];
        scores[j] *= a->scale;
        max = fmax(max, scores[j]);
    }
    for (size_t i = 0; i < d; i++) o[i] = 0;
    for (size_t j = 0; j <= t; j++) {
        const float *v = source(a, a->v, a->v_page, t, j) + (j * a->n_kv_heads + kv) * d;
        double p = exp(scores[j] - max);
        sum += p;
        for (size_t i = 0; i < d; i++) o[i] += p * v[i];
    }
    for (size_t i = 0; i < d; i++) o[i] /= sum;
}

static double worst_error(const attention_args *a)
{
    double *scores = malloc(a->n_tokens * sizeof *scores), o[256], worst = 0;
    for (size_t t = 0; t < a->n_tokens; t++)
        for (size_t h = 0; h < a->n_heads; h++) {
            reference(a, t, h, scores, o);
            for (size_t i = 0; i < a->head_dim; i++)
                worst = fmax(worst, fabs(o[i] - a->out[(t * a->n_heads + h) * a->head_dim + i]));
        }
    free(scores);
    return worst;
}

/* Lengths around tiles and key blocks; pages smaller and larger than a tile, a window of nothing, more sinks than
 * tokens. */
static const struct {
    uint32_t tokens, heads, kv_heads, d;
    kvc_token_policy policy;
} cases[] = {
    {1, 1, 1, 8, {4, 64, 64}},     {3, 4, 2, 16, {4, 64, 64}},    {193, 3, 3, 8, {0, 0, 8}},
    {200, 2, 1, 8, {1, 0, 16}},    {530, 6, 2, 16, {4, 64, 64}},  {600, 9, 3, 64, {4, 64, 64}},
    {300, 8, 1, 24, {5, 30, 128}}, {257, 40, 1, 8, {3, 7, 8}},    {100, 2, 2, 256, {200, 4, 8}},
    {1100, 2, 1, 8, {4, 500, 64}}, {140, 2, 1, 8, {4, 16, 1024}},
};

static void check_case(size_t n, bool k_page, bool v_page, float spread)
{
    size_t T = cases[n].tokens, q = (size_t)cases[n].heads * cases[n].d, kv = (size_t)cases[n].kv_heads * cases[n].d;
    float *rows[] = {random_floats(T * q, 1, spread),  random_floats(T * kv, 2, spread), random_floats(T * kv, 3, 1),
                     random_floats(T * kv, 4, spread), random_floats(T * kv, 5, 1),      random_floats(T * q, 6, 1)};
    attention_args a = {cases[n].tokens,
                        cases[n].heads,
                        cases[n].kv_heads,
                        cases[n].d,
                        1.0f / sqrtf((float)cases[n].d),
                        rows[0],
                        rows[1],
                        rows[2],
                        k_page ? rows[3] : NULL,
                        v_page ? rows[4] : NULL,
                        cases[n].policy,
                        rows[5],
                        0};
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    ck_assert_int_eq(b->attention(b, &a, &error), KVC_OK);
    double worst = worst_error(&a);
    ck_assert_msg(worst < 4e-6 * fmax(1, spread * spread), "case %zu pages %d %d: error %g", n, k_page, v_page,
                  worst);
    b->close(b);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) free(rows[i]);
}

START_TEST(attention__equals_the_reference)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) check_case(n, false, false, 1.5f);
}
END_TEST

START_TEST(attention__reads_pages_as_decoding_would)
{
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        check_case(n, true, true, 1.5f);
        check_case(n, true, false, 1.5f);
        check_case(n, false, true, 1.5f);
    }
}
END_TEST

/* Three sequences in one call, and one by one. */
START_TEST(attention__of_several_sequences_is_that_of_each)
{
    enum { T = 70, N = 3 };
    const size_t q = T * 4 * 16, kv = T * 2 * 16;
    float *rows[] = {random_floats(N * q, 1, 1),  random_floats(N * kv, 2, 1), random_floats(N * kv, 3, 1),
                     random_floats(N * kv, 4, 1), random_floats(N * kv, 5, 1), random_floats(N * q, 6, 1),
                     random_floats(N * q, 7, 1)};
    const kvc_token_policy policy = {4, 16, 8};
    attention_args all = {T, 4, 2, 16, 0.25f, rows[0], rows[1], rows[2], rows[3], rows[4], policy, rows[5], N - 1};
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    ck_assert_int_eq(b->attention(b, &all, &error), KVC_OK);
    for (size_t i = 0; i < N; i++) {
        const attention_args one = {T,
                                    4,
                                    2,
                                    16,
                                    0.25f,
                                    rows[0] + i * q,
                                    rows[1] + i * kv,
                                    rows[2] + i * kv,
                                    rows[3] + i * kv,
                                    rows[4] + i * kv,
                                    policy,
                                    rows[6] + i * q,
                                    0};
        ck_assert_int_eq(b->attention(b, &one, &error), KVC_OK);
    }
    ck_assert_mem_eq(rows[5], rows[6], N * q * sizeof(float));
    b->close(b);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) free(rows[i]);
}
END_TEST

START_TEST(attention__survives_scores_of_thousands)
{
    check_case(4, true, true, 40.0f);
}
END_TEST

static const char *const specs[] = {"fp16", "int4.ch32", "int2.tok16", "int3.tok+had", "int8.ch"};

START_TEST(transcode__holds_what_a_cache_would_hold)
{
    enum { HKV = 2, D = 32, P = 64 };
    static const size_t lengths[] = {1, 4, 5, 67, 68, 150, 196, 300};
    kvc_token_policy policy = {4, 64, P};
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    for (size_t c = 0; c < sizeof specs / sizeof *specs * (sizeof lengths / sizeof *lengths); c++) {
        size_t T = lengths[c % 8], kv = HKV * D, pages = T > 4 ? (T - 4) / P : 0;
        float *x = random_floats(T * kv, 9, 3), *exact = random_floats(T * kv, 1, 1),
              *page = random_floats(T * kv, 1, 1);
        float *want = calloc(P * kv, sizeof *want);
        kvc_codec codec;
        kvc_coder coder;
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[c / 8], &error), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, HKV, D, P, &error), KVC_OK);
        float *work = malloc(kvc_coder_work(&coder) * sizeof *work);
        void *block = aligned_alloc(64, (coder.block_bytes + 63) / 64 * 64);
        ck_assert_int_eq(b->transcode(b, &coder, &policy, T, x, exact, page, &error), KVC_OK);
        for (size_t i = 0; i < T * kv; i++)
            ck_assert_float_eq(exact[i], kvc_fp16_to_float(kvc_fp16_from_float(x[i])));
        for (size_t p = 0; p < pages; p++) {
            for (uint32_t h = 0; h < HKV; h++) {
                kvc_coder_encode(&coder, h, exact + (4 + p * P) * kv + h * D, kv, block, work);
                kvc_coder_decode(&coder, h, block, want + h * D, kv, work);
            }
            ck_assert_mem_eq(page + (4 + p * P) * kv, want, P * kv * sizeof *want);
        }
        size_t end = T > 4 ? 4 + pages * P : 0;
        ck_assert_mem_eq(page, exact, (T < 4 ? T : 4) * kv * sizeof *page);
        ck_assert_mem_eq(page + end * kv, exact + end * kv, (T - end) * kv * sizeof *page);
        free(x), free(exact), free(page), free(want), free(work), free(block);
    }
    b->close(b);
}
END_TEST

/* Rounded rows are not wanted: the pages are the same, and x is left alone. */
START_TEST(transcode__needs_no_room_for_rounded_rows)
{
    enum { HKV = 3, D = 32, P = 64 };
    static const size_t lengths[] = {1, 4, 67, 68, 300};
    kvc_token_policy policy = {4, 64, P};
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    for (size_t c = 0; c < sizeof specs / sizeof *specs * (sizeof lengths / sizeof *lengths); c++) {
        size_t T = lengths[c % 5], n = T * HKV * D;
        float *x = random_floats(n, 9, 3), *before = random_floats(n, 9, 3);
        float *exact = random_floats(n, 1, 1), *want = random_floats(n, 1, 1), *page = random_floats(n, 2, 1);
        kvc_codec codec;
        kvc_coder coder;
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[c / 5], &error), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, HKV, D, P, &error), KVC_OK);
        ck_assert_int_eq(b->transcode(b, &coder, &policy, T, x, exact, want, &error), KVC_OK);
        ck_assert_int_eq(b->transcode(b, &coder, &policy, T, x, NULL, page, &error), KVC_OK);
        ck_assert_mem_eq(page, want, n * sizeof *page);
        ck_assert_mem_eq(x, before, n * sizeof *x);
        free(x), free(before), free(exact), free(want), free(page);
    }
    b->close(b);
}
END_TEST

START_TEST(transcode__refuses_rows_that_are_not_finite)
{
    float x[70 * 8] = {0}, exact[70 * 8], page[70 * 8];
    kvc_token_policy policy = {0, 0, 64};
    kvc_codec codec;
    kvc_coder coder;
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    ck_assert_int_eq(kvc_codec_parse(&codec, "int4.tok", &error), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 1, 8, 64, &error), KVC_OK);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        x[559] = bad[i];
        ck_assert_int_eq(b->transcode(b, &coder, &policy, 70, x, exact, page, &error), KVC_NONFINITE);
        ck_assert_int_eq(b->transcode(b, &coder, &policy, 70, x, NULL, page, &error), KVC_NONFINITE);
    }
    b->close(b);
}
END_TEST

CHECK_MAIN("backend attention", attention__equals_the_reference, attention__reads_pages_as_decoding_would,
           attention__of_several_sequences_is_that_of_each, attention__survives_scores_of_thousands,
           transcode__holds_what_a_cache_would_hold, transcode__needs_no_room_for_rounded_rows,
           transcode__refuses_rows_that_are_not_finite)
