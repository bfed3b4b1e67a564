/* refine_local.h - what a plan's neighbours are believed to lose: ladders of options, measured and predicted steps.
 */
#ifndef SEARCH_REFINE_LOCAL_H
#define SEARCH_REFINE_LOCAL_H
#include "cost_table.h"
#include <stdbool.h>

/* From one rung to the next, which takes more bytes. */
typedef struct ladder_step {
    uint64_t bytes;   /* more */
    double predicted; /* loss less, by the table */
    double measured;  /* loss less, around some best plan */
    bool known;       /* measured is */
    uint64_t moves;   /* local_losses.moves when it was measured */
} ladder_step;

typedef struct ladder {
    uint16_t *option; /* [n] by rising bytes */
    ladder_step *up;  /* [n - 1] rung r to r + 1 */
    uint32_t n, at;   /* rungs; the best plan's */
} ladder;

typedef struct local_losses {
    uint32_t n_items;
    ladder *items;
    double ratio;   /* of measured to predicted, over all known steps; 1 without any */
    uint64_t moves; /* items that changed since the start, added up over the plans accepted */
} local_losses;

/* The options on each item's Pareto front, and the one that `start` takes. */
search_status local_losses_new(local_losses *l, const cost_table *t, const uint16_t *start);
void local_losses_free(local_losses *l);
/* A measured step: item from rung `rung` to the next loses `less` less. */
void local_losses_learn(local_losses *l, uint32_t item, uint32_t rung, double less);
/* Loss less of a step: measured, else predicted in proportion to the nearest measured step of the item. */
double local_step(const local_losses *l, uint32_t item, uint32_t rung);
/* Loss more of an item at another rung. */
double local_change(const local_losses *l, uint32_t item, uint32_t rung);
/* The best plan is now at these rungs [n_items]. */
void local_losses_move(local_losses *l, const uint32_t *rungs);

/* The plan within the budget that is predicted to lose least of those that are at most `radius` rungs and `most`
 * items away from the best: rungs [n_items], *gain what it is predicted to lose less (0: the best plan itself). Where
 * the optimum is further than `most` items away, a price per changed item is raised until it is not. */
search_status local_solve(const local_losses *l, const cost_table *t, uint64_t budget, uint32_t radius, uint32_t most,
                          size_t max_cells, uint32_t *rungs, double *gain);
#endif
