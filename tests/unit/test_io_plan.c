/* test_io_plan.c - plans and spaces: what is read, what is refused, the canonical text. */
#include "check_main.h"
#include "plan.h"
#include <stdio.h>
#include <string.h>

static kvc_error err;
static const kvc_token_policy defaults = {4, 64, 64};

static kvc_status read_text(plan *p, const char *text, uint32_t n_layers)
{
    err.message[0] = 0;
    return plan_read_memory(p, text, strlen(text), "p.yaml", n_layers, &defaults, &err);
}

static void check_pair(const plan *p, uint32_t layer, const char *key, const char *value)
{
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(&p->layers[layer].key, spec);
    ck_assert_str_eq(spec, key);
    kvc_codec_format(&p->layers[layer].value, spec);
    ck_assert_str_eq(spec, value);
}

START_TEST(plan_read__reads_the_contract_example)
{
    plan p;
    ck_assert_int_eq(read_text(&p,
                               "model: SmolLM2-135M-Instruct\ntokens: {sinks: 2, window: 32, page: 128}\n"
                               "default: {key: int4.ch32, value: int4.tok64}\n"
                               "layers:\n  0: {key: int8.ch32, value: int4.tok64}\n",
                               3),
                     KVC_OK);
    ck_assert_str_eq(p.model, "SmolLM2-135M-Instruct");
    ck_assert(p.tokens.sinks == 2 && p.tokens.window == 32 && p.tokens.page == 128 && p.n_layers == 3);
    check_pair(&p, 0, "int8.ch32", "int4.tok64");
    check_pair(&p, 1, "int4.ch32", "int4.tok64");
    check_pair(&p, 2, "int4.ch32", "int4.tok64");
    plan_free(&p);
}
END_TEST

START_TEST(plan_read__takes_ranges_partial_entries_and_defaults)
{
    plan p;
    ck_assert_int_eq(read_text(&p,
                               "tokens: {window: 0}\nlayers: {4-6: {key: fp16}, 1: {value: int2.tok32}}\n"
                               "default: {key: int3.ch64, value: int3.tok+had}\n",
                               8),
                     KVC_OK);
    ck_assert(p.tokens.sinks == 4 && p.tokens.window == 0 && p.tokens.page == 64 && !*p.model);
    check_pair(&p, 0, "int3.ch64", "int3.tok+had");
    check_pair(&p, 1, "int3.ch64", "int2.tok32");
    check_pair(&p, 4, "fp16", "int3.tok+had");
    check_pair(&p, 6, "fp16", "int3.tok+had");
    check_pair(&p, 7, "int3.ch64", "int3.tok+had");
    plan_free(&p);
}
END_TEST

START_TEST(plan_read__takes_kvtuner_files)
{
    plan p;
    ck_assert_int_eq(read_text(&p,
                               "0:\n  nbits_key: 8\n  nbits_value: 4\n1:\n  nbits_key: 4\n  nbits_value: 2\n"
                               "2: {nbits_value: 16, nbits_key: 16}\n",
                               3),
                     KVC_OK);
    check_pair(&p, 0, "int8.ch32", "int4.tok32");
    check_pair(&p, 1, "int4.ch32", "int2.tok32");
    check_pair(&p, 2, "fp16", "fp16");
    plan_free(&p);
}
END_TEST

START_TEST(plan_write_kvtuner__round_trips)
{
    const char *text = "0: {nbits_key: 8, nbits_value: 4}\n1: {nbits_key: 16, nbits_value: 2}\n"
                       "2: {nbits_key: 3, nbits_value: 16}\n";
    plan p;
    char *written;
    ck_assert_int_eq(read_text(&p, text, 3), KVC_OK);
    ck_assert_int_eq(plan_write_kvtuner(&written, &p, NULL, &err), KVC_OK);
    ck_assert_str_eq(written, text);
    free(written);
    ck_assert_int_eq(plan_write_kvtuner(&written, &p, "two\nlines", &err), KVC_OK);
    ck_assert_msg(strncmp(written, "# two\n# lines\n0: {", 18) == 0, "%s", written);
    free(written);
    plan_free(&p);
}
END_TEST

