/* table.h - what the solvers share about cost tables. */
#ifndef SEARCH_TABLE_H
#define SEARCH_TABLE_H
#include "cost_table.h"

search_status table_check(const cost_table *t);
/* Index of an item's cheapest option (ties: smaller loss, then lower index). */
uint32_t cheapest_option(const cost_table *t, uint32_t item);
/* The loss of a plan, summed in item order, and its bytes. */
void price_plan(const cost_table *t, front_point *plan);
#endif
