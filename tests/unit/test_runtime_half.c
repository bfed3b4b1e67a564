/* Conversions of fp16 and bfloat16 against the compiler's own _Float16 and against their definitions. */
#include <math.h>
#include <string.h>
#include "check_main.h"
#include "kvc/codec.h"

static float reference_value(uint16_t h)
{
    _Float16 x;
    memcpy(&x, &h, sizeof x);
    return (float)x;
}

static uint16_t reference_bits(float x)
{
    _Float16 h = (_Float16)x;
    uint16_t bits;
    memcpy(&bits, &h, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static int same(float a, float b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

START_TEST(fp16_to_float__equals_compiler_for_all_values)
{
    static uint16_t halves[65536];
    static float floats[65536];
    uint32_t n_wrong = 0; /* one check for all: Check is slow in loops of millions */
    for (uint32_t i = 0; i < 65536; i++) halves[i] = (uint16_t)i;
    for (uint32_t i = 0; i < 65536; i++) n_wrong += !same(kvc_fp16_to_float(halves[i]), reference_value(halves[i]));
    kvc_rows_to_float(halves, KVC_F16, 65533, floats); /* vectors and a rest */
    for (uint32_t i = 0; i < 65533; i++) n_wrong += !same(floats[i], reference_value((uint16_t)i));
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

/* Every fp16 number, the midpoint to its neighbour, and the floats on both sides of either. */
START_TEST(fp16_from_float__rounds_to_nearest_even)
{
    uint32_t n_wrong = 0;
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = reference_value((uint16_t)h), high = h == 0x7bff ? 65536.0f : reference_value((uint16_t)(h + 1));
        float points[] = {low, low + (high - low) * 0.5f};
        for (int i = 0; i < 2; i++) {
            for (int sign = 0; sign < 2; sign++) {
                float x = sign ? -points[i] : points[i];
                float near[] = {x, nextafterf(x, INFINITY), nextafterf(x, -INFINITY)};
                for (int k = 0; k < 3; k++) {
                    uint16_t want = reference_bits(near[k]);
                    if ((want & 0x7fff) == 0x7c00) want -= 1; /* saturates instead */
                    n_wrong += kvc_fp16_from_float(near[k]) != want;
                }
            }
        }
    }
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

START_TEST(fp16_from_float__random_bits_equal_compiler)
{
    uint32_t bits = 1, n_wrong = 0;
    for (int i = 0; i < 3000000; i++) {
        bits = bits * 1664525u + 1013904223u;
        float x = float_of(bits), clamped = fminf(fmaxf(x, -65504.0f), 65504.0f);
        if (!isfinite(x)) continue;
        n_wrong += kvc_fp16_from_float(x) != reference_bits(clamped);
    }
    ck_assert_uint_eq(n_wrong, 0);
}
END_TEST

START_TEST(fp16_from_float__saturates_and_keeps_specials)
{
    ck_assert_uint_eq(kvc_fp16_from_float(3e38f), 0x7bff);
    ck_assert_uint_eq(kvc_fp16_from_float(-3e38f), 0xfbff);
    ck_assert_uint_eq(kvc_fp16_from_float(INFINITY), 0x7c00);
    ck_assert_uint_eq(kvc_fp16_from_float(-INFINITY), 0xfc00);
    ck_assert(isnan(kvc_fp16_to_float(kvc_fp16_from_float(NAN))));
    ck_assert_uint_eq(kvc_fp16_from_float(-0.0f), 0x8000);
}
END_TEST

/* down(x) <= x <= up(x), and both are the nearest such numbers. */
START_TEST(fp16_from_float_down_up__bracket_their_argument)
{
    uint32_t bits = 7, n_wrong = 0;
    for (int i = 0; i < 2000000; i++) {
        bits = bits * 1664525u + 1013904223u;
        float x = float_of(bits);
        if (!isfinite(x) || fabsf(x) > 65504.0f) continue;
        float down = kvc_fp16_to_float(kvc_fp16_from_float_down(x)),
              up = kvc_fp16_to_float(kvc_fp16_from_float_up(x));
        float nearest = kvc_fp16_to_float(kvc_fp16_from_float(x));
        n_wrong += !(down <= x && x <= up) || (nearest != down && nearest != up);
        n_wrong += down == up ? down != x : up - down > fmaxf(fabsf(x) * 0x1p-10f, 0x1p-24f) * 1.0001f;
    }
    ck_assert_uint_eq(n_wrong, 0);
    ck_assert_uint_eq(kvc_fp16_from_float_down(1e-30f), 0x0000);
    ck_assert_uint_eq(kvc_fp16_from_float_up(1e-30f), 0x0001);
    ck_assert_uint_eq(kvc_fp16_from_float_down(-1e-30f), 0x8001);
    ck_assert_uint_eq(kvc_fp16_from_float_down(-1e9f), 0xfbff);
    ck_assert_uint_eq(kvc_fp16_from_float_up(1e9f), 0x7bff);
}
END_TEST

START_TEST(rows__convert_like_single_values)
{
    enum { N = 1003 };
    static float src[N], back[N];
    static uint16_t halves[N], bfloats[N];
    for (int i = 0; i < N; i++) {
        src[i] = ldexpf((float)(i * 37 % 101) - 50.0f, i % 60 - 40);
        uint32_t bits;
        memcpy(&bits, &src[i], sizeof bits);
        bfloats[i] = (uint16_t)(bits >> 16);
    }
    kvc_rows_to_fp16(src, N, halves);
    for (int i = 0; i < N; i++) ck_assert_uint_eq(halves[i], kvc_fp16_from_float(src[i]));
    kvc_rows_to_float(bfloats, KVC_BF16, N, back);
    for (int i = 0; i < N; i++) ck_assert(same(back[i], float_of((uint32_t)bfloats[i] << 16)));
    kvc_rows_to_float(src, KVC_F32, N, back);
    ck_assert_int_eq(memcmp(src, back, sizeof src), 0);
}
END_TEST

CHECK_MAIN("half", fp16_to_float__equals_compiler_for_all_values, fp16_from_float__rounds_to_nearest_even,
           fp16_from_float__random_bits_equal_compiler, fp16_from_float__saturates_and_keeps_specials,
           fp16_from_float_down_up__bracket_their_argument, rows__convert_like_single_values)
