/* Codes shared out among the heads of a side: how many each gets, and what that is worth once tables are fitted. */
#include <math.h>
#include <omp.h>
#include "check_main.h"
#include "fit_rig.h"
#include "share.h"

enum { MOST_HEADS = 16, MOST_DIM = 128, PAGE = 8 };

static void share(uint32_t heads, uint32_t d, uint32_t n_codes, const double *value, uint32_t *counts)
{
    kvc_error err;
    ck_assert_int_eq(share_codes(heads, d, 8, n_codes, value, counts, &err), KVC_OK);
}

/* Geometric spectra, head h of 4^lead[h] times the energy. */
static void spectra(uint32_t heads, uint32_t d, const double *lead, double *value)
{
    for (uint32_t i = 0; i < heads * d; i++) value[i] = exp2(2.0 * lead[i / d] - 12.0 * (i % d) / d);
}

START_TEST(shares__add_up)
{
    uint64_t state = 5;
    double value[MOST_HEADS * MOST_DIM];
    for (uint32_t trial = 0; trial < 200; trial++) {
        uint32_t heads = 1 + trial % MOST_HEADS, d = 8u << trial % 5, n = 1 + trial % 64;
        uint32_t n_codes = n * heads * d / 64 ? n * heads * d / 64 : 1, counts[MOST_HEADS], sum = 0;
        for (uint32_t i = 0; i < heads * d; i++) {
            double high = exp2(20.0 * rig_random(&state)); /* far apart, some beyond what a rate can tell */
            value[i] = trial % 3 ? high : exp2(-(double)(i % 7)) * (i / d % 2 ? 1e-40 : 1e40);
        }
        share(heads, d, n_codes, value, counts);
        for (uint32_t head = 0; head < heads; head++) {
            ck_assert_uint_le(counts[head], d);
            if (n_codes >= heads) ck_assert_uint_ge(counts[head], 1);
            sum += counts[head];
        }
        ck_assert_uint_eq(sum, n_codes);
    }
}
END_TEST

/* By hand: channels of one energy in each of four heads of 128, four bits a channel on average. A head whose energies
 * are half the mean has half a bit less for each channel: 64 bits, eight codes. */
START_TEST(shares__follow_the_energies)
{
    static const double lead[] = {-.5, 0.0, .5, 0.0};
    static const uint32_t want[] = {56, 64, 72, 64};
    double value[4 * 128];
    uint32_t counts[4];
    for (uint32_t i = 0; i < 4 * 128; i++) value[i] = exp2(2.0 * lead[i / 128]);
    share(4, 128, 256, value, counts);
    for (uint32_t head = 0; head < 4; head++) ck_assert_uint_eq(counts[head], want[head]);
    spectra(4, 128, lead, value);
    share(4, 128, 64, value, counts);
    ck_assert_msg(counts[0] < counts[1] && counts[1] == counts[3] && counts[1] < counts[2], "%u %u %u %u", counts[0],
                  counts[1], counts[2], counts[3]);
}
END_TEST

START_TEST(shares__stay_within_their_limits)
{
    static const double lead[] = {0.0, 40.0, 0.0};
    double value[3 * 64];
    uint32_t counts[3];
    spectra(3, 64, lead, value);
    share(3, 64, 40, value, counts); /* at least one */
    ck_assert(counts[0] == 1 && counts[1] == 38 && counts[2] == 1);
    share(3, 64, 120, value, counts); /* no more codes than channels */
    ck_assert(counts[0] == 28 && counts[1] == 64 && counts[2] == 28);
    share(3, 64, 2, value, counts); /* fewer than heads */
    ck_assert(counts[0] == 0 && counts[1] == 2 && counts[2] == 0);
}
END_TEST

START_TEST(shares__are_even_without_energy)
{
    double value[3 * 64] = {0};
    uint32_t counts[3];
    for (uint32_t kind = 0; kind < 2; kind++) {
        share(3, 64, 24, value, counts);
        ck_assert(counts[0] == 8 && counts[1] == 8 && counts[2] == 8);
        share(3, 64, 26, value, counts); /* the remainder to the first */
        ck_assert(counts[0] == 9 && counts[1] == 9 && counts[2] == 8);
        for (uint32_t i = 0; i < 3 * 64; i++) value[i] = 1e-80;
    }
}
END_TEST

