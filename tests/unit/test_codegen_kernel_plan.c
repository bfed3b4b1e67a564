/* kernel_plan_new(): what is refused and how, which layers share a kernel, how kernels are cut. */
#include <string.h>
#include "check_main.h"
#include "kernel_plan.h"
#include "params_rig.h"

enum { N_LAYERS = 4 };

typedef struct rig {
    kvc_model_info model;
    kvc_token_policy tokens;
    kvc_layer layers[N_LAYERS];
    const void *params;
    bool softcap;
    kernel_plan plan;
    kvc_error err;
} rig;

static void set_layer(rig *r, uint32_t layer, const char *key, const char *value)
{
    ck_assert_int_eq(kvc_codec_parse(&r->layers[layer].key, key, NULL), KVC_OK);
    ck_assert_int_eq(kvc_codec_parse(&r->layers[layer].value, value, NULL), KVC_OK);
}

/* All layers alike. */
static rig rig_of(uint32_t head_dim, uint32_t group, const char *key, const char *value)
{
    rig r = {.model = {.n_layers = N_LAYERS, .n_query_heads = 2 * group, .n_kv_heads = 2, .head_dim = head_dim},
             .tokens = {4, 64, 64}};
    for (uint32_t i = 0; i < N_LAYERS; i++) set_layer(&r, i, key, value);
    return r;
}

static kvc_status plan_for(rig *r, const char *target)
{
    memset(&r->err, 0, sizeof r->err);
    return kernel_plan_new(&r->plan, &r->model, &r->tokens, r->layers, r->params, r->softcap,
                           kernel_target_find(target), &r->err);
}

enum { LISTS = 1632 }; /* bytes of a block's lists of units */

static void expect_cut(uint32_t d, const char *key, const char *value, const char *target, uint32_t tile,
                       uint32_t stages, uint32_t warps, uint32_t shared_bytes)
{
    rig r = rig_of(d, 4, key, value);
    ck_assert_msg(plan_for(&r, target) == KVC_OK, "%s", r.err.message);
    const kernel_spec *k = r.plan.kernels;
    shared_bytes += LISTS + stages * warps * 8;
    ck_assert_msg(k->tile == tile && k->stages == stages && k->warps == warps && k->shared_bytes == shared_bytes,
                  "%s %s: tile %u, %u stages, %u warps, %u bytes", target, k->words, k->tile, k->stages, k->warps,
                  k->shared_bytes);
    kernel_plan_free(&r.plan);
}

/* By hand: a tile's codes, scales and minima of both sides, times stages and warps, and the tables; expect_cut() adds
 * a barrier for each stage and a block's lists. */
START_TEST(kernel_plan__cuts_by_shared_memory)
{
    expect_cut(128, "int4.ch64", "int4.tok", "sm_90", 64, 3, 8, 8 * 3 * (64 * 64 + 512 + 64 * 64 + 256));
    expect_cut(128, "int4.ch64", "int4.tok", "sm_80", 32, 4, 8, 8 * 4 * (32 * 64 + 512 + 32 * 64 + 128));
    expect_cut(128, "int2.ch64", "int2.tok", "sm_90", 64, 4, 8, 8 * 4 * (64 * 32 + 512 + 64 * 32 + 256));
    expect_cut(128, "int3.ch32", "int3.tok", "sm_90", 64, 3, 8, 8 * 3 * (64 * 48 + 1024 + 64 * 48 + 256));
    expect_cut(128, "int4.tok32", "int4.ch32", "sm_90", 32, 4, 8, 8 * 4 * (32 * 64 + 512 + 32 * 64 + 512));
    expect_cut(128, "int2.tok32", "int2.ch64", "sm_90", 64, 4, 8, 8 * 4 * (64 * 32 + 1024 + 64 * 32 + 512));
    expect_cut(128, "fp16", "fp16", "sm_90", 16, 3, 8, 8 * 3 * 2 * 16 * 256);
    expect_cut(128, "fp16", "fp16", "sm_80", 16, 2, 8, 8 * 2 * 2 * 16 * 256);
    expect_cut(256, "fp16", "fp16", "sm_90", 16, 3, 4, 4 * 3 * 2 * 16 * 512);
    expect_cut(256, "fp16", "fp16", "sm_86", 16, 3, 2, 2 * 3 * 2 * 16 * 512);
    expect_cut(128, "vq8x8", "vq8x8", "sm_90", 64, 4, 8, 256 * 256 + 8 * 4 * 2 * 64 * 16);
    expect_cut(128, "vq2x8", "vq2x8", "sm_90", 32, 4, 8, 256 * 256 + 8 * 4 * 2 * 32 * 64);
    expect_cut(128, "vq2x8", "vq2x6", "sm_90", 32, 4, 8, 256 * 256 + 8 * 4 * (32 * 64 + 32 * 48));
    expect_cut(128, "vq8x4", "vq8x4", "sm_90", 64, 4, 8, 16 * 256 + 8 * (3 * 2 * 64 * 8 + 16 * 128));
}
END_TEST

