/* single.cuh - codes that are decoded one by one, of codecs that no other side takes: lut and vq of any bits, with
 * tables of a head or of a code, mixes (FORMAT.md, "vq"), seg (FORMAT.md, "seg"), and integers whose rows or groups
 * int.cuh cannot split. When a tile is there its warp makes fp16 rows of it in shared memory, which then are what
 * fp16.cuh has: of each code, gathered from its planes, what it finds in the table, which stays in global memory, or
 * m + s code.
 *
 * Behind the channels that have a position rows of a mix have zeros, up to a multiple of 16.
 *
 * A codec's struct, of tiles of so many tokens:
 *     D            channels of a row
 *     HEAD_VALUES  of the tables of a head; 0: all heads have the same
 *     PARTS        of a block, one behind the other: planes, scales, minima
 *     BYTES        of a tile's
 *     static uint32_t bytes(int part, uint32_t n_tokens)   those of the first n_tokens
 *     static void decode(const uint8_t *tile, const uint16_t *tables, uint16_t *rows, int lane)   by a warp */
#ifndef KERNELS_FRAGMENT_SINGLE_CUH
#define KERNELS_FRAGMENT_SINGLE_CUH
#include <cuda_fp16.h>
#include "fragment/planes.cuh"
#include "fragment/staged.cuh"

/* Byte k of a codec's segments (kvc_codec). */
__host__ __device__ constexpr uint32_t single_segment(uint64_t segments, int k)
{
    return (uint32_t)(segments >> 8 * k) & 255u;
}

/* Planes of codes of so many bits, and the width of plane k, 0 where there is none. */
__host__ __device__ constexpr int single_planes(uint32_t bits)
{
    return (int)((bits & 1) + (bits >> 1 & 1) + (bits >> 2 & 1) + (bits >> 3 & 1));
}
__host__ __device__ constexpr uint32_t single_width(uint32_t bits, int k)
{
    for (uint32_t width = 8; width; width /= 2)
        if (bits & width && k-- == 0) return width;
    return 0;
}

/* Scales are rounded up: what is beyond fp16 becomes its end, as where a cache takes rows back (FORMAT.md, section
 * 8). */
__device__ __forceinline__ uint32_t single_scaled(const uint8_t *scales, const uint8_t *minima, uint32_t at,
                                                  uint32_t code)
{
    float scale = __half2float(((const __half *)scales)[at]), minimum = __half2float(((const __half *)minima)[at]);
    return __half_as_ushort(__float2half_rn(fmaxf(fminf(minimum + scale * (float)code, 65504.0f), -65504.0f)));
}

/* ---- int ---- */

/* SCALE: GROUP channels of a token (STAGED_TOK), or GROUP tokens (STAGED_CH) share a scale. */
template <int DIM, int BITS, int SCALE, int GROUP, int TILE> struct single_ints {
    static const bool BY_TOKEN = SCALE == STAGED_TOK;
    static const int D = DIM, HEAD_VALUES = 0, PLANES = single_planes(BITS), PARTS = PLANES + 2;
    static const int OF_TOKEN = BY_TOKEN ? DIM / GROUP : DIM, TOKENS = BY_TOKEN ? 1 : GROUP; /* scales; of a scale */
    static const int SCALES = TILE * DIM * BITS / 8, MINIMA = SCALES + (TILE + TOKENS - 1) / TOKENS * OF_TOKEN * 2,
                     BYTES = MINIMA + (MINIMA - SCALES);
    static_assert(TILE % TOKENS == 0 || TOKENS % TILE == 0, "tiles");

    __host__ __device__ static constexpr uint32_t bytes(int part, uint32_t n_tokens)
    {
        return part < PLANES ? n_tokens * DIM * single_width(BITS, part) / 8
                             : (n_tokens + TOKENS - 1) / TOKENS * OF_TOKEN * 2;
    }

    /* Of the wider plane, then the other: those of a byte are of channels far from each other. */
    __device__ static __forceinline__ uint32_t code_of(const uint8_t *tile, uint32_t row, uint32_t channel)
    {
        uint32_t code = 0, shift = 0;
#pragma unroll
        for (int k = 0; k < PLANES; k++) {
            const uint32_t width = single_width(BITS, k), n = DIM * width / 8;
            code |= (tile[row * n + channel % n] >> channel / n * width & ((1u << width) - 1u)) << shift;
            tile += TILE * n, shift += width;
        }
        return code;
    }
    __device__ static __forceinline__ uint32_t half(const uint8_t *tile, uint32_t row, uint32_t channel)
    {
        uint32_t at = row / TOKENS * OF_TOKEN + (BY_TOKEN ? channel / GROUP : channel);
        return single_scaled(tile + SCALES, tile + MINIMA, at, code_of(tile, row, channel));
    }
    __device__ static __forceinline__ void decode(const uint8_t *tile, const uint16_t *, uint16_t *rows, int lane)
    {
#pragma unroll 4
        for (uint32_t i = 2 * (uint32_t)lane; i < TILE * DIM; i += 64) {
            uint32_t row = i / DIM, channel = i % DIM;
            *(uint32_t *)(rows + i) = half(tile, row, channel) | half(tile, row, channel + 1) << 16;
        }
    }
};

