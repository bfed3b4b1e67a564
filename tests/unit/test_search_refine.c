/* test_search_refine.c - refinement on losses that do not add up, against brute force. */
#include "check_main.h"
#include "refine.h"
#include "tables.h"
#include <math.h>

/* What "the model" loses: each item's own loss, which the table misjudges by a factor of its own, and interactions
 * that grow with both partners' losses, some of which cancel. */
typedef struct world {
    cost_table table; /* what is predicted */
    double own[16][8], coupling[16][16];
    uint16_t base[16];
    uint32_t calls, rebases, stop_after; /* 0: never */
    refine_record log[4096];
    uint32_t n_log, told_used;
} world;

static double unit(random_state *r)
{
    return (double)(random_next(r) >> 11) * 0x1p-53;
}

static world *world_new(uint64_t seed, uint32_t n_items, uint32_t n_options, double coupling)
{
    random_state r = {seed};
    uint32_t counts[16];
    world *w = calloc(1, sizeof *w);
    for (uint32_t i = 0; i < n_items; i++) counts[i] = n_options;
    w->table = table_new(n_items, counts);
    for (uint32_t i = 0; i < n_items; i++) {
        double size = exp(3 * unit(&r)), misjudged = exp(3 * unit(&r) - 1.5);
        for (uint32_t o = 0; o < n_options; o++) {
            w->own[i][o] = size * pow(0.25, o) * (1 + 0.3 * unit(&r));
            w->table.options[i][o] = (cost_option){64 * (o + 1) + 16, misjudged * size * pow(0.25, o)};
        }
        for (uint32_t j = 0; j < i; j++) w->coupling[i][j] = coupling * (2 * unit(&r) - 0.7);
    }
    return w;
}

static void world_free(world *w)
{
    table_free(&w->table);
    free(w);
}

static double loss_of(const world *w, const uint16_t *choice)
{
    double loss = 0;
    for (uint32_t i = 0; i < w->table.n_items; i++) {
        loss += w->own[i][choice[i]];
        for (uint32_t j = 0; j < i; j++)
            loss += w->coupling[i][j] * sqrt(w->own[i][choice[i]] * w->own[j][choice[j]]);
    }
    return loss;
}

static uint64_t bytes_of(const world *w, const uint16_t *choice)
{
    uint64_t bytes;
    double loss;
    price(&w->table, choice, &bytes, &loss);
    return bytes;
}

static int rebase(void *context, const uint16_t *choice)
{
    world *w = context;
    memcpy(w->base, choice, w->table.n_items * sizeof *choice);
    w->rebases++;
    return 0;
}

static int stop(world *w)
{
    return w->stop_after && w->calls == w->stop_after ? 7 : 0;
}

static int plan(void *context, const uint16_t *choice, double *loss, double *deviation)
{
    world *w = context;
    if (stop(w)) return 7;
    *loss = loss_of(w, choice);
    *deviation = 0.1;
    w->calls++;
    return 0;
}

static int marginal(void *context, const uint16_t *base, uint32_t item, uint16_t option, double *delta,
                    double *deviation)
{
    world *w = context;
    uint16_t changed[16];
    if (stop(w)) return 7;
    ck_assert_mem_eq(base, w->base, w->table.n_items * sizeof *base);
    memcpy(changed, base, w->table.n_items * sizeof *base);
    changed[item] = option;
    *delta = loss_of(w, changed) - loss_of(w, base);
    *deviation = 0.1;
    w->calls++;
    return 0;
}

static int record(void *context, const refine_record *r, uint32_t used)
{
    world *w = context;
    w->log[w->n_log++] = *r;
    w->told_used = used;
    return 0;
}

static refine_calls calls_of(world *w)
{
    return (refine_calls){rebase, marginal, plan, record, w};
}

/* The additive optimum: where a search without measurements ends. */
static void additive(const world *w, uint64_t budget, uint16_t *choice)
{
    front f;
    ck_assert_int_eq(solve_exact(&w->table, 1 << 20, &f, NULL), SEARCH_OK);
    memcpy(choice, front_at_bytes(&f, budget)->choice, w->table.n_items * sizeof *choice);
    front_free(&f);
}

static double best_possible(const world *w, uint64_t budget)
{
    uint16_t choice[16] = {0};
    double best = INFINITY;
    do {
        if (bytes_of(w, choice) <= budget) best = fmin(best, loss_of(w, choice));
    } while (next_plan(&w->table, choice));
    return best;
}

