/* int.cuh - symbol int as operands (pairs.cuh): bit planes of FORMAT.md, "int". Byte j of a row of the low plane has
 * the codes of channels j, j + n, j + 2 n, ...; where there is a high plane, of half the width, its fields are
 * brought behind those of the low one.
 *
 * GROUP: channels of a token that share a scale, DIM where all do. Where fewer do a lane's chunks are such that no
 * product of 16 channels has two groups, and pairs and slots go field by field, not byte by byte: channels of product
 * i are all in group 16 i / GROUP. */
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
template <int DIM, int BITS, int TOKENS, int GROUP = DIM> struct int_keys : int_plane<DIM, BITS> {
    typedef int_plane<DIM, BITS> plane;
    static const int D = DIM, CODES = 1, OWN = plane::ROW / 8; /* pairs of a lane's bytes */
    static const bool NEIGHBOURS = false;
    static const int CHUNK = fragment_chunk(fragment_common(plane::ROW, GROUP) / 4),
                     N_CHUNKS = plane::ROW / 4 / CHUNK;
    static const int PER_WORD = CHUNK >= 4 ? 2 : 1, WORDS = CHUNK >= 4 ? CHUNK / 4 : 1; /* pairs of bytes */
    static_assert(plane::ROW % 8 == 0, "a lane takes whole pairs of bytes");

    /* Field k of the lane's bytes `own`, as a pair, and back. */
    __device__ static constexpr int pair_of(int own, int k)
    {
        return GROUP < DIM ? k * OWN + own : own * plane::FIELDS + k;
    }
    __device__ static constexpr int field_of(int h) { return GROUP < DIM ? h / OWN : h % plane::FIELDS; }
    __device__ static constexpr int own_of(int h) { return GROUP < DIM ? h % OWN : h / plane::FIELDS; }

    __device__ static __forceinline__ int power(int h) { return field_of(h) * plane::LOW; }
    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        int k = field_of(h), pair = own_of(h), word = pair / PER_WORD;
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
                    pairs[pair_of((c * WORDS + w) * PER_WORD + odd, i % plane::FIELDS)] =
                        plane::field(l >> 8 * odd, u >> 8 * odd, i % plane::FIELDS);
                }
            }
        }
    }
};

template <int DIM, int BITS, int TOKENS, int GROUP = DIM> struct int_values : int_plane<DIM, BITS> {
    typedef int_plane<DIM, BITS> plane;
    static const int D = DIM, CODES = 1, OWN = plane::ROW / 8; /* bytes of a lane */
    static const int CHUNK = fragment_chunk(fragment_common(plane::ROW, GROUP) / 8),
                     N_CHUNKS = plane::ROW / 8 / CHUNK;
    static const int WORDS = CHUNK >= 4 ? CHUNK / 4 : 1, PER_WORD = CHUNK >= 4 ? 4 : CHUNK; /* bytes */
    static_assert(plane::ROW % 8 == 0, "a lane takes whole bytes");

    /* Field k of the lane's byte `own`. */
    __device__ static constexpr int slot_of(int own, int k)
    {
        return GROUP < DIM ? k * OWN + own : own * plane::FIELDS + k;
    }
    __device__ static constexpr int field_of(int s) { return GROUP < DIM ? s / OWN : s % plane::FIELDS; }
    __device__ static constexpr int own_of(int s) { return GROUP < DIM ? s % OWN : s / plane::FIELDS; }

    __device__ static __forceinline__ int power(int s) { return field_of(s) * plane::LOW; }
    __device__ static __forceinline__ int channel(int s, int g)
    {
        int byte = own_of(s), word = byte / PER_WORD;
        return (word / WORDS * 8 + g) * CHUNK + word % WORDS * 4 + byte % PER_WORD + field_of(s) * plane::ROW;
    }
    /* Of fp16 [DIM] the number of each slot's channel. */
    __device__ static __forceinline__ void by_slot(const uint8_t *from, int g, float out[DIM / 8])
    {
#pragma unroll
        for (int c = 0; c < N_CHUNKS; c++)
#pragma unroll
            for (int k = 0; k < plane::FIELDS; k++) {
                float own[CHUNK];
                load_halves<CHUNK>(from + 2 * channel(slot_of(c * CHUNK, k), g), own);
#pragma unroll
                for (int i = 0; i < CHUNK; i++) out[slot_of(c * CHUNK + i, k)] = own[i];
            }
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
                slots[slot_of(c * WORDS * PER_WORD + byte, i % plane::FIELDS)] =
                    plane::field(together(low[0][w], low[1][w], byte % PER_WORD),
                                 together(high[0][w], high[1][w], byte % PER_WORD), i % plane::FIELDS);
            }
        }
    }
};