/* ---- lut, vq and mixes ---- */

/* Have all heads' codes of a length one table, or a head's, or has every code of a row of a head its own? */
enum single_scope { SINGLE_SIDE, SINGLE_HEAD, SINGLE_CODE };

/* Of a row of d channels the n codes of 2^k channels; and what lies before them: codes, channels, channels of tables
 * if there is one for each length. dims: of all codes, 0: numbers of codes are those of `mix`. */
struct single_class {
    int n, code, channel, table;
};
__host__ __device__ constexpr single_class single_class_of(int d, int dims, uint64_t mix, int k)
{
    single_class c = {0, 0, 0, 0};
    for (int i = 0; i <= k; i++) {
        c.code += c.n, c.channel += c.n << i >> 1, c.table += c.n ? 1 << i >> 1 : 0;
        c.n = dims ? (dims == 1 << i ? d / dims : 0) : (int)single_segment(mix, i) * d / 64;
    }
    return c;
}

/* The most halves, up to 16, that can be moved at a time between multiples of all four. */
__host__ __device__ constexpr int single_step(int a, int b, int c, int d)
{
    return fragment_chunk(fragment_common(fragment_common(a, b), fragment_common(c, d)));
}

/* N halves: 1, 2, 4, 8 or 16. */
template <int N> __device__ __forceinline__ void single_copy(uint16_t *to, const uint16_t *from)
{
    uint32_t words[4];
    load_words<(N < 8 ? N * 2 : 16)>((const uint8_t *)from, words);
    if (N == 1) *to = (uint16_t)words[0];
    if (N == 2) *(uint32_t *)to = words[0];
    if (N == 4) *(uint2 *)to = make_uint2(words[0], words[1]);
    if (N >= 8) *(uint4 *)to = make_uint4(words[0], words[1], words[2], words[3]);
    if constexpr (N > 8) single_copy<N - 8>(to + 8, from + 8);
}

template <int DIM, int HEAD_DIM, int DIMS, uint64_t MIX, int BITS, int SCOPE, int TILE> struct single_tables {
    static constexpr single_class ALL = single_class_of(HEAD_DIM, DIMS, MIX, 5);
    static const int D = DIM, N = ALL.code, KEPT = ALL.channel, PARTS = single_planes(BITS),
                     HEAD_VALUES = SCOPE == SINGLE_SIDE ? 0 : (SCOPE == SINGLE_HEAD ? ALL.table : KEPT) << BITS,
                     BYTES = TILE / 8 * N * BITS;
    static_assert(KEPT <= DIM && DIM - KEPT < 16, "channels that have a position");

    __host__ __device__ static constexpr uint32_t bytes(int part, uint32_t n_tokens)
    {
        return n_tokens * (uint32_t)N * single_width(BITS, part) / 8;
    }

    /* Codes of 2^K channels. */
    template <int K>
    __device__ static __forceinline__ void decode_class(const uint8_t *tile, const uint16_t *tables, uint16_t *rows,
                                                        int lane)
    {
        constexpr single_class c = single_class_of(HEAD_DIM, DIMS, MIX, K);
        constexpr int FIRST = (SCOPE == SINGLE_CODE ? c.channel : c.table) << BITS, LENGTH = 1 << K,
                      STEP = single_step(LENGTH, c.channel, FIRST, HEAD_VALUES);
        if constexpr (c.n > 0) {
#pragma unroll 4
            for (uint32_t i = (uint32_t)lane; i < TILE * c.n; i += 32) {
                uint32_t row = i / c.n, k = i % c.n;
                uint32_t entry = planes_code(tile, row * N + c.code + k, BITS, TILE * N);
                if (SCOPE == SINGLE_CODE) entry += k << BITS;
#pragma unroll
                for (int at = 0; at < LENGTH; at += STEP)
                    single_copy<STEP>(rows + row * DIM + c.channel + k * LENGTH + at,
                                      tables + FIRST + entry * LENGTH + at);
            }
        }
    }
    __device__ static __forceinline__ void decode(const uint8_t *tile, const uint16_t *tables, uint16_t *rows,
                                                  int lane)
    {
        const int REST = DIM > KEPT ? DIM - KEPT : 1;
        for (int i = lane; i < TILE * (DIM - KEPT); i += 32) rows[i / REST * DIM + KEPT + i % REST] = 0;
        decode_class<0>(tile, tables, rows, lane);
        decode_class<1>(tile, tables, rows, lane);
        decode_class<2>(tile, tables, rows, lane);
        decode_class<3>(tile, tables, rows, lane);
        decode_class<4>(tile, tables, rows, lane);
    }
};

