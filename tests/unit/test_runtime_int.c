/* Codecs int and fp16: the bytes and values that FORMAT.md says, error bounds, and inputs at the edges. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check_main.h"
#include "kvc/codec.h"

static const uint32_t widths[] = {1, 2, 3, 4, 6, 8};
static const uint32_t dims[] = {8, 64, 80, 96, 128, 256, 512};

typedef struct bench {
    kvc_coder coder;
    float *rows, *decoded, *work;
    uint8_t *block, *expected;
} bench;

static bench bench_new(const char *spec, uint32_t d, uint32_t page)
{
    bench b;
    kvc_codec codec;
    kvc_error err = {""};
    ck_assert_msg(kvc_codec_parse(&codec, spec, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(kvc_coder_init(&b.coder, &codec, NULL, 1, d, page, &err) == KVC_OK, "%s: %s", spec, err.message);
    b.rows = malloc((size_t)page * d * sizeof *b.rows);
    b.decoded = malloc((size_t)page * d * sizeof *b.decoded);
    b.work = malloc(kvc_coder_work(&b.coder) * sizeof *b.work);
    b.block = aligned_alloc(16, b.coder.block_bytes);
    b.expected = aligned_alloc(16, b.coder.block_bytes);
    memset(b.block, 0xee, b.coder.block_bytes);
    return b;
}

static void bench_free(bench *b)
{
    free(b->rows);
    free(b->decoded);
    free(b->work);
    free(b->block);
    free(b->expected);
}

static void encode_decode(bench *b)
{
    kvc_coder_encode(&b->coder, 0, b->rows, b->coder.head_dim, b->block, b->work);
    kvc_coder_decode(&b->coder, 0, b->block, b->decoded, b->coder.head_dim, b->work);
}

static float random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

/* Rows whose groups differ in size and place, by a factor of up to 2^20. */
static void fill(bench *b, uint64_t seed)
{
    uint32_t d = b->coder.head_dim;
    for (uint32_t i = 0; i < b->coder.page * d; i++)
        b->rows[i] = ldexpf(random_value(&seed), (int)(i % d % 5) * 5 - 12) + (float)(i / d % 4);
}

/* ---- FORMAT.md, spelled out one value at a time ---- */

static uint32_t group_of(const kvc_coder *c, uint32_t t, uint32_t i)
{
    uint32_t g = c->codec.group, d = c->head_dim;
    return c->codec.scale == KVC_SCALE_TOK ? t * (d / g) + i / g : t / g * d + i;
}

static void put_bits(uint8_t *plane, uint32_t d, uint32_t w, uint32_t t, uint32_t i, uint32_t bits)
{
    uint32_t n = d * w / 8;
    plane[t * n + i % n] |= (uint8_t)(bits << (i / n * w));
}

static void put_code(uint8_t *block, const kvc_coder *c, uint32_t t, uint32_t i, uint32_t code)
{
    uint32_t d = c->head_dim, b = c->codec.bits, low = b == 3 ? 2 : b == 6 ? 4 : b;
    put_bits(block, d, low, t, i, code & ((1u << low) - 1));
    if (low < b) put_bits(block + c->page * d * low / 8, d, b - low, t, i, code >> low);
}

static uint16_t half_of(double x, int up)
{
    return up ? kvc_fp16_from_float_up((float)x) : kvc_fp16_from_float_down((float)x);
}

/* The expected block and decoded rows. */
static void format_md(bench *b, float *decoded)
{
    const kvc_coder *c = &b->coder;
    uint32_t d = c->head_dim, n_groups = c->page * d / c->codec.group, top = (1u << c->codec.bits) - 1;
    float *lo = malloc(n_groups * sizeof *lo), *hi = malloc(n_groups * sizeof *hi);
    memset(b->expected, 0, c->block_bytes);
    uint16_t *scales = (uint16_t *)(b->expected + c->code_bytes), *minima = scales + n_groups;
    for (uint32_t g = 0; g < n_groups; g++) lo[g] = INFINITY, hi[g] = -INFINITY;
    for (uint32_t t = 0; t < c->page; t++)
        for (uint32_t i = 0; i < d; i++) {
            uint32_t g = group_of(c, t, i);
            lo[g] = fminf(lo[g], b->rows[t * d + i]);
            hi[g] = fmaxf(hi[g], b->rows[t * d + i]);
        }
    for (uint32_t g = 0; g < n_groups; g++) {
        minima[g] = half_of(lo[g], 0);
        scales[g] = half_of((hi[g] - kvc_fp16_to_float(minima[g])) / (float)top, 1);
    }
    for (uint32_t t = 0; t < c->page; t++)
        for (uint32_t i = 0; i < d; i++) {
            uint32_t g = group_of(c, t, i);
            float s = kvc_fp16_to_float(scales[g]), m = kvc_fp16_to_float(minima[g]);
            float steps = s > 0 ? rintf((b->rows[t * d + i] - m) / s) : 0;
            uint32_t code = steps > (float)top ? top : (uint32_t)steps;
            put_code(b->expected, c, t, i, code);
            decoded[t * d + i] = m + s * (float)code;
        }
    free(lo);
    free(hi);
}