/* Slots of values whose rows are turned (byte_rows): field by field of the lane's four bytes. */
template <int DIM, int BITS> struct int_turned {
    static const int FIELDS = 8 / BITS, ROW = DIM / FIELDS;

    __device__ static __forceinline__ int channel(int s, int g)
    {
        int own = s / FIELDS;
        return own / 2 * 16 + 2 * g + own % 2 + s % FIELDS * ROW;
    }
    __device__ static __forceinline__ void by_slot(const uint8_t *from, int g, float out[DIM / 8])
    {
#pragma unroll
        for (int own = 0; own < 4; own += 2)
#pragma unroll
            for (int k = 0; k < FIELDS; k++) {
                float two[2];
                load_halves<2>(from + 2 * channel(own * FIELDS + k, g), two);
                out[own * FIELDS + k] = two[0], out[(own + 1) * FIELDS + k] = two[1];
            }
    }
};
template <int DIM, int BITS, int TOKENS, bool TURNED> struct int_byte_slots {
    typedef int_values<DIM, BITS, TOKENS> type;
};
template <int DIM, int BITS, int TOKENS> struct int_byte_slots<DIM, BITS, TOKENS, true> {
    typedef int_turned<DIM, BITS> type;
};

/* For products of bytes: of integers without a high plane as they lie; of six bits each in a byte of its own. */
template <int DIM, int N_BITS, int TOKENS, int LANES>
struct int_bytes
    : byte_rows<int_plane<DIM, N_BITS>::ROW, fragment_chunk(int_plane<DIM, N_BITS>::ROW / LANES), LANES> {
    static const int BITS = N_BITS;
    static const bool SIGNED = false, TURNED = LANES == 8 && int_bytes::ROW == 32;
    typedef typename int_byte_slots<DIM, N_BITS, TOKENS, TURNED>::type slots;

    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *, int row, int chunk, int part,
                                                int, uint32_t *words)
    {
        load_words<int_bytes::CHUNK>(codes + row * int_bytes::ROW + int_bytes::byte_of(chunk, part), words);
    }
};
template <int DIM, int TOKENS, int LANES>
struct int_bytes<DIM, 6, TOKENS, LANES> : byte_rows<DIM, fragment_chunk(DIM / LANES), LANES> {
    static const int BITS = 8;
    static const bool SIGNED = false;
    typedef int_plane<DIM, 6> plane;
    typedef int_values<DIM, 8, TOKENS> slots;

    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *, int row, int chunk, int part,
                                                int, uint32_t *words)
    {
        const int CHUNK = int_bytes::CHUNK;
        static_assert(plane::HIGH_ROW % CHUNK == 0, "a chunk is of one field of each plane");
        uint32_t high[CHUNK / 4];
        int first = int_bytes::byte_of(chunk, part), of_low = first / plane::ROW, of_high = first / plane::HIGH_ROW;
        load_words<CHUNK>(codes + row * plane::ROW + first % plane::ROW, words);
        load_words<CHUNK>(codes + TOKENS * plane::ROW + row * plane::HIGH_ROW + first % plane::HIGH_ROW, high);
#pragma unroll
        for (int i = 0; i < CHUNK / 4; i++)
            words[i] = (words[i] >> of_low * 4 & 0x0f0f0f0fu) | (high[i] >> of_high * 2 << 4 & 0x30303030u);
    }
};

#endif
