/* cost.h - a profile as the search's cost table: one item per layer and side, one option per candidate that is worth
 * having.
 *
 * The loss of a candidate is its price where the profile has prices: the KL of the whole model with that item alone
 * compressed. What was not measured follows the item's measured prices along its local losses (item_price.h). Without
 * prices it is profile_loss(): |dO Wo|^2 relative to the residual stream. */
#ifndef CLI_COST_H
#define CLI_COST_H
#include "cost_table.h"
#include "profile.h"

/* Item 2 l is layer l's keys, item 2 l + 1 its values. Options: the Pareto front of (bytes at the context, loss), or
 * of bytes, loss and the loss in each domain. */
typedef struct priced {
    cost_table table;
    uint16_t **candidate; /* [n_items][n_options] index among the profile's candidates of that side */
    double **loss;        /* [n_items][n_keys or n_values] of every candidate */
    uint32_t n_domains;   /* whose losses are told apart; 0: none */
    double **domain_loss; /* [n_items][n_keys or n_values][n_domains] */
    bool from_prices;
} priced;

/* Which candidates may be options. */
typedef struct candidate_filter {
    bool *keys, *values; /* [n_keys], [n_values]; NULL: all */
    bool alike;          /* all of them in every layer, in the same order, not only those worth having there */
    bool domains;        /* tell the profile's domains apart */
} candidate_filter;

/* Losses are those of the profile's own policy, bytes are counted with `tokens` (of the profile's page). only: may be
 * NULL. */
kvc_status priced_new(priced *out, const profile *p, const kvc_token_policy *tokens, uint64_t context,
                      const candidate_filter *only, kvc_error *err);
/* From local losses, whatever prices there are. */
kvc_status priced_new_local(priced *out, const profile *p, uint64_t context, kvc_error *err);
void priced_free(priced *priced);
kvc_status search_failed(search_status status, kvc_error *err);
#endif
