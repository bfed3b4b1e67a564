/* cache.h - the inside of a kvc_cache: one allocation, cut up by cache.c.
 *
 * Tokens of a sequence, in one layer, from the oldest:
 *
 *     0 .. S-1           sinks                 fp16 rows 0 .. S-1
 *     S .. S+c-1         compressed            pages 0 .. c/P - 1 of the sequence's page table
 *     S+c .. n-1         window                fp16 rows S .. n-c-1:  token t lies in row t - c
 *
 * so that the fp16 rows are 0 .. n-c-1 without a gap, at most S+W+P of them: when that many are there, the oldest P
 * rows of the window become a page and the others move down. Except after a truncation, c is
 * kvc_tokens_compressed(n).
 *
 * A page id stands for one page in every layer: there the layer's pool holds the key blocks, then the value blocks. A
 * page belongs to all sequences that share it by fork; it is written once per layer, before any token behind it can
 * be shared, or (where layers of the origin had come differently far) again with the same bytes. */
#ifndef RUNTIME_CACHE_H
#define RUNTIME_CACHE_H
#include <stdbool.h>
#include "codec/pieces.h"

typedef struct cache_layer {
    kvc_coder coder[2]; /* keys, values */
    uint64_t *length;   /* [n_sequences] n */
    uint64_t *packed;   /* [n_sequences] c */
    uint16_t *rows;     /* [n_sequences][2][n_kv_heads][capacity][head_dim] */
    uint8_t *pool;      /* [n_pages][key blocks, value blocks]: one for each KV head, or one for all ("@joint") */
    uint64_t page_bytes, value_offset;
} cache_layer;

struct kvc_cache {
    kvc_allocator allocator;
    size_t bytes;
    kvc_token_policy policy;
    uint32_t n_layers, n_sequences, n_kv_heads, n_query_heads, head_dim;
    uint32_t row_dim;  /* values of the widest row of a codec: d, or more with "@joint" */
    uint32_t capacity; /* fp16 rows of a sequence: S + W + P */
    uint32_t n_pages, n_free;
    cache_layer *layers;  /* [n_layers] */
    uint32_t *pages;      /* [n_sequences][n_pages] page table */
    uint32_t *n_used;     /* [n_sequences] entries of it */
    uint32_t *references; /* [n_pages] */
    uint32_t *free_pages; /* [n_free] stack of page ids */
    uint64_t *mark;       /* [n_sequences] the last append that named the sequence */
    uint64_t n_appends;
    float *page_rows; /* [P][row_dim] scratch of the calls that change the cache */
    float *work;      /* [kvc_coder_work()] */
};

enum { CACHE_KEYS = 0, CACHE_VALUES = 1 };

/* fp16 rows [capacity][head_dim] of one head. */
static inline uint16_t *cache_rows(const kvc_cache *cache, uint32_t layer, uint32_t sequence, int side, uint32_t head)
{
    size_t index = ((size_t)sequence * 2 + (size_t)side) * cache->n_kv_heads + head;
    return cache->layers[layer].rows + index * cache->capacity * cache->head_dim;
}

/* Block of the sequence's page `index` that holds a KV head's rows. */
static inline uint8_t *cache_block(const kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t index,
                                   int side, uint32_t head)
{
    const cache_layer *l = &cache->layers[layer];
    const kvc_coder *coder = &l->coder[side];
    size_t page = cache->pages[(size_t)sequence * cache->n_pages + index];
    kvc_block block = kvc_coder_block(coder, kvci_coder_row(coder, head));
    return l->pool + page * l->page_bytes + (side ? l->value_offset : 0) + block.offset;
}

/* How many tokens are compressed once there are n: never fewer than now. */
static inline uint64_t cache_packed_at(const kvc_cache *cache, uint32_t layer, uint32_t sequence, uint64_t n)
{
    uint64_t now = cache->layers[layer].packed[sequence], then = kvc_tokens_compressed(&cache->policy, n);
    return then > now ? then : now;
}

/* Layer and sequences exist; the rows of the batch are counted. */
kvc_status kvci_cache_check_batch(const kvc_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                                  uint64_t *n_rows, kvc_error *err);

static inline size_t cache_dtype_bytes(kvc_dtype dtype)
{
    return dtype == KVC_F32 ? 4 : 2;
}

#endif
