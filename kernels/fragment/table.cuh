/* table.cuh - symbols vq and lut with one table for the layer's side as operands (pairs.cuh; FORMAT.md, "vq"). A
 * lookup brings an entry, DIMS values, into registers as it is: for keys it is DIMS / 2 pairs, for values either
 * pairs too (template/attend_pairs.cuh), or the entries of two tokens are interleaved.
 *
 * In shared memory an entry has half of a row of TABLE_ROW bytes, the other half being that of the other side, and
 * fills it with copies: lane l reads copy l modulo their number, so that no two lanes of a phase share a bank. A code
 * is that of its row, and the lane's first copy what is added: one instruction makes an entry's address (device.cuh,
 * shared_row).
 *
 * A byte table is one whose values are integers of -127 .. 127 times a step, a power of two. For products of bytes
 * (template/attend_bytes.cuh) its entries become DIMS bytes: a lookup takes half as much of shared memory's
 * bandwidth.
 *
 * Codes of one length only. */
#ifndef KERNELS_FRAGMENT_TABLE_CUH
#define KERNELS_FRAGMENT_TABLE_CUH
#include <cuda_fp16.h>
#include "device.cuh"
#include "fragment/pairs.cuh"

#define TABLE_ROW 256

/* Bytes that an entry of DIMS halves takes. */
__host__ __device__ constexpr int table_slot(int dims)
{
    return dims < 2 ? 4 : 2 * dims;
}

/* Which of the lengths 1, 2, 4, 8, 16. */
__host__ __device__ constexpr int table_length(int dims)
{
    return (dims > 1) + (dims > 2) + (dims > 4) + (dims > 8);
}

/* WORDS (1, 2 or 4) to every `stride` bytes of `room`, 16 bytes at a time; threads begin at different ones: other
 * banks. */
template <int WORDS>
__device__ __forceinline__ void store_copies(uint8_t *to, const uint32_t *words, int stride, int room, int first)
{
    const uint4 all = make_uint4(words[0], words[1 % WORDS], words[2 % WORDS], words[3 % WORDS]);
    int step = stride < 16 ? 16 : stride, n = room / step;
    for (int k = 0; k < n; k++) *(uint4 *)(to + (k + first) % n * step) = all;
}

/* An entry of DIMS halves goes in parts of up to 16 bytes: part i of all of a table's. */
template <int DIMS> struct table_part {
    static const int SLOT = table_slot(DIMS), BYTES = SLOT < 16 ? SLOT : 16, PARTS = SLOT / BYTES;
    uint32_t words[BYTES / 4];

    __device__ __forceinline__ void load(const uint16_t *table, int i)
    {
        load_words<(DIMS < 2 ? 2 : BYTES)>((const uint8_t *)(table + i / PARTS * DIMS) + i % PARTS * BYTES, words);
    }
    /* To the first `room` of the entry's row_bytes bytes, which its copies fill. */
    __device__ __forceinline__ void store(uint8_t *to, int i, int row_bytes, int room) const
    {
        store_copies<BYTES / 4>(to + i / PARTS * row_bytes + i % PARTS * BYTES, words, SLOT, room, i);
    }
    /* A byte table's. */
    __device__ __forceinline__ void store_bytes(uint8_t *to, int i, int row_bytes, int room, float step) const
    {
        const float per_step = 1.0f / step;
        uint32_t bytes[DIMS / 4] = {0};
#pragma unroll
        for (int k = 0; k < DIMS / 2; k++) {
            float2 x = __half22float2(*reinterpret_cast<const __half2 *>(&words[k]));
            uint32_t first = (uint32_t)(int)(x.x * per_step) & 255u, second = (uint32_t)(int)(x.y * per_step) & 255u;
            bytes[k / 2] |= (first | second << 8) << k % 2 * 16;
        }
        store_copies<DIMS / 4>(to + i * row_bytes, bytes, DIMS, room, i);
    }
};

/* n entries. By all threads of a block. */
template <int DIMS>
__device__ __forceinline__ void copy_entries(uint8_t *to, const uint16_t *table, int n, int row_bytes, int room)
{
    for (int i = (int)threadIdx.x; i < n * table_part<DIMS>::PARTS; i += (int)blockDim.x) {
        table_part<DIMS> part;
        part.load(table, i);
        part.store(to, i, row_bytes, room);
    }
}

/* The same of N entries by THREADS threads in two steps, between which they are on their way. IN_BYTES: entries of a
 * byte table become bytes. */
