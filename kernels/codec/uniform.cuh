/* uniform.cuh - what int and seg share: uniform codes with an fp16 scale and minimum (runtime/codec/uniform.h), and
 * scale ch: a group is some rows of one channel. So that every thread has some, a group of a tile is cut into slices
 * of rows; a slice of a channel has a thread. */
#ifndef KERNELS_CODEC_UNIFORM_CUH
#define KERNELS_CODEC_UNIFORM_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

struct uniform_scale {
    __half scale, minimum;
};

__device__ inline uniform_scale uniform_choose(float lo, float hi, uint32_t bits)
{
    uniform_scale chosen;
    chosen.minimum = __float2half_rd(lo + 0.0f);
    float step = (hi - __half2float(chosen.minimum)) / (float)((1u << bits) - 1u) + 0.0f;
    __half up = __float2half_ru(step);
    chosen.scale = __hisinf(up) ? __ushort_as_half(0x7bff) : up;
    return chosen;
}

__device__ inline uint32_t uniform_code(float x, float scale, float minimum, uint32_t top)
{
    float steps = (x - minimum) / (scale > 0.0f ? scale : 1.0f);
    uint32_t code = __float_as_uint(steps + 8388608.0f) & 0x7fffffu;
    return code < top ? code : top;
}

/* Codes take the places of the n values y[0], y[stride], ..., eight at a time, by a product with the scale's inverse
 * instead of a quotient: the two differ by less than 2^-14 of a step, since there are 255 at most. Where one of eight
 * lies within 2^-10 of the middle between two codes, quotients decide. */
__device__ inline void uniform_replace(float *y, uint32_t n, uint32_t stride, float scale, float minimum,
                                       uint32_t bits)
{
    uint32_t top = (1u << bits) - 1u;
    float inverse = 1.0f / (scale > 0.0f ? scale : 1.0f);
    for (; n; y += 8 * stride) {
        uint32_t code[8], some = least(n, 8);
        bool near = false;
#pragma unroll
        for (uint32_t k = 0; k < 8; k++) {
            float steps = ((k < some ? y[k * stride] : minimum) - minimum) * inverse, shifted = steps + 8388608.0f;
            near |= fabsf(fabsf(steps - (shifted - 8388608.0f)) - 0.5f) < 0x1p-10f;
            code[k] = least(__float_as_uint(shifted) & 0x7fffffu, top);
        }
#pragma unroll
        for (uint32_t k = 0; k < 8; k++)
            if (k < some && !near) y[k * stride] = __uint_as_float(code[k]);
#pragma unroll 1
        for (uint32_t k = 0; k < some && near; k++)
            y[k * stride] = __uint_as_float(uniform_code(y[k * stride], scale, minimum, top));
        n -= some;
    }
}

/* The extremes of such values, and of lo and hi. */
__device__ inline void uniform_extremes(const float *y, uint32_t n, uint32_t stride, float &lo, float &hi)
{
    for (uint32_t i = 0; i < n; i += 8, y += 8 * stride) {
        float x[8];
#pragma unroll
        for (uint32_t k = 0; k < 8; k++) x[k] = i + k < n ? y[k * stride] : lo;
#pragma unroll
        for (uint32_t k = 0; k < 8; k++) {
            lo = x[k] < lo ? x[k] : lo;
            hi = x[k] > hi ? x[k] : hi;
        }
    }
}

__device__ inline float uniform_value(__half scale, __half minimum, uint32_t code)
{
    return __half2float(minimum) + __half2float(scale) * (float)code;
}

/* Of a channel: its bits, and its number among those that have any. VARIES: eighths have bits of their own. */
struct uniform_channel {
    uint32_t bits, kept;
};

template <bool VARIES> __device__ inline uniform_channel uniform_channel_of(const page_shape &s, uint32_t i)
{
    if (!VARIES) return uniform_channel{s.bits, i};
    uint32_t width = s.d / 8, eighth = i / width, dropped = 0;
    for (uint32_t e = 0; e < eighth; e++) dropped += s.segment[e] == 0;
    return uniform_channel{s.segment[eighth], i - dropped * width};
}

/* f(slice, channel) for all of a tile. t.ranges [slices][d] has the extremes of each, then, in the place of the
 * first slice of a group, scale and minimum. A group that is higher than a tile has one slice there. */
template <typename F> __device__ inline void uniform_each(const page_shape &s, const page_tile &t, F f)
{
    uint32_t n = (t.n_rows + s.slice - 1) / s.slice * s.d;
    for (uint32_t k = threadIdx.x; k < n; k += blockDim.x) {
        uint32_t slice = k / s.d;
        f(slice, k - slice * s.d);
    }
}

/* first: of these groups no rows came before. */
__device__ inline void uniform_widen(const page_shape &s, const page_tile &t, bool first)
{
    uniform_each(s, t, [&](uint32_t slice, uint32_t i) {
        const float *y = t.y + slice * s.slice * s.d + i;
        float2 &kept = t.ranges[slice * s.d + i], range = first ? float2{*y, *y} : kept;
        uniform_extremes(y, least(s.slice, t.n_rows), s.d, range.x, range.y);
        kept = range;
    });
}

/* Writes the scales and minima of the tile's groups, from `group` on, which begin behind the codes of the block. The
 * block meets before and behind. */
template <bool VARIES>
__device__ inline void uniform_scales(const page_shape &s, const page_tile &t, uint32_t group, uint8_t *block)
{
    __half *scales = (__half *)(block + s.code_bytes), *minima = scales + s.page / s.group * s.n_kept;
    __syncthreads();
    uniform_each(s, t, [&](uint32_t slice, uint32_t i) {
        uniform_channel c = uniform_channel_of<VARIES>(s, i);
        if (slice % s.slices || c.bits == 0) return;
        float2 *range = t.ranges + slice * s.d + i, all = *range;
        for (uint32_t k = 1; k < s.slices; k++) {
            float2 other = range[k * s.d];
            all.x = other.x < all.x ? other.x : all.x;
            all.y = other.y > all.y ? other.y : all.y;
        }
        uniform_scale chosen = uniform_choose(all.x, all.y, c.bits);
        uint32_t at = (group + slice / s.slices) * s.n_kept + c.kept;
        scales[at] = chosen.scale, minima[at] = chosen.minimum;
        *range = float2{__half2float(chosen.scale), __half2float(chosen.minimum)};
    });
    __syncthreads();
}

/* Codes take the places of values. */
template <bool VARIES> __device__ inline void uniform_quantise(const page_shape &s, const page_tile &t)
{
    uniform_each(s, t, [&](uint32_t slice, uint32_t i) {
        uint32_t bits = uniform_channel_of<VARIES>(s, i).bits;
        float2 chosen = t.ranges[(slice - slice % s.slices) * s.d + i];
        if (bits)
            uniform_replace(t.y + slice * s.slice * s.d + i, least(s.slice, t.n_rows), s.d, chosen.x, chosen.y, bits);
    });
}
#endif
