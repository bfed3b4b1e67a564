/* test_cli_objective.c - --objective max, on a profile made up here: three layers, three candidates a side, and two
 * texts of which each minds another layer most. */
#include "check_main.h"
#include "console.h"
#include "solution.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { L = 3, K = 3, H = 2, D = 16, TEXTS = 2, CONTEXT = 4096 };

static const char *const key_specs[K] = {"int8.ch64", "int4.ch32", "int2.ch32"};
static const char *const value_specs[K] = {"int8.tok16", "int4.tok16", "int2.tok16"};
static const double rows[TEXTS] = {90, 10};
static kvc_error err;
static int notes;
static char last_note[512];

void console_note(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(last_note, sizeof last_note, format, list);
    va_end(list);
    notes++;
}

void console_detail(const char *format, ...)
{
    ck_assert_int_ne(*format, 0);
}

static kvc_codec codec(const char *spec)
{
    kvc_codec c;
    ck_assert_int_eq(kvc_codec_parse(&c, spec, &err), KVC_OK);
    return c;
}

/* Text 0 minds layer 0, text 1 layer 2, and text 1 everything twice as much. */
static double loss_of(uint32_t text, uint32_t layer, uint32_t candidate)
{
    return 1e-5 * pow(8, candidate) * (layer == 2 * text ? 12 : 1) * (1 + text);
}

static profile *sample(void)
{
    const kvc_model_info model = {
        .name = "tiny", .n_layers = L, .n_query_heads = 2 * H, .n_kv_heads = H, .head_dim = D};
    const kvc_token_policy tokens = {4, 64, 64};
    const kvc_codec keys[K] = {codec(key_specs[0]), codec(key_specs[1]), codec(key_specs[2])};
    const kvc_codec values[K] = {codec(value_specs[0]), codec(value_specs[1]), codec(value_specs[2])};
    profile *p;
    ck_assert_int_eq(profile_new(&p, &model, &tokens, keys, K, values, K, &err), KVC_OK);
    ck_assert_int_eq(profile_set_domains(p, (const char *[]){"prose.txt", "code.txt"}, TEXTS, &err), KVC_OK);
    for (uint32_t d = 0; d < TEXTS; d++) {
        p->domain_rows[d] = rows[d];
        for (uint32_t i = 0; i < L * K; i++) {
            double loss = loss_of(d, i / K, i % K);
            p->domain_key_loss[d * L * K + i] = p->domain_value_loss[d * L * K + i] = loss;
            p->key_loss[i] += loss * rows[d] / 100;
            p->value_loss[i] += loss * rows[d] / 100;
        }
    }
    return p;
}

/* KL is `factor` times the loss, in each text. */
static void add_anchor(profile *p, uint16_t candidate, double factor0, double factor1)
{
    const uint16_t choice[L] = {candidate, candidate, candidate};
    const double factor[TEXTS] = {factor0, factor1};
    ck_assert_int_eq(profile_add_anchor(p, choice, choice, &err), KVC_OK);
    profile_anchor *a = &p->anchors[p->n_anchors - 1];
    for (uint32_t d = 0; d < TEXTS; d++) {
        double loss = 0;
        for (uint32_t l = 0; l < L; l++) loss += 2 * loss_of(d, l, candidate);
        p->anchor_domain_kl[(p->n_anchors - 1) * TEXTS + d] = factor[d] * loss;
        a->kl += factor[d] * loss * rows[d] / 100;
    }
    a->ppl_ref = a->ppl = 10;
    a->n_tokens = 1000;
}

static settings asked(const char *objective, double bits, double max_loss)
{
    return (settings){
        .method = "exact", .objective = objective, .bits = bits, .max_loss = max_loss, .context = CONTEXT};
}

static kvc_status find(solution *s, const profile *p, const settings *settings)
{
    memset(s, 0, sizeof *s);
    return solution_find(s, p, settings, &err);
}

/* What the chosen plan loses in a text, by the numbers above. */
static double text_loss(const solution *s, uint32_t text)
{
    double sum = 0;
    for (uint32_t item = 0; item < 2 * L; item++)
        sum += loss_of(text, item / 2, solution_candidate(s, &s->chosen, item));
    return sum;
}

static double largest(const solution *s)
{
    return fmax(text_loss(s, 0), text_loss(s, 1));
}

