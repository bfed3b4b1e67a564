/* attend_bytes.cuh - pages whose keys and values are integers of 2, 4, 6 or 8 bits, codes of byte tables
 * (fragment/table.cuh), or codes that heads share out, with byte tables (fragment/shared.cuh), in products of bytes
 * (device.cuh, mma_16x8x32). Fewer instructions than attend_keys.cuh and attend_values.cuh take, and a third of the
 * products; for calls of up to four columns: of eight the registers do not hold all. Each side is as its codes have
 * it: attend_byte_keys.cuh, attend_byte_values.cuh, attend_shared_bytes.cuh.
 *
 * Operand B has eight columns of bytes: those of numbers of two, of four columns (attend_byte_weights.cuh). Lane
 * 4 g + t has the scores of its tokens, those of rows g and g + 8 of operand A, and column t. */
#ifndef KERNELS_TEMPLATE_ATTEND_BYTES_CUH
#define KERNELS_TEMPLATE_ATTEND_BYTES_CUH
#include "template/attend_byte_keys.cuh"
#include "template/attend_byte_values.cuh"
#include "template/attend_shared_bytes.cuh"
#include "template/attend_sight.cuh"

/* Can a side's codes be taken so? Rows of whole products, fields that start at a byte, entries of words; of values
 * scales per channel that are those of a whole tile. Integers of 6 bits have to be put together, which takes as many
 * instructions as are saved: beside shared codes alone, which save more. */
template <typename SIDE> struct bytes_side {
    static const bool KEYS = false, VALUES = false, IN_PARTS = false;
    static const int TOKENS = 0; /* that share scales per channel, if any do */
};
template <int DIM, int BITS, int PAGE, int TILE, int SCALE, int GROUP>
struct bytes_side<staged_int<DIM, BITS, PAGE, TILE, SCALE, GROUP>> {
    static const bool IN_PARTS = BITS == 6;
    static const int TOKENS = SCALE == STAGED_CH ? GROUP : 0;
    static const bool KEYS = (BITS == 2 || BITS == 4 || BITS == 6 || BITS == 8) && DIM % 32 == 0 &&
                             (IN_PARTS || DIM * BITS / 8 % 32 == 0) && (TILE == 32 || TILE == 64) &&
                             (SCALE == STAGED_TOK ? GROUP == DIM : GROUP % 16 == 0),
                      VALUES = KEYS && (SCALE == STAGED_TOK || GROUP % TILE == 0);
};
template <int DIM, int DIMS, int BITS, int PAGE, int TILE>
struct bytes_side<staged_table<DIM, DIMS, BITS, PAGE, TILE, true>> {
    static const bool KEYS = (DIMS == 4 || DIMS == 8) && DIM % 32 == 0 && (TILE == 32 || TILE == 64), VALUES = KEYS,
                      IN_PARTS = false;
    static const int TOKENS = 0;
};
template <int DIM, int PAGE, int TILE, int MOST, int TABLE>
struct bytes_side<staged_shared<DIM, PAGE, TILE, MOST, TABLE, true>> {
    static const bool KEYS = PAGE % 32 == 0 && staged_shared<DIM, PAGE, TILE, MOST, TABLE, true>::GROUPS <= 12,
                      VALUES = KEYS, IN_PARTS = false;
    static const int TOKENS = 0;
};
/* Beside shared codes keys go in runs of 32 tokens (byte_order), which then have their scales per channel in common.
 */
template <typename P> struct bytes_fit {
    typedef bytes_side<typename P::key_side> key;
    typedef bytes_side<typename P::value_side> value;
    static const bool SHARED = P::key_side::TABLE || P::value_side::TABLE;
    __host__ __device__ static constexpr bool fits()
    {
        if constexpr (!key::KEYS || !value::VALUES || P::COLUMNS != 4)
            return false;
        else if constexpr (SHARED)
            return P::key_side::SCALE != STAGED_CH || key::TOKENS % 32 == 0;
        else
            return !key::IN_PARTS && !value::IN_PARTS;
    }
    static const bool FIT = fits();
};

