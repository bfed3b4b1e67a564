/* lookup_values.cuh - ways to sums of values that are codes, weighted for four heads (lookup_work.cuh). Left as
 * [heads][128] of each warp; those of a block's warps are to be added up. */
#ifndef TESTS_BENCH_LOOKUP_VALUES_CUH
#define TESTS_BENCH_LOOKUP_VALUES_CUH
#include "lookup_rows.cuh"

/* Sums and weights of a warp whose products are those of the kernels: [channels][tokens] times [tokens][heads]. */
struct weighted_sums {
    static const int OUT = LOOKUP_HEADS * LOOKUP_DIM, STEPS = LOOKUP_TOKENS / 16;
    float o[LOOKUP_DIM / 16][4];
    uint32_t weights[STEPS][2];

    /* order: of the eight tokens of a half of operand B */
    template <typename ORDER> __device__ __forceinline__ void start(const uint16_t *from, int lane, ORDER order)
    {
        const int g = lane / 4, t = lane % 4, head = g % LOOKUP_HEADS;
#pragma unroll
        for (int i = 0; i < LOOKUP_DIM / 16; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.0f;
#pragma unroll
        for (int i = 0; i < 2 * STEPS; i++) {
            uint32_t first = from[(i * 8 + order(2 * t)) * LOOKUP_HEADS + head];
            uint32_t second = from[(i * 8 + order(2 * t + 1)) * LOOKUP_HEADS + head];
            weights[i / 2][i % 2] = g < LOOKUP_HEADS ? first | second << 16 : 0;
        }
    }
    __device__ __forceinline__ void take(int step, const uint32_t *early, const uint32_t *late)
    {
#pragma unroll
        for (int i = 0; i < LOOKUP_DIM / 16; i++) {
            uint32_t a[4] = {early[2 * i], early[2 * i + 1], late[2 * i], late[2 * i + 1]};
            mma_16x8x16(o[i], a, weights[step]);
        }
    }
    /* channel(s, g): of slot s */
    template <typename CHANNEL> __device__ __forceinline__ void leave(float *out, int lane, CHANNEL channel) const
    {
        if (lane % 4 * 2 >= LOOKUP_HEADS) return;
#pragma unroll
        for (int i = 0; i < LOOKUP_DIM / 16; i++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                out[(lane % 4 * 2 + e % 2) * LOOKUP_DIM + channel(2 * i + e / 2, lane / 4)] = o[i][e];
    }
};

/* What the kernels do for more than four columns: entries of two tokens are interleaved to operand A. TURNED: eight
 * tokens in another order (0 1 3 2 5 4 6 7), in which rows that lanes read their codes from at the same time share
 * fewer banks. (In a kernel weights come in that order if lane g of the scores' products takes key order(g).) */
template <int C, bool TURNED> struct values_wide {
    typedef table_values<LOOKUP_DIM, C, 8, LOOKUP_TOKENS> values;
    static constexpr const char *NAME = TURNED ? "values, entries, tokens turned" : "values, entries as operands";
    static const int CODES = LOOKUP_DIM / C, SHARED = LOOKUP_ENTRIES * TABLE_ROW, OUT = weighted_sums::OUT;
    /* Codes of 16 tokens are 4 loads of CODES / 8 bytes a lane, 4 rows at a time two rows apart. */
    static const int OF_LOAD = C == 8 ? 1 : C == 4 ? (TURNED ? 1 : 2) : (TURNED ? 4 : 8);
    static const int PASSES = LOOKUP_TOKENS * LOOKUP_DIM * 2 / 128 + LOOKUP_TOKENS / 16 * 4 * OF_LOAD;
    weighted_sums sums;

    __device__ static __forceinline__ int order(int i) { return TURNED ? i ^ ((i >> 1 ^ i >> 2) & 1) : i; }
    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        copy_entries<C>(shared, w.table, LOOKUP_ENTRIES, TABLE_ROW, TABLE_ROW / 2);
        sums.start(w.weights, (int)threadIdx.x % 32, order);
    }
    __device__ __forceinline__ void begin(uint8_t *, const lookup_work &, uint32_t) {}
    __device__ __forceinline__ void tile(const uint8_t *shared, const uint8_t *stage, int lane)
    {
        const int first = order(lane % 4 * 2), second = order(lane % 4 * 2 + 1);
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 16; i++) {
            uint32_t early[LOOKUP_DIM / 8], late[LOOKUP_DIM / 8];
            values::load(stage, shared, i * 16 + first, i * 16 + second, lane, early);
            values::load(stage, shared, i * 16 + 8 + first, i * 16 + 8 + second, lane, late);
            sums.take(i, early, late);
        }
    }
    __device__ __forceinline__ void end(uint8_t *) {}
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        sums.leave(out, lane, [](int s, int g) { return values::channel(s, g); });
    }
};

