/* The life of a cache: memory, refusals that change nothing, truncate, fork, reset, and a long random walk of them
 * all. */
#include "cache_rig.h"

static const kvc_token_policy usual = {4, 64, 64};

/* What a query of each head sees now, in every layer: enough to tell two caches apart. */
static float *view_of(const rig *r, uint32_t sequence)
{
    uint32_t heads = r->model.n_query_heads, d = r->model.head_dim;
    float *q = malloc((size_t)heads * d * sizeof *q),
          *out = calloc((size_t)r->model.n_layers * heads * d, sizeof *out);
    rig_fill(q, heads, d, 77);
    for (uint32_t i = 0; i < r->model.n_layers; i++)
        if (kvc_cache_length(r->cache, i, sequence)) rig_attend(r, i, sequence, 1, q, out + (size_t)i * heads * d);
    free(q);
    return out;
}

static void check_same_view(const rig *a, uint32_t in_a, const rig *b, uint32_t in_b)
{
    float *x = view_of(a, in_a), *y = view_of(b, in_b);
    size_t bytes = (size_t)a->model.n_layers * a->model.n_query_heads * a->model.head_dim * sizeof *x;
    ck_assert_int_eq(memcmp(x, y, bytes), 0);
    free(x);
    free(y);
}

/* Rows of each head, rows of all heads on both sides or on one, and codes shared out among heads likewise. */
static const char *const kinds[][2] = {{"vq4x6+klt", "int4.tok+had"}, {"vq[8*2,8*4]x6+klt@joint", "int4.tok@joint"},
                                       {"int4.ch64@joint", "vq8x8"},  {"vq8x4+klt", "vq[4*8,1*16]x5+klt@joint"},
                                       {"vq[11]x6+klt", "vq[5]x5"},   {"vq[7]x3", "int4.tok+had"}};

static void small_rig(int kind, rig *r, uint32_t n_sequences, uint64_t max_tokens)
{
    rig_config(r, 2, 4, 2, 64, usual, kinds[kind][0], kinds[kind][1]);
    rig_cache(r, n_sequences, max_tokens);
    rig_rows(r, 600, 11);
}

/* ---- create ---- */

typedef struct ledger {
    int fail_at, n_calls, n_live;
    size_t bytes;
} ledger;

static void *counted_alloc(void *context, size_t bytes, size_t alignment)
{
    ledger *l = context;
    if (l->n_calls++ == l->fail_at) return NULL;
    l->n_live++;
    l->bytes += bytes;
    return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}

static void counted_free(void *context, void *memory, size_t bytes)
{
    ledger *l = context;
    l->n_live--;
    l->bytes -= bytes;
    free(memory);
}

START_TEST(cache_create__survives_failure_of_every_allocation)
{
    rig r;
    kvc_status status = KVC_NO_MEMORY;
    rig_config(&r, 3, 4, 2, 64, usual, "int4.ch32", "int4.tok");
    for (int fail_at = 0; status == KVC_NO_MEMORY; fail_at++) {
        ledger l = {.fail_at = fail_at};
        kvc_allocator allocator = {counted_alloc, counted_free, &l};
        kvc_cache_options options = {
            .size = sizeof options, .max_sequences = 2, .max_tokens = 1000, .allocator = &allocator};
        kvc_error err = {""};
        status = kvc_cache_create(&r.cache, r.cfg, &options, &err);
        if (status == KVC_OK) {
            ck_assert_uint_eq(kvc_cache_bytes(r.cache), l.bytes);
            rig_rows(&r, 300, 1);
            int n_calls = l.n_calls;
            rig_append_all_layers(&r, 0, 0, 300);
            ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 1, NULL), KVC_OK);
            ck_assert_int_eq(l.n_calls, n_calls); /* nothing is allocated after create */
            kvc_cache_destroy(r.cache);
            r.cache = NULL;
            ck_assert_int_ge(fail_at, 1);
        } else {
            ck_assert_ptr_null(r.cache);
            ck_assert_uint_gt(strlen(err.message), 0);
        }
        ck_assert_int_eq(l.n_live, 0);
        ck_assert_uint_eq(l.bytes, 0);
    }
    rig_free(&r);
}
END_TEST

