/* kvc_cache_attend() against softmax attention in double over the decoded rows. */
#include "cache_rig.h"

static const kvc_token_policy usual = {4, 64, 64};

/* Largest difference over the newest n_queries tokens, relative to the values' size (about 2). */
static double worst_error(const rig *r, uint32_t layer, uint32_t sequence, uint32_t n, uint32_t n_queries,
                          uint64_t packed)
{
    uint32_t heads = r->model.n_query_heads, group = heads / r->model.n_kv_heads, d = r->model.head_dim;
    size_t values = (size_t)n_queries * heads * d;
    float *q = malloc(values * sizeof *q), *out = malloc(values * sizeof *out);
    double worst = 0.0, want[KVC_MAX_HEAD_DIM];
    const kvc_layer *codecs = kvc_config_layer(r->cfg, layer);
    double *keys = rig_decoded(r, &codecs->key, r->keys, n, (uint32_t)packed);
    double *vals = rig_decoded(r, &codecs->value, r->values, n, (uint32_t)packed);
    rig_fill(q, (size_t)n_queries * heads, d, n + 99);
    for (size_t i = 0; i < values; i++) out[i] = NAN;
    rig_attend(r, layer, sequence, n_queries, q, out);
    for (uint32_t j = 0; j < n_queries; j++)
        for (uint32_t h = 0; h < heads; h++) {
            size_t at = ((size_t)j * heads + h) * d;
            rig_reference(r, keys, vals, h / group, n - n_queries + j + 1, q + at, want);
            for (uint32_t c = 0; c < d; c++) {
                double error = fabs(out[at + c] - want[c]);
                if (!(error <= worst)) worst = error; /* NaN wins */
            }
        }
    free(q);
    free(out);
    free(keys);
    free(vals);
    return worst;
}

static void check_shape(const char *key, const char *value, uint32_t group, uint32_t n_kv_heads, uint32_t d,
                        uint32_t n)
{
    rig r;
    rig_config(&r, 1, group * n_kv_heads, n_kv_heads, d, usual, key, value);
    rig_cache(&r, 1, 512);
    rig_rows(&r, n, d + n);
    rig_append_all_layers(&r, 0, 0, n);
    double worst = worst_error(&r, 0, 0, n, n ? 1 : 0, kvc_tokens_compressed(&usual, n));
    ck_assert_msg(worst < 2e-5, "%s %s, %u x %u heads of %u, %u tokens: %g", key, value, group, n_kv_heads, d, n,
                  worst);
    rig_free(&r);
}

START_TEST(attend__equals_reference_over_shapes_and_lengths)
{
    static const uint32_t groups[] = {1, 3, 4, 8}, dims[] = {64, 80, 96, 128, 256};
    static const uint32_t lengths[] = {0, 1, 4, 63, 64, 65, 131, 132, 133, 196, 300};
    for (int g = 0; g < 4; g++)
        for (int d = 0; d < 5; d++)
            for (int n = 0; n < 11; n++) check_shape("int4.ch64", "int4.tok+had", groups[g], 2, dims[d], lengths[n]);
}
END_TEST

START_TEST(attend__equals_reference_for_every_codec)
{
    static const char *const specs[] = {"fp16",          "fp16+had", "int1.ch64", "int2.tok32",
                                        "int3.ch32+had", "int4.tok", "int6.ch16", "int8.tok16+had+had"};
    for (int k = 0; k < 8; k++)
        for (int v = 0; v < 8; v++) check_shape(specs[k], specs[v], 3, 1, 64, 260);
}
END_TEST

/* Constants bound from the configuration, several bands, means that shift all scores. */
START_TEST(attend__equals_reference_for_fitted_codecs)
{
    static const char *const specs[] = {"vq8x8+klt",  "vq4x8.head+klt", "vq2x6.static",     "lut3.static+had",
                                        "vq16x8+klt", "int4.tok+klt",   "vq[8*2,4*4,2*8]x8"};
    static const uint32_t dims[] = {64, 128, 256};
    for (int k = 0; k < 7; k++)
        for (int d = 0; d < 3; d++) check_shape(specs[k], specs[(k + 3 * d) % 7], 3, 2, dims[d], 260);
    check_shape("vq8x8+klt", "vq2x8+klt", 4, 1, 80, 200);
    check_shape("vq[4*2,10*4]x8+klt", "vq16x4", 4, 1, 96, 200);
}
END_TEST

