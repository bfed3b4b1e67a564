/* refine.c - rounds of marginals, trust-region solves and swaps (refine.h, methods.md section 5).
 *
 * All that decides is measured values and the table, in fixed orders, so that a log that answers for the caller gives
 * the same steps. Cost beside the measurements: a solve of a table with five options per item, at most 25 of them per
 * candidate plan. */
#include "refine_private.h"
#include "table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

uint64_t refine_bytes(const refiner *r)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < r->table->n_items; i++) bytes += r->table->options[i][r->best[i]].bytes;
    return bytes;
}

bool refine_try(refiner *r, double *gain)
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

/* The best plan predicted; the share of items that it may change is halved whenever it measures worse. */
static bool solve_nearby(refiner *r)
{
    uint32_t most = r->table->n_items / 2 + 1, radius = FAR;
    double predicted, gain;
    while (most > 0) {
        r->status = local_solve(&r->local, r->table, r->options->budget, radius, most, r->options->max_cells,
                                r->rungs, &predicted);
        if (r->status != SEARCH_OK) return false;
        if (predicted > 0) {
            if (!refine_try(r, &gain)) return false;
            if (gain > 0) continue;
        }
        most /= 2;
        radius = 1;
    }
    return true;
}

static bool measure_start(refiner *r)
{
    if (!refine_log_plan(&r->log, r->best, r->best, &r->loss, &r->deviation)) return false;
    r->start_loss = r->loss;
    r->n_plans++;
    return true;
}

static void run(refiner *r)
{
    uint32_t before;
    if (!measure_start(r)) return;
    do {
        before = r->n_accepted;
        if (!refine_marginals(r) || !solve_nearby(r)) return;
        if (r->n_accepted == before && !refine_swaps(r)) return;
    } while (r->n_accepted > before);
}

static search_status begin(refiner *r, const uint16_t *start, const refine_calls *calls)
{
    uint32_t n = r->table->n_items;
    for (uint32_t i = 0; i < n; i++)
        if (start[i] >= r->table->n_options[i]) return SEARCH_INVALID;
    r->best = malloc(n * sizeof *r->best);
    r->trial = malloc(n * sizeof *r->trial);
    r->rungs = malloc(n * sizeof *r->rungs);
    if (!r->best || !r->trial || !r->rungs) return SEARCH_NO_MEMORY;
    memcpy(r->best, start, n * sizeof *start);
    if (refine_bytes(r) > r->options->budget) return SEARCH_INFEASIBLE;
    search_status status = refine_log_new(&r->log, r->table, r->options, calls);
    return status == SEARCH_OK ? local_losses_new(&r->local, r->table, start) : status;
}

static void report(refiner *r, refine_result *out)
{
    *out = (refine_result){.choice = r->best,
                           .bytes = refine_bytes(r),
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
    if (status == SEARCH_OK) run(&r);
    if (status == SEARCH_OK) status = r.status != SEARCH_OK ? r.status : r.log.status;
    if (status == SEARCH_OK) report(&r, out);
    refine_log_free(&r.log);
    local_losses_free(&r.local);
    free(r.best);
    free(r.trial);
    free(r.rungs);
    return status;
}