START_TEST(plan_write_kvtuner__lists_what_would_be_lost)
{
    static const char *const specs[][2] = {{"int4.ch32", "int4.tok"},
                                           {"int4.ch64", "int4.tok32"},
                                           {"int4.ch32", "int4.tok32+had"},
                                           {"int4.tok32", "int4.tok32"},
                                           {"int4.ch32", "int4.ch32"}};
    char text[200];
    plan p;
    char *written;
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        snprintf(text, sizeof text, "default: {key: int4.ch32, value: int4.tok32}\nlayers: {1: {key: %s, value: %s}}",
                 specs[i][0], specs[i][1]);
        ck_assert_int_eq(read_text(&p, text, 3), KVC_OK);
        ck_assert_int_eq(plan_write_kvtuner(&written, &p, NULL, &err), KVC_LOSSY);
        ck_assert_ptr_null(written);
        ck_assert_msg(strstr(err.message, "layer 1 ") && !strstr(err.message, "layer 0") &&
                          !strstr(err.message, "more"),
                      "%s", err.message);
        plan_free(&p);
    }
    ck_assert_int_eq(read_text(&p, "default: {key: int4.ch64+had, value: int4.tok32+had}", 20), KVC_OK);
    ck_assert_int_eq(plan_write_kvtuner(&written, &p, NULL, &err), KVC_LOSSY);
    ck_assert_msg(strstr(err.message, "layer 0 key int4.ch64+had, layer 0 value int4.tok32+had, layer 1 key") &&
                      strstr(err.message, " and 36 more"),
                  "%s", err.message);
    plan_free(&p);
}
END_TEST

#define PAIR "{key: fp16, value: fp16}"
START_TEST(plan_read__refuses_with_place)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"defualt: " PAIR, "p.yaml:1:1: unknown key \"defualt\"; did you mean \"default\"?"},
        {"default: {key: fp16, valeu: fp16}", "p.yaml:1:22: unknown key \"valeu\"; did you mean \"value\"?"},
        {"default: {key: fp16}", "p.yaml:1:10: \"value\" is missing"},
        {"default: fp16", "p.yaml:1:10: expected a map"},
        {"default: {key: int5.ch32, value: fp16}", "p.yaml:1:16: key: "},
        {"default: {key: fp16, value: }", "p.yaml:1:29: value: "},
        {"default: {key: [fp16], value: fp16}", "p.yaml:1:16: key: expected a text"},
        {"layers: {0: " PAIR "}", "p.yaml: layer 1 has no codecs and there is no \"default:\""},
        {"layers: {0-1: {key: fp16}}", "p.yaml:1:15: \"value\" is missing and there is no default"},
        {"layers:\n  0: " PAIR "\n  2: " PAIR, "p.yaml:3:3: layers: 2 is out of range, the model has 2 layers"},
        {"layers: {0: " PAIR ", 0-1: " PAIR "}", "p.yaml:1:39: layers: layer 0 again (first in line 1)"},
        {"layers: {1-0: " PAIR "}", "p.yaml:1:10: layers: the range 1-0 runs backwards"},
        {"layers: {99999999999999999999999: " PAIR "}",
         "p.yaml:1:10: layers: 99999999999999999999999 is out of range"},
        {"layers: {0-: " PAIR "}", "p.yaml:1:10: layers: expected an index or a range such as 4-7, not \"0-\""},
        {"layers: {0-1-1: " PAIR "}", "p.yaml:1:10: layers: expected an index"},
        {"layers: {-1: " PAIR "}", "p.yaml:1:10: layers: expected an index"},
        {"layers: {first: " PAIR "}", "p.yaml:1:10: layers: expected an index"},
        {"layers: [" PAIR "]", "p.yaml:1:9: layers: expected a map"},
        {"tokens: {page: 0}", "p.yaml:1:16: page: 0 is not between 8 and 1024"},
        {"tokens: {page: 60}", "p.yaml:1:16: page: 60 is not a multiple of 8"},
        {"tokens: {sinks: -4}", "p.yaml:1:17: sinks: expected a whole number"},
        {"model_sha256: abc", "p.yaml:1:15: model_sha256: expected 64"},
        {"model: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "p.yaml:1:8: model: longer"},
        {"{}", "p.yaml: layer 0 has no codecs"},
        {"fp16", "p.yaml:1:1: expected a map"},
        {"0: {nbits_key: 4, nbits_value: 4}", "p.yaml: layer 1 has no codecs"},
        {"0: {nbits_key: 4, nbits_values: 4}",
         "p.yaml:1:19: unknown key \"nbits_values\"; did you mean \"nbits_value\"?"},
        {"0: {nbits_key: 4}", "p.yaml:1:4: \"nbits_value\" is missing"},
        {"0: {nbits_key: 5, nbits_value: 4}", "p.yaml:1:16: nbits_key: "},
        {"0: {nbits_key: 17, nbits_value: 4}", "p.yaml:1:16: nbits_key: 17 is not between 1 and 16"},
        {"0: {nbits_key: 4, nbits_value: 4}\n7: {nbits_key: 4, nbits_value: 4}",
         "p.yaml:2:1: layers: 7 is out of range"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plan p;
        ck_assert_msg(read_text(&p, cases[i].text, 2) != KVC_OK, "%s", cases[i].text);
        ck_assert_msg(!strncmp(err.message, cases[i].message, strlen(cases[i].message)), "\"%s\" gave \"%s\"",
                      cases[i].text, err.message);
        ck_assert_ptr_null(p.layers);
    }
}
END_TEST

