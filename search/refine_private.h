/* refine_private.h - the state of a refinement, and its three ways to a better plan. */
#ifndef SEARCH_REFINE_PRIVATE_H
#define SEARCH_REFINE_PRIVATE_H
#include "refine.h"
#include "refine_local.h"
#include "refine_log.h"

enum { FAR = 2 }; /* rungs that an item may go in one plan */

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

/* Bytes of the best plan. */
uint64_t refine_bytes(const refiner *r);
/* Measures the plan at r->rungs, *gain its loss less; the best plan from then on if that is above zero. Like all
 * functions that measure it returns false at the end of the search. */
bool refine_try(refiner *r, double *gain);
bool refine_marginals(refiner *r);
bool refine_swaps(refiner *r);
#endif
