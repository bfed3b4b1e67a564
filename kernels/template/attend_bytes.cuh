/* attend_bytes.cuh - pages whose keys and values are integers of 2, 4 or 8 bits, or codes of byte tables
 * (fragment/table.cuh), in products of bytes: codes or looked up values, operand A, times queries (keys: tokens x
 * bytes of a row) and times weights (values: fields of a byte x tokens), operand B (device.cuh, mma_16x8x32). Fewer
 * instructions than attend_keys.cuh and attend_values.cuh take, and a third of the products; for calls of up to four
 * columns: of eight the registers do not hold all.
 *
 * Fields of a byte. Of values field k is not cut out: X_k is the byte with the fields above k cleared, one AND for
 * four bytes and none for the last field. With b bits a field, code c_k = (X_k - X_k-1) / 2^(b k): sums are taken
 * apart so when a run ends, or, where values have scales per channel, when a tile does. Of keys the same holds for
 * each half of a byte, so that no query is divided by more than 2^b: field k's operand is q_k / 2^(b k) - q_k+1 /
 * 2^(b (k + 1)), k from the half's first field.
 *
 * Numbers of two bytes. Operand B has eight columns of bytes: the high bytes of four columns of queries or weights
 * (columns 2 t of the product) and the low ones (2 t + 1). Queries, times scales per channel where there are any, are
 * high + low / BYTES_LOW: 14 bits and a sign. Their range is looked after: what does not fit is scaled anew at once,
 * what leaves bits unused within BYTES_LOOK tiles. Weights, times scales of values where there are any, are integers
 * of 16 bits relative to the tile's greatest such product. Sums of a tile are exact; they are added up in fp32.
 *
 * Tokens. Row g of operand A (keys) is token g ^ (g >> 2) of 16, row g + 8 the one 8 further, so that rows that are
 * read at a time share few banks, here and as values, of which lane t's k-th is (as the transpose of weights makes
 * it) token 2 t + (k / 2 ^ (t >> 1)) + 8 (k % 2). Lane 4 g + t has the scores of its two tokens and column t.
 */
#ifndef KERNELS_TEMPLATE_ATTEND_BYTES_CUH
#define KERNELS_TEMPLATE_ATTEND_BYTES_CUH
#include "template/attend_byte_weights.cuh"
#include "template/attend_sight.cuh"
#include "template/attend_values.cuh"

#define BYTES_INTEGER 1536.0f    /* fp16: an integer added to it is the low byte of the bits */
#define BYTES_MOST_SCALE 0x1p14f /* of a query before scales: products stay numbers of fp16 */
#define BYTES_LOOK 16            /* tiles between two looks at whether ranges still fit */

/* Can a side's codes be taken so? Rows of whole products, fields that start at a byte, entries of words; of values
 * scales per channel that are those of a whole tile. */
template <typename SIDE> struct bytes_side {
    static const bool KEYS = false, VALUES = false;
};
template <int DIM, int BITS, int PAGE, int TILE, int SCALE, int GROUP>
struct bytes_side<staged_int<DIM, BITS, PAGE, TILE, SCALE, GROUP>> {
    static const bool KEYS = (BITS == 2 || BITS == 4 || BITS == 8) && DIM * BITS / 8 % 32 == 0 &&
                             (TILE == 32 || TILE == 64) && (SCALE == STAGED_TOK ? GROUP == DIM : GROUP % 16 == 0),
                      VALUES = KEYS && (SCALE == STAGED_TOK || GROUP % TILE == 0);
};
template <int DIM, int DIMS, int BITS, int PAGE, int TILE>
struct bytes_side<staged_table<DIM, DIMS, BITS, PAGE, TILE, true>> {
    static const bool KEYS = (DIMS == 4 || DIMS == 8) && DIM % 32 == 0 && (TILE == 32 || TILE == 64), VALUES = KEYS;
};
template <typename P> struct bytes_fit {
    static const bool FIT =
        bytes_side<typename P::key_side>::KEYS && bytes_side<typename P::value_side>::VALUES && P::COLUMNS == 4;
};

/* Field k alone where it begins a half of a byte, or with those before it in its half. */
template <int BITS> __device__ __forceinline__ uint32_t fields_of_half(uint32_t bytes, int k)
{
    return BITS == 8 ? bytes : fields_up_to<BITS>(k * BITS < 4 ? bytes : bytes >> 4, k % (8 / BITS / 2));
}

