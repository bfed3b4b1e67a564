/* dbscan.h - density clustering (Ester et al. 1996) by Euclidean distance. */
#ifndef SEARCH_DBSCAN_H
#define SEARCH_DBSCAN_H
#include <stdint.h>

#define DBSCAN_NOISE UINT32_MAX

/* points [n][dims]. A point is a core point if at least min_samples points, itself included, are at most eps away;
 * core points at most eps apart share a cluster, and others join the first cluster that has a core point so near.
 * label [n]: clusters from 0 on, numbered by their first core point; DBSCAN_NOISE: none. work [2 n] scratch. Returns
 * the number of clusters. O(n^2 dims). */
uint32_t dbscan(const double *points, uint32_t n, uint32_t dims, double eps, uint32_t min_samples, uint32_t *label,
                uint32_t *work);
#endif