START_TEST(plan_read__keeps_the_parsers_status)
{
    plan p;
    ck_assert_int_eq(read_text(&p, "default: {key: int4.tok+tucker, value: fp16}", 1), KVC_UNSUPPORTED);
    ck_assert_int_eq(read_text(&p, "default: {key: gibberish, value: fp16}", 1), KVC_FORMAT);
}
END_TEST

START_TEST(plan_write__is_compact_and_canonical)
{
    plan p;
    ck_assert_int_eq(read_text(&p,
                               "layers: {1-2: {key: int4.ch64, value: int4.tok+had}, 0: {key: fp16, value: fp16},"
                               "3: {key: int4.ch64, value: int4.tok+had}}",
                               4),
                     KVC_OK);
    strcpy(p.model, "m");
    char *text = plan_write(&p, "solved\nfor 4 bits\n");
    ck_assert_str_eq(text,
                     "# solved\n# for 4 bits\nmodel: m\ntokens: {sinks: 4, window: 64, page: 64}\n"
                     "default: {key: int4.ch64, value: int4.tok+had}\nlayers:\n  0: {key: fp16, value: fp16}\n");
    free(text);
    plan_free(&p);
}
END_TEST

/* Every plan comes back equal, whatever its name is; a second writing gives the same text. */
START_TEST(plan_write__round_trips)
{
    static const char *const names[] = {"",   "a b: c",           "\"\\#", "null", "12", "caf\xc3\xa9", "\x01\t",
                                        "on", "\xf0\x9f\x98\x80", "- x",   "~",    "'",  "a\nb",        "org/m-7B"};
    static const char *const specs[] = {"fp16", "int4", "int4.tok64", "int3.ch32+had", "int1.tok+had"};
    uint32_t x = 1;
    for (size_t round = 0; round < 200; round++) {
        plan p = {.tokens = {(uint32_t)round, 64, 128}, .n_layers = 1 + (uint32_t)round % 9}, q;
        strcpy(p.model, names[round % (sizeof names / sizeof *names)]);
        if (round % 2) p.weights_sha256[round % 32] = 0xa5;
        p.layers = calloc(p.n_layers, sizeof *p.layers);
        for (uint32_t i = 0; i < p.n_layers; i++) {
            x = x * 1664525u + 1013904223u;
            ck_assert_int_eq(kvc_codec_parse(&p.layers[i].key, specs[(x >> 16) % 5], &err), KVC_OK);
            ck_assert_int_eq(kvc_codec_parse(&p.layers[i].value, specs[(x >> 24) % 5], &err), KVC_OK);
        }
        char *text = plan_write(&p, round % 3 ? "one\n\n\xff\x01 two \xc3\xa9\n" : NULL);
        ck_assert_msg(plan_read_memory(&q, text, strlen(text), "q", p.n_layers, &defaults, &err) == KVC_OK, "%s\n%s",
                      err.message, text);
        ck_assert_str_eq(q.model, p.model);
        ck_assert_mem_eq(q.weights_sha256, p.weights_sha256, 32);
        ck_assert_mem_eq(&q.tokens, &p.tokens, sizeof p.tokens);
        ck_assert_mem_eq(q.layers, p.layers, p.n_layers * sizeof *p.layers);
        char *again = plan_write(&q, round % 3 ? "one\n\n\xff\x01 two \xc3\xa9\n" : NULL);
        ck_assert_str_eq(text, again);
        free(text);
        free(again);
        plan_free(&p);
        plan_free(&q);
    }
}
END_TEST

START_TEST(plan_write__survives_invalid_utf8_names)
{
    plan p = {.model = "bad\xc3", .tokens = defaults}, q;
    char *text = plan_write(&p, NULL);
    ck_assert_int_eq(read_text(&q, text, 0), KVC_OK);
    ck_assert_str_eq(q.model, "bad?");
    free(text);
    plan_free(&q);
}
END_TEST

