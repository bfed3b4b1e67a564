/* int.cuh - symbol int: asymmetric uniform codes in bit planes (runtime/codec/int.c has the layout and the
 * arithmetic). One thread per scale group, then one per packed byte; a page lies in shared memory. */
#ifndef KERNELS_CODEC_INT_CUH
#define KERNELS_CODEC_INT_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

struct int_planes {
    uint32_t n, width[2];
};

__device__ inline int_planes int_planes_of(uint32_t bits)
{
    if (bits == 3) return {2, {2, 1}};
    if (bits == 6) return {2, {4, 2}};
    return {1, {bits, 0}};
}

/* Index of the scale of row r, channel i; groups run [P][d / G] (tok) or [P / G][d] (ch). */
__device__ inline uint32_t int_scale_index(const page_shape &s, uint32_t r, uint32_t i)
{
    return s.by_token ? r * (s.d / s.group) + i / s.group : r / s.group * s.d + i;
}

__device__ inline void int_choose_scale(float lo, float hi, float levels, __half *scale, __half *minimum)
{
    *minimum = __float2half_rd(lo + 0.0f);
    float step = (hi - __half2float(*minimum)) / levels + 0.0f;
    __half up = __float2half_ru(step);
    *scale = __hisinf(up) ? __ushort_as_half(0x7bff) : up;
}

__device__ inline void int_scales(const page_shape &s, const float *y, __half *scales, __half *minima)
{
    uint32_t n = s.page * s.d / s.group;
    float levels = (float)((1u << s.bits) - 1u);
    for (uint32_t g = threadIdx.x; g < n; g += blockDim.x) {
        uint32_t first = s.by_token ? g * s.group : g / s.d * s.group * s.d + g % s.d, step = s.by_token ? 1 : s.d;
        float lo = y[first], hi = lo;
        for (uint32_t j = 1; j < s.group; j++) {
            float x = y[first + j * step];
            lo = x < lo ? x : lo;
            hi = x > hi ? x : hi;
        }
        int_choose_scale(lo, hi, levels, &scales[g], &minima[g]);
    }
}

__device__ inline uint32_t int_code(float x, float scale, float minimum, uint32_t top)
{
    float steps = (x - minimum) / (scale > 0.0f ? scale : 1.0f);
    uint32_t code = __float_as_uint(steps + 8388608.0f) & 0x7fffffu;
    return code < top ? code : top;
}

__device__ inline void int_encode_page(const page_shape &s, const float *y, uint8_t *block)
{
    __half *scales = (__half *)(block + s.code_bytes), *minima = scales + s.page * s.d / s.group;
    uint32_t shift = 0, top = (1u << s.bits) - 1u;
    int_scales(s, y, scales, minima);
    __syncthreads(); /* also orders global writes within the block */
    int_planes planes = int_planes_of(s.bits);
    for (uint32_t p = 0; p < planes.n; p++) {
        uint32_t width = planes.width[p], n = s.d * width / 8, mask = (1u << width) - 1u;
        for (uint32_t at = threadIdx.x; at < s.page * n; at += blockDim.x) {
            uint32_t r = at / n, byte = 0;
            for (uint32_t k = 0; k < 8 / width; k++) {
                uint32_t i = at % n + k * n, g = int_scale_index(s, r, i);
                uint32_t code = int_code(y[r * s.d + i], __half2float(scales[g]), __half2float(minima[g]), top);
                byte |= (code >> shift & mask) << (k * width);
            }
            block[at] = (uint8_t)byte;
        }
        block += s.page * n;
        shift += width;
    }
}

__device__ inline void int_decode_page(const page_shape &s, const uint8_t *block, float *y)
{
    const __half *scales = (const __half *)(block + s.code_bytes), *minima = scales + s.page * s.d / s.group;
    int_planes planes = int_planes_of(s.bits);
    for (uint32_t at = threadIdx.x; at < s.page * s.d; at += blockDim.x) {
        uint32_t r = at / s.d, i = at % s.d, g = int_scale_index(s, r, i), code = 0, shift = 0;
        const uint8_t *plane = block;
        for (uint32_t p = 0; p < planes.n; p++) {
            uint32_t width = planes.width[p], n = s.d * width / 8;
            code |= (plane[r * n + i % n] >> (i / n * width) & ((1u << width) - 1u)) << shift;
            plane += s.page * n;
            shift += width;
        }
        y[at] = __half2float(minima[g]) + __half2float(scales[g]) * (float)code;
    }
}
#endif
