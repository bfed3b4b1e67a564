/* test_score_pricing.c - isolated global losses against whole evaluations, on tiny random models. */
#include "check_main.h"
#include "model_tiny.h"
#include "score.h"

static const kvc_token_policy policy = {.sinks = 4, .window = 16, .page = 16};
enum { LAYERS = 3, FIRST = 4 + 16 + 16 - 1, SEQUENCES = 4 };
static const size_t lengths[SEQUENCES] = {150, 97, 40, 20};
#define SCORED ((150 - 1 - FIRST) + (97 - 1 - FIRST) + (40 - 1 - FIRST))

static kvc_codec codec_of(const char *spec)
{
    kvc_codec codec;
    OK(kvc_codec_parse(&codec, spec, err));
    return codec;
}

typedef struct rig {
    model *m;
    backend *b;
    sequence_set tokens;
    kvc_layer layers[LAYERS]; /* a plan */
    kvc_codec worse;
} rig;

static rig rig_open(const char *name, int threads)
{
    rig r = {.m = tiny_model("pricing", name, "--layers 3"), .b = cpu_backend(threads)};
    r.tokens = tiny_tokens(lengths, SEQUENCES, r.m->config.vocab);
    for (int i = 0; i < LAYERS; i++) r.layers[i] = (kvc_layer){codec_of("int4.ch16"), codec_of("int4.tok")};
    r.worse = codec_of("int2.tok");
    return r;
}

static void rig_close(rig *r)
{
    sequences_free(&r->tokens);
    r->b->close(r->b);
    model_close(r->m);
}

static pricing *new_pricing(rig *r, const kvc_layer *base, uint32_t rows, uint64_t memory)
{
    pricing *p;
    plan_ref plan = {.layers = base};
    OK(pricing_new(&p, r->m, r->b, &r->tokens, &policy, &plan, rows, memory, NULL, err));
    return p;
}

static price price_item(pricing *p, uint32_t layer, bool values, const kvc_codec *codec)
{
    price out;
    OK(pricing_item(p, layer, values, codec, NULL, &out, NULL, NULL, err));
    return out;
}

static price price_plan(pricing *p, const kvc_layer *layers)
{
    price out;
    plan_ref plan = {.layers = layers};
    OK(pricing_plan(p, &plan, &out, NULL, NULL, err));
    return out;
}

static void assert_same_price(price a, price b)
{
    ck_assert_mem_eq(&a, &b, sizeof a);
}

/* ---- the measure ---- */

START_TEST(pricing_plan__is_the_loss_of_an_evaluation)
{
    rig r = rig_open("plan", 2);
    eval_result whole;
    OK(evaluate(r.m, r.b, &r.tokens, &policy, r.layers, NULL, 0, 0, NULL, &whole, NULL, "test", err));
    pricing *p = new_pricing(&r, NULL, 0, 0);
    price own = price_plan(p, r.layers);
    /* positions that see no page differ by the rounding to fp16 alone */
    ck_assert_double_eq_tol(own.kl * SCORED / (whole.kl_mean * (double)whole.n_tokens), 1, 1e-3);
    ck_assert_double_eq(own.kl, own.delta);
    ck_assert_double_gt(own.kl_stderr, 0);
    ck_assert_double_lt(own.kl_stderr, own.kl);
    pricing_free(p);
    rig_close(&r);
}
END_TEST

START_TEST(pricing_item__over_a_base_equals_the_whole_plan)
{
    rig r = rig_open("base", 2);
    pricing *base = new_pricing(&r, r.layers, 0, 0), *exact = new_pricing(&r, NULL, 0, 0);
    double base_kl = price_plan(exact, r.layers).kl;
    for (uint32_t item = 0; item < 2 * LAYERS; item++) {
        kvc_layer changed[LAYERS];
        memcpy(changed, r.layers, sizeof changed);
        *(item % 2 ? &changed[item / 2].value : &changed[item / 2].key) = r.worse;
        price one = price_item(base, item / 2, item % 2, &r.worse), whole = price_plan(exact, changed);
        ck_assert_double_eq(one.kl, whole.kl);
        ck_assert_double_eq(one.kl_stderr, whole.kl_stderr);
        ck_assert_double_eq_tol(one.delta, whole.kl - base_kl, 1e-12);
        ck_assert_double_lt(one.delta_stderr, one.kl_stderr); /* pairs share what the base loses */
        assert_same_price(one, price_plan(base, changed));
    }
    pricing_free(base);
    pricing_free(exact);
    rig_close(&r);
}
END_TEST

