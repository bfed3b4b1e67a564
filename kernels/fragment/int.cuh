/* int.cuh - symbol int as operands (pairs.cuh): bit planes of FORMAT.md, "int". Byte j of a row of the low plane has
 * the codes of channels j, j + n, j + 2 n, ...; where there is a high plane, of half the width, its fields are
 * brought behind those of the low one. */
#ifndef KERNELS_FRAGMENT_INT_CUH
#define KERNELS_FRAGMENT_INT_CUH
#include "fragment/pairs.cuh"

template <int DIM, int BITS> struct int_plane {
    static const int LOW = BITS == 3 ? 2 : BITS == 6 ? 4 : BITS; /* bits of the low plane */
    static const int HIGH = BITS - LOW;                          /* 0 or LOW / 2 */
    static const int FIELDS = 8 / LOW;                           /* of a byte */
    static const int ROW = DIM * LOW / 8, HIGH_ROW = DIM * HIGH / 8;

    /* Field k of the bytes at bits 0 and 16 of `low`, the high plane's having been shifted to field 2 k there. */
    __device__ static __forceinline__ uint32_t field(uint32_t low, uint32_t high, int k)
    {
        uint32_t low_mask = ((1u << LOW) - 1u) * 0x00010001u << k * LOW;
        uint32_t high_mask = ((1u << HIGH) - 1u) * 0x00010001u << (k + 1) * LOW;
        return HIGH ? (low & low_mask) | (high << LOW & high_mask) : low & low_mask;
    }

    /* The chunk at byte `at` of a row: its words of the low plane, and those of the high one. */
    template <int BYTES>
    __device__ static __forceinline__ void load_chunk(const uint8_t *low_plane, const uint8_t *high_plane, int row,
                                                      int at, uint32_t *low, uint32_t *high)
    {
        load_words<BYTES>(low_plane + row * ROW + at, low);
        if (!HIGH) return;
        int wrap = at >= HIGH_ROW;
        load_words<BYTES>(high_plane + row * HIGH_ROW + at - wrap * HIGH_ROW, high);
        for (int i = 0; i < (BYTES + 3) / 4; i++) high[i] >>= wrap * HIGH;
    }
};

/* TOKENS rows are staged: the high plane lies behind that many of the low one. */
template <int DIM, int BITS, int TOKENS> struct int_keys : int_plane<DIM, BITS> {
    typedef int_plane<DIM, BITS> plane;
    static const int D = DIM, CODES = 1;
    static const int CHUNK = fragment_chunk(plane::ROW / 4), N_CHUNKS = plane::ROW / 4 / CHUNK;
    static const int PER_WORD = CHUNK >= 4 ? 2 : 1, WORDS = CHUNK >= 4 ? CHUNK / 4 : 1; /* pairs of bytes */
    static_assert(plane::ROW % 8 == 0, "a lane takes whole pairs of bytes");

    __device__ static __forceinline__ int power(int h) { return h % plane::FIELDS * plane::LOW; }
    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        int k = h % plane::FIELDS, pair = h / plane::FIELDS, word = pair / PER_WORD;
        int byte = (word / WORDS * 4 + t) * CHUNK + word % WORDS * 4 + pair % PER_WORD;
        *first = byte + k * plane::ROW;
        *second = *first + (CHUNK >= 4 ? 2 : 1);
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *, int row, int lane,
                                                uint32_t *pairs)
    {
        int t = lane % 4;
#pragma unroll
        for (int c = 0; c < N_CHUNKS; c++) {
            uint32_t low[WORDS], high[WORDS] = {0};
            plane::template load_chunk<CHUNK>(codes, codes + TOKENS * plane::ROW, row, (c * 4 + t) * CHUNK, low,
                                              high);
#pragma unroll
            for (int w = 0; w < WORDS; w++) {
                uint32_t l = CHUNK >= 4 ? low[w] : __byte_perm(low[w], 0, 0x4140);
                uint32_t u = CHUNK >= 4 ? high[w] : __byte_perm(high[w], 0, 0x4140);
#pragma unroll
                for (int i = 0; i < PER_WORD * plane::FIELDS; i++) {
                    int odd = i / plane::FIELDS;
                    pairs[(c * WORDS + w) * PER_WORD * plane::FIELDS + i] =
                        plane::field(l >> 8 * odd, u >> 8 * odd, i % plane::FIELDS);
                }
            }
        }
    }
};

template <int DIM, int BITS, int TOKENS> struct int_values : int_plane<DIM, BITS> {
    typedef int_plane<DIM, BITS> plane;
    static const int D = DIM, CODES = 1;
    static const int CHUNK = fragment_chunk(plane::ROW / 8), N_CHUNKS = plane::ROW / 8 / CHUNK;
    static const int WORDS = CHUNK >= 4 ? CHUNK / 4 : 1, PER_WORD = CHUNK >= 4 ? 4 : CHUNK; /* bytes */
    static_assert(plane::ROW % 8 == 0, "a lane takes whole bytes");

    __device__ static __forceinline__ int power(int s) { return s % plane::FIELDS * plane::LOW; }
    __device__ static __forceinline__ int channel(int s, int g)
    {
        int k = s % plane::FIELDS, byte = s / plane::FIELDS, word = byte / PER_WORD;
        return (word / WORDS * 8 + g) * CHUNK + word % WORDS * 4 + byte % PER_WORD + k * plane::ROW;
    }
    /* Byte i of both, at bits 0 and 16. */
    __device__ static __forceinline__ uint32_t together(uint32_t a, uint32_t b, int i)
    {
        uint32_t pair = __byte_perm(a, b, i / 2 ? 0x7632 : 0x5410);
        return i % 2 ? pair >> 8 : pair;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *, int token0, int token1,
                                                int lane, uint32_t *slots)
    {
        int g = lane / 4;
        const uint8_t *high_plane = codes + TOKENS * plane::ROW;
#pragma unroll
        for (int c = 0; c < N_CHUNKS; c++) {
            uint32_t low[2][WORDS], high[2][WORDS] = {{0}, {0}};
            plane::template load_chunk<CHUNK>(codes, high_plane, token0, (c * 8 + g) * CHUNK, low[0], high[0]);
            plane::template load_chunk<CHUNK>(codes, high_plane, token1, (c * 8 + g) * CHUNK, low[1], high[1]);
#pragma unroll
            for (int i = 0; i < WORDS * PER_WORD * plane::FIELDS; i++) {
                int byte = i / plane::FIELDS, w = byte / PER_WORD;
                slots[c * WORDS * PER_WORD * plane::FIELDS + i] =
                    plane::field(together(low[0][w], low[1][w], byte % PER_WORD),
                                 together(high[0][w], high[1][w], byte % PER_WORD), i % plane::FIELDS);
            }
        }
    }
};

/* Of integers without a high plane. */
template <int DIM, int N_BITS, int LANES>
struct int_bytes
    : byte_rows<int_plane<DIM, N_BITS>::ROW, fragment_chunk(int_plane<DIM, N_BITS>::ROW / LANES), LANES> {
    static const int BITS = N_BITS;
    static const bool SIGNED = false;

    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *, int row, int chunk, int part,
                                                int, uint32_t *words)
    {
        load_words<int_bytes::CHUNK>(codes + row * int_bytes::ROW + int_bytes::byte_of(chunk, part), words);
    }
};

#endif