static void check_against_format_md(const char *spec, uint32_t d, uint32_t page)
{
    bench b = bench_new(spec, d, page);
    float *decoded = malloc((size_t)page * d * sizeof *decoded);
    fill(&b, d * 31 + page);
    format_md(&b, decoded);
    encode_decode(&b);
    ck_assert_msg(memcmp(b.block, b.expected, b.coder.block_bytes) == 0, "%s, head %u: block differs", spec, d);
    ck_assert_msg(memcmp(b.decoded, decoded, (size_t)page * d * sizeof *decoded) == 0, "%s, head %u: rows differ",
                  spec, d);
    free(decoded);
    bench_free(&b);
}

START_TEST(int__bytes_and_values_are_those_of_format_md)
{
    char spec[32];
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            static const char *const scales[] = {"tok", "tok8", "ch", "ch8"};
            for (size_t k = 0; k < 4; k++) {
                snprintf(spec, sizeof spec, "int%u.%s", widths[w], scales[k]);
                check_against_format_md(spec, dims[i], 64);
            }
        }
    check_against_format_md("int3.tok16", 80, 8);
    check_against_format_md("int6.ch32", 96, 96);
}
END_TEST

/* |x - x^| <= scale / 2 and a few roundings, scale as it is stored. */
static void check_bound(bench *b)
{
    const kvc_coder *c = &b->coder;
    uint32_t d = c->head_dim;
    encode_decode(b);
    const uint16_t *scales = (const uint16_t *)(b->block + c->code_bytes);
    for (uint32_t t = 0; t < c->page; t++)
        for (uint32_t i = 0; i < d; i++) {
            float x = b->rows[t * d + i], got = b->decoded[t * d + i];
            float s = kvc_fp16_to_float(scales[group_of(c, t, i)]);
            if (!(fabsf(x - got) <= 0.5f * s + 4.0f * 0x1p-23f * fmaxf(fabsf(x), s * 255)))
                ck_abort_msg("%g became %g, scale %g", x, got, s);
        }
}

START_TEST(int__error_is_at_most_half_a_scale)
{
    char spec[32];
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int k = 0; k < 6; k++) {
            static const char *const scales[] = {"tok", "tok16", "tok32", "ch", "ch16", "ch32"};
            snprintf(spec, sizeof spec, "int%u.%s", widths[w], scales[k]);
            bench b = bench_new(spec, 64, 64);
            for (uint64_t seed = 1; seed < 6; seed++) {
                fill(&b, seed);
                check_bound(&b);
            }
            bench_free(&b);
        }
}
END_TEST

START_TEST(int__edges_of_fp16_stay_finite)
{
    char spec[32];
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int k = 0; k < 2; k++) {
            snprintf(spec, sizeof spec, "int%u.%s", widths[w], k ? "tok+had" : "ch");
            bench b = bench_new(spec, 64, 64);
            for (uint32_t i = 0; i < 64 * 64; i++) b.rows[i] = i % 3 ? 3e38f : -3e38f; /* clamped to +-65504 first */
            encode_decode(&b);
            for (uint32_t i = 0; i < 64 * 64; i++) {
                float off = fabsf(b.decoded[i] - (i % 3 ? 65504.0f : -65504.0f));
                if (!isfinite(b.decoded[i])) ck_abort_msg("%s: not finite", spec);
                if (!k && widths[w] > 1 && off >= 256.0f) ck_abort_msg("%s: off by %g", spec, off);
            }
            bench_free(&b);
        }
}
END_TEST