/* Codes shared out among the heads, on both sides or on one. */
static const char *const shared_pairs[][2] = {
    {"vq[8]x8+klt", "vq[8]x8+klt"}, {"vq[21]x3", "vq[5]x7+had"},        {"int4.ch64", "vq[9]x5+klt"},
    {"vq[3]x6", "int4.tok"},        {"vq[12]x4+klt", "vq[12]x4@joint"}, {"vq[10]x4+klt@joint", "vq[2]x8"},
    {"vq8x8", "vq[1]x9+klt"}};
#define N_SHARED_PAIRS (sizeof shared_pairs / sizeof *shared_pairs)

START_TEST(attend__equals_reference_for_shared_codes)
{
    static const uint32_t lengths[] = {1, 132, 133, 300};
    for (size_t k = 0; k < N_SHARED_PAIRS; k++)
        for (int n = 0; n < 4; n++) {
            check_shape(shared_pairs[k][0], shared_pairs[k][1], 3, 5, 64, lengths[n]);
            check_shape(shared_pairs[k][0], shared_pairs[k][1], 1, 3, 96, lengths[n]);
            check_shape(shared_pairs[k][0], shared_pairs[k][1], 2, 1, 80, lengths[n]);
        }
    check_shape("vq[8]x8+klt", "vq[6]x8", 5, 8, 128, 200); /* more queries than pass at once */
    check_shape("vq[64]x2", "vq[33]x2", 1, 2, 256, 200);
}
END_TEST

/* Small pages, in the middle of which heads start at any byte, and their padding. */
START_TEST(attend__equals_reference_for_shared_codes_of_small_pages)
{
    static const kvc_token_policy policies[] = {{0, 0, 8}, {5, 0, 24}, {3, 10, 8}};
    for (int p = 0; p < 3; p++)
        for (size_t k = 0; k < N_SHARED_PAIRS; k++) {
            rig r;
            if (strstr(shared_pairs[k][0], "ch64")) continue;
            rig_config(&r, 1, 10, 5, 64, policies[p], shared_pairs[k][0], shared_pairs[k][1]);
            rig_cache(&r, 1, 512);
            rig_rows(&r, 150, 7);
            rig_append_all_layers(&r, 0, 0, 150);
            double worst = worst_error(&r, 0, 0, 150, 9, kvc_tokens_compressed(&policies[p], 150));
            ck_assert_msg(worst < 2e-5, "policy %d, %s %s: %g", p, shared_pairs[k][0], shared_pairs[k][1], worst);
            rig_free(&r);
        }
}
END_TEST

/* One row of all heads, on both sides or on one. */
static const char *const joint_pairs[][2] = {{"int4.tok@joint", "int4.tok@joint"},
                                             {"vq8x8+klt@joint", "vq8x8+klt@joint"},
                                             {"vq[8*2,8*4]x8+klt@joint", "vq[4*8,2*16]x8+klt@joint"},
                                             {"int4.ch16+had@joint", "fp16"},
                                             {"int4.ch64", "vq4x6+klt@joint"},
                                             {"vq[2*16]x8+klt@joint", "lut3.static+had"}};
#define N_JOINT_PAIRS (sizeof joint_pairs / sizeof *joint_pairs)

START_TEST(attend__equals_reference_for_rows_of_all_heads)
{
    static const uint32_t lengths[] = {1, 132, 133, 300};
    for (size_t k = 0; k < N_JOINT_PAIRS; k++)
        for (int n = 0; n < 4; n++) {
            check_shape(joint_pairs[k][0], joint_pairs[k][1], 3, 3, 64, lengths[n]);
            check_shape(joint_pairs[k][0], joint_pairs[k][1], 1, 2, 96, lengths[n]);
            check_shape(joint_pairs[k][0], joint_pairs[k][1], 2, 1, 64, lengths[n]);
        }
    check_shape("vq8x8+klt@joint", "vq8x8+klt@joint", 5, 8, 128, 200); /* more queries than pass at once */
    check_shape("int4.tok@joint", "vq8x8@joint", 7, 5, 128, 200);
}
END_TEST

