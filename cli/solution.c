/* solution.c - see solution.h. */
#include "solution.h"
#include "console.h"
#include "kvtuner_front.h"
#include "limits.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_CELLS ((size_t)1 << 24) /* 96 MiB of states */

enum { TUNED_PLANS = 10000 }; /* that kvtuner evaluates by prediction, which costs next to nothing */

double solution_bits(const solution *s, const front_point *point)
{
    const kvc_model_info *m = &s->profile->model;
    return 8.0 * (double)point->bytes / (2.0 * m->n_layers * m->n_kv_heads * m->head_dim * (double)s->context);
}

double solution_kl(const solution *s, const front_point *point)
{
    const domain_losses *d = &s->objective.losses;
    return predictor_kl(&s->predictor, d->n ? minimax_loss(&s->priced.table, d, point->choice) : point->loss);
}

double solution_anchor_kl(const solution *s, uint32_t anchor)
{
    return s->objective.losses.n ? objective_anchor_kl(s->profile, anchor) : s->profile->anchors[anchor].kl;
}

uint16_t solution_candidate(const solution *s, const front_point *point, uint32_t item)
{
    return s->priced.candidate[item][point->choice[item]];
}

/* What the table says an anchor's plan loses. */
static double anchor_loss(const solution *s, const profile_anchor *a)
{
    double sum = 0;
    for (uint32_t i = 0; i < s->profile->n_layers; i++)
        sum += s->priced.loss[2 * i][a->key[i]] + s->priced.loss[2 * i + 1][a->value[i]];
    return sum;
}

/* The share of a sequence's scored positions that see a page: the others lose nothing, and prices leave them out. */
static double share_compressed(const profile *p)
{
    double scored = (double)p->seq_len - 1, exact = (double)p->tokens.sinks + p->tokens.window + p->tokens.page - 1;
    return scored > exact ? (scored - exact) / scored : 1;
}

/* Through the anchors. Without any, prices add up to the KL of the positions that they are of. */
static kvc_status fit_predictor(solution *s, kvc_error *err)
{
    const profile *p = s->profile;
    uint32_t n = p->n_anchors;
    predictor_anchor *anchors = malloc((n + 1) * sizeof *anchors);
    for (uint32_t i = 0; anchors && i < n; i++)
        anchors[i] = (predictor_anchor){anchor_loss(s, &p->anchors[i]), p->anchors[i].kl};
    if (anchors && n == 0 && s->priced.from_prices) anchors[n++] = (predictor_anchor){1, share_compressed(p)};
    int ok = anchors && predictor_new(&s->predictor, anchors, n);
    free(anchors);
    return ok ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for anchors");
}

static kvc_status exact_front(solution *s, kvc_error *err)
{
    uint64_t unit;
    KVC_TRY(search_failed(solve_exact(&s->priced.table, MAX_CELLS, &s->front, &unit), err));
    if (unit != cost_unit(&s->priced.table))
        console_note("the front is nearly, not exactly, the best: bytes were rounded to multiples of %llu",
                     (unsigned long long)unit);
    return KVC_OK;
}

kvc_status solution_front(solution *out, const profile *p, uint64_t context, kvc_error *err)
{
    *out =
        (solution){.profile = p, .tokens = p->tokens, .context = context, .method = "exact", .front_method = "exact"};
    KVC_TRY(priced_new(&out->priced, p, &p->tokens, context, NULL, err));
    KVC_TRY(exact_front(out, err));
    return fit_predictor(out, err);
}

/* --objective max: the domains' weights for the budget, and where the method is exact and no side constraint asked
 * for, a plan that choose_by_...() may take. */
static kvc_status weigh_domains(solution *s, const settings *asked, kvc_error *err)
{
    cost_table *t = &s->priced.table;
    front_point *plan = strcmp(s->method, "exact") == 0 && !limits_asked(asked) ? &s->chosen : NULL;
    KVC_TRY(objective_new(&s->objective, &s->priced, s->profile, err));
    if (s->objective.losses.n == 0) return KVC_OK;
    if (asked->bits > 0)
        return objective_for_bytes(&s->objective, t, solution_budget(s, asked->bits), MAX_CELLS, plan, err);
    return objective_for_loss(&s->objective, t, &s->predictor, log1p(asked->max_loss), MAX_CELLS, plan, err);
}

