/* shared.cuh - "vq[N]x8" (FORMAT.md, "shared codes"): as many codes as each head is worth, of c and of 2 c channels,
 * and how many, known when a block comes to a head. Tables of the two lengths that the present head has lie in shared
 * memory, ONE_TABLE_BYTES each, in as many copies as fit.
 *
 * A token's codes of c channels come first. Lanes take them one at a time, in turn: codes behind the last one are
 * read as the last one and count for nothing. Of RUN neighbouring tokens a code's bytes lie side by side, whatever
 * the number of codes.
 *
 * Where the tables of 4, 8 and 16 channels are byte tables (fragment/table.cuh) entries are words of bytes, for
 * products of bytes (template/attend_shared_bytes.cuh). Values of codes of 1 and 2 channels become two bytes, high +
 * low / SHARED_LOW in units of a step, all high bytes first: a word for an entry. So a token of a head is words, one,
 * two or four for a code, and lanes take words in turn, in groups of eight: what is looked up is a word, too, and
 * where, a place: the byte of the tables at which the lane's copy of that word of entry 0 is, and, 16 bits further
 * up, the number of the code. */
#ifndef KERNELS_FRAGMENT_SHARED_CUH
#define KERNELS_FRAGMENT_SHARED_CUH
#include "fragment/staged.cuh"

#define SHARED_ENTRIES 256 /* codes of 8 bits */
#define SHARED_LOW 128.0f

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

__host__ __device__ __forceinline__ shared_head shared_head_of(uint32_t before, uint32_t n_codes, int d)
{
    shared_head h;
    h.before = (int)before, h.n_codes = (int)n_codes;
    shared_split s = shared_split_of(d, h.n_codes);
    h.part[0] = shared_class{s.small, s.c, 0, 0};
    h.part[1] = shared_class{h.n_codes - s.small, 2 * s.c, s.small, s.small * s.c};
    return h;
}

/* Words of an entry of c channels as bytes. */
__host__ __device__ constexpr int shared_words(int c)
{
    return c < 8 ? 1 : c / 4;
}

/* A word of a head's tokens: of class `part`, standing for `span` channels from `channel` on. Of a span of less than
 * four bytes 0 .. span - 1 are the high ones, and `span` more the low ones. */
struct shared_word {
    int part, channel, span;
};

/* An entry of c channels on its way to shared memory as bytes. One body for all c: it runs once, and what runs once
 * costs most as code that has to come. */
struct shared_entry {
    uint32_t halves[8];

    __device__ __forceinline__ void load(const uint16_t *table, int c, int entry)
    {
        const uint16_t *at = table + entry * c;
        halves[0] = 0;
        if (c == 1) halves[0] = at[0];
#pragma unroll
        for (int i = 0; i < 8; i++)
            if (2 * i < c - 1) halves[i] = ((const uint32_t *)at)[i];
    }
    __device__ __forceinline__ float value(int i, float per_step) const
    {
        return half_of(halves[i / 2] >> i % 2 * 16) * per_step;
    }
    /* To all of its copies in row_bytes bytes. */
    __device__ __forceinline__ void store(uint8_t *to, int c, float step, int row_bytes, int first) const
    {
        const float per_step = 1.0f / step;
        uint32_t w[4];
#pragma unroll
        for (int i = 0; i < 4; i++) {
            w[i] = 0;
#pragma unroll
            for (int k = 0; k < 4; k++)
                w[i] |= ((uint32_t)(int)rintf(4 * i + k < c ? value(4 * i + k, per_step) : 0.0f) & 255u) << 8 * k;
        }
        for (int i = 0; i < c && c < 4; i++) {
            float x = i ? value(1, per_step) : value(0, per_step);
            w[0] |= ((uint32_t)(int)rintf((x - rintf(x)) * SHARED_LOW) & 255u) << 8 * (c + i);
        }
        const uint4 all = c < 8    ? make_uint4(w[0], w[0], w[0], w[0])
                          : c == 8 ? make_uint4(w[0], w[1], w[0], w[1])
                                   : make_uint4(w[0], w[1], w[2], w[3]);
#pragma unroll
        for (int k = 0; k < row_bytes; k += 16) *(uint4 *)(to + (k + first * 16) % row_bytes) = all;
    }
};

