/* attend_shared.cuh - scores and weighted sums where codes are shared out among heads (fragment/shared.cuh).
 *
 * Keys: queries lie in the warp's scratch, in the order that the head's codes give them, so that one loop serves
 * heads of any number of codes: a step is four codes (eight of 2 channels, sixteen of 1), one for each lane t of a
 * row.
 *
 * Values: running sums are registers, whose order has to be known; so there is one body for each combination (c, A,
 * B) of A groups of eight codes of c channels and B of 2 c that heads of this size can have, and a head goes to its
 * own. */
#ifndef KERNELS_TEMPLATE_ATTEND_SHARED_CUH
#define KERNELS_TEMPLATE_ATTEND_SHARED_CUH
#include "fragment/shared.cuh"
#include "template/attend_values.cuh"

template <typename P, int DIM, int PAGE, int TILE, int MOST, int TABLE, bool BYTE_TABLES>
struct attend_keys<P, staged_shared<DIM, PAGE, TILE, MOST, TABLE, BYTE_TABLES>> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, TABLE, BYTE_TABLES> SIDE;
    static const int TILES_N = (P::COLUMNS + 7) / 8, BLOCKS = P::TILE / 8;
    /* Products of a row: d / 16, and what the last codes of two lengths leave empty. */
    static const int STEPS = DIM / 16 + 6, SCRATCH = STEPS * TILES_N * 256;

    /* Channel j of the four that lane t has at a product, or -1. */
    __device__ static __forceinline__ int channel_of(const shared_class &part, int product, int t, int j)
    {
        int code, within, c = part.c;
        if (c >= 4) {
            code = product / (c / 4) * 4 + t;
            within = product % (c / 4) * 4 + j;
        } else {
            int own = 4 / c; /* codes of a lane */
            code = (product * 4 + t) * own + j / c;
            within = j % c;
        }
        return code < part.n ? part.channel + code * c + within : -1;
    }

    __device__ static __forceinline__ int products_of(const shared_class &part)
    {
        return part.c >= 4 ? (part.n + 3) / 4 * (part.c / 4) : (part.n * part.c + 15) / 16;
    }

    struct query : query_scalars<P> {
        __device__ __forceinline__ void load(const shared_head &head, const attend_layer &l, const attend_batch &b,
                                             const query_source &source, const attend_run &run, uint8_t *scratch,
                                             int lane)
        {
            uint2 *pairs = (uint2 *)scratch;
            __syncwarp();
#pragma unroll
            for (int n = 0; n < TILES_N; n++) {
                bool present;
                size_t row = this->row_of(l, b, run, n * 8 + lane / 4, &present);
                const float *from = source.rows + row * DIM;
                query_range range;
                for (int i = lane % 4; present && i < DIM; i += 4) range.see(from[i] * source.factor);
                range.join<4>();
                float shrink = range.shrink();
                this->scale[n] = range.stretch();
                this->bias[n] = present && source.bias ? source.bias[row] * source.factor : 0.0f;
                int step = 0;
#pragma unroll
                for (int i = 0; i < 2; i++)
                    for (int product = 0; product < products_of(head.part[i]); product++, step++) {
                        float x[4];
                        for (int j = 0; j < 4; j++) {
                            int channel = channel_of(head.part[i], product, lane % 4, j);
                            x[j] = present && channel >= 0 ? from[channel] * source.factor : 0.0f;
                        }
                        pairs[(step * TILES_N + n) * 32 + lane] =
                            make_uint2(query_pair(x[0], x[1], shrink), query_pair(x[2], x[3], shrink));
                    }
            }
            __syncwarp();
        }
    };

    typedef row_products<TILES_N, 1> row_sums;

    /* The lane's operands of one row: C / 4 products (one of the shorter lengths). */
    template <int C>
    __device__ static __forceinline__ void look_up_row(const shared_head &head, const uint8_t *stage, int token,
                                                       const shared_class &part, int group, const uint8_t *table,
                                                       int lane, uint32_t words[C < 4 ? 2 : C / 2])
    {
        const uint8_t *codes = stage + SIDE::place(head, token, part.code);
        if (C >= 4) {
            int code = min(group * 4 + lane % 4, part.n - 1);
            look_up<C>(SIDE::template entry<C>(table, codes[code * SIDE::RUN], lane), words);
        } else {
            const int OWN = C < 4 ? 4 / C : 1;
#pragma unroll
            for (int i = 0; i < OWN; i++) {
                uint32_t word[8];
                int code = min((group * 4 + lane % 4) * OWN + i, part.n - 1);
                look_up<C>(SIDE::template entry<C>(table, codes[code * SIDE::RUN], lane), word);
                if (C == 2)
                    words[i] = word[0];
                else
                    words[i / 2] = i % 2 ? words[i / 2] | word[0] << 16 : word[0];
            }
        }
    }

    template <int C>
    __device__ static void add_class(const shared_head &head, const shared_class &part, const uint8_t *stage,
                                     const uint8_t *table, const uint2 *pairs, int lane, row_sums sums[BLOCKS])
    {
        const int PRODUCTS = C < 4 ? 1 : C / 4;
        int n_groups = products_of(part) / PRODUCTS;
#pragma unroll 1
        for (int group = 0; group < n_groups; group++, pairs += PRODUCTS * TILES_N * 32) {
            uint32_t q[PRODUCTS][TILES_N][2];
#pragma unroll
            for (int k = 0; k < PRODUCTS; k++)
#pragma unroll
                for (int n = 0; n < TILES_N; n++) {
                    uint2 pair = pairs[(k * TILES_N + n) * 32 + lane];
                    q[k][n][0] = pair.x, q[k][n][1] = pair.y;
                }
#pragma unroll
            for (int i = 0; i < BLOCKS; i++) {
                uint32_t keys[C < 4 ? 2 : C / 2];
                look_up_row<C>(head, stage, i * 8 + lane / 4, part, group, table, lane, keys);
#pragma unroll
                for (int k = 0; k < PRODUCTS; k++) sums[i].add(q[k], keys + 2 * k);
            }
        }
    }

    __device__ static __forceinline__ void scores(const query &q, const shared_head &head, const uint8_t *stage,
                                                  const uint8_t *tables, const uint8_t *scratch, int lane,
                                                  attend_scores<P, BLOCKS> &p)
    {
        const uint2 *pairs = (const uint2 *)scratch;
        row_sums sums[BLOCKS];
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) sums[i].clear();
#pragma unroll
        for (int i = 0; i < 2; i++, tables += TABLE) {
            const shared_class &part = head.part[i];
            switch (part.n ? part.c : 0) {
            case 1: add_class<1>(head, part, stage, tables, pairs, lane, sums); break;
            case 2: add_class<2>(head, part, stage, tables, pairs, lane, sums); break;
            case 4: add_class<4>(head, part, stage, tables, pairs, lane, sums); break;
            case 8: add_class<8>(head, part, stage, tables, pairs, lane, sums); break;
            case 16: add_class<16>(head, part, stage, tables, pairs, lane, sums); break;
            }
            pairs += products_of(part) * TILES_N * 32;
        }
        q.finish(p);