START_TEST(pricing_item__of_the_exact_model_ranks_codecs)
{
    const char *specs[] = {"fp16", "int8.tok", "int4.tok", "int2.tok"};
    rig r = rig_open("exact", 2);
    pricing *p = new_pricing(&r, NULL, 0, 0);
    for (uint32_t item = 0; item < 2 * LAYERS; item++) {
        double least = 0;
        for (int i = 0; i < 4; i++) {
            kvc_codec codec = codec_of(specs[i]);
            double kl = price_item(p, item / 2, item % 2, &codec).kl;
            ck_assert_double_gt(kl, 4 * least);
            least = kl;
        }
    }
    pricing_free(p);
    rig_close(&r);
}
END_TEST

START_TEST(pricing_item__that_changes_nothing_costs_nothing)
{
    rig r = rig_open("same", 1);
    pricing *p = new_pricing(&r, r.layers, 0, 0);
    price none = price_item(p, 1, true, &r.layers[1].value);
    ck_assert_double_eq(none.delta, 0);
    ck_assert_double_eq(none.delta_stderr, 0);
    ck_assert_double_gt(none.kl, 0);
    assert_same_price(none, price_plan(p, r.layers));
    price changed = price_item(p, 1, true, &r.worse);
    ck_assert_double_gt(changed.delta, 0);
    assert_same_price(none, price_item(p, 1, true, &r.layers[1].value)); /* the base is as it was */
    pricing_free(p);
    rig_close(&r);
}
END_TEST

/* ---- positions ---- */

START_TEST(pricing__scores_a_sample_of_positions_per_sequence)
{
    rig r = rig_open("rows", 1);
    price each[SEQUENCES], all[SEQUENCES], out;
    for (uint32_t i = 0; i < SEQUENCES; i++) r.tokens.file[i] = i; /* a file of each */
    pricing *p = new_pricing(&r, NULL, 10, 0);
    OK(pricing_item(p, 0, false, &r.worse, NULL, &out, each, NULL, err));
    ck_assert_double_eq_tol(out.kl, (10 * each[0].kl + 10 * each[1].kl + 4 * each[2].kl) / 24, 1e-12);
    ck_assert(out.n_rows == 24 && each[0].n_rows == 10 && each[1].n_rows == 10 && each[2].n_rows == 4);
    ck_assert(each[3].n_rows == 0 && each[3].kl == 0 && each[3].kl_stderr == 0);
    ck_assert(each[0].kl_stderr > 0 && each[0].delta == each[0].kl); /* over the exact model */
    pricing_free(p);
    p = new_pricing(&r, NULL, 0, 0);
    OK(pricing_item(p, 0, false, &r.worse, NULL, &out, all, NULL, err));
    assert_same_price(all[2], each[2]); /* 4 positions in both */
    ck_assert_double_ne(all[0].kl, each[0].kl);
    r.tokens.file[1] = 0, r.tokens.file[2] = r.tokens.file[3] = 1;
    OK(pricing_item(p, 0, false, &r.worse, NULL, &out, each, NULL, err));
    ck_assert_uint_eq(each[0].n_rows, all[0].n_rows + all[1].n_rows);
    ck_assert_double_eq_tol(each[0].kl * (double)each[0].n_rows,
                            all[0].kl * (double)all[0].n_rows + all[1].kl * (double)all[1].n_rows, 1e-9);
    assert_same_price(each[1], all[2]);
    pricing_free(p);
    rig_close(&r);
}
END_TEST

