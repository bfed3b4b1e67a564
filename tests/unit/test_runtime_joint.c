/* "@joint": one row of all KV heads is that of a model with one head of as many channels. */
#include "cache_rig.h"

enum { PAGE = 64 };

typedef struct pair {
    kvc_coder joint, single; /* H heads of d, one head of H d */
    void *params;
    float *rows, *x, *y, *work;
    uint8_t *a, *b;
} pair;

static void pair_new(pair *p, const char *spec, uint32_t heads, uint32_t d)
{
    kvc_codec codec;
    kvc_error err = {""};
    char joint[KVC_SPEC_MAX];
    size_t n, n_values = (size_t)PAGE * heads * d;
    snprintf(joint, sizeof joint, "%s@joint", spec);
    ck_assert_msg(kvc_codec_parse(&codec, joint, &err) == KVC_OK, "%s", err.message);
    p->params = codec_params(&codec, heads, d, PAGE, heads + d, &n);
    ck_assert_msg(kvc_coder_init(&p->joint, &codec, p->params, heads, d, PAGE, &err) == KVC_OK, "%s", err.message);
    ck_assert_int_eq(kvc_codec_parse(&codec, spec, &err), KVC_OK);
    ck_assert_msg(kvc_coder_init(&p->single, &codec, p->params, 1, heads * d, PAGE, &err) == KVC_OK, "%s",
                  err.message);
    p->rows = malloc(n_values * sizeof *p->rows);
    p->x = malloc(n_values * sizeof *p->x);
    p->y = malloc(n_values * sizeof *p->y);
    p->work = malloc(kvc_coder_work(&p->joint) * sizeof *p->work);
    p->a = aligned_alloc(16, p->joint.block_bytes);
    p->b = aligned_alloc(16, p->joint.block_bytes);
    rig_fill(p->rows, PAGE, heads * d, d);
}

static void pair_free(pair *p)
{
    free(p->params);
    free(p->rows);
    free(p->x);
    free(p->y);
    free(p->work);
    free(p->a);
    free(p->b);
}

static const char *const specs[] = {"fp16",
                                    "int4.tok",
                                    "int2.tok16",
                                    "int4.ch16+had",
                                    "fp16+klt",
                                    "int4.tok+klt",
                                    "vq8x8+klt",
                                    "vq4x8.static+klt",
                                    "lut3.head",
                                    "vq[8*2,8*4]x8",
                                    "vq[4*8,2*16]x8+klt",
                                    "vq[2*16]x8+klt+had",
                                    "vq[1*8]x3",
                                    "vq[8]x8+klt",
                                    "vq[3]x5",
                                    "vq[40]x3+had",
                                    "seg[8,4,2,1,0,0,0,0].ch"};
static const uint32_t shapes[][2] = {{1, 64}, {2, 64}, {3, 64}, {8, 64}, {4, 128}, {2, 96}};
#define N_SPECS (sizeof specs / sizeof *specs)
#define N_SHAPES (sizeof shapes / sizeof *shapes)

static void check_blocks(pair *p)
{
    uint32_t row = p->single.head_dim;
    size_t bytes = (size_t)PAGE * row * sizeof *p->x;
    ck_assert_uint_eq(p->joint.head_dim, row);
    ck_assert_uint_eq(p->joint.latent_dim, p->single.latent_dim);
    ck_assert_uint_eq(p->joint.n_kv_heads, 1);
    ck_assert_uint_eq(p->joint.block_bytes, p->single.block_bytes);
    ck_assert_uint_eq(p->joint.codec.param_bytes, p->single.codec.param_bytes);
    kvc_coder_encode(&p->joint, 0, p->rows, row, p->a, p->work);
    kvc_coder_encode(&p->single, 0, p->rows, row, p->b, p->work);
    ck_assert_mem_eq(p->a, p->b, p->joint.block_bytes);
    kvc_coder_decode(&p->joint, 0, p->a, p->x, row, p->work);
    kvc_coder_decode(&p->single, 0, p->a, p->y, row, p->work);
    ck_assert_mem_eq(p->x, p->y, bytes);
}

START_TEST(joint__is_the_codec_of_one_wide_head)
{
    for (size_t i = 0; i < N_SPECS * N_SHAPES; i++) {
        pair p;
        pair_new(&p, specs[i % N_SPECS], shapes[i / N_SPECS][0], shapes[i / N_SPECS][1]);
        check_blocks(&p);
        pair_free(&p);
    }
}
END_TEST

