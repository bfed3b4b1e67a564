/* perm: an order in which groups are alike, by the statistic that serves. */
#include "check_main.h"
#include "fit_rig.h"
#include "heads.h"

enum { D = 32, ROWS = 200 };

static double loss_of(const fit_rig *rig, const uint16_t *order)
{
    float ones[D];
    double *work = malloc(TRIAL_WORK(D) * sizeof *work);
    for (uint32_t i = 0; i < D; i++) ones[i] = 1.0f;
    double loss = trial_loss(&rig->data, 0, D / 4, order, ones, work);
    free(work);
    return loss;
}

/* Channels of four kinds, kind i % 4, that differ in spread or in offset; each matters as much as the others. */
static fit_rig kinds(bool offsets)
{
    fit_rig rig = rig_new(1, D, ROWS, false);
    uint64_t state = 4;
    memset(rig.metric, 0, D * D * sizeof(double));
    for (size_t i = 0; i < D; i++) rig.metric[i * (D + 1)] = offsets ? 1.0 : exp(-4.0 * (double)(i % 4));
    for (size_t i = 0; i < ROWS * D; i++) {
        double kind = (double)(i % 4);
        rig.rows[i] =
            (float)(offsets ? rig_random(&state) + 40.0 * (kind - 1.5) : rig_random(&state) * exp(2.0 * kind));
    }
    rig_statistics(&rig);
    return rig;
}

START_TEST(perm__puts_channels_of_a_kind_together)
{
    for (int offsets = 0; offsets < 2; offsets++) {
        fit_rig rig = kinds(offsets);
        kvc_coder coder;
        uint16_t *order = rig_fit(&rig, "int4.tok8+perm", &coder), identity[D];
        for (uint16_t i = 0; i < D; i++) identity[i] = i;
        for (uint32_t i = 0; i < D; i++) ck_assert_uint_eq(order[i] % 4, order[i / 8 * 8] % 4);
        ck_assert_double_lt(loss_of(&rig, order), 0.5 * loss_of(&rig, identity));
        free(order);
        rig_free(&rig);
    }
}
END_TEST

START_TEST(perm__keeps_the_order_without_a_reason)
{
    for (int c = 0; c < 3; c++) {
        fit_rig rig = rig_new(1, D, c == 0 ? 0 : 1, c);
        kvc_coder coder;
        if (c == 1) memset(rig.metric, 0, D * D * sizeof(double));
        if (c == 2) memset(rig.weights, 0, sizeof(float));
        uint16_t *order = rig_fit(&rig, "int4.tok8+perm", &coder);
        for (uint32_t i = 0; i < D; i++) ck_assert_uint_eq(order[i], i);
        free(order);
        rig_free(&rig);
    }
}
END_TEST

CHECK_MAIN("fit perm", perm__puts_channels_of_a_kind_together, perm__keeps_the_order_without_a_reason)