START_TEST(attend__equals_reference_over_policies)
{
    static const kvc_token_policy policies[] = {{0, 0, 8}, {0, 64, 64}, {5, 0, 16},
                                                {1, 7, 8}, {70, 3, 24}, {3, 200, 32}};
    for (int p = 0; p < 6; p++)
        for (uint32_t n = 1; n < 300; n += 37) {
            rig r;
            rig_config(&r, 1, 4, 2, 72, policies[p], "int8.ch8", "int4.tok8+had");
            rig_cache(&r, 1, 512);
            rig_rows(&r, n, n);
            rig_append_all_layers(&r, 0, 0, n);
            double worst = worst_error(&r, 0, 0, n, 1, kvc_tokens_compressed(&policies[p], n));
            ck_assert_msg(worst < 2e-5, "policy %d, %u tokens: %g", p, n, worst);
            rig_free(&r);
        }
}
END_TEST

/* Queries older than the newest page see a part of it, or none. */
START_TEST(attend__is_causal_for_many_queries)
{
    static const uint32_t queries[] = {2, 5, 17, 64, 150, 300};
    static const char *const pairs[][2] = {{"int4.ch64", "int4.tok"},
                                           {"int4.tok@joint", "vq8x8+klt@joint"},
                                           {"int4.ch64", "int4.tok@joint"},
                                           {"vq[8]x8+klt", "vq[11]x3"},
                                           {"int4.ch64", "vq[5]x8"}};
    for (int i = 0; i < 30; i++) {
        rig r;
        rig_config(&r, 1, 6, 2, 64, usual, pairs[i / 6][0], pairs[i / 6][1]);
        rig_cache(&r, 1, 512);
        rig_rows(&r, 300, 5);
        rig_append_all_layers(&r, 0, 0, 300);
        ck_assert_double_lt(worst_error(&r, 0, 0, 300, queries[i % 6], kvc_tokens_compressed(&usual, 300)), 2e-5);
        rig_free(&r);
    }
}
END_TEST

/* Chunks as long as kvc_cache_chunk() allows: the same pages and the same outputs, bit for bit, as one token at a
 * time. */
static void check_chunks(kvc_token_policy policy, const char *key, const char *value, kvc_attend_options options)
{
    enum { N = 400, H = 6, D = 64 };
    rig one, many;
    float *q = malloc(N * H * D * sizeof *q), *a = malloc(N * H * D * sizeof *a), *b = malloc(N * H * D * sizeof *b);
    rig_config(&one, 1, H, 2, D, policy, key, value);
    rig_config(&many, 1, H, 2, D, policy, key, value);
    rig_cache(&one, 1, 512);
    rig_cache(&many, 1, 512);
    rig_rows(&one, N, 3);
    rig_rows(&many, N, 3);
    rig_fill(q, N * H, D, 8);
    one.options = many.options = options;
    for (uint32_t t = 0; t < N; t++) {
        ck_assert_int_eq(rig_append(&one, 0, 0, t, 1), KVC_OK);
        rig_attend(&one, 0, 0, 1, q + t * H * D, a + t * H * D);
    }
    for (uint32_t t = 0, n; t < N; t += n) {
        n = kvc_cache_chunk(many.cache, 0, 0);
        ck_assert_uint_ge(n, 1);
        n = n < N - t ? n : N - t;
        ck_assert_int_eq(rig_append(&many, 0, 0, t, n), KVC_OK);
        rig_attend(&many, 0, 0, n, q + t * H * D, b + t * H * D);
    }
    ck_assert_int_eq(memcmp(a, b, N * H * D * sizeof *a), 0);
    free(q);
    free(a);
    free(b);
    rig_free(&one);
    rig_free(&many);
}

START_TEST(attend__chunks_equal_single_tokens_bit_for_bit)
{
    static const kvc_token_policy policies[] = {{4, 64, 64}, {0, 0, 8}, {5, 0, 64}, {3, 10, 48}, {0, 100, 16}};
    const kvc_attend_options none = {0}, both = {.size = sizeof both, .sliding_window = 70, .softcap = 3.0f};
    for (int i = 0; i < 5; i++) {
        check_chunks(policies[i], "int4.ch8", "int4.tok+had", none);
        check_chunks(policies[i], "fp16", "int3.tok16", none);
        check_chunks(policies[i], "vq8x8+klt", "vq4x6", none);
        check_chunks(policies[i], "vq[4*4,4*8]x6+klt@joint", "int4.tok@joint", none);
        check_chunks(policies[i], "int4.tok@joint", "vq4x6", none);
        check_chunks(policies[i], "vq8x4+klt", "vq[3*16]x4+klt@joint", none);
        check_chunks(policies[i], "vq[9]x4+klt", "vq[5]x7", none);
        check_chunks(policies[i], "int4.tok", "vq[30]x3+klt", none);
        check_chunks(policies[i], "int4.ch8", "int4.tok", both);
        check_chunks(policies[i], "vq[9]x4+klt", "int4.tok@joint", both);
    }
}
END_TEST

