/* Spec strings: what parses, what it prints as, and what a refusal says. */
#include <string.h>
#include "check_main.h"
#include "kvc/codec.h"

START_TEST(codec_parse__prints_back_canonically)
{
    static const char *const specs[][2] = {{"fp16", "fp16"},
                                           {"fp16+had", "fp16+had"},
                                           {"int4", "int4.tok"},
                                           {"int4.tok", "int4.tok"},
                                           {"int8.tok128", "int8.tok128"},
                                           {"int2.ch", "int2.ch"},
                                           {"int3.ch32", "int3.ch32"},
                                           {"int1.tok64+had", "int1.tok64+had"},
                                           {"int6+had+had", "int6.tok+had+had"},
                                           {"lut3", "lut3"},
                                           {"lut8.static+klt", "lut8.static+klt"},
                                           {"vq8x8+klt", "vq8x8+klt"},
                                           {"vq16x12.head", "vq16x12.head"},
                                           {"vq2x1.static", "vq2x1.static"},
                                           {"vq[8*1,8*2,4*4,1*8,1*16]x10", "vq[8*1,8*2,4*4,1*8,1*16]x10"},
                                           {"vq[64*1]x8", "vq[64*1]x8"},
                                           {"vq[4*8,2*16]x8+klt@joint", "vq[4*8,2*16]x8+klt@joint"},
                                           {"vq[1*1,1*2,1*4,1*8,1*16]x12.static+smooth+perm+rot+klt@joint",
                                            "vq[1*1,1*2,1*4,1*8,1*16]x12.static+smooth+perm+rot+klt@joint"},
                                           {"vq[8]x8+klt", "vq[8]x8+klt"},
                                           {"vq[64]x1", "vq[64]x1"},
                                           {"vq[1]x12+perm+klt@joint", "vq[1]x12+perm+klt@joint"},
                                           {"int4.tok2048@joint", "int4.tok2048@joint"},
                                           {"int4@joint", "int4.tok@joint"}};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        kvc_codec codec, again;
        char text[KVC_SPEC_MAX];
        kvc_error err = {""};
        ck_assert_msg(kvc_codec_parse(&codec, specs[i][0], &err) == KVC_OK, "%s", err.message);
        kvc_codec_format(&codec, text);
        ck_assert_str_eq(text, specs[i][1]);
        ck_assert_int_eq(kvc_codec_parse(&again, text, &err), KVC_OK);
        ck_assert_int_eq(memcmp(&codec, &again, sizeof codec), 0);
    }
}
END_TEST

START_TEST(codec_parse__names_what_this_version_lacks)
{
    static const char *const specs[][2] = {
        {"fp8", "'fp8'"}, {"int4.static", "'static'"}, {"int4+tucker", "'tucker'"}, {"int4.ch32@pre", "'@pre'"}};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        kvc_codec codec;
        kvc_error err = {""};
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[i][0], &err), KVC_UNSUPPORTED);
        ck_assert_msg(strstr(err.message, specs[i][1]) != NULL, "%s", err.message);
        ck_assert_msg(strstr(err.message, specs[i][0]) != NULL, "%s", err.message);
    }
}
END_TEST

START_TEST(codec_parse__says_where_it_stopped)
{
    static const char *const specs[][2] = {{"", "column 1"},
                                           {"float", "column 1"},
                                           {"int", "column 4"},
                                           {"int9", "column 4"},
                                           {"int04", "column 4"},
                                           {"int4.", "column 6"},
                                           {"int4.foo", "column 6"},
                                           {"int4.tok0", "column 9"},
                                           {"int4.tok99999999999999999999", "column 9"},
                                           {"int4.ch032", "column 8"},
                                           {"int4+", "column 6"},
                                           {"int4+hadd", "column 9"},
                                           {"int4.tok+had@", "column 13"},
                                           {"int4@prefix", "column 9"},
                                           {"vq8", "column 4"},
                                           {"vq0x8", "column 3"},
                                           {"vq8x13", "column 5"},
                                           {"vq[8,8]x8", "column 5"},
                                           {"vq[8*3]x8", "column 6"},
                                           {"vq[8*2,4*2]x8", "column 10"},
                                           {"vq[4*8,8*4]x8", "column 10"},
                                           {"vq[0*2]x8", "column 4"},
                                           {"vq[65*1]x8", "column 4"},
                                           {"vq[8*17]x8", "column 6"},
                                           {"vq[]x8", "column 4"},
                                           {"vq[8*2,]x8", "column 8"},
                                           {"vq[8*2", "column 7"},
                                           {"vq[8*8]8", "column 8"},
                                           {"vq[0]x8", "column 4"},
                                           {"vq[08]x8", "column 4"},
                                           {"vq[65]x8", "column 4"},
                                           {"vq[8,4*2]x8", "column 5"},
                                           {"vq[4*2,8]x8", "column 9"},
                                           {"vq[8]8", "column 6"},
                                           {"vq[8]x0", "column 7"},
                                           {"vq[8]x13", "column 7"},
                                           {"vq[8", "column 5"},
                                           {"vq[8]", "column 6"},
                                           {"int4@joint@pre", "column 11"},
                                           {"int4@join", "column 5"},
                                           {"int4.tok2049", "column 9"},
                                           {"lut9", "column 4"},
                                           {"lut4.head8", "column 10"},
                                           {"seg8", "column 4"},
                                           {"seg[8,]", "column 7"},
                                           {"seg[1,1,1,1,1,1,1,1,1]", "column 20"},
                                           {"seg[8,4]", "column 8"},
                                           {"int4 ", "column 5"},
                                           {"int4.static32", "column 12"},
                                           {"int4+had+had+had+had+had", "column 25"}};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        kvc_codec codec;
        kvc_error err = {""};
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[i][0], &err), KVC_FORMAT);
        ck_assert_msg(strstr(err.message, specs[i][1]) != NULL, "%s: %s", specs[i][0], err.message);
    }
}
END_TEST

