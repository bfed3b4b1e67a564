/* test_search_solve_minimax.c - the least largest loss over domains, against brute force and against its bound. */
#include "check_main.h"
#include "solve_minimax.h"
#include "tables.h"
#include <math.h>
#include <stdio.h>

#define CELLS ((size_t)1 << 22)
enum { DOMAINS = 4 };

typedef struct rig {
    cost_table table; /* its losses are the domains' means */
    domain_losses domains;
} rig;

/* Losses that grow with what an option saves, the more so in an item's own favourite domains. */
static rig rig_new(random_state *r, uint32_t n_items, uint32_t n_options, uint32_t n_domains)
{
    uint32_t n[64];
    for (uint32_t i = 0; i < n_items; i++) n[i] = n_options;
    rig x = {.table = table_new(n_items, n)};
    double **loss = malloc(n_items * sizeof *loss);
    for (uint32_t i = 0; i < n_items; i++) {
        double scale[16];
        loss[i] = calloc((size_t)n_options * n_domains, sizeof **loss);
        for (uint32_t d = 0; d < n_domains; d++) scale[d] = exp2((double)random_below(r, 600) / 100);
        for (uint32_t o = 0; o < n_options; o++) {
            double bits = 1 + (double)random_below(r, 60) / 10, sum = 0;
            x.table.options[i][o].bytes = 100 + (uint64_t)(10 * bits);
            for (uint32_t d = 0; d < n_domains; d++)
                sum += loss[i][o * n_domains + d] =
                    scale[d] * exp2(-1.5 * bits) * (1 + (double)random_below(r, 100) / 500);
            x.table.options[i][o].loss = sum / n_domains;
        }
    }
    x.domains = (domain_losses){n_domains, loss};
    return x;
}

static void rig_free(rig *x)
{
    for (uint32_t i = 0; i < x->table.n_items; i++) free(x->domains.loss[i]);
    free((void *)x->domains.loss);
    table_free(&x->table);
}

static uint64_t budget_of(const rig *x, random_state *r)
{
    uint64_t least = 0, most = 0;
    for (uint32_t i = 0; i < x->table.n_items; i++) {
        uint64_t low = UINT64_MAX, high = 0;
        for (uint32_t o = 0; o < x->table.n_options[i]; o++) {
            uint64_t bytes = x->table.options[i][o].bytes;
            low = bytes < low ? bytes : low;
            high = bytes > high ? bytes : high;
        }
        least += low;
        most += high;
    }
    return least + random_below(r, most - least + 1);
}

static double brute_minimax(const rig *x, uint64_t budget)
{
    uint16_t choice[16] = {0};
    double best = INFINITY;
    do {
        uint64_t bytes;
        double loss;
        price(&x->table, choice, &bytes, &loss);
        if (bytes <= budget) best = fmin(best, minimax_loss(&x->table, &x->domains, choice));
    } while (next_plan(&x->table, choice));
    return best;
}

/* The plan of least mean loss. */
static double mean_minimax(const rig *x, uint64_t budget)
{
    front f;
    ck_assert_int_eq(solve_exact(&x->table, CELLS, &f, NULL), SEARCH_OK);
    double loss = minimax_loss(&x->table, &x->domains, front_at_bytes(&f, budget)->choice);
    front_free(&f);
    return loss;
}

START_TEST(solve_minimax__is_near_brute_force_and_never_behind_the_mean)
{
    random_state r = {1};
    double sum = 0, worst = 1, mean_sum = 0;
    enum { ROUNDS = 600 };
    int optimal = 0;
    for (int i = 0; i < ROUNDS; i++) {
        rig x = rig_new(&r, 2 + (uint32_t)random_below(&r, 5), 2 + (uint32_t)random_below(&r, 4),
                        1 + (uint32_t)random_below(&r, DOMAINS));
        uint64_t budget = budget_of(&x, &r), bytes;
        double weights[DOMAINS], bound, total = 0, unused, best = brute_minimax(&x, budget);
        front_point found;
        ck_assert_int_eq(solve_minimax(&x.table, &x.domains, budget, CELLS, weights, &bound, &found), SEARCH_OK);
        price(&x.table, found.choice, &bytes, &unused);
        ck_assert(bytes == found.bytes && bytes <= budget);
        ck_assert(found.loss == minimax_loss(&x.table, &x.domains, found.choice));
        double mean = mean_minimax(&x, budget);
        ck_assert_double_le(found.loss, mean);
        ck_assert_double_ge(found.loss, best);
        ck_assert_double_le(bound, best * (1 + 1e-9));
        for (uint32_t d = 0; d < x.domains.n; d++) total += weights[d];
        ck_assert_double_eq_tol(total, 1, 1e-12);
        if (x.domains.n == 1) ck_assert_double_eq(found.loss, best);
        sum += found.loss / best;
        mean_sum += mean / best;
        worst = fmax(worst, found.loss / best);
        optimal += found.loss == best;
        free(found.choice);
        rig_free(&x);
    }
    printf("solve_minimax: optimal in %d of %d, %.3f %% above it on average, %.1f %% at worst; by the mean %.1f %%\n",
           optimal, ROUNDS, 100 * (sum / ROUNDS - 1), 100 * (worst - 1), 100 * (mean_sum / ROUNDS - 1));
    ck_assert_int_gt(optimal, ROUNDS * 95 / 100);
    ck_assert_double_lt(sum / ROUNDS, 1.002);
    ck_assert_double_gt(mean_sum / ROUNDS, 1.01); /* the tables tell the objectives apart */
}
END_TEST