START_TEST(int__constant_groups_are_exact)
{
    static const float constants[] = {0.0f, 1.0f, -2.5f, 65504.0f, -65504.0f, 0x1p-24f, -0x1p-24f};
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++) {
        bench b = bench_new("int4.ch", 64, 64);
        for (uint32_t k = 0; k < 64 * 64; k++) b.rows[k] = constants[i];
        encode_decode(&b);
        for (uint32_t k = 0; k < 64 * 64; k++)
            if (b.block[k / 2] != 0 || b.decoded[k] != constants[i]) ck_abort_msg("%g is not kept", constants[i]);
        bench_free(&b);
    }
}
END_TEST

START_TEST(int__zeros_of_either_sign_give_the_same_block)
{
    bench b = bench_new("int4.tok", 64, 8);
    for (uint32_t k = 0; k < 64 * 8; k++) b.rows[k] = k % 2 ? -0.0f : 0.0f;
    encode_decode(&b);
    for (uint32_t k = 0; k < b.coder.block_bytes; k++) ck_assert_uint_eq(b.block[k], 0);
    bench_free(&b);
}
END_TEST

START_TEST(int__values_that_fp16_lacks_and_denormals_keep_their_bound)
{
    static const float factors[] = {1e-40f, 1e-30f, 3e-8f, 1e-7f, 1e-5f};
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            char spec[32];
            uint64_t seed = 3;
            snprintf(spec, sizeof spec, "int%u.tok", widths[w]);
            bench b = bench_new(spec, 64, 8);
            for (uint32_t k = 0; k < 64 * 8; k++)
                b.rows[k] = factors[i] * random_value(&seed) + (k / 64 % 2 ? 0.1f : 0.0f);
            check_bound(&b);
            bench_free(&b);
        }
}
END_TEST

START_TEST(int__encoding_decoded_rows_again_moves_them_little)
{
    bench b = bench_new("int4.ch32", 64, 64);
    fill(&b, 9);
    encode_decode(&b);
    memcpy(b.rows, b.decoded, 64 * 64 * sizeof *b.rows);
    check_bound(&b);
    bench_free(&b);
}
END_TEST

START_TEST(fp16__keeps_what_fp16_can_say)
{
    bench b = bench_new("fp16", 80, 16);
    fill(&b, 5);
    encode_decode(&b);
    for (uint32_t i = 0; i < 80 * 16; i++)
        ck_assert(b.decoded[i] == kvc_fp16_to_float(kvc_fp16_from_float(b.rows[i])));
    for (uint32_t i = 0; i < 80 * 16; i++) b.rows[i] = i % 2 ? 1e30f : -1e30f;
    encode_decode(&b);
    for (uint32_t i = 0; i < 80 * 16; i++) ck_assert(b.decoded[i] == (i % 2 ? 65504.0f : -65504.0f));
    bench_free(&b);
}
END_TEST

START_TEST(encode__strides_over_rows)
{
    bench b = bench_new("int4.tok", 64, 8), wide = bench_new("int4.tok", 64, 8);
    float strided[8 * 192], back[8 * 192];
    fill(&b, 2);
    for (int t = 0; t < 8; t++)
        for (int i = 0; i < 192; i++) strided[t * 192 + i] = i < 64 ? b.rows[t * 64 + i] : 1e9f;
    encode_decode(&b);
    kvc_coder_encode(&wide.coder, 0, strided, 192, wide.block, wide.work);
    ck_assert_int_eq(memcmp(b.block, wide.block, b.coder.block_bytes), 0);
    for (int i = 0; i < 8 * 192; i++) back[i] = -7.0f;
    kvc_coder_decode(&wide.coder, 0, wide.block, back, 192, wide.work);
    for (int t = 0; t < 8; t++)
        for (int i = 0; i < 192; i++) ck_assert(back[t * 192 + i] == (i < 64 ? b.decoded[t * 64 + i] : -7.0f));
    bench_free(&b);
    bench_free(&wide);
}
END_TEST

CHECK_MAIN("int", int__bytes_and_values_are_those_of_format_md, int__error_is_at_most_half_a_scale,
           int__edges_of_fp16_stay_finite, int__constant_groups_are_exact,
           int__zeros_of_either_sign_give_the_same_block, int__values_that_fp16_lacks_and_denormals_keep_their_bound,
           int__encoding_decoded_rows_again_moves_them_little, fp16__keeps_what_fp16_can_say,
           encode__strides_over_rows)
