/* cuda_cache.h - the inside of a kvc_cuda_cache: one block of host memory, one of the device's.
 *
 * Tokens lie as in libkvc's cache (runtime/cache.h). A page id stands for one page in every layer; pages are counted
 * references. Which sequence has which pages is decided on the host and copied to the device; how long a sequence is
 * stands on the device, where appends advance it, and the host has numbers of its own that follow.
 *
 * All of the device's small numbers are one array of words, which the host writes by kernels that carry the values
 * (kernels/cache_store.h): no copy has to be waited for. */
#ifndef RUNTIME_CUDA_CUDA_CACHE_H
#define RUNTIME_CUDA_CUDA_CACHE_H
#include <stdbool.h>
#include "cache_store.h"
#include "device.h"
#include "images.h"
#include "kvc/kvc_cuda.h"

typedef struct cuda_layer {
    kvc_coder coder[2];    /* keys, values */
    const void *params[2]; /* the coders' constants on the device */
    cache_store store;
    attend_layer attend;
    const attend_kernel *kernel; /* NULL: none was asked for */
    uint32_t *length, *packed;   /* [n_sequences] the host's */
} cuda_layer;

/* Indices of the device's words. The first of them, as far as `flags`, the host has as well. */
typedef struct cuda_words {
    uint32_t *at; /* on the device */
    uint32_t flags, reserved, arrived, slots, next, pages, n;
} cuda_words;

/* Of layer i: n_sequences lengths, then n_sequences numbers of compressed tokens. */
static inline uint32_t cuda_length_word(uint32_t layer, uint32_t n_sequences)
{
    return 2 * layer * n_sequences;
}

static inline uint32_t cuda_packed_word(uint32_t layer, uint32_t n_sequences)
{
    return (2 * layer + 1) * n_sequences;
}

/* Of layer i: for each sequence, whether its next page is encoded. */
static inline uint32_t cuda_next_word(const cuda_words *words, uint32_t layer, uint32_t n_sequences)
{
    return words->next + layer * n_sequences;
}

struct kvc_cuda_cache {
    int device;
    size_t bytes; /* of the device */
    kvc_token_policy policy;
    uint32_t n_layers, n_sequences, n_kv_heads, n_query_heads, head_dim, capacity, max_queries;
    uint32_t n_pages, n_free;
    cuda_layer *layers;   /* [n_layers] */
    uint32_t *state;      /* [words.flags + 1] */
    uint32_t *pages;      /* [n_sequences][n_pages] page table */
    uint32_t *n_used;     /* [n_sequences] entries of it */
    uint32_t *references; /* [n_pages] */
    uint32_t *free_pages; /* [n_free] stack of page ids */
    uint64_t *mark;       /* [n_sequences] the last append that named the sequence */
    uint64_t n_appends;
    const uint8_t *constants; /* of the coders, on the host: the configuration's, or own ones of some heads */
    size_t n_constants;
    uint8_t *own_constants; /* NULL: none */
    cuda_images images;
    /* on the device */
    void *memory;
    cuda_words words;
    uint8_t *params;
    float *page_rows; /* [P][n_kv_heads][head_dim] */
    attend_work work;
    float *queries; /* [max_queries][n_query_heads][head_dim] */
};

/* Tokens that are compressed when a sequence has n of them: never fewer than now. */
static inline uint64_t cuda_packed_at(const kvc_cuda_cache *cache, uint32_t layer, uint32_t sequence, uint64_t n)
{
    uint64_t now = cache->layers[layer].packed[sequence], then = kvc_tokens_compressed(&cache->policy, n);
    return then > now ? then : now;
}

/* Sequences of an attend call at most. */
static inline uint32_t cuda_attend_sequences(const kvc_cuda_cache *cache)
{
    return cache->max_queries < cache->n_sequences ? cache->max_queries : cache->n_sequences;
}

/* layout.c: where things lie; with base NULL how much there is. */
struct arena;
void cuda_place_host(struct arena *a, const kvc_cuda_cache *shape, kvc_cuda_cache *cache);
void cuda_place_device(struct arena *a, size_t n_params, kvc_cuda_cache *cache);

/* batch.c: layer, sequences (distinct ones) and dtype are as they should be; rows of the batch are counted. */
kvc_status cuda_check_batch(kvc_cuda_cache *cache, uint32_t layer, const kvc_batch *batch, kvc_dtype dtype,
                            uint64_t *n_rows, kvc_error *err);
kvc_status cuda_check_sequence(const kvc_cuda_cache *cache, uint32_t sequence, kvc_error *err);

/* pages.c: words on their way to the device, each of them once. */
typedef struct cuda_puts {
    kvc_cuda_cache *cache;
    cudaStream_t stream;
    cache_puts puts;
} cuda_puts;
kvc_status cuda_put_word(cuda_puts *p, uint32_t word, uint32_t value, kvc_error *err);
kvc_status cuda_put_flush(cuda_puts *p, kvc_error *err);
/* The sequence has n_pages entries of its page table; there are that many free pages. */
kvc_status cuda_take_pages(cuda_puts *p, uint32_t sequence, uint64_t n_pages, kvc_error *err);
/* Gives back all but the first n_pages. */
kvc_status cuda_release_pages(cuda_puts *p, uint32_t sequence, uint64_t n_pages, kvc_error *err);

#endif