/* Windows that end in the fp16 window, at its border, in a page, at a page's border, among the sinks, at the first
 * token, before it; many queries see windows of their own. Sinks are tokens like any other. */
START_TEST(attend__sees_a_sliding_window_alone)
{
    static const uint32_t windows[] = {1, 3, 64, 65, 104, 168, 200, 233, 296, 298, 300, 5000}, queries[] = {1, 9, 70};
    static const char *const pairs[][2] = {{"fp16", "fp16"},
                                           {"int4.ch64", "int4.tok+had"},
                                           {"vq8x8+klt", "vq4x8+klt@joint"},
                                           {"vq[8]x8+klt", "vq[11]x3"}};
    for (int i = 0; i < 4; i++) {
        rig r;
        rig_config(&r, 1, 6, 2, 64, usual, pairs[i][0], pairs[i][1]);
        rig_cache(&r, 1, 512);
        rig_rows(&r, 300, 5);
        rig_append_all_layers(&r, 0, 0, 300);
        for (int w = 0; w < 12; w++)
            for (int q = 0; q < 3; q++) {
                r.options = (kvc_attend_options){.size = sizeof r.options, .sliding_window = windows[w]};
                double worst = worst_error(&r, 0, 0, 300, queries[q], kvc_tokens_compressed(&usual, 300));
                ck_assert_msg(worst < 2e-5, "%s, window %u, %u queries: %g", pairs[i][0], windows[w], queries[q],
                              worst);
            }
        rig_free(&r);
    }
}
END_TEST

START_TEST(attend__caps_scores)
{
    static const float caps[] = {1e-3f, 0.5f, 5.0f, 50.0f, 200.0f};
    static const char *const pairs[][2] = {{"fp16", "fp16"}, {"int4.ch64", "int4.tok"}, {"vq8x8+klt", "vq4x8+klt"}};
    for (int i = 0; i < 15; i++) {
        rig r;
        rig_config(&r, 1, 6, 2, 64, usual, pairs[i / 5][0], pairs[i / 5][1]);
        rig_cache(&r, 1, 512);
        rig_rows(&r, 300, 5);
        rig_append_all_layers(&r, 0, 0, 300);
        r.options = (kvc_attend_options){.size = sizeof r.options, .softcap = caps[i % 5]};
        double worst = worst_error(&r, 0, 0, 300, 3, kvc_tokens_compressed(&usual, 300));
        ck_assert_msg(worst < 5e-5, "%s, cap %g: %g", pairs[i / 5][0], (double)caps[i % 5], worst);
        rig_free(&r);
    }
}
END_TEST

static void check_ranges_and_scales(const char *key, const char *value)
{
    enum { H = 8, D = 64 };
    rig r;
    kvc_error err;
    float q[H * D], whole[H * D], part[H * D], zero[H * D];
    uint32_t sequence = 0, one = 1;
    kvc_batch batch = {1, &sequence, &one};
    rig_config(&r, 1, H, 4, D, usual, key, value);
    rig_cache(&r, 1, 512);
    rig_rows(&r, 200, 5);
    rig_append_all_layers(&r, 0, 0, 200);
    rig_fill(q, H, D, 1);
    rig_attend(&r, 0, 0, 1, q, whole);
    void *work = aligned_alloc(64, (kvc_cache_attend_work(r.cache) + 63) / 64 * 64);
    kvc_attend_options options = {.size = sizeof options, .kv_head_begin = 1, .kv_head_end = 3};
    for (int i = 0; i < H * D; i++) part[i] = -9.0f;
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, part, work, &options, &err), KVC_OK);
    for (int i = 0; i < H * D; i++) ck_assert(part[i] == (i / D / 2 == 1 || i / D / 2 == 2 ? whole[i] : -9.0f));
    options = (kvc_attend_options){.size = sizeof options, .score_scale = 0.125f};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, part, work, &options, &err), KVC_OK);
    ck_assert_int_eq(memcmp(part, whole, sizeof part), 0); /* 1 / sqrt(64) */
    options.score_scale = 1e-30f;                          /* all tokens weigh the same */
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, zero, work, &options, &err), KVC_OK);
    double mean = 0.0;
    double *values = rig_decoded(&r, &kvc_config_layer(r.cfg, 0)->value, r.values, 200, 128);
    for (int t = 0; t < 200; t++) mean += values[t * 4 * D] / 200;
    ck_assert_double_eq_tol(zero[0], mean, 1e-5);
    free(values);
    free(work);
    rig_free(&r);
}

