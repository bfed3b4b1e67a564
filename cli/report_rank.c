/* report_rank.c - see report_rank.h. */
#include "report_rank.h"
#include <math.h>
#include <stdlib.h>

typedef struct entry {
    double value;
    size_t index;
} entry;

static int by_value(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

/* rank [n] out: of entries[i].value by entries[i].index; sorts the entries. */
static void rank_entries(double *rank, entry *entries, size_t n)
{
    qsort(entries, n, sizeof *entries, by_value);
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && entries[end].value == entries[begin].value;) end++;
        for (size_t i = begin; i < end; i++) rank[entries[i].index] = 0.5 * (double)(begin + end - 1);
    }
}

/* Of two sequences with the mean (n - 1) / 2, which ranks have. */
static double correlation(const double *x, const double *y, size_t n)
{
    double mean = 0.5 * (double)(n - 1), xx = 0, yy = 0, xy = 0;
    for (size_t i = 0; i < n; i++) {
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
        xy += (x[i] - mean) * (y[i] - mean);
    }
    return n >= 3 && xx > 0 && yy > 0 ? xy / sqrt(xx * yy) : NAN;
}

double rank_ratio(rank_pair pair)
{
    return pair.predicted > 0 && pair.measured > 0 ? pair.measured / pair.predicted : NAN;
}

static void find_misses(rank_summary *out, const rank_pair *pairs, entry *entries, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        double miss = fabs(log(rank_ratio(pairs[i])));
        if (!isnan(miss)) entries[found++] = (entry){miss, i};
    }
    qsort(entries, found, sizeof *entries, by_value);
    out->worst = found ? entries[found - 1].index : n;
    out->median_miss = found ? exp(0.5 * (entries[(found - 1) / 2].value + entries[found / 2].value)) : NAN;
}

int rank_summarise(rank_summary *out, const rank_pair *pairs, size_t n)
{
    entry *entries = malloc((n + 1) * sizeof *entries);
    double *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
    int ok = entries && x && y;
    if (ok) {
        for (size_t i = 0; i < n; i++) entries[i] = (entry){pairs[i].predicted, i};
        rank_entries(x, entries, n);
        for (size_t i = 0; i < n; i++) entries[i] = (entry){pairs[i].measured, i};
        rank_entries(y, entries, n);
        out->correlation = correlation(x, y, n);
        find_misses(out, pairs, entries, n);
    }
    free(entries);
    free(x);
    free(y);
    return ok;
}
