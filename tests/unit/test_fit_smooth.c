/* smooth and the trial quantiser that it, like perm, is chosen by. */
#include "check_main.h"
#include "fit_rig.h"
#include "heads.h"

enum { D = 32 };

static double loss_of(const fit_rig *rig, uint32_t group, const uint16_t *order, const float *lambda)
{
    double *work = malloc(TRIAL_WORK(rig->data.head_dim) * sizeof *work);
    double loss = trial_loss(&rig->data, 0, group, order, lambda, work);
    free(work);
    return loss;
}

static void plain(uint16_t *order, float *lambda)
{
    for (uint16_t i = 0; i < D; i++) {
        order[i] = i;
        lambda[i] = 1.0f;
    }
}

/* One channel off the grid of 15 steps by a quarter, with the metric 2 at its place; half of the weight is on rows
 * without an error. */
START_TEST(trial__weighs_the_error_of_a_four_bit_quantiser)
{
    fit_rig rig = rig_new(1, D, 4, false);
    uint16_t order[D];
    float lambda[D];
    plain(order, lambda);
    for (size_t i = 0; i < 4 * D; i++) rig.rows[i] = (float)(i % 16);
    rig.rows[5] += 0.25f;
    for (size_t r = 0; r < 4; r++) rig.weights[r] = r == 0 ? 3.0f : 1.0f;
    memset(rig.metric, 0, D * D * sizeof(double));
    for (size_t i = 0; i < D; i++) rig.metric[i * (D + 1)] = 2.0;
    ck_assert_double_eq_tol(loss_of(&rig, D, order, lambda), 2.0 * 0.0625 * 0.5, 1e-12);
    ck_assert_double_eq_tol(loss_of(&rig, D / 2, order, lambda), 2.0 * 0.0625 * 0.5, 1e-12);
    rig.data.n_rows = 0;
    ck_assert_double_eq(loss_of(&rig, D, order, lambda), 0.0);
    rig_free(&rig);
}
END_TEST

/* A reordering and a scaling see the same values in other places: groups of equal content cost the same. */
START_TEST(trial__follows_order_and_scale)
{
    fit_rig rig = rig_new(1, D, 100, false), moved = rig_new(1, D, 100, false);
    uint16_t order[D], identity[D];
    float lambda[D], ones[D];
    plain(identity, ones);
    for (uint32_t i = 0; i < D; i++) {
        order[i] = (uint16_t)((5 * i + 3) % D);
        lambda[i] = ldexpf(1.0f, (int)(i % 3));
    }
    for (size_t i = 0; i < D; i++) {
        for (size_t r = 0; r < 100; r++) moved.rows[r * D + i] = rig.rows[r * D + order[i]] / lambda[order[i]];
        for (size_t j = 0; j < D; j++)
            moved.metric[i * D + j] = rig.metric[order[i] * D + order[j]] * lambda[order[i]] * lambda[order[j]];
    }
    double want = loss_of(&moved, 8, identity, ones);
    ck_assert_double_gt(want, 0.0);
    ck_assert_double_eq_tol(loss_of(&rig, 8, order, lambda), want, 1e-6 * want);
    rig_free(&rig);
    rig_free(&moved);
}
END_TEST

START_TEST(smooth__ties_rope_pairs_of_keys_only)
{
    for (int values = 0; values < 2; values++) {
        fit_rig rig = rig_new(2, D, 200, values);
        kvc_coder coder;
        void *params = rig_fit(&rig, "int4.tok+smooth", &coder);
        const float *lambda = params;
        for (uint32_t head = 0; head < 2; head++, lambda += D) {
            double sum = 0.0;
            int tied = 0;
            for (uint32_t i = 0; i < D / 2; i++) tied += lambda[i] == lambda[i + D / 2];
            for (uint32_t i = 0; i < D; i++) sum += log((double)lambda[i]);
            ck_assert_double_eq_tol(sum, 0.0, 1e-4); /* geometric mean 1 */
            ck_assert_int_eq(tied, values ? 0 : D / 2);
        }
        free(params);
        rig_free(&rig);
    }
}
END_TEST