template <int DIMS, int N, int THREADS, bool IN_BYTES> struct table_ahead {
    static const int ALL = N * table_part<DIMS>::PARTS, OWN = (ALL + THREADS - 1) / THREADS;
    table_part<DIMS> own[OWN];

    __device__ __forceinline__ void load(const uint16_t *table, int thread)
    {
#pragma unroll
        for (int k = 0; k < OWN; k++) own[k].load(table, min(k * THREADS + thread, ALL - 1)); /* of some, once more */
    }
    __device__ __forceinline__ void store(uint8_t *to, const float *steps, int thread) const
    {
#pragma unroll
        for (int k = 0; k < OWN; k++) {
            int i = k * THREADS + thread;
            if (i >= ALL) break;
            if constexpr (IN_BYTES)
                own[k].store_bytes(to, i, TABLE_ROW, TABLE_ROW / 2, steps[table_length(DIMS)]);
            else
                own[k].store(to, i, TABLE_ROW, TABLE_ROW / 2);
        }
    }
};

/* N codes of BITS (2, 4, 6 or 8) a row, in one plane or, 6, in one of 4 bits and one of 2 behind it. */
template <int N, int BITS, int TOKENS> struct table_codes {
    static const int WIDE = BITS == 6 ? 4 : BITS, NARROW = BITS - WIDE;
    static_assert(BITS == 8 || BITS == 6 || BITS == 4 || BITS == 2, "widths of a plane");
    static const int ROW = N * WIDE / 8, NARROW_ROW = N * NARROW / 8;

    /* The field of WIDTH bits at `bit` of a word, moved to bit `to`. */
    template <int WIDTH> __device__ static __forceinline__ uint32_t field(uint32_t word, int bit, int to)
    {
        return (bit > to ? word >> (bit - to) : word << (to - bit)) & ((1u << WIDTH) - 1u) << to;
    }

    /* COUNT fields of WIDTH bits, the first one that of code `first`, which COUNT divides; added to addresses. */
    template <int COUNT, int WIDTH>
    __device__ static __forceinline__ void add_fields(const uint8_t *row, int first, int to, shared_address *out)
    {
        const int BYTES = (COUNT * WIDTH + 7) / 8;
        uint32_t words[(BYTES + 3) / 4];
        load_words<BYTES>(row + first * WIDTH / 8, words);
        if (COUNT * WIDTH < 8) words[0] >>= first * WIDTH % 8;
#pragma unroll
        for (int i = 0; i < COUNT; i++) out[i] += field<WIDTH>(words[i * WIDTH / 32], i * WIDTH % 32, to);
    }

    __device__ static __forceinline__ const uint8_t *narrow_row_of(const uint8_t *codes, int row)
    {
        return codes + TOKENS * ROW + row * NARROW_ROW;
    }
    /* Of 6 bits 16 codes: the lower four of each, eight in a word, and the upper two. Codes i, i + 4, .. become the
     * bytes of word i. */
    __device__ static __forceinline__ void find_16(const uint32_t low[2], uint32_t upper, shared_address copy,
                                                   shared_address *first, shared_address *last)
    {
        uint32_t even = __byte_perm(low[0], low[1], 0x6420), odd = __byte_perm(low[0], low[1], 0x7531);
        uint32_t x = upper & 0x33333333u, y = upper >> 2 & 0x33333333u;
        const uint32_t lows[4] = {even, even >> 4, odd, odd >> 4}, uppers[4] = {x << 4, y << 4, x, y};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t four = (lows[i] & 0x0f0f0f0fu) | (uppers[i] & 0xf0f0f0f0u);
#pragma unroll
            for (int k = 0; k < 4; k++) (k < 2 ? first : last)[k % 2 * 4 + i] = shared_row<TABLE_ROW>(copy, four, k);
        }
    }
    /* Addresses of the entries of COUNT codes of two rows from `first` on, which COUNT divides; `copy`: of the lane's
     * copy of the first entry. */
    template <int COUNT>
    __device__ static __forceinline__ void load_two(const uint8_t *codes, int row, int other, int first,
                                                    shared_address copy, shared_address *entry,
                                                    shared_address *entry_of_other)
    {
        if constexpr (BITS == 6 && COUNT == 8) {
            uint32_t low[2], upper[2];
            load_words<4>(codes + row * ROW + first / 2, &low[0]);
            load_words<4>(codes + other * ROW + first / 2, &low[1]);
            load_words<2>(narrow_row_of(codes, row) + first / 4, &upper[0]);
            load_words<2>(narrow_row_of(codes, other) + first / 4, &upper[1]);
            find_16(low, __byte_perm(upper[0], upper[1], 0x5410), copy, entry, entry_of_other);
        } else {
            load<COUNT>(codes, row, first, copy, entry);
            load<COUNT>(codes, other, first, copy, entry_of_other);
        }
    }
    /* The same of one row. */
    template <int COUNT>
    __device__ static __forceinline__ void load(const uint8_t *codes, int row, int first, shared_address copy,
                                                shared_address *entry)
    {
        const uint8_t *wide_row = codes + row * ROW, *narrow_row = narrow_row_of(codes, row);
        if constexpr (BITS == 6 && COUNT == 16) {
            uint32_t low[2], upper;
            load_words<8>(wide_row + first / 2, low);
            load_words<4>(narrow_row + first / 4, &upper);
            find_16(low, upper, copy, entry, entry + 8);
        } else if (BITS == 8) {
            uint32_t words[(COUNT + 3) / 4];
            load_words<COUNT>(wide_row + first, words);
#pragma unroll
            for (int i = 0; i < COUNT; i++) entry[i] = shared_row<TABLE_ROW>(copy, words[i / 4], i % 4);
        } else if (WIDE == 4 && COUNT % 8 == 0) {
            const int WORDS = COUNT % 8 == 0 ? COUNT / 8 : 1;
            uint32_t wide[WORDS], narrow[(WORDS + 1) / 2] = {0};
            load_words<WORDS * 4>(wide_row + first / 2, wide);
            if (NARROW) load_words<WORDS * 2>(narrow_row + first / 4, narrow);
#pragma unroll
            for (int j = 0; j < WORDS; j++) {
                /* codes 0, 2, 4, 6 of eight as bytes, and codes 1, 3, 5, 7 */
                uint32_t even = wide[j] & 0x0f0f0f0fu, odd = wide[j] >> 4 & 0x0f0f0f0fu;
                if (NARROW) {
                    uint32_t x = __byte_perm(narrow[j / 2], 0, j % 2 ? 0x3322 : 0x1100);
                    even |= (x << 4 & 0x00300030u) | (x & 0x30003000u);
                    odd |= (x << 2 & 0x00300030u) | (x >> 2 & 0x30003000u);
                }
#pragma unroll
                for (int i = 0; i < 8; i++) entry[j * 8 + i] = shared_row<TABLE_ROW>(copy, i % 2 ? odd : even, i / 2);
            }
        } else {
#pragma unroll
            for (int i = 0; i < COUNT; i++) entry[i] = copy;
            add_fields<COUNT, WIDE>(codes + row * ROW, first, 8, entry);
            if (NARROW) add_fields<COUNT, (NARROW ? NARROW : 1)>(narrow_row, first, 8 + WIDE, entry);
        }
    }
};

