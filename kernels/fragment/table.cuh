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

/* N codes of BITS (4, 6 or 8) a row, in planes over the tile (FORMAT.md: the lowest digits of b last). */
template <int N, int BITS, int TOKENS> struct table_codes {
    static const int WIDE = BITS == 6 ? 4 : BITS, NARROW = BITS - WIDE;
    static_assert(BITS == 8 || BITS == 6 || BITS == 4, "widths of a plane");
    static const int ROW = N * WIDE / 8, NARROW_ROW = N * NARROW / 8;

    /* Codes first .. first + COUNT - 1 of a row; first and COUNT so that they are whole bytes, or alone. */
    template <int COUNT>
    __device__ static __forceinline__ void load(const uint8_t *codes, int row, int first, uint32_t *out)
    {
        const uint8_t *narrow = codes + TOKENS * ROW + row * NARROW_ROW;
        codes += row * ROW;
        if (BITS == 8 && COUNT % 4 == 0) {
            const int CHUNK = fragment_chunk(COUNT);
            uint32_t words[COUNT < 4 ? 1 : COUNT / 4];
#pragma unroll
            for (int i = 0; i < COUNT / 4; i += CHUNK / 4) load_words<CHUNK>(codes + first + i * 4, words + i);
#pragma unroll
            for (int i = 0; i < COUNT; i++) out[i] = __byte_perm(words[i / 4], 0, 0x4440 + i % 4);
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++) {
                int at = first + i;
                out[i] = BITS == 8 ? codes[at] : codes[at / 2] >> 4 * (at % 2) & 15u;
                if (NARROW) out[i] |= (narrow[at / 4] >> 2 * (at % 4) & 3u) << 4;
            }
        }
    }
};

/* DIMS halves of an entry. */
template <int DIMS, int COPIES>
__device__ __forceinline__ void look_up(const uint8_t *table, uint32_t code, int lane, uint32_t *words)
{
    const uint8_t *entry = table + (code * COPIES + (uint32_t)lane % COPIES) * (2 * DIMS);
    if (DIMS == 16) {
        load_words<16>(entry, words);
        load_words<16>(entry + 16, words + 4);
    } else {
        load_words<(DIMS < 8 ? 2 * DIMS : 16)>(entry, words);
    }
}

/* Lane t has every 4th run of RUN codes. */
template <int DIM, int DIMS, int BITS, int TOKENS, int COPIES> struct table_keys {
    static const int D = DIM, CODES = 0, N = DIM / DIMS, OWN = N / 4, RUN = fragment_chunk(OWN);
    typedef table_codes<N, BITS, TOKENS> codes_of;
    static_assert(N % 8 == 0, "a lane takes whole codes");
    static_assert(BITS == 8 || RUN % 2 == 0 || DIMS > 1, "nibbles");

    __device__ static __forceinline__ int power(int) { return 0; }
    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        int own = h * 2 / DIMS; /* the lane's code that has the first channel */
        *first = ((own / RUN * 4 + t) * RUN + own % RUN) * DIMS + h * 2 % DIMS;
        *second = *first + 1;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int row, int lane,
                                                uint32_t *pairs)
    {
#pragma unroll
        for (int c = 0; c < OWN / RUN; c++) {
            uint32_t code[RUN], words[8];
            codes_of::template load<RUN>(codes, row, (c * 4 + lane % 4) * RUN, code);
#pragma unroll
            for (int i = 0; i < RUN; i++) {
                look_up<DIMS, COPIES>(table, code[i], lane, words);
                int at = (c * RUN + i) * DIMS;
                if (DIMS == 1) pairs[at / 2] = at % 2 ? pairs[at / 2] | words[0] << 16 : words[0];
#pragma unroll
                for (int k = 0; k < DIMS / 2; k++) pairs[at / 2 + k] = words[k];
            }
        }
    }
};

/* Lane g has every 8th code. */
template <int DIM, int DIMS, int BITS, int TOKENS, int COPIES> struct table_values {
    static const int D = DIM, CODES = 0, N = DIM / DIMS, OWN = N / 8;
    typedef table_codes<N, BITS, TOKENS> codes_of;
    static_assert(N % 8 == 0, "a lane takes whole codes");

    __device__ static __forceinline__ int power(int) { return 0; }
    __device__ static __forceinline__ int channel(int s, int g) { return (s / DIMS * 8 + g) * DIMS + s % DIMS; }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int token0, int token1,
                                                int lane, uint32_t *slots)
    {
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            uint32_t code[2], a[8], b[8];
            codes_of::template load<1>(codes, token0, i * 8 + lane / 4, &code[0]);
            codes_of::template load<1>(codes, token1, i * 8 + lane / 4, &code[1]);
            look_up<DIMS, COPIES>(table, code[0], lane, a);
            look_up<DIMS, COPIES>(table, code[1], lane, b);
#pragma unroll
            for (int k = 0; k < DIMS; k++)
                slots[i * DIMS + k] = __byte_perm(a[k / 2], b[k / 2], k % 2 ? 0x7632 : 0x5410);
        }
    }
};

#endif
