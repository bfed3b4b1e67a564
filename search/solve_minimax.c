/* solve_minimax.c - see solve_minimax.h. The bound g(w) is concave and piecewise linear; its slopes are the domains'
 * losses of the relaxed optimum, a mixture of two plans, one on either side of the budget. */
#include "solve_minimax.h"
#include "minimax_polish.h"
#include "table.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 100, HALVINGS = 48 };
#define RATE 4.0 /* of the first step, in the logarithm of a weight */

/* ---- sums ---- */

void minimax_sums(const cost_table *t, const domain_losses *d, const uint16_t *choice, double *sums)
{
    memset(sums, 0, d->n * sizeof *sums);
    for (uint32_t i = 0; i < t->n_items; i++)
        for (uint32_t k = 0; k < d->n; k++) sums[k] += d->loss[i][(size_t)choice[i] * d->n + k];
}

double minimax_largest(const double *sums, uint32_t n)
{
    double most = 0;
    for (uint32_t k = 0; k < n; k++) most = sums[k] > most ? sums[k] : most;
    return most;
}

double minimax_loss(const cost_table *t, const domain_losses *d, const uint16_t *choice)
{
    double most = 0;
    for (uint32_t k = 0; k < d->n; k++) {
        double sum = 0;
        for (uint32_t i = 0; i < t->n_items; i++) sum += d->loss[i][(size_t)choice[i] * d->n + k];
        most = sum > most ? sum : most;
    }
    return most;
}

void minimax_weigh(cost_table *t, const domain_losses *d, const double *weights)
{
    for (uint32_t i = 0; i < t->n_items; i++)
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            double sum = 0;
            for (uint32_t k = 0; k < d->n; k++) sum += weights[k] * d->loss[i][(size_t)o * d->n + k];
            t->options[i][o].loss = sum;
        }
}

/* ---- the table, weighted ---- */

static void weighted_free(cost_table *t)
{
    if (t->options) free(t->options[0]);
    free(t->options);
}

/* A table of the same bytes with losses of its own. */
static search_status weighted_new(cost_table *out, const cost_table *t)
{
    size_t total = 0;
    for (uint32_t i = 0; i < t->n_items; i++) total += t->n_options[i];
    *out = (cost_table){t->n_items, t->n_options, calloc(t->n_items, sizeof *out->options)};
    cost_option *next = malloc(total * sizeof *next);
    if (!out->options || !next) {
        free(out->options);
        free(next);
        return SEARCH_NO_MEMORY;
    }
    for (uint32_t i = 0; i < t->n_items; next += t->n_options[i++]) {
        out->options[i] = next;
        memcpy(next, t->options[i], t->n_options[i] * sizeof *next);
    }
    return SEARCH_OK;
}

/* ---- relaxation ---- */

typedef struct relaxed {
    const cost_table *table; /* weighted */
    const domain_losses *domains;
    uint64_t budget;
    uint16_t *low, *high;    /* [n_items] plans of the lowest price that fits, and of the highest that does not */
    double *low_sums, *sums; /* [n] of `low`; of the mixture that fits exactly */
    double bound;            /* of the weighted loss */
} relaxed;

/* The plan of least loss + price * bytes; ties: fewer bytes. Returns that sum, *bytes of the plan. */
static double best_at(const cost_table *t, double price, uint16_t *choice, uint64_t *bytes)
{
    double total = 0;
    *bytes = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        const cost_option *options = t->options[i];
        double least = INFINITY;
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            double sum = options[o].loss + price * (double)options[o].bytes;
            if (sum > least || (sum == least && options[o].bytes >= options[choice[i]].bytes)) continue;
            least = sum;
            choice[i] = (uint16_t)o;
        }
        total += least;
        *bytes += options[choice[i]].bytes;
    }
    return total;
}

/* At this price every item takes its cheapest option. */
static double highest_price(const cost_table *t)
{
    double highest = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        const cost_option *cheapest = &t->options[i][cheapest_option(t, i)];
        for (uint32_t o = 0; o < t->n_options[i]; o++)
            if (t->options[i][o].bytes > cheapest->bytes)
                highest = fmax(highest, (cheapest->loss - t->options[i][o].loss) /
                                            (double)(t->options[i][o].bytes - cheapest->bytes));
    }
    return 2 * highest;
}

