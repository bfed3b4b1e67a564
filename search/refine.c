/* refine.c - rounds of marginals, trust-region solves and swaps (refine.h, methods.md section 5).
 *
 * All that decides is measured values and the table, in fixed orders, so that a log that answers for the caller gives
 * the same steps. Cost beside the measurements: a solve of a table with five options per item, at most 25 of them per
 * candidate plan, and one sort of about 4 n^2 swaps. */
#include "refine.h"
#include "refine_local.h"
#include "refine_log.h"
#include "table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    FAR = 2,          /* rungs that an item may go in one plan */
    ENOUGH_SWAPS = 8, /* measured, to know how well swaps are predicted */
};

typedef struct refiner {
    const cost_table *table;
    const refine_options *options;
    refine_log log;
    local_losses local;
    uint16_t *best, *trial; /* [n_items] options */
    uint32_t *rungs;        /* [n_items] of the trial */
    double loss, deviation, start_loss;
    uint32_t n_plans, n_accepted;
    double miss_square; /* of swaps: sum of (measured - predicted gain)^2 */
    uint32_t n_swaps;   /* measured */
    search_status status;
} refiner;

/* Functions that measure return false at the end of the search. */

static bool failed(refiner *r, search_status status)
{
    if (status != SEARCH_OK) r->status = status;
    return status != SEARCH_OK;
}

static uint64_t plan_bytes(const refiner *r, const uint16_t *choice)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < r->table->n_items; i++) bytes += r->table->options[i][choice[i]].bytes;
    return bytes;
}

/* Measures the plan at r->rungs, *gain its loss less; the best plan from then on if that is above zero. */
static bool try_rungs(refiner *r, double *gain)
{
    double loss, deviation;
    uint32_t n = r->table->n_items;
    for (uint32_t i = 0; i < n; i++) r->trial[i] = r->local.items[i].option[r->rungs[i]];
    if (!refine_log_plan(&r->log, r->best, r->trial, &loss, &deviation)) return false;
    r->n_plans++;
    *gain = r->loss - loss;
    if (!(loss < r->loss)) return true;
    r->loss = loss;
    r->deviation = deviation;
    r->n_accepted++;
    memcpy(r->best, r->trial, n * sizeof *r->best);
    local_losses_move(&r->local, r->rungs);
    return true;
}

/* ---- marginals ---- */

typedef struct step {
    uint32_t item, rung; /* from rung to rung + 1 */
    double worth;        /* loss per byte */
} step;

