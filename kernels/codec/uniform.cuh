/* uniform.cuh - what int and seg share: uniform codes with an fp16 scale and minimum (runtime/codec/uniform.h), and
 * scale ch: a group is some rows of one channel. A thread owns channels, whose extremes it keeps while tiles pass. */
#ifndef KERNELS_CODEC_UNIFORM_CUH
#define KERNELS_CODEC_UNIFORM_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

#define UNIFORM_OWN 4u /* channels of a thread: KVC_MAX_ROW of 512 threads */

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

/* Of a channel: its bits, and its number among those that have any. */
struct uniform_channel {
    uint32_t bits, kept;
};

__device__ inline uniform_channel uniform_channel_of(const page_shape &s, uint32_t i)
{
    uint32_t width = s.d / 8, eighth = i / width, dropped = 0;
    for (uint32_t e = 0; e < eighth; e++) dropped += s.segment[e] == 0;
    return uniform_channel{s.segment[eighth], i - dropped * width};
}

struct uniform_own {
    float lo[UNIFORM_OWN], hi[UNIFORM_OWN];
    float scale[UNIFORM_OWN], minimum[UNIFORM_OWN];
};

template <typename F> __device__ inline void uniform_each(const page_shape &s, F f)
{
#pragma unroll
    for (uint32_t k = 0; k < UNIFORM_OWN; k++) {
        uint32_t i = threadIdx.x + k * blockDim.x;
        if (i < s.d) f(k, i);
    }
}

/* n rows of a group, the first ones of it or more. */
__device__ inline void uniform_widen(const page_shape &s, const float *y, uint32_t n, bool first, uniform_own &own)
{
    uniform_each(s, [&](uint32_t k, uint32_t i) {
        if (first) own.lo[k] = own.hi[k] = y[i];
        uniform_extremes(y + i, n, s.d, own.lo[k], own.hi[k]);
    });
}

/* Writes the scales and minima of the group, which begin behind the codes of the block. */
__device__ inline void uniform_scales(const page_shape &s, uint32_t group, uint8_t *block, uniform_own &own)
{
    __half *scales = (__half *)(block + s.code_bytes) + group * s.n_kept;
    __half *minima = scales + s.page / s.group * s.n_kept;
    uniform_each(s, [&](uint32_t k, uint32_t i) {
        uniform_channel c = uniform_channel_of(s, i);
        if (c.bits == 0) return;
        uniform_scale chosen = uniform_choose(own.lo[k], own.hi[k], c.bits);
        scales[c.kept] = chosen.scale, minima[c.kept] = chosen.minimum;
        own.scale[k] = __half2float(chosen.scale), own.minimum[k] = __half2float(chosen.minimum);
    });
}

/* Codes take the places of n rows of values. */
__device__ inline void uniform_quantise(const page_shape &s, float *y, uint32_t n, const uniform_own &own)
{
    uniform_each(s, [&](uint32_t k, uint32_t i) {
        uint32_t bits = uniform_channel_of(s, i).bits;
        if (bits) uniform_replace(y + i, n, s.d, own.scale[k], own.minimum[k], bits);
    });
}
#endif
