/* capped.h - a second cost with a limit of its own, such as the constants that codecs need. */
#ifndef SEARCH_CAPPED_H
#define SEARCH_CAPPED_H
#include "cost_table.h"

/* A front of plans whose weights add up to at most `cap`; weight [n_items][n_options], each below 2^62 / n_items.
 * With a cap that binds, the points are near, not always on, the true front: `prices` Lagrange multipliers for the
 * weight, an exact front for each (solve_exact), and single steps that use what the cap then leaves. The front begins
 * no later than the cheapest of the plans that have least weight in every item; SEARCH_INFEASIBLE only if even these
 * exceed the cap. Deterministic. */
search_status solve_capped(const cost_table *t, const uint64_t *const *weight, uint64_t cap, uint32_t prices,
                           size_t max_cells, front *out);

/* The smallest and the largest slope -dloss/dweight > 0 between two options of an item, over all items; high 0: none.
 * weight NULL: bytes. */
typedef struct slopes {
    double low, high;
} slopes;
slopes slopes_of(const cost_table *t, const uint64_t *const *weight);
/* The i-th of n multipliers, spread evenly by ratio from low to high. */
double slopes_at(const slopes *s, uint32_t i, uint32_t n);
#endif
