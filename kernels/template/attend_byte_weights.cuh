/* attend_byte_weights.cuh - weights of tokens and weighted sums in products of bytes, of up to four columns: what
 * products of bytes have in common (attend_bytes.cuh). Lane 4 g + t has column t.
 *
 * Numbers of two bytes. Operand B has eight columns of bytes: the high bytes of four columns of queries or weights
 * (columns 2 t of the product) and the low ones (2 t + 1). Weights, times scales of values where there are any, are
 * integers of 16 bits relative to the tile's greatest such product. Sums of a tile are exact; they are added up in
 * fp32. */
#ifndef KERNELS_TEMPLATE_ATTEND_BYTE_WEIGHTS_CUH
#define KERNELS_TEMPLATE_ATTEND_BYTE_WEIGHTS_CUH
#include "template/attend_keys.cuh"

#define BYTES_LOW 252.0f            /* of queries: low bytes are in units of one such part of a high one */
#define BYTES_MOST_QUERY 120.0f     /* high bytes */
#define BYTES_NATURAL 8388608.0f    /* fp32: one of up to 23 bits is the low end of them */
#define BYTES_MOST_WEIGHT 65000.0f  /* a little less than 2^16: quotients and products are rounded */
#define BYTES_LEAST_SCORE -80.0f    /* relative: of weights of less comes nothing, and quotients stay numbers */
#define BYTES_LEAST_WEIGHT 0x1p-80f /* its weight */
#define BYTES_SLACK 8.0f            /* sums move to a new base that is 2^8 times theirs */

/* The fields of four bytes up to number k of those of BITS bits. */
template <int BITS> __device__ __forceinline__ uint32_t fields_up_to(uint32_t bytes, int k)
{
    return (k + 1) * BITS == 8 ? bytes : bytes & ((1u << (k + 1) * BITS) - 1u) * 0x01010101u;
}

/* Bytes k of four words, as word k. */
__device__ __forceinline__ void transpose_bytes(const uint32_t in[4], uint32_t out[4])
{
    uint32_t low[2], high[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        low[i] = __byte_perm(in[2 * i], in[2 * i + 1], 0x5140);
        high[i] = __byte_perm(in[2 * i], in[2 * i + 1], 0x7362);
    }
    out[0] = __byte_perm(low[0], low[1], 0x5410);
    out[1] = __byte_perm(low[0], low[1], 0x7632);
    out[2] = __byte_perm(high[0], high[1], 0x5410);
    out[3] = __byte_perm(high[0], high[1], 0x7632);
}

/* From the lanes whose operand B has the lane's own column. */
__device__ __forceinline__ float own_column(float x, int lane)
{
    return __shfl_sync(~0u, x, lane % 4 * 8);
}

/* Are the lane's columns of operand B low bytes? */
__device__ __forceinline__ bool is_low(int lane)
{
    return lane / 4 % 2;
}

/* Of two words of a column its two lanes, high and low, have made one each, with both bytes: each gets its bytes of
 * both. */
__device__ __forceinline__ void exchange_bytes(uint32_t highs, uint32_t lows, int lane, uint32_t *of_high,
                                               uint32_t *of_low)
{
    bool low = is_low(lane);
    uint32_t other = __shfl_xor_sync(~0u, low ? highs : lows, 4);
    *of_high = low ? other : highs;
    *of_low = low ? lows : other;
}

/* The greatest of what eight lanes g have. */
__device__ __forceinline__ float most_of_rows(float x)
{
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 4));
    x = fmaxf(x, __shfl_xor_sync(~0u, x, 8));
    return fmaxf(x, __shfl_xor_sync(~0u, x, 16));
}
__device__ __forceinline__ float sum_of_rows(float x)
{
    x += __shfl_xor_sync(~0u, x, 4);
    x += __shfl_xor_sync(~0u, x, 8);
    return x + __shfl_xor_sync(~0u, x, 16);
}

/* The weights of a tile of 16 BLOCKS tokens as operand B. */
template <int BLOCKS> struct byte_weights {
    uint32_t b[BLOCKS];
    float unit; /* what one is in them */
    float mass; /* the sum of the lane's rows' */
};

/* Of the lane's column so far: a score, and the sums of weights relative to it and of weights times minima, of the
 * rows that the lane has. The greatest score is at most `slack` more, or there has been none (clear()). */
struct byte_column {
    float base, slack, mass, zero;

