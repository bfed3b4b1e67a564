/* test_search_kvtuner.c - groups of layers by hand, the search against brute force, and continuing a search. */
#include "check_main.h"
#include "kvtuner.h"
#include "tables.h"
#include <math.h>

enum { L = 8, P = 9 };

/* Keys and values of 8, 4 and 2 bits: pair 3 k + v. */
static const uint64_t bytes[P] = {16, 12, 10, 12, 8, 6, 10, 6, 4};

/* Mean e_o of Llama-3.1-8B per token as KVTuner's paper has it. */
static const double llama[P] = {.014, .100, .401, .168, .207, .453, .882, .892, .962};

static void fill(double *error, const double *row)
{
    memcpy(error, row, P * sizeof *error);
}

START_TEST(kvtuner_group__keeps_the_pairs_of_the_paper)
{
    double error[P];
    fill(error, llama);
    kvtuner_layers in = {1, P, bytes, error};
    kvtuner_groups g;
    ck_assert_int_eq(kvtuner_group(&in, KVTUNER_EPS, KVTUNER_MIN_SAMPLES, &g), SEARCH_OK);
    const uint16_t want[] = {8, 5, 4, 1, 0}; /* KV2 K4V2 KV4 K8V4 KV8 */
    ck_assert(g.n == 1 && g.n_noise == 1 && g.n_pairs[0] == 5);
    ck_assert_mem_eq(g.pairs, want, sizeof want);
    kvtuner_groups_free(&g);
}
END_TEST

/* Layers 0 and 3 have other candidates, as K4V8 is better there; of the others, 2 and 5 are one cluster, 1, 4 and 7
 * another, and 6 is like none. */
START_TEST(kvtuner_group__clusters_layers_of_equal_pairs)
{
    double error[L * P];
    for (int l = 0; l < L; l++) {
        fill(error + l * P, llama);
        if (l == 0 || l == 3) error[l * P + 3] = .09;
        if (l == 1 || l == 4 || l == 7) error[l * P + 4] = .30 + .01 * l;
        if (l == 6) error[l * P + 8] = .8;
    }
    kvtuner_layers in = {L, P, bytes, error};
    kvtuner_groups g;
    ck_assert_int_eq(kvtuner_group(&in, KVTUNER_EPS, KVTUNER_MIN_SAMPLES, &g), SEARCH_OK);
    const uint32_t want[L] = {0, 1, 2, 0, 1, 2, 3, 1};
    ck_assert_uint_eq(g.n, 4);
    ck_assert_uint_eq(g.n_noise, 1);
    ck_assert_mem_eq(g.of, want, sizeof want);
    ck_assert(g.n_pairs[0] == 5 && g.pairs[3] == 3 && g.n_pairs[1] == 5 && g.pairs[P + 3] == 1);
    kvtuner_groups_free(&g);
}
END_TEST

START_TEST(kvtuner_group__refuses_what_is_no_number)
{
    double error[P];
    kvtuner_layers in = {1, P, bytes, error};
    kvtuner_groups g;
    fill(error, llama);
    error[4] = NAN;
    ck_assert_int_eq(kvtuner_group(&in, KVTUNER_EPS, KVTUNER_MIN_SAMPLES, &g), SEARCH_INVALID);
    ck_assert_ptr_null(g.of);
    in.n_layers = 0;
    ck_assert_int_eq(kvtuner_group(&in, KVTUNER_EPS, KVTUNER_MIN_SAMPLES, &g), SEARCH_INVALID);
}
END_TEST

/* ---- the search ---- */

typedef struct model {
    double error[L * P], loss[L * P];
    kvtuner_layers in;
    kvtuner_groups groups;
    uint32_t asked, stop_at;
    kvtuner_record log[4096];
    size_t n_log;
} model;

/* Layers in three clusters and one apart; losses follow the errors, with a scale by layer. */
static void model_new(model *m, uint64_t seed)
{
    random_state r = {seed};
    memset(m, 0, sizeof *m);
    for (int l = 0; l < L; l++) {
        double scale = exp2((double)random_below(&r, 500) / 100);
        fill(m->error + l * P, llama);
        m->error[l * P + 4] -= l == 7 ? .1 : .06 * (l % 3) * (l % 3 == 2 ? 2 : 1) * .5;
        for (int p = 0; p < P; p++) m->loss[l * P + p] = scale * m->error[l * P + p];
    }
    m->in = (kvtuner_layers){L, P, bytes, m->error};
    ck_assert_int_eq(kvtuner_group(&m->in, 0.01, 2, &m->groups), SEARCH_OK);
}

static int evaluate(void *context, const uint16_t *choice, double *loss)
{
    model *m = context;
    if (++m->asked == m->stop_at) return 3;
    *loss = 0;
    for (int l = 0; l < L; l++) *loss += m->loss[l * P + choice[l]];
    m->log[m->n_log++] = (kvtuner_record){kvtuner_plan(choice, L), *loss};
    return 0;
}

