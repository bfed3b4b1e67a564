/* Opening cfg.bin: golden files of every kind, damage of every byte, and what an open configuration says. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cache_rig.h"

typedef struct file {
    uint8_t *bytes;
    size_t n;
} file;

static const char *golden(const char *kind, const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/golden/%s/%s", getenv("KVC_TEST_DATA"), kind, name);
    return path;
}

static file read_file(const char *path)
{
    file f = {malloc(1 << 16), 0};
    FILE *in = fopen(path, "rb");
    ck_assert_msg(in != NULL, "%s is missing", path);
    f.n = fread(f.bytes, 1, 1 << 16, in);
    ck_assert_uint_lt(f.n, 1 << 16);
    fclose(in);
    return f;
}

/* Calls `visit` for each .bin of the folder; returns how many. */
static int each_bin(const char *kind, void (*visit)(const char *kind, const char *name))
{
    int n = 0;
    DIR *folder = opendir(golden(kind, ""));
    ck_assert_msg(folder != NULL, "no golden files");
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strstr(entry->d_name, ".bin")) n++, visit(kind, entry->d_name);
    closedir(folder);
    return n;
}

static void opens(const char *kind, const char *name)
{
    kvc_config *cfg;
    kvc_error err = {""};
    uint8_t identity[32];
    file f = read_file(golden(kind, name));
    ck_assert_msg(kvc_config_open(&cfg, golden(kind, name), &err) == KVC_OK, "%s: %s", name, err.message);
    ck_assert_uint_eq(kvc_config_file_bytes(cfg), f.n);
    ck_assert_int_eq(cfg_identity(f.bytes, f.n, identity, &err), KVC_OK);
    ck_assert_int_eq(memcmp(identity, kvc_config_id(cfg), 32), 0);
    kvc_config_close(cfg);
    free(f.bytes);
}

START_TEST(config_open__reads_every_good_file)
{
    ck_assert_int_ge(each_bin("good", opens), 6);
}
END_TEST

/* The file name says the rule; F-03, F-16 and F-41 are about what is missing here, not about malformed files. */
static void refuses(const char *kind, const char *name)
{
    kvc_config *cfg;
    kvc_error err = {""};
    char rule[8];
    snprintf(rule, sizeof rule, "[F-%.2s]", name + 1);
    kvc_status want = strstr("[F-03] [F-16] [F-41]", rule) ? KVC_UNSUPPORTED : KVC_FORMAT;
    kvc_status status = kvc_config_open(&cfg, golden(kind, name), &err);
    ck_assert_msg(status == want && strstr(err.message, rule), "%s: status %d, %s", name, status, err.message);
    ck_assert_msg(strstr(err.message, name) != NULL, "the file is not named: %s", err.message);
    ck_assert_ptr_null(cfg);
    file f = read_file(golden(kind, name));
    ck_assert_int_eq(kvc_config_open_memory(&cfg, f.bytes, f.n, NULL), want);
    free(f.bytes);
}

START_TEST(config_open__refuses_every_bad_file_by_its_rule)
{
    ck_assert_int_ge(each_bin("bad", refuses), 60);
}
END_TEST