/* The same lookups, with codes by matrix loads. */
template <int C> struct values_transposed {
    static constexpr const char *NAME = "values, entries, codes by ldmatrix";
    static const int CODES = LOOKUP_DIM / C, UNITS = CODES / 16, SHARED = LOOKUP_ENTRIES * TABLE_ROW;
    static const int OUT = weighted_sums::OUT, PASSES = LOOKUP_TOKENS * CODES * (2 * C + 1) / 128;
    weighted_sums sums;
    shared_address copy; /* the lane's copy of the first entry */

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        const int lane = (int)threadIdx.x % 32;
        copy_entries<C>(shared, w.table, LOOKUP_ENTRIES, TABLE_ROW, TABLE_ROW / 2);
        sums.start(w.weights, lane, [](int i) { return i; });
        copy = table_values<LOOKUP_DIM, C, 8, LOOKUP_TOKENS>::own_copy(shared, lane);
    }
    __device__ __forceinline__ void begin(uint8_t *, const lookup_work &, uint32_t) {}

    __device__ __forceinline__ void look_up_octet(const uint32_t words[UNITS], uint32_t slots[LOOKUP_DIM / 8]) const
    {
#pragma unroll
        for (int i = 0; i < 2 * UNITS; i++) {
            uint32_t a[8], b[8];
            look_up<C>(shared_row<TABLE_ROW>(copy, words[i / 2], i % 2), a);
            look_up<C>(shared_row<TABLE_ROW>(copy, words[i / 2], 2 + i % 2), b);
#pragma unroll
            for (int k = 0; k < C; k++) slots[i * C + k] = __byte_perm(a[k / 2], b[k / 2], k % 2 ? 0x7632 : 0x5410);
        }
    }
    __device__ __forceinline__ void tile(const uint8_t *, const uint8_t *stage, int lane)
    {
        uint32_t words[8][UNITS];
        load_octets<UNITS>(stage, lane, words);
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 16; i++) {
            uint32_t early[LOOKUP_DIM / 8], late[LOOKUP_DIM / 8];
            look_up_octet(words[2 * i], early);
            look_up_octet(words[2 * i + 1], late);
            sums.take(i, early, late);
        }
    }
    __device__ __forceinline__ void end(uint8_t *) {}
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        sums.leave(out, lane, [](int s, int g) { return (s / C / 2 * 16 + g * 2 + s / C % 2) * C + s % C; });
    }
};

/* Four heads leave half of operand B's columns to be used: an entry is operand A as it lies in memory, pairs of
 * channels of one token, and the token's weights of the heads are factors of the pair's first channel in columns 0..3
 * and of its second one in columns 4..7. Nothing has to be interleaved, and there are half as many sums. (In a kernel
 * the weights come that way from scores of queries that are in the columns twice.) Rows as lookup_rows.cuh says. */