static refine_result refine_world(world *w, uint64_t budget, uint32_t evaluations, const refine_record *log,
                                  size_t n_log)
{
    uint16_t start[16];
    refine_result r;
    refine_calls calls = calls_of(w);
    refine_options options = {
        .budget = budget, .evaluations = evaluations, .max_cells = 1 << 20, .log = log, .n_log = n_log};
    additive(w, budget, start);
    ck_assert_int_eq(refine(&w->table, start, &options, &calls, &r), SEARCH_OK);
    ck_assert_uint_le(bytes_of(w, r.choice), budget);
    ck_assert_uint_eq(bytes_of(w, r.choice), r.bytes);
    ck_assert_uint_le(r.used, evaluations);
    if (r.used) {
        ck_assert_double_eq(r.loss, loss_of(w, r.choice));
        ck_assert_double_eq(r.start_loss, loss_of(w, start));
        ck_assert_double_le(r.loss, r.start_loss);
    }
    return r;
}

START_TEST(refine__comes_near_the_best_plan_of_all)
{
    uint32_t reached = 0, near = 0, worlds = 60;
    double lost = 0, possible = 0;
    for (uint64_t seed = 1; seed <= worlds; seed++) {
        world *w = world_new(seed, 6, 5, 1);
        uint64_t budget = 6 * (64 * 3 + 16);
        refine_result r = refine_world(w, budget, 400, NULL, 0);
        double best = best_possible(w, budget);
        reached += r.loss <= best * (1 + 1e-12);
        near += r.loss <= 1.1 * best;
        lost += r.start_loss - r.loss;
        possible += r.start_loss - best;
        free(r.choice);
        world_free(w);
    }
    ck_assert_uint_ge(reached, worlds * 9 / 10);
    ck_assert_uint_eq(near, worlds);
    ck_assert_double_ge(lost, 0.99 * possible);
}
END_TEST

START_TEST(refine__of_additive_losses_is_exact_after_the_marginals)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        world *w = world_new(seed, 6, 3, 0); /* all options within reach of the marginals and two steps */
        uint64_t budget = 6 * (64 * 2 + 16);
        refine_result r = refine_world(w, budget, 300, NULL, 0);
        ck_assert_double_le(r.loss, best_possible(w, budget) * 1.02);
        free(r.choice);
        world_free(w);
    }
}
END_TEST

START_TEST(refine__gains_with_every_handful_of_evaluations)
{
    double total[4] = {0};
    const uint32_t evaluations[4] = {1, 6, 18, 48};
    for (uint64_t seed = 1; seed <= 20; seed++) {
        world *w = world_new(seed, 14, 6, 0.2);
        for (int i = 0; i < 4; i++) {
            w->calls = 0;
            refine_result r = refine_world(w, 14 * (64 * 3 + 16), evaluations[i], NULL, 0);
            ck_assert_uint_eq(w->calls, r.asked);
            ck_assert_uint_eq(w->told_used, r.used);
            total[i] += log(r.loss);
            free(r.choice);
        }
        world_free(w);
    }
    for (int i = 1; i < 4; i++) ck_assert_double_lt(total[i], total[i - 1] - 20 * 0.02);
}
END_TEST

START_TEST(refine__keeps_any_byte_budget)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        random_state r = {seed};
        world *w = world_new(seed, 5, 6, 0.5);
        for (uint32_t i = 0; i < 5; i++)
            for (uint32_t o = 0; o < 6; o++) w->table.options[i][o].bytes = 16 * (1 + random_below(&r, 30));
        uint64_t least = 0;
        for (uint32_t i = 0; i < 5; i++) {
            uint64_t cheapest = UINT64_MAX;
            for (uint32_t o = 0; o < 6; o++)
                if (w->table.options[i][o].bytes < cheapest) cheapest = w->table.options[i][o].bytes;
            least += cheapest;
        }
        refine_result result = refine_world(w, least + random_below(&r, 1200), 60, NULL, 0);
        free(result.choice);
        world_free(w);
    }
}
END_TEST

START_TEST(refine__begins_at_any_plan_even_a_dominated_one)
{
    world *w = world_new(3, 6, 5, 0.5);
    uint64_t budget = 6 * (64 * 5 + 16);
    uint16_t start[6] = {4, 0, 2, 2, 1, 4};
    refine_calls calls = calls_of(w);
    refine_options options = {.budget = budget, .evaluations = 200, .max_cells = 1 << 20};
    refine_result r;
    w->table.options[2][2] = (cost_option){64 * 4 + 16, 50}; /* fewer bytes lose less */
    ck_assert_int_eq(refine(&w->table, start, &options, &calls, &r), SEARCH_OK);
    ck_assert_double_lt(r.loss, 0.2 * r.start_loss);
    free(r.choice);
    world_free(w);
}
END_TEST

static void assert_same_result(const refine_result *a, const refine_result *b, uint32_t n_items)
{
    ck_assert_mem_eq(a->choice, b->choice, n_items * sizeof *a->choice);
    ck_assert_double_eq(a->loss, b->loss);
    ck_assert_uint_eq(a->used, b->used);
    ck_assert_uint_eq(a->n_plans, b->n_plans);
    ck_assert_uint_eq(a->n_accepted, b->n_accepted);
}

