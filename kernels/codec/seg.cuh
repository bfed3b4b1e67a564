/* seg.cuh - symbol seg: scalar codes, each eighth of the channels having its own bits (runtime/codec/seg.c). Scale ch
 * is that of uniform.cuh; static has a table for each channel. */
#ifndef KERNELS_CODEC_SEG_CUH
#define KERNELS_CODEC_SEG_CUH
#include "codec/planes.cuh"
#include "codec/table_encode.cuh"
#include "codec/uniform.cuh"

#define EIGHTHS 8u

/* Table values of the first eighths of a head. */
__device__ inline uint32_t seg_values(const page_shape &s, uint32_t n_eighths)
{
    uint32_t n = 0;
    for (uint32_t e = 0; e < n_eighths; e++) n += s.segment[e] ? s.d / EIGHTHS << s.segment[e] : 0;
    return n;
}

__device__ inline const __half *seg_tables(const page_shape &s, const uint8_t *params, uint32_t head)
{
    return (const __half *)(params + s.part[KVC_SYMBOL_PIECE]) + (size_t)head * seg_values(s, EIGHTHS);
}

/* Where the codes of an eighth begin in the block. */
__device__ inline uint32_t seg_stream(const page_shape &s, uint32_t eighth)
{
    uint32_t bits = 0;
    for (uint32_t e = 0; e < eighth; e++) bits += s.segment[e];
    return s.page / 8 * (s.d / EIGHTHS) * bits;
}

/* Scale static: codes take the places of values. */
__device__ inline void seg_look_up(const page_shape &s, const page_tile &t, const __half *tables)
{
    uint32_t width = s.d / EIGHTHS;
    for (uint32_t e = 0; e < EIGHTHS; e++) {
        float *y = t.y + e * width;
        table_set set = {tables + seg_values(s, e), width, 1u << s.segment[e]};
        if (s.segment[e] == 0) continue;
        table_search_each<1, true>(
            t, set, [&](uint32_t row, uint32_t g, uint32_t) { return y[row * s.d + g]; },
            [&](uint32_t row, uint32_t g, uint32_t nearest) { y[row * s.d + g] = __uint_as_float(nearest); });
    }
}

/* A tile of codes to the block; with the first one the byte that makes their number even. */
__device__ inline void seg_pack(const page_shape &s, const page_tile &t, uint32_t first, uint8_t *block)
{
    uint32_t width = s.d / EIGHTHS;
    if (threadIdx.x == 0 && seg_stream(s, EIGHTHS) < s.code_bytes) block[seg_stream(s, EIGHTHS)] = 0;
    for (uint32_t e = 0; e < EIGHTHS; e++) {
        const float *codes = t.y + e * width;
        planes_pack(
            block + seg_stream(s, e), t.n_rows * width, s.segment[e], s.page * width,
            [&](uint32_t eight) { return first * width / 8 + eight; },
            [&](uint32_t f) { return __float_as_uint(codes[f / width * s.d + f % width]); });
    }
}

__device__ inline void seg_decode(const page_shape &s, const page_tile &t, uint32_t first, const uint8_t *block,
                                  const __half *tables)
{
    uint32_t width = s.d / EIGHTHS;
    const __half *scales = (const __half *)(block + s.code_bytes);
    const __half *minima = scales + (s.scale == KVC_SCALE_CH ? s.page / s.group * s.n_kept : 0);
    each_value(t.n_rows, s.d, [&](uint32_t r, uint32_t i) {
        uint32_t row = first + r, e = i / width;
        uniform_channel c = uniform_channel_of<true>(s, i);
        float value = 0.0f;
        if (c.bits) {
            uint32_t field = row * width + i % width;
            uint32_t code = planes_code(block + seg_stream(s, e), field, c.bits, s.page * width);
            uint32_t g = s.scale == KVC_SCALE_CH ? row / s.group * s.n_kept + c.kept : 0;
            value = s.scale == KVC_SCALE_CH ? uniform_value(scales[g], minima[g], code)
                                            : __half2float(tables[seg_values(s, e) + (i % width << c.bits) + code]);
        }
        t.y[r * s.d + i] = value;
    });
}
#endif
