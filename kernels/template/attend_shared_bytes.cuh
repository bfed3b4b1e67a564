/* attend_shared_bytes.cuh - codes that heads share out (fragment/shared.cuh), with byte tables, as keys and as values
 * in products of bytes (attend_bytes.cuh).
 *
 * How many words a head's tokens have is known when a run begins. They go in groups of eight: a group is a product
 * for 16 tokens of keys, lane t having its words t and t + 4; of values lane g has word g. Registers have room for as
 * many groups as any head has; those that heads with every channel in a code of 4 channels or more need, LEAST, are
 * always taken, so that nothing is in their way, and further ones where there are any. Words of no code count for
 * nothing: their queries are 0, and their sums are not looked at. */
#ifndef KERNELS_TEMPLATE_ATTEND_SHARED_BYTES_CUH
#define KERNELS_TEMPLATE_ATTEND_SHARED_BYTES_CUH
#include "fragment/shared.cuh"
#include "template/attend_byte_keys.cuh"
#include "template/attend_byte_values.cuh"

template <typename P, int DIM, int PAGE, int TILE, int MOST, int TABLE, typename ORDER>
struct byte_keys<P, staged_shared<DIM, PAGE, TILE, MOST, TABLE, true>, ORDER> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, TABLE, true> key_side;
    static const int BLOCKS = P::TILE / 16, OWN = 2 * BLOCKS, RUNS = P::TILE / 32, KEY_GROUPS = key_side::GROUPS;

    uint32_t queries[KEY_GROUPS][2]; /* operand B */
    float unit, bias;                /* what one is in products of column t, and what is added */

    /* A column's words are made half by each of its two lanes, high and low, which then exchange bytes: t has words
     * 8 i + t, t + 4 words 8 i + t + 4. */
    __device__ __forceinline__ void load(const shared_head &head, const attend_layer &l, const attend_batch &b,
                                         const query_source &source, const attend_run &run, int lane)
    {
        bool present;
        size_t row = query_scalars<P>::row_of(l, b, run, lane / 8, &present);
        const float *from = source.rows + (present ? row : 0) * key_side::D;
        float x[KEY_GROUPS][4], key_steps[2];
        int n_words = key_side::words_of(head.part[0]) + key_side::words_of(head.part[1]);
        query_range range;
        for (int i = 0; i < 2; i++) key_steps[i] = l.key_steps[table_length(head.part[i].c)] * source.factor;
        bias = present && source.bias ? source.bias[row] * source.factor : 0.0f;
#pragma unroll
        for (int group = 0; group < KEY_GROUPS; group++) {
            int w = group * 8 + lane % 8;
            shared_word word = key_side::word_of(head, w);
            float step = word.part ? key_steps[1] : key_steps[0], *y = x[group];
            int span = present && w < n_words ? word.span : 0;
            const float *at = from + word.channel; /* a multiple of the span */
            float4 four = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (span == 4) four = *(const float4 *)at;
            if (span == 2) four.x = at[0], four.y = at[1];
            if (span == 1) four.x = at[0];
            y[0] = four.x * step, y[1] = four.y * step, y[2] = four.z * step, y[3] = four.w * step;
#pragma unroll
            for (int i = 0; i < 4; i++) range.see(y[i]);
            if (word.span < 4) {
                y[3] = word.span == 2 ? y[1] * (1.0f / SHARED_LOW) : 0.0f;
                y[2] = word.span == 2 ? y[0] * (1.0f / SHARED_LOW) : 0.0f;
                if (word.span == 1) y[1] = y[0] * (1.0f / SHARED_LOW);
            }
        }
        range.join<8>();
        float shrink = fminf(range.shrink(), 0x1p100f) * 64.0f; /* to 64 .. 128 */
        if (range.most() * shrink > BYTES_MOST_QUERY) shrink *= 0.5f;
        float stretch = shrink > 0.0f ? 1.0f / shrink : range.stretch();
        const float integer = 12582912.0f; /* 1.5 * 2^23: the low end of the bits of a sum is the nearest integer */
#pragma unroll
        for (int group = 0; group < KEY_GROUPS; group++) {
            uint32_t high[4], low[4];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float y = shrink > 0.0f ? x[group][i] * shrink : 0.0f; /* a row that is not finite: 0 */
                float nearest = y + integer, rest = (y - (nearest - integer)) * BYTES_LOW + integer;
                high[i] = __float_as_uint(nearest), low[i] = __float_as_uint(rest);
            }
            uint32_t highs[4], lows[4]; /* the first of them */
            transpose_bytes(high, highs), transpose_bytes(low, lows);
            exchange_bytes(highs[0], lows[0], lane, &queries[group][0], &queries[group][1]);
        }
        unit = own_column(stretch / BYTES_LOW, lane);
        bias = own_column(bias, lane);
    }

    /* A group's products with all blocks. */
    __device__ __forceinline__ void add_keys(int group, const uint8_t *codes, int run_bytes, const uint8_t *tables,
                                             int lane, int c[BLOCKS][4]) const
    {
        const uint2 at = ((const uint2 *)key_side::places(tables))[group * 32 + lane];
        const shared_address first = shared_address_of(tables) + (at.x & 0xffffu),
                             second = shared_address_of(tables) + (at.y & 0xffffu);
#pragma unroll
        for (int r = 0; r < RUNS; r++) {
            uint32_t four[2] = {*(const uint32_t *)(codes + r * run_bytes + (at.x >> 16) * 32),
                                *(const uint32_t *)(codes + r * run_bytes + (at.y >> 16) * 32)};
#pragma unroll
            for (int i = 0; i < 2; i++) {
                uint32_t a[4];
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    a[half] = key_side::look_up_word(first, four[0], 2 * i + half);
                    a[2 + half] = key_side::look_up_word(second, four[1], 2 * i + half);
                }
                if (group == 0)
                    mma_16x8x32_first<true, true>(c[2 * r + i], a, queries[group]);
                else
                    mma_16x8x32<true, true>(c[2 * r + i], a, queries[group]);
            }
        }
    }

    __device__ __forceinline__ void scores(const shared_head &head, const uint8_t *stage, const uint8_t *tables,
                                           int lane, float less, float x[OWN]) const
    {
        const int LEAST = key_side::LEAST_GROUPS;
        int c[BLOCKS][4], n = key_side::groups_of(head), run_bytes = head.n_codes * 32;
        const uint8_t *codes = stage + lane / 4 * 4;
#pragma unroll
        for (int group = 0; group < KEY_GROUPS; group++)
            if (group < LEAST || group < n) add_keys(group, codes, run_bytes, tables, lane, c);
#pragma unroll
        for (int i = 0; i < BLOCKS; i++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                x[2 * i + half] =
                    (float)(c[i][2 * half] * (int)BYTES_LOW + c[i][2 * half + 1]) * unit + (bias - less);
    }
};

