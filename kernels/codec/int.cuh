/* int.cuh - symbol int: asymmetric uniform codes in bit planes (runtime/codec/int.c has the layout and the
 * arithmetic). uniform.cuh has the scales of channels. Bound by memory and by the arithmetic of indices. */
#ifndef KERNELS_CODEC_INT_CUH
#define KERNELS_CODEC_INT_CUH
#include "codec/uniform.cuh"

#define OCTET 8u /* lanes that share a group of a row */

struct int_planes {
    uint32_t n, width[2];
};

__device__ inline int_planes int_planes_of(uint32_t bits)
{
    if (bits == 3) return {2, {2, 1}};
    if (bits == 6) return {2, {4, 2}};
    return {1, {bits, 0}};
}

/* Of eight lanes. */
__device__ inline void int_meet(float &lo, float &hi)
{
    for (int with = 1; with < (int)OCTET; with *= 2) {
        float low = __shfl_xor_sync(0xffffffffu, lo, with), high = __shfl_xor_sync(0xffffffffu, hi, with);
        lo = low < lo ? low : lo;
        hi = high > hi ? high : hi;
    }
}

/* Scale tok: groups lie side by side in the tile, and so do their scales. Codes take the places of values. */
__device__ inline void int_quantise_rows(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    __half *scales = (__half *)(block + s.code_bytes) + first * (s.d / s.group);
    __half *minima = scales + s.page * (s.d / s.group);
    uint32_t n = t.n_rows * (s.d / s.group), lane = threadIdx.x % OCTET, own = s.group / OCTET;
    for (uint32_t g = threadIdx.x / OCTET; g < n; g += blockDim.x / OCTET) { /* n % 8 = 0: a warp stays together */
        float *y = t.y + g * s.group + lane, lo = *y, hi = lo;
        uniform_extremes(y, own, OCTET, lo, hi);
        int_meet(lo, hi);
        uniform_scale chosen = uniform_choose(lo, hi, s.bits);
        if (lane == 0) scales[g] = chosen.scale, minima[g] = chosen.minimum;
        uniform_replace(y, own, OCTET, __half2float(chosen.scale), __half2float(chosen.minimum), s.bits);
    }
}

/* B bytes of a row in a plane, from byte j on; codes that share a byte are n channels apart. */
template <uint32_t B>
__device__ inline void int_pack_bytes(const float *codes, uint32_t n, uint32_t width, uint32_t shift, uint8_t *to)
{
    uint32_t mask = (1u << width) - 1u, bytes = 0;
    for (uint32_t at = 0; at < 8; at += width, codes += n) {
        float y[B];
        load_floats(codes, y);
#pragma unroll
        for (uint32_t k = 0; k < B; k++) bytes |= (__float_as_uint(y[k]) >> shift & mask) << (8 * k + at);
    }
    if (B == 4)
        *(uint32_t *)to = bytes;
    else
        *to = (uint8_t)bytes;
}

/* A tile of codes to the block, in words where rows of planes have whole ones. */
__device__ inline void int_pack(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    int_planes planes = int_planes_of(s.bits);
    for (uint32_t p = 0, shift = 0; p < planes.n; shift += planes.width[p++]) {
        uint32_t width = planes.width[p], n = s.d / 8 * width;
        uint8_t *rows = block + first * n;
        if (n % 4 == 0)
            each_piece(t.n_rows, n / 4, [&](uint32_t r, uint32_t j) {
                int_pack_bytes<4>(t.y + r * s.d + 4 * j, n, width, shift, rows + r * n + 4 * j);
            });
        else
            each_value(t.n_rows, n, [&](uint32_t r, uint32_t j) {
                int_pack_bytes<1>(t.y + r * s.d + j, n, width, shift, rows + r * n + j);
            });
        block += s.page * n;
    }
}

__device__ inline uint32_t int_code(const page_shape &s, int_planes planes, const uint8_t *block, uint32_t row,
                                    uint32_t i)
{
    uint32_t code = 0;
    for (uint32_t p = 0, shift = 0; p < planes.n; shift += planes.width[p++]) {
        uint32_t width = planes.width[p], n = s.d / 8 * width;
        code |= (block[row * n + i % n] >> (i / n * width) & ((1u << width) - 1u)) << shift;
        block += s.page * n;
    }
    return code;
}

__device__ inline void int_decode(const page_shape &s, const page_tile &t, uint32_t first, const uint8_t *block)
{
    bool by_token = s.scale == KVC_SCALE_TOK;
    uint32_t n_scales = s.page / (by_token ? 1 : s.group) * (s.d / (by_token ? s.group : 1));
    const __half *scales = (const __half *)(block + s.code_bytes), *minima = scales + n_scales;
    int_planes planes = int_planes_of(s.bits);
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) {
        uint32_t row = first + r, g = by_token ? (row * s.d + i) / s.group : row / s.group * s.d + i;
        t.y[r * s.d + i] = uniform_value(scales[g], minima[g], int_code(s, planes, block, row, i));
    });
}
#endif
