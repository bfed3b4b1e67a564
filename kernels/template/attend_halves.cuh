/* attend_halves.cuh - pages of any codecs, in products of fp16: attend_keys.cuh, attend_values.cuh, of tables' values
 * for few columns attend_pairs.cuh and, of shared codes, attend_shared.cuh. */
#ifndef KERNELS_TEMPLATE_ATTEND_HALVES_CUH
#define KERNELS_TEMPLATE_ATTEND_HALVES_CUH
#include "template/attend_pairs.cuh"
#include "template/attend_shared.cuh"
#include "template/attend_sight.cuh"

template <typename P, typename SIDE, bool IN_PAIRS = pairs_side<P, SIDE>::FITS> struct values_of {
    typedef attend_values<P, SIDE> type;
};
template <typename P, typename SIDE> struct values_of<P, SIDE, true> {
    typedef attend_pairs<P, SIDE> type;
};

template <typename P> struct attend_halves {
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    typedef attend_heads<key_side, value_side> heads;
    typedef attend_keys<P, key_side> keys;
    typedef typename values_of<P, value_side>::type values;
    typedef attend_sight_of<P> sight;
    /* Bytes of a warp: rows that a tile is decoded to, keys and then values, and what keys need. */
    static const int ROWS = key_side::ROWS > value_side::ROWS ? key_side::ROWS : value_side::ROWS,
                     SCRATCH = keys::SCRATCH + ROWS;
    static const bool IN_BYTES = false; /* entries of tables */
    typename keys::query q;
    typename values::state s;

    __device__ __forceinline__ void load(const heads &h, const attend_layer &l, const attend_batch &b,
                                         const query_source &source, const attend_run &run, uint8_t *scratch,
                                         int lane)
    {
        q.load(h.key, l, b, source, run, scratch, lane);
        s.clear();
    }

    /* `first`: the tile's oldest token. */
    __device__ __forceinline__ void add_tile(const heads &h, const uint8_t *stage, const uint8_t *key_table,
                                             const uint8_t *value_table, uint8_t *scratch, const attend_batch &b,
                                             const attend_run &run, uint32_t first, int lane)
    {
        attend_scores<P, P::TILE / 8> p;
        const uint8_t *codes = stage;
        if constexpr (key_side::ROWS > 0) codes = key_side::decode(codes, key_table, scratch + keys::SCRATCH, lane);
        keys::scores(q, h.key, codes, key_table, scratch, lane, p);
        sight::cap(p, b);
        sight::template hide<P::TILE / 8>(p.x, first, run, b, lane);
        s.weigh(p, lane);
        codes = stage + key_side::BYTES;
        if constexpr (value_side::ROWS > 0)
            codes = value_side::decode(codes, value_table, scratch + keys::SCRATCH, lane);
        values::add(s, h.value, codes, value_table, p.x, lane);
    }

    __device__ __forceinline__ void leave(const heads &h, float *result, uint32_t stride, float *shared,
                                          uint32_t n_present, int lane)
    {
        values::leave(s, h.value, result, stride, shared, n_present, lane);
    }
};

#endif