/* The halves of an entry, to words; two codes of one dimension make a word. */
template <int DIMS> __device__ __forceinline__ void look_up(shared_address entry, uint32_t *words)
{
    load_shared<(DIMS < 8 ? 2 * DIMS : 16)>(entry, words);
    if (DIMS == 16) load_shared<16>(entry + 16, words + 4);
}

/* What both sides share: a lane's codes in runs of RUN, every LANES-th run. */
template <int DIM, int DIMS, int BITS, int TOKENS, int LANES> struct table_lanes {
    static const int D = DIM, CODES = 0, N = DIM / DIMS, OWN = N / LANES, RUN = fragment_chunk(OWN), RUNS = OWN / RUN;
    typedef table_codes<N, BITS, TOKENS> codes_of;
    static_assert(N % 8 == 0, "a lane takes whole codes");

    __device__ static __forceinline__ int power(int) { return 0; }
    /* The lane's copy of the first entry, of SLOT bytes. */
    template <int SLOT = table_slot(DIMS)>
    __device__ static __forceinline__ shared_address own_copy(const uint8_t *table, int lane)
    {
        return shared_address_of(table + lane % (TABLE_ROW / 2 / SLOT) * SLOT);
    }
    /* What run c's entries have, as pairs of channels. */
    __device__ static __forceinline__ void look_up_run(int c, const shared_address entry[RUN], uint32_t *pairs)
    {
        uint32_t words[8];
#pragma unroll
        for (int i = 0; i < RUN; i++) {
            look_up<DIMS>(entry[i], words);
            int at = (c * RUN + i) * DIMS;
            if (DIMS == 1) pairs[at / 2] = at % 2 ? pairs[at / 2] | words[0] << 16 : words[0];
#pragma unroll
            for (int k = 0; k < DIMS / 2; k++) pairs[at / 2 + k] = words[k];
        }
    }
    /* Of part `part` of LANES of a row, channels in pairs; of two rows. */
    __device__ static __forceinline__ void load_pairs(const uint8_t *codes, const uint8_t *table, int row, int part,
                                                      int lane, uint32_t pairs[D / 2 / LANES])
    {
#pragma unroll
        for (int c = 0; c < RUNS; c++) {
            shared_address entry[RUN];
            codes_of::template load<RUN>(codes, row, (c * LANES + part) * RUN, own_copy(table, lane), entry);
            look_up_run(c, entry, pairs);
        }
    }
    __device__ static __forceinline__ void load_two(const uint8_t *codes, const uint8_t *table, int row, int other,
                                                    int part, int lane, uint32_t pairs[D / 2 / LANES],
                                                    uint32_t pairs_of_other[D / 2 / LANES])
    {
#pragma unroll
        for (int c = 0; c < RUNS; c++) {
            shared_address entry[2][RUN];
            codes_of::template load_two<RUN>(codes, row, other, (c * LANES + part) * RUN, own_copy(table, lane),
                                             entry[0], entry[1]);
            look_up_run(c, entry[0], pairs);
            look_up_run(c, entry[1], pairs_of_other);
        }
    }
};

