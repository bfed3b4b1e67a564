/* cache_store.h - what changes a KV cache in device memory: rows in, pages out of them. The tokens of a sequence lie
 * as in libkvc's cache (runtime/cache.h), and pages have the same bytes.
 *
 * Lengths live on the device, and an append works out there what it has to do: the same launches, captured once in a
 * graph, serve every step. Raw device pointers and a stream; nothing is allocated, calls are asynchronous. */
#ifndef KERNELS_CACHE_STORE_H
#define KERNELS_CACHE_STORE_H
#include <cuda_runtime_api.h>
#include "kvc/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of cache_store.flags: they stay until somebody clears them. */
#define CACHE_FULL 1u      /* a sequence had no page left: its tokens were dropped */
#define CACHE_NONFINITE 2u /* a row was not finite: NaN went in as 0, infinity as the largest number */

/* One layer. */
typedef struct cache_store {
    uint16_t *rows;                    /* fp16 [slots][2][n_heads][capacity][d] */
    uint8_t *pool;                     /* [pages][page_bytes]: the keys' blocks, from value_offset the values' */
    uint64_t page_bytes, value_offset; /* multiples of 16 */
    const uint32_t *page_table;        /* [slots][page_stride] */
    const uint32_t *reserved;          /* [slots] entries of it that are there */
    uint32_t *length, *packed;         /* [slots] tokens in all and compressed */
    uint8_t *next;                     /* [slots][page_bytes] the page that a sequence loses next, ... */
    uint32_t *has_next; /* [slots] ... and whether it is encoded; 0 for an empty sequence, and without a window, where
                           there is no next */
    uint32_t *arrived;  /* zero between calls */
    uint32_t *flags;
    uint32_t page_stride, capacity, n_heads, d;
    bool early; /* may an append start while what comes before it still runs? (early.cuh) */
    kvc_token_policy policy;
} cache_store;

/* Some sequences of a call; rows of each begin at first_row of the call's. Handed over by value. */
#define CACHE_BATCH 96u
typedef struct cache_batch {
    uint32_t n;
    uint32_t slot[CACHE_BATCH], n_tokens[CACHE_BATCH], first_row[CACHE_BATCH];
} cache_batch;

/* Append rows, both [rows of the call][n_heads][d], to the batch's sequences, distinct ones. A sequence that would
 * need a page which is not reserved stays as it is (CACHE_FULL). dev_params of keys and values as in page.h.
 * Errors as kernel_encode_pages(). */
cudaError_t kernel_cache_append(const cache_store *c, const kvc_coder coder[2], const void *const dev_params[2],
                                const cache_batch *b, const void *keys, const void *values, kvc_dtype dtype,
                                cudaStream_t stream);

/* Decoded rows [>= n_rows][n_heads][d] of one side become the sequence's fp16 rows behind the sinks. */
cudaError_t kernel_cache_put_rows(const cache_store *c, uint32_t slot, int side, const float *rows, uint32_t n_rows,
                                  cudaStream_t stream);

/* words[at[i]] = value[i], distinct places; handed over by value, so that neither copy nor wait is needed. */
#define CACHE_PUTS 124u
typedef struct cache_puts {
    uint32_t n;
    uint32_t at[CACHE_PUTS], value[CACHE_PUTS];
} cache_puts;
cudaError_t kernel_cache_put(uint32_t *words, const cache_puts *puts, cudaStream_t stream);

/* Loads the code of all of these, so that no later launch has to, a coder pair's too; fills in c->early. */
cudaError_t kernel_cache_load(cache_store *c, const kvc_coder coder[2]);

#ifdef __cplusplus
}
#endif
#endif