START_TEST(objective_max__lowers_the_loss_of_the_text_that_loses_most)
{
    profile *p = sample();
    int better = 0;
    for (double bits = 4.6; bits < 9; bits += 0.4) {
        solution mean, max;
        const settings by_mean = asked("mean", bits, 0), by_max = asked("max", bits, 0);
        ck_assert_int_eq(find(&mean, p, &by_mean), KVC_OK);
        ck_assert_int_eq(find(&max, p, &by_max), KVC_OK);
        ck_assert_double_le(solution_bits(&max, &max.chosen), bits);
        ck_assert_double_le(largest(&max), largest(&mean) * (1 + 1e-12));
        better += largest(&max) < 0.99 * largest(&mean);
        ck_assert_double_eq_tol(minimax_loss(&max.priced.table, &max.objective.losses, max.chosen.choice),
                                largest(&max), 1e-12);
        solution_free(&mean);
        solution_free(&max);
    }
    ck_assert_int_ge(better, 4);
    profile_free(p);
}
END_TEST

/* Every plan of the little table, as the front of the largest loss. */
static uint64_t cheapest_within(const solution *s, double limit)
{
    const cost_table *t = &s->priced.table;
    uint16_t choice[2 * L] = {0};
    uint64_t best = UINT64_MAX;
    for (;;) {
        uint64_t bytes = 0;
        uint32_t i = 0;
        for (uint32_t k = 0; k < 2 * L; k++) bytes += t->options[k][choice[k]].bytes;
        const front_point point = {.choice = choice};
        if (solution_kl(s, &point) <= limit && bytes < best) best = bytes;
        while (i < 2 * L && ++choice[i] == t->n_options[i]) choice[i++] = 0;
        if (i == 2 * L) return best;
    }
}

START_TEST(objective_max__keeps_a_loss_limit_in_every_text)
{
    profile *p = sample();
    for (uint16_t c = 0; c < K; c++) add_anchor(p, c, 2, 2);
    for (double loss = 0.002; loss < 0.1; loss *= 1.5) {
        solution s;
        const settings by_max = asked("max", 0, loss);
        ck_assert_msg(find(&s, p, &by_max) == KVC_OK, "%s", err.message);
        ck_assert_double_le(solution_kl(&s, &s.chosen), log1p(loss));
        uint64_t best = cheapest_within(&s, log1p(loss));
        ck_assert_uint_ge(s.chosen.bytes, best);
        ck_assert_double_le((double)s.chosen.bytes, 1.06 * (double)best);
        ck_assert_double_eq(solution_anchor_kl(&s, 1), p->anchor_domain_kl[TEXTS + 1]);
        solution_free(&s);
    }
    solution s;
    const settings hopeless = asked("max", 0, 1e-7), poor = asked("max", 1, 0);
    ck_assert_int_eq(find(&s, p, &hopeless), KVC_INFEASIBLE);
    ck_assert_ptr_nonnull(strstr(err.message, "the smallest loss reachable is"));
    solution_free(&s);
    ck_assert_int_eq(find(&s, p, &poor), KVC_INFEASIBLE);
    ck_assert_ptr_nonnull(strstr(err.message, "the least is"));
    solution_free(&s);
    profile_free(p);
}
END_TEST

/* Where text 0 turns out to suffer forty times more from the same local loss, it decides. */
START_TEST(objective_max__weighs_texts_by_what_anchors_measured)
{
    profile *p = sample();
    solution plain, scaled;
    const settings by_max = asked("max", 4.5, 0);
    ck_assert_int_eq(find(&plain, p, &by_max), KVC_OK);
    for (uint16_t c = 0; c < K; c++) add_anchor(p, c, 40, 1);
    ck_assert_int_eq(find(&scaled, p, &by_max), KVC_OK);
    ck_assert_double_gt(text_loss(&plain, 1), text_loss(&plain, 0) / 3);
    ck_assert_double_lt(text_loss(&scaled, 0), text_loss(&plain, 0));
    ck_assert_double_gt(text_loss(&scaled, 1), text_loss(&plain, 1));
    ck_assert_double_eq_tol(solution_kl(&scaled, &scaled.chosen), 40 * text_loss(&scaled, 0),
                            0.02 * solution_kl(&scaled, &scaled.chosen));
    solution_free(&plain);
    solution_free(&scaled);
    profile_free(p);
}
END_TEST

