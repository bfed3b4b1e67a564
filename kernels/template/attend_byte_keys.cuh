/* attend_byte_keys.cuh - scores in products of bytes, of up to four columns (attend_bytes.cuh): keys that are
 * integers, or codes of a byte table.
 *
 * Codes or looked up values are operand A, tokens x bytes of a row, and queries operand B. Fields of a byte are not
 * cut out, but for the half of a byte: of a half's field k the operand is q_k / 2^(b k) - q_k+1 / 2^(b (k + 1)), k
 * from its first one, so that no query is divided by more than 2^b. Of two fields of four bits the upper one is taken
 * where it lies, 16 times itself, and first: its sums are shifted down before the lower one's are added.
 *
 * Queries, times scales per channel where there are any, are high + low / BYTES_LOW: 14 bits and a sign. Their range
 * is looked after: what does not fit is scaled anew at once, what leaves bits unused within BYTES_LOOK tiles. */
#ifndef KERNELS_TEMPLATE_ATTEND_BYTE_KEYS_CUH
#define KERNELS_TEMPLATE_ATTEND_BYTE_KEYS_CUH
#include "template/attend_byte_weights.cuh"

#define BYTES_INTEGER 1536.0f    /* fp16: an integer added to it is the low byte of the bits */
#define BYTES_MOST_SCALE 0x1p14f /* of a query before scales: products stay numbers of fp16 */
#define BYTES_LOOK 16            /* tiles between two looks at whether ranges still fit */

/* Field k alone where it begins a half of a byte, or with those before it in its half; of two fields the second one
 * where it lies, 16 times itself. */
template <int BITS> __device__ __forceinline__ uint32_t fields_of_half(uint32_t bytes, int k)
{
    if constexpr (BITS == 8)
        return bytes;
    else if (BITS == 4 && k == 1)
        return bytes & 0xf0f0f0f0u;
    else
        return fields_up_to<BITS>(k * BITS < 4 ? bytes : bytes >> 4, k % (8 / BITS / 2));
}

