/* tables.h - small cost tables for the search tests, and their brute-force front. */
#ifndef TESTS_UNIT_TABLES_H
#define TESTS_UNIT_TABLES_H
#include "cost_table.h"
#include <stdlib.h>
#include <string.h>

typedef struct random_state {
    uint64_t x;
} random_state;

static inline uint64_t random_next(random_state *r) /* splitmix64 */
{
    uint64_t z = (r->x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static inline uint64_t random_below(random_state *r, uint64_t n)
{
    return random_next(r) % n;
}

static inline cost_table table_new(uint32_t n_items, const uint32_t *n_options)
{
    cost_table t = {n_items, malloc(n_items * sizeof(uint32_t)), malloc(n_items * sizeof(cost_option *))};
    for (uint32_t i = 0; i < n_items; i++) {
        t.n_options[i] = n_options[i];
        t.options[i] = calloc(n_options[i], sizeof(cost_option));
    }
    return t;
}

static inline void table_free(cost_table *t)
{
    for (uint32_t i = 0; i < t->n_items; i++) free(t->options[i]);
    free(t->options);
    free(t->n_options);
}

/* Costs from few values, so that ties and domination are frequent; `step` divides all differences.
 * Losses are multiples of 1/8 (sums are exact) or, with `rough`, arbitrary doubles of very different size. */
static inline cost_table table_random(random_state *r, uint32_t max_items, uint32_t max_options, uint64_t step,
                                      int rough)
{
    uint32_t n_options[16], n_items = 1 + (uint32_t)random_below(r, max_items);
    for (uint32_t i = 0; i < n_items; i++) n_options[i] = 1 + (uint32_t)random_below(r, max_options);
    cost_table t = table_new(n_items, n_options);
    uint64_t spread = 2 + random_below(r, 12);
    for (uint32_t i = 0; i < n_items; i++) {
        uint64_t base = random_below(r, 1000);
        for (uint32_t o = 0; o < n_options[i]; o++) {
            t.options[i][o].bytes = base + step * random_below(r, spread);
            double loss = (double)random_below(r, spread) / 8;
            t.options[i][o].loss = rough ? loss * (double)random_next(r) * 1e-17 : loss;
        }
    }
    return t;
}

/* All plans one after another: 0 when they are exhausted. */
static inline int next_plan(const cost_table *t, uint16_t *choice)
{
    for (uint32_t i = 0; i < t->n_items; i++) {
        if (++choice[i] < t->n_options[i]) return 1;
        choice[i] = 0;
    }
    return 0;
}

static inline void price(const cost_table *t, const uint16_t *choice, uint64_t *bytes, double *loss)
{
    *bytes = 0;
    *loss = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        *bytes += t->options[i][choice[i]].bytes;
        *loss += t->options[i][choice[i]].loss;
    }
}

/* Smallest loss of all plans with bytes <= budget; -1: none. */
static inline double brute_loss_at(const cost_table *t, uint64_t budget)
{
    uint16_t choice[16] = {0};
    double best = -1;
    do {
        uint64_t bytes;
        double loss;
        price(t, choice, &bytes, &loss);
        if (bytes <= budget && (best < 0 || loss < best)) best = loss;
    } while (next_plan(t, choice));
    return best;
}
#endif
