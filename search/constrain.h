/* constrain.h - fronts of plans that also keep side constraints.
 *
 * Items come in pairs: 2 l and 2 l + 1 are the two sides of layer l. All layers offer the same options in the same
 * order (n_options is the same for all items of a side; options are not pruned), so that an option's index says what
 * it is. */
#ifndef SEARCH_CONSTRAIN_H
#define SEARCH_CONSTRAIN_H
#include <stdbool.h>
#include "cost_table.h"

/* What options are beside their bytes and losses; each [2] is by side, each array [n_options of that side]. */
typedef struct constraints {
    uint32_t max_pairs;           /* distinct pairs (option of 2 l, option of 2 l + 1) in a plan; 0: any number */
    bool equal_pages;             /* all layers' pages are as large as the largest: what lacks is padded */
    uint64_t max_constants;       /* of the options' constants, all items together; UINT64_MAX: any number */
    const uint64_t *page[2];      /* bytes of one page (equal_pages) */
    uint64_t page_copies;         /* how many pages a layer holds: the bytes that a byte of padding costs */
    const uint64_t *constants[2]; /* bytes (max_constants) */
} constraints;

/* The front of plans that keep the constraints. With equal_pages a point's bytes count the padding.
 *     equal_pages alone   exact: for every size of a page the best pair of at most that size in every layer
 *     max_constants       near the true front: solve_capped()
 *     max_pairs           near it: sets of pairs by facility location (facility.h) at many prices of a byte (and of a
 *                         constant), and every set's exact front; all plans of one pair are among the candidates, so
 *                         that what one pair can do, max_pairs can
 * SEARCH_INFEASIBLE only if even least_constants() exceeds max_constants; then, too, nothing is returned.
 * SEARCH_INVALID as in cost_table.h, and for items that are not as above. Deterministic. front_free(out). */
search_status solve_constrained(const cost_table *t, const constraints *c, size_t max_cells, front *out);
/* The least bytes of constants that a plan can have. */
uint64_t least_constants(const cost_table *t, const constraints *c);
#endif
