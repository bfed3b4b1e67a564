/* report_doc_fronts.c - the front of every method, thinned out: the solution's own, and beside it what greedy, random
 * and KVTuner's choices from the same candidates are predicted to lose. Greedy and random have plans for budgets, no
 * fronts: a line through some of them; of random ones the middle of several draws at each budget. */
#include "report_doc_part.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FRONT_POINTS = 200, BUDGETS = 48, DRAWS = 9 };

static json_t *front_of(const char *method, bool measured, json_t *points)
{
    return json_pack("{s:s,s:b,s:o}", "method", method, "measured", measured, "points", points);
}

/* The front: bits rise. A chosen plan of another method, which follows the front in that list, is none of it. */
static json_t *own_front(const solution *s)
{
    bool tuned = strncmp(s->front_method, "kvtuner", 7) == 0;
    const char *kl = s->measured ? "measured_kl" : "predicted_kl";
    json_t *list = solution_front_json(s, FRONT_POINTS, !s->measured), *points = json_array(), *point;
    double last = -1;
    size_t i;
    json_array_foreach(list, i, point)
    {
        double bits = json_number_value(json_object_get(point, "bits_per_value"));
        if (bits <= last) break;
        last = bits;
        json_array_append_new(points, json_pack("{s:f,s:O}", "bits", bits, "kl", json_object_get(point, kl)));
    }
    json_decref(list);
    return front_of(tuned ? "kvtuner" : "exact", s->measured, points);
}

static json_t *point_json(double bits, double kl)
{
    return json_pack("{s:f,s:o}", "bits", bits, "kl", number_json(kl));
}

/* Points of another solution's front, evenly spread over its bytes. */
static json_t *rival_front(const rivals *r, const solution *s, const char *method)
{
    json_t *points = json_array();
    const front *f = &s->front;
    const front_point *last = NULL;
    double low = (double)f->points[0].bytes, high = (double)f->points[f->n - 1].bytes;
    for (size_t i = 0; i < FRONT_POINTS; i++) {
        double budget = low + (high - low) * (double)i / (FRONT_POINTS - 1);
        const front_point *point = i + 1 < FRONT_POINTS ? front_at_bytes(f, (uint64_t)budget) : &f->points[f->n - 1];
        if (point != last) json_array_append_new(points, point_json(solution_bits(s, point), rivals_kl(r, s, point)));
        last = point;
    }
    return front_of(method, false, points);
}

typedef struct drawn {
    double bits, kl;
} drawn;

static int by_kl(const void *a, const void *b)
{
    const drawn *x = a, *y = b;
    return (x->kl > y->kl) - (x->kl < y->kl);
}

/* Budgets at equal ratios, from the cheapest plan to the best one. */
static uint64_t budget_at(const front *f, int i)
{
    double low = (double)f->points[0].bytes, high = (double)f->points[f->n - 1].bytes;
    if (i + 1 == BUDGETS) return f->points[f->n - 1].bytes;
    return (uint64_t)ceil(low * pow(high / low, (double)i / (BUDGETS - 1)));
}

static kvc_status budget_plan(drawn *out, const rivals *r, bool random, uint64_t budget, kvc_error *err)
{
    drawn draws[DRAWS];
    int n = random ? DRAWS : 1;
    const solution *s = rivals_exact(r);
    for (int i = 0; i < n; i++) {
        front_point point = {0};
        KVC_TRY(random ? rivals_random(r, budget, r->seed + (uint64_t)i, &point, err)
                       : rivals_greedy(r, budget, &point, err));
        draws[i] = (drawn){solution_bits(s, &point), rivals_kl(r, s, &point)};
        free(point.choice);
    }
    qsort(draws, (size_t)n, sizeof *draws, by_kl);
    *out = draws[n / 2];
    return KVC_OK;
}

static kvc_status add_budget_front(json_t *fronts, const rivals *r, bool random, kvc_error *err)
{
    json_t *points = json_array();
    const front *f = &rivals_exact(r)->front;
    double last = -1;
    kvc_status status = KVC_OK;
    for (int i = 0; i < BUDGETS && status == KVC_OK; i++) {
        drawn plan;
        status = budget_plan(&plan, r, random, budget_at(f, i), err);
        if (status != KVC_OK || plan.bits <= last) continue;
        json_array_append_new(points, point_json(plan.bits, plan.kl));
        last = plan.bits;
    }
    json_array_append_new(fronts, front_of(random ? "random" : "greedy", false, points));
    return status;
}

kvc_status fronts_json(json_t **out, const solution *s, const rivals *r, kvc_error *err)
{
    json_t *fronts = json_array();
    const solution *exact = r ? rivals_exact(r) : s, *tuned = r ? rivals_tuned(r) : NULL;
    kvc_status status = KVC_OK;
    json_array_append_new(fronts, own_front(s));
    if (exact != s) json_array_append_new(fronts, rival_front(r, exact, "exact"));
    if (r && !s->limited) status = add_budget_front(fronts, r, false, err);
    if (r && !s->limited && status == KVC_OK) status = add_budget_front(fronts, r, true, err);
    if (tuned && tuned != s) json_array_append_new(fronts, rival_front(r, tuned, "kvtuner"));
    *out = fronts;
    return status;
}
