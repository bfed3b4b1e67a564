/* refine_local.c - see refine_local.h. */
#include "refine_local.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An item's own ratio of measured to predicted counts within this factor of the ratio over all items: a step that
 * measures as nothing says little about the next one. */
#define RATIO_SPREAD 8.0
enum { PRICE_HALVINGS = 24 };

/* ---- ladders ---- */

static bool comes_before(const cost_option *options, uint16_t a, uint16_t b)
{
    if (options[a].bytes != options[b].bytes) return options[a].bytes < options[b].bytes;
    if (options[a].loss != options[b].loss) return options[a].loss > options[b].loss;
    return a < b;
}

static void insert(ladder *l, const cost_option *options, uint16_t option)
{
    uint32_t at = l->n++;
    for (; at > 0 && comes_before(options, option, l->option[at - 1]); at--) l->option[at] = l->option[at - 1];
    l->option[at] = option;
}

static search_status build_ladder(ladder *l, const cost_option *options, const uint8_t *keep, uint32_t n,
                                  uint16_t start)
{
    l->option = calloc(n, sizeof *l->option);
    l->up = calloc(n, sizeof *l->up);
    if (!l->option || !l->up) return SEARCH_NO_MEMORY;
    for (uint32_t o = 0; o < n; o++)
        if (keep[o] || o == start) insert(l, options, (uint16_t)o);
    while (l->option[l->at] != start) l->at++;
    for (uint32_t r = 0; r + 1 < l->n; r++) {
        const cost_option *now = &options[l->option[r]], *next = &options[l->option[r + 1]];
        l->up[r] = (ladder_step){.bytes = next->bytes - now->bytes, .predicted = now->loss - next->loss};
    }
    return SEARCH_OK;
}

search_status local_losses_new(local_losses *l, const cost_table *t, const uint16_t *start)
{
    uint8_t **keep;
    *l = (local_losses){.n_items = t->n_items, .ratio = 1};
    search_status status = pareto_prune(t, &keep);
    if (status != SEARCH_OK) return status;
    l->items = calloc(t->n_items, sizeof *l->items);
    if (!l->items) status = SEARCH_NO_MEMORY;
    for (uint32_t i = 0; i < t->n_items && status == SEARCH_OK; i++)
        status = build_ladder(&l->items[i], t->options[i], keep[i], t->n_options[i], start[i]);
    free(keep);
    return status;
}

void local_losses_free(local_losses *l)
{
    for (uint32_t i = 0; l->items && i < l->n_items; i++) {
        free(l->items[i].option);
        free(l->items[i].up);
    }
    free(l->items);
}

/* ---- estimates ---- */

static void fit_ratio(local_losses *l)
{
    double measured = 0, predicted = 0;
    for (uint32_t i = 0; i < l->n_items; i++)
        for (uint32_t r = 0; r + 1 < l->items[i].n; r++) {
            const ladder_step *s = &l->items[i].up[r];
            if (!s->known || !(s->predicted > 0)) continue;
            measured += fmax(0, s->measured);
            predicted += s->predicted;
        }
    l->ratio = measured > 0 ? measured / predicted : 1;
}

void local_losses_learn(local_losses *l, uint32_t item, uint32_t rung, double less)
{
    ladder_step *s = &l->items[item].up[rung];
    s->measured = less;
    s->known = true;
    s->moves = l->moves;
    fit_ratio(l);
}

/* The known step nearest to `rung` that can be compared with a prediction; the lower of two. NULL: none. */
static const ladder_step *nearest_known(const ladder *l, uint32_t rung)
{
    for (uint32_t distance = 1; distance < l->n; distance++)
        for (int side = 0; side < 2; side++) {
            if (side ? rung + distance + 1 >= l->n : rung < distance) continue;
            const ladder_step *s = &l->up[side ? rung + distance : rung - distance];
            if (s->known && s->predicted > 0) return s;
        }
    return NULL;
}

double local_step(const local_losses *l, uint32_t item, uint32_t rung)
{
    const ladder *ladder = &l->items[item];
    const ladder_step *s = &ladder->up[rung], *near;
    if (s->known) return s->measured;
    if (!(near = nearest_known(ladder, rung))) return s->predicted * l->ratio;
    double own = near->measured / near->predicted;
    return s->predicted * fmin(fmax(own, l->ratio / RATIO_SPREAD), l->ratio * RATIO_SPREAD);
}

double local_change(const local_losses *l, uint32_t item, uint32_t rung)
{
    uint32_t at = l->items[item].at;
    double more = 0;
    for (uint32_t r = at; r < rung; r++) more -= local_step(l, item, r);
    for (uint32_t r = rung; r < at; r++) more += local_step(l, item, r);
    return more;
}

void local_losses_move(local_losses *l, const uint32_t *rungs)
{
    for (uint32_t i = 0; i < l->n_items; i++) {
        l->moves += rungs[i] != l->items[i].at;
        l->items[i].at = rungs[i];
    }
}

/* ---- trust region ---- */

typedef struct neighbourhood {
    cost_table table;
    uint32_t *first; /* [n_items] the rung of option 0 */
    double **change; /* [n_items][options] predicted, without a price */
    double range;    /* sum of the items' differences: no plan gains more */
} neighbourhood;