START_TEST(cache_create__refuses_impossible_options)
{
    rig r;
    kvc_cache *cache;
    rig_config(&r, 1, 1, 1, 64, usual, "fp16", "fp16");
    kvc_cache_options none = {.size = sizeof none, .max_sequences = 0, .max_tokens = 10};
    ck_assert_int_eq(kvc_cache_create(&cache, r.cfg, &none, NULL), KVC_INVALID);
    kvc_cache_options small = {.size = 4, .max_sequences = 1};
    ck_assert_int_eq(kvc_cache_create(&cache, r.cfg, &small, NULL), KVC_INVALID);
    kvc_cache_options huge = {.size = sizeof huge, .max_sequences = 1, .max_tokens = UINT64_MAX};
    ck_assert_int_eq(kvc_cache_create(&cache, r.cfg, &huge, NULL), KVC_INVALID);
    kvc_cache_options wide = {.size = sizeof wide, .max_sequences = UINT32_MAX, .max_tokens = 1ull << 37};
    ck_assert_int_eq(kvc_cache_create(&cache, r.cfg, &wide, NULL), KVC_NO_MEMORY);
    ck_assert_ptr_null(cache);
    kvc_cache_destroy(NULL);
    rig_free(&r);
}
END_TEST

/* ---- append ---- */

