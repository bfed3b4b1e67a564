/* attention_keys.cuh - which keys a tile of queries reads, and from where.
 *
 * Decode-faithful: where the count of compressed tokens changes inside a tile, its rows read a key from different
 * places. So the keys are walked twice: first those of any row's pages, then the exact ones without those that are
 * compressed for all rows; each time a row is masked out where the key is not its own. That is at most one tile's
 * rows and a page of keys more, whatever the page. */
#ifndef KERNELS_OP_ATTENTION_KEYS_CUH
#define KERNELS_OP_ATTENTION_KEYS_CUH
#include "rows.cuh"

/* A block's sequence and its first query: the longest tiles of all sequences come first. `a` becomes the sequence's.
 */
__device__ inline uint32_t tile_of(op_attention_args &a, uint32_t tile_rows)
{
    uint32_t n_tiles = (a.n_tokens + tile_rows - 1) / tile_rows;
    size_t sequence = blockIdx.x % a.n_sequences, token = sequence * a.n_tokens;
    size_t query = token * a.n_heads * a.head_dim, kv = token * a.n_kv_heads * a.head_dim;
    a.q += query;
    a.out += query;
    a.k += kv;
    a.v += kv;
    if (a.k_page) a.k_page += kv;
    if (a.v_page) a.v_page += kv;
    return (n_tiles - 1 - blockIdx.x / a.n_sequences) * tile_rows;
}

/* Keys number `count`; the i-th is token i + skip, or token i where i < keep. */
struct key_run {
    const float *k, *v;
    bool pages;
    uint32_t count, keep, skip;
};

__device__ inline uint32_t key_token(const key_run &run, uint32_t i)
{
    return i < run.keep ? i : i + run.skip;
}

/* Of the queries before `end`. */
__device__ inline key_run page_keys(const op_attention_args &a, uint32_t end)
{
    uint32_t any = a.k_page || a.v_page ? tokens_compressed(a.policy, end) : 0;
    return {a.k_page ? a.k_page : a.k, a.v_page ? a.v_page : a.v, true, any, 0, a.policy.sinks};
}

/* Of the queries [first, end). */
__device__ inline key_run exact_keys(const op_attention_args &a, uint32_t first, uint32_t end)
{
    uint32_t all = a.k_page || a.v_page ? tokens_compressed(a.policy, (uint64_t)first + 1) : 0;
    return {a.k, a.v, false, end - all, a.policy.sinks, all};
}

/* The last token that a row sees; its compressed ones end at `edge`. */
struct key_sight {
    uint32_t last, edge;
};

/* Rows beyond the end see what the last one does: they are computed and not stored. */
__device__ inline key_sight sight_of(const op_attention_args &a, uint32_t row)
{
    uint32_t last = row < a.n_tokens ? row : a.n_tokens - 1, edge = a.policy.sinks;
    if (a.k_page || a.v_page) edge += tokens_compressed(a.policy, (uint64_t)last + 1);
    return {last, edge};
}

/* Compressed tokens of a row are all seen by it. */
__device__ inline bool reads(const key_run &run, key_sight row, uint32_t sinks, uint32_t i)
{
    uint32_t token = key_token(run, i);
    if (i >= run.count) return false;
    if (run.pages) return token < row.edge;
    return token <= row.last && (token < sinks || token >= row.edge);
}
#endif
