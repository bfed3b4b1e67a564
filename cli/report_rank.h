/* report_rank.h - how well predictions order and hit what was measured. */
#ifndef CLI_REPORT_RANK_H
#define CLI_REPORT_RANK_H
#include <stddef.h>

typedef struct rank_pair {
    double predicted, measured;
} rank_pair;

typedef struct rank_summary {
    double correlation; /* Spearman's, ties share their mean rank; NaN below 3 pairs, or where one side is constant */
    double median_miss; /* of measured / predicted or its inverse, whichever is above 1; NaN where no pair has both */
    size_t worst;       /* index of the pair with the largest miss; n where none has one */
} rank_summary;

/* Both of each pair are finite. 0: out of memory. */
int rank_summarise(rank_summary *out, const rank_pair *pairs, size_t n);
/* measured / predicted; NaN unless both are above zero. */
double rank_ratio(rank_pair pair);
#endif
