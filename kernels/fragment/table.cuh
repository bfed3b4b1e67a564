/* table.cuh - symbols vq and lut with one table for the layer's side as operands (pairs.cuh; FORMAT.md, "vq"). A
 * lookup brings an entry, DIMS values, into registers as it is: for keys it is DIMS / 2 pairs, for values the entries
 * of two tokens are interleaved. The table lies in shared memory COPIES times, copy r of entry e at (e COPIES + r)
 * entries, and lane l reads copy l mod COPIES: with entries of 16 bytes and 8 copies no two lanes of a phase share a
 * bank.
 *
 * Codes of one length only; a mix would be one such struct for each class, side by side. */
#ifndef KERNELS_FRAGMENT_TABLE_CUH
#define KERNELS_FRAGMENT_TABLE_CUH
#include "fragment/pairs.cuh"

/* N codes of BITS (2, 4, 6 or 8) a row, in one plane or, 6, in one of 4 bits and one of 2 behind it. They come
 * shifted to the left by SHIFT, which makes them offsets in the table. */
template <int N, int BITS, int TOKENS, int SHIFT> struct table_codes {
    static const int WIDE = BITS == 6 ? 4 : BITS, NARROW = BITS - WIDE;
    static_assert(BITS == 8 || BITS == 6 || BITS == 4 || BITS == 2, "widths of a plane");
    static const int ROW = N * WIDE / 8, NARROW_ROW = N * NARROW / 8;

    /* The field of WIDTH bits at `bit` of a word, moved to bit `to`. */
    template <int WIDTH> __device__ static __forceinline__ uint32_t field(uint32_t word, int bit, int to)
    {
        return (bit > to ? word >> (bit - to) : word << (to - bit)) & ((1u << WIDTH) - 1u) << to;
    }

    /* COUNT fields of WIDTH bits, the first one that of code `first`, which COUNT divides; added to out. */
    template <int COUNT, int WIDTH>
    __device__ static __forceinline__ void add_fields(const uint8_t *row, int first, int to, uint32_t *out)
    {
        const int BYTES = (COUNT * WIDTH + 7) / 8;
        uint32_t words[(BYTES + 3) / 4];
        load_words<BYTES>(row + first * WIDTH / 8, words);
        if (COUNT * WIDTH < 8) words[0] >>= first * WIDTH % 8;
#pragma unroll
        for (int i = 0; i < COUNT; i++) out[i] |= field<WIDTH>(words[i * WIDTH / 32], i * WIDTH % 32, to);
    }

    template <int COUNT>
    __device__ static __forceinline__ void load(const uint8_t *codes, int row, int first, uint32_t *out)
    {
#pragma unroll
        for (int i = 0; i < COUNT; i++) out[i] = 0;
        add_fields<COUNT, WIDE>(codes + row * ROW, first, SHIFT, out);
        if (NARROW)
            add_fields<COUNT, (NARROW ? NARROW : 1)>(codes + TOKENS * ROW + row * NARROW_ROW, first, SHIFT + WIDE,
                                                     out);
    }
};

__host__ __device__ constexpr int log2_of(int n)
{
    return n > 1 ? 1 + log2_of(n / 2) : 0;
}

/* The halves of the entry at `offset`, to words; two codes of one dimension make a word. */
template <int DIMS> __device__ __forceinline__ void look_up(const uint8_t *table, uint32_t offset, uint32_t *words)
{
    load_words<(DIMS < 8 ? 2 * DIMS : 16)>(table + offset, words);
    if (DIMS == 16) load_words<16>(table + offset + 16, words + 4);
}

/* What both sides share: a lane's own copy of the table, and its codes in runs of RUN, every LANES-th run. */
template <int DIM, int DIMS, int BITS, int TOKENS, int COPIES, int LANES> struct table_lanes {
    static const int D = DIM, CODES = 0, N = DIM / DIMS, OWN = N / LANES, RUN = fragment_chunk(OWN), RUNS = OWN / RUN;
    typedef table_codes<N, BITS, TOKENS, log2_of(2 * DIMS * COPIES)> codes_of;
    static_assert(N % 8 == 0, "a lane takes whole codes");

    __device__ static __forceinline__ int power(int) { return 0; }
    __device__ static __forceinline__ const uint8_t *own_copy(const uint8_t *table, int lane)
    {
        return table + lane % COPIES * (2 * DIMS);
    }
};

template <int DIM, int DIMS, int BITS, int TOKENS, int COPIES>
struct table_keys : table_lanes<DIM, DIMS, BITS, TOKENS, COPIES, 4> {
    typedef table_lanes<DIM, DIMS, BITS, TOKENS, COPIES, 4> lanes;

    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        int own = h * 2 / DIMS; /* the lane's code that has the first channel */
        *first = ((own / lanes::RUN * 4 + t) * lanes::RUN + own % lanes::RUN) * DIMS + h * 2 % DIMS;
        *second = *first + 1;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int row, int lane,
                                                uint32_t *pairs)
    {
        table = lanes::own_copy(table, lane);
#pragma unroll
        for (int c = 0; c < lanes::RUNS; c++) {
            uint32_t offset[lanes::RUN], words[8];
            lanes::codes_of::template load<lanes::RUN>(codes, row, (c * 4 + lane % 4) * lanes::RUN, offset);
#pragma unroll
            for (int i = 0; i < lanes::RUN; i++) {
                look_up<DIMS>(table, offset[i], words);
                int at = (c * lanes::RUN + i) * DIMS;
                if (DIMS == 1) pairs[at / 2] = at % 2 ? pairs[at / 2] | words[0] << 16 : words[0];
#pragma unroll
                for (int k = 0; k < DIMS / 2; k++) pairs[at / 2 + k] = words[k];
            }
        }
    }
};

template <int DIM, int DIMS, int BITS, int TOKENS, int COPIES>
struct table_values : table_lanes<DIM, DIMS, BITS, TOKENS, COPIES, 8> {
    typedef table_lanes<DIM, DIMS, BITS, TOKENS, COPIES, 8> lanes;

    __device__ static __forceinline__ int channel(int s, int g)
    {
        int own = s / DIMS;
        return ((own / lanes::RUN * 8 + g) * lanes::RUN + own % lanes::RUN) * DIMS + s % DIMS;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int token0, int token1,
                                                int lane, uint32_t *slots)
    {
        table = lanes::own_copy(table, lane);
#pragma unroll
        for (int c = 0; c < lanes::RUNS; c++) {
            uint32_t offset[2][lanes::RUN], a[8], b[8];
            lanes::codes_of::template load<lanes::RUN>(codes, token0, (c * 8 + lane / 4) * lanes::RUN, offset[0]);
            lanes::codes_of::template load<lanes::RUN>(codes, token1, (c * 8 + lane / 4) * lanes::RUN, offset[1]);
#pragma unroll
            for (int i = 0; i < lanes::RUN; i++) {
                look_up<DIMS>(table, offset[0][i], a);
                look_up<DIMS>(table, offset[1][i], b);
#pragma unroll
                for (int k = 0; k < DIMS; k++)
                    slots[(c * lanes::RUN + i) * DIMS + k] = __byte_perm(a[k / 2], b[k / 2], k % 2 ? 0x7632 : 0x5410);
            }
        }
    }
};

#endif
