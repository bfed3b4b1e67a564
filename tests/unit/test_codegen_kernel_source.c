/* kernel_source(): the text of a header, and that it has the #defines which the template wants; the template that the
 * program carries; manifests. */
#include <stdio.h>
#include <string.h>
#include "check_main.h"
#include "kernel_manifest.h"
#include "kernel_source.h"
#include "kernel_template.h"
#include "params_rig.h"

static const char hash[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/* steps: of byte tables, or NULL. */
static void plan_of(kernel_plan *out, uint32_t group, const char *key, const char *value, const float steps[][2])
{
    kvc_model_info model = {.n_layers = 1, .n_query_heads = 2 * group, .n_kv_heads = 2, .head_dim = 128};
    kvc_token_policy tokens = {4, 64, 64};
    kvc_layer layer;
    size_t n;
    ck_assert_int_eq(kvc_codec_parse(&layer.key, key, NULL), KVC_OK);
    ck_assert_int_eq(kvc_codec_parse(&layer.value, value, NULL), KVC_OK);
    void *params = steps ? params_of_layers(&layer, 1, 2, 128, 64, steps, &n) : NULL;
    ck_assert_int_eq(kernel_plan_new(out, &model, &tokens, &layer, params, false, kernel_target_find("sm_90"), NULL),
                     KVC_OK);
    free(params);
}

/* A file of tests/ or, below "../", of the repository. Owned: free(). */
static char *file_text(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", getenv("KVC_TEST_DATA"), name);
    FILE *in = fopen(path, "rb");
    ck_assert_msg(in != NULL, "%s", path);
    char *text = calloc(1, 1 << 16);
    ck_assert_uint_lt(fread(text, 1, (1 << 16) - 1, in), (1 << 16) - 1);
    fclose(in);
    return text;
}

static void expect_golden(uint32_t group, const char *key, const char *value, const float steps[][2],
                          const char *name)
{
    kernel_plan plan;
    plan_of(&plan, group, key, value, steps);
    char *text = kernel_source(plan.kernels, hash), *want = file_text(name);
    ck_assert_str_eq(text, want);
    free(text);
    free(want);
    kernel_plan_free(&plan);
}

START_TEST(kernel_source__is_the_golden_header)
{
    static const float steps[1][2] = {{0x1p-6f, 0x1p-5f}};
    expect_golden(4, "int4.ch64", "int2.tok", NULL, "golden/kernels/attend_int4_ch64_int2_tok128_d128_g4_p64_c8.h");
    expect_golden(16, "vq4x8+klt", "fp16", NULL, "golden/kernels/attend_vq4x8_fp16_d128_g16_p64_c16.h");
    expect_golden(4, "seg[8,4,4,2,2,0,0,0].ch64", "vq[8*2,6*8]x7.head+klt", NULL,
                  "golden/kernels/attend_seg_8_4_4_2_2_0_0_0__ch64_vq_8_2_6_8_x7_head_d128_g4_p64_c8.h");
    expect_golden(4, "vq4x8", "vq8x8+klt", steps, "golden/kernels/attend_vq4x8_bytes_vq8x8_bytes_d128_g4_p64_c8.h");
}
END_TEST

/* The name that the next "#define " of the text gives, NULL at its end. */
static const char *next_define(const char **text, size_t *n)
{
    const char *at = strstr(*text, "\n#define ");
    if (!at) return NULL;
    at += strlen("\n#define ");
    *n = strcspn(at, " ");
    *text = at;
    return at;
}

START_TEST(kernel_source__defines_what_the_template_wants)
{
    kernel_plan plan;
    size_t n, n_text = 0, n_want = 0;
    plan_of(&plan, 4, "int4.ch64", "int4.tok", NULL);
    char *text = kernel_source(plan.kernels, hash), *want = file_text("../kernels/template/default_params.h");
    const char *at = want, *name;
    for (; (name = next_define(&at, &n)); n_want++) {
        char line[128];
        snprintf(line, sizeof line, "\n#define %.*s ", (int)n, name);
        ck_assert_msg(strstr(text, line) != NULL, "%.*s is not defined", (int)n, name);
    }
    for (at = text; next_define(&at, &n);) n_text++;
    ck_assert_uint_eq(n_text, n_want);
    free(text);
    free(want);
    kernel_plan_free(&plan);
}
END_TEST

START_TEST(kernel_template__is_what_lies_in_the_repository)
{
    const kernel_template_file *file;
    const char *last = "";
    bool has_main = false;
    for (size_t i = 0; (file = kernel_template_get(i)); i++) {
        char name[256];
        snprintf(name, sizeof name, "../kernels/%s", file->path);
        char *text = file_text(name);
        ck_assert_str_eq(file->text, text);
        ck_assert_uint_eq(file->bytes, strlen(text));
        ck_assert_int_lt(strcmp(last, file->path), 0);
        last = file->path;
        has_main |= strcmp(file->path, KERNEL_TEMPLATE_MAIN) == 0;
        free(text);
    }
    ck_assert(has_main);
    ck_assert_uint_eq(strspn(kernel_template_hash, "0123456789abcdef"), 64);
}
END_TEST

START_TEST(kernel_manifest__is_read_back)
{
    kernel_plan plan;
    kernel_manifest m;
    plan_of(&plan, 4, "int4.ch64", "int4.tok", NULL);
    kernel_image image = {.file = "", .sha256 = "aa", .params = "bb"};
    snprintf(image.name, sizeof image.name, "%s", plan.kernels->name);
    snprintf(image.file, sizeof image.file, "%.120s.fatbin", plan.kernels->name);
    char *text = kernel_manifest_text(&plan, &image), *again = kernel_manifest_text(&plan, &image);
    ck_assert_str_eq(text, again);
    ck_assert_int_eq(kernel_manifest_read(&m, text, strlen(text), NULL), KVC_OK);
    ck_assert_str_eq(m.arch, "sm_90");
    ck_assert_uint_eq(m.n_images, 1);
    ck_assert_int_eq(memcmp(kernel_manifest_find(&m, image.name), &image, sizeof image), 0);
    ck_assert_ptr_null(kernel_manifest_find(&m, "attend_other"));
    kernel_manifest_free(&m);
    free(text);
    free(again);
    kernel_plan_free(&plan);
}
END_TEST

#define IMAGE(name, file)                                                                                            \
    "{\"name\": \"" name "\", \"file\": \"" file "\", \"sha256\": \"\", \"params_sha256\": \"\"}"
#define MANIFEST(format, kernels) "{\"format\": " format ", \"arch\": \"sm_90\", \"kernels\": [" kernels "]}"

/* Names go into paths of files that are removed: they may not lead anywhere else. */
START_TEST(kernel_manifest__takes_nothing_from_what_is_none)
{
    static const struct {
        const char *text;
        uint32_t n;
    } cases[] = {
        {"", 0},
        {"{\"format\": 1, \"arch\": \"sm_90\", \"kernels\": [{", 0},
        {"[1]", 0},
        {"{\"format\": 1, \"arch\": 5, \"kernels\": [" IMAGE("attend_a", "attend_a.cubin") "]}", 0},
        {MANIFEST("2", IMAGE("attend_a", "attend_a.cubin")), 0},
        {MANIFEST("1", "5, {}, null"), 0},
        {MANIFEST("1", IMAGE("attend_/../../a", "attend_/../../a.cubin")), 0},
        {MANIFEST("1", IMAGE("../a", "../a.cubin")), 0},
        {MANIFEST("1", IMAGE("attend_a", "notes.txt")), 0},
        {MANIFEST("1", IMAGE("attend_a", "attend_ab.cubin")), 0},
        {MANIFEST("1", "5," IMAGE("attend_a", "attend_a.cubin")), 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kernel_manifest m;
        ck_assert_int_eq(kernel_manifest_read(&m, cases[i].text, strlen(cases[i].text), NULL), KVC_OK);
        ck_assert_msg(m.n_images == cases[i].n, "%s", cases[i].text);
        kernel_manifest_free(&m);
    }
}
END_TEST

CHECK_MAIN("codegen_kernel_source", kernel_source__is_the_golden_header,
           kernel_source__defines_what_the_template_wants, kernel_template__is_what_lies_in_the_repository,
           kernel_manifest__is_read_back, kernel_manifest__takes_nothing_from_what_is_none)
