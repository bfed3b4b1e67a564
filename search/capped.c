/* capped.c - see capped.h. For a price mu of a unit of weight the plan of least loss + mu * weight is a knapsack
 * again, whose front holds the best plan for every budget; the plans that keep the cap are collected over some mu.
 * Weights count from each item's least, so that an endless price leaves plans of least weight at their own losses. */
#include "capped.h"
#include "pool.h"
#include "table.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct capped {
    const cost_table *t;
    const uint64_t *const *weight;
    uint64_t cap;
    uint32_t prices;
    size_t max_cells;
    uint64_t low, high; /* bytes of the front without a cap */
    cost_table priced;  /* the table with losses that weight is added to */
    pool pool;
} capped;

static uint64_t least_weight(const capped *c, uint32_t item)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t o = 0; o < c->t->n_options[item]; o++)
        if (c->weight[item][o] < least) least = c->weight[item][o];
    return least;
}

static uint64_t greatest_weight(const capped *c, uint32_t item)
{
    uint64_t greatest = 0;
    for (uint32_t o = 0; o < c->t->n_options[item]; o++)
        if (c->weight[item][o] > greatest) greatest = c->weight[item][o];
    return greatest;
}

static void take_slope(slopes *s, const cost_table *t, const uint64_t *const *weight, uint32_t item, uint32_t a,
                       uint32_t b)
{
    const cost_option *from = &t->options[item][a], *to = &t->options[item][b];
    double rise =
        weight ? (double)weight[item][b] - (double)weight[item][a] : (double)to->bytes - (double)from->bytes;
    double fall = from->loss - to->loss;
    if (!(rise > 0) || !(fall > 0)) return;
    if (s->high == 0 || fall / rise < s->low) s->low = fall / rise;
    if (fall / rise > s->high) s->high = fall / rise;
}

slopes slopes_of(const cost_table *t, const uint64_t *const *weight)
{
    slopes s = {0};
    for (uint32_t i = 0; i < t->n_items; i++)
        for (uint32_t a = 0; a < t->n_options[i]; a++)
            for (uint32_t b = 0; b < t->n_options[i]; b++) take_slope(&s, t, weight, i, a, b);
    return s;
}

double slopes_at(const slopes *s, uint32_t i, uint32_t n)
{
    return n > 1 ? s->low * pow(s->high / s->low, (double)i / (n - 1)) : sqrt(s->low * s->high);
}

static uint64_t plan_weight(const capped *c, const uint16_t *choice)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < c->t->n_items; i++) sum += c->weight[i][choice[i]];
    return sum;
}

/* At which of 64 budgets, evenly spread, the best plan keeps the cap. */
static uint64_t kept_budgets(const capped *c, const front *f)
{
    uint64_t mask = 0;
    for (int k = 0; k < 64; k++) {
        const front_point *p = front_at_bytes(f, c->low + (uint64_t)((double)(c->high - c->low) * k / 63));
        if (p && plan_weight(c, p->choice) <= c->cap) mask |= UINT64_C(1) << k;
    }
    return mask;
}

/* The front at one price of weight; what keeps the cap joins the pool. */
static search_status solve_at(capped *c, double mu, uint64_t *kept)
{
    front f;
    for (uint32_t i = 0; i < c->t->n_items; i++) {
        uint64_t least = least_weight(c, i);
        for (uint32_t o = 0; o < c->t->n_options[i]; o++) {
            cost_option of = c->t->options[i][o];
            c->priced.options[i][o] = (cost_option){of.bytes, of.loss + mu * (double)(c->weight[i][o] - least)};
        }
    }
    search_status status = solve_exact(&c->priced, c->max_cells, &f, NULL);
    if (status != SEARCH_OK) return status;
    if (mu == 0) c->low = f.points[0].bytes, c->high = f.points[f.n - 1].bytes;
    for (size_t i = 0; status == SEARCH_OK && i < f.n; i++) {
        front_point *p = &f.points[i];
        price_plan(c->t, p);
        if (plan_weight(c, p->choice) <= c->cap && !pool_add(&c->pool, p->bytes, p->loss, p->choice))
            status = SEARCH_NO_MEMORY;
    }
    *kept = kept_budgets(c, &f);
    front_free(&f);
    return status;
}

typedef struct sample {
    double mu;
    uint64_t kept;
} sample;

/* Between two samples many budgets begin to be kept, and the prices are far apart. */
static double doubt(const sample *a, const sample *b)
{
    return __builtin_popcountll(b->kept & ~a->kept) * log(b->mu / a->mu);
}

