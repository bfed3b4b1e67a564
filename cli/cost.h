/* cost.h - a profile as the search's cost table: one item per layer and side, one option per candidate that is worth
 * having. */
#ifndef CLI_COST_H
#define CLI_COST_H
#include "cost_table.h"
#include "profile.h"

/* Item 2 l is layer l's keys, item 2 l + 1 its values. Options: the Pareto front of (bytes at the context, local
 * loss). */
typedef struct priced {
    cost_table table;
    uint16_t **candidate; /* [n_items][n_options] index among the profile's candidates of that side */
} priced;

kvc_status priced_new(priced *out, const profile *p, uint64_t context, kvc_error *err);
void priced_free(priced *priced);
kvc_status search_failed(search_status status, kvc_error *err);
#endif