template <int DIM, int PAGE, int TILE, int MOST_CODES, int ONE_TABLE_BYTES, bool BYTE_TABLES = false>
struct staged_shared : staged_near {
    typedef shared_head head;
    /* Groups of eight words of a head: as codes of four and more channels, and of heads of more codes. */
    static const int LEAST_GROUPS = (DIM / 4 + 7) / 8,
                     GROUPS = ((MOST_CODES > DIM / 4 ? MOST_CODES : DIM / 4) + 7) / 8,
                     PLACES = BYTE_TABLES ? GROUPS * 2 * 32 * 4 : 0;
    static const int D = DIM, SCALE = STAGED_NONE, BYTES = TILE * MOST_CODES, TABLE = 2 * ONE_TABLE_BYTES + PLACES,
                     ENTRIES = 0,
                     RUN = PAGE % 32 == 0   ? 32
                           : PAGE % 16 == 0 ? 16
                                            : 8,
                     MOST = MOST_CODES;
    static_assert(TILE % RUN == 0, "a tile is whole runs");
    static_assert(BYTES % 16 == 0 && ONE_TABLE_BYTES >= SHARED_ENTRIES * 32 &&
                      (ONE_TABLE_BYTES & (ONE_TABLE_BYTES - 1)) == 0,
                  "a power of two, room for entries of 16 channels");

    /* Bytes of an entry as bytes with its copies; and of halves of c channels. */
    static const int BYTE_ROW = ONE_TABLE_BYTES / SHARED_ENTRIES < 128 ? ONE_TABLE_BYTES / SHARED_ENTRIES : 128;
    __device__ static constexpr int row_of(int c)
    {
        return ONE_TABLE_BYTES / SHARED_ENTRIES < 32 * table_slot(c) ? ONE_TABLE_BYTES / SHARED_ENTRIES
                                                                     : 32 * table_slot(c);
    }
    /* By all lanes of a warp: each loads a count, none waits for one after the other. */
    __device__ static __forceinline__ head head_of(const uint32_t *counts, uint32_t index)
    {
        uint32_t before = 0, own = counts[index];
        for (uint32_t i = threadIdx.x % 32; i < index; i += 32) before += counts[i];
#pragma unroll
        for (int step = 16; step; step /= 2) before += __shfl_xor_sync(~0u, before, step);
        return shared_head_of(uniform(before), uniform(own), DIM);
    }
    __device__ static __forceinline__ int bytes(const head &h)
    {
        return TILE * h.n_codes;
    }
    __device__ static __forceinline__ size_t offset(const head &h, uint32_t, uint32_t)
    {
        return (size_t)PAGE * h.before;
    }
    static const int COPIES = 1;
    __device__ static __forceinline__ staged_copy copy(const head &h, int, int tile)
    {
        return staged_copy{(uint32_t)(tile * TILE * h.n_codes), 0, (uint32_t)(TILE * h.n_codes)};
    }
    /* Where code `code` of token `token` of a tile is, as are those of its RUN tokens. */
    __device__ static __forceinline__ int place(const head &h, int token, int code)
    {
        return (token / RUN * h.n_codes + code) * RUN + token % RUN;
    }
    template <int THREADS, bool IN_BYTES> using ahead = staged_no_table; /* a head has its own */
    __device__ static __forceinline__ int words_of(const shared_class &part)
    {
        return part.n * shared_words(part.c);
    }
    __device__ static __forceinline__ int groups_of(const head &h)
    {
        return (words_of(h.part[0]) + words_of(h.part[1]) + 7) / 8;
    }
    /* Word w; one that is not there where w is too great. */
    __device__ static __forceinline__ shared_word word_of(const head &h, int w)
    {
        int first = words_of(h.part[0]);
        bool second = w >= first;
        int span = min(second ? h.part[1].c : h.part[0].c, 4);
        return shared_word{second, second ? h.part[1].channel + (w - first) * span : w * span, span};
    }
    /* Places, behind the tables: lane 4 g + t has words 8 i + t and 8 i + t + 4 of keys, [i][lane][2], and 8 i + g of
     * values, [i][lane]. Copies are such that no two lanes share a bank. */
    template <bool IS_VALUE> __device__ static __forceinline__ void find_places(uint8_t *to, const head &h)
    {
        int all = words_of(h.part[0]) + words_of(h.part[1]), n = GROUPS * 32 * (IS_VALUE ? 1 : 2);
#pragma unroll 1
        for (int i = (int)threadIdx.x; i < n; i += (int)blockDim.x) {
            int lane = IS_VALUE ? i % 32 : i / 2 % 32;
            int w = IS_VALUE ? i / 32 * 8 + lane / 4 : i / 64 * 8 + i % 2 * 4 + lane % 4;
            int first = words_of(h.part[0]);
            w = w < all ? w : 0;
            bool second = w >= first;
            int words = shared_words(second ? h.part[1].c : h.part[0].c), in = second ? w - first : w;
            int copy = !IS_VALUE || words == 1 ? lane / words : lane % 4 + lane / (4 * words) * 4;
            uint32_t place = (uint32_t)(second * ONE_TABLE_BYTES + copy * words * 4 % BYTE_ROW + in % words * 4);
            int code = (second ? h.part[1].code : 0) + in / words;
            ((uint32_t *)to)[i] = place | (uint32_t)code << 16;
        }
    }
    __device__ static __forceinline__ const uint32_t *places(const uint8_t *tables)
    {
        return (const uint32_t *)(tables + 2 * ONE_TABLE_BYTES);
    }

