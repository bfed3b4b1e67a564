/* test_search_solve_greedy.c - the greedy baseline and pruning. */
#include "check_main.h"
#include "tables.h"

START_TEST(pareto_prune__keeps_exactly_what_nothing_dominates)
{
    uint32_t n_options[1] = {7};
    cost_table t = table_new(1, n_options);
    cost_option options[7] = {{10, 5}, {10, 5}, {10, 6}, {20, 5}, {20, 1}, {5, 9}, {30, 0}};
    uint8_t want[7] = {1, 0, 0, 0, 1, 1, 1}, **keep;
    memcpy(t.options[0], options, sizeof options);
    ck_assert_int_eq(pareto_prune(&t, &keep), SEARCH_OK);
    ck_assert_mem_eq(keep[0], want, 7);
    free(keep);
    table_free(&t);
}
END_TEST

START_TEST(solve_greedy__is_feasible_and_never_beats_the_optimum)
{
    random_state r = {7};
    for (int round = 0; round < 2000; round++) {
        cost_table t = table_random(&r, 6, 5, 3, 1);
        front f;
        ck_assert_int_eq(solve_exact(&t, 1 << 20, &f, NULL), SEARCH_OK);
        uint64_t low = f.points[0].bytes, budget = low + random_below(&r, 150);
        front_point plan;
        ck_assert_int_eq(solve_greedy(&t, budget, &plan), SEARCH_OK);
        uint64_t bytes;
        double loss;
        price(&t, plan.choice, &bytes, &loss);
        ck_assert(bytes == plan.bytes && loss == plan.loss && bytes <= budget);
        ck_assert(loss >= front_at_bytes(&f, budget)->loss);
        ck_assert(loss <= f.points[0].loss);
        free(plan.choice);
        if (low) {
            ck_assert_int_eq(solve_greedy(&t, low - 1, &plan), SEARCH_INFEASIBLE);
            ck_assert_ptr_null(plan.choice);
        }
        front_free(&f);
        table_free(&t);
    }
}
END_TEST

/* Two items: the first step must be the one with the best gain per byte, not the largest gain. */
START_TEST(solve_greedy__takes_the_best_gain_per_byte)
{
    uint32_t n_options[2] = {2, 2};
    cost_table t = table_new(2, n_options);
    cost_option a[2] = {{0, 10}, {100, 0}}, b[2] = {{0, 4}, {10, 1}};
    memcpy(t.options[0], a, sizeof a);
    memcpy(t.options[1], b, sizeof b);
    front_point plan;
    ck_assert_int_eq(solve_greedy(&t, 105, &plan), SEARCH_OK);
    ck_assert(plan.choice[0] == 0 && plan.choice[1] == 1 && plan.bytes == 10 && plan.loss == 11);
    free(plan.choice);
    ck_assert_int_eq(solve_greedy(&t, 110, &plan), SEARCH_OK);
    ck_assert(plan.choice[0] == 1 && plan.choice[1] == 1 && plan.loss == 1);
    free(plan.choice);
    table_free(&t);
}
END_TEST

CHECK_MAIN("solve_greedy", pareto_prune__keeps_exactly_what_nothing_dominates,
           solve_greedy__is_feasible_and_never_beats_the_optimum, solve_greedy__takes_the_best_gain_per_byte)
