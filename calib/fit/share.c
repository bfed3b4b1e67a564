/* share.c - see share.h. Cost: that of reverse water-filling over H d channels, and at most d H^2 for the remainder.
 */
#include "share.h"

#include <math.h>
#include <stdlib.h>
#include "water.h"

typedef struct share {
    uint32_t n_heads, least, most; /* of the codes of a head */
    double *claim;                 /* [H] codes, not whole */
    uint32_t *counts;
} share;

static void find_claims(share *s, uint32_t d, uint32_t bits, uint32_t n_codes, const double *rates)
{
    double sum = 0.0;
    for (uint32_t head = 0; head < s->n_heads; head++) {
        double rate = 0.0;
        for (uint32_t i = 0; i < d; i++) rate += rates[(size_t)head * d + i];
        s->claim[head] = fmin(fmax(rate / bits, s->least), s->most);
        sum += s->claim[head];
    }
    for (uint32_t head = 0; head < s->n_heads; head++) s->claim[head] *= n_codes / sum;
}

/* How far a head is from its claim, for giving it a code (+1) or taking one (-1); -INFINITY where that cannot be. */
static double eagerness(const share *s, uint32_t head, int step)
{
    uint32_t count = s->counts[head];
    if (count == (step > 0 ? s->most : s->least)) return -INFINITY;
    return step * (s->claim[head] - count);
}

/* One code more or less where it is missed or missing most. */
static void settle_one(const share *s, int step)
{
    uint32_t best = 0;
    for (uint32_t head = 1; head < s->n_heads; head++)
        if (eagerness(s, head, step) > eagerness(s, best, step)) best = head;
    s->counts[best] += (uint32_t)step;
}

static void round_claims(const share *s, uint32_t n_codes)
{
    uint32_t given = 0;
    for (uint32_t head = 0; head < s->n_heads; head++) {
        s->counts[head] = (uint32_t)fmin(fmax(floor(s->claim[head]), s->least), s->most);
        given += s->counts[head];
    }
    for (; given < n_codes; given++) settle_one(s, 1);
    for (; given > n_codes; given--) settle_one(s, -1);
}

kvc_status share_codes(uint32_t n_heads, uint32_t d, uint32_t bits, uint32_t n_codes, const double *value,
                       uint32_t *counts, kvc_error *err)
{
    size_t channels = (size_t)n_heads * d;
    share s = {.n_heads = n_heads, .least = n_codes >= n_heads, .most = d, .counts = counts};
    double *rates = malloc((channels + n_heads) * sizeof *rates);
    if (!rates) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the codes of %u heads", n_heads);
    s.claim = rates + channels;
    water_rates(channels, value, (double)bits * n_codes, rates);
    find_claims(&s, d, bits, n_codes, rates);
    round_claims(&s, n_codes);
    free(rates);
    return KVC_OK;
}
