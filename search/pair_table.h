/* pair_table.h - layers whose options are pairs: an option of item 2 l with one of item 2 l + 1. */
#ifndef SEARCH_PAIR_TABLE_H
#define SEARCH_PAIR_TABLE_H
#include "constrain.h"

typedef struct pair {
    uint16_t option[2];
    uint64_t page, constants; /* 0 where they do not matter */
} pair;

typedef struct pair_table {
    const cost_table *t; /* borrowed */
    uint32_t n_layers, n;
    pair *pairs;       /* [n] by rising page */
    cost_option *cost; /* [n_layers][n] */
} pair_table;

/* All pairs of options that are not worse in every respect, in every layer, than another of their side. */
search_status pair_table_new(pair_table *out, const cost_table *t, const constraints *c);
void pair_table_free(pair_table *p);
static inline cost_option *pair_cost(const pair_table *p, uint32_t layer, uint32_t pair)
{
    return p->cost + (size_t)layer * p->n + pair;
}
#endif
