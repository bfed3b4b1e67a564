/* lookup_keys.cuh - two ways to scores of four queries with keys that are codes (lookup_work.cuh). Instead of a
 * softmax a lane keeps sum and maximum of what it has: column g's scores of tokens 2t and 2t+1 of every eight. */
#ifndef TESTS_BENCH_LOOKUP_KEYS_CUH
#define TESTS_BENCH_LOOKUP_KEYS_CUH
#include "lookup_rows.cuh"

/* Left as [sum, maximum][heads][token modulo 8]. */
struct score_sums {
    static const int OUT = 2 * LOOKUP_HEADS * 8;
    float sum[2], most[2];

    __device__ __forceinline__ void clear()
    {
        sum[0] = sum[1] = 0.0f;
        most[0] = most[1] = ATTEND_LEAST;
    }
    __device__ __forceinline__ void take(float first, float second)
    {
        sum[0] += first, sum[1] += second;
        most[0] = fmaxf(most[0], first), most[1] = fmaxf(most[1], second);
    }
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        if (lane / 4 >= LOOKUP_HEADS) return;
#pragma unroll
        for (int e = 0; e < 2; e++) {
            out[lane * 2 + e] = sum[e];
            out[LOOKUP_HEADS * 8 + lane * 2 + e] = most[e];
        }
    }
};

/* Entries of the layer's table are operand B, queries are operand A. KEYS: how codes become entries. */
template <int C, typename KEYS> struct keys_entries {
    static const int CODES = LOOKUP_DIM / C, OUT = score_sums::OUT;
    static const int PASSES = LOOKUP_TOKENS * CODES * (2 * C + 1) / 128;
    uint32_t pairs[1][LOOKUP_DIM / 8];
    score_sums sums;

    __device__ __forceinline__ void begin(uint8_t *, const lookup_work &w, uint32_t run)
    {
        const int lane = (int)threadIdx.x % 32, g = lane / 4;
        const uint16_t *query = w.queries + ((size_t)run * LOOKUP_HEADS + g % LOOKUP_HEADS) * LOOKUP_DIM;
#pragma unroll
        for (int h = 0; h < LOOKUP_DIM / 8; h++) {
            int first, second;
            table_keys<LOOKUP_DIM, C, 8, LOOKUP_TOKENS>::channels(h, lane % 4, &first, &second);
            pairs[0][h] = g < LOOKUP_HEADS ? query[first] | (uint32_t)query[second] << 16 : 0;
        }
    }
    __device__ __forceinline__ void tile(const uint8_t *shared, const uint8_t *stage, int lane)
    {
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 8; i++) {
            uint32_t k[LOOKUP_DIM / 8];
            row_products<1, LOOKUP_DIM / 16> products;
            products.clear();
            ((const KEYS *)this)->load(shared, stage, i * 8 + lane / 4, lane, k);
            products.add(pairs, k);
            sums.take(products.of(0, 0), products.of(0, 1));
        }
    }
    __device__ __forceinline__ void end(uint8_t *) {}
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        sums.leave(out, lane);
    }
};

/* What the kernels do. */
template <int C> struct keys_wide : keys_entries<C, keys_wide<C>> {
    static constexpr const char *NAME = "keys, entries as operands";
    static const int SHARED = LOOKUP_ENTRIES * TABLE_ROW;

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        copy_entries<C>(shared, w.table, LOOKUP_ENTRIES, TABLE_ROW, TABLE_ROW / 2);
        this->sums.clear();
    }
    __device__ __forceinline__ void load(const uint8_t *shared, const uint8_t *stage, int row, int lane,
                                         uint32_t *pairs) const
    {
        table_keys<LOOKUP_DIM, C, 8, LOOKUP_TOKENS>::load(stage, shared, row, lane, pairs);
    }
};

/* The same with rows as lookup_rows.cuh says. */
template <int C> struct keys_rows : keys_entries<C, keys_rows<C>> {
    static constexpr const char *NAME = "keys, entries, rows of 128 bytes";
    static const int SHARED = LOOKUP_ENTRIES * 128, OWN = LOOKUP_DIM / C / 4;
    row_address base;

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &w)
    {
        const int lane = (int)threadIdx.x % 32;
        copy_entries<C>(shared, w.table, LOOKUP_ENTRIES, 128, 128);
        base = row_base(shared + lane % (64 / C) * 2 * C);
        this->sums.clear();
    }
    __device__ __forceinline__ void load(const uint8_t *, const uint8_t *stage, int row, int lane,
                                         uint32_t *pairs) const
    {
        uint32_t words[OWN / 4];
        load_words<OWN>(stage + (row * 4 + lane % 4) * OWN, words);
#pragma unroll
        for (int i = 0; i < OWN; i++) load_words<2 * C>(row_entry(words[i / 4], i % 4, base), pairs + i * C / 2);
    }
};

