/* Symbols vq and lut: the bytes and values that FORMAT.md says, the frame, and constants that must be refused. */
#include <stdio.h>
#include "codec/pieces.h"
#include "codec/table_expand.h"
#include "check_main.h"
#include "params_rig.h"

typedef struct bench {
    kvc_coder coder;
    uint8_t *params;
    size_t n_params;
    float *rows, *decoded, *latent, *work;
    uint8_t *block; /* a page of all heads, or one head's */
} bench;

static bench bench_new(const char *spec, uint32_t heads, uint32_t d, uint32_t page, uint64_t seed)
{
    bench b;
    kvc_codec codec;
    kvc_error err = {""};
    size_t n = (size_t)page * d;
    ck_assert_msg(kvc_codec_parse(&codec, spec, &err) == KVC_OK, "%s", err.message);
    b.params = codec_params(&codec, heads, d, page, seed, &b.n_params);
    ck_assert_msg(kvc_coder_init(&b.coder, &codec, b.params, heads, d, page, &err) == KVC_OK, "%s", err.message);
    b.rows = malloc(n * sizeof *b.rows);
    b.decoded = malloc(n * sizeof *b.decoded);
    b.latent = malloc(n * sizeof *b.latent);
    b.work = malloc(kvc_coder_work(&b.coder) * sizeof *b.work);
    b.block = malloc(b.coder.page_bytes);
    memset(b.block, 0xee, b.coder.page_bytes);
    for (size_t i = 0; i < n; i++) b.rows[i] = 1.5f * params_random(&seed);
    return b;
}

static void bench_free(bench *b)
{
    free(b->params);
    free(b->rows);
    free(b->decoded);
    free(b->latent);
    free(b->work);
    free(b->block);
}

/* ---- FORMAT.md, spelled out one value at a time ---- */

/* The vectors of a row of one head, in the order of its codes, and where the head's codes start in a page. */
typedef struct vectors {
    uint32_t n, kept, dims[512];
    const float *scale;
    const uint16_t *channels[512], *table[512];
    size_t at, bytes;
} vectors;

static void add_vectors(vectors *v, uint32_t n, uint32_t dims, const uint16_t *order, const uint16_t *table,
                        size_t stride)
{
    for (uint32_t g = 0; g < n; g++, v->n++, v->kept += dims) {
        v->dims[v->n] = dims;
        v->channels[v->n] = order + v->kept;
        v->table[v->n] = table + g * stride;
    }
}

/* Every head has as many codes. */
static vectors vectors_of(const bench *b, uint32_t head)
{
    const kvc_coder *c = &b->coder;
    vectors v = {0};
    uint32_t n[5], entries = 1u << c->codec.bits, kept, channels;
    uint32_t n_codes = params_codes(&c->codec, c->head_dim, &kept, &channels);
    const uint16_t *order = (const uint16_t *)((const float *)b->params + c->n_kv_heads * n_codes);
    const uint16_t *table = order + params_order_bytes(c->n_kv_heads, kept) / 2;
    if (c->codec.scale != KVC_SCALE_NONE) table += (size_t)head * channels * entries;
    params_classes(&c->codec, c->head_dim, n);
    for (uint32_t k = 0; k < 5; k++) {
        int own = c->codec.scale == KVC_SCALE_STATIC;
        add_vectors(&v, n[k], 1u << k, order + head * kept, table, own ? (size_t)entries << k : 0);
        if (n[k]) table += (size_t)(own ? n[k] : 1) * entries << k;
    }
    v.scale = (const float *)b->params + head * n_codes;
    v.bytes = (c->page / 8 * n_codes * c->codec.bits + 15) / 16 * 16;
    v.at = head * v.bytes;
    return v;
}

/* Heads have what the constants say; behind the last one the page is filled up. */
static vectors shared_vectors_of(const bench *b, uint32_t head)
{
    const kvc_coder *c = &b->coder;
    vectors v = {0};
    uint32_t n[5], before = 0, total = params_shared(&c->codec, c->n_kv_heads, c->head_dim);
    const uint32_t *counts = (const uint32_t *)b->params;
    const float *scale = (const float *)(counts + c->n_kv_heads);
    const uint16_t *order = (const uint16_t *)(scale + total), *table = order + c->n_kv_heads * c->head_dim;
    for (uint32_t i = 0; i < head; i++) before += counts[i];
    params_share(c->head_dim, counts[head], n);
    for (uint32_t k = 0; k < 5; k++) {
        add_vectors(&v, n[k], 1u << k, order + head * c->head_dim, table, 0);
        table += (size_t)(1u << k) << c->codec.bits;
    }
    v.scale = scale + before;
    v.at = (size_t)c->page / 8 * before * c->codec.bits;
    v.bytes = (size_t)c->page / 8 * counts[head] * c->codec.bits;
    if (head + 1 == c->n_kv_heads) v.bytes += -(v.at + v.bytes) & 15;
    return v;
}

/* Row by row; shared codes code by code within runs of 32 rows, or of 16 or 8 where 32 do not divide the page. */
static size_t field_of(const kvc_coder *c, uint32_t n_codes, uint32_t row, uint32_t code)
{
    uint32_t run = 32;
    if (!params_shared(&c->codec, c->n_kv_heads, c->head_dim)) return (size_t)row * n_codes + code;
    while (c->page % run) run /= 2;
    return (size_t)(row - row % run) * n_codes + code * run + row % run;
}

static void put_field(uint8_t *block, const kvc_coder *c, uint32_t n_codes, size_t t, uint32_t code)
{
    for (uint32_t w = 8, low = 0; w; w /= 2) {
        if (!(c->codec.bits & w)) continue;
        for (uint32_t i = 0; i < w; i++)
            if (code >> (low + i) & 1) block[(t * w + i) / 8] |= (uint8_t)(1 << (t * w + i) % 8);
        block += (size_t)c->page * n_codes * w / 8;
        low += w;
    }
}

