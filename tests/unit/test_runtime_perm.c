/* Transform perm: the order of its constants, and what is refused. */
#include "check_main.h"
#include "transform_rig.h"

/* Head h reads channel (a i + h) mod d with a coprime to d. */
static uint16_t *orders(uint32_t d)
{
    uint16_t *order = rig_params("fp16+perm", d);
    for (uint32_t i = 0; i < RIG_HEADS * d; i++) order[i] = (uint16_t)((7u * (i % d) + i / d) % d);
    return order;
}

START_TEST(perm__keeps_products_and_rows)
{
    for (size_t k = 0; k < RIG_N_DIMS; k++) {
        kvc_coder coder;
        uint16_t *order = orders(rig_dims[k]);
        ck_assert_int_eq(rig_bind(&coder, "fp16+perm", rig_dims[k], order, NULL), KVC_OK);
        rig_check_identities(&coder, 1e-6);
        free(order);
    }
}
END_TEST

START_TEST(perm__reads_channels_in_its_order)
{
    kvc_coder coder;
    float x[64], y[64];
    uint16_t *order = orders(64);
    ck_assert_int_eq(rig_bind(&coder, "fp16+perm", 64, order, NULL), KVC_OK);
    rig_fill(x, 64, 5);
    kvc_coder_transform(&coder, 1, x, y);
    for (uint32_t i = 0; i < 64; i++) ck_assert(y[i] == x[order[64 + i]]);
    free(order);
}
END_TEST

START_TEST(perm__refuses_what_is_no_permutation)
{
    uint16_t *order = orders(512);
    kvc_coder coder;
    kvc_error err;
    const uint16_t bad[] = {512, 65535, order[512 + 5]};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        order[512 + 9] = bad[i];
        ck_assert_int_eq(rig_bind(&coder, "fp16+perm", 512, order, &err), KVC_FORMAT);
        ck_assert_ptr_nonnull(strstr(err.message, "head 1, channel 9"));
    }
    free(order);
}
END_TEST

CHECK_MAIN("runtime perm", perm__keeps_products_and_rows, perm__reads_channels_in_its_order,
           perm__refuses_what_is_no_permutation)