START_TEST(kernel_plan__counts_entries_of_tables)
{
    static const struct {
        const char *spec;
        uint32_t entries;
    } cases[] = {{"vq16x8", 256}, {"vq4x4", 16}, {"vq2x6", 64}, {"lut4", 16}, {"vq[8]x8", 0}, {"fp16", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r = rig_of(128, 4, cases[i].spec, "fp16");
        ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
        ck_assert_uint_eq(r.plan.kernels->key.entries, cases[i].entries);
        ck_assert_uint_eq(r.plan.kernels->value.entries, 0);
        kernel_plan_free(&r.plan);
    }
}
END_TEST

/* A tile takes whole groups of tokens or a part of one. */
START_TEST(kernel_plan__tiles_pages_and_groups)
{
    rig r = rig_of(64, 7, "int4.ch48", "int4.tok");
    r.tokens.page = 48;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.kernels->tile, 16);
    ck_assert_uint_eq(r.plan.kernels->columns, 8);
    kernel_plan_free(&r.plan);
    r = rig_of(64, 7, "int4.tok", "int4.ch48");
    r.tokens.page = 48;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.kernels->tile, 16);
    kernel_plan_free(&r.plan);
    r = rig_of(64, 16, "int4.ch", "int4.tok");
    r.tokens.page = 96;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.kernels->tile, 32);
    ck_assert_uint_eq(r.plan.kernels->columns, 16);
    ck_assert_str_eq(r.plan.kernels->words, "int4.ch96 int4.tok64 d64 g16 p96 c16");
    kernel_plan_free(&r.plan);
}
END_TEST

/* Transforms are folded elsewhere, and a default group is what it stands for. */
START_TEST(kernel_plan__shares_kernels_between_layers)
{
    rig r = rig_of(128, 4, "int4.ch64", "int4.tok128");
    set_layer(&r, 1, "int2.ch64", "vq4x8");
    set_layer(&r, 2, "int4.ch+had", "int4.tok+klt");
    set_layer(&r, 3, "int2.ch64+smooth+rot", "vq4x8+klt");
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.n_layers, N_LAYERS);
    ck_assert_uint_eq(r.plan.n_kernels, 2);
    for (uint32_t i = 0; i < N_LAYERS; i++) ck_assert_uint_eq(r.plan.of_layer[i], i % 2);
    ck_assert_str_eq(r.plan.kernels[0].name, "attend_int4_ch64_int4_tok128_d128_g4_p64_c8");
    ck_assert_str_eq(r.plan.kernels[1].words, "int2.ch64 vq4x8 d128 g4 p64 c8");
    kernel_plan_free(&r.plan);
}
END_TEST

START_TEST(kernel_plan__names_capped_scores)
{
    rig r = rig_of(128, 4, "int4.ch64", "int4.tok128");
    r.softcap = true;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_str_eq(r.plan.kernels->words, "int4.ch64 int4.tok128 d128 g4 p64 c8 softcap");
    ck_assert_str_eq(r.plan.kernels->name, "attend_int4_ch64_int4_tok128_d128_g4_p64_c8_softcap");
    kernel_plan_free(&r.plan);
}
END_TEST

