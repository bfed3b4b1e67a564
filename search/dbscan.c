/* dbscan.c - see dbscan.h. */
#include "dbscan.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct cloud {
    const double *points;
    uint32_t n, dims, min_samples;
    double eps;
} cloud;

static bool near(const cloud *c, uint32_t a, uint32_t b)
{
    const double *x = c->points + (size_t)a * c->dims, *y = c->points + (size_t)b * c->dims;
    double sum = 0;
    for (uint32_t d = 0; d < c->dims; d++) sum += (x[d] - y[d]) * (x[d] - y[d]);
    return sum <= c->eps * c->eps;
}

static bool is_core(const cloud *c, uint32_t point)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) n += near(c, point, i);
    return n >= c->min_samples;
}

/* Everything that is reached from a core point through core points. */
static void grow(const cloud *c, const uint32_t *core, uint32_t seed, uint32_t cluster, uint32_t *label,
                 uint32_t *queue)
{
    uint32_t n = 0;
    label[seed] = cluster;
    queue[n++] = seed;
    while (n) {
        uint32_t point = queue[--n];
        for (uint32_t i = 0; i < c->n; i++) {
            if (label[i] != DBSCAN_NOISE || !near(c, point, i)) continue;
            label[i] = cluster;
            if (core[i]) queue[n++] = i;
        }
    }
}

uint32_t dbscan(const double *points, uint32_t n, uint32_t dims, double eps, uint32_t min_samples, uint32_t *label,
                uint32_t *work)
{
    const cloud c = {points, n, dims, min_samples, eps};
    uint32_t clusters = 0, *core = work, *queue = work + n;
    for (uint32_t i = 0; i < n; i++) {
        label[i] = DBSCAN_NOISE;
        core[i] = is_core(&c, i);
    }
    for (uint32_t i = 0; i < n; i++)
        if (core[i] && label[i] == DBSCAN_NOISE) grow(&c, core, i, clusters++, label, queue);
    return clusters;
}