static kvtuner_result search(model *m, uint32_t evaluations, size_t n_log)
{
    kvtuner_result r;
    kvtuner_options options = {.budget = UINT64_MAX,
                               .population = 20,
                               .evaluations = evaluations,
                               .seed = 5,
                               .log = m->log,
                               .n_log = n_log,
                               .evaluate = evaluate,
                               .context = m};
    m->asked = 0;
    m->n_log = n_log;
    ck_assert_int_eq(kvtuner_search(&m->in, &m->groups, &options, &r), SEARCH_OK);
    return r;
}

/* The front over groups: a table whose items are groups. */
static front true_front(const model *m)
{
    uint32_t n_options[L];
    front f;
    for (uint32_t g = 0; g < m->groups.n; g++) n_options[g] = m->groups.n_pairs[g];
    cost_table t = table_new(m->groups.n, n_options);
    for (uint32_t l = 0; l < L; l++)
        for (uint32_t o = 0; o < n_options[m->groups.of[l]]; o++) {
            uint16_t pair = m->groups.pairs[m->groups.of[l] * P + o];
            t.options[m->groups.of[l]][o].bytes += bytes[pair];
            t.options[m->groups.of[l]][o].loss += m->loss[l * P + pair];
        }
    ck_assert_int_eq(solve_exact(&t, 1 << 20, &f, NULL), SEARCH_OK);
    table_free(&t);
    return f;
}

START_TEST(kvtuner_search__reaches_the_front_of_its_groups)
{
    for (uint64_t seed = 1; seed <= 5; seed++) {
        model m;
        model_new(&m, seed);
        ck_assert_uint_ge(m.groups.n, 4);
        kvtuner_result r = search(&m, 400, 0);
        front f = true_front(&m);
        ck_assert(r.used == r.asked && r.used <= 400);
        for (size_t i = 0; i < r.front.n; i++) {
            uint64_t sum = 0;
            double loss = 0;
            for (uint32_t l = 0; l < L; l++) {
                sum += bytes[r.front.points[i].choice[l]];
                loss += m.loss[l * P + r.front.points[i].choice[l]];
                for (uint32_t k = 0; k < l; k++)
                    ck_assert(m.groups.of[k] != m.groups.of[l] ||
                              r.front.points[i].choice[k] == r.front.points[i].choice[l]);
            }
            ck_assert(sum == r.front.points[i].bytes && loss == r.front.points[i].loss);
        }
        size_t reached = 0;
        for (size_t i = 0; i < f.n; i++) {
            const front_point *p = front_at_bytes(&r.front, f.points[i].bytes);
            ck_assert_ptr_nonnull(p);
            ck_assert_double_ge(p->loss, f.points[i].loss * (1 - 1e-12));
            reached += p->loss <= f.points[i].loss * (1 + 1e-12);
        }
        ck_assert_double_gt((double)reached, 0.9 * (double)f.n);
        front_free(&f);
        front_free(&r.front);
        kvtuner_groups_free(&m.groups);
    }
}
END_TEST

/* Cut short after any number of plans, and continued from the log: the same front, and nothing asked twice. */
START_TEST(kvtuner_search__goes_on_where_it_was)
{
    model m;
    model_new(&m, 2);
    kvtuner_result whole = search(&m, 120, 0);
    for (uint32_t stop = 1; stop < 120; stop += 17) {
        m.stop_at = stop;
        kvtuner_result part = search(&m, 120, 0);
        ck_assert_int_eq(part.stopped, 3);
        ck_assert_uint_eq(part.used, stop - 1);
        front_free(&part.front);
        m.stop_at = 0;
        kvtuner_result rest = search(&m, 120, m.n_log);
        ck_assert_int_eq(rest.stopped, 0);
        ck_assert_uint_eq(rest.used, whole.used);
        ck_assert_uint_eq(rest.asked, whole.used - (stop - 1));
        ck_assert_uint_eq(rest.front.n, whole.front.n);
        ck_assert_mem_eq(rest.front.choices, whole.front.choices, whole.front.n * L * sizeof(uint16_t));
        front_free(&rest.front);
    }
    front_free(&whole.front);
    kvtuner_groups_free(&m.groups);
}
END_TEST

START_TEST(kvtuner_search__has_a_plan_for_the_least_budget)
{
    model m;
    model_new(&m, 3);
    kvtuner_result r = search(&m, 1, 0);
    ck_assert(r.front.n == 1 && r.front.points[0].bytes == L * bytes[P - 1]);
    front_free(&r.front);
    kvtuner_options none = {.budget = UINT64_MAX, .evaluate = evaluate, .context = &m};
    ck_assert_int_eq(kvtuner_search(&m.in, &m.groups, &none, &r), SEARCH_INFEASIBLE);
    ck_assert_ptr_null(r.front.points);
    kvtuner_groups_free(&m.groups);
}
END_TEST

CHECK_MAIN("kvtuner", kvtuner_group__keeps_the_pairs_of_the_paper, kvtuner_group__clusters_layers_of_equal_pairs,
           kvtuner_group__refuses_what_is_no_number, kvtuner_search__reaches_the_front_of_its_groups,
           kvtuner_search__goes_on_where_it_was, kvtuner_search__has_a_plan_for_the_least_budget)
