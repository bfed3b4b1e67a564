/* refine_log.h - measurements of a refinement: asked once, counted once, kept. */
#ifndef SEARCH_REFINE_LOG_H
#define SEARCH_REFINE_LOG_H
#include "refine.h"
#include <stdbool.h>

typedef struct known_record {
    refine_record record;
    bool counted; /* needed by this run already */
} known_record;

typedef struct refine_log {
    const cost_table *table;
    const refine_calls *calls;
    uint32_t evaluations, used, asked;
    known_record *known;
    size_t n, capacity;
    uint64_t seed;        /* hash of the table */
    uint16_t *base;       /* [n_items] the plan that the caller was last given */
    bool based;           /* it was given one */
    int stopped;          /* what a call returned */
    search_status status; /* of what went wrong */
} refine_log;

search_status refine_log_new(refine_log *l, const cost_table *t, const refine_options *options,
                             const refine_calls *calls);
void refine_log_free(refine_log *l);
/* From the log or by measurement around `base`, the best plan. False: no answer, as the evaluations are used up, a
 * call said stop, or something failed; the search is at its end. */
bool refine_log_plan(refine_log *l, const uint16_t *base, const uint16_t *choice, double *loss, double *deviation);
bool refine_log_marginal(refine_log *l, const uint16_t *base, uint32_t item, uint16_t option, double *delta);
/* Evaluations that are left. */
uint32_t refine_log_left(const refine_log *l);
#endif
