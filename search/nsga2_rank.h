/* nsga2_rank.h - who is better: nondominated ranks and crowding distances. */
#ifndef SEARCH_NSGA2_RANK_H
#define SEARCH_NSGA2_RANK_H
#include <stdbool.h>
#include <stdint.h>

typedef struct individual {
    uint32_t id;         /* in the archive: earlier ones win ties */
    double objective[2]; /* finite */
    double violation;    /* of the limit; 0: within */
    uint32_t rank;
    double crowding;
} individual;

/* Ranks and crowding distances of all, then sorted: best first. scratch [n] */
void rank_and_sort(individual *all, uint32_t n, uint32_t *scratch);
bool is_better(const individual *a, const individual *b); /* by rank, crowding, id */
#endif