template <int DIM, int DIMS, int BITS, int TOKENS> struct table_keys : table_lanes<DIM, DIMS, BITS, TOKENS, 4> {
    typedef table_lanes<DIM, DIMS, BITS, TOKENS, 4> lanes;
    static const bool NEIGHBOURS = true;

    __device__ static __forceinline__ void channels(int h, int t, int *first, int *second)
    {
        int own = h * 2 / DIMS; /* the lane's code that has the first channel */
        *first = ((own / lanes::RUN * 4 + t) * lanes::RUN + own % lanes::RUN) * DIMS + h * 2 % DIMS;
        *second = *first + 1;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int row, int lane,
                                                uint32_t *pairs)
    {
        lanes::load_pairs(codes, table, row, lane % 4, lane, pairs);
    }
};

template <int DIM, int DIMS, int BITS, int TOKENS> struct table_values : table_lanes<DIM, DIMS, BITS, TOKENS, 8> {
    typedef table_lanes<DIM, DIMS, BITS, TOKENS, 8> lanes;
    static const bool QUADS = DIMS >= 8; /* a lookup is four registers */

    __device__ static __forceinline__ int channel(int s, int g)
    {
        int own = s / DIMS;
        return ((own / lanes::RUN * 8 + g) * lanes::RUN + own % lanes::RUN) * DIMS + s % DIMS;
    }
    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int token0, int token1,
                                                int lane, uint32_t *slots)
    {
#pragma unroll
        for (int c = 0; c < lanes::RUNS; c++) {
            shared_address entry[2][lanes::RUN], copy = lanes::own_copy(table, lane);
            uint32_t a[8], b[8];
            int first = (c * 8 + lane / 4) * lanes::RUN;
            lanes::codes_of::template load_two<lanes::RUN>(codes, token0, token1, first, copy, entry[0], entry[1]);
#pragma unroll
            for (int i = 0; i < lanes::RUN; i++) {
                look_up<DIMS>(entry[0][i], a);
                look_up<DIMS>(entry[1][i], b);
#pragma unroll
                for (int k = 0; k < DIMS; k++)
                    slots[(c * lanes::RUN + i) * DIMS + k] = __byte_perm(a[k / 2], b[k / 2], k % 2 ? 0x7632 : 0x5410);
            }
        }
    }
    /* Slots 2 h and 2 h + 1 of two tokens, as pairs h. */
    __device__ static __forceinline__ void load_tokens(const uint8_t *codes, const uint8_t *table, int token,
                                                       int other, int lane, uint32_t pairs[DIM / 16],
                                                       uint32_t pairs_of_other[DIM / 16])
    {
        lanes::load_two(codes, table, token, other, lane / 4, lane, pairs, pairs_of_other);
    }
};

/* Of a byte table: the values of a row. */
template <int DIM, int DIMS, int N_BITS, int TOKENS, int LANES>
struct table_bytes : byte_rows<DIM, table_lanes<DIM, DIMS, N_BITS, TOKENS, LANES>::RUN * DIMS, LANES> {
    typedef table_lanes<DIM, DIMS, N_BITS, TOKENS, LANES> lanes;
    static const int BITS = 8, LENGTH = table_length(DIMS);
    static const bool SIGNED = true;
    typedef table_values<DIM, DIMS, N_BITS, TOKENS> slots;

    __device__ static __forceinline__ void load(const uint8_t *codes, const uint8_t *table, int row, int chunk,
                                                int part, int lane, uint32_t *words)
    {
        shared_address entry[lanes::RUN];
        lanes::codes_of::template load<lanes::RUN>(codes, row, (chunk * LANES + part) * lanes::RUN,
                                                   lanes::template own_copy<DIMS>(table, lane), entry);
#pragma unroll
        for (int i = 0; i < lanes::RUN; i++) load_shared<DIMS>(entry[i], words + i * DIMS / 4);
    }
};

#endif
