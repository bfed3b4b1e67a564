/* cost_table.h - the search's whole world: items with options, each option with a cost in bytes and a loss.
 *
 * An item is one side (keys or values) of one layer; a plan picks one option per item. Predicted loss is additive
 * (methods.md section 5). This folder knows no model, no file and no codec. */
#ifndef SEARCH_COST_TABLE_H
#define SEARCH_COST_TABLE_H
#include <stddef.h>
#include <stdint.h>

typedef struct cost_option {
    uint64_t bytes; /* true bytes at the reference context, metadata, window and sinks included */
    double loss;    /* >= 0, finite */
} cost_option;

typedef struct cost_table {
    uint32_t n_items;
    uint32_t *n_options;   /* [n_items] */
    cost_option **options; /* [n_items][n_options] */
} cost_table;

typedef enum search_status { SEARCH_OK, SEARCH_INFEASIBLE, SEARCH_NO_MEMORY, SEARCH_INVALID } search_status;

/* One point of the exact front: no plan of at most `bytes` has a smaller loss. */
typedef struct front_point {
    uint64_t bytes;
    double loss;
    uint16_t *choice; /* [n_items] option indices as in the table given */
} front_point;
typedef struct front {
    size_t n;
    front_point *points; /* bytes strictly rising, loss strictly falling */
} front;

/* keep[i][o] = 1 where option o of item i is on the item's own Pareto front (ties: lower index). Caller frees keep[i]... */
search_status pareto_prune(const cost_table *t, uint8_t **keep);

/* Exact multiple-choice knapsack by dynamic programming over bytes (all distinct sums up to unit = gcd of the byte differences; if
 * that needs more than max_cells table cells the unit is coarsened by rounding costs *up*, and *coarse_unit reports it, else it is
 * the exact unit). Every budget's optimum at once. Deterministic: ties go to fewer bytes, then lower option indices. */
search_status solve_exact(const cost_table *t, size_t max_cells, front *out, uint64_t *unit);
/* The best point with bytes <= budget, or NULL: infeasible, the cheapest point is points[0]. */
const front_point *front_at_bytes(const front *f, uint64_t budget);
/* The cheapest point with loss <= limit, or NULL: the smallest loss is that of the last point. */
const front_point *front_at_loss(const front *f, double limit);
void front_free(front *f);

/* Baseline: start from the cheapest options, repeatedly take the step with the largest loss reduction per byte. */
search_status solve_greedy(const cost_table *t, uint64_t budget, front_point *out);
#endif