START_TEST(plan_read__reads_files)
{
    char path[4096];
    plan p;
    snprintf(path, sizeof path, "%s/test_io_plan.yaml", getenv("KVC_TEST_BUILD"));
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fputs("default: {key: int4.ch64, value: fp17}\n", f);
    fclose(f);
    ck_assert_int_eq(plan_read(&p, path, 2, &defaults, &err), KVC_FORMAT);
    ck_assert(!strncmp(err.message, path, strlen(path)) && strstr(err.message, ":1:34: value: "));
    remove(path);
    ck_assert_int_eq(plan_read(&p, path, 2, &defaults, &err), KVC_INPUT);
}
END_TEST

START_TEST(space_read__refuses_with_place)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"keys: [fp16]", "s.yaml:1:1: \"values\" is missing"},
        {"keys: [fp16]\nvalues: fp16", "s.yaml:2:9: values: expected a list"},
        {"keys: []\nvalues: [fp16]", "s.yaml:1:7: keys: expected a list"},
        {"keys: [fp16]\nvalues: [fp16, int4, int4.tok]", "s.yaml:2:22: values: \"int4.tok\" again"},
        {"keys: [fp16, int4.zz]\nvalues: [fp16]", "s.yaml:1:14: keys: "},
        {"keys: [fp16, {a: b}]\nvalues: [fp16]", "s.yaml:1:14: keys: expected a text"},
        {"key: [fp16]\nvalues: [fp16]", "s.yaml:1:1: unknown key \"key\"; did you mean \"keys\"?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        codec_space s;
        ck_assert_int_eq(space_read_memory(&s, cases[i].text, strlen(cases[i].text), "s.yaml", &err), KVC_FORMAT);
        ck_assert_msg(!strncmp(err.message, cases[i].message, strlen(cases[i].message)), "\"%s\" gave \"%s\"",
                      cases[i].text, err.message);
        ck_assert(!s.keys && !s.values);
    }
}
END_TEST

/* Every candidate of the shipped spaces fits heads of 64 and 128 channels; the built-in one is fitted.yaml. */
START_TEST(space__shipped_ones_are_valid)
{
    static const char *const files[] = {"fitted", "integer",   "pertoken",         "kivi",
                                        "joint",  "published", "kvtuner-pertoken", "antkv"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[4096];
        codec_space s, builtin;
        size_t n;
        snprintf(path, sizeof path, "%s/../configs/spaces/%s.yaml", getenv("KVC_TEST_DATA"), files[i]);
        ck_assert_msg(space_read(&s, path, &err) == KVC_OK, "%s", err.message);
        for (uint32_t d = 64; d <= 128; d *= 2) {
            kvc_coder coder;
            for (uint32_t c = 0; c < s.n_keys; c++)
                ck_assert_int_eq(kvc_coder_init(&coder, &s.keys[c], NULL, 8, d, 64, &err), KVC_OK);
            for (uint32_t c = 0; c < s.n_values; c++)
                ck_assert_int_eq(kvc_coder_init(&coder, &s.values[c], NULL, 8, d, 64, &err), KVC_OK);
        }
        const char *text = builtin_space(&n);
        ck_assert_uint_eq(strlen(text), n);
        ck_assert_int_eq(space_read_memory(&builtin, text, n, "built-in", &err), KVC_OK);
        if (i == 0) {
            ck_assert(builtin.n_keys == s.n_keys && builtin.n_values == s.n_values);
            ck_assert_mem_eq(builtin.keys, s.keys, s.n_keys * sizeof *s.keys);
            ck_assert_mem_eq(builtin.values, s.values, s.n_values * sizeof *s.values);
        }
        space_free(&builtin);
        space_free(&s);
    }
}
END_TEST

CHECK_MAIN("plan", plan_read__reads_the_contract_example, plan_read__takes_ranges_partial_entries_and_defaults,
           plan_read__takes_kvtuner_files, plan_write_kvtuner__round_trips,
           plan_write_kvtuner__lists_what_would_be_lost, plan_read__refuses_with_place,
           plan_read__keeps_the_parsers_status, plan_write__is_compact_and_canonical, plan_write__round_trips,
           plan_write__survives_invalid_utf8_names, plan_read__reads_files, space_read__refuses_with_place,
           space__shipped_ones_are_valid)