/* The entry nearest to x [dims], by binary32 sums from left to right. */
static uint32_t nearest(const float *x, uint32_t dims, const uint16_t *table, uint32_t n_entries)
{
    uint32_t best = 0;
    volatile float least = INFINITY;
    for (uint32_t e = 0; e < n_entries; e++) {
        volatile float sum = 0.0f;
        for (uint32_t k = 0; k < dims; k++) {
            volatile float step = x[k] - kvc_fp16_to_float(table[e * dims + k]);
            volatile float square = step * step;
            sum = k ? sum + square : square;
        }
        if (sum < least) least = sum, best = e;
    }
    return best;
}

/* No transforms: rows -> block (zeros on entry), decoded rows. */
static void format_md(const bench *b, const vectors *v, uint8_t *block, float *decoded)
{
    const kvc_coder *c = &b->coder;
    uint32_t d = c->head_dim;
    memset(decoded, 0, (size_t)c->page * d * sizeof *decoded);
    for (uint32_t row = 0; row < c->page; row++)
        for (uint32_t g = 0; g < v->n; g++) {
            float x[16];
            for (uint32_t k = 0; k < v->dims[g]; k++) {
                volatile float y = b->rows[row * d + v->channels[g][k]];
                y = fminf(fmaxf(y, -65504.0f), 65504.0f) / v->scale[g];
                x[k] = fminf(fmaxf(y, -65504.0f), 65504.0f);
            }
            uint32_t code = nearest(x, v->dims[g], v->table[g], 1u << c->codec.bits);
            put_field(block, c, v->n, field_of(c, v->n, row, g), code);
            for (uint32_t k = 0; k < v->dims[g]; k++)
                decoded[row * d + v->channels[g][k]] =
                    kvc_fp16_to_float(v->table[g][code * v->dims[g] + k]) * v->scale[g];
        }
}

/* One head after another into a page; whatever is not a head's keeps what was there. */
static void check_against_format_md(const char *spec, uint32_t heads, uint32_t d, uint32_t page)
{
    bench b = bench_new(spec, heads, d, page, d * 31 + page);
    float *decoded = malloc((size_t)page * d * sizeof *decoded);
    uint8_t *want = calloc(1, b.coder.page_bytes);
    size_t end = 0;
    for (uint32_t head = 0; head < heads; head++) {
        vectors v = params_shared(&b.coder.codec, heads, d) ? shared_vectors_of(&b, head) : vectors_of(&b, head);
        kvc_block place = kvc_coder_block(&b.coder, head);
        ck_assert_uint_eq(place.offset, v.at);
        ck_assert_uint_eq(place.bytes, v.bytes);
        format_md(&b, &v, want + v.at, decoded);
        kvc_coder_encode(&b.coder, head, b.rows, d, b.block + v.at, b.work);
        kvc_coder_decode(&b.coder, head, b.block + v.at, b.decoded, d, b.work);
        for (uint32_t i = 0; i < page * d; i++)
            if (b.decoded[i] != decoded[i]) ck_abort_msg("%s, head of %u: value %u differs", spec, d, i);
        end = v.at + v.bytes;
    }
    ck_assert_uint_eq(end, b.coder.page_bytes);
    ck_assert_msg(memcmp(b.block, want, end) == 0, "%s, heads of %u: page differs", spec, d);
    free(want);
    free(decoded);
    bench_free(&b);
}

START_TEST(vq__bytes_and_values_are_those_of_format_md)
{
    static const char *const scales[] = {"", ".head", ".static"};
    static const uint32_t dims[] = {8, 64, 80, 96, 256};
    char spec[64];
    for (uint32_t c = 1; c <= 16; c *= 2)
        for (uint32_t b = 1; b <= 12; b++)
            for (int k = 0; k < 3; k++) {
                uint32_t d = dims[(b + c + k) % 5];
                snprintf(spec, sizeof spec, "vq%ux%u%s", c, b, scales[k]);
                check_against_format_md(spec, 2, d % c ? 64 : d, 8);
            }
    for (int d = 0; d < 5; d++)
        for (uint32_t c = 1; c <= 8; c *= 2) {
            snprintf(spec, sizeof spec, "vq%ux7", c);
            check_against_format_md(spec, 1, dims[d], 24);
        }
}
END_TEST

START_TEST(lut__bytes_and_values_are_those_of_format_md)
{
    static const char *const scales[] = {"", ".head", ".static"};
    char spec[64];
    for (uint32_t b = 1; b <= 8; b++)
        for (int k = 0; k < 3; k++) {
            snprintf(spec, sizeof spec, "lut%u%s", b, scales[k]);
            check_against_format_md(spec, 3, b % 2 ? 80 : 64, 16);
        }
}
END_TEST

START_TEST(vq__mixes_are_those_of_format_md)
{
    static const char *const specs[] = {"vq[8*2,4*4,2*8]x8",
                                        "vq[8*1]x5",
                                        "vq[8*8]x8",
                                        "vq[4*1,4*2,4*4,4*8]x6.static",
                                        "vq[28*2]x11.head",
                                        "vq[8*4,2*16]x3",
                                        "vq[8*2,4*4,2*8]x10.static",
                                        "vq[32*1,8*2]x1",
                                        "vq[1*16]x8",
                                        "vq[1*1,1*2,1*4,1*8,1*16]x8",
                                        "vq[1*1]x8.static"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        check_against_format_md(specs[i], 2, 128, 8);
        check_against_format_md(specs[i], 1, 256, 16);
        check_against_format_md(specs[i], 3, 64, 8);
    }
    check_against_format_md("vq[8*2,8*4]x8", 2, 80, 8);
    check_against_format_md("vq[8*4,2*8]x9.head", 2, 96, 8);
    check_against_format_md("vq[16*1,8*2,8*4]x4", 2, 8, 8);
}
END_TEST