    __device__ __forceinline__ void clear()
    {
        base = mass = zero = 0.0f;
        slack = -INFINITY;
    }
    /* The score that weights are relative to, as a partial result has it. */
    __device__ __forceinline__ float max() const { return slack < 0.0f ? ATTEND_LEAST : base; }

    /* x [2 BLOCKS]: scores of the lane's tokens less `base`, in base 2; scales, minima: of the values of each, where
     * they have any (BY_TOKEN); unit: what one is in weights that nothing lifts; move(factor): sums move to a new
     * base. */
    template <bool BY_TOKEN, int BLOCKS, typename MOVE>
    __device__ __forceinline__ void weigh(float *x, const float *scales, const float *minima, float unit,
                                          byte_weights<BLOCKS> &w, MOVE move)
    {
        const int OWN = 2 * BLOCKS;
        float most = x[0];
#pragma unroll
        for (int i = 1; i < OWN; i++) most = fmaxf(most, x[i]);
        if (__any_sync(~0u, most > slack)) { /* of some column */
            most = most_of_rows(most);
            float shift = most > slack ? most : 0.0f, factor = exp2_fast(fminf(-shift, 0.0f));
            if (most > slack) slack = BYTES_SLACK;
            base += shift, most -= shift;
#pragma unroll
            for (int i = 0; i < OWN; i++) x[i] -= shift;
            mass *= factor;
            if (BY_TOKEN) zero *= factor;
            move(factor);
        }
        /* Without scales what the greatest weight is can be known before the weights. */
        float score = BY_TOKEN ? 0.0f : fmaxf(most_of_rows(most), BYTES_LEAST_SCORE), weight = 0.0f;
        w.mass = 0.0f;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            x[i] = exp2_fast(x[i]);
            w.mass += x[i];
            if (BY_TOKEN) {
                zero += x[i] * minima[i];
                x[i] *= scales[i];
                weight = fmaxf(weight, x[i]);
            }
        }
        mass += w.mass;
        weight = BY_TOKEN ? fmaxf(most_of_rows(weight), BYTES_LEAST_WEIGHT) : exp2_fast(score);
        float up_to = BY_TOKEN ? divide_fast(BYTES_MOST_WEIGHT, weight) : exp2_fast(-score) * BYTES_MOST_WEIGHT;
        w.unit = weight * unit;
#pragma unroll
        for (int i = 0; i < BLOCKS; i++) {
            uint32_t integer[2];
#pragma unroll
            for (int half = 0; half < 2; half++)
                integer[half] = __float_as_uint(fmaf(x[2 * i + half], up_to, BYTES_NATURAL));
            w.b[i] = transpose_8x8(__byte_perm(integer[0], integer[1], 0x4051));
        }
    }
};

/* Four bytes of four tokens of each block, codes [block][byte]: their fields of BITS bits, 4 * 8 / BITS slots, in
 * their order, as take(slot, sum). Two slots a product: rows g and g + 8. */
template <int BITS, bool SIGNED, int BLOCKS, typename TAKE>
__device__ __forceinline__ void add_bytes(const uint32_t codes[BLOCKS][4], const byte_weights<BLOCKS> &w, TAKE take)
{
    const int FIELDS = 8 / BITS;
#pragma unroll
    for (int s = 0; s < 4 * FIELDS; s += 2) {
        int c[4];
#pragma unroll
        for (int i = 0; i < BLOCKS; i += 2) {
            uint32_t a[4];
#pragma unroll
            for (int j = 0; j < 4; j++) {
                int slot = s + j % 2;
                a[j] = fields_up_to<BITS>(codes[i + j / 2][slot / FIELDS], slot % FIELDS);
            }
            uint32_t of_tokens[2] = {w.b[i], w.b[i + 1]};
            if (i == 0)
                mma_16x8x32_first<SIGNED, false>(c, a, of_tokens);
            else
                mma_16x8x32<SIGNED, false>(c, a, of_tokens);
        }
#pragma unroll
        for (int half = 0; half < 2; half++) take(s + half, (float)(c[2 * half] * 256 + c[2 * half + 1]));
    }
}

/* The same of a word of four tokens of each block. */
template <int BITS, bool SIGNED, int BLOCKS, typename TAKE>
__device__ __forceinline__ void add_word(const uint32_t in[BLOCKS][4], const byte_weights<BLOCKS> &w, TAKE take)
{
    uint32_t codes[BLOCKS][4];
#pragma unroll
    for (int i = 0; i < BLOCKS; i++) transpose_bytes(in[i], codes[i]);
    add_bytes<BITS, SIGNED, BLOCKS>(codes, w, take);
}

#endif
