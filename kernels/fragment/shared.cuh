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

/* Of a head of d channels that has k codes: as kvc_share_classes() has it. part[1].n may be 0. */
struct shared_head {
    int n_codes, before; /* codes of the heads before */
    shared_class part[2];
};

__device__ __forceinline__ shared_head shared_head_of(const uint32_t *counts, uint32_t index, int d)
{
    shared_head h;
    h.before = 0;
    for (uint32_t i = 0; i < index; i++) h.before += (int)counts[i];
    int k = h.n_codes = (int)counts[index], c = 16, small = k;
    if (k > d / 16) {
        for (c = 8; k > d / c;) c /= 2;
        small = 2 * k - d / c;
    }
    h.part[0] = shared_class{small, c, 0, 0};
    h.part[1] = shared_class{k - small, 2 * c, small, small * c};
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
    template <typename RING>
    __device__ static __forceinline__ void copy(RING &ring, const head &h, uint8_t *to, const uint8_t *block,
                                                int tile)
    {
        if (h.n_codes) ring.copy(to, block + (size_t)tile * TILE * h.n_codes, TILE * h.n_codes);
    }
    /* Tables of 1, 2, 4, 8, 16 channels lie behind each other: that of c begins at entry values (c - 1) * 256. */
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
    __device__ static __forceinline__ const uint8_t *entry(const uint8_t *table, uint32_t code, int lane)
    {
        const int ROW = row_of(C), COPIES = ROW / table_slot(C);
        return table + code * ROW + (uint32_t)lane % COPIES * table_slot(C);
    }
};

#endif