START_TEST(vq__shared_codes_are_those_of_format_md)
{
    static const uint32_t shapes[][3] = {{1, 64, 8}, {2, 64, 64}, {5, 64, 8},  {3, 80, 16},
                                         {8, 8, 8},  {4, 24, 24}, {9, 128, 8}, {2, 512, 8}};
    char spec[64];
    for (uint32_t n = 1, b = 1; n <= 64; n = n * 3 / 2 + 1, b = b % 9 + 1)
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
            snprintf(spec, sizeof spec, "vq[%u]x%u", n, b);
            if (n * shapes[k][0] * shapes[k][1] >= 64)
                check_against_format_md(spec, shapes[k][0], shapes[k][1], shapes[k][2]);
        }
    check_against_format_md("vq[64]x1", 3, 72, 8);
    check_against_format_md("vq[64]x11", 2, 8, 8);
    check_against_format_md("vq[7]x12", 2, 64, 8);
    check_against_format_md("vq[11]x8", 3, 64, 96);
    check_against_format_md("vq[9]x7", 3, 80, 48);
    check_against_format_md("vq[13]x8", 1, 512, 40);
    check_against_format_md("vq[64]x3", 1, 512, 32); /* more codes than are unpacked at a time */
}
END_TEST

/* One head of 8 channels with 3 codes of 8 bits, of 2, 2 and 4 channels. By hand, which code of which row lies at
 * which byte: it alone changes with the byte. */
START_TEST(vq__shared_codes_lie_code_by_code_in_runs)
{
    static const struct {
        uint32_t page, row, code, byte;
    } places[] = {{64, 0, 0, 0},   {64, 1, 0, 1},   {64, 31, 0, 31},  {64, 0, 1, 32},   {64, 5, 2, 69},
                  {64, 31, 2, 95}, {64, 32, 0, 96}, {64, 33, 1, 129}, {64, 63, 2, 191}, {16, 0, 0, 0},
                  {16, 15, 0, 15}, {16, 0, 1, 16},  {16, 7, 2, 39},   {16, 15, 2, 47},  {48, 15, 0, 15},
                  {48, 16, 0, 48}, {48, 17, 2, 81}, {24, 7, 0, 7},    {24, 0, 1, 8},    {24, 7, 2, 23},
                  {24, 8, 0, 24},  {24, 15, 1, 39}, {24, 23, 2, 71},  {8, 3, 2, 19}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        bench b = bench_new("vq[24]x8", 1, 8, places[i].page, 3);
        uint32_t n_bytes = places[i].page * 3, at = places[i].byte;
        ck_assert_uint_eq(b.coder.code_bytes, n_bytes);
        memset(b.block, 0, b.coder.page_bytes);
        kvci_coder_decode_rows(&b.coder, 0, b.block, 0, places[i].page, b.latent);
        b.block[at] = 200;
        kvci_coder_decode_rows(&b.coder, 0, b.block, 0, places[i].page, b.decoded);
        for (uint32_t k = 0; k < places[i].page * 8; k++) {
            uint32_t channel = k % 8, code = channel < 2 ? 0 : channel < 4 ? 1 : 2;
            int own = k / 8 == places[i].row && code == places[i].code;
            ck_assert_msg((b.decoded[k] != b.latent[k]) == own, "page of %u, byte %u: row %u, channel %u",
                          places[i].page, at, k / 8, channel);
        }
        bench_free(&b);
    }
}
END_TEST

/* The same for codes of 3 bits: two in the first plane, where four rows share a byte, one in the second, where eight
 * do. */
START_TEST(vq__planes_of_shared_codes_hold_neighbouring_rows)
{
    bench b = bench_new("vq[24]x3", 1, 8, 64, 3);
    memset(b.block, 0, b.coder.page_bytes);
    kvci_coder_decode_rows(&b.coder, 0, b.block, 0, 64, b.latent);
    b.block[16 + 1] = 0xc0;      /* code 2 of rows 4 .. 7: low bits, of row 7 */
    b.block[48 + 12 + 4] = 0x02; /* code 1 of rows 32 .. 39: high bit, of row 33 */
    kvci_coder_decode_rows(&b.coder, 0, b.block, 0, 64, b.decoded);
    for (uint32_t k = 0; k < 64 * 8; k++) {
        uint32_t row = k / 8, code = k % 8 < 2 ? 0 : k % 8 < 4 ? 1 : 2;
        int own = (row == 7 && code == 2) || (row == 33 && code == 1);
        ck_assert_msg((b.decoded[k] != b.latent[k]) == own, "row %u, channel %u", row, k % 8);
    }
    bench_free(&b);
}
END_TEST

/* As few sizes as cover all channels, in ascending order, one twice the other. */
START_TEST(share_classes__cover_a_head)
{
    for (uint32_t d = 8; d <= 2048; d += d < 128 ? 8 : 120)
        for (uint32_t k = 0; k <= d; k++) {
            kvc_code_class class[2] = {{0, 0}, {0, 0}};
            uint32_t want[5], got[5] = {0}, n = kvc_share_classes(d, k, class);
            params_share(d, k, want);
            for (uint32_t i = 0; i < n; i++) {
                ck_assert_uint_gt(class[i].n, 0);
                got[__builtin_ctz(class[i].dims)] = class[i].n;
            }
            ck_assert_mem_eq(got, want, sizeof got);
            if (n == 2) ck_assert_uint_eq(class[1].dims, 2 * class[0].dims);
            ck_assert_uint_eq(class[0].n + class[1].n, k);
            ck_assert_uint_eq(class[0].n * class[0].dims + class[1].n * class[1].dims, 16 * k < d ? 16 * k : d);
        }
}
END_TEST

