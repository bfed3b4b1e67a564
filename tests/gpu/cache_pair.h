/* cache_pair.h - libkvc's cache and libkvc_cuda's, given the same: rows, pages and lengths have to be the same bytes,
 * outputs nearly the same. */
#ifndef TESTS_GPU_CACHE_PAIR_H
#define TESTS_GPU_CACHE_PAIR_H
#include <stdbool.h>
#include "cuda_cache.h"

enum { MOST_SEQUENCES = 4 };

typedef struct cache_pair {
    char folder[4096]; /* of the case: cfg.bin, kernels/ */
    kvc_config *cfg;
    kvc_attend_options options;
    kvc_cache *cpu;
    kvc_cuda_cache *gpu;
    cudaStream_t stream;
    uint32_t n_layers, n_sequences, row_values, query_values; /* values of a token's row, of its queries: libkvc's */
    uint32_t first_head;                                      /* of the model's, where the GPU's cache begins */
    uint32_t random, n_attends;
    const char *name, *step; /* for messages */
    uint32_t failures;
} cache_pair;

/* The case `name` in `folder`, on device `device`; there KV heads first_head .. end_head - 1 alone, unless both are
 * 0. Ends the program where that fails. */
void pair_open(cache_pair *p, const char *folder, const char *name, int device, uint64_t max_tokens,
               uint32_t first_head, uint32_t end_head);
/* The same of a configuration in memory, without kernels. */
void pair_open_memory(cache_pair *p, const void *image, size_t n, const char *name, int device, uint64_t max_tokens,
                      uint32_t first_head, uint32_t end_head);
void pair_close(cache_pair *p);
uint32_t pair_random(cache_pair *p, uint32_t n); /* 0 .. n - 1 */
void pair_fail(cache_pair *p, const char *what, double number);
/* Ends the program. */
void pair_must(cache_pair *p, kvc_status status, const char *what, const kvc_error *err);
void pair_must_cuda(cache_pair *p, cudaError_t status, const char *what);

/* Random rows as `dtype`, n values: owned. */
void *pair_rows(cache_pair *p, kvc_dtype dtype, size_t n);
void *pair_to_device(cache_pair *p, const void *host, size_t bytes); /* cudaFree() */

/* The same rows to both, in all layers. Returns libkvc's status; the other's has to be the same. */
kvc_status pair_append(cache_pair *p, const kvc_batch *batch, kvc_dtype dtype);
void pair_truncate(cache_pair *p, uint32_t sequence, uint64_t n_tokens);
void pair_fork(cache_pair *p, uint32_t from, uint32_t to);

/* Lengths, fp16 rows and pages of all sequences and layers. */
void pair_compare(cache_pair *p);
/* Outputs for random queries of a layer, within 2e-3 of libkvc's. */
void pair_attend(cache_pair *p, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype);
/* out: libkvc's. */
void pair_attend_cpu(cache_pair *p, uint32_t layer, const kvc_batch *batch, const void *queries, kvc_dtype dtype,
                     float *out);
void pair_compare_outputs(cache_pair *p, const float *want, const float *got, size_t n);

#endif