/* Tokens of rows. As keys row g + 8 h of block i is token g ^ (g >> 2) of 16, 8 further for h, so that rows that are
 * read at a time share few banks, here and as values, of which lane t's j-th is (as the transpose of weights makes
 * it) token 2 t + (j / 2 ^ (t >> 1)) + 8 (j % 2).
 *
 * Where codes of 32 tokens lie side by side (RUNS) lane g has the keys of four of them, 4 g .., which are rows of two
 * blocks, and lane t the values of eight, 8 t ... */
template <bool RUNS> struct byte_order {
    __device__ static __forceinline__ int of_key(int i, int h, int g)
    {
        return RUNS ? i / 2 * 32 + 4 * g + i % 2 * 2 + h : i * 16 + h * 8 + (g ^ (g >> 2));
    }
    __device__ static __forceinline__ int of_value(int i, int j, int t)
    {
        return RUNS ? i / 2 * 32 + 8 * t + i % 2 * 2 + j / 2 * 4 + j % 2
                    : i * 16 + j % 2 * 8 + ((2 * t + (t >> 1)) ^ j / 2);
    }
};

template <typename P> struct attend_bytes {
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    typedef byte_order<bytes_fit<P>::SHARED> order;
    typedef byte_keys<P, key_side, order> keys;
    typedef byte_values<P, value_side, order> values;
    typedef attend_sight_of<P> sight;
    typedef attend_heads<key_side, value_side> heads;
    static const int SCRATCH = 0, OWN = P::TILE / 8; /* tokens of a lane */
    static const bool IN_BYTES = true;
    keys q;
    values v;
    byte_column column;

    __device__ __forceinline__ void load(const heads &h, const attend_layer &l, const attend_batch &b,
                                         const query_source &source, const attend_run &run, uint8_t *, int lane)
    {
        q.load(h.key, l, b, source, run, lane);
        v.load(h.value, l);
        column.clear();
    }

    /* `first`: the tile's oldest token. */
    __device__ __forceinline__ void add_tile(const heads &h, const uint8_t *stage, const uint8_t *key_table,
                                             const uint8_t *value_table, const uint8_t *, const attend_batch &b,
                                             const attend_run &run, uint32_t first, int lane)
    {
        float x[OWN];
        q.scores(h.key, stage, key_table, lane, P::SOFTCAP ? 0.0f : column.base, x);
        if (P::SOFTCAP)
#pragma unroll
            for (int i = 0; i < OWN; i++) x[i] = capped(x[i], b.softcap) - column.base;
        if (!sight::sees_all(run, b, first, P::TILE)) hide(run, first, lane, x);
        v.add(h.value, column, stage + key_side::BYTES, value_table, x, lane);
    }

    __device__ static __forceinline__ void hide(const attend_run &run, uint32_t first, int lane, float x[OWN])
    {
#pragma unroll
        for (int i = 0; i < OWN; i++)
            if (!sight::sees(run, first + (uint32_t)order::of_key(i / 2, i % 2, lane / 4), lane % 4))
                x[i] = -INFINITY;
    }

    /* A partial result: maximum, sum and weighted sum [D] of the first n_present columns, through `shared` [4][D] of
     * the warp. */
    __device__ __forceinline__ void leave(const heads &h, float *result, uint32_t stride, float *shared,
                                          uint32_t n_present, int lane)
    {
        const int D = value_side::D;
        float all = sum_of_rows(column.mass), with_minima = sum_of_rows(column.zero);
        if (lane < 4 && (uint32_t)lane < n_present)
            *(float2 *)(result + (uint32_t)lane * stride) = make_float2(column.max(), all);
        if (value_side::TABLE)
            for (int i = lane; i < 4 * D; i += 32) shared[i] = 0.0f; /* channels without a code */
        __syncwarp();
        v.leave(h.value, with_minima, shared + lane % 4 * D, lane);
        __syncwarp();
        copy_results(result, stride, D, shared, (int)n_present, 1, lane);
        __syncwarp();
    }
};

#endif