/* sums = those of `low` and `high`, mixed so that their bytes are the budget. */
static void mix(relaxed *r, uint64_t low_bytes, uint64_t high_bytes)
{
    double share = (double)(r->budget - low_bytes) / (double)(high_bytes - low_bytes);
    minimax_sums(r->table, r->domains, r->high, r->sums);
    for (uint32_t k = 0; k < r->domains->n; k++) r->sums[k] = share * r->sums[k] + (1 - share) * r->low_sums[k];
}

static void solve_relaxed(relaxed *r)
{
    uint64_t bytes, low_bytes, high_bytes;
    double below = 0, above = highest_price(r->table), budget = (double)r->budget;
    r->bound = best_at(r->table, 0, r->high, &high_bytes);
    if (high_bytes <= r->budget) { /* nothing binds */
        memcpy(r->low, r->high, r->table->n_items * sizeof *r->low);
        minimax_sums(r->table, r->domains, r->low, r->low_sums);
        memcpy(r->sums, r->low_sums, r->domains->n * sizeof *r->sums);
        return;
    }
    r->bound = fmax(0, best_at(r->table, above, r->low, &low_bytes) - above * budget);
    for (int i = 0; i < HALVINGS; i++) {
        double price = 0.5 * (below + above), value = best_at(r->table, price, r->low, &bytes) - price * budget;
        r->bound = fmax(r->bound, value);
        if (bytes <= r->budget) {
            above = price;
            low_bytes = bytes;
        } else {
            below = price;
            high_bytes = bytes;
            memcpy(r->high, r->low, r->table->n_items * sizeof *r->low);
        }
    }
    best_at(r->table, above, r->low, &low_bytes);
    minimax_sums(r->table, r->domains, r->low, r->low_sums);
    mix(r, low_bytes, high_bytes);
}

/* ---- weights ---- */

typedef struct ascent {
    cost_table table; /* weighted */
    relaxed relaxed;
    double *now, *best; /* [n] weights; those with the highest bound */
    double bound;
    uint16_t *choice; /* [n_items] the best plan that was seen */
    double least;     /* its largest loss */
} ascent;

static void ascent_free(ascent *a)
{
    weighted_free(&a->table);
    free(a->relaxed.low);
    free(a->relaxed.high);
    free(a->relaxed.low_sums);
    free(a->relaxed.sums);
    free(a->now);
    free(a->best);
    free(a->choice);
}

static search_status ascent_new(ascent *a, const cost_table *t, const domain_losses *d, uint64_t budget)
{
    *a = (ascent){.bound = -1, .least = INFINITY};
    search_status status = weighted_new(&a->table, t);
    if (status != SEARCH_OK) return status;
    a->relaxed = (relaxed){.table = &a->table,
                           .domains = d,
                           .budget = budget,
                           .low = calloc(t->n_items, sizeof(uint16_t)),
                           .high = calloc(t->n_items, sizeof(uint16_t)),
                           .low_sums = calloc(d->n, sizeof(double)),
                           .sums = calloc(d->n, sizeof(double))};
    a->now = calloc(d->n, sizeof *a->now);
    a->best = calloc(d->n, sizeof *a->best);
    a->choice = calloc(t->n_items, sizeof *a->choice);
    if (a->relaxed.low && a->relaxed.high && a->relaxed.low_sums && a->relaxed.sums && a->now && a->best && a->choice)
        return SEARCH_OK;
    return SEARCH_NO_MEMORY;
}

/* Towards the domains that lose most. */
static void step_weights(double *weights, const double *sums, uint32_t n, double rate)
{
    double most = minimax_largest(sums, n), total = 0;
    for (uint32_t k = 0; k < n; k++) total += weights[k] *= most > 0 ? exp(rate * (sums[k] / most - 1)) : 1;
    for (uint32_t k = 0; k < n; k++) weights[k] /= total;
}

