/* nsga2.h - NSGA-II (Deb et al. 2002) on integers: the front of two objectives, both to be small, asked of the caller
 * a bounded number of times.
 *
 * Binary tournaments by rank and crowding, uniform crossover, mutation of each gene with probability 1 / genes. What
 * was evaluated once is not evaluated again: such children are drawn anew. Deterministic for a seed, so a search that
 * was cut short is continued by the same call with an evaluate() that remembers. */
#ifndef SEARCH_NSGA2_H
#define SEARCH_NSGA2_H
#include "cost_table.h"

typedef struct nsga2_problem {
    uint32_t n_genes;
    const uint16_t *n_values; /* [n_genes] of each gene, at least 1 */
    double limit;             /* of objective 0: beyond it, what is nearer wins, and all within win; INFINITY: none */
    /* 0, or another number to end the search there; objectives finite. */
    int (*evaluate)(void *context, const uint16_t *genes, double objective[2]);
    void *context;
} nsga2_problem;

typedef struct nsga2_options {
    uint32_t population;  /* at least 2 */
    uint32_t evaluations; /* at most */
    uint64_t seed;
    const uint16_t *first; /* [n_first][n_genes] evaluated before any that is drawn */
    uint32_t n_first;
} nsga2_options;

typedef struct nsga2_archive { /* all that was evaluated, in order */
    uint32_t n_genes;
    size_t n;
    uint16_t *genes;        /* [n][n_genes] */
    double (*objective)[2]; /* [n] */
    int stopped;            /* what evaluate() returned, if not 0 */
} nsga2_archive;

/* Ends when the evaluations are used up, when nothing is left to evaluate, or where no new child is found in many
 * draws. SEARCH_INVALID for an objective that is not finite. Owned: nsga2_free(). */
search_status nsga2(const nsga2_problem *problem, const nsga2_options *options, nsga2_archive *out);
void nsga2_free(nsga2_archive *a);
#endif
