/* shared.cuh - "vq[N]x8" (FORMAT.md, "shared codes"): as many codes as each head is worth, of c and of 2 c channels,
 * and how many, known when a block comes to a head. Tables of the two lengths that the present head has lie in shared
 * memory, TABLE_BYTES each, in as many copies as fit.
 *
 * A row's codes of c channels come first. Lanes take them one at a time, in turn: codes behind the last one are read
 * as the last one and count for nothing. */
#ifndef KERNELS_FRAGMENT_SHARED_CUH
#define KERNELS_FRAGMENT_SHARED_CUH
#include "fragment/staged.cuh"

#define SHARED_ENTRIES 256 /* codes of 8 bits */

/* Codes of one length: n of c channels each; `code` and `channel` are the first ones of the row. */
struct shared_class {
    int n, c, code, channel;
};

/* k codes of d channels: `small` of c channels, the others of 2 c, as kvc_share_classes() has it (kvc/codec.h). */
struct shared_split {
    int c, small;
};
__host__ __device__ constexpr shared_split shared_split_of(int d, int k)
{
    int c = 16;
    while (k > d / c) c /= 2;
    return c == 16 ? shared_split{16, k} : shared_split{c, 2 * k - d / c};
}

/* Of a head. part[1].n may be 0. */
struct shared_head {
    int n_codes, before; /* codes of the heads before */
    shared_class part[2];
};

__device__ __forceinline__ shared_head shared_head_of(const uint32_t *counts, uint32_t index, int d)
{
    shared_head h;
    h.before = 0;
    for (uint32_t i = 0; i < index; i++) h.before += (int)counts[i];
    h.n_codes = (int)counts[index];
    shared_split s = shared_split_of(d, h.n_codes);
    h.part[0] = shared_class{s.small, s.c, 0, 0};
    h.part[1] = shared_class{h.n_codes - s.small, 2 * s.c, s.small, s.small * s.c};
    return h;
}

template <int DIM, int PAGE, int TILE, int MOST_CODES, int ONE_TABLE_BYTES> struct staged_shared {
    typedef shared_head head;
    static const int D = DIM, SCALE = STAGED_NONE, BYTES = TILE * MOST_CODES, TABLE = 2 * ONE_TABLE_BYTES,
                     ENTRIES = 0;
    static_assert(BYTES % 16 == 0 && ONE_TABLE_BYTES >= SHARED_ENTRIES * 32 &&
                      (ONE_TABLE_BYTES & (ONE_TABLE_BYTES - 1)) == 0,
                  "a power of two, room for entries of 16 channels");

    /* Bytes of an entry of c channels with its copies. */
    __device__ static constexpr int row_of(int c)
    {
        return ONE_TABLE_BYTES / SHARED_ENTRIES < 32 * table_slot(c) ? ONE_TABLE_BYTES / SHARED_ENTRIES
                                                                     : 32 * table_slot(c);
    }
    __device__ static __forceinline__ head head_of(const uint32_t *counts, uint32_t index)
    {
        return shared_head_of(counts, index, DIM);
    }
    __device__ static __forceinline__ int bytes(const head &h) { return TILE * h.n_codes; }
    __device__ static __forceinline__ size_t offset(const head &h, uint32_t, uint32_t)
    {
        return (size_t)PAGE * h.before;
    }
    static const int COPIES = 1;
    __device__ static __forceinline__ staged_copy copy(const head &h, int, int tile)
    {
        return staged_copy{(uint32_t)(tile * TILE * h.n_codes), 0, (uint32_t)(TILE * h.n_codes)};
    }
    template <int THREADS, bool IN_BYTES> using ahead = staged_no_table; /* a head has its own */
    /* By all threads of the block, between barriers. Tables of 1, 2, 4, 8, 16 channels lie behind each other: that of
     * c begins at entry values (c - 1) * 256. */
    __device__ static __forceinline__ void copy_table(uint8_t *to, const head &h, const uint16_t *tables)
    {
#pragma unroll
        for (int i = 0; i < 2; i++, to += ONE_TABLE_BYTES) {
            if (h.part[i].n == 0) continue;
            const uint16_t *table = tables + (h.part[i].c - 1) * SHARED_ENTRIES;
            switch (h.part[i].c) {
            case 1: copy_entries<1>(to, table, SHARED_ENTRIES, row_of(1), row_of(1)); break;
            case 2: copy_entries<2>(to, table, SHARED_ENTRIES, row_of(2), row_of(2)); break;
            case 4: copy_entries<4>(to, table, SHARED_ENTRIES, row_of(4), row_of(4)); break;
            case 8: copy_entries<8>(to, table, SHARED_ENTRIES, row_of(8), row_of(8)); break;
            case 16: copy_entries<16>(to, table, SHARED_ENTRIES, row_of(16), row_of(16)); break;
            }
        }
    }
    /* A lane's copy of the entry of a code of C channels. */
    template <int C>
    __device__ static __forceinline__ shared_address entry(const uint8_t *table, uint32_t code, int lane)
    {
        const int ROW = row_of(C), COPIES = ROW / table_slot(C);
        return shared_address_of(table + (uint32_t)lane % COPIES * table_slot(C)) + code * ROW;
    }
};

#endif
