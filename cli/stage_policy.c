/* stage_policy.c - see stage_policy.h. */
#include "stage_policy.h"
#include "console.h"
#include "measure_plan.h"
#include "plan_search.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t windows[] = {0, 16, 32, 64, 128, 256}, sinks[] = {0, 1, 2, 4, 8, 16};

enum { N_WINDOWS = sizeof windows / sizeof *windows, N_SINKS = sizeof sinks / sizeof *sinks };
_Static_assert(N_WINDOWS + N_SINKS <= MAX_TRIALS, "solution.trials");

#define MOST_PLANS 4 /* that are measured with one policy for a bound of the loss */
#define MARGIN 1.05  /* kept from the bound where the last plan missed it */

enum { ALL, LATE }; /* which positions a record is of */

typedef struct stage {
    const profile *profile;
    const settings *s;
    const subject *subject;
    sequence_set text;
    hidden_states *reference; /* NULL until something has to be measured */
    eval_result *files;       /* [n_files] of the text, for --objective max */
    uint32_t n_files;
    refine_file file;
    double factor; /* measured over predicted loss, as last seen */
    solution best; /* so far; its profile is NULL before there is one */
    policy_trial trials[MAX_TRIALS];
    size_t n_trials, best_trial;
    kvc_error refusal; /* of the first policy that has no plan */
    kvc_error *err;
} stage;

bool policy_is_auto(const settings *s)
{
    return s->window.is_auto || s->sinks.is_auto;
}

kvc_token_policy policy_least(const settings *s)
{
    kvc_token_policy t = settings_tokens(s, NULL);
    if (s->window.is_auto) t.window = windows[0];
    if (s->sinks.is_auto) t.sinks = sinks[0];
    return t;
}

static bool fits(const kvc_token_policy *t, const settings *s, size_t longest)
{
    return 2 * ((size_t)t->sinks + t->window + t->page) <= longest && kvc_tokens_compressed(t, s->context) > 0;
}

size_t policy_count(const settings *s, size_t longest)
{
    kvc_token_policy t = policy_least(s);
    size_t n = 0;
    for (int i = 0; s->window.is_auto && i < N_WINDOWS; i++) {
        t.window = windows[i];
        n += fits(&t, s, longest);
    }
    t.window = policy_least(s).window;
    for (int i = 0; s->sinks.is_auto && i < N_SINKS; i++) {
        t.sinks = sinks[i];
        n += fits(&t, s, longest);
    }
    return n;
}

/* FNV-1a of the policy and of every item's candidate. */
static uint64_t identity(const solution *s, const uint16_t *choice)
{
    const uint32_t policy[] = {s->tokens.sinks, s->tokens.window, s->tokens.page};
    uint64_t hash = 0xcbf29ce484222325u;
    for (int i = 0; i < 3; i++) hash = (hash ^ policy[i]) * 0x100000001b3u;
    for (uint32_t i = 0; i < s->priced.table.n_items; i++)
        hash = (hash ^ s->priced.candidate[i][choice[i]]) * 0x100000001b3u;
    return hash;
}

/* What the plan loses, in mean over all text or in the file that loses most. */
static void judge(const stage *x, const eval_result *all, policy_trial *t)
{
    const eval_result *worst = all, *late = all;
    bool largest = objective_is_max(x->s);
    for (uint32_t i = 0; largest && i < x->n_files; i++) {
        const eval_result *f = &x->files[i];
        if (f->n_tokens && (worst == all || f->kl_mean > worst->kl_mean)) worst = f;
        if (f->n_tokens && (late == all || f->kl_late > late->kl_late)) late = f;
    }
    t->kl = worst->kl_mean;
    t->kl_stderr = worst->kl_stderr;
    t->kl_late = late->kl_late;
    t->kl_late_stderr = late->kl_late_stderr;
}

static kvc_status run_plan(stage *x, const solution *s, const front_point *point, policy_trial *t)
{
    eval_result all;
    plan plan;
    if (!x->reference)
        KVC_TRY(evaluate_exact(&x->reference, x->subject->model, x->subject->backend, &x->text, x->s->memory,
                               console_job(), "policy", x->err));
    const plan_measure m = {x->profile, x->s, x->subject, &x->text, x->reference, "policy"};
    KVC_TRY(solution_plan(s, point, &plan, x->err));
    kvc_status status = measure_plan(&m, &plan.tokens, plan.layers, &all, x->files, x->err);
    plan_free(&plan);
    if (status == KVC_OK) judge(x, &all, t);
    return status;
}

