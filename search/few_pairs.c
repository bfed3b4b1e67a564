/* few_pairs.c - see few_pairs.h.
 *
 * Which set of pairs is best depends on the budget. At a price of a byte (and of a constant) it is a facility
 * location: each layer goes to the set's cheapest pair. Every set found at some price is solved exactly for all
 * budgets, since the price's own plan is only one of those it offers. Then each price's budget is looked at again:
 * from the set that is best there so far, the most promising exchanges by price are solved too, as long as that
 * helps. */
#include "few_pairs.h"
#include "facility.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { NEIGHBOURS = 12, ROUNDS = 4 };

typedef struct exchange {
    double total; /* of all layers, at the prices */
    uint32_t place, pair;
} exchange;

typedef struct few_pairs {
    pool *pool;
    const pair_table *p;
    const pair_rules *r;
    uint32_t n, limit;
    uint32_t *set;   /* [limit] */
    uint32_t *trial; /* [limit] */
    uint32_t *tried; /* [n_tried][limit], UINT32_MAX in places that are not used */
    size_t n_tried, room;
    double *cost; /* [n_layers][n] at the prices */
    double *work; /* of choose_facilities() */
} few_pairs;

static void price(few_pairs *x, double per_byte, double per_constant)
{
    for (uint32_t l = 0; l < x->p->n_layers; l++)
        for (uint32_t i = 0; i < x->n; i++)
            x->cost[(size_t)l * x->n + i] = pair_cost(x->p, l, i)->loss +
                                            per_byte * (double)padded_bytes(x->p, x->r, l, i) +
                                            per_constant * (double)x->p->pairs[i].constants;
}

static bool is_new(const few_pairs *x, const uint32_t *set)
{
    size_t bytes = x->limit * sizeof *set;
    for (size_t i = 0; i < x->n_tried; i++)
        if (memcmp(x->tried + i * x->limit, set, bytes) == 0) return false;
    return true;
}

static bool remember(few_pairs *x, const uint32_t *set)
{
    if (x->n_tried == x->room) {
        size_t room = 2 * x->room + 64;
        uint32_t *tried = realloc(x->tried, room * x->limit * sizeof *tried);
        if (!tried) return false;
        x->tried = tried;
        x->room = room;
    }
    memcpy(x->tried + x->n_tried++ * x->limit, set, x->limit * sizeof *set);
    return true;
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The front of a set of k pairs, unless it was tried. */
static search_status solve(few_pairs *x, uint32_t *set, uint32_t k)
{
    qsort(set, k, sizeof *set, by_number);
    for (uint32_t i = k; i < x->limit; i++) set[i] = UINT32_MAX;
    if (!is_new(x, set)) return SEARCH_OK;
    if (!remember(x, set)) return SEARCH_NO_MEMORY;
    search_status status = pair_set_solve(x->pool, x->p, x->r, set, k);
    return status == SEARCH_INFEASIBLE ? SEARCH_OK : status; /* of this set alone */
}

/* Bytes of the plan that a set makes at the prices. */
static uint64_t bytes_at(const few_pairs *x, const uint32_t *set, uint32_t k)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < x->p->n_layers; l++) {
        const double *cost = x->cost + (size_t)l * x->n;
        uint32_t best = set[0];
        for (uint32_t i = 1; i < k; i++)
            if (cost[set[i]] < cost[best]) best = set[i];
        sum += padded_bytes(x->p, x->r, l, best);
    }
    return sum;
}

/* ---- exchanges ---- */

/* The best plan so far within `bytes`, and the pairs it uses into x->set; returns their number, 0: no plan. */
static uint32_t set_of_best(few_pairs *x, uint64_t bytes, double *loss)
{
    size_t at = x->pool->n;
    uint32_t k = 0;
    while (at > 0 && x->pool->points[at - 1].bytes > bytes) at--;
    if (at == 0) return 0;
    const uint16_t *choice = x->pool->choices + x->pool->points[at - 1].row * x->pool->n_items;
    for (uint32_t l = 0; l < x->p->n_layers; l++) {
        uint32_t pair = 0, i = 0;
        while (memcmp(x->p->pairs[pair].option, choice + 2 * l, 2 * sizeof *choice) != 0) pair++;
        while (i < k && x->set[i] != pair) i++;
        if (i == k) x->set[k++] = pair;
    }
    *loss = x->pool->points[at - 1].loss;
    return k;
}

