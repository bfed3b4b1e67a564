/* The streamed comparison of logits against sums in long double, and its ties and parts. */
#include "backend.h"
#include "check_main.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { ROWS = 4, VOCAB = 1003 };
static kvc_error error;

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

/* In blocks of `width` vocabulary entries. */
static void compare(const float (*ref)[VOCAB], const float (*cfg)[VOCAB], const uint32_t *targets, size_t width,
                    logit_row *out)
{
    logit_sums sums[ROWS];
    float *a = malloc(ROWS * width * sizeof *a), *c = malloc(ROWS * width * sizeof *c);
    backend *b;
    ck_assert_int_eq(backend_open_cpu(&b, 2, &error), KVC_OK);
    logit_sums_start(ROWS, sums);
    for (size_t first = 0; first < VOCAB; first += width) {
        size_t n = VOCAB - first < width ? VOCAB - first : width;
        for (size_t r = 0; r < ROWS; r++) {
            memcpy(a + r * n, ref[r] + first, n * sizeof *a);
            memcpy(c + r * n, cfg[r] + first, n * sizeof *c);
        }
        ck_assert_int_eq(b->compare_logits(b, ROWS, ROWS, first, n, a, ref == cfg ? a : c, targets, sums, &error),
                         KVC_OK);
    }
    for (size_t r = 0; r < ROWS; r++) out[r] = logit_sums_finish(&sums[r]);
    b->close(b);
    free(a);
    free(c);
}

static long double log_sum_exp(const float *x)
{
    long double max = x[0], sum = 0;
    for (size_t i = 0; i < VOCAB; i++) max = fmaxl(max, x[i]);
    for (size_t i = 0; i < VOCAB; i++) sum += expl(x[i] - max);
    return max + logl(sum);
}

static void check_row(const float *ref, const float *cfg, uint32_t target, const logit_row *row)
{
    long double lse_ref = log_sum_exp(ref), lse_cfg = log_sum_exp(cfg), kl = 0;
    for (size_t i = 0; i < VOCAB; i++) kl += expl(ref[i] - lse_ref) * ((ref[i] - lse_ref) - (cfg[i] - lse_cfg));
    ck_assert_double_eq_tol(row->nll_ref, (double)(lse_ref - ref[target]), 1e-6);
    ck_assert_double_eq_tol(row->nll_cfg, (double)(lse_cfg - cfg[target]), 1e-6);
    ck_assert_double_eq_tol(row->kl, (double)kl, 1e-6 * (1 + (double)kl));
    ck_assert_double_ge(row->kl, -1e-12 - 1e-7 * (double)kl);
}

START_TEST(compare_logits__equals_long_double_in_any_blocks)
{
    static float ref[ROWS][VOCAB], cfg[ROWS][VOCAB];
    const float spread[ROWS] = {1, 10, 60, 500}, change[ROWS] = {0.01f, 1, 20, 400};
    const uint32_t targets[ROWS] = {0, 1002, 500, 64};
    uint32_t seed = 3;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < VOCAB; i++) {
            ref[r][i] = spread[r] * noise(&seed);
            cfg[r][i] = ref[r][i] + change[r] * noise(&seed) + 3;
        }
    for (size_t width = 1; width < 2 * VOCAB; width = width * 5 + 3) {
        logit_row rows[ROWS];
        compare(ref, cfg, targets, width, rows);
        for (size_t r = 0; r < ROWS; r++) check_row(ref[r], cfg[r], targets[r], &rows[r]);
    }
}
END_TEST

START_TEST(compare_logits__of_equal_models_has_no_divergence)
{
    static float ref[ROWS][VOCAB];
    const uint32_t targets[ROWS] = {1, 2, 3, 4};
    uint32_t seed = 3;
    logit_row rows[ROWS];
    for (size_t i = 0; i < ROWS * VOCAB; i++) ref[i / VOCAB][i % VOCAB] = 20 * noise(&seed);
    compare(ref, ref, targets, 100, rows);
    for (size_t r = 0; r < ROWS; r++) {
        ck_assert_double_eq(rows[r].kl, 0);
        ck_assert_double_eq(rows[r].nll_ref, rows[r].nll_cfg);
        ck_assert_uint_eq(rows[r].top_ref, rows[r].top_cfg);
    }
}
END_TEST

START_TEST(compare_logits__gives_ties_to_the_lower_index)
{
    static float ref[ROWS][VOCAB], cfg[ROWS][VOCAB];
    const uint32_t targets[ROWS] = {0};
    logit_row rows[ROWS];
    ref[1][700] = ref[1][900] = 2;
    ref[2][99] = ref[2][100] = 2;
    cfg[3][1002] = 1;
    compare(ref, cfg, targets, 100, rows);
    ck_assert_uint_eq(rows[0].top_ref, 0);
    ck_assert_uint_eq(rows[1].top_ref, 700);
    ck_assert_uint_eq(rows[2].top_ref, 99);
    ck_assert_uint_eq(rows[3].top_ref, 0);
    ck_assert_uint_eq(rows[3].top_cfg, 1002);
}
END_TEST

CHECK_MAIN("backend logits", compare_logits__equals_long_double_in_any_blocks,
           compare_logits__of_equal_models_has_no_divergence, compare_logits__gives_ties_to_the_lower_index)
