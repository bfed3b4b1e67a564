/* pair_set.c - see pair_set.h. Each layer becomes an item whose options are the pairs of the set that are worth
 * having there: no other has no more bytes, no more constants and no more loss. */
#include "pair_set.h"
#include "capped.h"
#include "table.h"
#include <stdlib.h>
#include <string.h>

typedef struct offer {
    cost_option cost;
    uint64_t constants;
    uint32_t pair;
} offer;

typedef struct set_table {
    cost_table t;
    uint64_t **weight; /* [n_layers][n_options] */
    uint32_t **pair;
    offer *offers; /* [n] scratch */
} set_table;

static int by_loss(const void *a, const void *b)
{
    const offer *p = a, *q = b;
    if (p->cost.loss != q->cost.loss) return p->cost.loss < q->cost.loss ? -1 : 1;
    if (p->cost.bytes != q->cost.bytes) return p->cost.bytes < q->cost.bytes ? -1 : 1;
    if (p->constants != q->constants) return p->constants < q->constants ? -1 : 1;
    return p->pair < q->pair ? -1 : p->pair > q->pair;
}

/* Those that none before, of no greater loss, is as good as; returns how many. */
static uint32_t prune(offer *offers, uint32_t n)
{
    uint32_t kept = 0;
    qsort(offers, n, sizeof *offers, by_loss);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = 0;
        while (k < kept && (offers[k].cost.bytes > offers[i].cost.bytes || offers[k].constants > offers[i].constants))
            k++;
        if (k == kept) offers[kept++] = offers[i];
    }
    return kept;
}

static bool fill_layer(set_table *s, uint32_t layer, uint32_t n)
{
    s->t.n_options[layer] = n;
    s->t.options[layer] = malloc(n * sizeof *s->t.options[layer]);
    s->weight[layer] = malloc(n * sizeof *s->weight[layer]);
    s->pair[layer] = malloc(n * sizeof *s->pair[layer]);
    if (!s->t.options[layer] || !s->weight[layer] || !s->pair[layer]) return false;
    for (uint32_t i = 0; i < n; i++) {
        s->t.options[layer][i] = s->offers[i].cost;
        s->weight[layer][i] = s->offers[i].constants;
        s->pair[layer][i] = s->offers[i].pair;
    }
    return true;
}

static bool build(set_table *s, const pair_table *p, const pair_rules *r, const uint32_t *set, uint32_t n)
{
    s->t.n_items = p->n_layers;
    s->t.n_options = calloc(p->n_layers, sizeof *s->t.n_options);
    s->t.options = calloc(p->n_layers, sizeof *s->t.options);
    s->weight = calloc(p->n_layers, sizeof *s->weight);
    s->pair = calloc(p->n_layers, sizeof *s->pair);
    s->offers = malloc(n * sizeof *s->offers);
    if (!s->t.n_options || !s->t.options || !s->weight || !s->pair || !s->offers) return false;
    for (uint32_t l = 0; l < p->n_layers; l++) {
        for (uint32_t i = 0; i < n; i++) {
            uint32_t pair = set ? set[i] : i;
            s->offers[i] =
                (offer){{padded_bytes(p, r, l, pair), pair_cost(p, l, pair)->loss}, p->pairs[pair].constants, pair};
        }
        if (!fill_layer(s, l, prune(s->offers, n))) return false;
    }
    return true;
}

static void tear_down(set_table *s)
{
    for (uint32_t l = 0; l < s->t.n_items; l++) {
        if (s->t.options) free(s->t.options[l]);
        if (s->weight) free(s->weight[l]);
        if (s->pair) free(s->pair[l]);
    }
    free(s->t.options);
    free(s->t.n_options);
    free(s->weight);
    free(s->pair);
    free(s->offers);
}

/* A plan of whole pairs; its loss is summed in the order of items, as fronts promise. */
static bool add_plan(pool *out, const pair_table *p, uint64_t bytes, const uint16_t *choice)
{
    front_point plan = {.choice = (uint16_t *)choice};
    price_plan(p->t, &plan);
    return pool_add(out, bytes, plan.loss, choice);
}

static search_status add_plans(pool *out, const pair_table *p, const set_table *s, const front *f)
{
    uint16_t *choice = malloc(2 * p->n_layers * sizeof *choice);
    search_status status = choice ? SEARCH_OK : SEARCH_NO_MEMORY;
    for (size_t i = 0; status == SEARCH_OK && i < f->n; i++) {
        for (uint32_t l = 0; l < p->n_layers; l++)
            memcpy(choice + 2 * l, p->pairs[s->pair[l][f->points[i].choice[l]]].option, 2 * sizeof *choice);
        if (!add_plan(out, p, f->points[i].bytes, choice)) status = SEARCH_NO_MEMORY;
    }
    free(choice);
    return status;
}

search_status pair_set_solve(pool *out, const pair_table *p, const pair_rules *r, const uint32_t *set, uint32_t n)
{
    set_table s = {0};
    front f = {0};
    search_status status = build(&s, p, r, set, n) ? SEARCH_OK : SEARCH_NO_MEMORY;
    if (status == SEARCH_OK)
        status = solve_capped(&s.t, (const uint64_t *const *)s.weight, r->max_constants, r->prices, r->max_cells, &f);
    if (status == SEARCH_OK) status = add_plans(out, p, &s, &f);
    front_free(&f);
    tear_down(&s);
    return status;
}

search_status pair_set_uniform(pool *out, const pair_table *p, const pair_rules *r, uint32_t n)
{
    uint16_t *choice = malloc(2 * p->n_layers * sizeof *choice);
    search_status status = choice ? SEARCH_OK : SEARCH_NO_MEMORY;
    for (uint32_t i = 0; status == SEARCH_OK && i < n; i++) {
        uint64_t bytes = 0;
        if (p->pairs[i].constants > r->max_constants / p->n_layers) continue;
        for (uint32_t l = 0; l < p->n_layers; l++) {
            bytes += padded_bytes(p, r, l, i);
            memcpy(choice + 2 * l, p->pairs[i].option, 2 * sizeof *choice);
        }
        if (!add_plan(out, p, bytes, choice)) status = SEARCH_NO_MEMORY;
    }
    free(choice);
    return status;
}
