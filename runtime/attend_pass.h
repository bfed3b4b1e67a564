/* attend_pass.h - one pass of some query vectors over all that a sequence holds.
 *
 * Compressed and exact rows share one softmax but not their vectors: a query has a raw and a folded form, an output a
 * raw and a latent sum. Rows pass in tiles that stay in the first-level cache, whose borders depend on the cache
 * alone: a query sees the same sums alone and beside others. */
#ifndef RUNTIME_ATTEND_PASS_H
#define RUNTIME_ATTEND_PASS_H
#include "cache.h"

#define PASS_MAX_QUERIES 32u

/* Which part of the cache a call reads. */
typedef struct attend_view {
    const kvc_cache *cache;
    uint32_t layer, sequence;
    uint64_t length, packed;
    uint32_t sliding_window; /* as in kvc_attend_options */
    float softcap;
} attend_view;

/* Query vectors that pass together, those of a KV head side by side. D = row_dim of the cache:
 *   q, o [n][d] | folded, latent [n][D] | p [n][tile rows] | tile [tile rows][D] | unfold [D] */
typedef struct attend_pass {
    uint32_t n;
    float *q, *folded, *o, *latent, *p, *tile, *unfold;
    uint32_t head[PASS_MAX_QUERIES]; /* KV head, ascending */
    /* The query may see tokens n_hidden .. n_seen - 1. */
    uint64_t n_seen[PASS_MAX_QUERIES], n_hidden[PASS_MAX_QUERIES];
    float bias[PASS_MAX_QUERIES], max[PASS_MAX_QUERIES], sum[PASS_MAX_QUERIES], mass[PASS_MAX_QUERIES];
} attend_pass;

/* Most query vectors of a pass: more where they share what is decoded, that of all heads ("@joint"). */
static inline uint32_t kvci_pass_queries(const kvc_cache *cache)
{
    return cache->row_dim > cache->head_dim ? PASS_MAX_QUERIES : PASS_MAX_QUERIES / 2;
}

size_t kvci_pass_work(const kvc_cache *cache); /* bytes */
attend_pass kvci_pass_in(const kvc_cache *cache, void *work);

/* q, folded, head, n_seen, n_hidden, bias in; sums of zero and max of -FLT_MAX in, the sums of all rows out. */
void kvci_pass_rows(const attend_view *v, attend_pass *pass);

#endif
