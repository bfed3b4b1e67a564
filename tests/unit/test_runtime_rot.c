/* Transform rot: the matrix of its constants, its transpose as the inverse, and what is refused. */
#include "check_main.h"
#include "transform_rig.h"

/* I - 2 v v' / v'v for a random v of each head: symmetric, orthogonal and dense. */
static uint16_t *reflections(uint32_t d)
{
    uint16_t *matrix = rig_params("fp16+rot", d);
    float v[512];
    for (uint32_t head = 0; head < RIG_HEADS; head++) {
        rig_fill(v, d, d + 31 * head);
        double square = rig_dot(v, v, d);
        for (uint32_t j = 0; j < d; j++)
            for (uint32_t i = 0; i < d; i++)
                matrix[(head * d + j) * d + i] =
                    kvc_fp16_from_float((float)((i == j) - 2.0 * (double)v[i] * v[j] / square));
    }
    return matrix;
}

START_TEST(rot__keeps_products_and_rows)
{
    for (size_t k = 0; k < RIG_N_DIMS; k++) {
        kvc_coder coder;
        uint16_t *matrix = reflections(rig_dims[k]);
        ck_assert_int_eq(rig_bind(&coder, "fp16+rot", rig_dims[k], matrix, NULL), KVC_OK);
        rig_check_identities(&coder, 0x1p-10); /* what a matrix rounded to fp16 lacks of being orthogonal */
        free(matrix);
    }
}
END_TEST

/* FORMAT.md, "rot": sums over inputs in order, sums over latents in eight lanes, term by term in binary32. */
START_TEST(rot__sums_in_the_order_of_the_format)
{
    for (size_t k = 0; k < RIG_N_DIMS; k++) {
        uint32_t d = rig_dims[k];
        kvc_coder coder;
        uint16_t *matrix = reflections(d);
        const uint16_t *own = matrix + d * d; /* head 1 */
        float x[512], y[512], out[512] = {0}, *work;
        ck_assert_int_eq(rig_bind(&coder, "fp16+rot", d, matrix, NULL), KVC_OK);
        work = malloc(kvc_coder_work(&coder) * sizeof *work);
        rig_fill(x, d, 3);
        kvc_coder_transform(&coder, 1, x, y);
        kvc_coder_unfold_output(&coder, 1, x, 1.0f, out, work);
        for (uint32_t i = 0; i < d; i++) {
            float sum = 0.0f, lane[8] = {0};
            for (uint32_t j = 0; j < d; j++) sum += x[j] * kvc_fp16_to_float(own[j * d + i]);
            ck_assert(y[i] == sum);
            for (uint32_t j = 0; j < d; j++) lane[j % 8] += kvc_fp16_to_float(own[i * d + j]) * x[j];
            for (uint32_t step = 1; step < 8; step *= 2)
                for (uint32_t j = 0; j < 8; j += 2 * step) lane[j] += lane[j + step];
            ck_assert(out[i] == lane[0]);
        }
        free(matrix);
        free(work);
    }
}
END_TEST

START_TEST(rot__refuses_what_is_no_rotation)
{
    static const uint16_t bad[] = {0x7e00, 0x7c00, 0xfc00, 0x4000, 0x3c01, 0xbc00};
    uint16_t *matrix = reflections(24);
    kvc_coder coder;
    kvc_error err;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint16_t held = matrix[(24 + 5) * 24 + 7];
        matrix[(24 + 5) * 24 + 7] = bad[i];
        ck_assert_int_eq(rig_bind(&coder, "fp16+rot", 24, matrix, &err), KVC_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.message, "head 1, row 5"));
        matrix[(24 + 5) * 24 + 7] = held;
    }
    ck_assert_int_eq(rig_bind(&coder, "fp16+rot", 24, matrix, &err), KVC_OK);
    memset(matrix, 0, 24 * sizeof *matrix);
    ck_assert_int_eq(rig_bind(&coder, "fp16+rot", 24, matrix, &err), KVC_FORMAT);
    free(matrix);
}
END_TEST

CHECK_MAIN("runtime rot", rot__keeps_products_and_rows, rot__sums_in_the_order_of_the_format,
           rot__refuses_what_is_no_rotation)
