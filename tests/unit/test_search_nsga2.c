/* test_search_nsga2.c - the front of small additive problems, determinism, and what ends a search. */
#include "check_main.h"
#include "nsga2.h"
#include "tables.h"
#include <math.h>

enum { GENES = 7, VALUES = 4, SPACE = 16384 };

/* Bytes and losses by gene and value; how often each plan was asked for. */
typedef struct additive {
    cost_table t;
    uint16_t n_values[GENES];
    uint8_t asked[SPACE];
    uint32_t n, stop_at; /* evaluations; returns 9 at that one, 0: never */
} additive;

static void additive_new(additive *a, uint64_t seed)
{
    random_state r = {seed};
    uint32_t n_options[GENES];
    *a = (additive){0};
    for (int i = 0; i < GENES; i++)
        a->n_values[i] = (uint16_t)(n_options[i] = 2 + (uint32_t)random_below(&r, VALUES - 1));
    a->t = table_new(GENES, n_options);
    for (int i = 0; i < GENES; i++)
        for (uint32_t o = 0; o < n_options[i]; o++) {
            a->t.options[i][o].bytes = 8 * o + random_below(&r, 8);
            a->t.options[i][o].loss = exp2(-(double)o) * (1 + (double)random_below(&r, 1000) / 500);
        }
}

static int evaluate(void *context, const uint16_t *genes, double objective[2])
{
    additive *a = context;
    uint64_t bytes;
    uint32_t plan = 0;
    for (int i = 0; i < GENES; i++) {
        ck_assert_uint_lt(genes[i], a->n_values[i]);
        plan = plan * VALUES + genes[i];
    }
    ck_assert_uint_eq(a->asked[plan]++, 0);
    if (++a->n == a->stop_at) return 9;
    price(&a->t, genes, &bytes, &objective[1]);
    objective[0] = (double)bytes;
    return 0;
}

static nsga2_archive run(additive *a, uint64_t seed, uint32_t evaluations, double limit)
{
    nsga2_archive archive;
    nsga2_problem problem = {GENES, a->n_values, limit, evaluate, a};
    nsga2_options options = {.population = 50, .evaluations = evaluations, .seed = seed};
    memset(a->asked, 0, sizeof a->asked);
    a->n = 0;
    ck_assert_int_eq(nsga2(&problem, &options, &archive), SEARCH_OK);
    return archive;
}

/* The share of the true front's points that the archive has. */
static double found(const additive *a, const nsga2_archive *archive)
{
    front f;
    size_t n = 0;
    ck_assert_int_eq(solve_exact(&a->t, 1 << 20, &f, NULL), SEARCH_OK);
    for (size_t i = 0; i < f.n; i++) {
        size_t k = 0;
        while (k < archive->n &&
               (archive->objective[k][0] != (double)f.points[i].bytes || archive->objective[k][1] > f.points[i].loss))
            k++;
        n += k < archive->n;
    }
    double share = (double)n / (double)f.n;
    front_free(&f);
    return share;
}

START_TEST(nsga2__reaches_the_true_front)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        additive a;
        additive_new(&a, seed);
        nsga2_archive little = run(&a, seed, 200, INFINITY), much = run(&a, seed, 1500, INFINITY);
        uint32_t space = 1;
        for (int i = 0; i < GENES; i++) space *= a.n_values[i];
        if (space > 1500) ck_assert_uint_eq(much.n, 1500);
        ck_assert_double_gt(found(&a, &much), 0.85);
        ck_assert_double_ge(found(&a, &much), found(&a, &little));
        nsga2_free(&little);
        nsga2_free(&much);
        table_free(&a.t);
    }
}
END_TEST

/* Better than as many plans drawn blindly. */
START_TEST(nsga2__beats_chance)
{
    double ours = 0, chance = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        additive a;
        additive_new(&a, 100 + seed);
        nsga2_archive archive = run(&a, seed, 400, INFINITY);
        ours += found(&a, &archive);
        nsga2_free(&archive);
        nsga2_problem problem = {GENES, a.n_values, INFINITY, evaluate, &a};
        nsga2_options options = {.population = 400, .evaluations = 400, .seed = seed};
        memset(a.asked, 0, sizeof a.asked);
        ck_assert_int_eq(nsga2(&problem, &options, &archive), SEARCH_OK);
        chance += found(&a, &archive);
        nsga2_free(&archive);
        table_free(&a.t);
    }
    ck_assert_double_gt(ours, 1.3 * chance);
}
END_TEST