START_TEST(model_compare_rows__agrees_with_the_comparison_of_all_rows)
{
    rig r = rig_open("logits", 2);
    const size_t picked[] = {0, 7, 148, 150, 240, 305}, n = sizeof picked / sizeof *picked,
                 width = r.m->config.hidden;
    size_t total = sequences_tokens(&r.tokens);
    hidden_states *ref, *cfg, *few[2], *two;
    logit_row *all = malloc(total * sizeof *all), some[6], copies[12];
    OK(hidden_new(&ref, r.b, total, (uint32_t)width, 0, NULL, err));
    OK(hidden_new(&cfg, r.b, total, (uint32_t)width, 0, NULL, err));
    OK(model_embed(r.m, &r.tokens, ref, err));
    OK(hidden_copy(cfg, 0, ref, total, err));
    OK(model_layers(r.m, r.b, &r.tokens, cfg, 0, 1, NULL, NULL, "test", err));
    OK(model_compare(r.m, r.b, &r.tokens, ref, cfg, all, NULL, err));
    for (int i = 0; i < 2; i++) {
        OK(hidden_new(&few[i], r.b, n, (uint32_t)width, 1, getenv("KVC_TEST_BUILD"), err));
        OK(hidden_gather(few[i], i ? cfg : ref, picked, n, err));
    }
    OK(model_compare_rows(r.m, r.b, n, few[0], 1, few[1], some, NULL, err));
    for (size_t i = 0, sequence = 0; i < n; i++) { /* rows of `all` skip each sequence's last token */
        while (picked[i] >= r.tokens.first[sequence + 1]) sequence++;
        const logit_row *same = &all[picked[i] - sequence];
        ck_assert_double_eq_tol(some[i].kl / same->kl, 1, 1e-5); /* products round by their number of rows */
        ck_assert_uint_eq(some[i].top_cfg, same->top_cfg);
        ck_assert_double_gt(some[i].kl, 0);
    }
    OK(hidden_new(&two, r.b, 2 * n, (uint32_t)width, 0, NULL, err));
    OK(hidden_copy(two, 0, few[0], n, err));
    OK(hidden_copy(two, n, few[1], n, err));
    OK(model_compare_rows(r.m, r.b, n, few[0], 2, two, copies, NULL, err));
    for (size_t i = 0; i < n; i++) {
        ck_assert_double_lt(copies[i].kl, 1e-9);
        ck_assert_double_eq_tol(copies[n + i].kl / some[i].kl, 1, 1e-5);
        ck_assert_uint_eq(copies[n + i].top_cfg, some[i].top_cfg);
    }
    for (int i = 0; i < 2; i++) hidden_free(few[i]);
    hidden_free(two);
    hidden_free(ref);
    hidden_free(cfg);
    free(all);
    rig_close(&r);
}
END_TEST

/* ---- bases ---- */

START_TEST(pricing_rebase__equals_a_new_pricing)
{
    rig r = rig_open("rebase", 1);
    kvc_layer other[LAYERS];
    memcpy(other, r.layers, sizeof other);
    other[1].key = r.worse;
    pricing *moved = new_pricing(&r, r.layers, 0, 0), *fresh = new_pricing(&r, other, 0, 0);
    plan_ref plan = {.layers = other}, none = {0};
    OK(pricing_rebase(moved, &plan, NULL, err));
    for (uint32_t item = 0; item < 2 * LAYERS; item++)
        assert_same_price(price_item(moved, item / 2, item % 2, &r.worse),
                          price_item(fresh, item / 2, item % 2, &r.worse));
    OK(pricing_rebase(moved, &none, NULL, err));
    ck_assert_double_eq(price_plan(moved, NULL).kl, 0);
    pricing_free(moved);
    pricing_free(fresh);
    rig_close(&r);
}
END_TEST

static bool stop_after(void *context)
{
    int *left = context;
    return (*left)-- <= 0;
}