/* Scores of all entries at all positions, for the run's four queries: 8 bytes of fp16 each, and one lookup a code.
 * A row of 128 bytes has an entry's scores at 16 positions, PLANES of 256 rows those at all of them. Lane 4 g + t
 * adds up a quarter t of token g's positions, in an order that has no two lanes of a phase at positions that share a
 * bank; a product with ones then adds up the quarters, as rows k of operand B: heads 0, 1 at k = 2t, 2t+1 and heads
 * 2, 3 at 2t+8, 2t+9. */
template <int C> struct keys_scores {
    static constexpr const char *NAME = "keys, scores of entries";
    static const int CODES = LOOKUP_DIM / C, OWN = CODES / 4, PLANE = LOOKUP_ENTRIES * 128,
                     SHARED = CODES / 16 * PLANE;
    static const int OUT = score_sums::OUT, PASSES = LOOKUP_TOKENS * CODES * (2 * LOOKUP_HEADS + 1) / 128;
    static_assert(OWN == 4 || OWN == 8, "a lane's codes are a word or two");
    /* Operand A: row 0 takes even k below 8, row 1 odd ones; rows 2 and 3 those from 8 on. Rows 12 to 15 do the same,
     * for nobody: four registers with a zero or two alike among them are put together anew for every product. */
    uint32_t ones[4];
    uint32_t turn[OWN / 4]; /* brings a lane's codes into its order */
    row_address base[OWN];  /* of its code s: the position in its plane */
    score_sums sums;

    __device__ __forceinline__ void start(uint8_t *shared, const lookup_work &)
    {
        const int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
        const int first = (g + t * OWN / 16 * 4) % OWN;
        uint32_t one = g % 2 ? 0x3c000000u : 0x00003c00u;
        ones[0] = g / 2 == 0 ? one : 0, ones[2] = g / 2 == 1 ? one : 0;
        ones[1] = g / 2 == 2 ? one : 0, ones[3] = g / 2 == 3 ? one : 0;
#pragma unroll
        for (int j = 0; j < OWN / 4; j++) turn[j] = 0;
#pragma unroll
        for (int s = 0; s < OWN; s++) {
            int own = (first + s) % OWN;
            turn[s / 4] |= (uint32_t)own << s % 4 * 4;
            base[s] = row_base(shared + (t * OWN + own) / 16 * PLANE + (t * OWN + own) % 16 * 8);
        }
        sums.clear();
    }
    __device__ __forceinline__ void begin(uint8_t *shared, const lookup_work &w, uint32_t run)
    {
        const int position = (int)threadIdx.x % CODES;
        const uint16_t *queries = w.queries + (size_t)run * LOOKUP_HEADS * LOOKUP_DIM + position * C;
        float q[LOOKUP_HEADS][C];
#pragma unroll
        for (int h = 0; h < LOOKUP_HEADS; h++) halves(queries + h * LOOKUP_DIM, q[h]);
        __syncthreads(); /* nobody looks at the last run's scores any more */
        for (int i = (int)threadIdx.x / CODES; i < LOOKUP_ENTRIES; i += LOOKUP_THREADS / CODES) {
            float entry[C], score[LOOKUP_HEADS];
            halves(w.table + i * C, entry);
#pragma unroll
            for (int h = 0; h < LOOKUP_HEADS; h++) {
                score[h] = 0.0f;
#pragma unroll
                for (int k = 0; k < C; k++) score[h] += q[h][k] * entry[k];
            }
            __half2 pair[2] = {__floats2half2_rn(score[0], score[1]), __floats2half2_rn(score[2], score[3])};
            *(uint2 *)(shared + position / 16 * PLANE + i * 128 + position % 16 * 8) =
                make_uint2(*reinterpret_cast<uint32_t *>(&pair[0]), *reinterpret_cast<uint32_t *>(&pair[1]));
        }
        __syncthreads();
    }
    __device__ __forceinline__ void tile(const uint8_t *, const uint8_t *stage, int lane)
    {
#pragma unroll
        for (int i = 0; i < LOOKUP_TOKENS / 8; i++) {
            uint32_t words[OWN / 4], scores[2];
            float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
            load_words<OWN>(stage + (i * 32 + lane) * OWN, words);
#pragma unroll
            for (int s = 0; s < OWN; s++) {
                uint32_t turned = __byte_perm(words[0], words[OWN / 4 - 1], turn[s / 4]);
                load_words<8>(row_entry(turned, s % 4, base[s]), scores);
                mma_16x8x16(c, ones, scores);
            }
            sums.take(c[0], c[1]);
        }
    }
    __device__ __forceinline__ void end(uint8_t *) {}
    __device__ __forceinline__ void leave(float *out, int lane) const
    {
        sums.leave(out, lane);
    }

    /* C halves as floats. */
    __device__ static __forceinline__ void halves(const uint16_t *from, float *to)
    {
        uint32_t words[C / 2];
        load_words<2 * C>((const uint8_t *)from, words);
#pragma unroll
        for (int k = 0; k < C / 2; k++) {
            float2 x = __half22float2(*reinterpret_cast<__half2 *>(&words[k]));
            to[2 * k] = x.x, to[2 * k + 1] = x.y;
        }
    }
};

#endif