START_TEST(coder__dropped_channels_take_no_room)
{
    static const struct {
        const char *spec;
        uint32_t d, latent;
    } cases[] = {{"vq[2*16]x8", 64, 32},
                 {"vq[2*16]x8", 128, 64},
                 {"vq[1*1]x8", 64, 8},
                 {"vq[8*8]x8", 64, 64},
                 {"vq[1*2,4*4]x8", 64, 24},
                 {"vq[1*2,4*4]x8", 256, 72},
                 {"vq[1*1,1*2,1*4,1*8,1*16]x8", 64, 32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bench b = bench_new(cases[i].spec, 2, cases[i].d, 8, i);
        uint32_t channels, kept, latent = cases[i].latent;
        params_codes(&b.coder.codec, cases[i].d, &kept, &channels);
        ck_assert_uint_eq(b.coder.latent_dim, latent);
        kvc_coder_encode(&b.coder, 1, b.rows, cases[i].d, b.block, b.work);
        kvc_coder_decode_latent(&b.coder, 1, b.block, b.latent);
        for (uint32_t k = 0; k < 8 * latent; k++) /* what fills up a multiple of 8 */
            ck_assert((b.latent[k] == 0.0f) == (k % latent >= kept));
        bench_free(&b);
    }
}
END_TEST

START_TEST(vq__part_of_a_page_equals_that_of_the_whole)
{
    static const char *const specs[] = {"vq8x8",         "vq4x7",   "vq16x3",   "lut5.static", "vq[8*2,4*4,2*8]x12",
                                        "vq[3*1,2*2]x8", "vq[3]x8", "vq[21]x3", "vq[64]x1",    "vq[11]x12"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        bench b = bench_new(specs[i], 1, 64, 64, i);
        kvc_coder_encode(&b.coder, 0, b.rows, 64, b.block, b.work);
        kvc_coder_decode_latent(&b.coder, 0, b.block, b.latent);
        for (uint32_t first = 0; first < 64; first += 5)
            for (uint32_t n = 1; first + n <= 64; n += 7) {
                kvci_coder_decode_rows(&b.coder, 0, b.block, first, n, b.decoded);
                uint32_t d = b.coder.latent_dim;
                ck_assert_int_eq(memcmp(b.decoded, b.latent + first * d, n * d * sizeof *b.latent), 0);
            }
        bench_free(&b);
    }
}
END_TEST

/* A read may begin and end anywhere in a run. */
START_TEST(vq__shared_codes_decode_from_any_row)
{
    static const uint32_t pages[] = {8, 16, 24, 40, 48, 64, 96};
    static const char *const specs[] = {"vq[9]x8", "vq[31]x8", "vq[7]x5", "vq[3]x8", "vq[64]x4"};
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            bench b = bench_new(specs[k], 1, 72, pages[i], i + k);
            kvc_coder_encode(&b.coder, 0, b.rows, 72, b.block, b.work);
            kvc_coder_decode_latent(&b.coder, 0, b.block, b.latent);
            for (uint32_t first = 0; first < pages[i]; first++)
                for (uint32_t n = 1; first + n <= pages[i]; n += n < 3 ? 1 : 5) {
                    kvci_coder_decode_rows(&b.coder, 0, b.block, first, n, b.decoded);
                    ck_assert_int_eq(memcmp(b.decoded, b.latent + first * 72, n * 72 * sizeof *b.latent), 0);
                }
            bench_free(&b);
        }
}
END_TEST

START_TEST(vq__long_pages_and_wide_heads_decode_in_pieces)
{
    check_against_format_md("vq8x4", 1, 512, 64);
    check_against_format_md("lut2", 1, 512, 16);
    check_against_format_md("vq2x3", 1, 8, 1024);
    check_against_format_md("vq[16*2,2*16]x5", 1, 512, 16);
}
END_TEST

/* Whatever the machine has for this run: the same values as one by one, and nothing between the rows. */
static void check_expand(table_expand_fn *expand, table_run run, table_rows rows, const uint16_t *codes,
                         const uint8_t *bytes)
{
    size_t n_values = rows.n * run.dims, room = rows.n_rows * rows.out_stride + 1;
    float *out = malloc(room * sizeof *out);
    for (size_t i = 0; i < room; i++) out[i] = 12345.0f;
    expand(run, rows, rows.code_bytes == 1 ? (const void *)bytes : codes, out);
    for (size_t i = 0; i < room; i++) {
        size_t row = i / rows.out_stride, at = i % rows.out_stride;
        float want = 12345.0f;
        if (row < rows.n_rows && at < n_values) {
            size_t place = row * rows.code_stride + at / run.dims * rows.code_step;
            uint16_t code = rows.code_bytes == 1 ? bytes[place] : codes[place];
            const uint16_t *entry = run.table + at / run.dims * run.stride + code * run.dims;
            want = kvc_fp16_to_float(entry[at % run.dims]);
        }
        if (out[i] != want)
            ck_abort_msg("dims %u, value %zu of %u rows of %u codes", run.dims, i, rows.n_rows, rows.n);
    }
    free(out);
}

START_TEST(table_expand__is_the_same_on_every_machine)
{
    static const uint32_t counts[] = {1, 2, 3, 7, 64, 255, 256, 257, 320, 511, 2048, 2049};
    uint64_t seed = 1;
    uint16_t codes[2049];
    uint8_t bytes[2049];
    for (uint32_t dims = 1; dims <= 16; dims *= 2)
        for (uint32_t bits = 1; bits <= 12; bits++)
            for (size_t k = 0; k < 2 * sizeof counts / sizeof *counts; k++) {
                uint32_t n = counts[k / 2], n_entries = 1u << bits, own = k % 2;
                if (own && n > 64) continue;
                size_t n_values = (size_t)n_entries * dims * (own ? n : 1);
                uint16_t *table = malloc(n_values * sizeof *table);
                for (size_t i = 0; i < n_values; i++) table[i] = kvc_fp16_from_float(params_random(&seed));
                for (uint32_t i = 0; i < n; i++) {
                    codes[i] = (uint16_t)((i * 2654435761u >> 7) % n_entries);
                    bytes[i] = (uint8_t)codes[i];
                    if (bits > 8) bytes[i] = (uint8_t)(codes[i] >> 4);
                }
                table_run run = {table, own ? n_entries * dims : 0, dims};
                table_expand_fn *all[] = {kvci_table_expand, kvci_table_expand_plain, kvci_table_expand_f16c(run)};
                table_rows rows[] = {{1, n, n, n * dims, 1, 2},
                                     {3, n / 3, n / 3, n / 3 * dims, 1, 2},
                                     {2, n / 2, n / 2, n * dims, 1, 2},
                                     {2, n / 2, n / 2, n * dims, 1, 1},
                                     {5, n / 8, 1, n / 8 * dims, 8, 1},
                                     {5, n / 8, 1, n * dims, 8, 2},
                                     {32, n / 32, 1, n / 32 * dims, 32, 1},
                                     {9, n / 32, 1, n * dims, 32, 2}};
                const size_t n_rows = sizeof rows / sizeof *rows;
                for (size_t i = 0; i < 3 * n_rows; i++)
                    if (all[i / n_rows] && rows[i % n_rows].n)
                        check_expand(all[i / n_rows], run, rows[i % n_rows], codes, bytes);
                free(table);
            }
}
END_TEST

