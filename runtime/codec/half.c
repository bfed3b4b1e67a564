/* half.c - the exported conversions; half.h has the arithmetic. */
#include "codec/half.h"
#include "kvc/codec.h"
#include "simd.h"

uint16_t kvc_fp16_from_float(float x)
{
    return half_from_float(x);
}

float kvc_fp16_to_float(uint16_t h)
{
    return half_to_float(h);
}

static uint16_t next_towards(uint16_t h, int up)
{
    if ((h & 0x7fffu) == 0) return up ? 0x0001u : 0x8001u;
    int away_from_zero = (h & 0x8000u) ? !up : up;
    uint16_t next = away_from_zero ? h + 1u : h - 1u;
    return (next & 0x7fffu) < 0x7c00u ? next : h; /* saturate, never infinity */
}

uint16_t kvc_fp16_from_float_down(float x)
{
    uint16_t h = half_from_float(x);
    return half_to_float(h) > x ? next_towards(h, 0) : h;
}

uint16_t kvc_fp16_from_float_up(float x)
{
    uint16_t h = half_from_float(x);
    return half_to_float(h) < x ? next_towards(h, 1) : h;
}

#ifdef KVC_HAS_F16C
/* The machine's own conversion gives the same values eight at a time. */
__attribute__((target("avx,f16c"))) static size_t convert_eights(const uint16_t *src, size_t n, float *dst)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(src + i))));
    return i;
}
#endif

KVC_CLONES static void fp16_to_floats(const uint16_t *restrict src, size_t n, float *restrict dst)
{
    size_t i = 0;
#ifdef KVC_HAS_F16C
    if (kvci_has_f16c()) i = convert_eights(src, n, dst);
#endif
    for (; i < n; i++) dst[i] = half_to_float(src[i]);
}

KVC_CLONES static void bf16_to_floats(const uint16_t *restrict src, size_t n, float *restrict dst)
{
    for (size_t i = 0; i < n; i++) dst[i] = bfloat_to_float(src[i]);
}

void kvc_rows_to_float(const void *src, kvc_dtype dtype, size_t n, float *dst)
{
    switch (dtype) {
    case KVC_F32: memcpy(dst, src, n * sizeof *dst); break;
    case KVC_F16: fp16_to_floats(src, n, dst); break;
    case KVC_BF16: bf16_to_floats(src, n, dst); break;
    }
}

KVC_CLONES static void floats_to_fp16(const float *restrict src, size_t n, uint16_t *restrict dst)
{
    for (size_t i = 0; i < n; i++) dst[i] = half_from_float(src[i]);
}

void kvc_rows_to_fp16(const float *src, size_t n, uint16_t *dst)
{
    floats_to_fp16(src, n, dst);
}
