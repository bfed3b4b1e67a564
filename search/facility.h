/* facility.h - the few facilities that serve all clients at least cost (k-median, without a cost of opening). */
#ifndef SEARCH_FACILITY_H
#define SEARCH_FACILITY_H
#include <stdbool.h>
#include <stdint.h>

/* At most k of n facilities into chosen[], rising; returns how many. cost [n_clients][n], finite: each client takes
 * the cheapest chosen. Greedy, then exchanges while one helps: no single exchange improves the result. Deterministic:
 * of equals the lower index. work: 3 * n_clients + k doubles. O(k n n_clients + exchanges n (n_clients + k)). */
uint32_t choose_facilities(const double *cost, uint32_t n_clients, uint32_t n, uint32_t k, uint32_t *chosen,
                           double *work);
#endif