/* A head's query is a row with zeros elsewhere; of an output the head's channels count. */
static void check_head(pair *p, uint32_t head, uint32_t d)
{
    uint32_t row = p->single.head_dim, first = p->joint.joined > 1 ? head * d : 0;
    float *q = p->rows + 5 * row + head, *wide = calloc(row, sizeof *wide), *out = malloc(row * sizeof *out);
    memcpy(wide + first, q, d * sizeof *q);
    float bias = kvc_coder_fold_query(&p->joint, head, q, p->x);
    ck_assert(bias == kvc_coder_fold_query(&p->single, 0, wide, p->y));
    ck_assert_mem_eq(p->x, p->y, p->joint.latent_dim * sizeof *p->x);
    for (uint32_t i = 0; i < row; i++) out[i] = 1.0f, wide[i] = 1.0f;
    kvc_coder_unfold_output(&p->joint, head, p->x, 0.75f, out, p->work);
    kvc_coder_unfold_output(&p->single, 0, p->x, 0.75f, wide, p->work);
    ck_assert_mem_eq(out, wide + first, d * sizeof *out);
    for (uint32_t i = d; i < row; i++) ck_assert(out[i] == 1.0f);
    free(wide);
    free(out);
}

/* q.k from latent rows is q.k from the head's part of the decoded ones. */
static void check_scores(pair *p, uint32_t head, uint32_t d)
{
    uint32_t row = p->single.head_dim, latent = p->joint.latent_dim, first = p->joint.joined > 1 ? head * d : 0;
    const float *q = p->rows + 7 * row;
    float *folded = malloc(row * sizeof *folded), bias = kvc_coder_fold_query(&p->joint, head, q, folded);
    kvc_coder_encode(&p->joint, 0, p->rows, row, p->a, p->work);
    kvc_coder_decode(&p->joint, 0, p->a, p->x, row, p->work);
    kvc_coder_decode_latent(&p->joint, 0, p->a, p->y);
    for (uint32_t t = 0; t < PAGE; t++) {
        double direct = 0.0, through = bias, size = 1.0;
        for (uint32_t i = 0; i < d; i++) direct += (double)q[i] * p->x[t * row + first + i];
        for (uint32_t i = 0; i < d; i++) size += fabs((double)q[i] * p->x[t * row + first + i]);
        for (uint32_t i = 0; i < latent; i++) through += (double)folded[i] * p->y[t * latent + i];
        ck_assert_double_eq_tol(direct, through, 1e-5 * size);
    }
    free(folded);
}

START_TEST(joint__folds_and_unfolds_each_head)
{
    for (size_t i = 0; i < N_SPECS * N_SHAPES; i++) {
        pair p;
        uint32_t heads = shapes[i / N_SPECS][0], d = shapes[i / N_SPECS][1];
        pair_new(&p, specs[i % N_SPECS], heads, d);
        for (uint32_t head = 0; head < heads; head++) {
            check_head(&p, head, d);
            check_scores(&p, head, d);
        }
        pair_free(&p);
    }
}
END_TEST

START_TEST(joint__has_room_for_2048_channels)
{
    static const struct {
        const char *spec;
        uint32_t heads, d, block;
    } cases[] = {{"int4.tok@joint", 4, 512, 64 * 2048 / 2 + 64 * 4},
                 {"int4.tok@joint", 5, 512, 0},
                 {"fp16@joint", 32, 64, 64 * 2048 * 2},
                 {"fp16@joint", 33, 64, 0},
                 {"vq[2*16]x8+klt@joint", 16, 128, 64 * 64},
                 {"int4.tok24@joint", 3, 64, 64 * 96 + 64 * 8 * 4},
                 {"int4.tok24@joint", 2, 64, 0},
                 {"vq[4*1]x8@joint", 2, 8, 64},
                 {"vq[2*1]x8@joint", 2, 8, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kvc_codec codec;
        kvc_coder coder;
        kvc_error err = {""};
        ck_assert_int_eq(kvc_codec_parse(&codec, cases[i].spec, NULL), KVC_OK);
        kvc_status status = kvc_coder_init(&coder, &codec, NULL, cases[i].heads, cases[i].d, PAGE, &err);
        ck_assert_int_eq(status, cases[i].block ? KVC_OK : KVC_INVALID);
        if (status == KVC_OK) ck_assert_uint_eq(coder.block_bytes, cases[i].block);
        ck_assert_uint_eq(kvc_codec_since(&codec), 1001);
    }
}
END_TEST

/* 3 heads of 64, one layer: a page has one key block of 64 rows of 192 channels and three value blocks. */
START_TEST(joint__config_counts_one_block_for_all_heads)
{
    rig r;
    uint64_t rows = 3 * 64 * 2 * 2, keys = 64 * 192 / 8, values = 3 * (64 * 64 / 2 + 64 * 4);
    rig_config(&r, 1, 9, 3, 64, (kvc_token_policy){4, 64, 64}, "vq8x8@joint", "int4.tok");
    ck_assert_uint_eq(kvc_config_bytes(r.cfg, 131), 131 * rows);
    ck_assert_uint_eq(kvc_config_bytes(r.cfg, 132), 68 * rows + keys + values);
    ck_assert_uint_eq(kvc_config_bytes(r.cfg, 8192), 128 * rows + 126 * (keys + values));
    kvc_config_close(r.cfg);
    free(r.image);
}
END_TEST

CHECK_MAIN("joint", joint__is_the_codec_of_one_wide_head, joint__folds_and_unfolds_each_head,
           joint__has_room_for_2048_channels, joint__config_counts_one_block_for_all_heads)