START_TEST(append__takes_every_dtype)
{
    rig a, b, c;
    size_t n = 200 * 2 * 64;
    uint16_t *halves = malloc(n * 2), *bfloats = malloc(n * 2);
    uint32_t sequence = 0, count = 200;
    kvc_batch batch = {1, &sequence, &count};
    small_rig(_i, &a, 1, 512);
    small_rig(_i, &b, 1, 512);
    small_rig(_i, &c, 1, 512);
    for (size_t i = 0; i < n; i++) { /* values that all three can say */
        a.keys[i] = a.values[i] = (float)((int)(i * 7 % 255) - 127) * 0.0078125f;
        uint32_t bits;
        memcpy(&bits, &a.keys[i], sizeof bits);
        bfloats[i] = (uint16_t)(bits >> 16);
        halves[i] = kvc_fp16_from_float(a.keys[i]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_int_eq(rig_append(&a, i, 0, 0, 200), KVC_OK);
        ck_assert_int_eq(kvc_cache_append(b.cache, i, &batch, halves, halves, KVC_F16, NULL), KVC_OK);
        ck_assert_int_eq(kvc_cache_append(c.cache, i, &batch, bfloats, bfloats, KVC_BF16, NULL), KVC_OK);
    }
    check_same_view(&a, 0, &b, 0);
    check_same_view(&a, 0, &c, 0);
    free(halves);
    free(bfloats);
    rig_free(&a);
    rig_free(&b);
    rig_free(&c);
}
END_TEST

START_TEST(append__one_call_equals_many)
{
    rig one, many;
    small_rig(_i, &one, 1, 600);
    small_rig(_i, &many, 1, 600);
    rig_append_all_layers(&one, 0, 0, 600);
    for (uint32_t t = 0, n; t < 600; t += n) {
        n = t % 13 + 1 < 600 - t ? t % 13 + 1 : 600 - t;
        rig_append_all_layers(&many, 0, t, n);
    }
    check_same_view(&one, 0, &many, 0);
    ck_assert_uint_eq(kvc_cache_length(one.cache, 1, 0), 600);
    rig_free(&one);
    rig_free(&many);
}
END_TEST

START_TEST(append__clamps_what_fp16_cannot_say)
{
    rig a, b;
    small_rig(_i, &a, 1, 512);
    small_rig(_i, &b, 1, 512);
    for (int i = 0; i < 300 * 2 * 64; i += 5) a.values[i] = 1e30f, b.values[i] = 65504.0f;
    rig_append_all_layers(&a, 0, 0, 300);
    rig_append_all_layers(&b, 0, 0, 300);
    check_same_view(&a, 0, &b, 0);
    rig_free(&a);
    rig_free(&b);
}
END_TEST

START_TEST(append__nonfinite_rows_change_nothing)
{
    static const float poisons[] = {NAN, INFINITY, -INFINITY};
    rig r, clean;
    small_rig(_i, &r, 2, 600);
    small_rig(_i, &clean, 2, 600);
    rig_append_all_layers(&r, 0, 0, 100);
    rig_append_all_layers(&clean, 0, 0, 100);
    for (int p = 0; p < 3; p++)
        for (int in_values = 0; in_values < 2; in_values++) {
            size_t at = (size_t)299 * 2 * 64 + 127; /* the very last value of rows 100 .. 299 */
            float *rows = in_values ? r.values : r.keys, kept = rows[at];
            rows[at] = poisons[p];
            ck_assert_int_eq(rig_append(&r, 0, 0, 100, 200), KVC_NONFINITE);
            rows[at] = kept;
            ck_assert_uint_eq(kvc_cache_length(r.cache, 0, 0), 100);
            check_same_view(&r, 0, &clean, 0);
        }
    uint16_t halves[2 * 64] = {0}, bfloats[2 * 64] = {0};
    uint32_t sequence = 0, one = 1;
    kvc_batch batch = {1, &sequence, &one};
    halves[77] = 0xfc00, bfloats[127] = 0x7fc0;
    ck_assert_int_eq(kvc_cache_append(r.cache, 0, &batch, halves, halves, KVC_F16, NULL), KVC_NONFINITE);
    ck_assert_int_eq(kvc_cache_append(r.cache, 0, &batch, bfloats, bfloats, KVC_BF16, NULL), KVC_NONFINITE);
    rig_append_all_layers(&r, 0, 100, 200);
    rig_append_all_layers(&clean, 0, 100, 200);
    check_same_view(&r, 0, &clean, 0);
    rig_free(&r);
    rig_free(&clean);
}
END_TEST

START_TEST(append__full_cache_changes_nothing)
{
    rig r, clean;
    small_rig(_i, &r, 2, 256); /* 4 pages */
    small_rig(_i, &clean, 2, 2048);
    rig_append_all_layers(&r, 0, 0, 300);
    rig_append_all_layers(&r, 1, 300, 150);
    rig_append_all_layers(&clean, 0, 0, 300);
    rig_append_all_layers(&clean, 1, 300, 150);
    uint32_t sequences[] = {1, 0}, counts[] = {20, 200};
    kvc_batch batch = {2, sequences, counts};
    kvc_error err = {""};
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(kvc_cache_append(r.cache, 0, &batch, r.keys, r.values, KVC_F32, &err), KVC_FULL);
    ck_assert_uint_gt(strlen(err.message), 0);
    for (uint32_t s = 0; s < 2; s++) {
        ck_assert_uint_eq(kvc_cache_length(r.cache, 0, s), s ? 150 : 300);
        check_same_view(&r, s, &clean, s);
    }
    ck_assert_int_eq(kvc_cache_reset(r.cache, 1, NULL), KVC_OK); /* makes room */
    ck_assert_int_eq(kvc_cache_reset(clean.cache, 1, NULL), KVC_OK);
    rig_append_all_layers(&r, 0, 300, 80);
    rig_append_all_layers(&clean, 0, 300, 80);
    check_same_view(&r, 0, &clean, 0);
    rig_free(&r);
    rig_free(&clean);
}
END_TEST

START_TEST(append__max_tokens_fit_however_they_are_spread)
{
    for (uint32_t first = 0; first <= 600; first += 50) {
        rig r;
        small_rig(_i, &r, 2, 600);
        rig_append_all_layers(&r, 0, 0, first);
        rig_append_all_layers(&r, 1, first, 600 - first);
        ck_assert_uint_eq(kvc_cache_length(r.cache, 1, 0) + kvc_cache_length(r.cache, 1, 1), 600);
        rig_free(&r);
    }
}
END_TEST

START_TEST(append__refuses_wrong_batches)
{
    rig r;
    small_rig(_i, &r, 2, 256);
    uint32_t twice[] = {1, 1}, far[] = {0, 2}, counts[] = {1, 1};
    kvc_batch double_batch = {2, twice, counts}, far_batch = {2, far, counts};
    ck_assert_int_eq(kvc_cache_append(r.cache, 0, &double_batch, r.keys, r.values, KVC_F32, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_append(r.cache, 0, &far_batch, r.keys, r.values, KVC_F32, NULL), KVC_INVALID);
    ck_assert_int_eq(rig_append(&r, 2, 0, 0, 1), KVC_INVALID);
    ck_assert_uint_eq(kvc_cache_length(r.cache, 0, 1), 0);
    ck_assert_uint_eq(kvc_cache_length(r.cache, 9, 0), 0);
    ck_assert_int_eq(rig_append(&r, 0, 0, 0, 0), KVC_OK);
    rig_free(&r);
}
END_TEST

START_TEST(chunk__counts_to_the_next_move)
{
    rig r;
    small_rig(_i, &r, 1, 600);
    ck_assert_uint_eq(kvc_cache_chunk(r.cache, 0, 0), 131); /* 4 + 64 + 64 - 1 */
    rig_append_all_layers(&r, 0, 0, 130);
    ck_assert_uint_eq(kvc_cache_chunk(r.cache, 0, 0), 1);
    rig_append_all_layers(&r, 0, 130, 1);
    ck_assert_uint_eq(kvc_cache_chunk(r.cache, 0, 0), 64);
    rig_append_all_layers(&r, 0, 131, 1);
    ck_assert_uint_eq(kvc_cache_chunk(r.cache, 0, 0), 63);
    rig_free(&r);
}
END_TEST

/* ---- truncate, fork, reset ---- */

/* Cuts that leave pages whole: as if the rest had never come. */
START_TEST(truncate__behind_pages_equals_never_appended)
{
    static const uint32_t lengths[] = {0, 1, 3, 4, 5, 60, 131};
    for (int i = 0; i < 7; i++) {
        rig cut, clean;
        small_rig(_i, &cut, 1, 600);
        small_rig(_i, &clean, 1, 600);
        rig_append_all_layers(&cut, 0, 0, 131); /* the last length without a page */
        rig_append_all_layers(&clean, 0, 0, lengths[i]);
        ck_assert_int_eq(kvc_cache_truncate(cut.cache, 0, lengths[i], NULL), KVC_OK);
        check_same_view(&cut, 0, &clean, 0);
        rig_append_all_layers(&cut, 0, lengths[i], 400);
        rig_append_all_layers(&clean, 0, lengths[i], 400);
        check_same_view(&cut, 0, &clean, 0);
        rig_free(&cut);
        rig_free(&clean);
    }
}
END_TEST

/* A cut page's rows return as their decoded values, those of whole pages stay compressed. */
START_TEST(truncate__into_a_page_keeps_decoded_rows)
{
    for (uint32_t n = 1; n <= 500; n += 23) {
        rig r;
        small_rig(_i, &r, 1, 600);
        rig_append_all_layers(&r, 0, 0, 500);
        uint32_t packed = (uint32_t)kvc_tokens_compressed(&usual, 500), heads = 4, d = 64;
        double want[64], *keys = rig_decoded(&r, &kvc_config_layer(r.cfg, 0)->key, r.keys,
                                             n > 4 + packed ? n : 4 + packed, packed);
        double *values =
            rig_decoded(&r, &kvc_config_layer(r.cfg, 0)->value, r.values, n > 4 + packed ? n : 4 + packed, packed);
        ck_assert_int_eq(kvc_cache_truncate(r.cache, 0, n, NULL), KVC_OK);
        ck_assert_uint_eq(kvc_cache_length(r.cache, 1, 0), n);
        float q[4 * 64], *out = view_of(&r, 0);
        rig_fill(q, heads, d, 77);
        for (uint32_t h = 0; h < heads; h++) {
            rig_reference(&r, keys, values, h / 2, n, q + h * d, want);
            for (uint32_t c = 0; c < d; c++)
                ck_assert_double_eq_tol(out[h * d + c], want[c], 2e-3); /* rows became fp16 */
        }
        free(out);
        free(keys);
        free(values);
        rig_free(&r);
    }
}
END_TEST

START_TEST(truncate__gives_pages_back)
{
    rig r;
    small_rig(_i, &r, 1, 512);
    for (int i = 0; i < 50; i++) {
        rig_append_all_layers(&r, 0, 0, 512);
        ck_assert_int_eq(kvc_cache_truncate(r.cache, 0, (uint64_t)(i * 11) % 512, NULL), KVC_OK);
        ck_assert_int_eq(kvc_cache_truncate(r.cache, 0, 0, NULL), KVC_OK);
    }
    ck_assert_int_eq(kvc_cache_truncate(r.cache, 0, 99, NULL), KVC_OK); /* longer than it is: nothing to do */
    ck_assert_uint_eq(kvc_cache_length(r.cache, 0, 0), 0);
    ck_assert_int_eq(kvc_cache_truncate(r.cache, 1, 0, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_reset(r.cache, 7, NULL), KVC_INVALID);
    rig_free(&r);
}
END_TEST

START_TEST(fork__shares_pages_and_lets_both_go_on)
{
    rig r, clean;
    small_rig(_i, &r, 3, 768); /* 12 pages */
    small_rig(_i, &clean, 3, 4096);
    rig_append_all_layers(&r, 0, 0, 400); /* 5 pages */
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 1, NULL), KVC_OK);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 2, NULL), KVC_OK);
    check_same_view(&r, 0, &r, 1);
    for (uint32_t s = 0; s < 3; s++) { /* 2 more pages each: 11 of 12, three copies would need 21 */
        rig_append_all_layers(&r, s, 400 - 50 * s, 130);
        rig_append_all_layers(&clean, s, 0, 400);
        rig_append_all_layers(&clean, s, 400 - 50 * s, 130);
        check_same_view(&r, s, &clean, s);
    }
    ck_assert_int_eq(kvc_cache_reset(r.cache, 0, NULL), KVC_OK); /* the others keep the shared pages */
    rig_append_all_layers(&r, 0, 100, 300);
    check_same_view(&r, 1, &clean, 1);
    ck_assert_int_eq(kvc_cache_truncate(r.cache, 1, 200, NULL), KVC_OK);
    check_same_view(&r, 2, &clean, 2);
    rig_free(&r);
    rig_free(&clean);
}
END_TEST

