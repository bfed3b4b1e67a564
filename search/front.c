/* front.c - look-ups on a solved front. */
#include "cost_table.h"
#include <stdlib.h>

const front_point *front_at_bytes(const front *f, uint64_t budget)
{
    size_t low = 0, high = f->n; /* points below `low` fit, points from `high` on do not */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (f->points[middle].bytes <= budget)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &f->points[low - 1] : NULL;
}

void front_free(front *f)
{
    free(f->points);
    free(f->choices);
    *f = (front){0};
}