/* q.k from the latent rows equals q.k from the decoded ones, and so does a weighted sum of values. */
static void check_fold(const char *spec, uint32_t heads, uint32_t d)
{
    bench b = bench_new(spec, heads, d, 8, d);
    uint32_t latent = b.coder.latent_dim;
    float q[512], folded[512], out[512], sum[512], mass = 0.0f;
    uint64_t seed = 5;
    for (uint32_t head = 0; head < heads; head++) {
        for (uint32_t i = 0; i < d; i++) q[i] = params_random(&seed), sum[i] = 0.0f, out[i] = 3.0f;
        kvc_coder_encode(&b.coder, head, b.rows, d, b.block, b.work);
        kvc_coder_decode(&b.coder, head, b.block, b.decoded, d, b.work);
        kvc_coder_decode_latent(&b.coder, head, b.block, b.latent);
        float bias = kvc_coder_fold_query(&b.coder, head, q, folded);
        mass = 0.0f;
        for (uint32_t t = 0; t < 8; t++) {
            double direct = 0.0, through = bias;
            float weight = 0.1f * (float)(t + 1);
            for (uint32_t i = 0; i < d; i++) direct += (double)q[i] * b.decoded[t * d + i];
            for (uint32_t i = 0; i < latent; i++) through += (double)folded[i] * b.latent[t * latent + i];
            ck_assert_double_eq_tol(direct, through, 1e-4);
            for (uint32_t i = 0; i < latent; i++) sum[i] += weight * b.latent[t * latent + i];
            mass += weight;
        }
        kvc_coder_unfold_output(&b.coder, head, sum, mass, out, b.work);
        for (uint32_t i = 0; i < d; i++) {
            double want = 3.0;
            for (uint32_t t = 0; t < 8; t++) want += 0.1 * (t + 1) * b.decoded[t * d + i];
            ck_assert_double_eq_tol(out[i], want, 1e-4);
        }
    }
    bench_free(&b);
}

START_TEST(fold_and_unfold__equal_decoding)
{
    static const char *const specs[] = {"vq8x8",          "vq4x8.head+klt", "lut4.static+had", "vq2x5.static+klt",
                                        "vq16x3+had+klt", "fp16+klt",       "int4.tok+klt+had"};
    static const uint32_t dims[] = {64, 80, 96, 128, 256};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        for (size_t k = 0; k < sizeof dims / sizeof *dims; k++) check_fold(specs[i], 2, dims[k]);
    check_fold("vq[8*1,8*2,4*4,1*8]x6+klt", 2, 128);
    check_fold("vq[8*2,8*4]x8+klt", 2, 80);
    check_fold("vq[3*1,1*2]x8+klt", 3, 64);
    check_fold("vq[8]x8+klt", 4, 128);
    check_fold("vq[3]x6+had+klt", 5, 80);
    check_fold("vq[40]x3", 3, 96);
}
END_TEST

START_TEST(coder_transform__stops_before_the_frame)
{
    bench plain = bench_new("fp16+klt", 2, 64, 8, 7), b = bench_new("vq8x8+klt", 2, 64, 8, 7);
    float x[64], y[64], want[64];
    for (uint32_t head = 0; head < 2; head++) {
        kvc_coder_transform(&plain.coder, head, plain.rows, want);
        kvc_coder_transform(&b.coder, head, plain.rows, y);
        ck_assert_int_eq(memcmp(y, want, sizeof y), 0);
        memcpy(x, plain.rows, sizeof x);
        x[3] = 1e30f; /* clamped first */
        kvc_coder_transform(&b.coder, head, x, y);
        for (int i = 0; i < 64; i++) ck_assert(fabsf(y[i]) <= 65504.0f);
    }
    bench_free(&plain);
    bench_free(&b);
}
END_TEST

/* ---- edges ---- */

START_TEST(vq__equal_entries_take_the_first)
{
    bench b = bench_new("vq4x6", 1, 64, 8, 3);
    uint16_t *table = (uint16_t *)((float *)b.params + 16) + 64;
    for (int i = 0; i < 64 * 4; i++) table[i] = kvc_fp16_from_float(0.25f);
    kvc_coder_encode(&b.coder, 0, b.rows, 64, b.block, b.work);
    for (uint32_t i = 0; i < b.coder.block_bytes; i++) ck_assert_uint_eq(b.block[i], 0);
    for (int i = 5 * 4; i < 9 * 4; i++) table[i] = 0; /* entries 5 to 8 alike and nearest to a row of zeros */
    memset(b.rows, 0, 8 * 64 * sizeof *b.rows);
    kvc_coder_encode(&b.coder, 0, b.rows, 64, b.block, b.work);
    kvc_coder_decode(&b.coder, 0, b.block, b.decoded, 64, b.work);
    for (int i = 0; i < 8 * 64; i++) ck_assert(b.decoded[i] == 0.0f);
    ck_assert_uint_eq(b.block[0], 0x55); /* low 4 bits of code 5, twice */
    bench_free(&b);
}
END_TEST

