/* draw.h - the folder's generator: splitmix64, a counter that is mixed; the same numbers everywhere. */
#ifndef SEARCH_DRAW_H
#define SEARCH_DRAW_H
#include <stdint.h>

typedef struct draws {
    uint64_t at;
} draws;

static inline uint64_t draw_next(draws *r)
{
    uint64_t z = (r->at += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Below n > 0, all alike: the tail that would favour small numbers is drawn again. */
static inline uint64_t draw_below(draws *r, uint64_t n)
{
    uint64_t x, limit = UINT64_MAX - UINT64_MAX % n;
    do x = draw_next(r);
    while (x >= limit);
    return x % n;
}
#endif
