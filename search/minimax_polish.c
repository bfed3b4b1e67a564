/* minimax_polish.c - see minimax_polish.h. A pair of changes is given up at the first domain in which it is no better
 * than the best so far, so that a trial costs few additions. */
#include "minimax_polish.h"
#include "table.h"
#include <stdlib.h>
#include <string.h>

typedef struct change { /* of one item */
    uint32_t item;
    uint16_t option;
    int64_t bytes; /* more */
} change;

typedef struct polisher {
    const cost_table *table;
    const domain_losses *domains;
    uint64_t budget;
    uint16_t *choice;
    uint64_t bytes;  /* of it */
    double *sums;    /* [n] of it */
    change *changes; /* all of a plan's */
    double *more;    /* [changes][n] losses */
    size_t n_changes, best_a, best_b;
    double least;
    uint64_t trials;
} polisher;

static void list_changes(polisher *p)
{
    const cost_table *t = p->table;
    uint32_t n = p->domains->n;
    p->n_changes = 0;
    p->bytes = 0;
    for (uint32_t i = 0; i < t->n_items; i++) {
        const cost_option *now = &t->options[i][p->choice[i]];
        const double *loss = p->domains->loss[i];
        p->bytes += now->bytes;
        for (uint32_t o = 0; o < t->n_options[i]; o++) {
            if (o == p->choice[i]) continue;
            double *more = p->more + p->n_changes * n;
            p->changes[p->n_changes++] = (change){i, (uint16_t)o, (int64_t)(t->options[i][o].bytes - now->bytes)};
            for (uint32_t k = 0; k < n; k++) more[k] = loss[(size_t)o * n + k] - loss[(size_t)p->choice[i] * n + k];
        }
    }
    minimax_sums(t, p->domains, p->choice, p->sums);
    p->least = minimax_largest(p->sums, n);
}

/* Both changes, or a alone where b is a. */
static void try_pair(polisher *p, size_t a, size_t b)
{
    uint32_t n = p->domains->n;
    const double *x = p->more + a * n, *y = p->more + b * n;
    double largest = 0;
    p->trials++;
    for (uint32_t k = 0; k < n; k++) {
        double sum = p->sums[k] + x[k] + (a == b ? 0 : y[k]);
        if (sum > largest) largest = sum;
        if (!(largest < p->least)) return;
    }
    p->least = largest;
    p->best_a = a;
    p->best_b = b;
}

/* The best change within the budget becomes the plan's; 0: there is none. */
static int improve(polisher *p)
{
    list_changes(p);
    double before = p->least;
    int64_t room = (int64_t)(p->budget - p->bytes);
    for (size_t a = 0; a < p->n_changes; a++) {
        if (p->changes[a].bytes <= room) try_pair(p, a, a);
        for (size_t b = a + 1; b < p->n_changes; b++)
            if (p->changes[a].item != p->changes[b].item && p->changes[a].bytes + p->changes[b].bytes <= room)
                try_pair(p, a, b);
    }
    if (!(p->least < before)) return 0;
    p->choice[p->changes[p->best_a].item] = p->changes[p->best_a].option;
    p->choice[p->changes[p->best_b].item] = p->changes[p->best_b].option;
    return 1;
}

search_status minimax_polish(const cost_table *t, const domain_losses *d, uint64_t budget, uint16_t *choice)
{
    size_t total = 0;
    for (uint32_t i = 0; i < t->n_items; i++) total += t->n_options[i];
    polisher p = {.table = t,
                  .domains = d,
                  .budget = budget,
                  .choice = choice,
                  .sums = malloc(d->n * sizeof *p.sums),
                  .changes = malloc(total * sizeof *p.changes),
                  .more = malloc(total * d->n * sizeof *p.more)};
    search_status status = p.sums && p.changes && p.more ? SEARCH_OK : SEARCH_NO_MEMORY;
    while (status == SEARCH_OK && p.trials < MINIMAX_TRIALS && improve(&p)) {
    }
    free(p.sums);
    free(p.changes);
    free(p.more);
    return status;
}