START_TEST(vq__huge_rows_and_extreme_scales_stay_finite)
{
    static const float scales[] = {1e-38f, 1e-45f, 0x1p17f, 1.0f};
    for (int k = 0; k < 4; k++) {
        bench b = bench_new("vq8x8", 1, 64, 8, 3);
        for (int i = 0; i < 8; i++) ((float *)b.params)[i] = scales[k];
        for (int i = 0; i < 8 * 64; i++) b.rows[i] = i % 3 ? 3e38f : i % 2 ? -3e38f : 0.0f;
        kvc_coder_encode(&b.coder, 0, b.rows, 64, b.block, b.work);
        kvc_coder_decode(&b.coder, 0, b.block, b.decoded, 64, b.work);
        for (int i = 0; i < 8 * 64; i++) ck_assert(isfinite(b.decoded[i]));
        bench_free(&b);
    }
}
END_TEST

static kvc_status init_with(const bench *b, const void *params, kvc_error *err)
{
    kvc_coder coder;
    return kvc_coder_init(&coder, &b->coder.codec, params, b->coder.n_kv_heads, b->coder.head_dim, b->coder.page,
                          err);
}

/* Constants, one of them not as it should be. */
static void check_bent(const bench *b, void *at, const void *bad, size_t n, kvc_status want, const char *says)
{
    uint8_t held[16];
    kvc_error err = {""};
    memcpy(held, at, n);
    memcpy(at, bad, n);
    ck_assert_int_eq(init_with(b, b->params, &err), want);
    ck_assert_msg(strstr(err.message, says) != NULL, "%s", err.message);
    memcpy(at, held, n);
    ck_assert_int_eq(init_with(b, b->params, &err), KVC_OK);
}

/* The largest constants that are allowed, in the longest chain, all of one sign so that nothing cancels. */
static void set_largest(const bench *b)
{
    for (uint32_t piece = 0; piece < 4; piece++) {
        float *mean = (float *)(b->params + kvc_coder_part_offset(&b->coder, piece)), *forward = mean + 64;
        uint16_t *backward = (uint16_t *)(forward + 64 * 64);
        for (int i = 0; i < 64; i++) mean[i] = 65504.0f;
        for (int i = 0; i < 64 * 64; i++) forward[i] = 0x1p40f;
        for (int i = 0; i < 64 * 64; i++) backward[i] = kvc_fp16_from_float(2048.0f); /* 2^17 a row */
    }
    float *scale = (float *)(b->params + kvc_coder_part_offset(&b->coder, 4));
    uint16_t *table = (uint16_t *)(scale + 64) + 64;
    for (int i = 0; i < 64; i++) scale[i] = 0x1p17f;
    table[0] = 0xfbff;
    table[1] = 0x7bff;
}

START_TEST(coder__largest_constants_stay_finite)
{
    const float n_tokens = 0x1p26f;
    bench b = bench_new("lut1+klt+klt+klt+klt", 1, 64, 8, 3);
    float q[64], folded[64], out[64] = {0.0f}, score;
    set_largest(&b);
    ck_assert_int_eq(init_with(&b, b.params, NULL), KVC_OK);
    for (int i = 0; i < 8 * 64; i++) b.rows[i] = i / 64 % 2 ? -3e38f : 3e38f;
    kvc_coder_encode(&b.coder, 0, b.rows, 64, b.block, b.work);
    kvc_coder_decode(&b.coder, 0, b.block, b.decoded, 64, b.work);
    for (int i = 0; i < 8 * 64; i++) ck_assert(isfinite(b.decoded[i]) && fabsf(b.decoded[i]) > 1e30f);
    kvc_coder_decode_latent(&b.coder, 0, b.block, b.latent);
    for (int i = 0; i < 64; i++) q[i] = 65504.0f / 8.0f; /* times 1 / sqrt(d) */
    score = kvc_coder_fold_query(&b.coder, 0, q, folded);
    for (int i = 0; i < 64; i++) score += folded[i] * b.latent[i];
    ck_assert(isfinite(score));
    for (int i = 0; i < 64; i++) folded[i] = n_tokens * b.latent[i];
    kvc_coder_unfold_output(&b.coder, 0, folded, n_tokens, out, b.work);
    for (int i = 0; i < 64; i++) ck_assert(isfinite(out[i]) && fabsf(out[i]) > 1e38f);
    bench_free(&b);
}
END_TEST

START_TEST(coder_init__refuses_constants_beyond_the_limits)
{
    static const float beyond_scale = 0x1.000002p17f, beyond_mean = -65505.0f, beyond_forward = 0x1.000002p40f;
    const uint16_t beyond_backward = kvc_fp16_from_float(-2052.0f);
    bench b = bench_new("lut1+klt+klt+klt+klt", 1, 64, 8, 3);
    set_largest(&b);
    for (uint32_t piece = 0; piece < 4; piece++) {
        float *mean = (float *)(b.params + kvc_coder_part_offset(&b.coder, piece)), *forward = mean + 64;
        uint16_t *backward = (uint16_t *)(forward + 64 * 64);
        check_bent(&b, mean + 5, &beyond_mean, 4, KVC_FORMAT, "mean");
        check_bent(&b, forward + 4095, &beyond_forward, 4, KVC_FORMAT, "matrix");
        check_bent(&b, backward + 64 * 63, &beyond_backward, 2, KVC_FORMAT, "row 63");
    }
    check_bent(&b, b.params + kvc_coder_part_offset(&b.coder, 4), &beyond_scale, 4, KVC_FORMAT, "scale 0");
    bench_free(&b);
}
END_TEST

