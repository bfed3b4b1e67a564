/* test_search_constrain.c - fronts under side constraints against brute force, and what is promised about them. */
#include "check_main.h"
#include "constrain.h"
#include "tables.h"
#include <math.h>
#include <stdio.h>

#define CELLS ((size_t)1 << 22)
enum { MAX_OPTIONS = 8 };

/* Layers that offer the same options on each side: bytes follow from pages, losses do not. */
typedef struct layered {
    cost_table t;
    constraints c;
    uint64_t page[2][MAX_OPTIONS], constants[2][MAX_OPTIONS];
} layered;

static void layered_new(layered *x, random_state *r, uint32_t n_layers, uint32_t options)
{
    uint32_t n_options[64], n[2] = {1 + (uint32_t)random_below(r, options), 1 + (uint32_t)random_below(r, options)};
    for (uint32_t i = 0; i < 2 * n_layers; i++) n_options[i] = n[i % 2];
    *x = (layered){.t = table_new(2 * n_layers, n_options), .c.max_constants = UINT64_MAX, .c.page_copies = 3};
    for (int side = 0; side < 2; side++) {
        x->c.page[side] = x->page[side];
        x->c.constants[side] = x->constants[side];
        for (uint32_t o = 0; o < n[side]; o++) {
            x->page[side][o] = 16 * (1 + random_below(r, 8));
            x->constants[side][o] = random_below(r, 2) ? 0 : 64 * random_below(r, 6);
        }
    }
    for (uint32_t i = 0; i < x->t.n_items; i++) {
        double scale = exp2((double)random_below(r, 700) / 100);
        for (uint32_t o = 0; o < n[i % 2]; o++) {
            double noise = 0.5 + (double)random_below(r, 1000) / 1000, extra = (double)x->constants[i % 2][o] / 128;
            x->t.options[i][o].bytes = 100 + 3 * x->page[i % 2][o];
            x->t.options[i][o].loss = scale * noise * exp2(-(double)x->page[i % 2][o] / 32 - extra);
        }
    }
}

static uint64_t constants_of(const layered *x, const uint16_t *choice)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < x->t.n_items; i++) sum += x->constants[i % 2][choice[i]];
    return sum;
}

static uint32_t pairs_of(const layered *x, const uint16_t *choice)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < x->t.n_items; i += 2) {
        uint32_t j = 0;
        while (choice[j] != choice[i] || choice[j + 1] != choice[i + 1]) j += 2;
        n += i == j;
    }
    return n;
}

static uint64_t largest_page(const layered *x, const uint16_t *choice)
{
    uint64_t largest = 0;
    for (uint32_t i = 0; i < x->t.n_items; i += 2) {
        uint64_t page = x->page[0][choice[i]] + x->page[1][choice[i + 1]];
        if (page > largest) largest = page;
    }
    return largest;
}

/* Bytes with padding; UINT64_MAX if the plan breaks a constraint. */
static uint64_t allowed_bytes(const layered *x, const uint16_t *choice)
{
    uint64_t bytes, page = largest_page(x, choice);
    double loss;
    if (constants_of(x, choice) > x->c.max_constants) return UINT64_MAX;
    if (x->c.max_pairs && pairs_of(x, choice) > x->c.max_pairs) return UINT64_MAX;
    price(&x->t, choice, &bytes, &loss);
    for (uint32_t i = 0; x->c.equal_pages && i < x->t.n_items; i += 2)
        bytes += 3 * (page - x->page[0][choice[i]] - x->page[1][choice[i + 1]]);
    return bytes;
}

/* Each point keeps the constraints and is what it says it is; the sequences are strict. */
static void check_points(const layered *x, const front *f)
{
    ck_assert_uint_gt(f->n, 0);
    for (size_t i = 0; i < f->n; i++) {
        uint64_t bytes;
        double loss;
        price(&x->t, f->points[i].choice, &bytes, &loss);
        ck_assert_uint_eq(allowed_bytes(x, f->points[i].choice), f->points[i].bytes);
        ck_assert(loss == f->points[i].loss);
        if (i) ck_assert(f->points[i].bytes > f->points[i - 1].bytes && loss < f->points[i - 1].loss);
    }
}

