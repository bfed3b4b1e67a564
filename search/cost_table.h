/* cost_table.h - the search's whole world: items with options, each option with a cost in bytes and a loss.
 *
 * An item is one side (keys or values) of one layer; a plan picks one option per item. Predicted loss is
 * additive (methods.md section 5). This folder knows no model, no file and no codec. */
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

/* One point of the front. */
typedef struct front_point {
    uint64_t bytes;
    double loss;      /* summed in item order, from item 0 on */
    uint16_t *choice; /* [n_items] option indices as in the table given */
} front_point;
typedef struct front {
    size_t n;
    front_point *points; /* bytes strictly rising, loss strictly falling */
    uint16_t *choices;   /* the block that the points' choices lie in */
} front;

/* Every function: SEARCH_INVALID for no items, an item without options or with more than 65536, a loss that
 * is negative or not finite, or byte sums beyond 2^62. Nothing is returned unless the result is SEARCH_OK. */

/* keep[i][o] = 1 where option o of item i is on the item's own Pareto front (ties: lower index). One block:
 * free(keep). */
search_status pareto_prune(const cost_table *t, uint8_t ***keep);

/* Exact multiple-choice knapsack by dynamic programming: after each item the Pareto front of all partial
 * plans is kept, so no plan of at most points[i].bytes has a loss below points[i].loss, for every i (also in
 * floating point: rounding is monotone, so a dominated partial plan never overtakes). All items' fronts
 * together hold at most max_cells states; if that is not enough, byte differences are rounded up to multiples
 * of twice the unit, and so on, and the points are then plans with their true bytes but no longer all
 * optimal; SEARCH_NO_MEMORY if even the coarsest unit does not fit. *unit (may be NULL): the byte unit used;
 * exact if it is the gcd of the differences between an item's options. Deterministic. Equal loss: fewer
 * bytes; equal both: the lower option index in the last item where plans differ. Time O(sum of states *
 * options), memory 6 bytes per state and 2 * n_items per point. front_free(out). */
search_status solve_exact(const cost_table *t, size_t max_cells, front *out, uint64_t *unit);
uint64_t cost_unit(const cost_table *t); /* that gcd, for a valid table; 1 if all differences are zero */

/* The best point with bytes <= budget, or NULL: infeasible, the cheapest point is points[0]. */
const front_point *front_at_bytes(const front *f, uint64_t budget);
void front_free(front *f);

/* Baseline: start from the cheapest options, repeatedly take the step that fits the budget and has the
 * largest loss reduction per byte (ties: lower item, lower option). SEARCH_INFEASIBLE if the cheapest options
 * exceed the budget. free(out->choice). */
search_status solve_greedy(const cost_table *t, uint64_t budget, front_point *out);

/* Baseline: start from the cheapest options, raise an item drawn at random to its next option by bytes, while any
 * fits the budget. Dominated options are passed over. With the bytes of the best plan it is the best plan. The same
 * seed gives the same plan. SEARCH_INFEASIBLE as above. free(out->choice). */
search_status solve_random(const cost_table *t, uint64_t budget, uint64_t seed, front_point *out);
#endif