/* Two records of a plan: over all positions, and of the later half. */
static bool recall(const stage *x, uint64_t plan, policy_trial *t)
{
    for (size_t i = 0; i + 1 < x->file.n; i++) {
        const refine_record *r = &x->file.records[i];
        if (r[0].plan != plan || r[1].plan != plan || r[0].item != ALL || r[1].item != LATE) continue;
        t->kl = r[0].value;
        t->kl_stderr = r[0].deviation;
        t->kl_late = r[1].value;
        t->kl_late_stderr = r[1].deviation;
        return true;
    }
    return false;
}

static kvc_status keep(stage *x, uint64_t plan, const policy_trial *t)
{
    const refine_record all = {REFINE_PLAN, plan, ALL, 0, t->kl, t->kl_stderr};
    const refine_record late = {REFINE_PLAN, plan, LATE, 0, t->kl_late, t->kl_late_stderr};
    KVC_TRY(refine_file_add(&x->file, &all, x->err));
    return refine_file_add(&x->file, &late, x->err);
}

/* What the plan loses, from the log or by measurement. */
static kvc_status measure(stage *x, const solution *s, const front_point *point, policy_trial *out)
{
    uint64_t plan = identity(s, point->choice);
    *out = (policy_trial){.tokens = s->tokens, .bits = solution_bits(s, point)};
    if (recall(x, plan, out)) return KVC_OK;
    KVC_TRY(run_plan(x, s, point, out));
    return keep(x, plan, out);
}

/* The cheapest point that is predicted, as far as predictions were right, to keep the bound; else the best one. */
static const front_point *within(const stage *x, const solution *s, double limit)
{
    size_t i = 0, last = s->front.n - 1;
    while (i < last && solution_kl(s, &s->front.points[i]) * x->factor > limit) i++;
    return &s->front.points[i];
}

static kvc_status by_loss(stage *x, solution *s, policy_trial *t)
{
    const front_point *best = &s->front.points[s->front.n - 1], *tried = NULL;
    const double limit = log1p(x->s->max_loss);
    *t = (policy_trial){.tokens = s->tokens, .kl = INFINITY};
    for (int i = 0; i < MOST_PLANS; i++) {
        const front_point *point = i == MOST_PLANS - 1 && t->kl > limit ? best : within(x, s, limit);
        bool useless = i && x->best.profile && point->bytes >= x->best.chosen.bytes;
        policy_trial r;
        if (point == tried || useless) break;
        KVC_TRY(measure(x, s, point, &r));
        tried = point;
        if (t->kl > limit ? r.kl < t->kl : r.kl <= limit && point->bytes < s->chosen.bytes) {
            *t = r;
            KVC_TRY(solution_choose(s, point, x->err));
        }
        double predicted = solution_kl(s, point);
        if (predicted > 0 && r.kl > 0) x->factor = r.kl / predicted * (r.kl > limit ? MARGIN : 1);
    }
    return KVC_OK;
}

/* The last trial against the best one; each has its plan as s->chosen and x->best.chosen. */
static bool is_better(const stage *x, const solution *s, const policy_trial *t)
{
    if (x->s->bits == 0 && t->kl > log1p(x->s->max_loss)) return false;
    if (!x->best.profile) return true;
    if (x->s->bits > 0) return t->kl_late < x->trials[x->best_trial].kl_late;
    return s->chosen.bytes < x->best.chosen.bytes;
}

static kvc_status try_plans(stage *x, solution *s)
{
    policy_trial *t = &x->trials[x->n_trials];
    KVC_TRY(x->s->bits > 0 ? measure(x, s, &s->chosen, t) : by_loss(x, s, t));
    console_note("%u sinks, window %u: KL %.5g +- %.2g, in the later half %.5g +- %.2g, at %.4f bits per value",
                 t->tokens.sinks, t->tokens.window, t->kl, t->kl_stderr, t->kl_late, t->kl_late_stderr, t->bits);
    if (is_better(x, s, t)) {
        solution before = x->best;
        x->best = *s;
        *s = before;
        x->best_trial = x->n_trials;
    }
    x->n_trials++;
    return KVC_OK;
}

