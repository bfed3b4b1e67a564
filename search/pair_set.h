/* pair_set.h - the front of layers that choose among a set of pairs. */
#ifndef SEARCH_PAIR_SET_H
#define SEARCH_PAIR_SET_H
#include "pair_table.h"
#include "pool.h"

typedef struct pair_rules {
    uint64_t padded;        /* page size that every layer is padded to; 0: none is */
    uint64_t copies;        /* bytes per byte of padding */
    uint64_t max_constants; /* of all layers */
    uint32_t prices;        /* of solve_capped() */
    size_t max_cells;
} pair_rules;

static inline uint64_t padded_bytes(const pair_table *p, const pair_rules *r, uint32_t layer, uint32_t pair)
{
    uint64_t padding = r->padded ? (r->padded - p->pairs[pair].page) * r->copies : 0;
    return pair_cost(p, layer, pair)->bytes + padding;
}

/* Into the pool: the plans of the front where every layer takes one of pairs[set[0..n)], or of the first n pairs if
 * set is NULL. SEARCH_INFEASIBLE if none keeps max_constants; the pool is as before then. */
search_status pair_set_solve(pool *out, const pair_table *p, const pair_rules *r, const uint32_t *set, uint32_t n);
/* Into the pool: every plan of one pair alone, of the first n. */
search_status pair_set_uniform(pool *out, const pair_table *p, const pair_rules *r, uint32_t n);
#endif