template <int C> struct values_pairs {
    static constexpr const char *NAME = "values, pairs of channels";
    static const int CODES = LOOKUP_DIM / C, UNITS = CODES / 16, SHARED = LOOKUP_ENTRIES * 128;
    static const int OUT = LOOKUP_HEADS * LOOKUP_DIM, PASSES = LOOKUP_TOKENS * CODES * (2 * C + 1) / 128;
    static const int PAIRS = LOOKUP_DIM / 16; /* of a lane in a token */
    float o[PAIRS / 2][4];
    uint32_t weights[LOOKUP_TOKENS / 8][2]; /* of tokens 2t and 2t+1 */
    row_address base;

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        const int lane = (int)threadIdx.x % 32, g = lane / 4;
        copy_entries<C>(shared, w.table, LOOKUP_ENTRIES, 128, 128);
        base = row_base(shared + lane % (64 / C) * 2 * C);
#pragma unroll
        for (int i = 0; i < PAIRS / 2; i++) o[i][0] = o[i][1] = o[i][2] = o[i][3] = 0.0f;
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 8; i++)
#pragma unroll
            for (int k = 0; k < 2; k++) {
                int token = i * 8 + lane % 4 * 2 + k;
                weights[i][k] = (uint32_t)w.weights[token * LOOKUP_HEADS + g % LOOKUP_HEADS] << g / LOOKUP_HEADS * 16;
            }
    }
    __device__ __forceinline__ void begin(uint8_t *, const lookup_work &, uint32_t) {}
    __device__ __forceinline__ void tile(const uint8_t *, const uint8_t *stage, int lane)
    {
        uint32_t words[8][UNITS];
        load_octets<UNITS>(stage, lane, words);
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 8; i++) {
            uint32_t first[PAIRS], second[PAIRS];
#pragma unroll
            for (int k = 0; k < 2 * UNITS; k++) {
                load_words<2 * C>(row_entry(words[i][k / 2], k % 2, base), first + k * C / 2);
                load_words<2 * C>(row_entry(words[i][k / 2], 2 + k % 2, base), second + k * C / 2);
            }
#pragma unroll
            for (int k = 0; k < PAIRS / 2; k++) {
                if (C == 8) { /* four registers of one lookup: two of each of two would have to be moved together */
                    mma_16x8x8(o[k], first + 2 * k, weights[i][0]);
                    mma_16x8x8(o[k], second + 2 * k, weights[i][1]);
                    continue;
                }
                uint32_t a[4] = {first[2 * k], first[2 * k + 1], second[2 * k], second[2 * k + 1]};
                mma_16x8x16(o[k], a, weights[i]);
            }
        }
    }
    __device__ __forceinline__ void end(uint8_t *) {}
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
#pragma unroll
        for (int i = 0; i < PAIRS / 2; i++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                int pair = 2 * i + e / 2, code = pair / C * 16 + lane / 4 * 2 + pair / (C / 2) % 2;
                int column = lane % 4 * 2 + e % 2;
                out[column % LOOKUP_HEADS * LOOKUP_DIM + code * C + pair % (C / 2) * 2 + column / LOOKUP_HEADS] =
                    o[i][e];
            }
    }
};

/* Weights are added up for each entry at each position, and at the end of a run there is one product with the table.
 * Sums are integers (2^16 for a weight of 1), whose order does not matter, so that all warps share them: a warp adds
 * to eight positions of four heads at once, in another bank each. 16 positions a plane of [entries][16][heads]. */
