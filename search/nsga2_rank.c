/* nsga2_rank.c - see nsga2_rank.h. Populations are small: O(n^2). */
#include "nsga2_rank.h"
#include <math.h>
#include <stdlib.h>

static bool dominates(const individual *a, const individual *b)
{
    if (a->violation != b->violation) return a->violation < b->violation;
    for (int k = 0; k < 2; k++)
        if (a->objective[k] > b->objective[k]) return false;
    return a->objective[0] < b->objective[0] || a->objective[1] < b->objective[1];
}

bool is_better(const individual *a, const individual *b)
{
    if (a->rank != b->rank) return a->rank < b->rank;
    if (a->crowding != b->crowding) return a->crowding > b->crowding;
    return a->id < b->id;
}

static int by_rank(const void *a, const void *b)
{
    return is_better(a, b) ? -1 : is_better(b, a);
}

static int by_first(const void *a, const void *b)
{
    const individual *p = a, *q = b;
    if (p->rank != q->rank) return p->rank < q->rank ? -1 : 1;
    if (p->objective[0] != q->objective[0]) return p->objective[0] < q->objective[0] ? -1 : 1;
    if (p->objective[1] != q->objective[1]) return p->objective[1] > q->objective[1] ? -1 : 1;
    return p->id < q->id ? -1 : p->id > q->id;
}

/* Peeled off one front after another. */
static void assign_ranks(individual *all, uint32_t n, uint32_t *dominators)
{
    uint32_t left = n;
    for (uint32_t i = 0; i < n; i++) {
        dominators[i] = 0;
        all[i].rank = UINT32_MAX;
        for (uint32_t j = 0; j < n; j++) dominators[i] += dominates(&all[j], &all[i]);
    }
    for (uint32_t rank = 0; left; rank++) {
        for (uint32_t i = 0; i < n; i++)
            if (all[i].rank == UINT32_MAX && dominators[i] == 0) all[i].rank = rank, left--;
        for (uint32_t i = 0; i < n; i++)
            for (uint32_t j = 0; all[i].rank == rank && j < n; j++)
                if (all[j].rank == UINT32_MAX) dominators[j] -= dominates(&all[i], &all[j]);
    }
}

/* Of one front, sorted by objective 0: the sides of the box between each one's neighbours. */
static void crowd(individual *front, uint32_t n)
{
    for (int k = 0; k < 2; k++) {
        double span = fabs(front[n - 1].objective[k] - front[0].objective[k]);
        for (uint32_t i = 1; i + 1 < n && span > 0; i++)
            front[i].crowding += fabs(front[i + 1].objective[k] - front[i - 1].objective[k]) / span;
    }
    front[0].crowding = front[n - 1].crowding = INFINITY;
}

void rank_and_sort(individual *all, uint32_t n, uint32_t *scratch)
{
    assign_ranks(all, n, scratch);
    qsort(all, n, sizeof *all, by_first);
    for (uint32_t i = 0; i < n; i++) all[i].crowding = 0;
    for (uint32_t i = 0, end; i < n; i = end) {
        for (end = i; end < n && all[end].rank == all[i].rank; end++) continue;
        crowd(all + i, end - i);
    }
    qsort(all, n, sizeof *all, by_rank);
}