/* Where it is known that a table is one, and products of bytes may take its entries; tables of layers that are none
 * have kernels of their own. Nothing else is cut otherwise. */
START_TEST(kernel_plan__names_byte_tables)
{
    static const float steps[N_LAYERS][2] = {{0x1p-6f, 0x1p-5f}, {0x1p-6f, 0x1p-5f}, {0x1p-6f, 0x1p-5f}};
    static const char *const words[] = {"vq4x8.bytes vq8x6.bytes d128 g4 p64 c8", "vq2x8 vq16x8 d128 g4 p64 c8",
                                        "int4.ch64 vq4x8.bytes d128 g4 p64 c8", "vq4x8 vq8x6 d128 g4 p64 c8"};
    size_t n;
    rig r = rig_of(128, 4, "vq4x8", "vq8x6");
    set_layer(&r, 1, "vq2x8", "vq16x8");
    set_layer(&r, 2, "int4.ch64", "vq4x8");
    void *params = params_of_layers(r.layers, N_LAYERS, 2, 128, 64, steps, &n);
    r.params = params;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.n_kernels, N_LAYERS);
    for (uint32_t i = 0; i < N_LAYERS; i++) ck_assert_str_eq(r.plan.kernels[i].words, words[i]);
    ck_assert_str_eq(r.plan.kernels[0].name, "attend_vq4x8_bytes_vq8x6_bytes_d128_g4_p64_c8");
    ck_assert_uint_eq(r.plan.kernels[0].shared_bytes, r.plan.kernels[3].shared_bytes);
    kernel_plan_free(&r.plan);
    free(params);
}
END_TEST

/* Whatever N is; without constants heads may have a code for every channel. 8 warps of 2 stages beside two tables of
 * 8 KiB a side, a query of 10 products of 256 bytes, and the lists. */
START_TEST(kernel_plan__has_one_kernel_for_shared_codes)
{
    rig r = rig_of(64, 4, "vq[4]x8+klt", "vq[16]x8+klt");
    set_layer(&r, 1, "vq[24]x8+klt", "vq[2]x8+klt");
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.n_kernels, 1);
    const kernel_spec *k = r.plan.kernels;
    ck_assert_str_eq(k->words, "vq.64x8 vq.64x8 d64 g4 p64 c8");
    ck_assert_uint_eq(k->key.most, 64);
    ck_assert_uint_eq(k->warps, 8);
    ck_assert_uint_eq(k->shared_bytes,
                      4 * k->key.table_bytes + LISTS + 8 * (k->stages * (k->tile * 128 + 8) + 10 * 256));
    kernel_plan_free(&r.plan);
}
END_TEST

/* All three tables of 4 channels and more are byte tables, or the kernel is another. Two tables a side and, of byte
 * tables, a place of 256 bytes for each eight words; on sm_86, too. */