START_TEST(solve_minimax__is_near_its_bound_on_a_whole_model)
{
    random_state r = {2};
    for (int i = 0; i < 4; i++) {
        rig x = rig_new(&r, 60, 24, 16);
        uint64_t budget = 60 * 130;
        double weights[16], again[16], bound;
        front_point a, b;
        ck_assert_int_eq(solve_minimax(&x.table, &x.domains, budget, CELLS, weights, &bound, &a), SEARCH_OK);
        ck_assert_double_ge(a.loss, bound);
        ck_assert_double_lt(a.loss, 1.01 * bound);
        ck_assert_double_lt(a.loss, mean_minimax(&x, budget));
        ck_assert_int_eq(solve_minimax(&x.table, &x.domains, budget, CELLS, again, NULL, &b), SEARCH_OK);
        ck_assert_mem_eq(weights, again, sizeof weights);
        ck_assert_mem_eq(a.choice, b.choice, 60 * sizeof *a.choice);
        free(a.choice);
        free(b.choice);
        rig_free(&x);
    }
}
END_TEST

START_TEST(minimax_weights__favour_the_domain_that_loses_most)
{
    cost_table t = table_new(1, (const uint32_t[]){2});
    double losses[] = {1, 9, 8, 3}, *loss[] = {losses}, weights[2], bound;
    const domain_losses d = {2, loss};
    t.options[0][0] = (cost_option){10, 5};
    t.options[0][1] = (cost_option){10, 5};
    ck_assert_int_eq(minimax_weights(&t, &d, 10, weights, &bound), SEARCH_OK);
    ck_assert_double_eq_tol(weights[1], 7.0 / 13, 0.02); /* 1 + 8 w = 8 - 5 w */
    ck_assert_double_eq_tol(bound, 69.0 / 13, 0.05);
    ck_assert_double_le(bound, 69.0 / 13);
    minimax_weigh(&t, &d, (const double[]){0.25, 0.75});
    ck_assert_double_eq(t.options[0][0].loss, 7);
    ck_assert_double_eq(t.options[0][1].loss, 4.25);
    uint16_t first = 0, second = 1;
    const front f = {1, (front_point[]){{10, 0, &second}}, NULL};
    ck_assert_double_eq(minimax_loss(&t, &d, &first), 9);
    ck_assert_double_eq(minimax_loss(&t, &d, &second), 8);
    ck_assert_ptr_eq(front_minimax(&f, &t, &d, 10), &f.points[0]);
    ck_assert_ptr_null(front_minimax(&f, &t, &d, 9));
    table_free(&t);
}
END_TEST

START_TEST(solve_minimax__refuses_what_cannot_be)
{
    random_state r = {3};
    rig x = rig_new(&r, 3, 3, 2);
    double weights[2];
    front_point out;
    ck_assert_int_eq(solve_minimax(&x.table, &x.domains, 299, CELLS, weights, NULL, &out), SEARCH_INFEASIBLE);
    ck_assert_ptr_null(out.choice);
    ck_assert_int_eq(minimax_weights(&x.table, &x.domains, 299, weights, NULL), SEARCH_INFEASIBLE);
    double bad[] = {NAN, INFINITY, -1};
    for (int i = 0; i < 3; i++) {
        x.domains.loss[1][3] = bad[i];
        ck_assert_int_eq(solve_minimax(&x.table, &x.domains, 1000, CELLS, weights, NULL, &out), SEARCH_INVALID);
    }
    x.domains.loss[1][3] = 0;
    ck_assert_int_eq(solve_minimax(&x.table, &(domain_losses){0, x.domains.loss}, 1000, CELLS, weights, NULL, &out),
                     SEARCH_INVALID);
    for (uint32_t i = 0; i < 3; i++) memset(x.domains.loss[i], 0, 6 * sizeof(double)); /* nothing loses anything */
    ck_assert_int_eq(solve_minimax(&x.table, &x.domains, 1000, CELLS, weights, NULL, &out), SEARCH_OK);
    ck_assert_double_eq(out.loss, 0);
    free(out.choice);
    rig_free(&x);
}
END_TEST

CHECK_MAIN("solve_minimax", solve_minimax__is_near_brute_force_and_never_behind_the_mean,
           solve_minimax__is_near_its_bound_on_a_whole_model, minimax_weights__favour_the_domain_that_loses_most,
           solve_minimax__refuses_what_cannot_be)
