/* staged.cuh - a tile of TILE tokens of one head's block in shared memory: codes, then scales and minima; and the
 * table of a side, once for all warps. Each side says how many bytes it needs, how they come there, and where they
 * are. All sizes are multiples of 16. */
#ifndef KERNELS_FRAGMENT_STAGED_CUH
#define KERNELS_FRAGMENT_STAGED_CUH
#include "device.cuh"
#include "fragment/fp16.cuh"
#include "fragment/int.cuh"
#include "fragment/table.cuh"

/* One of the copies that bring a tile: from the block, to the stage. */
struct staged_copy {
    uint32_t from, to, n;
};

enum staged_scale { STAGED_NONE, STAGED_TOK, STAGED_CH };

/* A layer's table, loaded and then stored by threads 0 .. of some (fragment/table.cuh): of a side that has none. */
struct staged_no_table {
    __device__ __forceinline__ void load(const uint16_t *, int) {}
    __device__ __forceinline__ void store(uint8_t *, const float *, int) const {}
};

/* A side whose operands take codes as they come, and find its table, if there is one, in shared memory. */
struct staged_near {
    static const int ROWS = 0; /* shared memory of a warp for what a tile is decoded to (fragment/single.cuh) */
    __device__ static __forceinline__ const uint8_t *table_of(const uint8_t *near, const uint16_t *, uint32_t)
    {
        return near;
    }
};

/* A side whose heads all have blocks alike: there is nothing to know of a head. A token has one scale, if any. */
template <typename SIDE> struct staged_alike : staged_near {
    struct head {
    };
    static const int TABLE = 0, ENTRIES = 0, SCALES_OF_TOKEN = 1;
    template <int THREADS, bool IN_BYTES> using ahead = staged_no_table;
    __device__ static __forceinline__ head head_of(const uint32_t *, uint32_t) { return head(); }
    __device__ static __forceinline__ int bytes(const head &) { return SIDE::BYTES; }
    __device__ static __forceinline__ size_t offset(const head &, uint32_t index, uint32_t block_bytes)
    {
        return (size_t)index * block_bytes;
    }
    template <bool IN_BYTES, bool IS_VALUE>
    __device__ static __forceinline__ void copy_table(uint8_t *, const head &, const uint16_t *, const float *)
    {
    }
};

/* Symbol int: GROUP tokens (ch) share a scale per channel, or (tok) GROUP channels of a token. */
template <int DIM, int BITS, int PAGE, int TILE, int SCALE_KIND, int GROUP>
struct staged_int : staged_alike<staged_int<DIM, BITS, PAGE, TILE, SCALE_KIND, GROUP>> {
    typedef typename staged_alike<staged_int>::head head;
    static const int D = DIM, SCALE = SCALE_KIND, TOKENS_OF_SCALE = SCALE_KIND == STAGED_CH ? GROUP : 1,
                     CHANNELS_OF_SCALE = SCALE_KIND == STAGED_TOK ? GROUP : DIM,
                     SCALES_OF_TOKEN = DIM / CHANNELS_OF_SCALE;
    typedef int_plane<DIM, BITS> plane;
    typedef int_keys<DIM, BITS, TILE, CHANNELS_OF_SCALE> keys;
    typedef int_values<DIM, BITS, TILE, CHANNELS_OF_SCALE> values;
    template <int LANES> using bytes_of = int_bytes<DIM, BITS, TILE, LANES>;
    static const int GROUPS = SCALE_KIND == STAGED_TOK ? TILE : TILE < GROUP ? 1 : TILE / GROUP;
    static const int ROW_OF_SCALES =
        SCALE_KIND == STAGED_TOK ? SCALES_OF_TOKEN * 2 : DIM * 2; /* bytes of a group's */
    static const int LOW_BYTES = TILE * plane::ROW, HIGH_BYTES = TILE * plane::HIGH_ROW;
    static const int SCALES = LOW_BYTES + HIGH_BYTES, MINIMA = SCALES + GROUPS * ROW_OF_SCALES;
    static const int BYTES = MINIMA + GROUPS * ROW_OF_SCALES;
    static_assert(PAGE % TILE == 0 && (GROUP % TILE == 0 || TILE % GROUP == 0 || SCALE_KIND == STAGED_TOK), "tiles");
    static_assert(CHANNELS_OF_SCALE % 16 == 0 && SCALES_OF_TOKEN * CHANNELS_OF_SCALE == DIM && SCALES_OF_TOKEN <= 8,
                  "products of channels with one scale, sums with a row for each");

