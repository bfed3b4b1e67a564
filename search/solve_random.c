/* solve_random.c - the baseline that any search must beat: the bytes are spent blindly. Nothing is known of losses
 * but which options of an item are dominated. O(items * options) a step, no more than items * options steps. */
#include "draw.h"
#include "table.h"
#include <stdlib.h>

/* The item's next option by bytes on its own front, or UINT32_MAX at the top. */
static uint32_t next_option(const cost_table *t, uint8_t *const *keep, uint32_t item, uint32_t now)
{
    uint32_t next = UINT32_MAX;
    for (uint32_t o = 0; o < t->n_options[item]; o++) {
        uint64_t bytes = t->options[item][o].bytes;
        if (!keep[item][o] || bytes <= t->options[item][now].bytes) continue;
        if (next == UINT32_MAX || bytes < t->options[item][next].bytes) next = o;
    }
    return next;
}

typedef struct raise {
    uint32_t item, option;
} raise;

/* Raises that fit, of all items. */
static uint32_t list_raises(const cost_table *t, uint8_t *const *keep, const front_point *plan, uint64_t budget,
                            raise *out)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint32_t o = next_option(t, keep, i, plan->choice[i]);
        if (o == UINT32_MAX) continue;
        if (t->options[i][o].bytes - t->options[i][plan->choice[i]].bytes > budget - plan->bytes) continue;
        out[n++] = (raise){i, o};
    }
    return n;
}

static void spend(const cost_table *t, uint8_t *const *keep, uint64_t budget, uint64_t seed, raise *list,
                  front_point *plan)
{
    draws r = {seed};
    for (uint32_t n; (n = list_raises(t, keep, plan, budget, list)) > 0;) {
        raise taken = list[draw_below(&r, n)];
        plan->choice[taken.item] = (uint16_t)taken.option;
        price_plan(t, plan);
    }
}

search_status solve_random(const cost_table *t, uint64_t budget, uint64_t seed, front_point *out)
{
    *out = (front_point){0};
    uint8_t **keep;
    search_status status = pareto_prune(t, &keep);
    if (status != SEARCH_OK) return status;
    front_point plan = {.choice = malloc(t->n_items * sizeof *plan.choice)};
    raise *list = malloc(t->n_items * sizeof *list);
    status = plan.choice && list ? SEARCH_OK : SEARCH_NO_MEMORY;
    for (uint32_t i = 0; status == SEARCH_OK && i < t->n_items; i++) plan.choice[i] = (uint16_t)cheapest_option(t, i);
    if (status == SEARCH_OK) price_plan(t, &plan);
    if (status == SEARCH_OK && plan.bytes > budget) status = SEARCH_INFEASIBLE;
    if (status == SEARCH_OK)
        spend(t, keep, budget, seed, list, &plan);
    else
        free(plan.choice);
    if (status == SEARCH_OK) *out = plan;
    free(list);
    free(keep);
    return status;
}