#pragma unroll
        for (int i = 0; i < BLOCKS; i++)
#pragma unroll
            for (int n = 0; n < TILES_N; n++) p.x[i][n][0] = sums[i].of(n, 0), p.x[i][n][1] = sums[i].of(n, 1);
    }
};

/* Can a head of d channels and at most `most` codes have a groups of eight codes of c channels and b of 2 c? */
__host__ __device__ constexpr bool shared_combines(int d, int most, int c, int a, int b)
{
    for (int k = 1; k <= d / c && k <= most; k++) {
        shared_split s = shared_split_of(d, k);
        if (s.c == c && (s.small + 7) / 8 == a && (k - s.small + 7) / 8 == b) return true;
    }
    return false;
}

/* Products of 16 channels that the largest combination takes: groups that are not full take the room of full ones. */
__host__ __device__ constexpr int shared_tiles(int d, int most)
{
    int tiles = 1;
    for (int k = 1; k <= d && k <= most; k++) {
        shared_split s = shared_split_of(d, k);
        int slots = (s.small + 7) / 8 * s.c + (k - s.small + 7) / 8 * 2 * s.c;
        if ((slots + 1) / 2 > tiles) tiles = (slots + 1) / 2;
    }
    return tiles;
}

template <typename P, int DIM, int PAGE, int TILE, int MOST, int TABLE, bool BYTE_TABLES>
struct attend_values<P, staged_shared<DIM, PAGE, TILE, MOST, TABLE, BYTE_TABLES>> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, TABLE, BYTE_TABLES> SIDE;
    static const int TILES_N = (P::COLUMNS + 7) / 8;
    static const int TILES = shared_tiles(DIM, MOST);
    typedef attend_state<P, TILES, 10> state;

    /* Slots of a class in lane g: group by group, entry by entry; `first` is its first slot. */
    template <int C, int GROUPS>
    __device__ static __forceinline__ void
    look_up_slots(const uint8_t *stage, const shared_head &head, const shared_class &part, const uint8_t *table,
                  const int tokens[4], int lane, uint32_t *early, uint32_t *late)
    {
#pragma unroll
        for (int u = 0; u < GROUPS; u++) {
            int code = part.code + min(u * 8 + lane / 4, part.n - 1);
            uint32_t words[4][8];
#pragma unroll
            for (int k = 0; k < 4; k++)
                look_up<C>(SIDE::template entry<C>(table, stage[SIDE::place(head, tokens[k], code)], lane), words[k]);
#pragma unroll
            for (int k = 0; k < C; k++) {
                early[u * C + k] = __byte_perm(words[0][k / 2], words[1][k / 2], k % 2 ? 0x7632 : 0x5410);
                late[u * C + k] = __byte_perm(words[2][k / 2], words[3][k / 2], k % 2 ? 0x7632 : 0x5410);
            }
        }
    }

    template <int C, int A, int B>
    __device__ static void add_all(state &s, const shared_head &head, const uint8_t *stage, const uint8_t *tables,
                                   const float p[P::TILE / 8][TILES_N][2], int lane)
    {
        const int SLOTS = A * C + B * 2 * C, EVEN = (SLOTS + 1) / 2 * 2, WIDE = C < 16 ? 2 * C : 16;
        static_assert(EVEN / 2 <= TILES, "running sums");
        int t = lane % 4;
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            uint32_t early[EVEN], late[EVEN], weights[TILES_N][2];
            int tokens[4] = {i * 16 + 2 * t, i * 16 + 2 * t + 1, i * 16 + 2 * t + 8, i * 16 + 2 * t + 9};
            early[EVEN - 1] = late[EVEN - 1] = 0;
            look_up_slots<C, A>(stage, head, head.part[0], tables, tokens, lane, early, late);
            if (B)
                look_up_slots<WIDE, B>(stage, head, head.part[1], tables + TABLE, tokens, lane, early + A * C,
                                       late + A * C);
            const uint32_t minima[2] = {0, 0};
            s.take(p + 2 * i, minima, weights);
#pragma unroll
            for (int k = 0; k < EVEN / 2; k++) {
                uint32_t a[4] = {early[2 * k], early[2 * k + 1], late[2 * k], late[2 * k + 1]};
#pragma unroll
                for (int n = 0; n < TILES_N; n++) mma_16x8x16(s.o[k][n], a, weights[n]);
            }
        }
    }

    /* A head without codes: weights are summed up all the same. */
    __device__ static __forceinline__ void add_none(state &s, const float p[P::TILE / 8][TILES_N][2])
    {
        const uint32_t minima[2] = {0, 0};
#pragma unroll
        for (int i = 0; i < P::TILE / 16; i++) {
            uint32_t weights[TILES_N][2];
            s.take(p + 2 * i, minima, weights);
        }
    }

    /* The body of the head's combination, c and a being known: b from B up. */
    template <int C, int A, int B>
    __device__ static __forceinline__ void find_b(state &s, const shared_head &head, int b, const uint8_t *stage,
                                                  const uint8_t *tables, const float p[P::TILE / 8][TILES_N][2],
                                                  int lane)
    {
        if constexpr (B * 16 * C <= DIM + 16 * C) {
            if constexpr (shared_combines(DIM, MOST, C, A, B))
                if (b == B) return add_all<C, A, B>(s, head, stage, tables, p, lane);
            find_b<C, A, B + 1>(s, head, b, stage, tables, p, lane);
        }
    }

    template <int C, int A>
    __device__ static __forceinline__ void find_a(state &s, const shared_head &head, int a, int b,
                                                  const uint8_t *stage, const uint8_t *tables,
                                                  const float p[P::TILE / 8][TILES_N][2], int lane)
    {
        if constexpr (A * 8 * C <= DIM + 8 * C) {
            if (a == A)
                find_b<C, A, 0>(s, head, b, stage, tables, p, lane);
            else
                find_a<C, A + 1>(s, head, a, b, stage, tables, p, lane);
        }
    }

    __device__ static __forceinline__ void add(state &s, const shared_head &head, const uint8_t *stage,
                                               const uint8_t *tables, const float p[P::TILE / 8][TILES_N][2],
                                               int lane)
    {
        int a = (head.part[0].n + 7) / 8, b = (head.part[1].n + 7) / 8;
        if (head.n_codes == 0) return add_none(s, p);
        switch (head.part[0].c) {
        case 1: find_a<1, 1>(s, head, a, b, stage, tables, p, lane); break;
        case 2: find_a<2, 1>(s, head, a, b, stage, tables, p, lane); break;
        case 4: find_a<4, 1>(s, head, a, b, stage, tables, p, lane); break;
        case 8: find_a<8, 1>(s, head, a, b, stage, tables, p, lane); break;
        case 16: find_a<16, 1>(s, head, a, b, stage, tables, p, lane); break;
        }
    }

    __device__ static __forceinline__ void leave(const state &s, const shared_head &head, float *result,
                                                 uint32_t stride, float *shared, uint32_t n_present, int lane)
    {
        for (int i = lane; i < 4 * DIM; i += 32) shared[i] = 0.0f; /* channels without a code */
        int of_first = (head.part[0].n + 7) / 8 * head.part[0].c;
        s.leave(
            result, stride, DIM, shared, n_present, lane,
            [head, of_first](int slot, int g) {
                const shared_class part = slot >= of_first ? head.part[1] : head.part[0]; /* no index: registers */
                int at = slot >= of_first ? slot - of_first : slot, code = at / part.c * 8 + g;
                return code < part.n ? part.channel + code * part.c + at % part.c : -1;
            },
            [](int) { return 1.0f; });
    }
};

#endif