START_TEST(kernel_plan__names_byte_tables_of_shared_codes)
{
    static const float steps[N_LAYERS][2] = {{0x1p-6f, 0x1p-5f}, {0x1p-6f, 0.0f}, {0x1p-6f, 0x1p-5f}, {0.0f, 0.0f}};
    static const char *const targets[] = {"sm_90", "sm_86"};
    size_t n;
    rig r = rig_of(128, 4, "vq[8]x8", "vq[8]x8");
    void *params = params_of_layers(r.layers, N_LAYERS, 2, 128, 64, steps, &n);
    r.params = params;
    for (int i = 0; i < 2; i++) {
        ck_assert_msg(plan_for(&r, targets[i]) == KVC_OK, "%s", r.err.message);
        ck_assert_uint_eq(r.plan.n_kernels, 3);
        ck_assert_uint_eq(r.plan.of_layer[2], 0);
        const kernel_spec *both = &r.plan.kernels[0], *none = &r.plan.kernels[2];
        char words[128], most[8];
        snprintf(most, sizeof most, "%u", both->key.most);
        snprintf(words, sizeof words, "vq.%sx8.bytes vq.%sx8.bytes d128 g4 p64 c8", most, most);
        ck_assert_str_eq(both->words, words);
        snprintf(words, sizeof words, "vq.%sx8.bytes vq.%sx8 d128 g4 p64 c8", most, most);
        ck_assert_str_eq(r.plan.kernels[1].words, words);
        snprintf(words, sizeof words, "vq.%sx8 vq.%sx8 d128 g4 p64 c8", most, most);
        ck_assert_str_eq(none->words, words);
        ck_assert(both->key.most % 4 == 0 && both->key.most >= 16 && both->key.most <= 36);
        uint32_t eights = ((both->key.most > 32 ? both->key.most : 32) + 7) / 8;
        ck_assert_uint_eq(both->shared_bytes,
                          4 * both->key.table_bytes + 2 * 256 * eights + LISTS +
                              both->warps * (both->stages * (both->tile * 2 * both->key.most + 8) + 14 * 256));
        ck_assert_uint_ge(both->tile, 32);
        ck_assert(!kernel_is_slow(both) && kernel_is_slow(&r.plan.kernels[1]) && kernel_is_slow(none));
        kernel_plan_free(&r.plan);
    }
    free(params);
}
END_TEST

/* Is the kernel slow for codes that heads share out, with byte tables, beside another codec? */
static void expect_beside(const char *key, const char *value, bool slow)
{
    static const float steps[N_LAYERS][2] = {
        {0x1p-6f, 0x1p-5f}, {0x1p-6f, 0x1p-5f}, {0x1p-6f, 0x1p-5f}, {0x1p-6f, 0x1p-5f}};
    size_t n;
    rig r = rig_of(64, 4, key, value);
    void *params = params_of_layers(r.layers, N_LAYERS, 2, 64, 64, steps, &n);
    r.params = params;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    const kernel_spec *k = r.plan.kernels;
    ck_assert_msg(kernel_is_slow(k) == slow, "%s: tile %u", k->words, k->tile);
    kernel_plan_free(&r.plan);
    free(params);
}

START_TEST(kernel_plan__knows_what_is_fast_beside_shared_codes)
{
    expect_beside("vq[8]x8", "int8.tok", false);
    expect_beside("vq[8]x8", "int4.ch64", false);
    expect_beside("int6.ch64", "vq[8]x8", false);
    expect_beside("vq4x8", "vq[8]x8", false);
    expect_beside("fp16", "vq[8]x8", true);
    expect_beside("vq[8]x8", "int3.tok", true);
    expect_beside("vq[8]x8", "int4.tok32", true);
    expect_beside("vq[8]x8", "int4.ch16", true);
    expect_beside("int4.ch32", "vq[8]x8", false);
    expect_beside("int4.ch16", "vq[8]x8", true);
    expect_beside("int4.ch8", "vq[8]x8", true);
    expect_beside("vq2x8", "vq[8]x8", true);
}
END_TEST

static void expect_refusal(uint32_t d, const char *key, const char *value, const char *says)
{
    rig r = rig_of(d, 4, "fp16", "fp16");
    set_layer(&r, 2, key, value);
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_str_eq(r.err.message, says);
    ck_assert_ptr_null(r.plan.kernels);
}

START_TEST(kernel_plan__refuses_codecs_by_name)
{
    expect_refusal(128, "fp16", "vq[16]x6+klt", "layer 2, values: vq[16]x6+klt: kernels have shared codes of 8 bits");
    expect_refusal(128, "fp16", "vq4x8+klt@joint",
                   "layer 2, values: vq4x8+klt@joint: no kernel yet for rows of all heads together");
}
END_TEST

/* Codes decoded one by one become fp16 rows of a tile, for each warp. Parts of a tile are multiples of 16 bytes, or
 * it is a page: a bit of 10 channels needs 64 tokens. */