/* ---- through fit_codec() ---- */

/* Loss of the rig's own rows, e' M e of each head, by weight. */
static double loss_of(const fit_rig *rig, const kvc_coder *coder)
{
    uint32_t d = rig->data.head_dim;
    size_t n = rig->data.n_rows;
    float decoded[PAGE * MOST_DIM], *work = malloc(kvc_coder_work(coder) * sizeof *work);
    unsigned char *block = aligned_alloc(16, coder->block_bytes);
    double loss = 0.0;
    for (uint32_t head = 0; head < rig->data.n_kv_heads; head++)
        for (size_t row = 0; row < n; row++) {
            const float *x = rig->rows + (head * n + row) * d, *y = decoded + row % PAGE * d;
            const double *metric = rig->metric + (size_t)head * d * d;
            if (row % PAGE == 0) kvc_coder_encode(coder, head, x, d, block, work);
            if (row % PAGE == 0) kvc_coder_decode(coder, head, block, decoded, d, work);
            for (uint32_t i = 0; i < d; i++)
                for (uint32_t j = 0; j < d; j++)
                    loss += (double)rig->weights[head * n + row] * metric[i * d + j] * ((double)x[i] - (double)y[i]) *
                            ((double)x[j] - (double)y[j]);
        }
    free(work);
    free(block);
    return loss;
}

static double fitted_loss(const fit_rig *rig, const char *spec)
{
    kvc_coder coder;
    void *params = rig_fit(rig, spec, &coder);
    double loss = loss_of(rig, &coder);
    free(params);
    return loss;
}

/* What makes heads differ: their rows, what their tokens weigh, and what errors in them cost. */
static void make_worth(fit_rig *rig, uint32_t head, double rows, double weight, double metric)
{
    size_t n = rig->data.n_rows, d = rig->data.head_dim;
    for (size_t i = head * n * d; i < (head + 1) * n * d; i++) rig->rows[i] *= (float)rows;
    for (size_t i = head * n; i < (head + 1) * n; i++) rig->weights[i] *= (float)weight;
    for (size_t i = head * d * d; i < (head + 1) * d * d; i++) rig->metric[i] *= metric;
    rig_statistics(rig);
}

START_TEST(shared_codes__go_where_errors_cost)
{
    static const double worth[3][3] = {{4.0, 1.0, 1.0}, {1.0, 16.0, 1.0}, {1.0, 1.0, 16.0}};
    static const char *const specs[] = {"vq[8]x8+klt", "vq[8]x8", "vq[8]x6+rot"};
    for (uint32_t kind = 0; kind < 3; kind++) {
        fit_rig rig = rig_new(2, 64, 600, true);
        memcpy(rig.rows + 600 * 64, rig.rows, 600 * 64 * sizeof(float));
        memcpy(rig.weights + 600, rig.weights, 600 * sizeof(float));
        memcpy(rig.metric + 64 * 64, rig.metric, sizeof(double) * 64 * 64);
        rig_statistics(&rig);
        for (uint32_t i = 0; i < sizeof specs / sizeof *specs; i++) {
            kvc_coder coder;
            void *params = rig_fit(&rig, specs[i], &coder);
            const uint32_t *counts = coder.part[4];
            ck_assert_msg(counts[0] == 8 && counts[1] == 8, "%s: %u %u", specs[i], counts[0], counts[1]);
            free(params);
        }
        make_worth(&rig, 1, worth[kind][0], worth[kind][1], worth[kind][2]);
        for (uint32_t i = 0; i < sizeof specs / sizeof *specs; i++) {
            kvc_coder coder;
            void *params = rig_fit(&rig, specs[i], &coder);
            const uint32_t *counts = coder.part[4];
            ck_assert_msg(counts[1] >= 10 && counts[0] + counts[1] == 16, "%s, kind %u: %u %u", specs[i], kind,
                          counts[0], counts[1]);
            free(params);
        }
        rig_free(&rig);
    }
}
END_TEST

