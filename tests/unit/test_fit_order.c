/* Which latent channels share a code: classes filled to the last place, the least energies dropped, rates balanced.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include "check_main.h"
#include "order.h"

enum { DIM = 64 };

static code_classes mix(const uint32_t n[5])
{
    code_classes all = {0};
    for (uint32_t k = 0; k < 5; k++)
        if (n[k]) classes_add(&all, n[k], 1u << k);
    return all;
}

static const uint32_t mixes[][5] = {{0, 0, 0, 8, 0},   {0, 0, 16, 0, 0}, {0, 0, 0, 4, 2},
                                    {4, 10, 10, 0, 0}, {64, 0, 0, 0, 0}, {0, 0, 0, 0, 2},
                                    {1, 0, 0, 0, 0},   {0, 2, 13, 1, 0}, {1, 1, 1, 1, 1}};
#define N_MIXES (sizeof mixes / sizeof *mixes)

/* Falling by half, in an order that is not the channels' own. */
static void spectrum(double *energy, double fall)
{
    for (uint32_t i = 0; i < DIM; i++) energy[i] = exp2(-fall * (double)(i * 37 % DIM));
}

static void check_complete(const code_classes *all, const double *energy, const uint16_t *order)
{
    double least_kept = INFINITY, most_dropped = 0.0;
    bool kept[DIM] = {0};
    for (uint32_t i = 0; i < all->n_kept; i++) {
        ck_assert_uint_lt(order[i], DIM);
        ck_assert(!kept[order[i]]);
        kept[order[i]] = true;
        least_kept = fmin(least_kept, energy[order[i]]);
    }
    for (uint32_t i = 0; i < DIM; i++)
        if (!kept[i]) most_dropped = fmax(most_dropped, energy[i]);
    ck_assert_double_ge(least_kept, most_dropped);
}

START_TEST(order__keeps_the_channels_of_most_energy)
{
    for (size_t m = 0; m < N_MIXES; m++)
        for (int kind = 0; kind < 4; kind++) {
            code_classes all = mix(mixes[m]);
            double energy[DIM] = {0};
            uint16_t order[DIM];
            if (kind) spectrum(energy, .25 * (kind - 1)); /* zeros, all alike, falling */
            order_bands(&all, DIM, energy, order);
            check_complete(&all, energy, order);
            order_balanced(&all, 8, DIM, energy, order);
            check_complete(&all, energy, order);
        }
}
END_TEST

START_TEST(order_bands__interleaves_each_class)
{
    static const uint16_t want[] = {0, 2, 1, 3, 4, 6, 8, 10, 5, 7, 9, 11};
    code_classes all = mix((const uint32_t[5]){0, 2, 2, 0, 0});
    double energy[12];
    uint16_t order[12];
    for (int i = 0; i < 12; i++) energy[i] = 12.0 - i;
    order_bands(&all, 12, energy, order);
    ck_assert_mem_eq(order, want, sizeof want);
    for (int i = 0; i < 12; i++) energy[i] = i;
    order_bands(&all, 12, energy, order);
    for (int i = 0; i < 12; i++) ck_assert_uint_eq(order[i], 11 - want[i]);
}
END_TEST

/* Energies 2^(2 r) and codes of 4 bits, 16 in all: the level is 2^0, the rates are r. */
START_TEST(order_balanced__deals_out_rates_by_hand)
{
    static const double rates[] = {6, 4, 3, 2, 1, 0, 0, 0};
    /* 6 | 4 | 3 | 2, then 1 to the 2; what has no rate fills the lightest that has room. */
    static const uint16_t want[] = {0, 7, 1, 6, 2, 5, 3, 4};
    code_classes all = mix((const uint32_t[5]){0, 4, 0, 0, 0});
    double energy[8];
    uint16_t order[8];
    for (int i = 0; i < 8; i++) energy[i] = exp2(2.0 * rates[i]) * (rates[i] > 0.0 ? 1.0 : 1e-3 / (i + 1));
    order_balanced(&all, 4, 8, energy, order);
    ck_assert_mem_eq(order, want, sizeof want);
}
END_TEST

START_TEST(order_balanced__is_balanced)
{
    code_classes all = mix((const uint32_t[5]){0, 0, 16, 0, 0});
    double energy[DIM], sums[16] = {0}, most = 0.0, least = INFINITY, bands = 0.0, total = 0.0;
    /* A rate falls by .05 bits from one channel to the next, and stays above 0: all add up to 64 highest - .05 2016,
     * which is 16 codes of 8 bits. */
    double highest = (128.0 + .05 * 2016.0) / 64.0;
    uint16_t order[DIM];
    spectrum(energy, .1);
    order_balanced(&all, 8, DIM, energy, order);
    for (uint32_t i = 0; i < DIM; i++) sums[i / 4] += highest + .5 * log2(energy[order[i]]);
    for (int g = 0; g < 16; g++) most = fmax(most, sums[g]), least = fmin(least, sums[g]), total += sums[g];
    ck_assert_double_eq_tol(total, 128.0, 1e-9);
    ck_assert_msg(most - least < .2, "codes of %g to %g bits", least, most);
    order_bands(&all, DIM, energy, order);
    for (int k = 0; k < 4; k++) bands += highest + .5 * log2(energy[order[k]]);
    ck_assert_double_gt(bands, most + .5);
}
END_TEST

CHECK_MAIN("fit_order", order__keeps_the_channels_of_most_energy, order_bands__interleaves_each_class,
           order_balanced__deals_out_rates_by_hand, order_balanced__is_balanced)
