/* pool.h - the best plans seen so far: what solvers that try one thing after another put together to a front. */
#ifndef SEARCH_POOL_H
#define SEARCH_POOL_H
#include <stdbool.h>
#include "cost_table.h"

typedef struct pool_point {
    uint64_t bytes;
    double loss;
    size_t row; /* of choices */
} pool_point;

typedef struct pool {
    uint32_t n_items;
    size_t n, capacity, tidied; /* points; room for them; how many the last tidying left */
    pool_point *points;
    uint16_t *choices; /* [capacity][n_items] */
} pool;

/* False: out of memory; the pool keeps what it has. */
bool pool_add(pool *p, uint64_t bytes, double loss, const uint16_t *choice);
/* Only what nothing dominates (of equals the first that came), by rising bytes; points[i].row is i. */
bool pool_tidy(pool *p);
/* The tidied points as a front; the pool is empty then. SEARCH_INFEASIBLE if there are none. */
search_status pool_front(pool *p, front *out);
void pool_free(pool *p);
#endif