START_TEST(objective_max__follows_prices_in_each_text)
{
    profile *p = sample();
    priced x;
    candidate_filter all = {.domains = true};
    for (uint32_t item = 0; item < 2 * L; item++) {
        const profile_price price = {item / 2, (uint16_t)(item % 2), 1, 0.5, 0.01};
        ck_assert_int_eq(profile_add_price(p, &price, &err), KVC_OK);
        p->price_domain_kl[item * TEXTS] = 0.25;
        if (item == 3) p->price_domain_kl[item * TEXTS + 1] = 0; /* lost in the noise */
    }
    ck_assert_int_eq(priced_new(&x, p, &p->tokens, CONTEXT, &all, &err), KVC_OK);
    ck_assert(x.from_prices && x.n_domains == TEXTS);
    ck_assert_double_eq(x.domain_loss[0][1 * TEXTS], 0.25);    /* as measured */
    ck_assert_double_eq(x.domain_loss[0][1 * TEXTS + 1], 0.5); /* as on all text */
    ck_assert_double_eq_tol(x.domain_loss[0][2 * TEXTS], 8 * 0.25, 1e-12);
    ck_assert_double_eq_tol(x.domain_loss[3][2 * TEXTS + 1], x.loss[3][2], 1e-12);
    priced_free(&x);
    const settings by_max = asked("max", 4, 0);
    notes = 0;
    objective_note(p, &by_max, 0);
    ck_assert_int_eq(notes, 0);
    for (uint32_t item = 0; item < 2 * L; item++) p->price_domain_kl[item * TEXTS + 1] = 0.5;
    objective_note(p, &by_max, 0);
    ck_assert_int_eq(notes, 1);
    ck_assert_ptr_nonnull(strstr(last_note, "code.txt"));
    profile_free(p);
}
END_TEST

/* An option that only one text wants stays. */
START_TEST(objective_max__keeps_options_that_any_text_wants)
{
    profile *p = sample();
    priced mean, max;
    const candidate_filter all = {.domains = true};
    p->key_loss[1] = p->key_loss[2]; /* int4 no better than int2 on all text, but in text 1 */
    p->domain_key_loss[1] = p->domain_key_loss[2];
    ck_assert_int_eq(priced_new(&mean, p, &p->tokens, CONTEXT, NULL, &err), KVC_OK);
    ck_assert_int_eq(priced_new(&max, p, &p->tokens, CONTEXT, &all, &err), KVC_OK);
    ck_assert_uint_eq(mean.table.n_options[0], K - 1);
    ck_assert_uint_eq(max.table.n_options[0], K);
    ck_assert_uint_eq(max.table.n_options[2], K);
    priced_free(&max);
    p->domain_key_loss[L * K + 1] = p->domain_key_loss[L * K + 2];
    ck_assert_int_eq(priced_new(&max, p, &p->tokens, CONTEXT, &all, &err), KVC_OK);
    ck_assert_uint_eq(max.table.n_options[0], K - 1);
    priced_free(&mean);
    priced_free(&max);
    profile_free(p);
}
END_TEST

START_TEST(objective_max__is_the_mean_of_one_text)
{
    profile *p = sample();
    solution mean, max;
    const settings by_mean = asked("mean", 4, 0), by_max = asked("max", 4, 0);
    ck_assert_int_eq(profile_set_domains(p, NULL, 0, &err), KVC_OK);
    ck_assert_int_eq(find(&mean, p, &by_mean), KVC_OK);
    ck_assert_int_eq(find(&max, p, &by_max), KVC_OK);
    ck_assert_mem_eq(mean.chosen.choice, max.chosen.choice, 2 * L * sizeof(uint16_t));
    ck_assert_uint_eq(max.objective.losses.n, 0);
    notes = 0;
    objective_note(p, &by_mean, 4);
    ck_assert_int_eq(notes, 0);
    objective_note(p, &by_max, 0);
    ck_assert_int_eq(notes, 1);
    solution_free(&mean);
    solution_free(&max);
    profile_free(p);
}
END_TEST

CHECK_MAIN("objective", objective_max__lowers_the_loss_of_the_text_that_loses_most,
           objective_max__keeps_a_loss_limit_in_every_text, objective_max__weighs_texts_by_what_anchors_measured,
           objective_max__follows_prices_in_each_text, objective_max__keeps_options_that_any_text_wants,
           objective_max__is_the_mean_of_one_text)
