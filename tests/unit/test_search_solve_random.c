/* test_search_solve_random.c - the random baseline: feasible, full, seeded. */
#include "check_main.h"
#include "tables.h"

/* Can no item be raised to any option of its own front within the budget? */
static int is_full(const cost_table *t, const front_point *plan, uint64_t budget)
{
    uint8_t **keep;
    int full = 1;
    ck_assert_int_eq(pareto_prune(t, &keep), SEARCH_OK);
    for (uint32_t i = 0; i < t->n_items; i++) {
        const cost_option *now = &t->options[i][plan->choice[i]];
        for (uint32_t o = 0; o < t->n_options[i]; o++)
            if (keep[i][o] && t->options[i][o].bytes > now->bytes &&
                plan->bytes + t->options[i][o].bytes - now->bytes <= budget)
                full = 0;
    }
    free(keep);
    return full;
}

START_TEST(solve_random__is_feasible_full_and_never_beats_the_optimum)
{
    random_state r = {11};
    for (int round = 0; round < 2000; round++) {
        cost_table t = table_random(&r, 6, 5, 3, 1);
        front f;
        ck_assert_int_eq(solve_exact(&t, 1 << 20, &f, NULL), SEARCH_OK);
        uint64_t low = f.points[0].bytes, budget = low + random_below(&r, 150);
        front_point plan;
        ck_assert_int_eq(solve_random(&t, budget, (uint64_t)round, &plan), SEARCH_OK);
        uint64_t bytes;
        double loss;
        price(&t, plan.choice, &bytes, &loss);
        ck_assert(bytes == plan.bytes && loss == plan.loss && bytes <= budget);
        ck_assert(loss >= front_at_bytes(&f, budget)->loss);
        ck_assert(is_full(&t, &plan, budget));
        free(plan.choice);
        if (low) {
            ck_assert_int_eq(solve_random(&t, low - 1, 0, &plan), SEARCH_INFEASIBLE);
            ck_assert_ptr_null(plan.choice);
        }
        front_free(&f);
        table_free(&t);
    }
}
END_TEST

START_TEST(solve_random__with_all_bytes_is_the_best_plan)
{
    random_state r = {12};
    for (int round = 0; round < 500; round++) {
        cost_table t = table_random(&r, 6, 5, 3, 1);
        front f;
        front_point plan;
        ck_assert_int_eq(solve_exact(&t, 1 << 20, &f, NULL), SEARCH_OK);
        ck_assert_int_eq(solve_random(&t, f.points[f.n - 1].bytes, 5, &plan), SEARCH_OK);
        ck_assert(plan.loss == f.points[f.n - 1].loss && plan.bytes == f.points[f.n - 1].bytes);
        free(plan.choice);
        front_free(&f);
        table_free(&t);
    }
}
END_TEST

/* Sixteen equal items, a budget for eight raises: a seed always raises the same ones, seeds differ, and over many
 * seeds every item is raised about half the time. */
START_TEST(solve_random__is_decided_by_its_seed)
{
    uint32_t n_options[16], raised[16] = {0}, different = 0;
    for (int i = 0; i < 16; i++) n_options[i] = 2;
    cost_table t = table_new(16, n_options);
    for (int i = 0; i < 16; i++) t.options[i][0] = (cost_option){0, 1}, t.options[i][1] = (cost_option){1, 0};
    uint16_t before[16] = {0};
    for (uint64_t seed = 0; seed < 400; seed++) {
        front_point a, b;
        ck_assert_int_eq(solve_random(&t, 8, seed, &a), SEARCH_OK);
        ck_assert_int_eq(solve_random(&t, 8, seed, &b), SEARCH_OK);
        ck_assert_mem_eq(a.choice, b.choice, sizeof before);
        different += memcmp(a.choice, before, sizeof before) != 0;
        memcpy(before, a.choice, sizeof before);
        for (int i = 0; i < 16; i++) raised[i] += a.choice[i];
        free(a.choice);
        free(b.choice);
    }
    ck_assert_uint_gt(different, 390);
    for (int i = 0; i < 16; i++) ck_assert(raised[i] > 150 && raised[i] < 250);
    table_free(&t);
}
END_TEST

CHECK_MAIN("solve_random", solve_random__is_feasible_full_and_never_beats_the_optimum,
           solve_random__with_all_bytes_is_the_best_plan, solve_random__is_decided_by_its_seed)
