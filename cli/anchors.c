/* anchors.c - see anchors.h. */
#include "anchors.h"
#include "console.h"
#include "corpus.h"
#include "solution.h"
#include <math.h>

enum { N_ANCHORS = 4 };

/* The front point whose loss is nearest to `target` on a logarithmic scale; points without loss are out of reach. */
static size_t nearest(const front *f, double target)
{
    size_t best = 0;
    for (size_t i = 1; i < f->n; i++)
        if (fabs(log(f->points[i].loss) - target) < fabs(log(f->points[best].loss) - target)) best = i;
    return best;
}

/* Up to N_ANCHORS different points, at the middles of equal parts of the range. */
static size_t pick(const front *f, size_t picked[N_ANCHORS])
{
    size_t n = 0, last = f->n - 1;
    while (last > 0 && !(f->points[last].loss > 0)) last--;
    double high = log(f->points[0].loss), low = log(f->points[last].loss);
    if (!isfinite(high)) return 0;
    for (int i = 0; i < N_ANCHORS; i++) {
        size_t point = nearest(f, high + (low - high) * (i + 0.5) / N_ANCHORS);
        if (n == 0 || picked[n - 1] != point) picked[n++] = point;
    }
    return n;
}

static kvc_status add_anchor(profile *p, const solution *s, const front_point *point, const eval_result *r,
                             kvc_error *err)
{
    uint16_t choice[2][p->n_layers];
    for (uint32_t i = 0; i < p->n_layers; i++)
        for (int side = 0; side < 2; side++) choice[side][i] = solution_candidate(s, point, 2 * i + (uint32_t)side);
    KVC_TRY(profile_add_anchor(p, choice[0], choice[1], err));
    profile_anchor *a = &p->anchors[p->n_anchors - 1];
    a->local_loss = point->loss;
    a->kl = r->kl_mean;
    a->kl_stderr = r->kl_stderr;
    a->ppl_ref = r->ppl_ref;
    a->ppl = r->ppl;
    a->n_tokens = r->n_tokens;
    return KVC_OK;
}

static kvc_status measure(profile *p, const solution *s, const front_point *point, const settings *settings,
                          const subject *subject, const sequence_set *tokens, hidden_states *final, kvc_error *err)
{
    plan plan;
    eval_result r;
    KVC_TRY(solution_plan(s, point, &plan, err));
    console_units("tokens", (double)sequences_tokens(tokens));
    kvc_status status = evaluate(subject->model, subject->backend, tokens, &p->tokens, plan.layers, NULL, 0,
                                 settings->memory, final, &r, console_job(), "anchors", err);
    plan_free(&plan);
    if (status != KVC_OK) return status;
    console_detail("%.3f bits: local loss %.4g, KL %.4g +- %.2g", solution_bits(s, point), point->loss, r.kl_mean,
                   r.kl_stderr);
    return add_anchor(p, s, point, &r, err);
}

kvc_status anchors_measure(profile *p, const settings *s, const subject *subject, const sequence_set *tokens,
                           hidden_states *final, kvc_error *err)
{
    solution solution;
    sequence_set part = {0};
    size_t picked[N_ANCHORS];
    if (s->anchor_tokens == 0) return KVC_OK;
    kvc_status status = solution_front(&solution, p, s->context, err);
    if (status == KVC_OK) status = sequences_slice(&part, tokens, 0, sequences_within(tokens, s->anchor_tokens), err);
    size_t n = status == KVC_OK ? pick(&solution.front, picked) : 0;
    for (size_t i = 0; i < n && status == KVC_OK; i++)
        status = measure(p, &solution, &solution.front.points[picked[i]], s, subject, &part, final, err);
    sequences_free(&part);
    solution_free(&solution);
    return status;
}
