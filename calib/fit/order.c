/* order.c - order.h. Both work on ranks, 0 being the channel of most energy, and turn them into channels at the end.
 */
#include "order.h"

#include <stdlib.h>
#include "kvc/codec.h"
#include "water.h"

#define EQUAL 1e-9 /* sums of rates that differ by less are the same */

void classes_add(code_classes *all, uint32_t n, uint32_t dims)
{
    all->class[all->n++] = (code_class){.n = n, .dims = dims, .code = all->n_codes, .position = all->n_kept};
    all->n_codes += n;
    all->n_kept += n * dims;
}

/* ---- ranks ---- */

typedef struct ranked {
    double energy;
    uint16_t channel;
} ranked;

static int by_energy(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->energy != y->energy) return x->energy > y->energy ? -1 : 1;
    return (int)x->channel - (int)y->channel;
}

static void rank_channels(uint32_t d, const double *energy, ranked *ranks)
{
    for (uint32_t i = 0; i < d; i++) ranks[i] = (ranked){energy[i], (uint16_t)i};
    qsort(ranks, d, sizeof *ranks, by_energy);
}

static void ranks_to_channels(const ranked *ranks, uint32_t n, uint16_t *order)
{
    for (uint32_t i = 0; i < n; i++) order[i] = ranks[order[i]].channel;
}

/* ---- bands ---- */

void order_bands(const code_classes *all, uint32_t d, const double *energy, uint16_t *order)
{
    ranked ranks[KVC_MAX_ROW];
    rank_channels(d, energy, ranks);
    for (const code_class *c = all->class; c < all->class + all->n; c++)
        for (uint32_t g = 0; g < c->n; g++)
            for (uint32_t k = 0; k < c->dims; k++)
                order[c->position + g * c->dims + k] = (uint16_t)(c->position + g + k * c->n);
    ranks_to_channels(ranks, all->n_kept, order);
}

/* ---- balanced ---- */

/* rates [d] of the ranks. */
static void find_rates(const ranked *ranks, uint32_t d, double total, double *rates)
{
    double energy[KVC_MAX_ROW];
    for (uint32_t i = 0; i < d; i++) energy[i] = ranks[i].energy;
    water_rates(d, energy, total, rates);
}

/* The code with the least sum that has room; of equal ones the first. */
static uint32_t lightest(const code_classes *all, const double *sums, const uint32_t *held)
{
    uint32_t best = UINT32_MAX;
    for (const code_class *c = all->class; c < all->class + all->n; c++)
        for (uint32_t g = c->code; g < c->code + c->n; g++)
            if (held[g] < c->dims && (best == UINT32_MAX || sums[g] < sums[best] - EQUAL)) best = g;
    return best;
}

static uint32_t position_of(const code_classes *all, uint32_t code)
{
    const code_class *c = all->class;
    while (code >= c->code + c->n) c++;
    return c->position + (code - c->code) * c->dims;
}

static int by_first(const void *a, const void *b)
{
    return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

void order_balanced(const code_classes *all, uint32_t bits, uint32_t d, const double *energy, uint16_t *order)
{
    ranked ranks[KVC_MAX_ROW];
    double rates[KVC_MAX_ROW], sums[KVC_MAX_ROW] = {0};
    uint32_t held[KVC_MAX_ROW] = {0};
    rank_channels(d, energy, ranks);
    find_rates(ranks, d, (double)bits * all->n_codes, rates);
    for (uint32_t rank = 0; rank < all->n_kept; rank++) {
        uint32_t code = lightest(all, sums, held);
        order[position_of(all, code) + held[code]++] = (uint16_t)rank;
        sums[code] += rates[rank];
    }
    for (const code_class *c = all->class; c < all->class + all->n; c++)
        qsort(order + c->position, c->n, c->dims * sizeof *order, by_first);
    ranks_to_channels(ranks, all->n_kept, order);
}
