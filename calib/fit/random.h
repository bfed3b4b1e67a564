/* random.h - a counter-based random number generator: the mixing function of splitmix64 over a seed and counters, so
 * that the order of draws does not matter. */
#ifndef CALIB_FIT_RANDOM_H
#define CALIB_FIT_RANDOM_H
#include <stdint.h>

static inline uint64_t random_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* In [0, 1). */
static inline double random_unit(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(random_mix(random_mix(random_mix(seed) ^ stream) ^ counter) >> 11) * 0x1p-53;
}
#endif
