/* stage_refine.c - see stage_refine.h. The search (search/refine.h) asks, calib/score's pricing answers: its base is
 * the best plan so far, so that a marginal or a swap costs the layers from the first changed one on. */
#include "stage_refine.h"
#include "console.h"
#include "objective.h"
#include "plan_search.h"
#include "refine.h"
#include <math.h>
#include <stdlib.h>

#define MAX_CELLS ((size_t)1 << 22) /* of a table of neighbours */

typedef struct stage {
    solution *solution;
    const settings *s;
    const subject *subject;
    sequence_set text;
    price *files; /* [n_files] of the text, for --objective max */
    uint32_t n_files;
    uint32_t evaluations;
    refine_file file;
    pricing *pricing; /* NULL until something has to be measured */
    bound_plan base;  /* of it; its parameters are borrowed */
    kvc_status status;
    kvc_error *err;
} stage;

/* What a measurement counts as: the mean over all text, or the file that loses most. */
static price judged(const stage *x, const price *all)
{
    const price *worst = NULL;
    double base = 0;
    if (!objective_is_max(x->s)) return *all;
    for (uint32_t i = 0; i < x->n_files; i++) {
        const price *f = &x->files[i];
        if (f->n_rows == 0) continue;
        base = fmax(base, f->kl - f->delta);
        if (!worst || f->kl > worst->kl) worst = f;
    }
    price out = *worst; /* pricing_new() refuses text without a scored position */
    out.delta = out.kl - base;
    return out;
}

/* Callbacks return 0, or 1 where x->status says why not. */
static int result(stage *x, kvc_status status)
{
    x->status = status;
    return status != KVC_OK;
}

static kvc_status set_base(stage *x, const bound_plan *base)
{
    plan_ref plan = bound_plan_ref(base);
    if (x->pricing) return pricing_rebase(x->pricing, &plan, console_job(), x->err);
    return pricing_new(&x->pricing, x->subject->model, x->subject->backend, &x->text, &x->solution->tokens, &plan,
                       (uint32_t)x->s->price_rows, x->s->memory, console_job(), x->err);
}

static int rebase(void *context, const uint16_t *choice)
{
    stage *x = context;
    bound_plan base;
    if (result(x, plan_search_bind(&base, x->solution, choice, x->err))) return 1;
    kvc_status status = set_base(x, &base);
    if (status == KVC_OK) {
        bound_plan before = x->base;
        x->base = base;
        base = before;
    }
    bound_plan_free(&base);
    return result(x, status);
}

static int measure_marginal(void *context, const uint16_t *base, uint32_t item, uint16_t option, double *delta,
                            double *deviation)
{
    stage *x = context;
    const profile *p = x->solution->profile;
    bool values = item % 2;
    uint16_t candidate = x->solution->priced.candidate[item][option];
    void *params;
    price price;
    (void)base; /* the last plan rebased to */
    if (result(x, profile_get_params(p, values, item / 2, candidate, &params, x->err))) return 1;
    kvc_status status =
        pricing_item(x->pricing, item / 2, values, values ? &p->values[candidate] : &p->keys[candidate], params,
                     &price, x->files, console_job(), x->err);
    free(params);
    if (result(x, status)) return 1;
    price = judged(x, &price);
    *delta = price.delta;
    *deviation = price.delta_stderr;
    console_detail("refine: layer %u %s to candidate %u: %+.3g +- %.2g", item / 2, values ? "values" : "keys",
                   candidate, price.delta, price.delta_stderr);
    return 0;
}

static int measure_plan(void *context, const uint16_t *choice, double *loss, double *deviation)
{
    stage *x = context;
    bound_plan bound;
    price price;
    if (result(x, plan_search_bind(&bound, x->solution, choice, x->err))) return 1;
    plan_ref plan = bound_plan_ref(&bound);
    kvc_status status = pricing_plan(x->pricing, &plan, &price, x->files, console_job(), x->err);
    bound_plan_free(&bound);
    if (result(x, status)) return 1;
    price = judged(x, &price);
    *loss = price.kl;
    *deviation = price.kl_stderr;
    console_detail("refine: plan: KL %.5g, %+.3g +- %.2g", price.kl, price.delta, price.delta_stderr);
    return 0;
}

static int keep(void *context, const refine_record *record, uint32_t used)
{
    stage *x = context;
    console_detail("refine: %u of %u measurements", used, x->evaluations);
    return result(x, refine_file_add(&x->file, record, x->err));
}

/* ---- */

/* --objective max judges by the texts that are measured on. */
static void note_texts(const stage *x)
{
    uint32_t n = 0;
    for (uint32_t file = 0; file < x->n_files; file++) {
        size_t i = 0;
        while (i < x->text.n && x->text.file[i] != file) i++;
        n += i < x->text.n;
    }
    if (objective_is_max(x->s) && n < x->solution->profile->n_domains)
        console_note("--evaluations measures on %u of the %u texts: a larger --price-tokens has more", n,
                     x->solution->profile->n_domains);
}

/* A plan that measurements changed is no longer what the start's method gives. */
static void take(stage *x, const refine_result *r)
{
    solution *s = x->solution;
    double share = pricing_share(&x->text, &s->tokens);
    s->refined = (refinement){.evaluations = r->used,
                              .plans = r->n_plans,
                              .accepted = r->n_accepted,
                              .start_kl = share * r->start_loss,
                              .kl = share * r->loss,
                              .kl_stderr = share * r->deviation,
                              .start = s->chosen};
    if (r->n_accepted) s->method = "refined";
    s->chosen = (front_point){.bytes = r->bytes, .choice = r->choice};
    for (uint32_t i = 0; i < s->priced.table.n_items; i++)
        s->chosen.loss += s->priced.table.options[i][r->choice[i]].loss;
}

static kvc_status search(stage *x, uint64_t budget)
{
    refine_result r;
    refine_calls calls = {rebase, measure_marginal, measure_plan, keep, x};
    refine_options options = {.budget = budget,
                              .evaluations = x->evaluations,
                              .max_cells = MAX_CELLS,
                              .log = x->file.records,
                              .n_log = x->file.n};
    KVC_TRY(
        search_failed(refine(&x->solution->priced.table, x->solution->chosen.choice, &options, &calls, &r), x->err));
    if (r.stopped) {
        free(r.choice);
        return x->status;
    }
    take(x, &r);
    const refinement *done = &x->solution->refined;
    console_detail("refine: KL %.5g to %.5g, %u of %u plans accepted", done->start_kl, done->kl, done->accepted,
                   done->plans);
    return KVC_OK;
}

kvc_status stage_refine(solution *solution, uint64_t budget, uint32_t evaluations, const settings *s,
                        const subject *subject, const sequence_set *calibration, const workdir *w, kvc_error *err)
{
    stage x = {.solution = solution, .s = s, .subject = subject, .evaluations = evaluations, .err = err};
    KVC_TRY(plan_search_text(&x.text, s, calibration, err));
    x.n_files = sequences_files(&x.text);
    x.files = calloc(x.n_files, sizeof *x.files);
    kvc_status status =
        x.files ? plan_search_file(&x.file, "refine.jsonl", solution->profile, &solution->tokens, s, &x.text, w, err)
                : kvc_fail(err, KVC_NO_MEMORY, "out of memory for prices");
    if (status == KVC_OK) note_texts(&x);
    if (status == KVC_OK) status = search(&x, budget);
    pricing_free(x.pricing);
    bound_plan_free(&x.base);
    refine_file_close(&x.file);
    free(x.files);
    sequences_free(&x.text);
    return status;
}
