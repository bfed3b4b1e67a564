/* table.c - validity, Pareto pruning and the byte unit of a cost table. */
#include "table.h"
#include <math.h>
#include <stdlib.h>

#define MAX_OPTIONS 65536u
#define MAX_BYTES (UINT64_C(1) << 62) /* of the dearest plan: sums and roundings cannot wrap */

static search_status check_item(const cost_table *t, uint32_t item, uint64_t *dearest)
{
    *dearest = 0;
    if (!t->n_options[item] || t->n_options[item] > MAX_OPTIONS) return SEARCH_INVALID;
    for (uint32_t o = 0; o < t->n_options[item]; o++) {
        const cost_option *option = &t->options[item][o];
        if (!isfinite(option->loss) || option->loss < 0) return SEARCH_INVALID;
        if (option->bytes > *dearest) *dearest = option->bytes;
    }
    return SEARCH_OK;
}

search_status table_check(const cost_table *t)
{
    uint64_t sum = 0, dearest;
    if (!t->n_items) return SEARCH_INVALID;
    for (uint32_t i = 0; i < t->n_items; i++) {
        if (check_item(t, i, &dearest) != SEARCH_OK || dearest > MAX_BYTES - sum) return SEARCH_INVALID;
        sum += dearest;
    }
    return SEARCH_OK;
}

uint32_t cheapest_option(const cost_table *t, uint32_t item)
{
    uint32_t best = 0;
    for (uint32_t o = 1; o < t->n_options[item]; o++) {
        const cost_option *a = &t->options[item][o], *b = &t->options[item][best];
        if (a->bytes < b->bytes || (a->bytes == b->bytes && a->loss < b->loss)) best = o;
    }
    return best;
}

void price_plan(const cost_table *t, front_point *plan)
{
    plan->bytes = 0;
    plan->loss = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        plan->bytes += t->options[i][plan->choice[i]].bytes;
        plan->loss += t->options[i][plan->choice[i]].loss;
    }
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

uint64_t cost_unit(const cost_table *t)
{
    uint64_t unit = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        uint64_t base = t->options[i][cheapest_option(t, i)].bytes;
        for (uint32_t o = 0; o < t->n_options[i]; o++) unit = gcd(unit, t->options[i][o].bytes - base);
    }
    return unit ? unit : 1;
}

static int dominated(const cost_option *options, uint32_t n, uint32_t o)
{
    const cost_option *a = &options[o];
    for (uint32_t p = 0; p < n; p++) {
        const cost_option *b = &options[p];
        if (b->bytes > a->bytes || b->loss > a->loss) continue;
        if (b->bytes < a->bytes || b->loss < a->loss || p < o) return 1;
    }
    return 0;
}

search_status pareto_prune(const cost_table *t, uint8_t ***keep)
{
    *keep = NULL;
    if (table_check(t) != SEARCH_OK) return SEARCH_INVALID;
    size_t total = 0;
    for (uint32_t i = 0; i < t->n_items; i++) total += t->n_options[i];
    uint8_t **rows = malloc(t->n_items * sizeof *rows + total);
    if (!rows) return SEARCH_NO_MEMORY;
    uint8_t *next = (uint8_t *)(rows + t->n_items);
    for (uint32_t i = 0; i < t->n_items; next += t->n_options[i++]) {
        rows[i] = next;
        for (uint32_t o = 0; o < t->n_options[i]; o++) next[o] = !dominated(t->options[i], t->n_options[i], o);
    }
    *keep = rows;
    return SEARCH_OK;
}
