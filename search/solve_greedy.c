/* solve_greedy.c - the baseline that the exact front is compared with. O(steps * all options), no more than
 * n_items * options steps. */
#include "table.h"
#include <stdlib.h>

typedef struct step {
    uint32_t item, option;
    double gain; /* loss reduction per byte; 0: no step */
} step;

static step best_step(const cost_table *t, uint8_t *const *keep, const front_point *plan, uint64_t budget)
{
    step best = {0};
    for (uint32_t i = 0; i < t->n_items; i++) {
        const cost_option *now = &t->options[i][plan->choice[i]];
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            const cost_option *next = &t->options[i][o];
            if (!keep[i][o] || next->bytes <= now->bytes || next->bytes - now->bytes > budget - plan->bytes) continue;
            double gain = (now->loss - next->loss) / (double)(next->bytes - now->bytes);
            if (gain > best.gain) best = (step){i, o, gain};
        }
    }
    return best;
}

search_status solve_greedy(const cost_table *t, uint64_t budget, front_point *out)
{
    *out = (front_point){0};
    uint8_t **keep;
    search_status status = pareto_prune(t, &keep);
    if (status != SEARCH_OK) return status;
    front_point plan = {.choice = malloc(t->n_items * sizeof *plan.choice)};
    if (!plan.choice) {
        free(keep);
        return SEARCH_NO_MEMORY;
    }
    for (uint32_t i = 0; i < t->n_items; i++) plan.choice[i] = (uint16_t)cheapest_option(t, i);
    price_plan(t, &plan);
    if (plan.bytes > budget) {
        free(keep);
        free(plan.choice);
        return SEARCH_INFEASIBLE;
    }
    for (step s; (s = best_step(t, keep, &plan, budget)).gain > 0;) {
        plan.bytes += t->options[s.item][s.option].bytes - t->options[s.item][plan.choice[s.item]].bytes;
        plan.choice[s.item] = (uint16_t)s.option;
    }
    price_plan(t, &plan);
    free(keep);
    *out = plan;
    return SEARCH_OK;
}
