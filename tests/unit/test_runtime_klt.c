/* Transform klt: an affine map and its inverse, in the order of sums that FORMAT.md says. */
#include "check_main.h"
#include "params_rig.h"

static const uint32_t dims[] = {8, 64, 80, 96, 128, 256};
#define N_DIMS (sizeof dims / sizeof *dims)
#define HEADS 2u

typedef struct bench {
    kvc_coder coder;
    uint8_t *params;
    const float *mean, *forward; /* of head 1 */
    const uint16_t *backward;
    float x[512], y[512];
} bench;

static bench bench_new(const char *spec, uint32_t d)
{
    bench b;
    size_t n;
    uint64_t seed = d;
    kvc_codec codec;
    kvc_error err = {""};
    ck_assert_int_eq(kvc_codec_parse(&codec, spec, &err), KVC_OK);
    b.params = codec_params(&codec, HEADS, d, 8, 11, &n);
    ck_assert_msg(kvc_coder_init(&b.coder, &codec, b.params, HEADS, d, 8, &err) == KVC_OK, "%s", err.message);
    b.mean = (const float *)(b.params + 4 * d + 6 * d * d);
    b.forward = b.mean + d;
    b.backward = (const uint16_t *)(b.forward + d * d);
    for (uint32_t i = 0; i < d; i++) b.x[i] = params_random(&seed);
    return b;
}

START_TEST(klt__sums_in_the_order_of_format_md)
{
    for (size_t k = 0; k < N_DIMS; k++) {
        uint32_t d = dims[k];
        bench b = bench_new("fp16+klt", d);
        kvc_coder_transform(&b.coder, 1, b.x, b.y);
        for (uint32_t i = 0; i < d; i++) {
            volatile float sum = 0.0f;
            for (uint32_t j = 0; j < d; j++) {
                volatile float centred = b.x[j] - b.mean[j];
                volatile float product = centred * b.forward[j * d + i];
                sum = sum + product;
            }
            ck_assert_msg(b.y[i] == sum, "head of %u, output %u: %a, not %a", d, i, b.y[i], sum);
        }
        free(b.params);
    }
}
END_TEST

START_TEST(klt__folds_and_unfolds_in_the_order_of_format_md)
{
    for (size_t k = 0; k < N_DIMS; k++) {
        uint32_t d = dims[k];
        bench b = bench_new("fp16+klt", d);
        float out[512] = {0}, work[9 * 512], bias = kvc_coder_fold_query(&b.coder, 1, b.x, b.y);
        volatile float want = 0.0f;
        for (uint32_t j = 0; j < d; j++) {
            volatile float product = b.x[j] * b.mean[j];
            want = want + product;
        }
        ck_assert(bias == want);
        for (uint32_t i = 0; i < d; i++) {
            volatile float sum = 0.0f;
            for (uint32_t j = 0; j < d; j++) {
                volatile float product = b.x[j] * kvc_fp16_to_float(b.backward[j * d + i]);
                sum = sum + product;
            }
            ck_assert(b.y[i] == sum);
        }
        kvc_coder_unfold_output(&b.coder, 1, b.x, 0.75f, out, work);
        for (uint32_t j = 0; j < d; j++) {
            volatile float lane[8] = {0}, mean = b.mean[j] * 0.75f;
            for (uint32_t i = 0; i < d; i++) {
                volatile float product = kvc_fp16_to_float(b.backward[j * d + i]) * b.x[i];
                lane[i % 8] = lane[i % 8] + product;
            }
            for (uint32_t n = 1; n < 8; n *= 2)
                for (uint32_t i = 0; i < 8; i += 2 * n) lane[i] = lane[i] + lane[i + n];
            volatile float sum = mean + lane[0];
            ck_assert_msg(out[j] == sum, "head of %u, channel %u: %a, not %a", d, j, out[j], sum);
        }
        free(b.params);
    }
}
END_TEST

START_TEST(klt__is_undone_by_its_inverse)
{
    for (size_t k = 0; k < N_DIMS; k++) {
        uint32_t d = dims[k];
        bench b = bench_new("fp16+klt", d);
        float back[512] = {0}, work[9 * 512];
        kvc_coder_transform(&b.coder, 1, b.x, b.y);
        kvc_coder_unfold_output(&b.coder, 1, b.y, 1.0f, back, work);
        for (uint32_t i = 0; i < d; i++) ck_assert_double_eq_tol(back[i], b.x[i], 2e-5);
        free(b.params);
    }
}
END_TEST

START_TEST(klt__chains_with_other_transforms)
{
    static const char *const specs[] = {"fp16+klt+had", "fp16+had+klt", "fp16+had+klt+had"};
    for (size_t k = 0; k < 3 * N_DIMS; k++) {
        uint32_t d = dims[k / 3];
        bench b = bench_new(specs[k % 3], d);
        float q[512], folded[512], back[512] = {0}, work[9 * 512];
        uint64_t seed = 77;
        double direct = 0.0, through, scale = 0.0;
        for (uint32_t i = 0; i < d; i++) q[i] = params_random(&seed);
        kvc_coder_transform(&b.coder, 1, b.x, b.y);
        through = kvc_coder_fold_query(&b.coder, 1, q, folded);
        for (uint32_t i = 0; i < d; i++) direct += (double)q[i] * b.x[i], scale += fabs(q[i] * b.x[i]);
        for (uint32_t i = 0; i < d; i++) through += (double)folded[i] * b.y[i];
        ck_assert_double_eq_tol(direct, through, 1e-5 * (1.0 + scale));
        kvc_coder_unfold_output(&b.coder, 1, b.y, 1.0f, back, work);
        for (uint32_t i = 0; i < d; i++) ck_assert_double_eq_tol(back[i], b.x[i], 4e-5);
        free(b.params);
    }
}
END_TEST

START_TEST(klt__refuses_constants_that_are_not_numbers)
{
    static const uint16_t bad_half[] = {0x7c00, 0xfc00, 0x7e00};
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    bench b = bench_new("fp16+klt", 8);
    kvc_coder coder;
    kvc_error err;
    float *numbers = (float *)b.mean;
    uint16_t *halves = (uint16_t *)b.backward;
    for (uint32_t i = 0; i < 3 * 72; i++) {
        float held = numbers[i / 3];
        numbers[i / 3] = bad[i % 3];
        ck_assert_int_eq(kvc_coder_init(&coder, &b.coder.codec, b.params, HEADS, 8, 8, &err), KVC_NONFINITE);
        ck_assert_msg(strstr(err.message, "klt") && strstr(err.message, "head 1"), "%s", err.message);
        numbers[i / 3] = held;
    }
    for (uint32_t i = 0; i < 3 * 64; i++) {
        uint16_t held = halves[i / 3];
        halves[i / 3] = bad_half[i % 3];
        ck_assert_int_eq(kvc_coder_init(&coder, &b.coder.codec, b.params, HEADS, 8, 8, &err), KVC_NONFINITE);
        halves[i / 3] = held;
    }
    ck_assert_int_eq(kvc_coder_init(&coder, &b.coder.codec, b.params, HEADS, 8, 8, &err), KVC_OK);
    free(b.params);
}
END_TEST

CHECK_MAIN("klt", klt__sums_in_the_order_of_format_md, klt__folds_and_unfolds_in_the_order_of_format_md,
           klt__is_undone_by_its_inverse, klt__chains_with_other_transforms,
           klt__refuses_constants_that_are_not_numbers)