static int by_falling_worth(const void *a, const void *b)
{
    const step *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_rising_worth(const void *a, const void *b)
{
    const step *x = a, *y = b;
    if (x->worth != y->worth) return x->worth < y->worth ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Never measured, or so long ago that a quarter of the items have changed. */
static bool stale(const refiner *r, uint32_t item, uint32_t rung)
{
    const ladder_step *s = &r->local.items[item].up[rung];
    uint64_t patience = r->table->n_items > 4 ? r->table->n_items / 4 : 1;
    return !s->known || r->local.moves - s->moves >= patience;
}

/* Stale steps above (or below) each item of the best plan; returns their number. */
static size_t list_steps(const refiner *r, bool above, step *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < r->table->n_items; i++) {
        const ladder *l = &r->local.items[i];
        if (above ? l->at + 1 == l->n : l->at == 0) continue;
        uint32_t rung = above ? l->at : l->at - 1;
        uint64_t bytes = l->up[rung].bytes;
        if (!stale(r, i, rung)) continue;
        out[n++] = (step){i, rung, local_step(&r->local, i, rung) / (double)(bytes ? bytes : 1)};
    }
    qsort(out, n, sizeof *out, above ? by_falling_worth : by_rising_worth);
    return n;
}

static bool measure_step(refiner *r, const step *s)
{
    const ladder *l = &r->local.items[s->item];
    bool above = s->rung == l->at;
    double delta;
    if (!refine_log_marginal(&r->log, r->best, s->item, l->option[above ? s->rung + 1 : s->rung], &delta))
        return false;
    local_losses_learn(&r->local, s->item, s->rung, above ? -delta : delta);
    return true;
}

/* The steps up that gain most per byte and the steps down that lose least, in turn. */
static bool measure_marginals(refiner *r)
{
    uint32_t n = r->table->n_items, left = refine_log_left(&r->log);
    uint32_t allowed = left - (left + 3) / 4;
    step *ups = malloc(2 * (size_t)n * sizeof *ups), *downs = ups + n;
    bool ok = ups || !failed(r, SEARCH_NO_MEMORY);
    size_t n_ups = ok ? list_steps(r, true, ups) : 0, n_downs = ok ? list_steps(r, false, downs) : 0;
    for (size_t i = 0; ok && i < n; i++) {
        if (i < n_ups && allowed && ok) ok = measure_step(r, &ups[i]), allowed--;
        if (i < n_downs && allowed && ok) ok = measure_step(r, &downs[i]), allowed--;
    }
    free(ups);
    return ok;
}

/* ---- trust region ---- */

static bool solve_nearby(refiner *r)
{
    uint32_t most = r->table->n_items / 2 + 1, radius = FAR;
    double predicted, gain;
    while (most > 0) {
        if (failed(r, local_solve(&r->local, r->table, r->options->budget, radius, most, r->options->max_cells,
                                  r->rungs, &predicted)))
            return false;
        if (predicted > 0) {
            if (!try_rungs(r, &gain)) return false;
            if (gain > 0) continue;
        }
        most /= 2;
        radius = 1;
    }
    return true;
}

/* ---- swaps ---- */

typedef struct swap {
    uint32_t up, down;     /* items; up == down: no item goes down */
    uint32_t rises, drops; /* rungs */
    double gain;           /* predicted */
} swap;

static int by_falling_gain(const void *a, const void *b)
{
    const swap *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    if (x->up != y->up) return x->up < y->up ? -1 : 1;
    if (x->down != y->down) return x->down < y->down ? -1 : 1;
    if (x->rises != y->rises) return x->rises < y->rises ? -1 : 1;
    return (x->drops > y->drops) - (x->drops < y->drops);
}

static uint64_t ladder_bytes(const refiner *r, uint32_t item, uint32_t rung)
{
    return r->table->options[item][r->local.items[item].option[rung]].bytes;
}

/* Whether it fits, and may gain anything: a swap whose prediction would have to be wrong by more than half of all
 * that it shifts is not worth a measurement. */
static bool worth_trying(const refiner *r, swap *s, uint64_t free_bytes)
{
    const ladder *up = &r->local.items[s->up], *down = &r->local.items[s->down];
    if (up->at + s->rises >= up->n || s->drops > down->at) return false;
    uint64_t more = ladder_bytes(r, s->up, up->at + s->rises) - ladder_bytes(r, s->up, up->at);
    uint64_t less = s->drops ? ladder_bytes(r, s->down, down->at) - ladder_bytes(r, s->down, down->at - s->drops) : 0;
    if (more > free_bytes + less) return false;
    double gains = -local_change(&r->local, s->up, up->at + s->rises);
    double loses = s->drops ? local_change(&r->local, s->down, down->at - s->drops) : 0;
    s->gain = gains - loses;
    return s->gain >= -0.5 * (fabs(gains) + fabs(loses));
}

/* All swaps around the best plan, or with `out` NULL the most that there can be. */
static size_t list_swaps(const refiner *r, swap *out)
{
    size_t n = 0, n_items = r->table->n_items;
    uint64_t free_bytes = r->options->budget - plan_bytes(r, r->best);
    if (!out) return n_items * n_items * FAR * FAR;
    for (uint32_t up = 0; up < n_items; up++)
        for (uint32_t down = 0; down < n_items; down++)
            for (uint32_t rises = 1; rises <= FAR; rises++)
                for (uint32_t drops = up == down ? 0 : 1; drops <= (up == down ? 0 : FAR); drops++) {
                    out[n] = (swap){.up = up, .down = down, .rises = rises, .drops = drops};
                    n += worth_trying(r, &out[n], free_bytes);
                }
    qsort(out, n, sizeof *out, by_falling_gain);
    return n;
}

static bool try_swap(refiner *r, const swap *s, double *gain)
{
    for (uint32_t i = 0; i < r->table->n_items; i++) r->rungs[i] = r->local.items[i].at;
    r->rungs[s->up] += s->rises;
    r->rungs[s->down] -= s->drops;
    if (!try_rungs(r, gain)) return false;
    r->miss_square += (*gain - s->gain) * (*gain - s->gain);
    r->n_swaps++;
    return true;
}

/* Predictions of swaps were not yet so wrong that this one could gain. */
static bool hopeless(const refiner *r, const swap *s)
{
    return r->n_swaps >= ENOUGH_SWAPS && s->gain < -3 * sqrt(r->miss_square / r->n_swaps);
}

/* In the order of predicted gain, anew after every one that is accepted. Ends with the list, where the rest of it is
 * hopeless, or when a plan that is better than before has withstood as many swaps as there are items: then marginals
 * around it are worth more. */
static bool try_swaps(refiner *r, swap *list)
{
    uint32_t accepted = r->n_accepted, in_vain = 0;
    size_t n = list_swaps(r, list);
    double gain;
    for (size_t i = 0; i < n && !hopeless(r, &list[i]);) {
        if (r->n_accepted > accepted && in_vain >= r->table->n_items) return true;
        if (!try_swap(r, &list[i++], &gain)) return false;
        in_vain = gain > 0 ? 0 : in_vain + 1;
        if (!(gain > 0)) continue;
        n = list_swaps(r, list);
        i = 0;
    }
    return true;
}

/* ---- rounds ---- */

static bool measure_start(refiner *r)
{
    if (!refine_log_plan(&r->log, r->best, r->best, &r->loss, &r->deviation)) return false;
    r->start_loss = r->loss;
    r->n_plans++;
    return true;
}

static void run(refiner *r, swap *swaps)
{
    uint32_t before;
    if (!measure_start(r)) return;
    do {
        before = r->n_accepted;
        if (!measure_marginals(r) || !solve_nearby(r)) return;
        if (r->n_accepted == before && !try_swaps(r, swaps)) return;
    } while (r->n_accepted > before);
}

static search_status begin(refiner *r, const uint16_t *start, const refine_calls *calls)
{
    uint32_t n = r->table->n_items;
    for (uint32_t i = 0; i < n; i++)
        if (start[i] >= r->table->n_options[i]) return SEARCH_INVALID;
    if (plan_bytes(r, start) > r->options->budget) return SEARCH_INFEASIBLE;
    r->best = malloc(n * sizeof *r->best);
    r->trial = malloc(n * sizeof *r->trial);
    r->rungs = malloc(n * sizeof *r->rungs);
    if (!r->best || !r->trial || !r->rungs) return SEARCH_NO_MEMORY;
    memcpy(r->best, start, n * sizeof *start);
    search_status status = refine_log_new(&r->log, r->table, r->options, calls);
    return status == SEARCH_OK ? local_losses_new(&r->local, r->table, start) : status;
}

static search_status search(refiner *r)
{
    swap *swaps = calloc(list_swaps(r, NULL), sizeof *swaps);
    if (!swaps) return SEARCH_NO_MEMORY;
    run(r, swaps);
    free(swaps);
    return r->status != SEARCH_OK ? r->status : r->log.status;
}

static void report(refiner *r, refine_result *out)
{
    *out = (refine_result){.choice = r->best,
                           .bytes = plan_bytes(r, r->best),
                           .loss = r->loss,
                           .deviation = r->deviation,
                           .start_loss = r->start_loss,
                           .used = r->log.used,
                           .asked = r->log.asked,
                           .n_plans = r->n_plans,
                           .n_accepted = r->n_accepted,
                           .stopped = r->log.stopped};
    r->best = NULL;
}

search_status refine(const cost_table *t, const uint16_t *start, const refine_options *options,
                     const refine_calls *calls, refine_result *out)
{
    *out = (refine_result){0};
    search_status status = table_check(t);
    if (status != SEARCH_OK) return status;
    refiner r = {.table = t, .options = options, .loss = NAN, .deviation = NAN, .start_loss = NAN};
    status = begin(&r, start, calls);
    if (status == SEARCH_OK) status = search(&r);
    if (status == SEARCH_OK) report(&r, out);
    refine_log_free(&r.log);
    local_losses_free(&r.local);
    free(r.best);
    free(r.trial);
    free(r.rungs);
    return status;
}
