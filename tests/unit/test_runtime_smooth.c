/* Transform smooth: division by its factors, queries multiplied by them, and what is refused. */
#include "check_main.h"
#include "transform_rig.h"

static float *factors(uint32_t d)
{
    float *lambda = rig_params("fp16+smooth", d);
    rig_fill(lambda, RIG_HEADS * d, d);
    for (uint32_t i = 0; i < RIG_HEADS * d; i++) lambda[i] = exp2f(3.0f * lambda[i]);
    return lambda;
}

START_TEST(smooth__keeps_products_and_rows)
{
    for (size_t k = 0; k < RIG_N_DIMS; k++) {
        kvc_coder coder;
        float *lambda = factors(rig_dims[k]);
        ck_assert_int_eq(rig_bind(&coder, "fp16+smooth", rig_dims[k], lambda, NULL), KVC_OK);
        rig_check_identities(&coder, 1e-5);
        free(lambda);
    }
}
END_TEST

START_TEST(smooth__divides_rows_and_multiplies_queries)
{
    kvc_coder coder;
    float x[64], y[64], *lambda = factors(64);
    ck_assert_int_eq(rig_bind(&coder, "fp16+smooth", 64, lambda, NULL), KVC_OK);
    rig_fill(x, 64, 5);
    kvc_coder_transform(&coder, 1, x, y);
    for (uint32_t i = 0; i < 64; i++) ck_assert(y[i] == x[i] / lambda[64 + i]);
    ck_assert(kvc_coder_fold_query(&coder, 1, x, y) == 0.0f);
    for (uint32_t i = 0; i < 64; i++) ck_assert(y[i] == x[i] * lambda[64 + i]);
    free(lambda);
}
END_TEST

/* The largest row over the smallest factor is clamped like any other latent. */
START_TEST(smooth__stays_finite_at_its_limits)
{
    kvc_coder coder;
    float x[8], y[8], *lambda = factors(8);
    for (uint32_t i = 0; i < 16; i++) lambda[i] = i % 2 ? 0x1p17f : 0x1p-17f;
    ck_assert_int_eq(rig_bind(&coder, "fp16+smooth", 8, lambda, NULL), KVC_OK);
    for (uint32_t i = 0; i < 8; i++) x[i] = 3e38f;
    kvc_coder_transform(&coder, 0, x, y);
    for (uint32_t i = 0; i < 8; i++) ck_assert(y[i] == (i % 2 ? 65504.0f * 0x1p-17f : 65504.0f));
    free(lambda);
}
END_TEST

START_TEST(smooth__refuses_factors_out_of_range)
{
    static const float bad[] = {0.0f, -1.0f, 0x1p-18f, 0x1.000002p17f, INFINITY, NAN};
    float *lambda = factors(16);
    kvc_coder coder;
    kvc_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lambda[16 + 3] = bad[i];
        ck_assert_int_eq(rig_bind(&coder, "fp16+smooth", 16, lambda, &err), KVC_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.message, "head 1, channel 3"));
    }
    free(lambda);
}
END_TEST

CHECK_MAIN("runtime smooth", smooth__keeps_products_and_rows, smooth__divides_rows_and_multiplies_queries,
           smooth__stays_finite_at_its_limits, smooth__refuses_factors_out_of_range)