static kvc_status try_policy(stage *x, const kvc_token_policy *tokens)
{
    solution s = {0};
    kvc_error why = {0};
    for (size_t i = 0; i < x->n_trials; i++)
        if (memcmp(&x->trials[i].tokens, tokens, sizeof *tokens) == 0) return KVC_OK;
    if (!fits(tokens, x->s, sequences_longest(&x->text))) return KVC_OK;
    kvc_status status = solution_find_among(&s, x->profile, tokens, x->s, NULL, &why);
    if (status == KVC_OK)
        status = try_plans(x, &s);
    else if (status == KVC_INFEASIBLE) {
        console_note("%u sinks, window %u: no plan", tokens->sinks, tokens->window);
        if (!*x->refusal.message) x->refusal = why;
        status = KVC_OK;
    } else
        status = kvc_fail(x->err, status, "%s", why.message);
    solution_free(&s);
    return status;
}

static kvc_status try_all(stage *x)
{
    kvc_token_policy t = x->profile->tokens;
    for (int i = 0; x->s->window.is_auto && i < N_WINDOWS; i++) {
        t.window = windows[i];
        KVC_TRY(try_policy(x, &t));
    }
    if (x->s->window.is_auto) t.window = x->best.profile ? x->best.tokens.window : windows[0];
    for (int i = 0; x->s->sinks.is_auto && i < N_SINKS; i++) {
        t.sinks = sinks[i];
        KVC_TRY(try_policy(x, &t));
    }
    return KVC_OK;
}

static kvc_status nothing_found(const stage *x)
{
    const policy_trial *least = &x->trials[0];
    if (x->n_trials == 0) return kvc_fail(x->err, KVC_INFEASIBLE, "%s", x->refusal.message);
    for (size_t i = 1; i < x->n_trials; i++)
        if (x->trials[i].kl < least->kl) least = &x->trials[i];
    return kvc_fail(
        x->err, KVC_INFEASIBLE,
        "--max-loss %g%% cannot be reached: the smallest loss measured is %.4g%%, with %u sinks and window "
        "%u at %.4f bits per value",
        100 * x->s->max_loss, 100 * expm1(least->kl), least->tokens.sinks, least->tokens.window, least->bits);
}

static void take(solution *out, stage *x)
{
    double measured = x->trials[x->best_trial].kl, predicted = solution_kl(&x->best, &x->best.chosen);
    *out = x->best;
    x->best = (solution){0};
    x->trials[x->best_trial].chosen = true;
    memcpy(out->trials, x->trials, sizeof out->trials);
    out->n_trials = x->n_trials;
    if (predicted > 0 && measured > 0) predictor_scale(&out->predictor, measured / predicted);
    console_note("taken: %u sinks, window %u, the best of %zu", out->tokens.sinks, out->tokens.window, out->n_trials);
}

static kvc_status search(stage *x, solution *out, const workdir *w)
{
    x->n_files = sequences_files(&x->text);
    x->files = calloc(x->n_files, sizeof *x->files);
    if (!x->files) return kvc_fail(x->err, KVC_NO_MEMORY, "out of memory for measurements");
    KVC_TRY(plan_search_file(&x->file, "policy.jsonl", x->profile, &x->profile->tokens, x->s, &x->text, w, x->err));
    KVC_TRY(try_all(x));
    if (!x->best.profile) return nothing_found(x);
    take(out, x);
    return KVC_OK;
}

kvc_status stage_policy(solution *out, const profile *p, const settings *s, const subject *subject,
                        const sequence_set *calibration, const workdir *w, kvc_error *err)
{
    stage x = {.profile = p, .s = s, .subject = subject, .factor = 1, .err = err};
    KVC_TRY(plan_search_text(&x.text, s, calibration, err));
    kvc_status status = search(&x, out, w);
    refine_file_close(&x.file);
    solution_free(&x.best);
    hidden_free(x.reference);
    free(x.files);
    sequences_free(&x.text);
    return status;
}
