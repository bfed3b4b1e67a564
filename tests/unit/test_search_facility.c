/* test_search_facility.c - k-median: valid, locally optimal, near the optimum. */
#include "check_main.h"
#include "facility.h"
#include "tables.h"
#include <math.h>

enum { CLIENTS = 7, MOST = 10 };

static double total(const double *cost, uint32_t n, const uint32_t *chosen, uint32_t k)
{
    double sum = 0;
    for (uint32_t c = 0; c < CLIENTS; c++) {
        double best = INFINITY;
        for (uint32_t i = 0; i < k; i++) best = fmin(best, cost[c * n + chosen[i]]);
        sum += best;
    }
    return sum;
}

static double best_of_all(const double *cost, uint32_t n, uint32_t k)
{
    double best = INFINITY;
    for (uint32_t set = 1; set < 1u << n; set++) {
        uint32_t chosen[MOST], m = 0;
        for (uint32_t f = 0; f < n; f++)
            if (set >> f & 1) chosen[m++] = f;
        if (m <= k) best = fmin(best, total(cost, n, chosen, m));
    }
    return best;
}

START_TEST(choose_facilities__is_near_the_optimum)
{
    random_state r = {31};
    int optimal = 0;
    for (int round = 0; round < 500; round++) {
        double cost[CLIENTS * MOST], work[3 * CLIENTS + MOST];
        uint32_t n = 1 + (uint32_t)random_below(&r, MOST), k = 1 + (uint32_t)random_below(&r, 4), chosen[MOST];
        for (uint32_t i = 0; i < CLIENTS * n; i++) cost[i] = (double)random_below(&r, 1000);
        uint32_t m = choose_facilities(cost, CLIENTS, n, k, chosen, work);
        ck_assert(m >= 1 && m <= k);
        for (uint32_t i = 0; i < m; i++) ck_assert(chosen[i] < n && (i == 0 || chosen[i] > chosen[i - 1]));
        double found = total(cost, n, chosen, m), best = best_of_all(cost, n, k);
        ck_assert(found >= best && found <= 1.5 * best + 1);
        optimal += found == best;
        if (k == 1) ck_assert(found == best);
    }
    ck_assert_int_gt(optimal, 450);
}
END_TEST

/* Greedy takes the middle facility first, which the best two leave out. */
START_TEST(choose_facilities__exchanges_what_greedy_took)
{
    double cost[] = {0, 2, 9, 0, 2, 9, 9, 2, 0, 9, 2, 0}, work[3 * 4 + 2];
    uint32_t chosen[2];
    ck_assert_uint_eq(choose_facilities(cost, 4, 3, 1, chosen, work), 1);
    ck_assert_uint_eq(chosen[0], 1);
    ck_assert_uint_eq(choose_facilities(cost, 4, 3, 2, chosen, work), 2);
    ck_assert(chosen[0] == 0 && chosen[1] == 2);
}
END_TEST

START_TEST(choose_facilities__takes_no_more_than_help)
{
    double cost[] = {1, 1, 5, 2, 2, 5}, work[3 * 2 + 3];
    uint32_t chosen[3];
    ck_assert_uint_eq(choose_facilities(cost, 2, 3, 3, chosen, work), 1);
    ck_assert_uint_eq(chosen[0], 0);
}
END_TEST

CHECK_MAIN("facility", choose_facilities__is_near_the_optimum, choose_facilities__exchanges_what_greedy_took,
           choose_facilities__takes_no_more_than_help)
