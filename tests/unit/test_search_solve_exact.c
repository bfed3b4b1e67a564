/* test_search_solve_exact.c - the exact front against brute force, and what is promised about it. */
#include "check_main.h"
#include "tables.h"
#include <math.h>

#define CELLS ((size_t)1 << 24)

/* Every plan is dominated by a front point, every front point is a plan with the bytes and loss it says, and
 * both sequences are strict. Together that is: the front is the Pareto front. */
static void check_front(const cost_table *t, const front *f)
{
    ck_assert_uint_gt(f->n, 0);
    for (size_t i = 0; i < f->n; i++) {
        uint64_t bytes;
        double loss;
        price(t, f->points[i].choice, &bytes, &loss);
        ck_assert(bytes == f->points[i].bytes && loss == f->points[i].loss);
        if (i) ck_assert(bytes > f->points[i - 1].bytes && loss < f->points[i - 1].loss);
    }
    uint16_t choice[16] = {0};
    do {
        uint64_t bytes;
        double loss;
        price(t, choice, &bytes, &loss);
        const front_point *best = front_at_bytes(f, bytes);
        ck_assert(best && best->loss <= loss);
    } while (next_plan(t, choice));
}

static void check_random(uint64_t seed, int tables, uint64_t step, int rough)
{
    random_state r = {seed};
    for (int i = 0; i < tables; i++) {
        cost_table t = table_random(&r, 6, 5, step, rough);
        front f;
        uint64_t unit;
        ck_assert_int_eq(solve_exact(&t, CELLS, &f, &unit), SEARCH_OK);
        ck_assert_uint_eq(unit, cost_unit(&t));
        check_front(&t, &f);
        front_free(&f);
        table_free(&t);
    }
}

START_TEST(solve_exact__is_the_brute_force_front_with_ties)
{
    check_random(1, 3000, 1, 0);
}
END_TEST
START_TEST(solve_exact__is_the_brute_force_front_with_large_units)
{
    check_random(2, 1500, 3u << 20, 0);
}
END_TEST
START_TEST(solve_exact__is_the_brute_force_front_of_rounded_sums)
{
    check_random(3, 3000, 64, 1);
}
END_TEST

/* Sums of eighths are exact, so that the order of the items must not matter at all. */
START_TEST(solve_exact__optimum_does_not_depend_on_item_order)
{
    random_state r = {4};
    for (int round = 0; round < 1000; round++) {
        cost_table t = table_random(&r, 8, 6, 16, 0);
        front a, b;
        ck_assert_int_eq(solve_exact(&t, CELLS, &a, NULL), SEARCH_OK);
        for (uint32_t i = t.n_items; i > 1; i--) {
            uint32_t j = (uint32_t)random_below(&r, i), n = t.n_options[j];
            cost_option *options = t.options[j];
            t.options[j] = t.options[i - 1];
            t.n_options[j] = t.n_options[i - 1];
            t.options[i - 1] = options;
            t.n_options[i - 1] = n;
        }
        ck_assert_int_eq(solve_exact(&t, CELLS, &b, NULL), SEARCH_OK);
        ck_assert_uint_eq(a.n, b.n);
        for (size_t i = 0; i < a.n; i++)
            ck_assert(a.points[i].bytes == b.points[i].bytes && a.points[i].loss == b.points[i].loss);
        front_free(&a);
        front_free(&b);
        table_free(&t);
    }
}
END_TEST

/* The promised tie rule: of plans with equal bytes and loss the one that has the lower option in the last
 * item where they differ. Item order is the order of significance, last item first. */
START_TEST(solve_exact__breaks_ties_by_option_index)
{
    random_state r = {5};
    for (int round = 0; round < 1000; round++) {
        cost_table t = table_random(&r, 5, 4, 2, 0);
        front f;
        ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_OK);
        uint16_t choice[16] = {0};
        do {
            uint64_t bytes;
            double loss;
            price(&t, choice, &bytes, &loss);
            const front_point *best = front_at_bytes(&f, bytes);
            if (best->bytes != bytes || best->loss != loss) continue;
            uint32_t i = t.n_items;
            while (i && best->choice[i - 1] == choice[i - 1]) i--;
            ck_assert(!i || best->choice[i - 1] < choice[i - 1]);
        } while (next_plan(&t, choice));
        front_free(&f);
        table_free(&t);
    }
}
END_TEST

/* A model of realistic size: 32 layers, 8 heads of 128, pages of 64 tokens, 12 options a side. */
static cost_table realistic_table(uint32_t n_items)
{
    static const double bits[12] = {1.25, 2.25, 2.5, 3, 3.25, 3.5, 4, 4.25, 4.5, 6.25, 8.25, 16};
    uint32_t n_options[256];
    for (uint32_t i = 0; i < n_items; i++) n_options[i] = 12;
    cost_table t = table_new(n_items, n_options);
    random_state r = {6};
    for (uint32_t i = 0; i < n_items; i++) {
        double scale = exp2((double)random_below(&r, 1000) / 100);
        for (int o = 0; o < 12; o++) {
            t.options[i][o].bytes = 8 * (127 * (uint64_t)(64 * 128 * bits[o] / 8) + 64 * 256);
            double noise = 1 + (double)random_below(&r, 1000) / 2000;
            t.options[i][o].loss = o == 11 ? 0 : scale * exp2(-2 * bits[o]) * noise;
        }
    }
    return t;
}