template <typename P, int DIM, int PAGE, int TILE, int MOST, int TABLE, typename ORDER>
struct byte_values<P, staged_shared<DIM, PAGE, TILE, MOST, TABLE, true>, ORDER> {
    typedef staged_shared<DIM, PAGE, TILE, MOST, TABLE, true> value_side;
    static const int BLOCKS = P::TILE / 16, OWN = 2 * BLOCKS, RUNS = P::TILE / 32, VALUE_GROUPS = value_side::GROUPS;

    float sums[VALUE_GROUPS][4]; /* of the word's bytes and column t */
    float steps[2];              /* of the tables */

    __device__ __forceinline__ void load(const shared_head &head, const attend_layer &l)
    {
#pragma unroll
        for (int i = 0; i < 2; i++) steps[i] = l.value_steps[table_length(head.part[i].c)];
#pragma unroll
        for (int group = 0; group < VALUE_GROUPS; group++)
#pragma unroll
            for (int i = 0; i < 4; i++) sums[group][i] = 0.0f;
    }

    __device__ __forceinline__ void add_values(int group, const uint8_t *codes, int run_bytes, const uint8_t *tables,
                                               const byte_weights<BLOCKS> &w, int lane)
    {
        uint32_t at = value_side::places(tables)[group * 32 + lane], in[BLOCKS][4];
        const shared_address entry = shared_address_of(tables) + (at & 0xffffu);
#pragma unroll
        for (int r = 0; r < RUNS; r++) {
            uint2 eight = *(const uint2 *)(codes + r * run_bytes + (at >> 16) * 32);
#pragma unroll
            for (int i = 0; i < 2; i++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    in[2 * r + i][k] = value_side::look_up_word(entry, k < 2 ? eight.x : eight.y, 2 * i + k % 2);
        }
        add_word<8, true, BLOCKS>(in, w, [&](int slot, float sum) { sums[group][slot] += w.unit * sum; });
    }

    __device__ __forceinline__ void add(const shared_head &head, byte_column &column, const uint8_t *stage,
                                        const uint8_t *tables, float x[OWN], int lane)
    {
        const int LEAST = value_side::LEAST_GROUPS;
        byte_weights<BLOCKS> w;
        int n = value_side::groups_of(head), run_bytes = head.n_codes * 32;
        const uint8_t *codes = stage + lane % 4 * 8;
        column.template weigh<false, BLOCKS>(x, NULL, NULL, 1.0f / BYTES_MOST_WEIGHT, w, [&](float factor) {
#pragma unroll
            for (int group = 0; group < VALUE_GROUPS; group++)
#pragma unroll
                for (int i = 0; i < 4; i++) sums[group][i] *= factor;
        });
#pragma unroll
        for (int group = 0; group < VALUE_GROUPS; group++)
            if (group < LEAST || group < n) add_values(group, codes, run_bytes, tables, w, lane);
    }

    /* The weighted sums of the lane's column to `to` [D] of it. */
    __device__ __forceinline__ void leave(const shared_head &head, float, float *to, int lane) const
    {
        int n_words = value_side::words_of(head.part[0]) + value_side::words_of(head.part[1]);
#pragma unroll
        for (int group = 0; group < VALUE_GROUPS; group++) {
            int w = group * 8 + lane / 4;
            if (w >= n_words) continue;
            shared_word word = value_side::word_of(head, w);
            const float *o = sums[group], step = word.part ? steps[1] : steps[0];
#pragma unroll
            for (int i = 0; i < 4; i++) {
                float low = word.span == 4 ? 0.0f : word.span == 1 ? o[1] : o[2 + i % 2];
                if (i < word.span) to[word.channel + i] = (o[i] + low / SHARED_LOW) * step;
            }
        }
    }
};

#endif