START_TEST(coder_init__refuses_constants_that_are_not_numbers)
{
    static const char *const specs[] = {"vq8x4", "vq[1*1,8*2,4*4,2*8]x4.static", "lut3.head"};
    static const float bad[] = {NAN, INFINITY, -1.0f, 0.0f, -0.0f};
    static const uint16_t bad_half[] = {0x7c00, 0xfc00, 0x7e00, 0xffff};
    kvc_error err;
    for (size_t i = 0; i < 3; i++) {
        bench b = bench_new(specs[i], 2, 64, 8, 9);
        uint32_t channels, kept, n_scales = 2 * params_codes(&b.coder.codec, 64, &kept, &channels);
        float *scale = (float *)b.params;
        uint16_t *order = (uint16_t *)(scale + n_scales), *table = order + params_order_bytes(2, kept) / 2;
        size_t n_values = kvc_coder_part_bytes(&b.coder, 4) / 2 - (size_t)(table - (uint16_t *)b.params);
        for (uint32_t k = 0; k < n_scales * 5; k++) {
            float held = scale[k / 5];
            scale[k / 5] = bad[k % 5];
            ck_assert_int_eq(init_with(&b, b.params, &err), k % 5 < 2 ? KVC_NONFINITE : KVC_FORMAT);
            ck_assert_msg(strstr(err.message, "scale") != NULL, "%s", err.message);
            scale[k / 5] = held;
        }
        for (uint32_t k = 0; k < 2 * kept; k++) {
            uint16_t held = order[k];
            order[k] = order[k % kept ? k - 1 : k + 1];
            ck_assert_int_eq(init_with(&b, b.params, &err), KVC_FORMAT);
            order[k] = 64;
            ck_assert_int_eq(init_with(&b, b.params, &err), KVC_FORMAT);
            ck_assert_msg(strstr(err.message, k < kept ? "head 0" : "head 1") != NULL, "%s", err.message);
            order[k] = held;
        }
        for (size_t k = 0; k < n_values * 4; k++) {
            uint16_t held = table[k / 4];
            table[k / 4] = bad_half[k % 4];
            ck_assert_int_eq(init_with(&b, b.params, &err), KVC_NONFINITE);
            table[k / 4] = held;
        }
        ck_assert_int_eq(init_with(&b, b.params, &err), KVC_OK);
        ck_assert_int_eq(init_with(&b, b.params + 4, &err), KVC_INVALID);
        bench_free(&b);
    }
}
END_TEST

START_TEST(coder_init__refuses_shared_codes_that_do_not_add_up)
{
    bench b = bench_new("vq[20]x3", 4, 64, 8, 9);
    uint32_t *counts = (uint32_t *)b.params;
    static const uint32_t good[] = {0, 64, 3, 13}, bad[][4] = {{0, 64, 3, 12},   {0, 64, 3, 14},
                                                               {0, 65, 2, 13},   {0, 0, 0, 0},
                                                               {80, 0, 0, 0},    {64, 64, 64, 64},
                                                               {0, 64, 16, ~0u}, {0x80000000u, 64, 0x80000000u, 16}};
    memcpy(counts, good, sizeof good);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_bent(&b, counts, bad[i], sizeof bad[i], KVC_FORMAT, "codes");
    bench_free(&b);
}
END_TEST

START_TEST(coder_init__refuses_values_of_shared_codes)
{
    static const float bad[] = {NAN, INFINITY, -1.0f, 0.0f, -0.0f};
    static const uint16_t bad_half[] = {0x7c00, 0xfc00, 0x7e00, 0xffff}, beyond = 64;
    bench b = bench_new("vq[20]x3", 4, 64, 8, 9);
    float *scale = (float *)((uint32_t *)b.params + 4);
    uint16_t *order = (uint16_t *)(scale + 80), *table = order + 4 * 64;
    ck_assert_uint_eq((size_t)((uint8_t *)(table + (31 << 3)) - b.params), kvc_coder_part_bytes(&b.coder, 4));
    for (uint32_t k = 0; k < 80 * 5; k++)
        check_bent(&b, scale + k / 5, bad + k % 5, 4, k % 5 < 2 ? KVC_NONFINITE : KVC_FORMAT, "scale");
    for (uint32_t k = 0; k < 4 * 64; k++) { /* of dropped channels too */
        char head[16];
        snprintf(head, sizeof head, "head %u", k / 64);
        check_bent(&b, order + k, order + (k % 64 ? k - 1 : k + 1), 2, KVC_FORMAT, head);
        check_bent(&b, order + k, &beyond, 2, KVC_FORMAT, head);
    }
    for (uint32_t k = 0; k < (31 << 3) * 4; k++) /* of sizes that no head has too */
        check_bent(&b, table + k / 4, bad_half + k % 4, 2, KVC_NONFINITE, "table");
    bench_free(&b);
}
END_TEST

/* The table [4][256] of a coder of one head becomes `values`, over and over. */
static float step_of_table(const char *spec, const float *values, size_t n)
{
    bench b = bench_new(spec, 1, 64, 8, 3);
    uint16_t *end = (uint16_t *)(b.params + kvc_coder_part_offset(&b.coder, 4) + kvc_coder_part_bytes(&b.coder, 4));
    for (size_t i = 0; i < 4 << 8; i++) end[-1 - (ptrdiff_t)i] = kvc_fp16_from_float(values[i % n]);
    float step = kvc_coder_byte_step(&b.coder, b.coder.codec.dims);
    bench_free(&b);
    return step;
}

