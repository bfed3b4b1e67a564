/* refine_swaps.c - one item up, another down, so that bytes stay within the budget. Cost: a sort of about 4 n^2 swaps
 * for every one that is accepted. */
#include "refine_private.h"
#include <math.h>
#include <stdlib.h>

enum { ENOUGH_SWAPS = 8 }; /* measured, to know how well swaps are predicted */

typedef struct swap {
    uint32_t up, down;     /* items; up == down: no item goes down */
    uint32_t rises, drops; /* rungs */
    double gain;           /* predicted */
} swap;

static int by_falling_gain(const void *a, const void *b)
{
    const swap *x = a, *y = b;
    if (x->gain != y->gain) return x->gain > y->gain ? -1 : 1;
    if (x->up != y->up) return x->up < y->up ? -1 : 1;
    if (x->down != y->down) return x->down < y->down ? -1 : 1;
    if (x->rises != y->rises) return x->rises < y->rises ? -1 : 1;
    return (x->drops > y->drops) - (x->drops < y->drops);
}

static uint64_t ladder_bytes(const refiner *r, uint32_t item, uint32_t rung)
{
    return r->table->options[item][r->local.items[item].option[rung]].bytes;
}

/* Whether it fits, and may gain anything: a swap whose prediction would have to be wrong by more than half of all
 * that it shifts is not worth a measurement. */
static bool worth_trying(const refiner *r, swap *s, uint64_t free_bytes)
{
    const ladder *up = &r->local.items[s->up], *down = &r->local.items[s->down];
    if (up->at + s->rises >= up->n || s->drops > down->at) return false;
    uint64_t more = ladder_bytes(r, s->up, up->at + s->rises) - ladder_bytes(r, s->up, up->at);
    uint64_t less = s->drops ? ladder_bytes(r, s->down, down->at) - ladder_bytes(r, s->down, down->at - s->drops) : 0;
    if (more > free_bytes + less) return false;
    double gains = -local_change(&r->local, s->up, up->at + s->rises);
    double loses = s->drops ? local_change(&r->local, s->down, down->at - s->drops) : 0;
    s->gain = gains - loses;
    return s->gain >= -0.5 * (fabs(gains) + fabs(loses));
}

/* All swaps around the best plan, or with `out` NULL the most that there can be. */
static size_t list_swaps(const refiner *r, swap *out)
{
    size_t n = 0, n_items = r->table->n_items;
    uint64_t free_bytes = r->options->budget - refine_bytes(r);
    if (!out) return n_items * n_items * FAR * FAR;
    for (uint32_t up = 0; up < n_items; up++)
        for (uint32_t down = 0; down < n_items; down++)
            for (uint32_t rises = 1; rises <= FAR; rises++)
                for (uint32_t drops = up == down ? 0 : 1; drops <= (up == down ? 0 : FAR); drops++) {
                    out[n] = (swap){.up = up, .down = down, .rises = rises, .drops = drops};
                    n += worth_trying(r, &out[n], free_bytes);
                }
    qsort(out, n, sizeof *out, by_falling_gain);
    return n;
}

static bool try_swap(refiner *r, const swap *s, double *gain)
{
    for (uint32_t i = 0; i < r->table->n_items; i++) r->rungs[i] = r->local.items[i].at;
    r->rungs[s->up] += s->rises;
    r->rungs[s->down] -= s->drops;
    if (!refine_try(r, gain)) return false;
    r->miss_square += (*gain - s->gain) * (*gain - s->gain);
    r->n_swaps++;
    return true;
}

/* Predictions of swaps were not yet so wrong that this one could gain. */
static bool hopeless(const refiner *r, const swap *s)
{
    return r->n_swaps >= ENOUGH_SWAPS && s->gain < -3 * sqrt(r->miss_square / r->n_swaps);
}

/* In the order of predicted gain, anew after every one that is accepted. Ends with the list, where the rest of it is
 * hopeless, or when a plan that is better than before has withstood as many swaps as there are items: then marginals
 * around it are worth more. */
static bool try_list(refiner *r, swap *list)
{
    uint32_t accepted = r->n_accepted, in_vain = 0;
    size_t n = list_swaps(r, list);
    double gain;
    for (size_t i = 0; i < n && !hopeless(r, &list[i]);) {
        if (r->n_accepted > accepted && in_vain >= r->table->n_items) return true;
        if (!try_swap(r, &list[i++], &gain)) return false;
        in_vain = gain > 0 ? 0 : in_vain + 1;
        if (!(gain > 0)) continue;
        n = list_swaps(r, list);
        i = 0;
    }
    return true;
}

bool refine_swaps(refiner *r)
{
    swap *list = calloc(list_swaps(r, NULL), sizeof *list);
    bool ok = list && try_list(r, list);
    if (!list) r->status = SEARCH_NO_MEMORY;
    free(list);
    return ok;
}