/* Rounded up, so that the budget that a message names can be met. */
static double round_up(double x, int digits)
{
    double unit = pow(10, floor(log10(x)) + 1 - digits);
    return x > 0 ? ceil(x / unit) * unit : x;
}

/* The others are baselines: a plan for a budget, no front. */
static bool has_front(const solution *s)
{
    return strcmp(s->method, "exact") == 0 || strcmp(s->method, "kvtuner") == 0;
}

static kvc_status infeasible_bits(const solution *s, const settings *asked, kvc_error *err)
{
    char limits[128];
    limits_text(asked, limits, sizeof limits);
    return kvc_fail(err, KVC_INFEASIBLE,
                    "--bits %g cannot be reached%s%s: the least is %.6g bits per value at %llu tokens", asked->bits,
                    *limits ? " with " : "", limits, round_up(solution_bits(s, &s->front.points[0]), 6),
                    (unsigned long long)s->context);
}

static kvc_status infeasible_loss(const solution *s, const settings *asked, kvc_error *err)
{
    const front_point *best = &s->front.points[s->front.n - 1];
    char limits[128];
    limits_text(asked, limits, sizeof limits);
    return kvc_fail(
        err, KVC_INFEASIBLE,
        "--max-loss %g%% cannot be reached%s%s: the smallest loss reachable is %.4g%%, at %.4f bits per value",
        100 * asked->max_loss, *limits ? " with " : "", limits, round_up(100 * expm1(solution_kl(s, best)), 4),
        solution_bits(s, best));
}

kvc_status solution_choose(solution *s, const front_point *point, kvc_error *err)
{
    size_t n = s->priced.table.n_items * sizeof *point->choice;
    uint16_t *choice = malloc(n);
    if (!choice) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    memcpy(choice, point->choice, n);
    free(s->chosen.choice);
    s->chosen = *point;
    s->chosen.choice = choice;
    return KVC_OK;
}

uint64_t solution_budget(const solution *s, double bits)
{
    const kvc_model_info *m = &s->profile->model;
    return (uint64_t)(bits / 8 * (2.0 * m->n_layers * m->n_kv_heads * m->head_dim * (double)s->context));
}

/* The plan of a baseline, greedy or random, for a budget in bytes becomes the chosen one. */
static kvc_status take_baseline(solution *s, uint64_t budget, uint64_t seed, kvc_error *err)
{
    const cost_table *t = &s->priced.table;
    free(s->chosen.choice);
    s->chosen = (front_point){0};
    if (strcmp(s->method, "random") == 0) return search_failed(solve_random(t, budget, seed, &s->chosen), err);
    return search_failed(solve_greedy(t, budget, &s->chosen), err);
}

/* A budget, by bisection, whose baseline plan keeps the limit: the smallest one if plans get better with their bytes.
 * The result keeps the limit in any case. */
static kvc_status baseline_within_loss(solution *s, double limit, uint64_t seed, kvc_error *err)
{
    uint64_t low = s->front.points[0].bytes, high = s->front.points[s->front.n - 1].bytes;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        KVC_TRY(take_baseline(s, middle, seed, err));
        if (solution_kl(s, &s->chosen) <= limit)
            high = middle;
        else
            low = middle + 1;
    }
    return take_baseline(s, high, seed, err);
}

static kvc_status choose_by_bits(solution *s, const settings *asked, kvc_error *err)
{
    uint64_t budget = solution_budget(s, asked->bits);
    const domain_losses *d = &s->objective.losses;
    const front_point *point =
        d->n ? front_minimax(&s->front, &s->priced.table, d, budget) : front_at_bytes(&s->front, budget);
    if (s->chosen.choice) return KVC_OK; /* weigh_domains() has it */
    if (!point) return infeasible_bits(s, asked, err);
    return has_front(s) ? solution_choose(s, point, err) : take_baseline(s, budget, asked->seed, err);
}