    static const bool WHOLE = TILE == PAGE; /* a tile has the block's own order */
    static const int COPIES = WHOLE ? 1 : HIGH_BYTES ? 4 : 3;
    __device__ static __forceinline__ staged_copy copy(const head &, int k, int tile)
    {
        if (WHOLE) return staged_copy{0, 0, BYTES};
        if (k == 0) return staged_copy{(uint32_t)(tile * LOW_BYTES), 0, LOW_BYTES};
        const int high = PAGE * plane::ROW, scales = high + PAGE * plane::HIGH_ROW, n = GROUPS * ROW_OF_SCALES;
        if (HIGH_BYTES && k == 1) return staged_copy{(uint32_t)(high + tile * HIGH_BYTES), LOW_BYTES, HIGH_BYTES};
        int at = scales + tile * TILE / TOKENS_OF_SCALE * ROW_OF_SCALES;
        if (k == COPIES - 2) return staged_copy{(uint32_t)at, SCALES, n};
        return staged_copy{(uint32_t)(at + PAGE / TOKENS_OF_SCALE * ROW_OF_SCALES), MINIMA, n};
    }
};

template <int DIM, int PAGE, int TILE> struct staged_fp16 : staged_alike<staged_fp16<DIM, PAGE, TILE>> {
    typedef typename staged_alike<staged_fp16>::head head;
    static const int D = DIM, SCALE = STAGED_NONE, TOKENS_OF_SCALE = TILE;
    typedef fp16_keys<DIM> keys;
    typedef fp16_values<DIM> values;
    static const int BYTES = TILE * DIM * 2, SCALES = 0, MINIMA = 0;

    static const int COPIES = 1;
    __device__ static __forceinline__ staged_copy copy(const head &, int, int tile)
    {
        return staged_copy{(uint32_t)(tile * BYTES), 0, BYTES};
    }
};

/* Symbols vq and lut: codes of DIMS channels, a table of 2^BITS entries; BYTE_TABLE: it is one. */
template <int DIM, int DIMS, int BITS, int PAGE, int TILE, bool BYTE_TABLE = false>
struct staged_table : staged_alike<staged_table<DIM, DIMS, BITS, PAGE, TILE, BYTE_TABLE>> {
    typedef typename staged_alike<staged_table>::head head;
    static const int D = DIM, SCALE = STAGED_NONE, TOKENS_OF_SCALE = TILE, SCALES = 0, MINIMA = 0;
    static const int ENTRIES = 1 << BITS;
    typedef table_codes<DIM / DIMS, BITS, TILE> codes;
    typedef table_keys<DIM, DIMS, BITS, TILE> keys;
    typedef table_values<DIM, DIMS, BITS, TILE> values;
    template <int LANES> using bytes_of = table_bytes<DIM, DIMS, BITS, TILE, LANES>;
    static const int WIDE_BYTES = TILE * codes::ROW, NARROW_BYTES = TILE * codes::NARROW_ROW;
    static const int BYTES = WIDE_BYTES + NARROW_BYTES;
    static_assert(WIDE_BYTES % 16 == 0 && NARROW_BYTES % 16 == 0, "copies of 16 bytes");

    static const bool WHOLE = TILE == PAGE;
    static const int COPIES = WHOLE || !NARROW_BYTES ? 1 : 2;
    __device__ static __forceinline__ staged_copy copy(const head &, int k, int tile)
    {
        if (WHOLE) return staged_copy{0, 0, BYTES};
        if (k == 0) return staged_copy{(uint32_t)(tile * WIDE_BYTES), 0, WIDE_BYTES};
        return staged_copy{(uint32_t)(PAGE * codes::ROW + tile * NARROW_BYTES), WIDE_BYTES, NARROW_BYTES};
    }
    template <int THREADS, bool IN_BYTES> using ahead = table_ahead<DIMS, ENTRIES, THREADS, IN_BYTES>;
};

#endif