START_TEST(refine__replays_a_log_without_asking)
{
    world *w = world_new(5, 10, 5, 0.4), *again = world_new(5, 10, 5, 0.4);
    uint64_t budget = 10 * (64 * 3 + 16);
    refine_result first = refine_world(w, budget, 90, NULL, 0);
    ck_assert_uint_eq(w->n_log, first.used);
    ck_assert_uint_gt(first.n_accepted, 0);
    refine_result second = refine_world(again, budget, 90, w->log, w->n_log);
    assert_same_result(&first, &second, 10);
    ck_assert_uint_eq(second.asked, 0);
    ck_assert_uint_eq(again->calls + again->rebases + again->n_log, 0);
    free(first.choice);
    free(second.choice);
    world_free(w);
    world_free(again);
}
END_TEST

START_TEST(refine__stopped_anywhere_goes_on_to_the_same_plan)
{
    uint64_t budget = 8 * (64 * 3 + 16);
    world *whole = world_new(9, 8, 5, 0.4);
    refine_result expected = refine_world(whole, budget, 70, NULL, 0);
    for (uint32_t at = 1; at < expected.used; at += 7) {
        world *w = world_new(9, 8, 5, 0.4);
        w->stop_after = at;
        refine_result part = refine_world(w, budget, 70, NULL, 0);
        ck_assert_int_eq(part.stopped, 7);
        ck_assert_uint_eq(part.used, at);
        w->stop_after = 0;
        refine_result rest = refine_world(w, budget, 70, w->log, w->n_log);
        assert_same_result(&expected, &rest, 8);
        ck_assert_uint_eq(rest.asked, expected.used - at);
        ck_assert_int_eq(rest.stopped, 0);
        free(part.choice);
        free(rest.choice);
        world_free(w);
    }
    free(expected.choice);
    world_free(whole);
}
END_TEST

START_TEST(refine__passes_over_the_log_of_another_table)
{
    world *other = world_new(6, 8, 5, 0.4), *w = world_new(7, 8, 5, 0.4), *alone = world_new(7, 8, 5, 0.4);
    uint64_t budget = 8 * (64 * 3 + 16);
    refine_result foreign = refine_world(other, budget, 50, NULL, 0);
    refine_result r = refine_world(w, budget, 50, other->log, other->n_log);
    refine_result expected = refine_world(alone, budget, 50, NULL, 0);
    assert_same_result(&expected, &r, 8);
    ck_assert_uint_eq(r.asked, r.used);
    free(foreign.choice);
    free(r.choice);
    free(expected.choice);
    world_free(other);
    world_free(w);
    world_free(alone);
}
END_TEST

static int not_a_number(void *context, const uint16_t *choice, double *loss, double *deviation)
{
    (void)context, (void)choice;
    *loss = NAN;
    *deviation = 0;
    return 0;
}

START_TEST(refine__refuses_what_makes_no_sense)
{
    world *w = world_new(2, 4, 3, 0.1);
    uint16_t start[4] = {0, 0, 0, 0}, beyond[4] = {0, 3, 0, 0};
    refine_calls calls = calls_of(w);
    refine_options options = {.budget = 1000, .evaluations = 10, .max_cells = 1 << 20};
    refine_result r;
    ck_assert_int_eq(refine(&w->table, beyond, &options, &calls, &r), SEARCH_INVALID);
    options.budget = 4 * 80 - 1;
    ck_assert_int_eq(refine(&w->table, start, &options, &calls, &r), SEARCH_INFEASIBLE);
    ck_assert_ptr_null(r.choice);
    options.budget++;
    calls.plan = not_a_number;
    ck_assert_int_eq(refine(&w->table, start, &options, &calls, &r), SEARCH_INVALID);
    w->table.options[1][1].loss = -1;
    ck_assert_int_eq(refine(&w->table, start, &options, &calls, &r), SEARCH_INVALID);
    world_free(w);
}
END_TEST

START_TEST(refine__without_evaluations_returns_the_start)
{
    world *w = world_new(2, 4, 3, 0.1);
    uint16_t start[4];
    additive(w, 600, start);
    refine_result r = refine_world(w, 600, 0, NULL, 0);
    ck_assert_mem_eq(r.choice, start, sizeof start);
    ck_assert(isnan(r.loss));
    ck_assert_uint_eq(w->calls, 0);
    free(r.choice);
    world_free(w);
}
END_TEST

CHECK_MAIN("search refine", refine__comes_near_the_best_plan_of_all,
           refine__of_additive_losses_is_exact_after_the_marginals, refine__gains_with_every_handful_of_evaluations,
           refine__keeps_any_byte_budget, refine__begins_at_any_plan_even_a_dominated_one,
           refine__replays_a_log_without_asking, refine__stopped_anywhere_goes_on_to_the_same_plan,
           refine__passes_over_the_log_of_another_table, refine__refuses_what_makes_no_sense,
           refine__without_evaluations_returns_the_start)
