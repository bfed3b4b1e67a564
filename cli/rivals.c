/* rivals.c - see rivals.h. Fronts are solved again from the profile, which takes less than a second. */
#include "rivals.h"
#include <string.h>

static bool is_tuned(const solution *s)
{
    return strncmp(s->front_method, "kvtuner", 7) == 0;
}

static kvc_status find_front(solution *out, const solution *like, const char *method, uint64_t seed, kvc_error *err)
{
    const settings asked = {.method = method, .objective = "mean", .context = like->context, .seed = seed};
    return solution_front_among(out, like->profile, &like->tokens, &asked, NULL, err);
}

/* KVTuner's search needs candidates of its own and knows neither side constraints nor texts. */
static kvc_status find_tuned(rivals *r, kvc_error *err)
{
    if (r->subject->limited) return kvc_fail(&r->untuned, KVC_OK, "it knows no side constraints");
    if (r->subject->objective.losses.n) return kvc_fail(&r->untuned, KVC_OK, "it knows no --objective max");
    kvc_status status = find_front(&r->tuned, r->subject, "kvtuner", r->seed, &r->untuned);
    if (status == KVC_OK) return KVC_OK;
    solution_free(&r->tuned);
    r->tuned = (solution){0};
    return status == KVC_INPUT ? KVC_OK : kvc_fail(err, status, "%s", r->untuned.message);
}

kvc_status rivals_find(rivals *out, const solution *subject, uint64_t seed, kvc_error *err)
{
    *out = (rivals){.subject = subject, .seed = seed};
    return is_tuned(subject) ? find_front(&out->exact, subject, "exact", seed, err) : find_tuned(out, err);
}

void rivals_free(rivals *r)
{
    solution_free(&r->exact);
    solution_free(&r->tuned);
}

const solution *rivals_exact(const rivals *r)
{
    return r->exact.profile ? &r->exact : r->subject;
}

const solution *rivals_tuned(const rivals *r)
{
    return r->tuned.profile ? &r->tuned : is_tuned(r->subject) ? r->subject : NULL;
}

kvc_status rivals_greedy(const rivals *r, uint64_t budget, front_point *out, kvc_error *err)
{
    return search_failed(solve_greedy(&rivals_exact(r)->priced.table, budget, out), err);
}

kvc_status rivals_random(const rivals *r, uint64_t budget, uint64_t seed, front_point *out, kvc_error *err)
{
    return search_failed(solve_random(&rivals_exact(r)->priced.table, budget, seed, out), err);
}

double rivals_kl(const rivals *r, const solution *of, const front_point *point)
{
    return of == r->subject ? solution_kl(of, point) : predictor_kl(&r->subject->predictor, point->loss);
}