START_TEST(pricing__interrupted_while_rebasing_can_be_rebased_again)
{
    rig r = rig_open("stop", 1);
    int left = 6; /* in the second of three layers */
    job job = {.cancelled = stop_after, .context = &left};
    plan_ref plan = {.layers = r.layers};
    price out;
    kvc_error why;
    pricing *p = new_pricing(&r, NULL, 0, 0), *fresh = new_pricing(&r, r.layers, 0, 0);
    ck_assert_int_eq(pricing_rebase(p, &plan, &job, &why), KVC_INTERRUPTED);
    ck_assert_int_eq(pricing_item(p, 0, false, &r.worse, NULL, &out, NULL, NULL, &why), KVC_INVALID);
    OK(pricing_rebase(p, &plan, NULL, err));
    left = 2;
    ck_assert_int_eq(pricing_item(p, 1, false, &r.worse, NULL, &out, NULL, &job, &why), KVC_INTERRUPTED);
    assert_same_price(price_item(p, 1, false, &r.worse), price_item(fresh, 1, false, &r.worse));
    pricing_free(p);
    pricing_free(fresh);
    rig_close(&r);
}
END_TEST

START_TEST(pricing__depends_on_neither_threads_nor_memory)
{
    rig one = rig_open("threads", 1);
    pricing *p = new_pricing(&one, one.layers, 16, 0);
    price expected = price_item(p, 1, true, &one.worse);
    pricing_free(p);
    uint64_t stream = sequences_tokens(&one.tokens) * sizeof(float) * one.m->config.hidden;
    const uint64_t limits[] = {1, 2 * stream};
    for (int i = 0; i < 2; i++) {
        p = new_pricing(&one, one.layers, 16, limits[i]);
        assert_same_price(price_item(p, 1, true, &one.worse), expected);
        pricing_free(p);
    }
    rig_close(&one);
    rig two = rig_open("threads", 2);
    p = new_pricing(&two, two.layers, 16, 0);
    assert_same_price(price_item(p, 1, true, &two.worse), expected);
    pricing_free(p);
    rig_close(&two);
}
END_TEST

static uint64_t need_of(const rig *r, uint32_t score_rows, uint64_t memory_limit)
{
    memory_need need = pricing_memory(&r->m->config, r->b, 1000, 4, 250, score_rows, memory_limit);
    return need.host + need.dev;
}

START_TEST(pricing_memory__counts_the_streams_that_the_limit_allows)
{
    rig r = rig_open("memory", 1);
    const model_config *c = &r.m->config;
    uint64_t stream = 1000 * sizeof(float) * (uint64_t)c->hidden, none = need_of(&r, 16, 1);
    ck_assert_uint_eq(need_of(&r, 16, 0), none + LAYERS * stream);
    ck_assert_uint_eq(need_of(&r, 16, 2 * stream), none + stream);
    ck_assert_uint_lt(none, need_of(&r, 0, 1));
    rig_close(&r);
}
END_TEST

/* ---- parameters ---- */

START_TEST(pricing__reads_parameters_of_plans_at_their_offset_and_of_items_from_the_start)
{
    rig r = rig_open("params", 1);
    size_t n = (size_t)r.m->config.n_kv_heads * r.m->config.head_dim;
    kvc_codec smooth = codec_of("int3.tok+smooth"), plain = codec_of("int3.tok");
    float *blob = aligned_alloc(64, 64 + (n * sizeof *blob + 63) / 64 * 64), *own = blob + 16;
    for (size_t i = 0; i < 16; i++) blob[i] = NAN; /* no factor */
    for (size_t i = 0; i < n; i++) own[i] = 0.5f + 0.1f * (float)(i % 16);
    smooth.param_bytes = (uint32_t)(n * sizeof *own);
    kvc_layer layers[LAYERS];
    memcpy(layers, r.layers, sizeof layers);
    layers[1].key = smooth;
    layers[1].key.param_offset = 64;
    plan_ref plan = {layers, blob, 64 + n * sizeof *own};
    price whole, item, again;
    pricing *p = new_pricing(&r, r.layers, 0, 0);
    kvc_error why;
    OK(pricing_plan(p, &plan, &whole, NULL, NULL, err));
    OK(pricing_item(p, 1, false, &smooth, own, &item, NULL, NULL, err));
    assert_same_price(whole, item);
    ck_assert_double_ne(item.kl, price_item(p, 1, false, &plain).kl);
    OK(pricing_rebase(p, &plan, NULL, err));
    OK(pricing_item(p, 1, false, &smooth, own, &again, NULL, NULL, err)); /* as in the base, elsewhere in memory */
    ck_assert_double_eq(again.delta, 0);
    ck_assert_double_eq(again.kl, item.kl);
    ck_assert_int_eq(pricing_item(p, 1, false, &smooth, NULL, &item, NULL, NULL, &why), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(why.message, "layer 1 keys: the codec's parameters are missing"));
    plan.params_bytes--;
    ck_assert_int_eq(pricing_plan(p, &plan, &item, NULL, NULL, &why), KVC_INVALID);
    pricing_free(p);
    free(blob);
    rig_close(&r);
}
END_TEST

