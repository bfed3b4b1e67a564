/* probe_rows.c - stratified rows by a counter-based generator: SplitMix64's finaliser over (seed, sequence, stratum),
 * so that no draw depends on another and resuming needs no state. */
#include "probe_rows.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t probe_rows_draw(uint32_t *rows, const kvc_token_policy *policy, uint32_t n_tokens, uint32_t wanted,
                         uint64_t seed, uint64_t sequence)
{
    uint64_t first =
        (uint64_t)policy->sinks + policy->window + policy->page - 1; /* the first row that reads a page */
    if (n_tokens <= first) return 0;
    uint64_t range = n_tokens - first;
    uint32_t n = wanted == 0 || wanted > range ? (uint32_t)range : wanted;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t begin = range * i / n, end = range * (i + 1) / n;
        uint64_t draw = mix(mix(mix(seed) ^ sequence) ^ i);
        rows[i] = (uint32_t)(first + begin + draw % (end - begin));
    }
    return n;
}
