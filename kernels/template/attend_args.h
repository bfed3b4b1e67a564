/* attend_args.h - what the attention kernels of a layer are given: device pointers, filled in by the host.
 *
 * A sequence of n tokens has, as in libkvc's cache (runtime/cache.h), sinks, compressed pages and window; fp16 rows
 * hold sinks and window without a gap. Queries of a sequence are its newest tokens. */
#ifndef KERNELS_TEMPLATE_ATTEND_ARGS_H
#define KERNELS_TEMPLATE_ATTEND_ARGS_H
#include <stdint.h>

#define ATTEND_LENGTHS 5 /* of codes */

/* A map of n_in inputs to n_out channels, multiples of 16, as operands of matrix products (attend_map.cuh): a number is
 * the sum of two bfloat16, a high and a low part, and two inputs that follow one another share a word. Of eight
 * channels, of these 16 inputs, lane 4 g + t has of channel g the inputs 2 t and 2 t + 1, and 8 further on, the high
 * parts of both, then the low ones. Words in all, and the one that has an input of a channel, of its high part; the
 * low part's is two further on. */
#ifdef __CUDACC__
#define ATTEND_BOTH __host__ __device__
#else
#define ATTEND_BOTH
#endif
ATTEND_BOTH static inline uint32_t attend_map_words(uint32_t n_in, uint32_t n_out)
{
    return n_in * n_out;
}
ATTEND_BOTH static inline uint32_t attend_map_place(uint32_t n_in, uint32_t input, uint32_t channel)
{
    return attend_map_words(n_in, channel / 8 * 8) + input / 16 * 128 + channel % 8 * 16 + input % 8 / 2 * 4 +
           input % 16 / 8;
}

/* Fixed for a cache and a layer. */
typedef struct attend_layer {
    const uint8_t *pool;               /* [pages][page_bytes]: the keys' blocks, from value_offset the values' */
    uint64_t page_bytes, value_offset; /* multiples of 16 */
    uint32_t key_block, value_block;   /* bytes from one head's block to the next one's */
    const uint16_t *rows;              /* fp16 [slots][2][heads][capacity][d] */
    const uint32_t *page_table;        /* [slots][page_stride] */
    const uint32_t *length, *packed;   /* [slots] tokens in all and compressed */
    uint32_t page_stride, capacity, n_heads, sinks;
    /* Queries and outputs in the latent space, NULL where it is the head's: fold [heads], a map of d to key_latent
     * (attend_map_place()), bias [heads][d] (a query's bias is its product with it); unfold [heads], a map of
     * value_latent to d, mean [heads][d] */
    const uint32_t *fold, *unfold;
    const float *bias, *mean;
    uint32_t key_latent, value_latent; /* channels */
    /* fp16 [2^b][c] of vq and lut; of shared codes one for each length, others as constants have them (FORMAT.md) */
    const uint16_t *key_table, *value_table;
    const uint32_t *key_counts, *value_counts; /* [heads] of shared codes */
    /* [heads + 3] what a tile costs: of the heads before each, of all, the most of a head; then what it costs to go
     * on from one head to the next. NULL: the same of all, and nothing */
    const uint32_t *costs;
    float key_steps[ATTEND_LENGTHS], /* of tables of 1, 2, 4, 8, 16 channels (fragment/table.cuh, shared.cuh) */
        value_steps[ATTEND_LENGTHS];
} attend_layer;

/* A head's columns, queries times heads of the group, are `tiles` tiles, each of which has to go over all units. Of a
 * block's warps `parts` go over them with one tile of columns, while the next ones do with the next tile: `together`
 * tiles read the same pages at the same time, so that memory is read once for them. One tile: all warps. */
typedef struct attend_columns {
    uint32_t tiles, together, parts;
} attend_columns;

#define ATTEND_FEW 64u /* sequences whose slots are part of a call, and whose lists each block makes for itself */

/* Of one call. Queries of sequence i follow those of sequence i - 1. */
typedef struct attend_batch {
    const float *queries;      /* [n_sequences][n_queries][query heads][d], 16-byte aligned */
    float *out;                /* the same shape */
    const uint32_t *slots;     /* [n_sequences], where they are more than ATTEND_FEW */
    uint32_t slot[ATTEND_FEW]; /* otherwise */
    uint32_t n_sequences;
    uint32_t n_queries; /* of each sequence, at least 1 */
    attend_columns columns;
    float score_scale; /* of q.k; natural, not base 2 */
    /* 0: none. Token i sees tokens j > i - sliding_window alone, sinks among them or not. */
    uint32_t sliding_window;
    float softcap; /* > 0, natural; of kernels that have one: a score s becomes softcap tanh(s / softcap) */
} attend_batch;

/* What a call's sequences are, for the length of it. */
typedef struct attend_sequence {
    uint32_t slot, n_tokens, n_packed;
    uint32_t n_hidden; /* the oldest tokens, that no query sees */
} attend_sequence;

/* Scratch. */
typedef struct attend_work {
    float *latent, *query_bias; /* [n_sequences][n_queries][query heads][key_latent], 16-byte aligned, and [..]; where
                                   there is a fold */
    /* Where sequences are more than ATTEND_FEW: [2][n_sequences + 1] units of both lists before each sequence, and
     * after the last one; [n_sequences] */
    uint32_t *units;
    attend_sequence *sequences;
    /* [2][heads][n_sequences] of pages and of fp16 rows: the first of the partial results of a tile of columns, and
     * the last one; written where there are any */
    uint32_t (*results)[2];
    float *partial; /* [attend_roles.n_results()][columns of a tile][result_floats()], 16-byte aligned */
} attend_work;

#endif