/* ---- errors ---- */

START_TEST(pricing__names_what_does_not_fit)
{
    rig r = rig_open("misfit", 1);
    kvc_error why;
    price out;
    kvc_codec odd = codec_of("int4.tok24");
    plan_ref plan = {.layers = r.layers};
    pricing *p = new_pricing(&r, NULL, 0, 0);
    ck_assert_int_eq(pricing_item(p, 1, true, &odd, NULL, &out, NULL, NULL, &why), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(why.message, "layer 1 values"));
    ck_assert_int_eq(pricing_item(p, LAYERS, true, &r.worse, NULL, &out, NULL, NULL, &why), KVC_INVALID);
    r.layers[2].key = odd;
    ck_assert_int_eq(pricing_plan(p, &plan, &out, NULL, NULL, &why), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(why.message, "layer 2 keys"));
    ck_assert_double_gt(price_item(p, 1, true, &r.worse).kl, 0); /* a refusal changes nothing */
    pricing_free(p);
    ck_assert_int_eq(pricing_new(&p, r.m, r.b, &r.tokens, &policy, &plan, 0, 0, NULL, &why), KVC_INVALID);
    ck_assert_ptr_null(p);
    rig_close(&r);
}
END_TEST

START_TEST(pricing_new__refuses_text_without_a_position_to_score)
{
    rig r = rig_open("short", 1);
    kvc_error why;
    pricing *p;
    plan_ref exact = {0};
    sequence_set brief = tiny_tokens((const size_t[]){FIRST + 1, 9}, 2, r.m->config.vocab);
    ck_assert_int_eq(pricing_new(&p, r.m, r.b, &brief, &policy, &exact, 0, 0, NULL, &why), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(why.message, "36 tokens"));
    sequences_free(&brief);
    brief = tiny_tokens((const size_t[]){FIRST + 2, 9}, 2, r.m->config.vocab);
    OK(pricing_new(&p, r.m, r.b, &brief, &policy, &exact, 0, 0, NULL, err));
    ck_assert_double_eq(price_item(p, 0, true, &r.worse).kl_stderr, 0); /* one position */
    pricing_free(p);
    sequences_free(&brief);
    rig_close(&r);
}
END_TEST

CHECK_MAIN("score pricing", pricing_plan__is_the_loss_of_an_evaluation,
           pricing_item__over_a_base_equals_the_whole_plan, pricing_item__of_the_exact_model_ranks_codecs,
           pricing_item__that_changes_nothing_costs_nothing, pricing__scores_a_sample_of_positions_per_sequence,
           model_compare_rows__agrees_with_the_comparison_of_all_rows, pricing_rebase__equals_a_new_pricing,
           pricing__interrupted_while_rebasing_can_be_rebased_again, pricing__depends_on_neither_threads_nor_memory,
           pricing_memory__counts_the_streams_that_the_limit_allows,
           pricing__reads_parameters_of_plans_at_their_offset_and_of_items_from_the_start,
           pricing__names_what_does_not_fit, pricing_new__refuses_text_without_a_position_to_score)