START_TEST(kernel_plan__cuts_codes_decoded_one_by_one)
{
    expect_cut(128, "vq4x8.static", "vq4x8.head", "sm_90", 64, 3, 8, 8 * (3 * 2 * 64 * 32 + 64 * 256));
    expect_cut(128, "seg[4,3,2,1,0,0,0,0].ch64", "fp16", "sm_90", 16, 4, 8,
               8 * (4 * (16 * 20 + 2 * 128 + 16 * 256) + 16 * 256));
    expect_cut(64, "int4.ch64", "lut3.static", "sm_86", 32, 4, 8, 8 * (4 * (32 * 32 + 2 * 128 + 32 * 24) + 32 * 128));
    expect_cut(80, "seg[8,6,3,1,0,0,0,0].static", "seg[8,6,3,1,0,0,0,0].ch8", "sm_86", 64, 3, 4,
               4 * (64 * 160 + 3 * (2 * 1440 + 2 * 8 * 80)));
    expect_cut(80, "int2.ch64", "int3.tok8", "sm_90", 64, 3, 8,
               8 * (64 * 160 + 3 * (64 * 20 + 2 * 160 + 64 * 30 + 2 * 64 * 20)));
    expect_cut(64, "vq[3*1,5*2,2*16]x7", "fp16", "sm_90", 64, 2, 8, 8 * (2 * (64 * 128 + 64 / 8 * 70) + 64 * 96));
}
END_TEST