/* How much more the front loses than the best plan, over all budgets at which there is one: as ratios. */
typedef struct gaps {
    double sum, worst;
    size_t n, optimal, infeasible; /* budgets; at the optimum; with a plan, but none on the front */
} gaps;

static void compare(gaps *g, const layered *x, const front *f)
{
    enum { BUDGETS = 4096 };
    static double best[BUDGETS];
    uint16_t choice[16] = {0};
    for (int i = 0; i < BUDGETS; i++) best[i] = INFINITY;
    do {
        uint64_t bytes = allowed_bytes(x, choice), plain;
        double loss;
        if (bytes == UINT64_MAX) continue;
        price(&x->t, choice, &plain, &loss);
        ck_assert_uint_lt(bytes, 4 * BUDGETS);
        best[bytes / 4] = fmin(best[bytes / 4], loss);
    } while (next_plan(&x->t, choice));
    for (int i = 0; i < BUDGETS; i++) {
        if (i) best[i] = fmin(best[i], best[i - 1]);
        if (best[i] == INFINITY || (i && best[i] == best[i - 1])) continue;
        const front_point *p = front_at_bytes(f, 4 * (uint64_t)i + 3);
        g->n++;
        if (!p) {
            g->infeasible++;
            continue;
        }
        double ratio = p->loss / best[i];
        ck_assert(ratio > 1 - 1e-9);
        g->optimal += ratio < 1 + 1e-9;
        g->sum += ratio - 1;
        g->worst = fmax(g->worst, ratio - 1);
    }
}

static void report(const char *what, const gaps *g)
{
    printf("%s: %zu budgets, %.1f %% at the optimum, mean gap %.3f %%, worst %.1f %%, %zu without a plan\n", what,
           g->n, 100.0 * (double)g->optimal / (double)g->n, 100 * g->sum / (double)g->n, 100 * g->worst,
           g->infeasible);
}

/* Random layers, with what `set` makes of their constraints, against brute force. */
static gaps try_all(const char *what, uint64_t seed, int rounds, void (*set)(layered *, random_state *))
{
    random_state r = {seed};
    gaps g = {0};
    for (int i = 0; i < rounds; i++) {
        layered x;
        front f;
        layered_new(&x, &r, 1 + (uint32_t)random_below(&r, 4), 4);
        set(&x, &r);
        search_status status = solve_constrained(&x.t, &x.c, CELLS, &f);
        ck_assert_int_eq(status, SEARCH_OK);
        check_points(&x, &f);
        compare(&g, &x, &f);
        front_free(&f);
        table_free(&x.t);
    }
    report(what, &g);
    return g;
}

static void limit_pairs(layered *x, random_state *r)
{
    x->c.max_pairs = 1 + (uint32_t)random_below(r, 3);
}

static void one_pair(layered *x, random_state *r)
{
    (void)r;
    x->c.max_pairs = 1;
}

static void equal_pages(layered *x, random_state *r)
{
    (void)r;
    x->c.equal_pages = true;
}

static void limit_constants(layered *x, random_state *r)
{
    x->c.max_constants = least_constants(&x->t, &x->c) + 64 * random_below(r, 20);
}

static void all_of_them(layered *x, random_state *r)
{
    limit_pairs(x, r);
    limit_constants(x, r);
    x->c.equal_pages = random_below(r, 2);
}

START_TEST(solve_constrained__without_constraints_is_the_exact_front)
{
    random_state r = {21};
    for (int i = 0; i < 200; i++) {
        layered x;
        front f, exact;
        layered_new(&x, &r, 4, 5);
        ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_OK);
        ck_assert_int_eq(solve_exact(&x.t, CELLS, &exact, NULL), SEARCH_OK);
        ck_assert_uint_eq(f.n, exact.n);
        for (size_t k = 0; k < f.n; k++)
            ck_assert(f.points[k].bytes == exact.points[k].bytes && f.points[k].loss == exact.points[k].loss);
        front_free(&f);
        front_free(&exact);
        table_free(&x.t);
    }
}
END_TEST

START_TEST(max_pairs__is_near_the_optimum)
{
    gaps g = try_all("max_pairs", 22, 400, limit_pairs);
    ck_assert_uint_eq(g.infeasible, 0);
    ck_assert_double_lt(g.sum / (double)g.n, 0.02);
}
END_TEST