START_TEST(fork__refuses_occupied_or_uneven_sequences)
{
    rig r;
    small_rig(_i, &r, 3, 512);
    rig_append_all_layers(&r, 0, 0, 10);
    rig_append_all_layers(&r, 1, 0, 1);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 1, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 0, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 3, NULL), KVC_INVALID);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 3, 2, NULL), KVC_INVALID);
    ck_assert_int_eq(rig_append(&r, 0, 0, 10, 1), KVC_OK); /* layer 0 is one ahead */
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 2, NULL), KVC_INVALID);
    ck_assert_int_eq(rig_append(&r, 1, 0, 10, 1), KVC_OK);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 2, NULL), KVC_OK);
    rig_free(&r);
}
END_TEST

/* A cut in the middle of a step leaves the layers with different numbers of pages; a fork then must still be a copy.
 */
START_TEST(fork__after_an_uneven_truncation_is_a_copy)
{
    rig r;
    small_rig(_i, &r, 2, 512);
    rig_append_all_layers(&r, 0, 0, 131);
    ck_assert_int_eq(rig_append(&r, 0, 0, 131, 1), KVC_OK); /* layer 0 compresses, layer 1 does not */
    ck_assert_int_eq(kvc_cache_truncate(r.cache, 0, 131, NULL), KVC_OK);
    ck_assert_int_eq(kvc_cache_fork(r.cache, 0, 1, NULL), KVC_OK);
    for (uint32_t t = 131; t < 300; t++) {
        rig_append_all_layers(&r, 0, t, 1);
        rig_append_all_layers(&r, 1, t, 1);
        check_same_view(&r, 0, &r, 1);
    }
    rig_append_all_layers(&r, 0, 300, 100);
    float *before = view_of(&r, 1);
    rig_append_all_layers(&r, 0, 400, 100);
    float *after = view_of(&r, 1);
    ck_assert_int_eq(memcmp(before, after, 2 * 4 * 64 * sizeof *before), 0);
    free(before);
    free(after);
    rig_free(&r);
}
END_TEST

