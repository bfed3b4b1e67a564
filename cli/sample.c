/* sample.c - see sample.h. A draw depends on (seed, number of the draw) alone: SplitMix64's finaliser as a
 * counter-based generator. Ties are broken by the lower id, so that a seed gives the same text everywhere. */
#include "sample.h"
#include <math.h>
#include <stdlib.h>

typedef struct candidate {
    uint32_t id;
    float logit;
    double weight;
} candidate;

kvc_status sampler_new(sampler *out, size_t vocab, double temperature, uint64_t top_k, double top_p, uint64_t seed,
                       kvc_error *err)
{
    *out = (sampler){.temperature = temperature, .top_p = top_p, .top_k = top_k, .seed = seed, .vocab = vocab};
    out->candidates = malloc(vocab * sizeof *out->candidates);
    return out->candidates ? KVC_OK
                           : kvc_fail(err, KVC_NO_MEMORY, "out of memory for a vocabulary of %zu tokens", vocab);
}

void sampler_free(sampler *s)
{
    free(s->candidates);
    s->candidates = NULL;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double uniform(sampler *s)
{
    return (double)(mix(mix(s->seed) ^ s->drawn++) >> 11) * 0x1p-53;
}

static int by_logit(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static uint32_t greedy(const sampler *s, const float *logits)
{
    size_t best = 0;
    for (size_t i = 1; i < s->vocab; i++)
        if (logits[i] > logits[best]) best = i;
    return (uint32_t)best;
}

/* The candidates of top-k and top-p, most likely first; *total is their summed weight. */
static size_t narrow(sampler *s, double *total)
{
    size_t n = s->top_k && s->top_k < s->vocab ? (size_t)s->top_k : s->vocab;
    double all = 0, sum = 0;
    for (size_t i = 0; i < n; i++) {
        s->candidates[i].weight = exp((s->candidates[i].logit - s->candidates[0].logit) / s->temperature);
        all += s->candidates[i].weight;
    }
    size_t kept = 0;
    while (kept < n && (kept == 0 || sum < s->top_p * all)) sum += s->candidates[kept++].weight;
    *total = sum;
    return kept;
}

uint32_t sampler_next(sampler *s, const float *logits)
{
    if (s->temperature == 0) return greedy(s, logits);
    for (size_t i = 0; i < s->vocab; i++) s->candidates[i] = (candidate){(uint32_t)i, logits[i], 0};
    qsort(s->candidates, s->vocab, sizeof *s->candidates, by_logit);
    double total, at = uniform(s);
    size_t n = narrow(s, &total), i = 0;
    for (at *= total; i + 1 < n && at >= s->candidates[i].weight; i++) at -= s->candidates[i].weight;
    return s->candidates[i].id;
}
