/* solve_minimax.h - plans for several texts ("domains"): the least largest loss over them.
 *
 * Every option has a loss in each domain, and a plan's loss in a domain is the sum. Of all plans x within a budget
 * the one is wanted whose largest sum is least. Weights w >= 0 that add up to 1 bound it from below, max_d L_d(x) >=
 * sum_d w_d L_d(x) >= min over plans of sum_d w_d L_d, and with the weights that make this bound highest the plans of
 * least weighted loss are near the one wanted. */
#ifndef SEARCH_SOLVE_MINIMAX_H
#define SEARCH_SOLVE_MINIMAX_H
#include "cost_table.h"

typedef struct domain_losses {
    uint32_t n;          /* domains */
    double *const *loss; /* [n_items][n_options][n], each >= 0 and finite */
} domain_losses;

/* The largest sum over domains. */
double minimax_loss(const cost_table *t, const domain_losses *d, const uint16_t *choice);
/* The options' losses become the weighted sums. */
void minimax_weigh(cost_table *t, const domain_losses *d, const double *weights);

/* Weights [d->n] for a budget, by a fixed number of multiplicative steps on the Lagrangian relaxation of the budget.
 * *bound (may be NULL): no plan within the budget has a smaller largest loss. Time O(items * options * (domains +
 * 50)) a step. SEARCH_INFEASIBLE if no plan fits. */
search_status minimax_weights(const cost_table *t, const domain_losses *d, uint64_t budget, double *weights,
                              double *bound);

/* A plan within the budget: the best by largest loss of the plans that minimax_weights() came by, the exact front at
 * its weights and the front at the table's own losses (which the plan therefore never falls behind), then improved by
 * changes of one option and of two while these help. out->loss is its largest loss. weights and bound as above. t's
 * own losses, those of the mean, say, stay. free(out->choice). */
search_status solve_minimax(const cost_table *t, const domain_losses *d, uint64_t budget, size_t max_cells,
                            double *weights, double *bound, front_point *out);
/* The point of a front with bytes <= budget whose largest loss is least (ties: fewer bytes), or NULL. */
const front_point *front_minimax(const front *f, const cost_table *t, const domain_losses *d, uint64_t budget);
#endif