/* ---- seg ---- */

/* Bits of eighth e; and of those before it the bits, how many are kept, and the entries of one channel's tables. */
struct single_eighth {
    uint32_t bits, before, kept, entries;
};
__host__ __device__ constexpr single_eighth single_eighth_of(uint64_t segments, int e)
{
    single_eighth x = {0, 0, 0, 0};
    for (int i = 0; i <= e; i++) {
        x.before += x.bits, x.kept += x.bits > 0, x.entries += x.bits ? 1u << x.bits : 0u;
        x.bits = i < 8 ? single_segment(segments, i) : 0;
    }
    return x;
}

/* Planes of the streams of all eighths, and how wide the fields of one are, 0 where there is none. */
__host__ __device__ constexpr int single_eighth_planes(uint64_t segments)
{
    int n = 0;
    for (int e = 0; e < 8; e++) n += single_planes(single_segment(segments, e));
    return n;
}
__host__ __device__ constexpr uint32_t single_eighth_width(uint64_t segments, int plane)
{
    for (int e = 0; e < 8; e++) {
        int n = single_planes(single_segment(segments, e));
        if (plane < n) return single_width(single_segment(segments, e), plane);
        plane -= n;
    }
    return 0;
}

/* GROUP tokens share scales and minima; 0: each channel has a table (.static). */
template <int DIM, uint64_t SEGMENTS, int GROUP, int TILE> struct single_segments {
    static constexpr single_eighth ALL = single_eighth_of(SEGMENTS, 8);
    static const int D = DIM, WIDTH = DIM / 8, KEPT = (int)ALL.kept * WIDTH, PLANES = single_eighth_planes(SEGMENTS),
                     PARTS = PLANES + (GROUP ? 2 : 0), HEAD_VALUES = GROUP ? 0 : (int)ALL.entries * WIDTH;
    static const int OF_SCALE = GROUP ? GROUP : TILE, GROUPS = GROUP ? (TILE + GROUP - 1) / OF_SCALE : 0;
    static const int SCALES = (TILE / 8 * WIDTH * (int)ALL.before + 1) / 2 * 2, MINIMA = SCALES + GROUPS * KEPT * 2,
                     BYTES = MINIMA + GROUPS * KEPT * 2;
    static_assert(TILE % OF_SCALE == 0 || OF_SCALE % TILE == 0, "tiles");

    __host__ __device__ static constexpr uint32_t bytes(int part, uint32_t n_tokens)
    {
        return part < PLANES ? n_tokens * WIDTH * single_eighth_width(SEGMENTS, part) / 8
                             : (n_tokens + OF_SCALE - 1) / OF_SCALE * KEPT * 2;
    }

    /* Field i of the stream of eighth E. */
    template <int E>
    __device__ static __forceinline__ uint32_t half(const uint8_t *tile, const uint16_t *tables, uint32_t i)
    {
        constexpr single_eighth x = single_eighth_of(SEGMENTS, E);
        uint32_t code = planes_code(tile + TILE / 8 * WIDTH * x.before, i, x.bits, TILE * WIDTH);
        uint32_t row = i / WIDTH, in = i % WIDTH;
        if (GROUP)
            return single_scaled(tile + SCALES, tile + MINIMA, row / OF_SCALE * KEPT + x.kept * WIDTH + in, code);
        return tables[x.entries * WIDTH + (in << x.bits) + code];
    }
    template <int E>
    __device__ static __forceinline__ void decode_eighth(const uint8_t *tile, const uint16_t *tables, uint16_t *rows,
                                                         int lane)
    {
        static_assert(WIDTH % 2 == 0, "pairs of channels");
#pragma unroll 4
        for (uint32_t i = 2 * (uint32_t)lane; i < TILE * WIDTH; i += 64) {
            uint32_t pair = 0;
            if (single_segment(SEGMENTS, E)) pair = half<E>(tile, tables, i) | half<E>(tile, tables, i + 1) << 16;
            *(uint32_t *)(rows + i / WIDTH * DIM + E * WIDTH + i % WIDTH) = pair;
        }
    }
    __device__ static __forceinline__ void decode(const uint8_t *tile, const uint16_t *tables, uint16_t *rows,
                                                  int lane)
    {
        decode_eighth<0>(tile, tables, rows, lane);
        decode_eighth<1>(tile, tables, rows, lane);
        decode_eighth<2>(tile, tables, rows, lane);
        decode_eighth<3>(tile, tables, rows, lane);
        decode_eighth<4>(tile, tables, rows, lane);
        decode_eighth<5>(tile, tables, rows, lane);
        decode_eighth<6>(tile, tables, rows, lane);
        decode_eighth<7>(tile, tables, rows, lane);
    }
};