/* Integers whose scales, or rows, lanes cannot split; and what they can. */
START_TEST(kernel_plan__decodes_some_integers_one_by_one)
{
    static const struct {
        uint32_t d;
        const char *spec;
        bool single;
    } cases[] = {{128, "int4.tok8", true}, {128, "int4.tok16", false}, {256, "int4.tok16", true},
                 {128, "int4.ch8", true},  {128, "int4.ch16", false},  {80, "int2.ch16", true},
                 {80, "int4.ch16", false}, {96, "int1.tok", true},     {96, "int3.tok", false},
                 {128, "int6.tok8", true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        rig r = rig_of(cases[i].d, 4, cases[i].spec, "fp16");
        ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
        ck_assert_msg(kernel_is_slow(r.plan.kernels) == cases[i].single, "%s", r.plan.kernels->words);
        ck_assert_uint_eq(r.plan.kernels->key.n_codes, cases[i].single ? cases[i].d : 0);
        kernel_plan_free(&r.plan);
    }
}
END_TEST

/* Those that the fast side takes are named as before. */
START_TEST(kernel_plan__names_codes_decoded_one_by_one)
{
    static const struct {
        const char *key, *value, *name;
    } cases[N_LAYERS] = {{"lut4+had", "vq4x5", "attend_lut4_vq4x5_d64_g4_p64_c8"},
                         {"lut4.head", "vq4x5.static", "attend_lut4_head_vq4x5_static_d64_g4_p64_c8"},
                         {"vq[8*2,6*8]x8+klt", "vq[3*1,5*2,2*16]x7.head",
                          "attend_vq_8_2_6_8_x8_vq_3_1_5_2_2_16_x7_head_d64_g4_p64_c8"},
                         {"seg[8,4,4,2,2,0,0,0].ch", "seg[4,0,0,0,0,0,0,1].static",
                          "attend_seg_8_4_4_2_2_0_0_0__ch64_seg_4_0_0_0_0_0_0_1__static_d64_g4_p64_c8"}};
    static const float steps[N_LAYERS][2] = {{0x1p-6f, 0x1p-5f}};
    size_t n;
    rig r = rig_of(64, 4, "fp16", "fp16");
    for (uint32_t i = 0; i < N_LAYERS; i++) set_layer(&r, i, cases[i].key, cases[i].value);
    void *params = params_of_layers(r.layers, N_LAYERS, 2, 64, 64, steps, &n);
    r.params = params;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    for (uint32_t i = 0; i < N_LAYERS; i++) {
        const kernel_spec *k = &r.plan.kernels[r.plan.of_layer[i]];
        ck_assert_str_eq(k->name, cases[i].name);
        ck_assert(kernel_is_single(k) && kernel_is_slow(k));
        ck_assert_uint_eq(k->key.entries, i == 0 ? 16 : 0);
        ck_assert_uint_eq(k->value.entries + k->value.most, 0);
    }
    ck_assert_str_eq(r.plan.kernels[2].words, "vq[8*2,6*8]x8 vq[3*1,5*2,2*16]x7.head d64 g4 p64 c8");
    ck_assert_uint_eq(r.plan.kernels[2].key.n_codes, 14);
    ck_assert_uint_eq(r.plan.kernels[2].value.latent, 48);
    kernel_plan_free(&r.plan);
    free(params);
}
END_TEST

/* Planes that are no multiples of 16 bytes, and more copies than a warp has lanes. */
START_TEST(kernel_plan__refuses_tiles_that_cannot_be_copied)
{
    static const char says[] =
        "no tile of whole runs of 16 tokens and whole scales in multiples of 16 bytes in pages of";
    rig r = rig_of(80, 4, "seg[4,2,1,0,0,0,0,0].static", "fp16");
    r.tokens.page = 48;
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_msg(strstr(r.err.message, says), "%s", r.err.message);
    r = rig_of(128, 4, "seg[7,7,7,7,7,7,7,7].static", "seg[7,7,7,0,0,0,0,0].ch64");
    r.tokens.page = 128;
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_msg(strstr(r.err.message, says), "%s", r.err.message);
    r.tokens.page = 64;
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    ck_assert_uint_eq(r.plan.kernels->tile, 64);
    kernel_plan_free(&r.plan);
}
END_TEST

/* A tile of 32 tokens has no whole scales of 48. */
START_TEST(kernel_plan__refuses_what_no_tile_divides)
{
    rig r = rig_of(64, 4, "int4.ch48", "vq[8]x8");
    r.tokens.page = 96;
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_msg(strstr(r.err.message, "no tile of whole runs of 32 tokens and whole scales in pages of 96"), "%s",
                  r.err.message);
    for (uint32_t i = 0; i < N_LAYERS; i++) set_layer(&r, i, "int4.ch48", "int4.tok");
    ck_assert_msg(plan_for(&r, "sm_90") == KVC_OK, "%s", r.err.message);
    kernel_plan_free(&r.plan);
}
END_TEST

START_TEST(kernel_plan__refuses_shapes)
{
    rig r = rig_of(72, 4, "fp16", "fp16");
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_str_eq(r.err.message, "no kernels for head dimension 72: only for 64, 80, 96, 128 and 256");
    r = rig_of(128, 12, "fp16", "fp16");
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_str_eq(r.err.message, "no kernels for 24 query heads to 2 KV heads: only for 1 to 8 and 16 to one");
    r = rig_of(128, 4, "fp16", "fp16");
    r.tokens.page = 40;
    ck_assert_int_eq(plan_for(&r, "sm_90"), KVC_UNSUPPORTED);
    ck_assert_str_eq(r.err.message, "no kernels for pages of 40 tokens: only for multiples of 16");
}
END_TEST

CHECK_MAIN("codegen_kernel_plan", kernel_plan__cuts_by_shared_memory, kernel_plan__counts_entries_of_tables,
           kernel_plan__tiles_pages_and_groups, kernel_plan__shares_kernels_between_layers,
           kernel_plan__has_one_kernel_for_shared_codes, kernel_plan__names_capped_scores,
           kernel_plan__names_byte_tables, kernel_plan__names_byte_tables_of_shared_codes,
           kernel_plan__knows_what_is_fast_beside_shared_codes, kernel_plan__cuts_codes_decoded_one_by_one,
           kernel_plan__names_codes_decoded_one_by_one, kernel_plan__decodes_some_integers_one_by_one,
           kernel_plan__refuses_codecs_by_name, kernel_plan__refuses_shapes,
           kernel_plan__refuses_tiles_that_cannot_be_copied, kernel_plan__refuses_what_no_tile_divides)