/* Appends, cuts, forks and resets of four sequences in a cache that is often full, each against a cache of its own.
 */
START_TEST(cache__random_walk_equals_separate_caches)
{
    rig shared, own[4];
    uint32_t seed = 5, n_full = 0;
    small_rig(_i, &shared, 4, 640);
    for (int s = 0; s < 4; s++) small_rig(_i, &own[s], 2, 4096);
    for (int step = 0; step < 400; step++) {
        uint32_t random = (seed = seed * 1664525u + 1013904223u) >> 8, s = random % 4, what = random / 4 % 8;
        uint32_t n = random / 32 % 90, at = random / 4096 % 500;
        uint64_t length = kvc_cache_length(shared.cache, 0, s);
        if (what < 5) {
            kvc_status first = rig_append(&shared, 0, s, at, n);
            ck_assert(first == KVC_OK || first == KVC_FULL);
            n_full += first == KVC_FULL;
            if (first == KVC_FULL) continue;
            ck_assert_int_eq(rig_append(&shared, 1, s, at, n), KVC_OK); /* the page is there already */
            rig_append_all_layers(&own[s], 0, at, n);
        } else if (what == 5) {
            uint64_t left = length ? random / 4096 % length : 0;
            ck_assert_int_eq(kvc_cache_truncate(shared.cache, s, left, NULL), KVC_OK);
            ck_assert_int_eq(kvc_cache_truncate(own[s].cache, 0, left, NULL), KVC_OK);
        } else if (what == 6) {
            uint32_t to = (s + 1) % 4;
            ck_assert_int_eq(kvc_cache_reset(shared.cache, to, NULL), KVC_OK);
            ck_assert_int_eq(kvc_cache_fork(shared.cache, s, to, NULL), KVC_OK);
            ck_assert_int_eq(kvc_cache_reset(own[to].cache, 0, NULL), KVC_OK);
            check_same_view(&shared, to, &own[s], 0);
            ck_assert_int_eq(kvc_cache_reset(shared.cache, to, NULL), KVC_OK);
        } else if (what == 7 && random % 3 == 0) {
            ck_assert_int_eq(kvc_cache_reset(shared.cache, s, NULL), KVC_OK);
            ck_assert_int_eq(kvc_cache_reset(own[s].cache, 0, NULL), KVC_OK);
        }
        for (uint32_t i = 0; i < 4; i++) check_same_view(&shared, i, &own[i], 0);
    }
    ck_assert_uint_gt(n_full, 5);
    rig_free(&shared);
    for (int s = 0; s < 4; s++) rig_free(&own[s]);
}
END_TEST

CHECK_MAIN_OF("cache", 6, cache_create__survives_failure_of_every_allocation,
              cache_create__refuses_impossible_options, append__takes_every_dtype, append__one_call_equals_many,
              append__clamps_what_fp16_cannot_say, append__nonfinite_rows_change_nothing,
              append__full_cache_changes_nothing, append__max_tokens_fit_however_they_are_spread,
              append__refuses_wrong_batches, chunk__counts_to_the_next_move,
              truncate__behind_pages_equals_never_appended, truncate__into_a_page_keeps_decoded_rows,
              truncate__gives_pages_back, fork__shares_pages_and_lets_both_go_on,
              fork__refuses_occupied_or_uneven_sequences, fork__after_an_uneven_truncation_is_a_copy,
              cache__random_walk_equals_separate_caches)
