/* Codec seg: the bytes and values that FORMAT.md says, parts of pages, and what is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "check_main.h"
#include "codec/pieces.h"
#include "kvc/codec.h"

enum { HEADS = 2 };

typedef struct rig {
    kvc_coder coder;
    uint16_t *tables; /* [H][kept channels][2^b], NULL for scale ch */
    float *rows, *decoded, *work;
    uint8_t *block;
} rig;

static float random_value(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

static rig rig_new(const char *spec, uint32_t d, uint32_t page)
{
    rig r = {.tables = NULL};
    kvc_codec codec;
    kvc_error err = {""};
    uint64_t seed = d + page;
    ck_assert_msg(kvc_codec_parse(&codec, spec, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(kvc_coder_init(&r.coder, &codec, NULL, HEADS, d, page, &err) == KVC_OK, "%s", err.message);
    size_t n = kvc_coder_part_bytes(&r.coder, 4), size = r.coder.codec.param_bytes;
    if (n) {
        r.tables = aligned_alloc(64, (size + 63) / 64 * 64);
        for (size_t i = 0; i < n / 2; i++) r.tables[i] = kvc_fp16_from_float(2.0f * random_value(&seed));
        ck_assert(kvc_coder_init(&r.coder, &codec, r.tables, HEADS, d, page, &err) == KVC_OK);
    }
    r.rows = malloc((size_t)page * d * sizeof *r.rows);
    r.decoded = malloc((size_t)page * d * sizeof *r.decoded);
    r.work = malloc(kvc_coder_work(&r.coder) * sizeof *r.work);
    r.block = aligned_alloc(16, r.coder.block_bytes);
    memset(r.block, 0xee, r.coder.block_bytes);
    for (uint32_t i = 0; i < page * d; i++)
        r.rows[i] = ldexpf(random_value(&seed), n ? 1 : (int)(i % d % 5) * 4 - 9) + (n ? 0.0f : (float)(i / d % 4));
    return r;
}

static void rig_free(rig *r)
{
    free(r->tables);
    free(r->rows);
    free(r->decoded);
    free(r->work);
    free(r->block);
}

static void encode_decode(rig *r, uint32_t head)
{
    kvc_coder_encode(&r->coder, head, r->rows, r->coder.head_dim, r->block, r->work);
    kvc_coder_decode(&r->coder, head, r->block, r->decoded, r->coder.head_dim, r->work);
}

/* ---- FORMAT.md, spelled out one value at a time ---- */

typedef struct expected {
    uint8_t *block;
    float *decoded;
    uint16_t *scales, *minima;
} expected;

static uint32_t bits_of(const kvc_coder *c, uint32_t channel)
{
    return c->codec.segment[channel / (c->head_dim / 8)];
}

/* The planes of the eighth of a channel begin behind those of the eighths before it. */
static void put_code(const kvc_coder *c, uint8_t *block, uint32_t t, uint32_t channel, uint32_t code)
{
    uint32_t m = c->head_dim / 8, bits = bits_of(c, channel), field = t * m + channel % m;
    for (uint32_t e = 0; e < channel / m; e++) block += c->page * m / 8 * c->codec.segment[e];
    for (uint32_t width = 8; width; width /= 2) {
        if (!(bits & width)) continue;
        block[field * width / 8] |= (uint8_t)((code & ((1u << width) - 1)) << (field * width % 8));
        block += c->page * m / 8 * width;
        code >>= width;
    }
}

static uint32_t nearest_entry(const uint16_t *table, uint32_t n, float y)
{
    uint32_t best = 0;
    for (uint32_t e = 1; e < n; e++)
        if (fabsf(y - kvc_fp16_to_float(table[e])) < fabsf(y - kvc_fp16_to_float(table[best]))) best = e;
    return best;
}

/* One channel in the page, scale static. */
static void expect_static(const rig *r, expected *x, uint32_t channel, const uint16_t *table)
{
    uint32_t d = r->coder.head_dim;
    for (uint32_t t = 0; t < r->coder.page; t++) {
        uint32_t code = nearest_entry(table, 1u << bits_of(&r->coder, channel), r->rows[t * d + channel]);
        put_code(&r->coder, x->block, t, channel, code);
        x->decoded[t * d + channel] = kvc_fp16_to_float(table[code]);
    }
}

/* One channel in the page, scale ch; it is kept channel number `kept` of n. */
static void expect_ch(const rig *r, expected *x, uint32_t channel, uint32_t kept, uint32_t n)
{
    uint32_t d = r->coder.head_dim, group = r->coder.codec.group, top = (1u << bits_of(&r->coder, channel)) - 1;
    for (uint32_t first = 0; first < r->coder.page; first += group) {
        float lo = INFINITY, hi = -INFINITY;
        for (uint32_t t = first; t < first + group; t++) {
            lo = fminf(lo, r->rows[t * d + channel]);
            hi = fmaxf(hi, r->rows[t * d + channel]);
        }
        uint16_t minimum = kvc_fp16_from_float_down(lo);
        uint16_t scale = kvc_fp16_from_float_up((hi - kvc_fp16_to_float(minimum)) / (float)top);
        x->scales[first / group * n + kept] = scale;
        x->minima[first / group * n + kept] = minimum;
        float s = kvc_fp16_to_float(scale), m = kvc_fp16_to_float(minimum);
        for (uint32_t t = first; t < first + group; t++) {
            float steps = s > 0 ? rintf((r->rows[t * d + channel] - m) / s) : 0;
            uint32_t code = steps > (float)top ? top : (uint32_t)steps;
            put_code(&r->coder, x->block, t, channel, code);
            x->decoded[t * d + channel] = m + s * (float)code;
        }
    }
}

static void check_against_format_md(const char *spec, uint32_t d, uint32_t page, uint32_t head)
{
    rig r = rig_new(spec, d, page);
    uint32_t n = 0, code_bits = 0, kept = 0;
    size_t values = 0;
    for (uint32_t i = 0; i < d; i++) {
        n += bits_of(&r.coder, i) > 0;
        code_bits += bits_of(&r.coder, i);
        values += bits_of(&r.coder, i) ? (size_t)1 << bits_of(&r.coder, i) : 0;
    }
    uint32_t code_bytes = (page * code_bits / 8 + 1) / 2 * 2;
    uint32_t n_scales = r.tables ? 0 : page / r.coder.codec.group * n;
    ck_assert_uint_eq(r.coder.block_bytes, (code_bytes + 4 * n_scales + 15) / 16 * 16);
    expected x = {.block = calloc(1, r.coder.block_bytes), .decoded = calloc((size_t)page * d, sizeof(float))};
    x.scales = (uint16_t *)(x.block + code_bytes);
    x.minima = x.scales + n_scales;
    const uint16_t *table = r.tables ? r.tables + head * values : NULL;
    for (uint32_t i = 0; i < d; i++) {
        if (bits_of(&r.coder, i) == 0) continue;
        if (table) {
            expect_static(&r, &x, i, table);
            table += 1u << bits_of(&r.coder, i);
        } else {
            expect_ch(&r, &x, i, kept++, n);
        }
    }
    encode_decode(&r, head);
    ck_assert_msg(memcmp(r.block, x.block, r.coder.block_bytes) == 0, "%s, head %u: block differs", spec, d);
    ck_assert_msg(memcmp(r.decoded, x.decoded, (size_t)page * d * sizeof *x.decoded) == 0, "%s, head %u: rows differ",
                  spec, d);
    free(x.block);
    free(x.decoded);
    rig_free(&r);
}

START_TEST(seg__bytes_and_values_are_those_of_format_md)
{
    static const char *const bits[] = {"8,4,2,1,1,0,0,0", "0,1,2,3,4,5,6,7", "5,5,5,5,5,5,5,5", "3,0,0,0,0,0,0,0",
                                       "0,0,0,0,0,0,0,1"};
    static const char *const scales[] = {"static", "ch", "ch8", "ch16"};
    static const uint32_t dims[] = {8, 64, 72, 80, 128, 512};
    char spec[64];
    for (size_t b = 0; b < 5; b++)
        for (size_t s = 0; s < 4; s++)
            for (size_t i = 0; i < 6; i++) {
                snprintf(spec, sizeof spec, "seg[%s].%s", bits[b], scales[s]);
                check_against_format_md(spec, dims[i], 64, i % HEADS);
                if (s != 3) check_against_format_md(spec, dims[i], 8, 1);
                if (i == 0) check_against_format_md(spec, dims[i], 1024, 0);
            }
}
END_TEST

/* Eight tokens, channels of 3, 2, 0, 1, 5, 0, 0, 0 bits; kept channel c of token t has code (3 t + c) mod 2^b. */
START_TEST(seg__golden_block_decodes)
{
    _Alignas(16) static const uint8_t block[32] = {
        0x6c, 0x6c, 0xb4,                               /* channel 0: low two bits, high bit */
        0xb1, 0xb1,                                     /* channel 1 */
        0x55,                                           /* channel 3 */
        0x74, 0xda, 0x30, 0x96, 0xf0,                   /* channel 4: low four bits, high bit */
        0x00,                                           /* an even number of bytes */
        0x00, 0x38, 0x00, 0x3c, 0x00, 0x40, 0x00, 0x34, /* scales .5, 1, 2, .25 */
        0x00, 0xbc, 0x00, 0x00, 0x00, 0x42, 0x00, 0x49, /* minima -1, 0, 3, 10 */
    };
    static const float scales[] = {.5f, 1.0f, 0.0f, 2.0f, .25f, 0.0f, 0.0f, 0.0f};
    static const float minima[] = {-1.0f, 0.0f, 0.0f, 3.0f, 10.0f, 0.0f, 0.0f, 0.0f};
    static const uint32_t levels[] = {8, 4, 1, 2, 32, 1, 1, 1};
    kvc_codec codec;
    kvc_coder coder;
    float y[8][8];
    ck_assert(kvc_codec_parse(&codec, "seg[3,2,0,1,5,0,0,0].ch", NULL) == KVC_OK);
    ck_assert(kvc_coder_init(&coder, &codec, NULL, 1, 8, 8, NULL) == KVC_OK);
    ck_assert_uint_eq(coder.block_bytes, sizeof block);
    ck_assert_uint_eq(coder.code_bytes, 12);
    kvc_coder_decode_latent(&coder, 0, block, *y);
    for (uint32_t t = 0; t < 8; t++)
        for (uint32_t i = 0; i < 8; i++)
            ck_assert(y[t][i] == minima[i] + scales[i] * (float)((3 * t + i) % levels[i]));
}
END_TEST

START_TEST(seg__equal_eighths_are_int)
{
    rig seg = rig_new("seg[3,3,3,3,3,3,3,3].ch16", 80, 64), integer = rig_new("int3.ch16", 80, 64);
    memcpy(integer.rows, seg.rows, sizeof(float) * 80 * 64);
    encode_decode(&seg, 0);
    encode_decode(&integer, 0);
    ck_assert_uint_eq(seg.coder.block_bytes, integer.coder.block_bytes);
    ck_assert_mem_eq(seg.decoded, integer.decoded, sizeof(float) * 80 * 64);
    rig_free(&seg);
    rig_free(&integer);
}
END_TEST

START_TEST(seg__parts_of_a_page_are_those_of_the_page)
{
    static const char *const specs[] = {"seg[8,4,2,1,1,0,0,0].ch16", "seg[7,5,3,0,1,0,2,0].static"};
    for (size_t s = 0; s < 2; s++) {
        rig r = rig_new(specs[s], 72, 64);
        float part[64 * 72];
        encode_decode(&r, 1);
        for (uint32_t first = 0; first < 64; first++)
            for (uint32_t n = 1; first + n <= 64; n += 1 + n / 3) {
                memset(part, 0x7f, sizeof part);
                kvci_coder_decode_rows(&r.coder, 1, r.block, first, n, part);
                ck_assert_mem_eq(part, r.decoded + first * 72, n * 72 * sizeof *part);
            }
        rig_free(&r);
    }
}
END_TEST

START_TEST(seg__extreme_rows_stay_finite)
{
    static const char *const specs[] = {"seg[8,4,2,1,1,1,1,0].ch8", "seg[8,4,2,1,1,0,0,0].static"};
    static const float values[] = {3e38f, -3e38f, 1e-40f, -0.0f, 65504.0f, 6e-8f, 0.0f};
    for (size_t s = 0; s < 2; s++) {
        rig r = rig_new(specs[s], 64, 64);
        for (uint32_t i = 0; i < 64 * 64; i++) r.rows[i] = values[(i * 7 + i / 64) % 7];
        encode_decode(&r, 0);
        for (uint32_t i = 0; i < 64 * 64; i++) ck_assert(isfinite(r.decoded[i]));
        rig_free(&r);
    }
}
END_TEST

START_TEST(seg__spec_is_read_and_written)
{
    static const char spec[] = "seg[8,4,2,1,1,0,0,0].ch64+klt";
    kvc_codec codec;
    char back[KVC_SPEC_MAX];
    ck_assert(kvc_codec_parse(&codec, spec, NULL) == KVC_OK);
    ck_assert_uint_eq(codec.bits, 8);
    ck_assert_uint_eq(kvc_codec_since(&codec), 1001);
    kvc_codec_format(&codec, back);
    ck_assert_str_eq(back, spec);
}
END_TEST

START_TEST(seg__refuses_what_it_cannot_do)
{
    static const char *const specs[][2] = {{"seg[0,0,0,0,0,0,0,0].ch", "drops every channel"},
                                           {"seg[1,1,1,1,1,1,1,1]", "needs a scale"},
                                           {"seg[1,1,1,1,1,1,1,1].tok", "needs a scale"},
                                           {"seg[1,1,1,1,1,1,1,1].head", "needs a scale"}};
    kvc_codec codec;
    kvc_coder coder;
    kvc_error err;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ck_assert_msg(kvc_codec_parse(&codec, specs[i][0], &err) == KVC_FORMAT, "%s", specs[i][0]);
        ck_assert_msg(strstr(err.message, specs[i][1]) != NULL, "%s", err.message);
    }
    ck_assert(kvc_codec_parse(&codec, "seg[4,2,0,0,0,0,0,0].ch", NULL) == KVC_OK);
    kvc_codec wrong[4] = {codec, codec, codec, codec};
    wrong[0].bits = 3;
    wrong[1].segment[7] = 9;
    wrong[1].bits = 9;
    wrong[2].dims = 2;
    wrong[3].group = 0, wrong[3].scale = KVC_SCALE_STATIC, wrong[3].param_bytes = 16;
    for (size_t i = 0; i < 4; i++)
        ck_assert_msg(kvc_coder_init(&coder, &wrong[i], NULL, 1, 64, 64, &err) != KVC_OK, "%zu", i);
    ck_assert_ptr_nonnull(strstr(err.message, "16 bytes of parameters"));
}
END_TEST

START_TEST(seg__tables_must_be_finite)
{
    kvc_codec codec;
    kvc_coder coder;
    kvc_error err;
    _Alignas(64) uint16_t tables[2][8 * (16 + 4)] = {{0}};
    ck_assert(kvc_codec_parse(&codec, "seg[4,2,0,0,0,0,0,0].static", NULL) == KVC_OK);
    ck_assert(kvc_coder_init(&coder, &codec, tables, 2, 64, 64, &err) == KVC_OK);
    ck_assert_uint_eq(coder.codec.param_bytes, sizeof tables);
    tables[1][159] = 0x7c00;
    ck_assert(kvc_coder_init(&coder, &codec, tables, 2, 64, 64, &err) == KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(err.message, "table value 319"));
}
END_TEST

CHECK_MAIN("seg", seg__bytes_and_values_are_those_of_format_md, seg__golden_block_decodes, seg__equal_eighths_are_int,
           seg__parts_of_a_page_are_those_of_the_page, seg__extreme_rows_stay_finite, seg__spec_is_read_and_written,
           seg__refuses_what_it_cannot_do, seg__tables_must_be_finite)