    /* By all threads of the block, between barriers. Tables of 1, 2, 4, 8, 16 channels lie behind each other: that of
     * c begins at entry values (c - 1) * 256; steps: theirs, in the same order. */
    template <bool IN_BYTES, bool IS_VALUE>
    __device__ static __forceinline__ void copy_table(uint8_t *to, const head &h, const uint16_t *tables,
                                                      const float *steps)
    {
        if constexpr (IN_BYTES) {
            find_places<IS_VALUE>(to + 2 * ONE_TABLE_BYTES, h);
#pragma unroll 1
            for (int i = (int)threadIdx.x; i < SHARED_ENTRIES; i += (int)blockDim.x) {
                shared_entry own, next;
                shared_class part = h.part[0];
                next.load(tables + (part.c - 1) * SHARED_ENTRIES, part.n ? part.c : 0, i);
#pragma unroll 1
                for (int k = 0; k < 2; k++) {
                    int c = part.n ? part.c : 0;
                    own = next;
                    part = h.part[1];
                    if (k == 0) next.load(tables + (part.c - 1) * SHARED_ENTRIES, part.n ? part.c : 0, i);
                    if (c) own.store(to + k * ONE_TABLE_BYTES + i * BYTE_ROW, c, steps[table_length(c)], BYTE_ROW, i);
                }
            }
        } else {
#pragma unroll
            for (int k = 0; k < 2; k++, to += ONE_TABLE_BYTES) {
                const uint16_t *table = tables + (h.part[k].c - 1) * SHARED_ENTRIES;
                switch (h.part[k].n ? h.part[k].c : 0) {
                case 1: copy_entries<1>(to, table, SHARED_ENTRIES, row_of(1), row_of(1)); break;
                case 2: copy_entries<2>(to, table, SHARED_ENTRIES, row_of(2), row_of(2)); break;
                case 4: copy_entries<4>(to, table, SHARED_ENTRIES, row_of(4), row_of(4)); break;
                case 8: copy_entries<8>(to, table, SHARED_ENTRIES, row_of(8), row_of(8)); break;
                case 16: copy_entries<16>(to, table, SHARED_ENTRIES, row_of(16), row_of(16)); break;
                }
            }
        }
    }
    /* The word of the code that is byte k of `codes`; entry: of code 0. */
    __device__ static __forceinline__ uint32_t look_up_word(shared_address entry, uint32_t codes, int k)
    {
        uint32_t word;
        load_shared<4>(shared_row<BYTE_ROW>(entry, codes, k), &word);
        return word;
    }
    static_assert(2 * ONE_TABLE_BYTES <= 1 << 16, "a place has 16 bits for them");
    /* A lane's copy of the entry of a code of C channels. */
    template <int C>
    __device__ static __forceinline__ shared_address entry(const uint8_t *table, uint32_t code, int lane)
    {
        const int ROW = row_of(C), COPIES = ROW / table_slot(C);
        return shared_address_of(table + (uint32_t)lane % COPIES * table_slot(C)) + code * ROW;
    }
};

#endif
