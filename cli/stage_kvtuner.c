/* stage_kvtuner.c - see stage_kvtuner.h. The search asks (kvtuner_front.h), calib/score's pricing answers. */
#include "stage_kvtuner.h"
#include "console.h"
#include "kvtuner_front.h"
#include "plan_search.h"
#include <math.h>
#include <stdlib.h>

typedef struct stage {
    solution *solution;
    const settings *s;
    const subject *subject;
    sequence_set text;
    refine_file file;
    uint32_t measured;
    pricing *pricing; /* of the exact model; NULL until something has to be measured */
    kvc_status status;
    kvc_error *err;
} stage;

static kvc_status open_pricing(stage *x)
{
    const plan_ref exact = {0};
    if (x->pricing) return KVC_OK;
    return pricing_new(&x->pricing, x->subject->model, x->subject->backend, &x->text, &x->solution->tokens, &exact,
                       (uint32_t)x->s->price_rows, x->s->memory, console_job(), x->err);
}

static kvc_status measure(stage *x, const uint16_t *choice, price *out)
{
    bound_plan bound;
    KVC_TRY(open_pricing(x));
    KVC_TRY(plan_search_bind(&bound, x->solution, choice, x->err));
    plan_ref ref = bound_plan_ref(&bound);
    kvc_status status = pricing_plan(x->pricing, &ref, out, NULL, console_job(), x->err);
    bound_plan_free(&bound);
    return status;
}

/* Returns 0, or 1 where x->status says why not. */
static int measured_loss(void *context, const uint16_t *choice, uint64_t plan, double *loss)
{
    stage *x = context;
    price price;
    x->status = measure(x, choice, &price);
    if (x->status != KVC_OK) return 1;
    double share = pricing_share(&x->text, &x->solution->tokens); /* over all positions, like every KL of a plan */
    *loss = share * price.kl;
    const refine_record record = {
        .kind = REFINE_PLAN, .plan = plan, .value = *loss, .deviation = share * price.kl_stderr};
    console_detail("kvtuner: plan %u: KL %.5g +- %.2g", ++x->measured, record.value, record.deviation);
    x->status = refine_file_add(&x->file, &record, x->err);
    return x->status != KVC_OK;
}

/* The front takes the place of the predicted one; its points get predicted losses, as everywhere, beside measured. */
static kvc_status adopt(stage *x, front *f)
{
    solution *s = x->solution;
    const cost_table *t = &s->priced.table;
    double *measured = malloc(f->n * sizeof *measured);
    if (!measured) return kvc_fail(x->err, KVC_NO_MEMORY, "out of memory for the front of plans");
    for (size_t i = 0; i < f->n; i++) {
        front_point *p = &f->points[i];
        measured[i] = p->loss;
        p->loss = 0;
        for (uint32_t k = 0; k < t->n_items; k++) p->loss += t->options[k][p->choice[k]].loss;
    }
    front_free(&s->front);
    free(s->measured);
    s->front = *f;
    s->measured = measured;
    s->front_method = "kvtuner";
    *f = (front){0};
    return KVC_OK;
}

static kvc_status choose(stage *x)
{
    solution *s = x->solution;
    size_t i = 0, last = s->front.n - 1;
    if (x->s->bits > 0) {
        const front_point *point = front_at_bytes(&s->front, solution_budget(s, x->s->bits));
        return solution_choose(s, point ? point : &s->front.points[0],
                               x->err); /* solution_find() found it feasible */
    }
    while (i < last && s->measured[i] > log1p(x->s->max_loss)) i++;
    if (s->measured[i] <= log1p(x->s->max_loss)) return solution_choose(s, &s->front.points[i], x->err);
    return kvc_fail(x->err, KVC_INFEASIBLE,
                    "--max-loss %g%% cannot be reached: the smallest loss measured is %.4g%%, at %.4f bits per value",
                    100 * x->s->max_loss, 100 * expm1(s->measured[last]), solution_bits(s, &s->front.points[last]));
}

static kvc_status search(stage *x, const kvtuner_space *space, const kvtuner_record *log)
{
    front f = {0};
    int stopped = 0;
    const kvtuner_loss loss = {measured_loss, x};
    const kvtuner_search_options options = {.budget = x->s->bits > 0 ? solution_budget(x->solution, x->s->bits)
                                                                     : UINT64_MAX,
                                            .evaluations = (uint32_t)x->s->evaluations,
                                            .seed = x->s->seed,
                                            .log = log,
                                            .n_log = x->file.n};
    kvc_status status = kvtuner_front(&f, &stopped, space, &options, &loss, x->err);
    if (status == KVC_OK && stopped) status = x->status;
    if (status == KVC_OK) status = adopt(x, &f);
    front_free(&f);
    return status == KVC_OK ? choose(x) : status;
}

static kvc_status search_space(stage *x)
{
    kvtuner_space space;
    kvtuner_record *log = malloc((x->file.n + 1) * sizeof *log);
    if (!log) return kvc_fail(x->err, KVC_NO_MEMORY, "out of memory for measurements");
    for (size_t i = 0; i < x->file.n; i++)
        log[i] = (kvtuner_record){x->file.records[i].plan, x->file.records[i].value};
    kvc_status status = kvtuner_space_new(&space, x->solution->profile, NULL, x->err);
    if (status == KVC_OK) status = kvtuner_space_group(&space, x->solution->profile, &x->solution->priced, x->err);
    if (status == KVC_OK) status = search(x, &space, log);
    kvtuner_space_free(&space);
    free(log);
    return status;
}

kvc_status stage_kvtuner(solution *solution, const settings *s, const subject *subject,
                         const sequence_set *calibration, const workdir *w, kvc_error *err)
{
    stage x = {.solution = solution, .s = s, .subject = subject, .err = err};
    KVC_TRY(plan_search_text(&x.text, s, calibration, err));
    kvc_status status =
        plan_search_file(&x.file, "kvtuner.jsonl", solution->profile, &solution->tokens, s, &x.text, w, err);
    if (status == KVC_OK) status = search_space(&x);
    pricing_free(x.pricing);
    refine_file_close(&x.file);
    sequences_free(&x.text);
    return status;
}