START_TEST(codec_parse__refuses_what_a_symbol_cannot_do)
{
    static const char *const specs[] = {
        "int5",       "int7.tok",  "fp16.tok",    "fp16.ch32",     "int4.head",      "vq3x8",          "vq8x8.tok",
        "lut4.ch32",  "vq[9*8]x8", "fp16.static", "vq8x8.tok8",    "vq[64*1,1*2]x8", "vq12x8",         "lut4.tok",
        "vq[5*16]x8", "vq15x8",    "lut2.ch",     "vq[8*8]x8.tok", "vq[8]x8.head",   "vq[8]x8.static", "vq[8]x8.ch8"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        kvc_codec codec;
        ck_assert_int_eq(kvc_codec_parse(&codec, specs[i], NULL), KVC_FORMAT);
    }
    char longest[300];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = 0;
    kvc_codec codec;
    ck_assert_int_eq(kvc_codec_parse(&codec, longest, NULL), KVC_FORMAT);
}
END_TEST

START_TEST(coder_init__resolves_and_checks_groups)
{
    static const struct {
        const char *spec;
        uint32_t d, page;
        const char *resolved;
    } cases[] = {{"int4", 64, 64, "int4.tok64"},
                 {"int4.ch", 64, 128, "int4.ch128"},
                 {"int4.tok40", 80, 64, "int4.tok40"},
                 {"int4.tok512", 512, 8, "int4.tok512"},
                 {"fp16", 8, 8, "fp16"},
                 {"int4.tok128", 64, 64, NULL},
                 {"int4.tok48", 64, 64, NULL},
                 {"int4.ch24", 64, 64, NULL},
                 {"int4.tok4", 64, 64, NULL},
                 {"int4", 60, 64, NULL},
                 {"int4", 0, 64, NULL},
                 {"int4", 520, 64, NULL},
                 {"int4", 64, 60, NULL},
                 {"int4", 64, 0, NULL},
                 {"int4", 64, 1032, NULL},
                 {"vq8x8", 72, 8, "vq8x8"},
                 {"vq16x8", 72, 8, NULL},
                 {"vq4x8.head", 8, 8, "vq4x8.head"},
                 {"vq[8*2,8*4]x8", 80, 8, "vq[8*2,8*4]x8"},
                 {"vq[8*2,6*4]x8", 80, 8, NULL},
                 {"vq[56*1]x8", 8, 8, "vq[56*1]x8"},
                 {"vq[4*1]x8", 8, 8, NULL},
                 {"vq[8]x8", 72, 8, "vq[8]x8"}, /* 2 heads: 18 codes */
                 {"vq[5]x8", 40, 8, "vq[5]x8"}, /* 6, rounded down */
                 {"vq[4]x8", 8, 8, "vq[4]x8"},
                 {"vq[3]x8", 8, 8, NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder;
        char text[KVC_SPEC_MAX];
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        kvc_status status = kvc_coder_init(&coder, &codec, NULL, 2, cases[i].d, cases[i].page, NULL);
        ck_assert_int_eq(status, cases[i].resolved ? KVC_OK : KVC_INVALID);
        if (status != KVC_OK) continue;
        kvc_codec_format(&coder.codec, text);
        ck_assert_str_eq(text, cases[i].resolved);
        ck_assert_uint_eq(coder.block_bytes % 16, 0);
    }
}
END_TEST

START_TEST(coder_init__knows_the_bytes_of_a_block)
{
    static const struct {
        const char *spec;
        uint32_t d, page, code, block;
    } cases[] = {{"fp16", 64, 64, 8192, 8192},        {"int4.ch64", 64, 64, 2048, 2304},
                 {"int4.tok64", 128, 64, 4096, 4608}, {"int3.tok", 80, 8, 240, 272},
                 {"int1.tok", 8, 8, 8, 48},           {"int6.ch32", 128, 64, 6144, 7168},
                 {"vq8x8", 64, 64, 512, 512},         {"vq16x1", 80, 8, 5, 16},
                 {"lut3.static", 80, 64, 1920, 1920}, {"vq[8*2,4*4,2*8]x11", 64, 64, 1232, 1232}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder;
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 1, cases[i].d, cases[i].page, NULL), KVC_OK);
        ck_assert_uint_eq(coder.code_bytes, cases[i].code);
        ck_assert_uint_eq(coder.block_bytes, cases[i].block);
    }
}
END_TEST