START_TEST(max_pairs__of_one_is_exact)
{
    gaps g = try_all("one pair", 23, 400, one_pair);
    ck_assert_uint_eq(g.optimal, g.n);
}
END_TEST

START_TEST(equal_pages__is_exact)
{
    gaps g = try_all("equal_pages", 24, 400, equal_pages);
    ck_assert_uint_eq(g.optimal, g.n);
}
END_TEST

START_TEST(max_constants__is_near_the_optimum)
{
    gaps g = try_all("max_constants", 25, 400, limit_constants);
    ck_assert_double_lt(g.sum / (double)g.n, 0.02);
}
END_TEST

START_TEST(constraints__together_are_kept)
{
    gaps g = try_all("all", 26, 400, all_of_them);
    ck_assert_double_lt(g.sum / (double)g.n, 0.05);
}
END_TEST

START_TEST(solve_constrained__says_what_is_impossible)
{
    random_state r = {27};
    layered x;
    front f;
    layered_new(&x, &r, 3, 4);
    for (int side = 0; side < 2; side++)
        for (int o = 0; o < MAX_OPTIONS; o++) x.constants[side][o] = 64;
    ck_assert_uint_eq(least_constants(&x.t, &x.c), 6 * 64);
    x.c.max_constants = 6 * 64;
    ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_OK);
    front_free(&f);
    x.c.max_constants--;
    for (uint32_t pairs = 0; pairs < 3; pairs++) {
        x.c.max_pairs = pairs;
        x.c.equal_pages = pairs == 2;
        ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_INFEASIBLE);
        ck_assert(!f.points && !f.choices);
    }
    x.c.max_constants = UINT64_MAX;
    x.t.n_options[3]++;
    x.t.options[3] = realloc(x.t.options[3], x.t.n_options[3] * sizeof **x.t.options);
    x.t.options[3][x.t.n_options[3] - 1] = (cost_option){0, 0};
    ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_INVALID);
    x.t.n_options[3]--;
    x.t.n_items--;
    ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_INVALID);
    x.t.n_items++;
    table_free(&x.t);
}
END_TEST

/* 24 layers: no front is better than the exact one, all budgets that the exact front of one pair meets are met no
 * worse, a pair for every layer is no constraint, and the same call gives the same bytes. */
START_TEST(max_pairs__of_a_whole_model)
{
    random_state r = {28};
    layered x;
    front exact, one, f, again;
    layered_new(&x, &r, 24, 8);
    while (x.t.n_options[0] < 6 || x.t.n_options[1] < 6) {
        table_free(&x.t);
        layered_new(&x, &r, 24, 8);
    }
    ck_assert_int_eq(solve_exact(&x.t, CELLS, &exact, NULL), SEARCH_OK);
    x.c.max_pairs = 1;
    ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &one), SEARCH_OK);
    for (uint32_t pairs = 2; pairs < 26; pairs += 2) {
        x.c.max_pairs = pairs;
        ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &f), SEARCH_OK);
        check_points(&x, &f);
        for (size_t i = 0; i < f.n; i++)
            ck_assert(front_at_bytes(&exact, f.points[i].bytes)->loss <= f.points[i].loss);
        for (size_t i = 0; i < one.n; i++)
            ck_assert(front_at_bytes(&f, one.points[i].bytes)->loss <= one.points[i].loss);
        ck_assert_int_eq(solve_constrained(&x.t, &x.c, CELLS, &again), SEARCH_OK);
        ck_assert(again.n == f.n && !memcmp(f.choices, again.choices, f.n * x.t.n_items * sizeof *f.choices));
        if (pairs == 24) ck_assert(f.n == exact.n && f.points[f.n / 2].loss == exact.points[f.n / 2].loss);
        front_free(&again);
        front_free(&f);
    }
    front_free(&one);
    front_free(&exact);
    table_free(&x.t);
}
END_TEST

CHECK_MAIN("constrain", solve_constrained__without_constraints_is_the_exact_front, max_pairs__is_near_the_optimum,
           max_pairs__of_one_is_exact, equal_pages__is_exact, max_constants__is_near_the_optimum,
           constraints__together_are_kept, solve_constrained__says_what_is_impossible, max_pairs__of_a_whole_model)
