/* water.h - reverse water-filling: how many bits each of several normal variables is worth. */
#ifndef CALIB_FIT_WATER_H
#define CALIB_FIT_WATER_H
#include <stddef.h>

/*  energy [n] in, >= 0
 *  rates  [n] out: max(0, log2(energy / t) / 2), t such that they add up to `total`
 * By bisection, n log operations. Energies that are all zero have equal rates. */
void water_rates(size_t n, const double *energy, double total, double *rates);
#endif