/* ---- tiles ---- */

/* Are a tile's parts multiples of 16 bytes? A whole block need not have such parts: it is filled up to one. */
template <typename CODEC> __host__ __device__ constexpr bool single_is_aligned(uint32_t tile)
{
    for (int i = 0; i < CODEC::PARTS; i++)
        if (CODEC::bytes(i, tile) % 16) return false;
    return true;
}

template <typename CODEC, int PAGE, int TILE> struct staged_single : staged_alike<staged_single<CODEC, PAGE, TILE>> {
    typedef typename staged_alike<staged_single>::head head;
    static const int D = CODEC::D, SCALE = STAGED_NONE, TOKENS_OF_SCALE = TILE, SCALES = 0, MINIMA = 0;
    typedef fp16_keys<D> keys;
    typedef fp16_values<D> values;
    static const int BYTES = (CODEC::BYTES + 15) / 16 * 16, ROWS = TILE * D * 2;

    static const bool WHOLE = TILE == PAGE; /* a tile has the block's own order */
    static const int COPIES = WHOLE ? 1 : CODEC::PARTS;
    static_assert(PAGE % TILE == 0 && (WHOLE || single_is_aligned<CODEC>(TILE)), "copies of 16 bytes");
    __device__ static __forceinline__ staged_copy copy(const head &, int k, int tile)
    {
        if (WHOLE) return staged_copy{0, 0, BYTES};
        staged_copy c = {0, 0, 0};
#pragma unroll
        for (int i = 0; i < COPIES; i++) {
            c.n = CODEC::bytes(i, TILE);
            if (i == k) break;
            c.from += CODEC::bytes(i, PAGE), c.to += c.n;
        }
        c.from += CODEC::bytes(k, (uint32_t)(tile + 1) * TILE) - c.n; /* of tokens that share a scale all have it */
        return c;
    }
    /* The tables of the head, where they are. */
    __device__ static __forceinline__ const uint8_t *table_of(const uint8_t *, const uint16_t *all, uint32_t head)
    {
        return (const uint8_t *)(all + head * CODEC::HEAD_VALUES);
    }
    /* `rows`: of the tile before, if any, that no lane looks at any more. */
    __device__ static __forceinline__ const uint8_t *decode(const uint8_t *tile, const uint8_t *table, uint8_t *rows,
                                                            int lane)
    {
        __syncwarp();
        CODEC::decode(tile, (const uint16_t *)table, (uint16_t *)rows, lane);
        __syncwarp();
        return rows;
    }
};

#endif