template <int C> struct values_mass {
    static constexpr const char *NAME = "values, weights of entries";
    static const int CODES = LOOKUP_DIM / C, OWN = CODES / 8, PLANE = LOOKUP_ENTRIES * 256;
    static const int MASS = CODES / 16 * PLANE, PITCH = (LOOKUP_TOKENS + 4) * 4; /* of a head's weights */
    static const int SHARED = MASS + LOOKUP_HEADS * PITCH, OUT = weighted_sums::OUT;
    static const int SUMS = CODES * LOOKUP_HEADS, PARTS = LOOKUP_THREADS / SUMS; /* at the end: of the entries */
    /* Of a token a load of codes, OWN additions counted as a read and a write; of four tokens a load of weights. */
    static const int PASSES = LOOKUP_TOKENS * (1 + 2 * OWN) + LOOKUP_TOKENS / 4;
    static_assert(OWN == 2 || OWN == 4, "sums fit into shared memory");
    uint32_t turn, low[OWN]; /* order of the lane's codes, and their places in a row of a plane */
    float o[C];              /* of a position and a head, of a part of the entries */

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        const int lane = (int)threadIdx.x % 32, group = lane / 4, first = group * OWN / 8;
        turn = 0;
#pragma unroll
        for (int s = 0; s < OWN; s++) {
            int own = (first + s) % OWN;
            turn |= (uint32_t)own << s * 4;
            low[s] = (uint32_t)((group * OWN + own) % 16 * 16 + lane % 4 * 4);
        }
#pragma unroll
        for (int k = 0; k < C; k++) o[k] = 0.0f;
        int i = (int)threadIdx.x; /* one weight a thread */
        *(uint32_t *)(shared + MASS + i % LOOKUP_HEADS * PITCH + i / LOOKUP_HEADS * 4) =
            (uint32_t)(half_at((const uint8_t *)w.weights, i) * 65536.0f + 0.5f);
        table = w.table;
    }
    __device__ __forceinline__ void begin(uint8_t *shared, const lookup_work &, uint32_t)
    {
        __syncthreads(); /* the last run's sums are used */
        for (int i = (int)threadIdx.x; i < MASS / 16; i += LOOKUP_THREADS)
            ((uint4 *)shared)[i] = make_uint4(0, 0, 0, 0);
        __syncthreads();
    }
    __device__ __forceinline__ void tile(uint8_t *shared, const uint8_t *stage, int lane)
    {
        const uint8_t *codes = stage + lane / 4 * OWN, *weights = shared + MASS + lane % 4 * PITCH;
        uint8_t *plane = shared + lane / 4 * OWN / 16 * PLANE;
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS; i += 4) {
            uint4 four = *(const uint4 *)(weights + i * 4);
            uint32_t weight[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
            for (int k = 0; k < 4; k++) {
                uint32_t word[1];
                load_words<OWN>(codes + (i + k) * CODES, word);
                word[0] = __byte_perm(word[0], 0, turn);
#pragma unroll
                for (int s = 0; s < OWN; s++)
                    atomicAdd((uint32_t *)(plane + __byte_perm(word[0], low[s], 0x5504u | (uint32_t)s << 4)),
                              weight[k]);
            }
        }
    }
    __device__ __forceinline__ void end(uint8_t *shared)
    {
        const int sum = (int)threadIdx.x % SUMS, part = (int)threadIdx.x / SUMS;
        const uint8_t *mass = shared + sum / 64 * PLANE + sum % 64 * 4;
        __syncthreads();
        for (int i = part * (LOOKUP_ENTRIES / PARTS); i < (part + 1) * (LOOKUP_ENTRIES / PARTS); i++) {
            float weight = (float)*(const uint32_t *)(mass + i * 256);
            uint32_t words[C / 2];
            load_words<2 * C>((const uint8_t *)(table + i * C), words);
#pragma unroll
            for (int k = 0; k < C; k++) o[k] += weight * half_at((const uint8_t *)words, k);
        }
    }
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        const int sum = (int)threadIdx.x % SUMS;
        for (int i = lane; i < OUT; i += 32) out[i] = 0.0f;
        __syncwarp();
#pragma unroll
        for (int k = 0; k < C; k++)
            out[sum % LOOKUP_HEADS * LOOKUP_DIM + sum / LOOKUP_HEADS * C + k] = o[k] * (1.0f / 65536.0f);
    }

  private:
    const uint16_t *table;
};

#endif