static kvc_status choose_by_loss(solution *s, const settings *asked, kvc_error *err)
{
    size_t i = 0;
    double limit = log1p(asked->max_loss);
    if (s->predictor.n == 0)
        return kvc_fail(
            err, KVC_INVALID,
            "--max-loss needs measured plans or prices, and the profile has none (--anchor-tokens, --price); use "
            "--bits");
    while (i < s->front.n && solution_kl(s, &s->front.points[i]) > limit) i++;
    if (s->chosen.choice && (i == s->front.n || s->front.points[i].bytes >= s->chosen.bytes)) return KVC_OK;
    if (i == s->front.n) return infeasible_loss(s, asked, err);
    return has_front(s) ? solution_choose(s, &s->front.points[i], err)
                        : baseline_within_loss(s, limit, asked->seed, err);
}

/* KVTuner's front. Without the model its losses are predicted. */
static kvc_status tuned_front(solution *s, const settings *asked, const candidate_filter *only, kvc_error *err)
{
    kvtuner_space space;
    kvtuner_search_options options = {.budget = asked->bits > 0 ? solution_budget(s, asked->bits) : UINT64_MAX,
                                      .evaluations = asked->evaluations ? (uint32_t)asked->evaluations : TUNED_PLANS,
                                      .seed = asked->seed};
    KVC_TRY(kvtuner_space_new(&space, s->profile, only, err));
    kvc_status status = priced_new(&s->priced, s->profile, &s->tokens, s->context, &space.filter, err);
    if (status == KVC_OK) status = fit_predictor(s, err);
    if (status == KVC_OK) status = kvtuner_space_group(&space, s->profile, &s->priced, err);
    if (status == KVC_OK) status = kvtuner_front_predicted(&s->front, &space, &s->priced, &options, err);
    s->front_method = "kvtuner, predicted losses";
    kvtuner_space_free(&space);
    return status;
}

static kvc_status limited_front(solution *s, const settings *asked, const candidate_filter *only, kvc_error *err)
{
    candidate_filter filter = only ? *only : (candidate_filter){0};
    filter.alike = s->limited = limits_asked(asked);
    filter.domains = objective_is_max(asked);
    KVC_TRY(priced_new(&s->priced, s->profile, &s->tokens, s->context, &filter, err));
    KVC_TRY(fit_predictor(s, err));
    KVC_TRY(weigh_domains(s, asked, err));
    if (!filter.alike) return exact_front(s, err);
    return limits_front(&s->front, &s->priced, s->profile, &s->tokens, s->context, asked, MAX_CELLS, err);
}

kvc_status solution_front_among(solution *out, const profile *p, const kvc_token_policy *tokens, const settings *s,
                                const candidate_filter *only, kvc_error *err)
{
    bool tuned = strcmp(s->method, "kvtuner") == 0;
    *out = (solution){
        .profile = p, .tokens = *tokens, .context = s->context, .method = s->method, .front_method = "exact"};
    return tuned ? tuned_front(out, s, only, err) : limited_front(out, s, only, err);
}

kvc_status solution_find_among(solution *out, const profile *p, const kvc_token_policy *tokens, const settings *s,
                               const candidate_filter *only, kvc_error *err)
{
    KVC_TRY(solution_front_among(out, p, tokens, s, only, err));
    return s->bits > 0 ? choose_by_bits(out, s, err) : choose_by_loss(out, s, err);
}

kvc_status solution_find(solution *out, const profile *p, const settings *s, kvc_error *err)
{
    return solution_find_among(out, p, &p->tokens, s, NULL, err);
}

void solution_free(solution *s)
{
    free(s->chosen.choice);
    free(s->refined.start.choice);
    free(s->measured);
    front_free(&s->front);
    priced_free(&s->priced);
    predictor_free(&s->predictor);
    objective_free(&s->objective);
}

kvc_status solution_plan(const solution *s, const front_point *point, plan *out, kvc_error *err)
{
    const profile *p = s->profile;
    *out = (plan){.tokens = s->tokens, .n_layers = p->n_layers, .layers = calloc(p->n_layers, sizeof *out->layers)};
    if (!out->layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    memcpy(out->model, p->model.name, sizeof out->model);
    memcpy(out->weights_sha256, p->model.weights_sha256, sizeof out->weights_sha256);
    for (uint32_t i = 0; i < p->n_layers; i++) {
        out->layers[i].key = p->keys[solution_candidate(s, point, 2 * i)];
        out->layers[i].value = p->values[solution_candidate(s, point, 2 * i + 1)];
    }
    return KVC_OK;
}