/* One block for each row of a token, one behind the other. */
START_TEST(coder_block__heads_have_equal_blocks)
{
    static const char *const specs[] = {"fp16",
                                        "int4.tok+had",
                                        "int3.ch16",
                                        "int4.tok@joint",
                                        "lut3",
                                        "lut5.static+klt",
                                        "vq8x8",
                                        "vq16x1.head",
                                        "vq4x12.static+klt",
                                        "vq[1*1]x3",
                                        "vq[8*2,4*4,2*8]x11",
                                        "vq[4*8,2*16]x8@joint",
                                        "seg[8,4,2,1,0,0,0,0].ch",
                                        "seg[3,0,0,0,0,0,0,0].static@joint"};
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        for (uint32_t heads = 1; heads <= 7; heads += 3) {
            kvc_codec codec;
            kvc_coder coder;
            ck_assert_int_eq(kvc_codec_parse(&codec, specs[i], NULL), KVC_OK);
            ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, heads, 64, 16, NULL), KVC_OK);
            uint32_t n = strstr(specs[i], "@joint") ? 1 : heads;
            ck_assert_uint_eq(coder.page_bytes, (uint64_t)n * coder.block_bytes);
            for (uint32_t head = 0; head < n; head++) {
                kvc_block block = kvc_coder_block(&coder, head);
                ck_assert_uint_eq(block.offset, (uint64_t)head * coder.block_bytes);
                ck_assert_uint_eq(block.bytes, coder.block_bytes);
            }
        }
}
END_TEST

START_TEST(coder_init__knows_the_bytes_of_a_page_of_shared_codes)
{
    static const struct {
        const char *spec;
        uint32_t heads, d, page, code;
        uint64_t bytes;
    } cases[] = {{"vq[8]x8", 2, 64, 64, 1024, 1024},
                 {"vq[8]x8+klt@joint", 2, 64, 64, 1024, 1024},
                 {"vq[64]x1", 3, 64, 8, 192, 192},
                 {"vq[5]x3", 1, 64, 8, 15, 16},
                 {"vq[5]x3", 7, 64, 8, 105, 112},
                 {"vq[1]x1", 1, 64, 8, 1, 16},
                 {"vq[21]x11", 3, 80, 16, 78 * 22, 1728},
                 {"vq[21]x11@joint", 3, 80, 16, 78 * 22, 1728},
                 {"vq[1]x1", 9, 8, 8, 1, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder;
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        kvc_status status = kvc_coder_init(&coder, &codec, NULL, cases[i].heads, cases[i].d, cases[i].page, NULL);
        ck_assert_int_eq(status, KVC_OK);
        ck_assert_uint_eq(coder.code_bytes, cases[i].code);
        ck_assert_uint_eq(coder.page_bytes, cases[i].bytes);
        ck_assert_uint_eq(coder.block_bytes, cases[i].bytes); /* a head may have all */
        ck_assert_uint_eq(coder.latent_dim, coder.head_dim);
        for (uint32_t head = 0; head < coder.n_kv_heads; head++) /* not known without constants */
            ck_assert_uint_eq(kvc_coder_block(&coder, head).bytes, 0);
        kvc_token_policy policy = {4, 64, cases[i].page};
        uint64_t exact = (uint64_t)cases[i].heads * cases[i].d * 2;
        ck_assert_uint_eq(kvc_coder_bytes(&coder, &policy, 67), 67 * exact);
        ck_assert_uint_eq(kvc_coder_bytes(&coder, &policy, 68 + 5 * cases[i].page + 3),
                          5 * cases[i].bytes + 71 * exact);
    }
}
END_TEST

/* A page of 65536 heads of 512. */
START_TEST(coder_init__refuses_pages_of_shared_codes_beyond_4_GiB)
{
    static const struct {
        const char *spec;
        kvc_status status;
    } cases[] = {{"vq[5]x12", KVC_OK}, {"vq[6]x12", KVC_INVALID}, {"vq[64]x1", KVC_INVALID}, {"vq[63]x1", KVC_OK}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder;
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 65536, 512, 1024, NULL), cases[i].status);
    }
}
END_TEST