/* Prices where most is undecided: samples [n] by rising mu are split until there are `prices` of them. */
static search_status split(capped *c, sample *samples, uint32_t n)
{
    search_status status = SEARCH_OK;
    while (status == SEARCH_OK && n < c->prices) {
        uint32_t at = 0;
        for (uint32_t i = 1; i + 1 < n; i++)
            if (doubt(&samples[i], &samples[i + 1]) > doubt(&samples[at], &samples[at + 1])) at = i;
        if (doubt(&samples[at], &samples[at + 1]) < 0.01) break;
        sample middle = {sqrt(samples[at].mu * samples[at + 1].mu), 0};
        status = solve_at(c, middle.mu, &middle.kept);
        memmove(samples + at + 2, samples + at + 1, (n++ - at - 1) * sizeof *samples);
        samples[at + 1] = middle;
    }
    return status;
}

/* The least plan at no price, at endless price, and at prices between. */
static search_status solve_prices(capped *c)
{
    slopes s = slopes_of(c->t, c->weight);
    sample *samples = malloc((c->prices + 2) * sizeof *samples);
    double total = 1;
    uint64_t kept;
    for (uint32_t i = 0; i < c->t->n_items; i++) {
        double most = 0;
        for (uint32_t o = 0; o < c->t->n_options[i]; o++) most = fmax(most, c->t->options[i][o].loss);
        total += most;
    }
    search_status status = samples ? solve_at(c, 0, &kept) : SEARCH_NO_MEMORY;
    if (status == SEARCH_OK && s.high > 0 && kept != UINT64_MAX) {
        samples[0] = (sample){s.low, kept};
        samples[1].mu = 2 * s.high;
        status = solve_at(c, samples[1].mu, &samples[1].kept);
        if (status == SEARCH_OK) status = split(c, samples, 2);
    }
    if (status == SEARCH_OK) status = solve_at(c, 2 * total, &kept);
    free(samples);
    return status;
}

/* The single step within bytes and cap that lowers the loss most; false: none does. */
static bool step(const capped *c, front_point *plan, uint64_t *weight, uint64_t budget)
{
    uint32_t item = 0, option = 0;
    double best = 0;
    for (uint32_t i = 0; i < c->t->n_items; i++) {
        const cost_option *now = &c->t->options[i][plan->choice[i]];
        uint64_t bytes = budget - plan->bytes + now->bytes, room = c->cap - *weight + c->weight[i][plan->choice[i]];
        for (uint32_t o = 0; o < c->t->n_options[i]; o++) {
            const cost_option *to = &c->t->options[i][o];
            if (now->loss - to->loss <= best || to->bytes > bytes || c->weight[i][o] > room) continue;
            best = now->loss - to->loss;
            item = i;
            option = o;
        }
    }
    if (best <= 0) return false;
    *weight += c->weight[item][option] - c->weight[item][plan->choice[item]];
    plan->choice[item] = (uint16_t)option;
    price_plan(c->t, plan);
    return true;
}

/* Every point, and what the one before has become, as far as single steps lead. */
static search_status polish(capped *c)
{
    front f;
    front_point last = {.loss = INFINITY};
    search_status status = pool_front(&c->pool, &f);
    for (size_t i = 0; status == SEARCH_OK && i < f.n; i++) {
        front_point plan = f.points[i].loss < last.loss ? f.points[i] : last;
        uint64_t weight = plan_weight(c, plan.choice);
        while (step(c, &plan, &weight, f.points[i].bytes)) continue;
        if (!pool_add(&c->pool, plan.bytes, plan.loss, plan.choice)) status = SEARCH_NO_MEMORY;
        last = plan;
    }
    front_free(&f);
    return status;
}

static bool copy_table(capped *c)
{
    cost_table *p = &c->priced;
    *p = (cost_table){c->t->n_items, c->t->n_options, calloc(c->t->n_items, sizeof *p->options)};
    for (uint32_t i = 0; p->options && i < p->n_items; i++) {
        p->options[i] = malloc(p->n_options[i] * sizeof *p->options[i]);
        if (!p->options[i]) return false;
    }
    return p->options;
}

static void free_all(capped *c)
{
    for (uint32_t i = 0; c->priced.options && i < c->t->n_items; i++) free(c->priced.options[i]);
    free(c->priced.options);
    pool_free(&c->pool);
}

search_status solve_capped(const cost_table *t, const uint64_t *const *weight, uint64_t cap, uint32_t prices,
                           size_t max_cells, front *out)
{
    uint64_t least = 0, greatest = 0;
    capped c = {t, weight, cap, prices, max_cells, .pool.n_items = t->n_items};
    *out = (front){0};
    search_status status = table_check(t);
    if (status != SEARCH_OK) return status;
    for (uint32_t i = 0; i < t->n_items; i++) {
        least += least_weight(&c, i);
        greatest += greatest_weight(&c, i);
    }
    if (greatest <= cap) return solve_exact(t, max_cells, out, NULL);
    if (least > cap) return SEARCH_INFEASIBLE;
    status = copy_table(&c) ? solve_prices(&c) : SEARCH_NO_MEMORY;
    if (status == SEARCH_OK) status = polish(&c);
    if (status == SEARCH_OK) status = pool_front(&c.pool, out);
    free_all(&c);
    return status;
}
