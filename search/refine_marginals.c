/* refine_marginals.c - what the neighbours of the best plan lose, one item at a time. */
#include "refine_private.h"
#include <stdlib.h>

typedef struct step {
    uint32_t item, rung; /* from rung to rung + 1 */
    double worth;        /* loss per byte */
} step;

static int by_falling_worth(const void *a, const void *b)
{
    const step *x = a, *y = b;
    if (x->worth != y->worth) return x->worth > y->worth ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

static int by_rising_worth(const void *a, const void *b)
{
    const step *x = a, *y = b;
    if (x->worth != y->worth) return x->worth < y->worth ? -1 : 1;
    return (x->item > y->item) - (x->item < y->item);
}

/* Never measured, or so long ago that a quarter of the items have changed. */
static bool stale(const refiner *r, uint32_t item, uint32_t rung)
{
    const ladder_step *s = &r->local.items[item].up[rung];
    uint64_t patience = r->table->n_items > 4 ? r->table->n_items / 4 : 1;
    return !s->known || r->local.moves - s->moves >= patience;
}

/* Stale steps above (or below) each item of the best plan; returns their number. */
static size_t list_steps(const refiner *r, bool above, step *out)
{
    size_t n = 0;
    for (uint32_t i = 0; i < r->table->n_items; i++) {
        const ladder *l = &r->local.items[i];
        if (above ? l->at + 1 == l->n : l->at == 0) continue;
        uint32_t rung = above ? l->at : l->at - 1;
        uint64_t bytes = l->up[rung].bytes;
        if (!stale(r, i, rung)) continue;
        out[n++] = (step){i, rung, local_step(&r->local, i, rung) / (double)(bytes ? bytes : 1)};
    }
    qsort(out, n, sizeof *out, above ? by_falling_worth : by_rising_worth);
    return n;
}

static bool measure_step(refiner *r, const step *s)
{
    const ladder *l = &r->local.items[s->item];
    bool above = s->rung == l->at;
    double delta;
    if (!refine_log_marginal(&r->log, r->best, s->item, l->option[above ? s->rung + 1 : s->rung], &delta))
        return false;
    local_losses_learn(&r->local, s->item, s->rung, above ? -delta : delta);
    return true;
}

/* The steps up that gain most per byte and the steps down that lose least, in turn. */
static bool measure_steps(refiner *r, step *ups, step *downs)
{
    size_t n_ups = list_steps(r, true, ups), n_downs = list_steps(r, false, downs);
    uint32_t left = refine_log_left(&r->log), allowed = left - (left + 3) / 4;
    for (size_t i = 0; i < n_ups || i < n_downs; i++) {
        if (i < n_ups && allowed-- == 0) return true;
        if (i < n_ups && !measure_step(r, &ups[i])) return false;
        if (i < n_downs && allowed-- == 0) return true;
        if (i < n_downs && !measure_step(r, &downs[i])) return false;
    }
    return true;
}

bool refine_marginals(refiner *r)
{
    size_t n = r->table->n_items;
    step *steps = calloc(2 * n, sizeof *steps);
    bool ok = steps && measure_steps(r, steps, steps + n);
    if (!steps) r->status = SEARCH_NO_MEMORY;
    free(steps);
    return ok;
}