/* A row of all heads: pairs are those of a head, and what one head has says nothing of another. */
START_TEST(smooth__ties_pairs_within_each_head_of_a_joined_row)
{
    enum { H = 3 };
    fit_rig rig = rig_new(H, D, 200, false);
    kvc_coder coder;
    for (size_t h = 0; h < H; h++)
        for (size_t r = 0; r < 200; r++) rig.rows[(h * 200 + r) * D + 7 + h] *= 20.0f;
    rig_statistics(&rig);
    float *lambda = rig_fit(&rig, "int4.tok+smooth@joint", &coder);
    for (uint32_t h = 0; h < H; h++) {
        uint32_t most = h * D;
        for (uint32_t i = h * D; i < (h + 1) * D; i++) {
            ck_assert_float_eq(lambda[i], lambda[h * D + (i + D / 2) % D]);
            if (lambda[i] > lambda[most]) most = i;
        }
        ck_assert_uint_eq(most, h * D + 7 + h); /* of the pair the first */
    }
    for (uint32_t i = 0; i < D; i++) ck_assert_float_ne(lambda[i], lambda[i + D]);
    free(lambda);
    rig_free(&rig);
}
END_TEST

START_TEST(smooth__lowers_the_loss_of_outliers)
{
    fit_rig rig = rig_new(1, D, 200, false);
    uint16_t order[D];
    float ones[D];
    kvc_coder coder;
    plain(order, ones);
    memset(rig.metric, 0, D * D * sizeof(double));
    for (size_t i = 0; i < D; i++) rig.metric[i * (D + 1)] = 1.0;
    for (size_t r = 0; r < 200; r++) rig.rows[r * D + 7] *= 30.0f; /* its pair is 23 */
    rig_statistics(&rig);
    void *params = rig_fit(&rig, "int4.tok+smooth", &coder);
    const float *lambda = params;
    ck_assert_double_lt(loss_of(&rig, D, order, lambda), 0.8 * loss_of(&rig, D, order, ones));
    for (uint32_t i = 0; i < D; i++)
        if (i % 16 != 7) ck_assert_float_gt(lambda[7], lambda[i]);
    free(params);
    rig_free(&rig);
}
END_TEST

START_TEST(smooth__leaves_alone_what_it_cannot_judge)
{
    for (int c = 0; c < 4; c++) {
        fit_rig rig = rig_new(1, D, c == 0 ? 0 : 50, c == 1);
        kvc_coder coder;
        if (c == 1) memset(rig.metric, 0, D * D * sizeof(double));
        if (c == 2) memset(rig.weights, 0, 50 * sizeof(float));
        if (c == 3) memset(rig.rows, 0, 50 * D * sizeof(float));
        if (c == 3) memset(rig.absmax, 0, D * sizeof(double));
        float *lambda = rig_fit(&rig, "int4.tok+smooth", &coder);
        for (uint32_t i = 0; i < D; i++) ck_assert_float_eq(lambda[i], 1.0f);
        free(lambda);
        rig_free(&rig);
    }
}
END_TEST

/* Channels without a value get a factor that the runtime takes. */
START_TEST(smooth__bounds_the_factors_of_dead_channels)
{
    fit_rig rig = rig_new(1, D, 50, true);
    kvc_coder coder;
    for (size_t r = 0; r < 50; r++)
        for (size_t i = 1; i < D; i++) rig.rows[r * D + i] = i < 4 ? 1e-6f * (float)r : 0.0f;
    rig_statistics(&rig);
    free(rig_fit(&rig, "int4.tok+smooth", &coder));
    rig_free(&rig);
}
END_TEST

CHECK_MAIN("fit smooth", trial__weighs_the_error_of_a_four_bit_quantiser, trial__follows_order_and_scale,
           smooth__ties_rope_pairs_of_keys_only, smooth__ties_pairs_within_each_head_of_a_joined_row,
           smooth__lowers_the_loss_of_outliers, smooth__leaves_alone_what_it_cannot_judge,
           smooth__bounds_the_factors_of_dead_channels)