START_TEST(attend__works_on_a_range_of_heads_and_a_given_scale)
{
    check_ranges_and_scales("int4.ch64", "int4.tok");
    for (size_t k = 0; k < N_JOINT_PAIRS; k++) check_ranges_and_scales(joint_pairs[k][0], joint_pairs[k][1]);
    for (size_t k = 0; k < N_SHARED_PAIRS; k++) check_ranges_and_scales(shared_pairs[k][0], shared_pairs[k][1]);
}
END_TEST

START_TEST(attend__takes_queries_of_any_dtype_and_several_sequences)
{
    enum { H = 4, D = 64 };
    rig r;
    float q[3 * H * D], out[3 * H * D], alone[2 * H * D];
    uint16_t halves[3 * H * D];
    uint32_t sequences[] = {2, 0}, counts[] = {1, 2};
    kvc_batch batch = {2, sequences, counts};
    rig_config(&r, 1, H, 2, D, usual, "int4.ch64", "int4.tok");
    rig_cache(&r, 3, 1024);
    rig_rows(&r, 300, 5);
    ck_assert_int_eq(rig_append(&r, 0, 0, 0, 300), KVC_OK);
    ck_assert_int_eq(rig_append(&r, 0, 2, 100, 150), KVC_OK);
    rig_fill(q, 3 * H, D, 1);
    kvc_rows_to_fp16(q, 3 * H * D, halves);
    void *work = aligned_alloc(64, (kvc_cache_attend_work(r.cache) + 63) / 64 * 64);
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, halves, KVC_F16, out, work, NULL, NULL), KVC_OK);
    rig_attend(&r, 0, 2, 1, q, alone);
    ck_assert_int_eq(memcmp(out, alone, H * D * sizeof *out), 0);
    rig_attend(&r, 0, 0, 2, q + H * D, alone);
    ck_assert_int_eq(memcmp(out + H * D, alone, 2 * H * D * sizeof *out), 0);
    free(work);
    rig_free(&r);
}
END_TEST

static void check_nan_query(uint32_t n_kv_heads, const char *key, const char *value)
{
    enum { N = 200, D = 64, HEADS = 3 };
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float q[2 * HEADS * D], out[2 * HEADS * D], clean[2 * HEADS * D];
    rig r;
    rig_config(&r, 1, HEADS, n_kv_heads, D, usual, key, value);
    rig_cache(&r, 1, 512);
    rig_rows(&r, N, 5);
    rig_append_all_layers(&r, 0, 0, N);
    rig_fill(q, 2 * HEADS, D, 6);
    rig_attend(&r, 0, 0, 2, q, clean);
    for (int i = 0; i < 3; i++) {
        rig_fill(q, 2 * HEADS, D, 6);
        q[D + 7] = bad[i]; /* first token, second head */
        rig_attend(&r, 0, 0, 2, q, out);
        for (int c = 0; c < 2 * HEADS * D; c++) {
            if (c / D == 1)
                ck_assert_msg(isnan(out[c]), "a query with %g gave %g", bad[i], out[c]);
            else
                ck_assert_float_eq(out[c], clean[c]);
        }
    }
    rig_free(&r);
}
START_TEST(attend__keeps_a_nan_query_in_its_own_row)
{
    check_nan_query(1, "int4.ch64+had", "int4.tok");
    check_nan_query(3, "int4.ch64+had", "vq8x8+klt");
    for (size_t k = 0; k < N_JOINT_PAIRS; k++) check_nan_query(3, joint_pairs[k][0], joint_pairs[k][1]);
    for (size_t k = 0; k < N_SHARED_PAIRS; k++) check_nan_query(3, shared_pairs[k][0], shared_pairs[k][1]);
}
END_TEST

START_TEST(attend__survives_scores_far_apart)
{
    enum { D = 64 };
    rig r;
    float q[D], out[D];
    rig_config(&r, 1, 1, 1, D, usual, "int8.tok", "int8.tok");
    rig_cache(&r, 1, 512);
    rig_rows(&r, 300, 5);
    for (int i = 0; i < D; i++) r.keys[150 * D + i] = 60000.0f, r.keys[151 * D + i] = -60000.0f;
    rig_append_all_layers(&r, 0, 0, 300);
    for (int i = 0; i < D; i++) q[i] = 10000.0f;
    rig_attend(&r, 0, 0, 1, q, out);
    double *values = rig_decoded(&r, &kvc_config_layer(r.cfg, 0)->value, r.values, 300, 192);
    for (int i = 0; i < D; i++) ck_assert_double_eq_tol(out[i], values[150 * D + i], 1e-5);
    free(values);
    rig_free(&r);
}
END_TEST

