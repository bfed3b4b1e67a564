/* refine.h - a better plan by measurement: predicted losses add up (cost_table.h), measured ones do not.
 *
 * Like the rest of this folder it knows no model and no file. What a plan really loses is asked of the caller, a
 * bounded number of times, and every answer is a record that can be kept and given back, so that a run that was cut
 * short goes through the same steps again without asking. */
#ifndef SEARCH_REFINE_H
#define SEARCH_REFINE_H
#include "cost_table.h"

typedef enum refine_kind { REFINE_PLAN, REFINE_MARGINAL } refine_kind;

/* One measurement. */
typedef struct refine_record {
    refine_kind kind;
    uint64_t plan;    /* identity of the plan measured or, of a marginal, of its base; depends on the table too */
    uint32_t item;    /* of a marginal, else 0 */
    uint16_t option;  /* that the item takes */
    double value;     /* the plan's loss, or how much it rises above the base's; finite */
    double deviation; /* standard error */
} refine_record;

/* Each returns 0, or another number to end the search there. */
typedef struct refine_calls {
    /* The plan that marginals and plans that follow are compared with, so far the best; may be NULL. */
    int (*rebase)(void *context, const uint16_t *choice);
    /* `base` is the last plan rebased to, with `item` at another option. */
    int (*marginal)(void *context, const uint16_t *base, uint32_t item, uint16_t option, double *delta,
                    double *deviation);
    int (*plan)(void *context, const uint16_t *choice, double *loss, double *deviation);
    /* A measurement was made (none of `log` is told again); `used` evaluations so far. May be NULL. */
    int (*record)(void *context, const refine_record *record, uint32_t used);
    void *context;
} refine_calls;

typedef struct refine_options {
    uint64_t budget;          /* bytes that no plan exceeds */
    uint32_t evaluations;     /* plans and marginals to measure at most, those of the log included */
    size_t max_cells;         /* as in solve_exact() */
    const refine_record *log; /* measurements of an earlier run; others than this run needs are passed over */
    size_t n_log;
} refine_options;

typedef struct refine_result {
    uint16_t *choice; /* [n_items], owned: free() */
    uint64_t bytes;
    double loss, deviation;       /* measured; NaN without evaluations */
    double start_loss;            /* of the start, measured on the same */
    uint32_t used, asked;         /* evaluations; those of them that were not in the log */
    uint32_t n_plans, n_accepted; /* plans measured, and how many of them were better than the best so far */
    int stopped;                  /* the number other than 0 that a call returned; the rest holds up to there */
} refine_result;

/* From the plan `start` (option indices of `t`, whose losses are predictions in any unit) to one that loses less by
 * measurement, or `start` itself: a plan replaces the best so far only if its measured loss is lower. In rounds,
 *   1. marginals: the next option up and the next down of each item on its own Pareto front, around the best plan;
 *      most promising first (gain per byte), in no more than three quarters of what is left of the evaluations;
 *   2. trust region: with measured differences where there are any and predicted ones scaled by the item's measured
 *      ratio elsewhere, solve_exact() over the options at most two steps away; plans that change more than a share of
 *      the items are held back by a price per change; a plan that measures worse halves the share;
 *   3. swaps, once that gives nothing more: one item up, another down, by predicted gain.
 * Deterministic. SEARCH_INFEASIBLE if `start` exceeds the budget, SEARCH_INVALID for a bad table or start, or a
 * measurement that is not finite. Nothing is returned unless the result is SEARCH_OK. */
search_status refine(const cost_table *t, const uint16_t *start, const refine_options *options,
                     const refine_calls *calls, refine_result *out);
#endif