/* With a limit the plans within it are looked for: more of them than without, over ten problems. */
START_TEST(nsga2__keeps_to_a_limit)
{
    size_t within[2] = {0, 0};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        additive a;
        double low = 0, high = 0;
        additive_new(&a, seed);
        for (int i = 0; i < GENES; i++) {
            low += (double)a.t.options[i][0].bytes;
            high += (double)a.t.options[i][a.n_values[i] - 1].bytes;
        }
        double limit = low + 0.4 * (high - low);
        for (int limited = 0; limited < 2; limited++) {
            nsga2_archive archive = run(&a, seed, 200, limited ? limit : INFINITY);
            for (size_t i = 0; i < archive.n; i++) within[limited] += archive.objective[i][0] <= limit;
            nsga2_free(&archive);
        }
        table_free(&a.t);
    }
    ck_assert_uint_gt(4 * within[1], 5 * within[0]);
}
END_TEST

START_TEST(nsga2__is_decided_by_its_seed)
{
    additive a;
    additive_new(&a, 5);
    nsga2_archive x = run(&a, 7, 300, INFINITY), y = run(&a, 7, 300, INFINITY), z = run(&a, 8, 300, INFINITY);
    ck_assert(x.n == 300 && y.n == 300 && z.n == 300);
    ck_assert_mem_eq(x.genes, y.genes, 300 * GENES * sizeof *x.genes);
    ck_assert(memcmp(x.genes, z.genes, 300 * GENES * sizeof *x.genes) != 0);
    nsga2_free(&x);
    nsga2_free(&y);
    nsga2_free(&z);
    table_free(&a.t);
}
END_TEST

START_TEST(nsga2__begins_with_what_it_is_given)
{
    additive a;
    additive_new(&a, 6);
    uint16_t first[3 * GENES] = {0};
    first[2 * GENES] = 1; /* the second is the first again */
    nsga2_archive archive;
    nsga2_problem problem = {GENES, a.n_values, INFINITY, evaluate, &a};
    nsga2_options options = {.population = 4, .evaluations = 30, .seed = 1, .first = first, .n_first = 3};
    ck_assert_int_eq(nsga2(&problem, &options, &archive), SEARCH_OK);
    ck_assert_uint_eq(archive.n, 30);
    ck_assert_mem_eq(archive.genes, first, GENES * sizeof *first);
    ck_assert_mem_eq(archive.genes + GENES, first + 2 * GENES, GENES * sizeof *first);
    nsga2_free(&archive);
    table_free(&a.t);
}
END_TEST

START_TEST(nsga2__ends_when_all_is_evaluated_or_it_is_told_to)
{
    additive a;
    additive_new(&a, 5);
    uint32_t space = 1;
    for (int i = 0; i < GENES; i++) space *= (a.n_values[i] = i < 3 ? 2 : 1);
    nsga2_archive archive = run(&a, 1, 1000, INFINITY);
    ck_assert_uint_eq(archive.n, space);
    ck_assert_int_eq(archive.stopped, 0);
    nsga2_free(&archive);
    a.stop_at = 5;
    archive = run(&a, 1, 1000, INFINITY);
    ck_assert_uint_eq(archive.n, 4);
    ck_assert_int_eq(archive.stopped, 9);
    nsga2_free(&archive);
    a.stop_at = 0;
    archive = run(&a, 1, 0, INFINITY);
    ck_assert_uint_eq(archive.n, 0);
    nsga2_free(&archive);
    a.t.options[0][0].loss = NAN;
    nsga2_problem problem = {GENES, a.n_values, INFINITY, evaluate, &a};
    nsga2_options options = {.population = 8, .evaluations = 100};
    memset(a.asked, 0, sizeof a.asked);
    ck_assert_int_eq(nsga2(&problem, &options, &archive), SEARCH_INVALID);
    ck_assert_ptr_null(archive.genes);
    options.population = 1;
    ck_assert_int_eq(nsga2(&problem, &options, &archive), SEARCH_INVALID);
    table_free(&a.t);
}
END_TEST

CHECK_MAIN("nsga2", nsga2__reaches_the_true_front, nsga2__beats_chance, nsga2__keeps_to_a_limit,
           nsga2__is_decided_by_its_seed, nsga2__begins_with_what_it_is_given,
           nsga2__ends_when_all_is_evaluated_or_it_is_told_to)