/* Of four columns; a lane's own is t, that of its part of operand B g / 2. */
template <typename P> struct attend_bytes {
    typedef typename P::key_side key_side;
    typedef typename P::value_side value_side;
    typedef typename key_side::template bytes_of<4> key_rows;
    typedef typename value_side::template bytes_of<8> value_rows;
    typedef attend_sight_of<P> sight;
    typedef attend_heads<key_side, value_side> heads;
    static const int SCRATCH = 0;
    static const bool IN_BYTES = true;
    static const bool BY_CHANNEL = key_side::SCALE == STAGED_CH, BY_TOKEN = key_side::SCALE == STAGED_TOK,
                      VALUES_BY_TOKEN = value_side::SCALE == STAGED_TOK,
                      VALUES_BY_CHANNEL = value_side::SCALE == STAGED_CH;
    static const int BLOCKS = P::TILE / 16, OWN = 2 * BLOCKS; /* tokens of a lane */
    static const int KEY_BITS = key_rows::BITS, KEY_FIELDS = 8 / KEY_BITS, KEY_WORDS = key_rows::WORDS,
                     OF_CHUNK = key_rows::OF_CHUNK, OF_HALF = KEY_BITS < 8 ? KEY_FIELDS / 2 : 1; /* fields */
    static const int VALUE_BITS = value_rows::BITS, VALUE_FIELDS = 8 / VALUE_BITS, VALUE_WORDS = value_rows::WORDS,
                     OF_VALUE_CHUNK = value_rows::OF_CHUNK;
    static const int SLOTS = value_side::D / 8, QUERY_PAIRS = key_side::D / 8;

    /* Queries of the lane's column of operand B, field by field, word by word of its part of a row: pairs of
     * channels, those of a half's field k divided by 2^(b k), all times `up`; every other of them as they are, for
     * products with minima; and bytes of operand B. */
    uint32_t pairs[KEY_FIELDS][KEY_WORDS][2], plain[QUERY_PAIRS / 2], bytes[KEY_FIELDS][KEY_WORDS];
    float up;
    /* Of the lane's own column: what one is in the low bytes, and what all scores are made of. */
    float unit, scale, bias, sum;
    float o[SLOTS];
    byte_column column;
    float weight_unit; /* what one is in weights that nothing lifts, times the values' step */
    int age;           /* tiles, modulo BYTES_LOOK */

    __device__ static __forceinline__ int token_of_row(int g) { return g ^ g >> 2; }
    /* The byte of a row at which word w of lane t begins. */
    __device__ static __forceinline__ int key_byte(int w, int t)
    {
        return key_rows::byte_of(w / OF_CHUNK, t) + w % OF_CHUNK * 4;
    }
    /* From the lanes whose operand B has the lane's own column. */
    __device__ static __forceinline__ float own(float x, int lane) { return __shfl_sync(~0u, x, lane % 4 * 8); }

    /* ---- queries ---- */

    __device__ __forceinline__ void load(const heads &, const attend_layer &l, const attend_batch &b,
                                         const query_source &source, const attend_run &run, uint8_t *, int lane)
    {
        bool present;
        size_t row = query_scalars<P>::row_of(l, b, run, lane / 8, &present);
        float4 x[KEY_FIELDS][KEY_WORDS];
        query_range range;
#pragma unroll
        for (int w = 0; w < KEY_WORDS; w++)
#pragma unroll
            for (int k = 0; k < KEY_FIELDS; k++) {
                const float *from = source.rows + row * key_side::D + key_byte(w, lane % 4) + k * key_rows::ROW;
                x[k][w] =
                    present ? make_float4(from[0], from[1], from[2], from[3]) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
                float4 &y = x[k][w];
                y.x *= source.factor, y.y *= source.factor, y.z *= source.factor, y.w *= source.factor;
                range.see(y.x), range.see(y.y), range.see(y.z), range.see(y.w);
            }
        range.join();
        float shrink = range.shrink(), total = 0.0f;
#pragma unroll
        for (int k = 0; k < KEY_FIELDS; k++)
#pragma unroll
            for (int w = 0; w < KEY_WORDS; w++) {
                const float4 y = x[k][w];
                uint32_t *pair = pairs[k][w];
                pair[0] = query_half(y.x, shrink) | query_half(y.y, shrink) << 16;
                pair[1] = query_half(y.z, shrink) | query_half(y.w, shrink) << 16;
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float2 halves = __half22float2(*reinterpret_cast<__half2 *>(&pair[i]));
                    total += halves.x + halves.y;
                }
            }
        total += __shfl_xor_sync(~0u, total, 1);
        total += __shfl_xor_sync(~0u, total, 2);
        scale = own(range.stretch(), lane);
        bias = own(present && source.bias ? source.bias[row] * source.factor : 0.0f, lane);
        sum = own(total, lane);
        uint32_t *all = &pairs[0][0][0];
#pragma unroll
        for (int i = 0; i < QUERY_PAIRS / 2; i++) plain[i] = is_low(lane) ? all[2 * i + 1] : all[2 * i];
#pragma unroll
        for (int i = 0; i < QUERY_PAIRS; i++)
            all[i] = multiply_pairs(all[i],
                                    __float2half2_rn(1.0f / (float)(1 << i / (2 * KEY_WORDS) % OF_HALF * KEY_BITS)));
        up = 1.0f;
        unit = 1.0f / BYTES_LOW;
        age = 0;
        if (!BY_CHANNEL) make_bytes(NULL, lane);
        if constexpr (key_rows::SIGNED) unit *= l.key_steps[key_rows::LENGTH];
        weight_unit = 1.0f / BYTES_MOST_WEIGHT;
        if constexpr (value_rows::SIGNED) weight_unit *= l.value_steps[value_rows::LENGTH];
        column.clear();
#pragma unroll
        for (int i = 0; i < SLOTS; i++) o[i] = 0.0f;
    }

    /* Are the lane's columns of operand B low bytes? */
    __device__ static __forceinline__ bool is_low(int lane)
    {
        return lane / 4 % 2;
    }

    /* Does the greatest of a lane's queries fit? If not, or if bits are left unused, queries are scaled anew. */
    __device__ __forceinline__ bool scaled_anew(__half2 most, int lane)
    {
        float2 both = __half22float2(most);
        float x = fmaxf(both.x, both.y);
        if (!__any_sync(~0u, x > BYTES_MOST_QUERY) && age) return false;
        query_range range;
        range.see(x);
        range.join();
        float good = range.shrink() * 64.0f; /* a power of two: 60 to 120 */
        if (range.most * good > BYTES_MOST_QUERY) good *= 0.5f;
        if (range.most == INFINITY) good = 0x1p-10f; /* and then once more */
        good = fminf(good, BYTES_MOST_SCALE / up);
        bool small = age == 0 && good > 1.0f && range.most > 0.0f;
        if (!(range.most > BYTES_MOST_QUERY) && !small) good = 1.0f;
        if (!__any_sync(~0u, good != 1.0f)) return false;
        uint32_t *all = &pairs[0][0][0];
#pragma unroll
        for (int i = 0; i < QUERY_PAIRS; i++) all[i] = multiply_pairs(all[i], __float2half2_rn(good));
        up *= good;
        unit = own(1.0f / (BYTES_LOW * up), lane);
        return true;
    }

    /* Queries, times scales where there are any, as bytes of operand B. */
    __device__ __forceinline__ void make_bytes(const uint32_t (*scales)[KEY_WORDS][2], int lane)
    {
        __half2 y[KEY_FIELDS][KEY_WORDS][2], most;
        do {
            most = __float2half2_rn(0.0f);
#pragma unroll
            for (int k = 0; k < KEY_FIELDS; k++)
#pragma unroll
                for (int w = 0; w < KEY_WORDS; w++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        y[k][w][i] = *reinterpret_cast<const __half2 *>(&pairs[k][w][i]);
                        if (BY_CHANNEL)
                            y[k][w][i] = __hmul2(y[k][w][i], *reinterpret_cast<const __half2 *>(&scales[k][w][i]));
                        if (k % OF_HALF) y[k - 1][w][i] = __hsub2(y[k - 1][w][i], y[k][w][i]);
                    }
#pragma unroll
            for (int i = 0; i < QUERY_PAIRS; i++) most = __hmax2(most, __habs2((&y[0][0][0])[i]));
        } while (scaled_anew(most, lane));
        bool low = is_low(lane);
        const __half2 integer = __float2half2_rn(BYTES_INTEGER), take = __float2half2_rn(low ? -1.0f : 0.0f),
                      put = __float2half2_rn(low ? BYTES_INTEGER : 0.0f),
                      fine = __float2half2_rn(low ? BYTES_LOW : 1.0f);
#pragma unroll
        for (int k = 0; k < KEY_FIELDS; k++)
#pragma unroll
            for (int w = 0; w < KEY_WORDS; w++) {
                uint32_t two[2];
#pragma unroll
                for (int i = 0; i < 2; i++) { /* less the nearest integer, for low bytes */
                    __half2 high = __hfma2(__hadd2(y[k][w][i], integer), take, put);
                    __half2 sum = __hfma2(__hadd2(y[k][w][i], high), fine, integer);
                    two[i] = *reinterpret_cast<uint32_t *>(&sum);
                }
                bytes[k][w] = __byte_perm(two[0], two[1], 0x6420);
            }
    }

    /* Queries for a group of tokens with scales per channel; products with their minima. */
    __device__ __forceinline__ float scale_query(const uint8_t *stage, int group, int lane)
    {
        const uint8_t *scales = stage + key_side::SCALES + group * key_side::D * 2,
                      *minima = stage + key_side::MINIMA + group * key_side::D * 2;
        uint32_t s[KEY_FIELDS][KEY_WORDS][2], m[QUERY_PAIRS];
#pragma unroll
        for (int k = 0; k < KEY_FIELDS; k++)
#pragma unroll
            for (int w = 0; w < KEY_WORDS; w += 2) {
                int at = (key_byte(w, lane % 4) + k * key_rows::ROW) * 2;
                load_words<16>(scales + at, &s[k][w][0]);
                load_words<16>(minima + at, m + (k * KEY_WORDS + w) * 2);
            }
        float c[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        make_bytes(s, lane);
        /* Rows 0 to 7 have every other pair, which even columns' queries match, rows 8 to 15 the others. */
#pragma unroll
        for (int i = 0; i < QUERY_PAIRS / 4; i++) mma_16x8x16(c, m + 4 * i, &plain[2 * i]);
        return c[0] + c[3];
    }

    /* ---- scores ---- */

    __device__ __forceinline__ void scores(const uint8_t *stage, const uint8_t *table, int lane, float x[OWN])
    {
        float with_minima = 0.0f;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            if (BY_CHANNEL && i * 16 % key_side::TOKENS_OF_SCALE == 0)
                with_minima = scale_query(stage, i * 16 / key_side::TOKENS_OF_SCALE, lane);
            uint32_t words[2][KEY_WORDS];
            int token = i * 16 + token_of_row(lane / 4), c[4] = {0, 0, 0, 0};
#pragma unroll
            for (int half = 0; half < 2; half++)
#pragma unroll
                for (int w = 0; w < KEY_WORDS; w += OF_CHUNK)
                    key_rows::load(stage, table, token + half * 8, w / OF_CHUNK, lane % 4, lane, &words[half][w]);
#pragma unroll
            for (int k = 0; k < KEY_FIELDS; k++)
#pragma unroll
                for (int w = 0; w < KEY_WORDS; w += 2) {
                    uint32_t a[4];
#pragma unroll
                    for (int j = 0; j < 4; j++) a[j] = fields_of_half<KEY_BITS>(words[j % 2][w + j / 2], k);
                    uint32_t q[2] = {bytes[k][w], bytes[k][w + 1]};
                    mma_16x8x32<key_rows::SIGNED, true>(c, a, q);
                }
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float product = (float)(c[2 * half] * (int)BYTES_LOW + c[2 * half + 1]), at_minima = with_minima;
                float factor = unit;
                if (BY_TOKEN) {
                    factor *= half_at(stage + key_side::SCALES, token + half * 8);
                    at_minima = sum * half_at(stage + key_side::MINIMA, token + half * 8);
                }
                x[2 * i + half] = product * (factor * scale) + (at_minima * scale + bias);
            }
        }
    }

    /* ---- weighted sums ---- */

    __device__ __forceinline__ void add(const uint8_t *stage, const uint8_t *table, const float x[OWN], int lane)
    {
        int g = lane / 4, t = lane % 4;
        float scales[OWN], minima[OWN];
#pragma unroll
        for (int i = 0; i < OWN && VALUES_BY_TOKEN; i++) {
            int token = i / 2 * 16 + i % 2 * 8 + token_of_row(g);
            scales[i] = half_at(stage + value_side::SCALES, token);
            minima[i] = half_at(stage + value_side::MINIMA, token);
        }
        byte_weights<BLOCKS> w;
        column.template weigh<VALUES_BY_TOKEN, BLOCKS>(x, scales, minima, weight_unit, w, [&](float factor) {
#pragma unroll
            for (int i = 0; i < SLOTS; i++) o[i] *= factor;
        });
        float of_channel[SLOTS], of_mass[SLOTS], mass = 0.0f;
        if constexpr (VALUES_BY_CHANNEL) {
            value_side::values::by_slot(stage + value_side::SCALES, g, of_channel);
            value_side::values::by_slot(stage + value_side::MINIMA, g, of_mass);
            mass = sum_of_rows(w.mass);
        }
        int first = 2 * t + (t >> 1);
#pragma unroll
        for (int word = 0; word < VALUE_WORDS; word += OF_VALUE_CHUNK) {
            uint32_t in[OF_VALUE_CHUNK][BLOCKS][4];
#pragma unroll
            for (int i = 0; i < BLOCKS; i++)
#pragma unroll
                for (int j = 0; j < 4; j++) {
                    uint32_t words[OF_VALUE_CHUNK];
                    value_rows::load(stage, table, (first ^ j / 2) + i * 16 + j % 2 * 8, word / OF_VALUE_CHUNK, g,
                                     lane, words);
#pragma unroll
                    for (int k = 0; k < OF_VALUE_CHUNK; k++) in[k][i][j] = words[k];
                }
#pragma unroll
            for (int k = 0; k < OF_VALUE_CHUNK; k++) {
                float before = 0.0f;
                add_word<VALUE_BITS, value_rows::SIGNED, BLOCKS>(in[k], w, [&](int slot, float sum) {
                    int s = (word + k) * 4 * VALUE_FIELDS + slot;
                    if constexpr (VALUES_BY_CHANNEL) {
                        float own = code_of(slot, sum, before);
                        o[s] += own * (w.unit * of_channel[s]) + mass * of_mass[s];
                        before = sum;
                    } else {
                        o[s] += w.unit * sum;
                    }
                });
            }
        }
    }

    /* A slot's codes, from a sum of its fields and those before them and, of the slot before, likewise. */
    __device__ static __forceinline__ float code_of(int slot, float sum, float before)
    {
        int k = slot % VALUE_FIELDS;
        return k ? (sum - before) / (float)(1 << VALUE_BITS * k) : sum;
    }

    /* ---- what a run calls ---- */

    __device__ __forceinline__ void hide(const attend_run &run, uint32_t first, int lane, float x[OWN]) const
    {
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            uint32_t token = first + (uint32_t)(i / 2 * 16 + i % 2 * 8 + token_of_row(lane / 4));
            if (!sight::sees(run, token, lane % 4)) x[i] = -INFINITY;
        }
    }

    /* `first`: the tile's oldest token. */
    __device__ __forceinline__ void add_tile(const heads &, const uint8_t *stage, const uint8_t *key_table,
                                             const uint8_t *value_table, const uint8_t *, const attend_batch &b,
                                             const attend_run &run, uint32_t first, int lane)
    {
        float x[OWN];
        scores(stage, key_table, lane, x);
        if (P::SOFTCAP)
#pragma unroll
            for (int i = 0; i < OWN; i++) x[i] = capped(x[i], b.softcap);
        if (!sight::sees_all(run, b, first, P::TILE)) hide(run, first, lane, x);
        add(stage + key_side::BYTES, value_table, x, lane);
        age = (age + 1) % BYTES_LOOK;
    }

    /* A partial result: maximum, sum and weighted sum [D] of the first n_present columns, through `shared` [4][D] of
     * the warp. */
    __device__ __forceinline__ void leave(const heads &, float *result, uint32_t stride, float *shared,
                                          uint32_t n_present, int lane)
    {
        const int D = value_side::D;
        int t = lane % 4;
        float all = sum_of_rows(column.mass), with_minima = sum_of_rows(column.zero);
        if (lane < 4 && (uint32_t)t < n_present)
            *(float2 *)(result + (uint32_t)t * stride) = make_float2(column.max, all);
        __syncwarp();
#pragma unroll
        for (int s = 0; s < SLOTS; s++) {
            float x = VALUES_BY_CHANNEL ? o[s] : code_of(s, o[s], s ? o[s - 1] : 0.0f);
            shared[t * D + value_side::values::channel(s, lane / 4)] = x + with_minima;
        }
        __syncwarp();
        copy_results(result, stride, D, shared, (int)n_present, 1, lane);
        __syncwarp();
    }
};

#endif
