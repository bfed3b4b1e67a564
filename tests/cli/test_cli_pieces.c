/* The program's own arithmetic: prediction through anchors, sampling, UTF-8 that arrives in pieces. */
#include "check_main.h"
#include "predict.h"
#include "sample.h"
#include "utf8_stream.h"
#include <math.h>
#include <string.h>

static predictor fitted(const predictor_anchor *anchors, size_t n)
{
    predictor p;
    ck_assert(predictor_new(&p, anchors, n));
    return p;
}

START_TEST(predict__goes_through_the_anchors)
{
    const predictor_anchor anchors[] = {{0.4, 0.2}, {0.01, 0.001}, {0.1, 0.03}};
    predictor p = fitted(anchors, 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_double_eq_tol(predictor_kl(&p, anchors[i].local_loss), anchors[i].kl, 1e-12);
    double middle = predictor_kl(&p, sqrt(0.01 * 0.1)); /* half-way on both logarithmic scales */
    ck_assert_double_eq_tol(middle, sqrt(0.001 * 0.03), 1e-12);
    predictor_free(&p);
}
END_TEST

START_TEST(predict__never_falls)
{
    const predictor_anchor anchors[] = {{0.001, 0.004}, {0.01, 0.002}, {0.1, 0.03}, {1, 0.01}};
    predictor p = fitted(anchors, 4);
    double previous = 0;
    for (double x = 1e-6; x < 1e3; x *= 1.1) {
        double kl = predictor_kl(&p, x);
        ck_assert(kl >= previous * (1 - 1e-12) && isfinite(kl));
        previous = kl;
    }
    ck_assert_double_eq_tol(predictor_kl(&p, 0.003), sqrt(0.004 * 0.002), 1e-12); /* pooled */
    ck_assert(predictor_kl(&p, 100) > predictor_kl(&p, 1));
    ck_assert_double_eq(predictor_kl(&p, 0), 0);
    predictor_free(&p);
}
END_TEST

START_TEST(predict__with_few_anchors)
{
    const predictor_anchor useless[] = {{0, 0.1}, {0.1, 0}}, one[] = {{0.1, 0.02}};
    predictor none = fitted(useless, 2), single = fitted(one, 1);
    ck_assert(isnan(predictor_kl(&none, 0.1)));
    ck_assert_double_eq_tol(predictor_kl(&single, 0.2), 0.04, 1e-12);
    predictor_free(&none);
    predictor_free(&single);
}
END_TEST

static sampler sampler_of(double temperature, uint64_t top_k, double top_p, uint64_t seed)
{
    sampler s;
    ck_assert_int_eq(sampler_new(&s, 4, temperature, top_k, top_p, seed, NULL), KVC_OK);
    return s;
}

START_TEST(sample__greedy_takes_the_first_maximum)
{
    const float logits[] = {0, 2, 2, 1};
    sampler s = sampler_of(0, 0, 1, 0);
    ck_assert_uint_eq(sampler_next(&s, logits), 1);
    sampler_free(&s);
}
END_TEST

START_TEST(sample__frequencies_are_the_softmax)
{
    const float logits[] = {0, 1, 2, -1};
    const double temperature = 0.7;
    double count[4] = {0}, weight[4], total = 0;
    enum { DRAWS = 20000 };
    sampler s = sampler_of(temperature, 0, 1, 42);
    for (int i = 0; i < DRAWS; i++) count[sampler_next(&s, logits)]++;
    for (int i = 0; i < 4; i++) total += weight[i] = exp(logits[i] / temperature);
    for (int i = 0; i < 4; i++) ck_assert_double_eq_tol(count[i] / DRAWS, weight[i] / total, 0.015);
    sampler_free(&s);
}
END_TEST

START_TEST(sample__top_k_and_top_p_leave_the_rest_out)
{
    const float logits[] = {0, 1, 2, -1}; /* probabilities .087 .237 .644 .032 */
    sampler k = sampler_of(1, 2, 1, 1), p = sampler_of(1, 0, 0.7, 1);
    int seen_k[4] = {0}, seen_p[4] = {0};
    for (int i = 0; i < 500; i++) seen_k[sampler_next(&k, logits)] = seen_p[sampler_next(&p, logits)] = 1;
    const int expected[] = {0, 1, 1, 0};
    ck_assert_mem_eq(seen_k, expected, sizeof expected);
    ck_assert_mem_eq(seen_p, expected, sizeof expected);
    sampler_free(&k);
    sampler_free(&p);
}
END_TEST

/* What a stream writes of `bytes` given one at a time. */
static void check_stream(const char *bytes, const char *expected)
{
    char *text = NULL;
    size_t n;
    utf8_stream s = {.out = open_memstream(&text, &n)};
    for (const char *b = bytes; *b; b++) utf8_put(&s, b, 1);
    utf8_end(&s);
    fclose(s.out);
    ck_assert_str_eq(text, expected);
    free(text);
}

START_TEST(utf8_stream__joins_what_comes_in_pieces)
{
    check_stream("a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80z", "a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80z");
    utf8_stream s = {.out = fopen("/dev/null", "w")};
    utf8_put(&s, "\xe4\xb8", 2);
    ck_assert_uint_eq(s.n_held, 2);
    utf8_put(&s, "\xad", 1);
    ck_assert_uint_eq(s.n_held, 0);
    fclose(s.out);
}
END_TEST

START_TEST(utf8_stream__replaces_what_cannot_be)
{
    const char *bad = "\xef\xbf\xbd";
    char expected[32];
    check_stream("\xff", bad);
    check_stream("\xe4\xb8", bad);
    snprintf(expected, sizeof expected, "%sa", bad);
    check_stream("\xe4\xb8"
                 "a",
                 expected);
    snprintf(expected, sizeof expected, "%s%s", bad, bad);
    check_stream("\xc0\x80", expected); /* overlong */
    snprintf(expected, sizeof expected, "%s%s%s", bad, bad, bad);
    check_stream("\xed\xa0\x80", expected); /* a surrogate */
    snprintf(expected, sizeof expected, "%s\xc3\xa9", bad);
    check_stream("\xe4\xc3\xa9", expected);
}
END_TEST

CHECK_MAIN("cli_pieces", predict__goes_through_the_anchors, predict__never_falls, predict__with_few_anchors,
           sample__greedy_takes_the_first_maximum, sample__frequencies_are_the_softmax,
           sample__top_k_and_top_p_leave_the_rest_out, utf8_stream__joins_what_comes_in_pieces,
           utf8_stream__replaces_what_cannot_be)
