/* probe_rows.c - stratified rows by a counter-based generator: SplitMix64's finaliser over (seed, sequence, stratum),
 * so that no draw depends on another and resuming needs no state. */
#include "probe_rows.h"
#include "kvc/codec.h"

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* One row of each of `wanted` strata of `range` rows from `first` on; all of them where there are no more. */
static uint32_t draw(uint32_t *rows, uint64_t first, uint64_t range, uint32_t wanted, uint64_t key)
{
    uint32_t n = wanted == 0 || wanted > range ? (uint32_t)range : wanted;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t begin = range * i / n, end = range * (i + 1) / n;
        rows[i] = (uint32_t)(first + begin + mix(key ^ i) % (end - begin));
    }
    return n;
}

uint32_t probe_rows_draw(uint32_t *rows, const kvc_token_policy *policy, uint32_t n_tokens, uint32_t wanted,
                         uint64_t seed, uint64_t sequence)
{
    uint64_t first =
        (uint64_t)policy->sinks + policy->window + policy->page - 1; /* the first row that reads a page */
    if (n_tokens <= first) return 0;
    return draw(rows, first, n_tokens - first, wanted, mix(mix(seed) ^ sequence));
}

uint32_t compressed_rows_draw(uint32_t *rows, const kvc_token_policy *policy, uint32_t n_tokens, uint32_t wanted,
                              uint64_t seed, uint64_t sequence)
{
    return draw(rows, policy->sinks, kvc_tokens_compressed(policy, n_tokens), wanted,
                mix(mix(seed ^ 0x66697473) ^ sequence)); /* another stream than the probe rows' */
}
