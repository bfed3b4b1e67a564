/* constrain.c - see constrain.h. Where a constraint ties the sides of a layer, every way ends in pair_set_solve():
 * layers that choose among a set of pairs, whose front is a knapsack again. Without a limit on pairs the set is all
 * pairs; with one, few_pairs.c looks for sets. */
#include "constrain.h"
#include "capped.h"
#include "few_pairs.h"
#include "table.h"
#include <stdlib.h>

enum { BYTE_PRICES = 40, FEWER_BYTE_PRICES = 16, CONSTANT_PRICES = 8, CAP_PRICES = 32, FEWER_CAP_PRICES = 8 };

typedef struct constrained {
    const cost_table *t;
    const constraints *c;
    pair_table all;
    pair_rules rules;
    uint32_t limit;          /* of pairs; 0: none */
    const uint64_t **weight; /* [n_items][n_options] constants; NULL: they do not matter */
    pool pool;
} constrained;

static uint64_t least_of(const uint64_t *list, uint32_t n)
{
    uint64_t least = list[0];
    for (uint32_t i = 1; i < n; i++)
        if (list[i] < least) least = list[i];
    return least;
}

uint64_t least_constants(const cost_table *t, const constraints *c)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < t->n_items; i++) sum += least_of(c->constants[i % 2], t->n_options[i]);
    return sum;
}

static search_status solve_few_pairs(constrained *x, uint32_t n)
{
    few_pairs_prices prices = {.n_byte = x->weight ? FEWER_BYTE_PRICES : BYTE_PRICES, .n_constant = CONSTANT_PRICES};
    if (!x->rules.padded) prices.byte = slopes_of(x->t, NULL); /* else all pairs cost alike */
    if (x->weight) prices.constant = slopes_of(x->t, x->weight);
    return few_pairs_solve(&x->pool, &x->all, &x->rules, n, x->limit, &prices);
}

static search_status solve_pairs(constrained *x, uint32_t n)
{
    if (x->limit) return solve_few_pairs(x, n);
    search_status status = pair_set_solve(&x->pool, &x->all, &x->rules, NULL, n);
    return status == SEARCH_INFEASIBLE ? SEARCH_OK : status; /* of small pages alone; larger ones may do */
}

/* Every size of a page: pairs are sorted by it, so those that fit are the first. */
static search_status solve_equal_pages(constrained *x)
{
    search_status status = SEARCH_OK;
    for (uint32_t n = 1; status == SEARCH_OK && n <= x->all.n; n++) {
        x->rules.padded = x->all.pairs[n - 1].page;
        if (n == x->all.n || x->all.pairs[n].page != x->rules.padded) status = solve_pairs(x, n);
    }
    return status;
}

/* ---- */

static search_status check(const cost_table *t, const constraints *c)
{
    search_status status = table_check(t);
    if (status != SEARCH_OK) return status;
    if (t->n_items % 2) return SEARCH_INVALID;
    for (uint32_t i = 2; i < t->n_items; i++)
        if (t->n_options[i] != t->n_options[i % 2]) return SEARCH_INVALID;
    if (c->max_constants != UINT64_MAX && least_constants(t, c) > c->max_constants) return SEARCH_INFEASIBLE;
    return SEARCH_OK;
}

static void free_all(constrained *x)
{
    pair_table_free(&x->all);
    pool_free(&x->pool);
    free(x->weight);
}

static search_status weigh(constrained *x)
{
    if (x->c->max_constants == UINT64_MAX) return SEARCH_OK;
    x->weight = malloc(x->t->n_items * sizeof *x->weight);
    if (!x->weight) return SEARCH_NO_MEMORY;
    for (uint32_t i = 0; i < x->t->n_items; i++) x->weight[i] = x->c->constants[i % 2];
    return SEARCH_OK;
}

/* Sides are independent where no constraint ties them. */
static search_status solve_sides(constrained *x, front *out)
{
    const pair_rules *r = &x->rules;
    if (!x->weight) return solve_exact(x->t, r->max_cells, out, NULL);
    return solve_capped(x->t, x->weight, r->max_constants, r->prices, r->max_cells, out);
}

static search_status solve_tied(constrained *x, front *out)
{
    search_status status = pair_table_new(&x->all, x->t, x->c);
    if (status == SEARCH_OK) status = x->c->equal_pages ? solve_equal_pages(x) : solve_pairs(x, x->all.n);
    return status == SEARCH_OK ? pool_front(&x->pool, out) : status;
}

search_status solve_constrained(const cost_table *t, const constraints *c, size_t max_cells, front *out)
{
    *out = (front){0};
    search_status status = check(t, c);
    if (status != SEARCH_OK) return status;
    uint32_t limit = c->max_pairs < t->n_items / 2 ? c->max_pairs : 0; /* a pair for every layer is no limit */
    constrained x = {.t = t, .c = c, .limit = limit, .pool.n_items = t->n_items};
    x.rules = (pair_rules){0, c->page_copies, c->max_constants, limit ? FEWER_CAP_PRICES : CAP_PRICES, max_cells};
    status = weigh(&x);
    if (status == SEARCH_OK) status = limit || c->equal_pages ? solve_tied(&x, out) : solve_sides(&x, out);
    free_all(&x);
    return status;
}