START_TEST(solve_exact__solves_a_whole_model)
{
    cost_table t = realistic_table(64);
    front f, again;
    uint64_t unit;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, &unit), SEARCH_OK);
    ck_assert_uint_eq(unit, cost_unit(&t));
    ck_assert_uint_eq(unit, 8 * 127 * 256);
    ck_assert(f.points[f.n - 1].loss == 0);
    for (size_t i = 1; i < f.n; i++)
        ck_assert(f.points[i].bytes > f.points[i - 1].bytes && f.points[i].loss < f.points[i - 1].loss);
    ck_assert_int_eq(solve_exact(&t, CELLS, &again, NULL), SEARCH_OK);
    ck_assert_uint_eq(f.n, again.n);
    ck_assert(!memcmp(f.choices, again.choices, f.n * t.n_items * sizeof *f.choices));
    front_free(&again);
    front_free(&f);
    table_free(&t);
}
END_TEST

/* Optimality on a table too large for brute force, by Lagrange: for every price of a byte the best plan is
 * separable, and its loss + price * bytes is a bound that no front point may beat and some front point must
 * reach. */
START_TEST(solve_exact__meets_the_lagrangian_bound)
{
    cost_table t = realistic_table(64);
    front f;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_OK);
    for (double price = 1e-12; price < 1; price *= 1.7) {
        double bound = 0, reached = INFINITY;
        for (uint32_t i = 0; i < t.n_items; i++) {
            double best = INFINITY;
            for (uint32_t o = 0; o < t.n_options[i]; o++)
                best = fmin(best, t.options[i][o].loss + price * (double)t.options[i][o].bytes);
            bound += best;
        }
        for (size_t i = 0; i < f.n; i++)
            reached = fmin(reached, f.points[i].loss + price * (double)f.points[i].bytes);
        ck_assert_double_eq_tol(reached / bound, 1, 1e-12);
    }
    front_free(&f);
    table_free(&t);
}
END_TEST

START_TEST(solve_exact__coarsens_when_cells_run_out)
{
    cost_table t = realistic_table(64);
    front exact, coarse;
    uint64_t unit;
    ck_assert_int_eq(solve_exact(&t, CELLS, &exact, NULL), SEARCH_OK);
    ck_assert_int_eq(solve_exact(&t, 20000, &coarse, &unit), SEARCH_OK);
    ck_assert_uint_gt(unit, cost_unit(&t));
    for (size_t i = 0; i < coarse.n; i++) {
        uint64_t bytes;
        double loss;
        price(&t, coarse.points[i].choice, &bytes, &loss);
        ck_assert(bytes == coarse.points[i].bytes && loss == coarse.points[i].loss);
        if (i) ck_assert(bytes > coarse.points[i - 1].bytes && loss < coarse.points[i - 1].loss);
        ck_assert(front_at_bytes(&exact, bytes)->loss <= loss);
    }
    front_free(&coarse);
    ck_assert_int_eq(solve_exact(&t, 63, &coarse, &unit), SEARCH_NO_MEMORY);
    ck_assert(!coarse.points && !coarse.choices);
    front_free(&exact);
    table_free(&t);
}
END_TEST

START_TEST(solve_exact__refuses_invalid_tables)
{
    uint32_t n_options[2] = {2, 1};
    cost_table t = table_new(2, n_options);
    front f;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_OK);
    front_free(&f);
    double bad[] = {NAN, INFINITY, -1};
    for (int i = 0; i < 3; i++) {
        t.options[1][0].loss = bad[i];
        ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_INVALID);
    }
    t.options[1][0] = (cost_option){UINT64_C(1) << 62, 0};
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_OK);
    front_free(&f);
    t.options[0][1].bytes = 1;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_INVALID);
    t.n_options[0] = 0;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_INVALID);
    t.n_items = 0;
    ck_assert_int_eq(solve_exact(&t, CELLS, &f, NULL), SEARCH_INVALID);
    t.n_items = 2;
    table_free(&t);
}
END_TEST

START_TEST(front__looks_up_budget)
{
    front_point points[] = {{10, 3, NULL}, {20, 2, NULL}, {35, 0.5, NULL}};
    front f = {3, points, NULL};
    ck_assert_ptr_null(front_at_bytes(&f, 9));
    ck_assert_ptr_eq(front_at_bytes(&f, 10), &points[0]);
    ck_assert_ptr_eq(front_at_bytes(&f, 34), &points[1]);
    ck_assert_ptr_eq(front_at_bytes(&f, UINT64_MAX), &points[2]);
}
END_TEST

CHECK_MAIN("solve_exact", solve_exact__is_the_brute_force_front_with_ties,
           solve_exact__is_the_brute_force_front_with_large_units,
           solve_exact__is_the_brute_force_front_of_rounded_sums, solve_exact__optimum_does_not_depend_on_item_order,
           solve_exact__breaks_ties_by_option_index, solve_exact__solves_a_whole_model,
           solve_exact__meets_the_lagrangian_bound, solve_exact__coarsens_when_cells_run_out,
           solve_exact__refuses_invalid_tables, front__looks_up_budget)