START_TEST(byte_step__is_the_smallest_that_a_byte_reaches_with)
{
    static const struct {
        float values[3], step;
    } cases[] = {{{127, -127, 1}, 1},
                 {{0x1p-24f, -127 * 0x1p-24f, 0}, 0x1p-24f},
                 {{0x1p-24f, 0, 0}, 0x1p-30f},
                 {{-65024, 512, 0}, 512},
                 {{128, 2, -64}, 2},
                 {{128, 1, 0}, 0},
                 {{254, -2, 0}, 2},
                 {{255, 1, 0}, 0},
                 {{0.5f, 0.25f, -0.375f}, 0x1p-7f},
                 {{0.5f, 0x1p-7f, 0}, 0x1p-7f},
                 {{0.5f, 0x1p-8f, 0}, 0},
                 {{1, 1 + 0x1p-10f, 0}, 0},
                 {{0, -0.0f, 0}, 1},
                 {{INFINITY, 1, 0}, 0},
                 {{1, NAN, 0}, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_msg(step_of_table("vq4x8+klt", cases[i].values, 3) == cases[i].step, "case %zu", i);
}
END_TEST

/* The tables of shared codes [1 << bits][1, 2, 4, 8, 16], the end of the constants. */
static uint16_t *shared_tables(const bench *b)
{
    size_t end = kvc_coder_part_offset(&b->coder, 4) + kvc_coder_part_bytes(&b->coder, 4);
    return (uint16_t *)(b->params + end) - ((size_t)31 << b->coder.codec.bits);
}

static void check_shared_steps(const bench *b, const float *want)
{
    for (uint32_t dims = 0; dims <= 64; dims++) {
        float step = dims && dims <= 16 && (dims & (dims - 1)) == 0 ? want[__builtin_ctz(dims)] : 0.0f;
        ck_assert_msg(kvc_coder_byte_step(&b->coder, dims) == step, "%u: %g, not %g", dims,
                      (double)kvc_coder_byte_step(&b->coder, dims), (double)step);
    }
}

/* Each has its own, whatever its neighbours hold, of its first value to its last. */
START_TEST(byte_step__of_shared_codes_is_that_of_each_length)
{
    static const float steps[] = {0x1p-9f, 4.0f, 0x1p-3f, 1.0f, 0x1p-24f};
    bench b = bench_new("vq[20]x3", 4, 64, 8, 9);
    uint16_t *tables = shared_tables(&b);
    float want[5];
    for (uint32_t i = 0; i < 31 << 3; i++) {
        uint32_t k = 31u - (uint32_t)__builtin_clz((i >> 3) + 1); /* 1, 2, 4 .. tables of 8 before it */
        tables[i] = kvc_fp16_from_float(k == 3 ? 0.0f : steps[k] * (i % 3 ? 127.0f : -1.0f));
    }
    check_shared_steps(&b, steps);
    for (uint32_t k = 0; k < 5; k++)
        for (uint32_t last = 0; last < 2; last++) {
            uint16_t *value = tables + ((last ? (2u << k) - 1 : (1u << k) - 1) << 3) - last, held = *value;
            *value = kvc_fp16_from_float(k == 3 ? 3.0f : 128.0f * steps[k]); /* beyond a byte, beside odd multiples */
            memcpy(want, steps, sizeof want);
            want[k] = k == 3 ? 0x1p-5f : 0.0f;
            check_shared_steps(&b, want);
            *value = held;
        }
    bench_free(&b);
}
END_TEST

START_TEST(byte_step__is_0_where_there_is_no_one_table)
{
    static const char *const specs[] = {"int4.ch", "fp16", "vq4x8.head", "vq4x8.static", "vq[8*2,6*8]x8"};
    static const float one = 1.0f;
    kvc_coder coder;
    kvc_codec codec;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        bench b = bench_new(specs[i], 2, 64, 8, 3);
        size_t half = kvc_coder_part_bytes(&b.coder, 4) / 2;
        if (half)
            memset(b.params + kvc_coder_part_offset(&b.coder, 4) + half, 0, half); /* tables are the end of it */
        for (uint32_t dims = 0; dims <= 64; dims++)
            ck_assert_msg(kvc_coder_byte_step(&b.coder, dims) == 0.0f, "%s, %u", specs[i], dims);
        bench_free(&b);
    }
    ck_assert(step_of_table("vq4x8", &one, 1) == 0x1p-6f);
    bench b = bench_new("vq4x8", 1, 64, 8, 3);
    memset(b.params + kvc_coder_part_bytes(&b.coder, 4) - 2048, 0, 2048);
    for (uint32_t dims = 0; dims <= 64; dims++)
        ck_assert(kvc_coder_byte_step(&b.coder, dims) == (dims == 4 ? 1.0f : 0.0f));
    bench_free(&b);
    for (size_t i = 0; i < 2; i++) { /* without constants */
        ck_assert_int_eq(kvc_codec_parse(&codec, i ? "vq[8]x8" : "vq4x8", NULL), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 1, 64, 8, NULL), KVC_OK);
        ck_assert(kvc_coder_byte_step(&coder, 4) == 0.0f);
    }
}
END_TEST

CHECK_MAIN("table", vq__bytes_and_values_are_those_of_format_md, lut__bytes_and_values_are_those_of_format_md,
           vq__mixes_are_those_of_format_md, vq__shared_codes_are_those_of_format_md,
           vq__shared_codes_lie_code_by_code_in_runs, vq__planes_of_shared_codes_hold_neighbouring_rows,
           vq__shared_codes_decode_from_any_row, share_classes__cover_a_head, coder__dropped_channels_take_no_room,
           vq__part_of_a_page_equals_that_of_the_whole, vq__long_pages_and_wide_heads_decode_in_pieces,
           table_expand__is_the_same_on_every_machine, fold_and_unfold__equal_decoding,
           coder_transform__stops_before_the_frame, vq__equal_entries_take_the_first,
           vq__huge_rows_and_extreme_scales_stay_finite, coder__largest_constants_stay_finite,
           coder_init__refuses_constants_beyond_the_limits, coder_init__refuses_constants_that_are_not_numbers,
           coder_init__refuses_shared_codes_that_do_not_add_up, coder_init__refuses_values_of_shared_codes,
           byte_step__is_the_smallest_that_a_byte_reaches_with, byte_step__of_shared_codes_is_that_of_each_length,
           byte_step__is_0_where_there_is_no_one_table)