/* Of four columns; a lane's own is t, that of its part of operand B g / 2. ORDER: a byte_order. */
template <typename P, typename SIDE, typename ORDER> struct byte_keys {
    typedef typename SIDE::template bytes_of<4> key_rows;
    static const bool BY_CHANNEL = SIDE::SCALE == STAGED_CH, BY_TOKEN = SIDE::SCALE == STAGED_TOK;
    static const int BLOCKS = P::TILE / 16, OWN = 2 * BLOCKS; /* tokens of a lane */
    static const int KEY_BITS = key_rows::BITS, KEY_FIELDS = 8 / KEY_BITS, KEY_WORDS = key_rows::WORDS,
                     OF_CHUNK = key_rows::OF_CHUNK, OF_HALF = KEY_BITS < 8 ? KEY_FIELDS / 2 : 1; /* fields */
    static const int QUERY_WORDS = KEY_FIELDS * KEY_WORDS, MADE = QUERY_WORDS / 2;
    static_assert(QUERY_WORDS % 2 == 0, "two lanes make a column's words");

    /* Queries of the lane's column of operand B, field by field, word by word of its part of a row. Of its words two
     * lanes, high and low, make half each for both. Pairs of channels of this half, those of a half of a byte's field
     * k divided by 2^(b k), all times `up`; of all pairs every other one as it is, for products with minima; and
     * bytes of operand B. */
    uint32_t pairs[MADE][2], plain[QUERY_WORDS], bytes[QUERY_WORDS];
    float up;
    /* Of the lane's own column: what one is in the low bytes, and what all scores are made of. */
    float unit, scale, bias, sum;
    int age; /* tiles, modulo BYTES_LOOK */

    /* The byte of a row at which word w of lane t begins. */
    __device__ static __forceinline__ int key_byte(int w, int t)
    {
        return key_rows::byte_of(w / OF_CHUNK, t) + w % OF_CHUNK * 4;
    }
    /* The first channel of a column's word. */
    __device__ static __forceinline__ int channel_of(int word, int lane)
    {
        return key_byte(word % KEY_WORDS, lane % 4) + word / KEY_WORDS * key_rows::ROW;
    }
    __device__ __forceinline__ void load(const typename SIDE::head &, const attend_layer &l, const attend_batch &b,
                                         const query_source &source, const attend_run &run, int lane)
    {
        bool present;
        size_t row = query_scalars<P>::row_of(l, b, run, lane / 8, &present);
        float4 x[KEY_FIELDS][KEY_WORDS];
        query_range range;
#pragma unroll
        for (int w = 0; w < KEY_WORDS; w++)
#pragma unroll
            for (int k = 0; k < KEY_FIELDS; k++) {
                const float *from = source.rows + (present ? row : 0) * SIDE::D;
                float4 &y = x[k][w];
                y = *(const float4 *)(from + key_byte(w, lane % 4) + k * key_rows::ROW);
                if (!present) y = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                y.x *= source.factor, y.y *= source.factor, y.z *= source.factor, y.w *= source.factor;
                range.see(y.x), range.see(y.y), range.see(y.z), range.see(y.w);
            }
        range.join<4>();
        float shrink = range.shrink(), total = 0.0f;
        uint32_t all[QUERY_WORDS][2];
#pragma unroll
        for (int j = 0; j < QUERY_WORDS; j++) {
            const float4 y = x[j / KEY_WORDS][j % KEY_WORDS];
            all[j][0] = query_pair(y.x, y.y, shrink);
            all[j][1] = query_pair(y.z, y.w, shrink);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float2 halves = __half22float2(*reinterpret_cast<__half2 *>(&all[j][i]));
                total += halves.x + halves.y;
            }
        }
        total += __shfl_xor_sync(~0u, total, 1);
        total += __shfl_xor_sync(~0u, total, 2);
        scale = own_column(range.stretch(), lane);
        bias = own_column(present && source.bias ? source.bias[row] * source.factor : 0.0f, lane);
        sum = own_column(total, lane);
        bool low = is_low(lane);
#pragma unroll
        for (int j = 0; j < QUERY_WORDS; j++) plain[j] = low ? all[j][1] : all[j][0];
#pragma unroll
        for (int i = 0; i < 2 * MADE; i++) {
            float part = 1.0f / (float)(1 << i / 2 / KEY_WORDS % OF_HALF * KEY_BITS); /* of either lane's field */
            pairs[i / 2][i % 2] =
                multiply_pairs(low ? all[MADE + i / 2][i % 2] : all[i / 2][i % 2], __float2half2_rn(part));
        }
        up = 1.0f;
        unit = 1.0f / BYTES_LOW;
        age = 0;
        if (!BY_CHANNEL) make_bytes(NULL, lane);
        if constexpr (key_rows::SIGNED) unit *= l.key_steps[key_rows::LENGTH];
    }

    /* Does the greatest of a lane's queries fit? If not, or if bits are left unused, queries are scaled anew. */
    __device__ __forceinline__ bool scaled_anew(__half2 most, int lane)
    {
        float2 both = __half22float2(most);
        float x = fmaxf(both.x, both.y);
        if (!__any_sync(~0u, x > BYTES_MOST_QUERY) && age) return false;
        query_range range;
        range.see(x);
        range.join<8>();
        float good = range.shrink() * 64.0f; /* a power of two: 60 to 120 */
        if (range.most() * good > BYTES_MOST_QUERY) good *= 0.5f;
        if (range.most() == INFINITY) good = 0x1p-10f; /* and then once more */
        good = fminf(good, BYTES_MOST_SCALE / up);
        bool small = age == 0 && good > 1.0f && range.most() > 0.0f;
        if (!(range.most() > BYTES_MOST_QUERY) && !small) good = 1.0f;
        if (!__any_sync(~0u, good != 1.0f)) return false;
#pragma unroll
        for (int i = 0; i < 2 * MADE; i++)
            pairs[i / 2][i % 2] = multiply_pairs(pairs[i / 2][i % 2], __float2half2_rn(good));
        up *= good;
        unit = own_column(1.0f / (BYTES_LOW * up), lane);
        return true;
    }

    /* Queries, times scales of the words that the lane makes where there are any, as bytes of operand B. */
    __device__ __forceinline__ void make_bytes(const uint32_t (*scales)[2], int lane)
    {
        __half2 y[MADE][2], most;
        do {
            most = __float2half2_rn(0.0f);
#pragma unroll
            for (int i = 0; i < MADE; i++)
#pragma unroll
                for (int j = 0; j < 2; j++) {
                    y[i][j] = *reinterpret_cast<const __half2 *>(&pairs[i][j]);
                    if (BY_CHANNEL) y[i][j] = __hmul2(y[i][j], *reinterpret_cast<const __half2 *>(&scales[i][j]));
                    if (OF_HALF == 2 && i >= KEY_WORDS) y[i - KEY_WORDS][j] = __hsub2(y[i - KEY_WORDS][j], y[i][j]);
                }
#pragma unroll
            for (int i = 0; i < 2 * MADE; i++) most = __hmax2(most, __habs2(y[i / 2][i % 2]));
        } while (scaled_anew(most, lane));
        const __half2 integer = __float2half2_rn(BYTES_INTEGER), fine = __float2half2_rn(BYTES_LOW);
#pragma unroll
        for (int i = 0; i < MADE; i++) {
            uint32_t nearest[2], rest[2];
#pragma unroll
            for (int j = 0; j < 2; j++) {
                __half2 high = __hadd2(y[i][j], integer);
                __half2 left = __hfma2(__hsub2(y[i][j], __hsub2(high, integer)), fine, integer);
                nearest[j] = *reinterpret_cast<uint32_t *>(&high);
                rest[j] = *reinterpret_cast<uint32_t *>(&left);
            }
            uint32_t highs = __byte_perm(nearest[0], nearest[1], 0x6420),
                     lows = __byte_perm(rest[0], rest[1], 0x6420);
            exchange_bytes(highs, lows, lane, &bytes[i], &bytes[MADE + i]);
        }
    }

    /* Queries for a group of tokens with scales per channel; products with their minima. */
    __device__ __forceinline__ float scale_query(const uint8_t *stage, int group, int lane)
    {
        const uint8_t *scales = stage + SIDE::SCALES + group * SIDE::D * 2,
                      *minima = stage + SIDE::MINIMA + group * SIDE::D * 2;
        const int OF_LOAD = MADE % 2 ? 1 : 2; /* words that lie side by side */
        uint32_t s[MADE][2], m[2 * QUERY_WORDS];
#pragma unroll
        for (int i = 0; i < MADE; i += OF_LOAD)
            load_words<OF_LOAD * 8>(scales + (is_low(lane) ? channel_of(MADE + i, lane) : channel_of(i, lane)) * 2,
                                    &s[i][0]);
#pragma unroll
        for (int j = 0; j < QUERY_WORDS; j += 2) load_words<16>(minima + channel_of(j, lane) * 2, m + j * 2);
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        make_bytes(s, lane);
        /* Rows 0 to 7 have every other pair, which even columns' queries match, rows 8 to 15 the others. */
#pragma unroll
        for (int i = 0; i < QUERY_WORDS / 2; i++) mma_16x8x16(c, m + 4 * i, &plain[2 * i]);
        return c[0] + c[3];
    }

    __device__ __forceinline__ void scores(const typename SIDE::head &, const uint8_t *stage, const uint8_t *table,
                                           int lane, float less, float x[OWN])
    {
        float with_minima = 0.0f, offset = bias - less;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            if (BY_CHANNEL && i * 16 % SIDE::TOKENS_OF_SCALE == 0)
                with_minima = scale_query(stage, i * 16 / SIDE::TOKENS_OF_SCALE, lane);
            uint32_t words[2][KEY_WORDS];
            int c[4] = {0, 0, 0, 0};
            const int token[2] = {ORDER::of_key(i, 0, lane / 4), ORDER::of_key(i, 1, lane / 4)};
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int w = 0; w < KEY_WORDS; w += OF_CHUNK)
                    key_rows::load(stage, table, token[half], w / OF_CHUNK, lane % 4, lane, &words[half][w]);
#pragma unroll
            for (int k = KEY_FIELDS - 1; k >= 0; k--) {
#pragma unroll
                for (int w = 0; w < KEY_WORDS; w += 2) {
                    uint32_t a[4];
#pragma unroll
                    for (int j = 0; j < 4; j++) a[j] = fields_of_half<KEY_BITS>(words[j % 2][w + j / 2], k);
                    uint32_t q[2] = {bytes[k * KEY_WORDS + w], bytes[k * KEY_WORDS + w + 1]};
                    mma_16x8x32<key_rows::SIGNED, true>(c, a, q);
                }
#pragma unroll
                for (int j = 0; j < 4 && KEY_BITS == 4 && k == 1; j++) c[j] >>= 4; /* without a rest */
            }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float product = (float)(c[2 * half] * (int)BYTES_LOW + c[2 * half + 1]), at_minima = with_minima;
                float factor = unit;
                if (BY_TOKEN) {
                    factor *= half_at(stage + SIDE::SCALES, token[half]);
                    at_minima = sum * half_at(stage + SIDE::MINIMA, token[half]);
                }
                x[2 * i + half] = product * (factor * scale) + (at_minima * scale + offset);
            }
        }
        age = (age + 1) % BYTES_LOOK;
    }
};

#endif