static void climb(ascent *a)
{
    const domain_losses *d = a->relaxed.domains;
    for (uint32_t k = 0; k < d->n; k++) a->now[k] = 1.0 / d->n;
    for (int step = 1; step <= STEPS; step++) {
        minimax_weigh(&a->table, d, a->now);
        solve_relaxed(&a->relaxed);
        double largest = minimax_largest(a->relaxed.low_sums, d->n);
        if (largest < a->least) {
            a->least = largest;
            memcpy(a->choice, a->relaxed.low, a->table.n_items * sizeof *a->choice);
        }
        if (a->relaxed.bound > a->bound) {
            a->bound = a->relaxed.bound;
            memcpy(a->best, a->now, d->n * sizeof *a->best);
        }
        step_weights(a->now, a->relaxed.sums, d->n, RATE / sqrt(step));
    }
}

static search_status check(const cost_table *t, const domain_losses *d, uint64_t budget)
{
    uint64_t least = 0;
    if (d->n == 0 || table_check(t) != SEARCH_OK) return SEARCH_INVALID;
    for (uint32_t i = 0; i < t->n_items; i++) {
        least += t->options[i][cheapest_option(t, i)].bytes;
        for (size_t o = 0; o < (size_t)t->n_options[i] * d->n; o++)
            if (!isfinite(d->loss[i][o]) || d->loss[i][o] < 0) return SEARCH_INVALID;
    }
    return least <= budget ? SEARCH_OK : SEARCH_INFEASIBLE;
}

search_status minimax_weights(const cost_table *t, const domain_losses *d, uint64_t budget, double *weights,
                              double *bound)
{
    ascent a;
    search_status status = check(t, d, budget);
    if (status != SEARCH_OK) return status;
    status = ascent_new(&a, t, d, budget);
    if (status == SEARCH_OK) {
        climb(&a);
        memcpy(weights, a.best, d->n * sizeof *weights);
        if (bound) *bound = a.bound;
    }
    ascent_free(&a);
    return status;
}

/* ---- plans ---- */

const front_point *front_minimax(const front *f, const cost_table *t, const domain_losses *d, uint64_t budget)
{
    const front_point *best = NULL;
    double least = INFINITY;
    for (size_t i = 0; i < f->n && f->points[i].bytes <= budget; i++) {
        double loss = minimax_loss(t, d, f->points[i].choice);
        if (loss >= least) continue;
        least = loss;
        best = &f->points[i];
    }
    return best;
}

/* The best point of the table's front, if it is better than what there is. */
static search_status take_front(ascent *a, const cost_table *t, const domain_losses *d, uint64_t budget,
                                size_t max_cells)
{
    front f;
    search_status status = solve_exact(t, max_cells, &f, NULL);
    if (status != SEARCH_OK) return status;
    const front_point *point = front_minimax(&f, t, d, budget);
    double loss = point ? minimax_loss(t, d, point->choice) : INFINITY;
    if (loss < a->least) {
        a->least = loss;
        memcpy(a->choice, point->choice, t->n_items * sizeof *a->choice);
    }
    front_free(&f);
    return SEARCH_OK;
}

search_status solve_minimax(const cost_table *t, const domain_losses *d, uint64_t budget, size_t max_cells,
                            double *weights, double *bound, front_point *out)
{
    ascent a;
    *out = (front_point){0};
    search_status status = check(t, d, budget);
    if (status != SEARCH_OK) return status;
    status = ascent_new(&a, t, d, budget);
    if (status == SEARCH_OK) {
        climb(&a);
        memcpy(weights, a.best, d->n * sizeof *weights);
        if (bound) *bound = a.bound;
        minimax_weigh(&a.table, d, weights);
        status = take_front(&a, &a.table, d, budget, max_cells);
    }
    if (status == SEARCH_OK) status = take_front(&a, t, d, budget, max_cells);
    if (status == SEARCH_OK) status = minimax_polish(t, d, budget, a.choice);
    if (status == SEARCH_OK) {
        *out = (front_point){.choice = a.choice};
        price_plan(t, out);
        out->loss = minimax_loss(t, d, a.choice);
        a.choice = NULL;
    }
    ascent_free(&a);
    return status;
}