static void neighbourhood_free(neighbourhood *h)
{
    for (uint32_t i = 0; i < h->table.n_items; i++) {
        if (h->table.options) free(h->table.options[i]);
        if (h->change) free(h->change[i]);
    }
    free(h->table.options);
    free(h->table.n_options);
    free(h->first);
    free(h->change);
}

static search_status fill_item(neighbourhood *h, const local_losses *l, const cost_table *t, uint32_t item,
                               uint32_t radius)
{
    const ladder *ladder = &l->items[item];
    uint32_t first = ladder->at > radius ? ladder->at - radius : 0;
    uint32_t n = (ladder->n - ladder->at > radius ? ladder->at + radius + 1 : ladder->n) - first;
    double least = 0, most = 0;
    h->first[item] = first;
    h->table.n_options[item] = n;
    h->table.options[item] = calloc(n, sizeof **h->table.options);
    h->change[item] = calloc(n, sizeof **h->change);
    if (!h->table.options[item] || !h->change[item]) return SEARCH_NO_MEMORY;
    for (uint32_t o = 0; o < n; o++) {
        h->table.options[item][o].bytes = t->options[item][ladder->option[first + o]].bytes;
        h->change[item][o] = local_change(l, item, first + o);
        least = fmin(least, h->change[item][o]);
        most = fmax(most, h->change[item][o]);
    }
    h->range += most - least;
    return SEARCH_OK;
}

static search_status neighbourhood_new(neighbourhood *h, const local_losses *l, const cost_table *t, uint32_t radius)
{
    uint32_t n = l->n_items;
    *h = (neighbourhood){.table = {n, calloc(n, sizeof(uint32_t)), calloc(n, sizeof(cost_option *))},
                         .first = calloc(n, sizeof *h->first),
                         .change = calloc(n, sizeof *h->change)};
    if (!h->table.n_options || !h->table.options || !h->first || !h->change) return SEARCH_NO_MEMORY;
    for (uint32_t i = 0; i < n; i++) {
        search_status status = fill_item(h, l, t, i, radius);
        if (status != SEARCH_OK) return status;
    }
    return SEARCH_OK;
}

/* Losses with `price` for every change, all above zero. */
static void set_losses(neighbourhood *h, const local_losses *l, double price)
{
    for (uint32_t i = 0; i < l->n_items; i++) {
        double least = INFINITY;
        for (uint32_t o = 0; o < h->table.n_options[i]; o++) {
            bool stays = h->first[i] + o == l->items[i].at;
            h->table.options[i][o].loss = h->change[i][o] + (stays ? 0 : price);
            least = fmin(least, h->table.options[i][o].loss);
        }
        for (uint32_t o = 0; o < h->table.n_options[i]; o++) h->table.options[i][o].loss -= least;
    }
}

/* The best plan at a price: rungs, what it gains, and how many items it changes. */
static search_status solve_at(neighbourhood *h, const local_losses *l, double price, uint64_t budget,
                              size_t max_cells, uint32_t *rungs, double *gain, uint32_t *changed)
{
    front f;
    set_losses(h, l, price);
    search_status status = solve_exact(&h->table, max_cells, &f, NULL);
    if (status != SEARCH_OK) return status;
    const front_point *point = front_at_bytes(&f, budget);
    *gain = 0;
    *changed = 0;
    for (uint32_t i = 0; i < l->n_items; i++) {
        rungs[i] = point ? h->first[i] + point->choice[i] : l->items[i].at;
        *changed += rungs[i] != l->items[i].at;
        *gain -= h->change[i][rungs[i] - h->first[i]];
    }
    front_free(&f);
    return SEARCH_OK;
}

/* Bisection for the lowest price at which no more than `most` items change. */
static search_status raise_price(neighbourhood *h, const local_losses *l, uint64_t budget, uint32_t most,
                                 size_t max_cells, uint32_t *rungs, double *gain)
{
    double low = 0, high = h->range;
    uint32_t changed, *trial = malloc(l->n_items * sizeof *trial);
    double trial_gain;
    search_status status = trial ? SEARCH_OK : SEARCH_NO_MEMORY;
    for (uint32_t i = 0; i < l->n_items; i++) rungs[i] = l->items[i].at;
    *gain = 0;
    for (int i = 0; i < PRICE_HALVINGS && status == SEARCH_OK; i++) {
        double price = 0.5 * (low + high);
        status = solve_at(h, l, price, budget, max_cells, trial, &trial_gain, &changed);
        if (status != SEARCH_OK) break;
        if (changed > most) {
            low = price;
            continue;
        }
        high = price;
        if (changed == 0) continue;
        memcpy(rungs, trial, l->n_items * sizeof *trial);
        *gain = trial_gain;
    }
    free(trial);
    return status;
}

search_status local_solve(const local_losses *l, const cost_table *t, uint64_t budget, uint32_t radius, uint32_t most,
                          size_t max_cells, uint32_t *rungs, double *gain)
{
    neighbourhood h;
    uint32_t changed = 0;
    search_status status = neighbourhood_new(&h, l, t, radius);
    if (status == SEARCH_OK) status = solve_at(&h, l, 0, budget, max_cells, rungs, gain, &changed);
    if (status == SEARCH_OK && changed > most) status = raise_price(&h, l, budget, most, max_cells, rungs, gain);
    neighbourhood_free(&h);
    return status;
}