/* Total at the prices if `pair` takes a place of the set of k (place k: joins it). */
static double total_of(const few_pairs *x, uint32_t k, uint32_t place, uint32_t pair)
{
    double sum = 0;
    for (uint32_t l = 0; l < x->p->n_layers; l++) {
        const double *cost = x->cost + (size_t)l * x->n;
        double best = cost[pair];
        for (uint32_t i = 0; i < k; i++)
            if (i != place) best = fmin(best, cost[x->set[i]]);
        sum += best;
    }
    return sum;
}

/* The best exchanges by total, rising; returns their number. */
static uint32_t list_exchanges(const few_pairs *x, uint32_t k, exchange *out)
{
    uint32_t n = 0;
    for (uint32_t place = 0; place < k + (k < x->limit); place++)
        for (uint32_t pair = 0; pair < x->n; pair++) {
            exchange e = {total_of(x, k, place, pair), place, pair};
            uint32_t at = n;
            for (uint32_t i = 0; i < k; i++)
                if (x->set[i] == pair) at = UINT32_MAX;
            if (at == UINT32_MAX || (n == NEIGHBOURS && e.total >= out[n - 1].total)) continue;
            if (n == NEIGHBOURS) at = --n;
            for (; at > 0 && out[at - 1].total > e.total; at--) out[at] = out[at - 1];
            out[at] = e;
            n++;
        }
    return n;
}

static search_status improve_at(few_pairs *x, uint64_t bytes)
{
    double loss, before = INFINITY;
    search_status status = SEARCH_OK;
    for (int round = 0; status == SEARCH_OK && round < ROUNDS; round++) {
        exchange list[NEIGHBOURS];
        if (!pool_tidy(x->pool)) return SEARCH_NO_MEMORY;
        uint32_t k = set_of_best(x, bytes, &loss);
        if (k == 0 || loss >= before) break;
        before = loss;
        uint32_t n = list_exchanges(x, k, list);
        for (uint32_t i = 0; status == SEARCH_OK && i < n; i++) {
            memcpy(x->trial, x->set, k * sizeof *x->trial);
            x->trial[list[i].place] = list[i].pair;
            status = solve(x, x->trial, k + (list[i].place == k));
        }
    }
    return status;
}

/* ---- prices ---- */

static search_status at_prices(few_pairs *x, double per_byte, double per_constant, bool improve)
{
    price(x, per_byte, per_constant);
    uint32_t k = choose_facilities(x->cost, x->p->n_layers, x->n, x->limit, x->set, x->work);
    return improve ? improve_at(x, bytes_at(x, x->set, k)) : solve(x, x->set, k);
}

static search_status at_all_prices(few_pairs *x, const few_pairs_prices *prices, bool improve)
{
    uint32_t n_byte = prices->byte.high > 0 ? prices->n_byte : 0;
    uint32_t n_constant = prices->constant.high > 0 ? prices->n_constant : 0;
    search_status status = SEARCH_OK;
    for (uint32_t j = 0; j <= n_constant; j++) {
        double per_constant = j ? slopes_at(&prices->constant, j - 1, n_constant) : 0;
        for (uint32_t i = 0; status == SEARCH_OK && i <= n_byte; i++)
            status = at_prices(x, i ? slopes_at(&prices->byte, i - 1, n_byte) : 0, per_constant, improve);
    }
    return status;
}

search_status few_pairs_solve(pool *out, const pair_table *p, const pair_rules *r, uint32_t n, uint32_t limit,
                              const few_pairs_prices *prices)
{
    few_pairs x = {.pool = out, .p = p, .r = r, .n = n, .limit = limit};
    x.set = malloc(limit * sizeof *x.set);
    x.trial = malloc(limit * sizeof *x.trial);
    x.cost = malloc((size_t)p->n_layers * n * sizeof *x.cost);
    x.work = malloc((3 * (size_t)p->n_layers + limit) * sizeof *x.work);
    search_status status = x.set && x.trial && x.cost && x.work ? SEARCH_OK : SEARCH_NO_MEMORY;
    if (status == SEARCH_OK) status = pair_set_uniform(out, p, r, n);
    if (status == SEARCH_OK) status = at_all_prices(&x, prices, false);
    if (status == SEARCH_OK) status = at_all_prices(&x, prices, true);
    free(x.set);
    free(x.trial);
    free(x.tried);
    free(x.cost);
    free(x.work);
    return status;
}