START_TEST(coder_init__knows_the_bytes_of_the_constants)
{
    static const struct {
        const char *spec;
        uint32_t heads, d, transform, symbol;
    } cases[] = {{"vq8x8", 3, 64, 0, 3 * 8 * 4 + 3 * 64 * 2 + 256 * 8 * 2},
                 {"vq8x8.head", 3, 64, 0, 3 * (8 * 4 + 64 * 2 + 256 * 8 * 2)},
                 {"vq8x8.static+klt", 3, 64, 3 * (256 + 6 * 4096), 3 * (8 * 4 + 64 * 2 + 8 * 256 * 8 * 2)},
                 {"lut3", 2, 80, 0, 2 * 80 * 4 + 2 * 80 * 2 + 8 * 2},
                 {"lut1.static", 1, 8, 0, 8 * 4 + 8 * 2 + 8 * 2 * 2},
                 {"int4.tok+klt", 1, 8, 32 + 384, 0},
                 {"vq[8*2,4*4,2*8]x3", 1, 64, 0, (8 + 4 + 2) * 4 + 48 * 2 + (2 + 4 + 8) * 8 * 2},
                 {"vq[8*2,4*4,2*8]x3.static", 1, 64, 0, (8 + 4 + 2) * 4 + 48 * 2 + 48 * 8 * 2},
                 {"vq[1*1]x3", 1, 64, 0, 4 + 2 + 2 + 8 * 2},
                 {"vq[1*1]x3.head", 3, 64, 0, 3 * 4 + 3 * 2 + 2 + 3 * 8 * 2},
                 {"vq[4*8,2*16]x3@joint", 3, 64, 0, 3 * 6 * 4 + 3 * 64 * 2 + 24 * 8 * 2},
                 {"vq[8]x3", 3, 64, 0, 3 * 4 + 24 * 4 + 3 * 64 * 2 + 31 * 8 * 2},
                 {"vq[5]x1+klt", 3, 24, 3 * (96 + 6 * 576), 3 * 4 + 5 * 4 + 3 * 24 * 2 + 31 * 2 * 2},
                 {"vq[8]x3@joint", 3, 64, 0, 4 + 24 * 4 + 3 * 64 * 2 + 31 * 8 * 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder, again;
        uint32_t rounded = (cases[i].transform + 15u) / 16u * 16u;
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, cases[i].heads, cases[i].d, 8, NULL), KVC_OK);
        ck_assert_uint_eq(kvc_coder_part_bytes(&coder, 0), cases[i].transform);
        ck_assert_uint_eq(kvc_coder_part_bytes(&coder, 3), 0);
        ck_assert_uint_eq(kvc_coder_part_bytes(&coder, 4), cases[i].symbol);
        ck_assert_uint_eq(kvc_coder_part_offset(&coder, 0), 0);
        ck_assert_uint_eq(kvc_coder_part_offset(&coder, 4), rounded);
        ck_assert_uint_eq(coder.codec.param_bytes, rounded + (cases[i].symbol + 15u) / 16u * 16u);
        ck_assert_uint_eq(kvc_codec_since(&coder.codec), 1001);
        ck_assert_int_eq(kvc_coder_init(&again, &coder.codec, NULL, cases[i].heads, cases[i].d, 8, NULL), KVC_OK);
        coder.codec.param_bytes -= 16; /* cut short, or of another codec */
        kvc_status status = kvc_coder_init(&again, &coder.codec, NULL, cases[i].heads, cases[i].d, 8, NULL);
        ck_assert_int_eq(status, coder.codec.param_bytes ? KVC_INVALID : KVC_OK);
    }
}
END_TEST

START_TEST(coder_init__refuses_constants_beyond_4_GiB)
{
    kvc_codec codec;
    kvc_coder coder;
    ck_assert_int_eq(kvc_codec_parse(&codec, "int4.tok+klt", NULL), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 65536, 512, 8, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_codec_parse(&codec, "vq16x12.static", NULL), KVC_OK);
    ck_assert_int_eq(kvc_coder_init(&coder, &codec, NULL, 65536, 512, 8, NULL), KVC_INVALID);
}
END_TEST

CHECK_MAIN("spec", codec_parse__prints_back_canonically, codec_parse__names_what_this_version_lacks,
           codec_parse__says_where_it_stopped, codec_parse__refuses_what_a_symbol_cannot_do,
           coder_init__resolves_and_checks_groups, coder_init__knows_the_bytes_of_a_block,
           coder_block__heads_have_equal_blocks, coder_init__knows_the_bytes_of_a_page_of_shared_codes,
           coder_init__refuses_pages_of_shared_codes_beyond_4_GiB, coder_init__knows_the_bytes_of_the_constants,
           coder_init__refuses_constants_beyond_4_GiB)