START_TEST(attend__refuses_what_it_cannot_do)
{
    rig r;
    float q[2 * 64] = {0}, out[2 * 64];
    uint32_t sequence = 0, n = 1, far = 9;
    rig_config(&r, 1, 2, 2, 64, usual, "fp16", "fp16");
    rig_cache(&r, 1, 64);
    rig_rows(&r, 8, 1);
    uint8_t *work = aligned_alloc(64, (kvc_cache_attend_work(r.cache) + 127) / 64 * 64);
    kvc_batch batch = {1, &sequence, &n};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, NULL, NULL),
                     KVC_INVALID); /* empty */
    rig_append_all_layers(&r, 0, 0, 8);
    ck_assert_int_eq(kvc_cache_attend(r.cache, 1, &batch, q, KVC_F32, out, work, NULL, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, (kvc_dtype)7, out, work, NULL, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work + 4, NULL, NULL), KVC_INVALID);
    kvc_batch wrong = {1, &far, &n};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &wrong, q, KVC_F32, out, work, NULL, NULL), KVC_INVALID);
    kvc_attend_options options = {.size = sizeof options, .kv_head_begin = 1, .kv_head_end = 3};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &options, NULL), KVC_INVALID);
    options = (kvc_attend_options){.size = 4};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &options, NULL), KVC_INVALID);
    struct {
        kvc_attend_options known;
        uint32_t later;
    } newer = {{.size = sizeof newer}, 1};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &newer.known, NULL),
                     KVC_UNSUPPORTED);
    newer.later = 0;
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &newer.known, NULL), KVC_OK);
    static const float caps[] = {-1.0f, NAN, INFINITY};
    for (int i = 0; i < 3; i++) {
        options = (kvc_attend_options){.size = sizeof options, .softcap = caps[i]};
        ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &options, NULL), KVC_INVALID);
    }
    free(work);
    rig_free(&r);
}
END_TEST

/* A caller that was built with the first version's struct: what lies behind it is not looked at. */
START_TEST(attend__takes_the_options_of_its_first_version)
{
    rig r;
    uint32_t sequence = 0, n = 1;
    kvc_batch batch = {1, &sequence, &n};
    float q[2 * 64], plain[2 * 64], out[2 * 64];
    rig_config(&r, 1, 2, 1, 64, usual, "int4.ch64", "int4.tok");
    rig_cache(&r, 1, 256);
    rig_rows(&r, 200, 1);
    rig_append_all_layers(&r, 0, 0, 200);
    rig_fill(q, 2, 64, 4);
    rig_attend(&r, 0, 0, 1, q, plain);
    void *work = aligned_alloc(64, (kvc_cache_attend_work(r.cache) + 63) / 64 * 64);
    kvc_attend_options options = {.size = 16, .sliding_window = 5, .softcap = -1.0f};
    ck_assert_int_eq(kvc_cache_attend(r.cache, 0, &batch, q, KVC_F32, out, work, &options, NULL), KVC_OK);
    ck_assert_int_eq(memcmp(out, plain, sizeof out), 0);
    free(work);
    rig_free(&r);
}
END_TEST

CHECK_MAIN("attend", attend__equals_reference_over_shapes_and_lengths, attend__equals_reference_for_every_codec,
           attend__equals_reference_for_fitted_codecs, attend__equals_reference_for_rows_of_all_heads,
           attend__equals_reference_for_shared_codes, attend__equals_reference_for_shared_codes_of_small_pages,
           attend__equals_reference_over_policies, attend__is_causal_for_many_queries,
           attend__sees_a_sliding_window_alone, attend__caps_scores, attend__takes_the_options_of_its_first_version,
           attend__chunks_equal_single_tokens_bit_for_bit, attend__works_on_a_range_of_heads_and_a_given_scale,
           attend__takes_queries_of_any_dtype_and_several_sequences, attend__survives_scores_far_apart,
           attend__keeps_a_nan_query_in_its_own_row, attend__refuses_what_it_cannot_do)