static void notices(const char *kind, const char *name)
{
    kvc_config *cfg;
    file f = read_file(golden(kind, name));
    for (size_t i = 0; i < f.n; i++)
        for (int bit = 0; bit < 8; bit++) {
            f.bytes[i] ^= (uint8_t)(1 << bit);
            ck_assert_msg(kvc_config_open_memory(&cfg, f.bytes, f.n, NULL) != KVC_OK, "%s: byte %zu", name, i);
            f.bytes[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t n = 0; n < f.n; n++) {
        uint8_t *part = malloc(n + 1); /* so that a sanitizer sees a read beyond the end */
        memcpy(part, f.bytes, n);
        part = realloc(part, n ? n : 1);
        ck_assert_msg(kvc_config_open_memory(&cfg, part, n, NULL) != KVC_OK, "%s: %zu bytes", name, n);
        free(part);
    }
    free(f.bytes);
}

START_TEST(config_open__notices_every_flipped_bit_and_every_truncation)
{
    each_bin("good", notices);
}
END_TEST

START_TEST(config_open_memory__takes_any_alignment)
{
    file f = read_file(golden("good", "mixed.bin"));
    uint8_t *buffer = aligned_alloc(64, (f.n + 127) / 64 * 64);
    for (size_t shift = 0; shift < 64; shift++) {
        kvc_config *cfg;
        memcpy(buffer + shift, f.bytes, f.n);
        ck_assert_int_eq(kvc_config_open_memory(&cfg, buffer + shift, f.n, NULL), KVC_OK);
        ck_assert_uint_eq((uintptr_t)kvc_config_layer(cfg, 0) % 64, 0);
        ck_assert_uint_eq(kvc_config_model(cfg)->head_dim, 80);
        kvc_config_close(cfg);
    }
    free(buffer);
    free(f.bytes);
}
END_TEST

START_TEST(config_open__names_files_it_cannot_read)
{
    kvc_config *cfg;
    kvc_error err;
    ck_assert_int_eq(kvc_config_open(&cfg, "/nowhere/cfg.bin", &err), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(err.message, "/nowhere/cfg.bin"));
    ck_assert_int_eq(kvc_config_open(&cfg, getenv("KVC_TEST_DATA"), &err), KVC_INPUT);
    ck_assert_ptr_null(cfg);
    kvc_config_close(NULL);
}
END_TEST

START_TEST(config__says_what_mixed_holds)
{
    static const char *const specs[][2] = {{"int8.ch32", "int8.tok80+had"},
                                           {"int6.ch64+had", "int6.tok40"},
                                           {"int4.ch16", "int4.tok16+had+had"},
                                           {"int3.ch64", "int3.tok8"},
                                           {"int2.ch8", "int2.tok80"},
                                           {"int1.ch64", "int1.tok80+had"},
                                           {"fp16", "fp16"}};
    static const char *const sections[] = {"model", "tokens", "layers", "provenance"};
    kvc_config *cfg;
    char text[KVC_SPEC_MAX];
    size_t n;
    ck_assert_int_eq(kvc_config_open(&cfg, golden("good", "mixed.bin"), NULL), KVC_OK);
    const kvc_model_info *m = kvc_config_model(cfg);
    ck_assert_str_eq(m->name, "golden");
    ck_assert_uint_eq(m->n_layers, 7);
    ck_assert_uint_eq(m->n_query_heads, 12);
    ck_assert_uint_eq(m->n_kv_heads, 3);
    ck_assert_uint_eq(kvc_config_tokens(cfg)->window, 64);
    ck_assert_uint_eq(kvc_config_format(cfg), 1000);
    for (uint32_t i = 0; i < 7; i++) {
        kvc_codec_format(&kvc_config_layer(cfg, i)->key, text);
        ck_assert_str_eq(text, specs[i][0]);
        kvc_codec_format(&kvc_config_layer(cfg, i)->value, text);
        ck_assert_str_eq(text, specs[i][1]);
    }
    ck_assert_ptr_null(kvc_config_layer(cfg, 7));
    ck_assert_ptr_null(kvc_config_parameters(cfg, &n));
    ck_assert_uint_eq(n, 0);
    ck_assert_ptr_nonnull(kvc_config_provenance(cfg, &n));
    ck_assert_uint_eq(n, strlen("{\"tool\":\"golden\",\"seed\":7}"));
    ck_assert_uint_eq(kvc_config_sections(cfg), 4);
    for (uint32_t i = 0; i < 4; i++) ck_assert_str_eq(kvc_config_section(cfg, i).name, sections[i]);
    ck_assert_uint_eq(kvc_config_section(cfg, 4).bytes, 0);
    kvc_config_close(cfg);
}
END_TEST

START_TEST(config__skips_optional_sections_it_does_not_know)
{
    kvc_config *cfg;
    size_t n;
    ck_assert_int_eq(kvc_config_open(&cfg, golden("good", "newer_writer.bin"), NULL), KVC_OK);
    ck_assert_uint_eq(kvc_config_format(cfg), 1007);
    ck_assert_str_eq(kvc_config_section(cfg, 4).name, "unknown");
    kvc_config_close(cfg);
    ck_assert_int_eq(kvc_config_open(&cfg, golden("good", "parameters.bin"), NULL), KVC_OK);
    const uint8_t *parameters = kvc_config_parameters(cfg, &n);
    ck_assert_uint_eq(n, 100);
    ck_assert_uint_eq(parameters[99], 99);
    kvc_config_close(cfg);
}
END_TEST

/* uniform.bin: 32 layers, 8 heads of 128, int4.ch64 keys (64 + 8 bytes ... a block of 4608) and int4.tok64 values. */
START_TEST(config_bytes__counts_pages_sinks_and_window)
{
    kvc_config *cfg;
    ck_assert_int_eq(kvc_config_open(&cfg, golden("good", "uniform.bin"), NULL), KVC_OK);
    ck_assert_uint_lt(kvc_config_file_bytes(cfg), 4096);
    uint64_t exact = 32 * 8 * 512, page = 32 * 8 * (4608 + 4608);
    ck_assert_uint_eq(kvc_config_bytes(cfg, 0), 0);
    ck_assert_uint_eq(kvc_config_bytes(cfg, 131), 131 * exact);
    ck_assert_uint_eq(kvc_config_bytes(cfg, 132), 68 * exact + page);
    ck_assert_uint_eq(kvc_config_bytes(cfg, 8192), (8192 - 8064) * exact + 126 * page);
    ck_assert_double_eq_tol(kvc_config_bytes_per_token(cfg, 132) * 132, (double)kvc_config_bytes(cfg, 132), 1e-6);
    ck_assert_double_eq_tol(kvc_config_bits_per_value(cfg, 8192), 4.679688, 1e-6);
    ck_assert_double_eq_tol(kvc_config_bits_per_value(cfg, 1), 16.0, 1e-12);
    ck_assert(kvc_config_bits_per_value(cfg, 0) == 0.0);
    kvc_config_close(cfg);
}
END_TEST

/* 3 heads of 64, pages of 64. */
START_TEST(config_bytes__counts_pages_of_fitted_codecs)
{
    static const struct {
        const char *key, *value;
        uint64_t page;
    } cases[] = {{"vq8x8", "vq4x3.static+klt", 3 * 8 * 64 + 3 * 16 * 64 * 3 / 8},
                 {"vq[8]x8+klt", "vq[5]x3", 24 * 64 + 15 * 64 * 3 / 8 + 8},
                 {"int4.tok", "vq[1]x7@joint", 3 * (64 * 32 + 64 * 4) + 3 * 64 * 7 / 8 + 8},
                 {"lut3.head", "vq[4*8]x8", 3 * 64 * 64 * 3 / 8 + 3 * 4 * 64}};
    uint64_t exact = 3 * 64 * 2 * 2;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r;
        rig_config(&r, 2, 3, 3, 64, (kvc_token_policy){4, 64, 64}, cases[i].key, cases[i].value);
        ck_assert_uint_eq(kvc_config_bytes(r.cfg, 131), 2 * 131 * exact);
        ck_assert_uint_eq(kvc_config_bytes(r.cfg, 132), 2 * (68 * exact + cases[i].page));
        ck_assert_uint_eq(kvc_config_bytes(r.cfg, 8192), 2 * (128 * exact + 126 * cases[i].page));
        rig_free(&r);
    }
}
END_TEST

START_TEST(status__has_a_sentence_for_every_code)
{
    for (int i = 0; i < KVC_STATUS_COUNT; i++) ck_assert_uint_gt(strlen(kvc_status_text((kvc_status)i)), 3);
    ck_assert_str_eq(kvc_status_text((kvc_status)KVC_STATUS_COUNT), "unknown status");
    ck_assert_int_eq(kvc_fail(NULL, KVC_FULL, "%d", 1), KVC_FULL);
    kvc_error err;
    char longer[2000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = 0;
    kvc_fail(&err, KVC_FULL, "%s", longer);
    ck_assert_uint_eq(strlen(err.message), sizeof err.message - 1);
    ck_assert_uint_gt(strlen(kvc_version()), 4);
}
END_TEST

CHECK_MAIN("config", config_open__reads_every_good_file, config_open__refuses_every_bad_file_by_its_rule,
           config_open__notices_every_flipped_bit_and_every_truncation, config_open_memory__takes_any_alignment,
           config_open__names_files_it_cannot_read, config__says_what_mixed_holds,
           config__skips_optional_sections_it_does_not_know, config_bytes__counts_pages_sinks_and_window,
           config_bytes__counts_pages_of_fitted_codecs, status__has_a_sentence_for_every_code)
