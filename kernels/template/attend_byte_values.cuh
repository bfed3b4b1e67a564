/* attend_byte_values.cuh - weighted sums in products of bytes, of up to four columns (attend_bytes.cuh): values that
 * are integers, or codes of a byte table.
 *
 * Operand A is fields of a byte x tokens, operand B weights. Field k is not cut out: X_k is the byte with the fields
 * above k cleared, one AND for four bytes and none for the last field. With b bits a field, code c_k = (X_k - X_k-1)
 * / 2^(b k): sums are taken apart so when a run ends, or, where values have scales per channel, when a tile does. */
#ifndef KERNELS_TEMPLATE_ATTEND_BYTE_VALUES_CUH
#define KERNELS_TEMPLATE_ATTEND_BYTE_VALUES_CUH
#include "template/attend_byte_weights.cuh"
#include "template/attend_values.cuh"

template <typename P, typename SIDE, typename ORDER> struct byte_values {
    typedef typename SIDE::template bytes_of<8> value_rows;
    typedef typename value_rows::slots slots;
    static const bool BY_TOKEN = SIDE::SCALE == STAGED_TOK, BY_CHANNEL = SIDE::SCALE == STAGED_CH;
    static const int BLOCKS = P::TILE / 16, OWN = 2 * BLOCKS; /* tokens of a lane */
    static const int VALUE_BITS = value_rows::BITS, VALUE_FIELDS = 8 / VALUE_BITS, VALUE_WORDS = value_rows::WORDS,
                     OF_VALUE_CHUNK = value_rows::OF_CHUNK, SLOTS = SIDE::D / 8;

    float o[SLOTS];
    float weight_unit; /* what one is in weights that nothing lifts, times the values' step */

    __device__ __forceinline__ void load(const typename SIDE::head &, const attend_layer &l)
    {
        weight_unit = 1.0f / BYTES_MOST_WEIGHT;
        if constexpr (value_rows::SIGNED) weight_unit *= l.value_steps[value_rows::LENGTH];
#pragma unroll
        for (int i = 0; i < SLOTS; i++) o[i] = 0.0f;
    }

    __device__ __forceinline__ void add(const typename SIDE::head &, byte_column &column, const uint8_t *stage,
                                        const uint8_t *table, float x[OWN], int lane)
    {
        int g = lane / 4, t = lane % 4;
        float scales[OWN], minima[OWN];
#pragma unroll
        for (int i = 0; i < OWN && BY_TOKEN; i++) {
            int token = ORDER::of_key(i / 2, i % 2, g);
            scales[i] = half_at(stage + SIDE::SCALES, token);
            minima[i] = half_at(stage + SIDE::MINIMA, token);
        }
        byte_weights<BLOCKS> w;
        column.template weigh<BY_TOKEN, BLOCKS>(x, scales, minima, weight_unit, w, [&](float factor) {
#pragma unroll
            for (int i = 0; i < SLOTS; i++) o[i] *= factor;
        });
        float of_channel[SLOTS], of_mass[SLOTS], mass = 0.0f;
        if constexpr (BY_CHANNEL) {
            slots::by_slot(stage + SIDE::SCALES, g, of_channel);
            slots::by_slot(stage + SIDE::MINIMA, g, of_mass);
            mass = sum_of_rows(w.mass);
        }
        auto take_from = [&](int first) {
            return [&, first, before = 0.0f](int slot, float sum) mutable {
                if constexpr (BY_CHANNEL) {
                    float own = code_of(slot, sum, before);
                    o[first + slot] += own * (w.unit * of_channel[first + slot]) + mass * of_mass[first + slot];
                    before = sum;
                } else {
                    o[first + slot] += w.unit * sum;
                }
            };
        };
        if constexpr (value_rows::TURNED) {
            uint32_t codes[BLOCKS][4];
            load_turned(stage, lane, codes);
            add_bytes<VALUE_BITS, false, BLOCKS>(codes, w, take_from(0));
        } else {
#pragma unroll
            for (int word = 0; word < VALUE_WORDS; word += OF_VALUE_CHUNK) {
                uint32_t in[OF_VALUE_CHUNK][BLOCKS][4];
#pragma unroll
                for (int i = 0; i < BLOCKS; i++)
#pragma unroll
                    for (int j = 0; j < 4; j++) {
                        uint32_t words[OF_VALUE_CHUNK];
                        value_rows::load(stage, table, ORDER::of_value(i, j, t), word / OF_VALUE_CHUNK, g, lane,
                                         words);
#pragma unroll
                        for (int k = 0; k < OF_VALUE_CHUNK; k++) in[k][i][j] = words[k];
                    }
#pragma unroll
                for (int k = 0; k < OF_VALUE_CHUNK; k++)
                    add_word<VALUE_BITS, value_rows::SIGNED, BLOCKS>(in[k], w,
                                                                     take_from((word + k) * 4 * VALUE_FIELDS));
            }
        }
    }

    /* Rows of 32 bytes: of 16 tokens two halves each of rows, two of tokens; a lane has two bytes of two tokens of
     * each, which become four tokens of each byte. */
    __device__ static __forceinline__ void load_turned(const uint8_t *rows, int lane, uint32_t codes[BLOCKS][4])
    {
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            uint32_t two[4];
            int token = ORDER::of_value(i, lane % 2 * 2 + lane / 8 % 2, lane % 8 / 2);
            load_transposed(rows + token * 32 + lane / 16 * 16, two);
#pragma unroll
            for (int k = 0; k < 4; k++)
                codes[i][k] = __byte_perm(two[k / 2 * 2], two[k / 2 * 2 + 1], k % 2 ? 0x7351 : 0x6240);
        }
    }

    /* A slot's codes, from a sum of its fields and those before them and, of the slot before, likewise. */
    __device__ static __forceinline__ float code_of(int slot, float sum, float before)
    {
        int k = slot % VALUE_FIELDS;
        return k ? (sum - before) / (float)(1 << VALUE_BITS * k) : sum;
    }

    /* The weighted sums of the lane's column to `to` [D] of it, with the sum of weights times minima. */
    __device__ __forceinline__ void leave(const typename SIDE::head &, float with_minima, float *to, int lane) const
    {
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            float x = BY_CHANNEL ? o[s] : code_of(s, o[s], s ? o[s - 1] : 0.0f);
            to[slots::channel(s, lane / 4)] = x + with_minima;
        }
    }
};

#endif
