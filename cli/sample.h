/* sample.h - the next token from logits: greedy, or drawn by temperature, top-k and top-p with a seeded generator. */
#ifndef CLI_SAMPLE_H
#define CLI_SAMPLE_H
#include <stddef.h>
#include <stdint.h>
#include "kvc/kvc.h"

typedef struct sampler {
    double temperature, top_p;
    uint64_t top_k, seed, drawn; /* drawn: how many so far */
    size_t vocab;
    struct candidate *candidates; /* [vocab], owned */
} sampler;

kvc_status sampler_new(sampler *out, size_t vocab, double temperature, uint64_t top_k, double top_p, uint64_t seed,
                       kvc_error *err);
void sampler_free(sampler *s);
uint32_t sampler_next(sampler *s, const float *logits);
#endif
