/* pairs.cuh - how codes become operands of a warp's product (device.cuh, mma_16x8x16), and what every codec here has
 * to say for it.
 *
 * Keys are a [16 tokens][16 channels]: lane 4 g + t holds rows g and g + 8. Which latent channels are at which
 * columns is free as long as the query has the same order, so every lane takes a quarter of a row, `pairs` of two
 * codes each, from neighbouring bytes; two pairs make a product. Values are a [16 channels][16 tokens]: the lane
 * takes an eighth of the channels of tokens 2t, 2t+1, 2t+8 and 2t+9, in `slots` of one channel, two slots a product.
 *
 * An integer of up to 10 bits is an fp16 number without arithmetic: as a mantissa with exponent 0 it is the number
 * times 2^-24, and p bits to the left of the end 2^p times that. The 2^24 goes into scores and outputs, 2^-p into
 * queries (keys) and rows of the output (values). Tensor cores count subnormal numbers exactly.
 *
 * A codec's struct for keys:
 *     D        latent channels
 *     CODES    the operand is an integer times 2^-24, with a power for each pair
 *     static void channels(int h, int t, int *first, int *second)      of pair h < D / 8 in lane t; NEIGHBOURS: the
 *                                                                      first is even, the second the next one
 *     static int power(int h)                                          p of pair h
 *     static void load(const uint8_t *codes, const uint8_t *table, int row, int lane, uint32_t pairs[D / 8])
 * and for values:
 *     static int channel(int s, int g)                                 of slot s < D / 8 in lane g
 *     static int power(int s)
 *     static void load(const uint8_t *codes, const uint8_t *table, int token0, int token1, int lane,
 *                      uint32_t slots[D / 8])
 *                      slots[s]: token0 in the low half, token1 in the high half
 *
 * And where products are of bytes (template/attend_bytes.cuh), for both: byte_rows, of which a lane has every
 * LANES-th chunk, with
 *     BITS     of a field of a byte: byte i has the codes, or values, of channels i, i + ROW, i + 2 ROW, ...
 *     slots    of values, the struct whose slots those of the fields are: their channels
 *     SIGNED   values of a byte table: bytes with a sign, to be multiplied by the table's step
 *     static void load(const uint8_t *codes, const uint8_t *table, int row, int chunk, int part, int lane,
 *                      uint32_t words[CHUNK / 4]) */
#ifndef KERNELS_FRAGMENT_PAIRS_CUH
#define KERNELS_FRAGMENT_PAIRS_CUH
#include <cuda_fp16.h>
#include <stdint.h>

/* The widest power of two, up to 16, that divides n. */
__host__ __device__ constexpr int fragment_chunk(int n)
{
    return n % 16 == 0 ? 16 : n % 8 == 0 ? 8 : n % 4 == 0 ? 4 : n % 2 == 0 ? 2 : 1;
}

/* The greatest common divisor. */
__host__ __device__ constexpr int fragment_common(int a, int b)
{
    return b ? fragment_common(b, a % b) : a;
}

/* BYTES (1, 2, 4, 8 or 16) from an address that they divide, to words; what is less than a word to its low end. */
template <int BYTES> __device__ __forceinline__ void load_words(const uint8_t *at, uint32_t *words)
{
    if (BYTES == 16) {
        uint4 x = *(const uint4 *)at;
        words[0] = x.x, words[1] = x.y, words[2] = x.z, words[3] = x.w;
    } else if (BYTES == 8) {
        uint2 x = *(const uint2 *)at;
        words[0] = x.x, words[1] = x.y;
    } else if (BYTES == 4) {
        words[0] = *(const uint32_t *)at;
    } else if (BYTES == 2) {
        words[0] = *(const uint16_t *)at;
    } else {
        words[0] = *at;
    }
}

/* The number in the low half of a word. */
__device__ __forceinline__ float half_of(uint32_t word)
{
    return __half2float(__ushort_as_half((uint16_t)word));
}

/* N numbers of fp16 from an address that 2 N bytes divide. */
template <int N> __device__ __forceinline__ void load_halves(const uint8_t *at, float out[N])
{
    const int STEP = fragment_chunk(2 * N) / 2;
#pragma unroll
    for (int first = 0; first < N; first += STEP) {
        uint32_t words[(STEP + 1) / 2];
        load_words<2 * STEP>(at + 2 * first, words);
#pragma unroll
        for (int i = 0; i < STEP; i++) out[first + i] = half_of(words[i / 2] >> i % 2 * 16);
    }
}

/* Rows of ROW_BYTES, WORDS words of each for a lane: chunk k of part `part` begins at byte_of(k, part). TURNED: rows
 * of 32 bytes that lie in shared memory as they are; as values lane 4 g + t has bytes 2 g, 2 g + 1 and 16 more of
 * each instead (device.cuh, load_transposed). */
template <int ROW_BYTES, int CHUNK_BYTES, int LANES> struct byte_rows {
    static const int ROW = ROW_BYTES, CHUNK = CHUNK_BYTES, OF_CHUNK = CHUNK / 4, WORDS = ROW / 4 / LANES;
    static const bool TURNED = false;

    __device__ static __forceinline__ int byte_of(int chunk, int part) { return (chunk * LANES + part) * CHUNK; }
};

#endif