/* Than as many for each head. */
START_TEST(shared_codes__lose_less)
{
    static const char *const pairs[][2] = {
        {"vq[8]x6", "vq8x6"}, {"vq[8]x6+klt", "vq8x6+klt"}, {"vq[16]x6+klt", "vq4x6+klt"}};
    fit_rig rig = rig_new(3, 64, 400, false);
    make_worth(&rig, 1, 5.0, 1.0, 1.0);
    make_worth(&rig, 2, 1.0, .1, 1.0);
    for (uint32_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        double shared = fitted_loss(&rig, pairs[i][0]), equal = fitted_loss(&rig, pairs[i][1]);
        ck_assert_msg(shared < .9 * equal, "%s: %g, %s: %g", pairs[i][0], shared, pairs[i][1], equal);
    }
    rig_free(&rig);
}
END_TEST

/* One row of all heads: nothing to share out. */
START_TEST(shared_codes__work_joint)
{
    fit_rig rig = rig_new(2, 16, 300, false);
    kvc_coder coder;
    void *params = rig_fit(&rig, "vq[16]x6+klt@joint", &coder);
    const uint32_t *counts = coder.part[4];
    ck_assert_uint_eq(counts[0], 8);
    free(params);
    rig_free(&rig);
}
END_TEST

static const char *const specs[] = {"vq[1]x8",     "vq[8]x8",     "vq[64]x4",           "vq[5]x6+klt",
                                    "vq[3]x6+rot", "vq[9]x6+had", "vq[16]x6+klt@joint", "vq[12]x6+perm"};
#define N_SPECS (sizeof specs / sizeof *specs)

/* The rig checks that the runtime takes the constants. */
START_TEST(shared_codes__live_with_degenerate_data)
{
    static const size_t n_rows[] = {0, 1, 40, 40, 40};
    for (uint32_t kind = 0; kind < 5; kind++) {
        fit_rig rig = rig_new(3, 24, n_rows[kind], kind % 2), page = rig_new(3, 24, PAGE, false);
        for (size_t i = 0; i < 3 * 24 * n_rows[kind] && kind == 2; i++) rig.rows[i] = 0.0f;
        for (size_t i = 0; i < 3 * n_rows[kind] && kind == 3; i++) rig.weights[i] = 0.0f;
        if (kind == 2) rig_statistics(&rig);
        if (kind == 4) make_worth(&rig, 1, 0.0, 1.0, 0.0);
        if (kind == 3) memset(rig.metric, 0, 3 * 24 * 24 * sizeof *rig.metric);
        for (size_t i = 0; i < N_SPECS; i++) {
            kvc_coder coder;
            void *params = rig_fit(&rig, specs[i], &coder);
            if (coder.joined == 1) ck_assert(isfinite(loss_of(&page, &coder)));
            free(params);
        }
        rig_free(&rig);
        rig_free(&page);
    }
}
END_TEST

START_TEST(shared_codes__do_not_depend_on_threads)
{
    fit_rig rig = rig_new(3, 24, 300, false);
    int before = omp_get_max_threads();
    make_worth(&rig, 1, 3.0, 1.0, 1.0);
    for (size_t i = 0; i < N_SPECS; i++) {
        kvc_coder coder;
        void *params[2];
        for (int threads = 1; threads <= 2; threads++) {
            omp_set_num_threads(threads);
            params[threads - 1] = rig_fit(&rig, specs[i], &coder);
        }
        ck_assert_mem_eq(params[0], params[1], coder.codec.param_bytes);
        free(params[0]);
        free(params[1]);
    }
    omp_set_num_threads(before);
    rig_free(&rig);
}
END_TEST

CHECK_MAIN("fit_share", shares__add_up, shares__follow_the_energies, shares__stay_within_their_limits,
           shares__are_even_without_energy, shared_codes__go_where_errors_cost, shared_codes__lose_less,
           shared_codes__work_joint, shared_codes__live_with_degenerate_data, shared_codes__do_not_depend_on_threads)
