/* few_pairs.h - fronts whose plans use few distinct pairs. */
#ifndef SEARCH_FEW_PAIRS_H
#define SEARCH_FEW_PAIRS_H
#include "capped.h"
#include "pair_set.h"

/* Prices that sets are looked for at. */
typedef struct few_pairs_prices {
    slopes byte, constant; /* high 0: no such prices */
    uint32_t n_byte, n_constant;
} few_pairs_prices;

/* Into the pool: plans of at most `limit` distinct pairs among the first n. SEARCH_INFEASIBLE if no plan of one pair
 * keeps max_constants. */
search_status few_pairs_solve(pool *out, const pair_table *p, const pair_rules *r, uint32_t n, uint32_t limit,
                              const few_pairs_prices *prices);
#endif
