/* minimax_polish.h - a plan of small largest loss, made a little better; and sums that solve_minimax.c shares. */
#ifndef SEARCH_MINIMAX_POLISH_H
#define SEARCH_MINIMAX_POLISH_H
#include "solve_minimax.h"

/* Changes of one item's option, or of two items' at once, that fit the budget and lower the largest loss: the best of
 * all, again and again, until there is none or MINIMAX_TRIALS changes have been looked at. */
#define MINIMAX_TRIALS ((uint64_t)40000000)
search_status minimax_polish(const cost_table *t, const domain_losses *d, uint64_t budget, uint16_t *choice);

/* A plan's loss in each domain, and the largest of such. */
void minimax_sums(const cost_table *t, const domain_losses *d, const uint16_t *choice, double *sums);
double minimax_largest(const double *sums, uint32_t n);
#endif
