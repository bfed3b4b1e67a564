/* half.h - IEEE binary16 and bfloat16 in integer arithmetic, without branches so that loops over rows
 * vectorise. */
#ifndef RUNTIME_CODEC_HALF_H
#define RUNTIME_CODEC_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t half_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float half_value(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float half_to_float(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu, sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t rebias = magnitude >= 0x7c00u ? 224u << 23 : 112u << 23; /* infinity and NaN keep an all-ones exponent */
    uint32_t normal = (magnitude << 13) + rebias;
    uint32_t subnormal = half_bits((float)(int32_t)magnitude * 0x1p-24f);
    return half_value((magnitude < 0x400u ? subnormal : normal) | sign);
}

/* Round to nearest even; finite values beyond the range become +-65504. */
static inline uint16_t half_from_float(float x)
{
    uint32_t u = half_bits(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    uint32_t finite = magnitude < 0x477fe000u ? magnitude : 0x477fe000u;
    uint32_t normal = (finite + 0xfffu + ((finite >> 13) & 1u) - (112u << 23)) >> 13;
    /* One unit in the last place of [0.5, 1) is the smallest subnormal: the addition rounds for us. */
    uint32_t subnormal = half_bits(half_value(finite) + 0.5f) - half_bits(0.5f);
    uint32_t h = finite < 0x38800000u ? subnormal : normal;
    h = magnitude >= 0x7f800000u ? (magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u) : h;
    return (uint16_t)(h | sign);
}

static inline float bfloat_to_float(uint16_t b)
{
    return half_value((uint32_t)b << 16);
}

#endif
