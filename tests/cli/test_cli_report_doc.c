/* The document of a report and the front's CSV, from a profile made up here: three layers, three candidates a side.
 */
#include "check_main.h"
#include "console.h"
#include "item_price.h"
#include "report.h"
#include "report_doc.h"
#include <math.h>
#include <string.h>

enum { L = 3, K = 3, H = 2, D = 16, A = 4, CONTEXT = 4096 };

static const char *const key_specs[K] = {"int8.ch64", "int4.ch32", "int2.ch32"};
static const char *const value_specs[K] = {"int8.tok16", "int4.tok16+had", "int2.tok16"};
static kvc_error err;
static int notes;

/* What solution.c says to the user: here only counted. */
void console_note(const char *format, ...)
{
    notes += *format != 0;
}

void console_detail(const char *format, ...)
{
    notes += *format == 0; /* not what a user sees */
}

static kvc_codec codec(const char *spec)
{
    kvc_codec c;
    ck_assert_int_eq(kvc_codec_parse(&c, spec, &err), KVC_OK);
    return c;
}

/* Every candidate loses ten times more than the one before it; layer 1 four times more than the others. */
static double loss_of(uint32_t layer, uint32_t candidate)
{
    return 1e-5 * pow(10, candidate) * (layer == 1 ? 4 : 1);
}

static profile *sample(uint32_t n_anchors)
{
    const kvc_model_info model = {.name = "tiny <b>",
                                  .architecture = "llama",
                                  .n_layers = L,
                                  .n_query_heads = 2 * H,
                                  .n_kv_heads = H,
                                  .head_dim = D,
                                  .weights_sha256 = {0xab}};
    const kvc_token_policy tokens = {4, 64, 64};
    const kvc_codec keys[K] = {codec(key_specs[0]), codec(key_specs[1]), codec(key_specs[2])};
    const kvc_codec values[K] = {codec(value_specs[0]), codec(value_specs[1]), codec(value_specs[2])};
    profile *p;
    ck_assert_int_eq(profile_new(&p, &model, &tokens, keys, K, values, K, &err), KVC_OK);
    for (uint32_t i = 0; i < L * K; i++) p->key_loss[i] = p->value_loss[i] = loss_of(i / K, i % K);
    for (uint32_t i = 0; i < L * K * K; i++)
        p->e_o[i] = loss_of(i / (K * K), i / K % K) + loss_of(i / (K * K), i % K);
    for (uint32_t i = 0; i < n_anchors; i++) {
        const uint16_t key[L] = {i % K, i % K, i % K}, value[L] = {0, i == 3 ? 1 : 0, 0};
        ck_assert_int_eq(profile_add_anchor(p, key, value, &err), KVC_OK);
        profile_anchor *a = &p->anchors[i];
        for (uint32_t l = 0; l < L; l++) a->local_loss += loss_of(l, key[l]) + loss_of(l, value[l]);
        a->kl = 2 * a->local_loss; /* exactly what a power law predicts */
        a->kl_stderr = 0.05 * a->kl;
        a->ppl_ref = 10;
        a->ppl = 10 * exp(a->kl);
        a->n_tokens = 1000;
    }
    return p;
}

static void solve(solution *s, const profile *p, const char *method, double bits)
{
    settings settings = {.method = method, .objective = "mean", .bits = bits, .context = CONTEXT};
    memset(s, 0, sizeof *s);
    ck_assert_int_eq(solution_find(s, p, &settings, &err), KVC_OK);
}

static json_t *document(const report_input *in)
{
    json_t *doc;
    ck_assert_msg(report_doc(&doc, in, &err) == KVC_OK, "%s", err.message);
    return doc;
}

static double number(const json_t *o, const char *key)
{
    ck_assert_msg(json_is_number(json_object_get(o, key)), "%s is no number", key);
    return json_number_value(json_object_get(o, key));
}

static const json_t *set_named(const json_t *doc, const char *name)
{
    const json_t *set;
    size_t i;
    json_array_foreach(json_object_get(doc, "predictions"), i,
                       set) if (strcmp(json_string_value(json_object_get(set, "name")), name) ==
                                0) return json_object_get(set, "pairs");
    return NULL;
}

static void check_renders(const json_t *doc, const char *part)
{
    char *html;
    ck_assert_int_eq(report_render(doc, &html, &err), KVC_OK);
    ck_assert_msg(strstr(html, part) != NULL, "%s is not on the page", part);
    ck_assert_ptr_null(strstr(html, "<b>"));
    free(html);
}

START_TEST(report_doc__has_what_was_chosen)
{
    solution s;
    profile *p = sample(A);
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s});
    const json_t *chosen = json_object_get(doc, "chosen"), *size = json_object_get(doc, "size");
    ck_assert_double_eq_tol(number(chosen, "bits"), solution_bits(&s, &s.chosen), 1e-12);
    ck_assert(number(chosen, "codes_bits") < number(chosen, "bits"));
    ck_assert_double_eq_tol(number(chosen, "predicted_kl"), solution_kl(&s, &s.chosen), 1e-15);
    ck_assert_double_eq(number(size, "cache_bytes"), (double)s.chosen.bytes);
    ck_assert_double_eq(number(size, "fp16_bytes"), 2.0 * 2 * L * H * D * CONTEXT);
    ck_assert_double_eq(number(size, "constant_bytes"), 0);
    ck_assert(json_is_null(json_object_get(size, "file_bytes")));
    ck_assert(json_is_null(json_object_get(json_object_get(doc, "model"), "tokenizer_sha256")));
    check_renders(doc, "tiny &lt;b&gt;");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__has_each_layer)
{
    solution s;
    double codes = 0;
    profile *p = sample(A);
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s});
    const json_t *layers = json_object_get(doc, "layers");
    ck_assert_uint_eq(json_array_size(layers), L);
    for (uint32_t item = 0; item < 2 * L; item++) {
        const char *const *specs = item % 2 ? value_specs : key_specs;
        const json_t *side = json_object_get(json_array_get(layers, item / 2), item % 2 ? "value" : "key");
        ck_assert_str_eq(json_string_value(json_object_get(side, "spec")),
                         specs[solution_candidate(&s, &s.chosen, item)]);
        ck_assert_double_eq_tol(number(side, "sensitivity"), loss_of(item / 2, 2), 1e-15); /* of the 2-bit specs */
        codes += number(side, "bits") / (2 * L);
    }
    ck_assert_double_eq_tol(codes, number(json_object_get(doc, "chosen"), "codes_bits"), 1e-12);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(doc, "sensitivity"), "key")), "int2.ch32");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

/* A plan of another method stands behind the front in the JSON that it is read from. */
START_TEST(report_doc__front_rises_whatever_the_method)
{
    profile *p = sample(A);
    const char *const methods[] = {"exact", "greedy"};
    for (int m = 0; m < 2; m++)
        for (double bits = 4.5; bits < 9; bits += 0.5) {
            solution s;
            double last = 0, kl = INFINITY;
            size_t i;
            solve(&s, p, methods[m], bits);
            json_t *doc = document(&(report_input){.solution = &s}), *point;
            const json_t *fronts = json_object_get(doc, "fronts");
            ck_assert_uint_eq(json_array_size(fronts), 1);
            const json_t *points = json_object_get(json_array_get(fronts, 0), "points");
            json_array_foreach(points, i, point)
            {
                ck_assert(number(point, "bits") > last && number(point, "kl") <= kl);
                last = number(point, "bits");
                kl = number(point, "kl");
            }
            ck_assert_double_eq_tol(last, solution_bits(&s, &s.front.points[s.front.n - 1]), 1e-12);
            json_decref(doc);
            solution_free(&s);
        }
    profile_free(p);
}
END_TEST

static double kl_at(const json_t *front, double bits)
{
    const json_t *point, *best = NULL;
    size_t i;
    json_array_foreach(json_object_get(front, "points"), i, point) if (number(point, "bits") <= bits) best = point;
    return best ? number(best, "kl") : NAN;
}

/* Of the same candidates, predicted alike: none is below the exact front. */
static void check_rivals(const char *method, const char *const *methods, size_t n)
{
    solution s;
    rivals r;
    profile *p = sample(A);
    solve(&s, p, method, 6);
    ck_assert_int_eq(rivals_find(&r, &s, 1, &err), KVC_OK);
    json_t *doc = document(&(report_input){.solution = &s, .rivals = &r}), *fronts = json_object_get(doc, "fronts");
    ck_assert_uint_eq(json_array_size(fronts), n);
    const json_t *exact = NULL;
    for (size_t i = 0; i < n; i++) {
        const json_t *front = json_array_get(fronts, i);
        ck_assert_str_eq(json_string_value(json_object_get(front, "method")), methods[i]);
        ck_assert(json_is_false(json_object_get(front, "measured")));
        ck_assert_uint_gt(json_array_size(json_object_get(front, "points")), 4);
        if (strcmp(methods[i], "exact") == 0) exact = front;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *point;
        size_t k;
        double last = 0;
        json_array_foreach(json_object_get(json_array_get(fronts, i), "points"), k, point)
        {
            ck_assert_double_gt(number(point, "bits"), last);
            last = number(point, "bits");
            ck_assert_double_ge(number(point, "kl"), kl_at(exact, last) * (1 - 1e-9));
        }
    }
    ck_assert_ptr_null(json_object_get(doc, "without_kvtuner"));
    check_renders(doc, "KVTuner, predicted");
    json_decref(doc);
    rivals_free(&r);
    solution_free(&s);
    profile_free(p);
}

START_TEST(report_doc__fronts_of_every_method)
{
    const char *const of_exact[] = {"exact", "greedy", "random", "kvtuner"};
    const char *const of_tuned[] = {"kvtuner", "exact", "greedy", "random"};
    check_rivals("exact", of_exact, 4);
    check_rivals("greedy", of_exact, 4);
    check_rivals("kvtuner", of_tuned, 4);
}
END_TEST

START_TEST(report_doc__says_why_there_is_no_front)
{
    solution s;
    rivals r;
    profile *p = sample(A);
    p->keys[1] = codec("int3.ch32"); /* its bytes are not looked at */
    solve(&s, p, "exact", 6);
    ck_assert_int_eq(rivals_find(&r, &s, 1, &err), KVC_OK);
    json_t *doc = document(&(report_input){.solution = &s, .rivals = &r});
    ck_assert_uint_eq(json_array_size(json_object_get(doc, "fronts")), 3);
    check_renders(doc, "no candidate for keys is an int4");
    json_decref(doc);
    rivals_free(&r);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__measured_fronts_are_called_so)
{
    solution s;
    profile *p = sample(A);
    solve(&s, p, "kvtuner", 6);
    s.measured = malloc(s.front.n * sizeof *s.measured); /* as --evaluations does */
    for (size_t i = 0; i < s.front.n; i++) s.measured[i] = 0.5 / (double)(i + 1);
    json_t *doc = document(&(report_input){.solution = &s});
    const json_t *front = json_array_get(json_object_get(doc, "fronts"), 0);
    ck_assert(json_is_true(json_object_get(front, "measured")));
    ck_assert_double_eq(number(json_array_get(json_object_get(front, "points"), 0), "kl"), 0.5);
    check_renders(doc, "KVTuner, measured on calibration text");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

/* --equal-pages: the bytes that the solver counted, not those of the codecs. */
START_TEST(report_doc__counts_padding)
{
    solution s;
    profile *p = sample(A);
    solve(&s, p, "exact", 6);
    s.chosen.bytes += 4096;
    json_t *doc = document(&(report_input){.solution = &s});
    ck_assert_double_eq(number(json_object_get(doc, "size"), "cache_bytes"), (double)s.chosen.bytes);
    ck_assert_double_eq_tol(number(json_object_get(doc, "chosen"), "bits"),
                            8.0 * (double)s.chosen.bytes / (2.0 * L * H * D * CONTEXT), 1e-12);
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__has_what_refinement_did)
{
    solution s;
    profile *p = sample(A);
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s});
    ck_assert(json_is_null(json_object_get(doc, "refinement")));
    json_decref(doc);
    s.refined =
        (refinement){.evaluations = 24, .plans = 9, .accepted = 3, .start_kl = 0.25, .kl = 0.125, .kl_stderr = 0.01};
    doc = document(&(report_input){.solution = &s});
    ck_assert_double_eq(number(json_object_get(doc, "refinement"), "start_kl"), 0.25);
    check_renders(doc, "24 measurements on calibration text, 3 of 9 plans accepted: KL 0.250 before, 0.125 ");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__plans_are_predicted_from_the_others)
{
    solution s;
    profile *p = sample(A);
    p->anchors[1].kl *= 3; /* what nobody else knows */
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s});
    const json_t *pairs = set_named(doc, "plans, each from the others");
    ck_assert_uint_eq(json_array_size(pairs), A);
    const json_t *odd = json_array_get(pairs, 1);
    ck_assert_double_eq_tol(number(odd, "measured"), p->anchors[1].kl, 1e-15);
    ck_assert_double_eq_tol(number(odd, "measured") / number(odd, "predicted"), 3, 1e-9);
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__without_measurements)
{
    solution s;
    profile *p = sample(0);
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s});
    ck_assert(json_is_null(json_object_get(json_object_get(doc, "chosen"), "predicted_kl")));
    ck_assert_uint_eq(json_array_size(json_object_get(doc, "predictions")), 0);
    ck_assert_uint_eq(json_array_size(json_object_get(doc, "results")), 0);
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(doc, "provenance"), "device")), p->backend);
    check_renders(doc, "<h2>Layers</h2>");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

/* Prices twice the local losses, but for one item: from its own price it is right, from the losses it is not. */
START_TEST(report_doc__prices)
{
    solution s;
    profile *p = sample(A);
    for (uint32_t item = 0; item < 2 * L; item++)
        for (uint16_t c = 0; c < K; c++) {
            double kl = 2 * loss_of(item / 2, c) * (item == 3 ? 5 : 1);
            profile_price price = {item / 2, item % 2, c, kl, 0.1 * kl};
            ck_assert_int_eq(profile_add_price(p, &price, &err), KVC_OK);
        }
    solve(&s, p, "exact", 6);
    json_t *doc = document(&(report_input){.solution = &s}), *pair;
    const json_t *anchored = set_named(doc, "items, from one price"),
                 *local = set_named(doc, "items, from local losses");
    const double n = 2 * L * K, odd = 3; /* prices, and those of them with five times the ratio */
    size_t i;
    ck_assert_uint_eq(json_array_size(anchored), 2 * L * (K - 1));
    json_array_foreach(anchored, i, pair)
    {
        ck_assert_double_eq_tol(number(pair, "predicted") / number(pair, "measured"), 1, 1e-12);
        ck_assert_ptr_null(strstr(json_string_value(json_object_get(pair, "name")), "int2")); /* the price itself */
    }
    ck_assert_uint_eq(json_array_size(local), 2 * L * K);
    json_array_foreach(local, i, pair)
    {
        bool is_odd = i / K == 3; /* its own price is not part of its constant */
        double constant = 2 * pow(5, (odd - is_odd) / (n - 1));
        ck_assert_double_eq_tol(number(pair, "predicted") / number(pair, "measured"), constant / (is_odd ? 10 : 2),
                                1e-12);
    }
    const json_t *sensitive = json_object_get(json_array_get(json_object_get(doc, "layers"), 1), "value");
    ck_assert_double_eq_tol(number(sensitive, "sensitivity"), 10 * loss_of(1, 2), 1e-15);
    check_renders(doc, "KL of the whole model with this side alone compressed");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

static void add_price(profile *p, uint32_t item, uint16_t candidate, double kl)
{
    profile_price price = {item / 2, item % 2, candidate, kl, 0.1 * kl};
    ck_assert_int_eq(profile_add_price(p, &price, &err), KVC_OK);
}

/* One item without a price and one with a price of zero do not take the others' prices away: they get local losses in
 * the same unit. */
START_TEST(prices__gaps_are_filled_side_by_side)
{
    priced x;
    profile *p = sample(A);
    for (uint32_t item = 0; item < 2 * L - 2; item++)
        add_price(p, item, 2, (item == 0 ? 50 : 3) * loss_of(item / 2, 2));
    add_price(p, 2 * L - 2, 2, 0);
    ck_assert_int_eq(priced_new(&x, p, &p->tokens, CONTEXT, NULL, &err), KVC_OK);
    ck_assert(x.from_prices);
    for (uint32_t item = 0; item < 2 * L; item++)
        for (uint32_t c = 0; c < K; c++)
            ck_assert_double_eq_tol(x.loss[item][c] / loss_of(item / 2, c), item == 0 ? 50 : 3, 1e-9);
    notes = 0;
    item_price_note(p);
    ck_assert_int_eq(notes, 1);
    add_price(p, 2 * L - 2, 1, 1e-6);
    add_price(p, 2 * L - 1, 1, 1e-6);
    item_price_note(p);
    ck_assert_int_eq(notes, 1);
    priced_free(&x);
    profile_free(p);
}
END_TEST

START_TEST(prices__exact_keys_need_none)
{
    const kvc_model_info model = {
        .name = "tiny", .n_layers = L, .n_query_heads = 2 * H, .n_kv_heads = H, .head_dim = D};
    const kvc_token_policy tokens = {4, 64, 64};
    const kvc_codec key = codec("fp16"), values[2] = {codec("int4.tok16"), codec("int2.tok16")};
    priced x;
    profile *p;
    ck_assert_int_eq(profile_new(&p, &model, &tokens, &key, 1, values, 2, &err), KVC_OK);
    for (uint32_t i = 0; i < 2 * L; i++) p->value_loss[i] = loss_of(i / 2, i % 2);
    for (uint32_t i = 0; i < L; i++) add_price(p, 2 * i + 1, 1, 0.25);
    notes = 0;
    item_price_note(p);
    ck_assert_int_eq(notes, 0);
    ck_assert_int_eq(priced_new(&x, p, &p->tokens, CONTEXT, NULL, &err), KVC_OK);
    ck_assert(x.from_prices);
    ck_assert_double_eq(x.loss[1][1], 0.25);
    ck_assert_double_eq(x.loss[0][0], 0);
    priced_free(&x);
    profile_free(p);
}
END_TEST

/* Prices are KL already: of the positions that see a page. */
START_TEST(prices__predict_without_anchors)
{
    solution s;
    profile *p = sample(0);
    p->seq_len = 263; /* 131 of the 262 positions that are scored see no page */
    for (uint32_t item = 0; item < 2 * L; item++) add_price(p, item, 2, 3 * loss_of(item / 2, 2));
    solve(&s, p, "exact", 6);
    ck_assert_double_gt(s.chosen.loss, 0);
    ck_assert_double_eq_tol(solution_kl(&s, &s.chosen) / s.chosen.loss, 0.5, 1e-9);
    json_t *doc = document(&(report_input){.solution = &s});
    check_renders(doc, "<h2>Front</h2>");
    json_decref(doc);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__measurements)
{
    solution s;
    baseline kivi;
    profile *p = sample(A);
    const eval_result measured = {.n_tokens = 2000,
                                  .ppl_ref = 10,
                                  .ppl = 10.5,
                                  .kl_mean = 0.05,
                                  .kl_stderr = 0.002,
                                  .top1_agreement = 0.9},
                      other = {.n_tokens = 2000,
                               .ppl_ref = 10,
                               .ppl = 11,
                               .kl_mean = 0.2,
                               .kl_stderr = 0.004,
                               .top1_agreement = 0.8};
    const domain domains[] = {{"a <b>.txt", measured, 0.1}, {"\xff", other, NAN}};
    kvc_layer layers[L];
    for (int i = 0; i < L; i++) layers[i] = (kvc_layer){codec("int2.ch32"), codec("int2.tok16")};
    json_t *provenance = json_pack("{s:s,s:i}", "device", "cpu", "seed", 5);
    solve(&s, p, "greedy", 6);
    ck_assert_int_eq(baseline_of(&kivi, &s, layers, &other, "KIVI-2", "uniform", &err), KVC_OK);
    ck_assert_double_eq(kivi.codes_bits, (3.0 + 4.0) / 2); /* fp16 scale and minimum per 32 or 16 codes of 2 bits */
    kivi.yardstick = true;
    json_t *doc = document(&(report_input){.solution = &s,
                                           .measured = &measured,
                                           .baselines = &kivi,
                                           .domains = domains,
                                           .n_baselines = 1,
                                           .n_domains = 2,
                                           .provenance = provenance});
    const json_t *results = json_object_get(doc, "results");
    ck_assert_uint_eq(json_array_size(results), 2 + A);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(results, 0), "method")), "greedy");
    ck_assert_double_eq_tol(number(json_array_get(results, 0), "ppl_ratio"), 1.05, 1e-12);
    ck_assert_double_eq(number(json_array_get(results, 0), "tokens"), 2000);
    ck_assert(json_is_true(json_object_get(json_array_get(results, 1), "yardstick")));
    ck_assert(json_is_true(json_object_get(json_array_get(results, 2), "calibration")));
    ck_assert_double_eq(number(json_array_get(set_named(doc, "chosen plan, on text held apart"), 0), "measured"),
                        0.05);
    check_renders(doc, "a &lt;b&gt;.txt");
    check_renders(doc, "share of KIVI-2");
    check_renders(doc, "(no UTF-8)");
    json_decref(doc);
    json_decref(provenance);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(report_doc__a_plan_of_another_model_is_refused)
{
    solution s;
    baseline b;
    profile *p = sample(0);
    const eval_result r = {0};
    kvc_layer layers[L];
    for (int i = 0; i < L; i++) layers[i] = (kvc_layer){codec("int4.ch64"), codec("int4.tok48")};
    solve(&s, p, "exact", 6);
    ck_assert_int_ne(baseline_of(&b, &s, layers, &r, "x", "uniform", &err), KVC_OK);
    solution_free(&s);
    profile_free(p);
}
END_TEST

START_TEST(front_csv__has_the_points_of_the_json)
{
    solution s;
    profile *p = sample(A);
    solve(&s, p, "greedy", 6);
    char *csv = solution_front_csv(&s, 20), *line, *rest = NULL;
    json_t *list = solution_front_json(&s, 20, false);
    ck_assert_ptr_nonnull(csv);
    ck_assert_str_eq(strtok_r(csv, "\n", &rest),
                     "bits_per_value,bytes_per_token,predicted_kl,measured_kl,method,chosen,plan");
    size_t n = 0, n_chosen = 0, n_measured = 0;
    for (; (line = strtok_r(NULL, "\n", &rest)) != NULL; n++) {
        double bits, bytes, kl;
        char method[16], chosen[8], plan[400];
        const json_t *point = json_array_get(list, n);
        bool measured = json_is_number(json_object_get(point, "measured_kl"));
        int read = sscanf(line,
                          measured ? "%lf,%lf,%lf,%*[0-9.e+-],%15[a-z],%7[a-z],\"%399[^\"]\""
                                   : "%lf,%lf,%lf,,%15[a-z],%7[a-z],\"%399[^\"]\"",
                          &bits, &bytes, &kl, method, chosen, plan);
        ck_assert_msg(read == 6, "line %zu: %s", n, line);
        ck_assert_double_eq_tol(bits, number(point, "bits_per_value"), 1e-7);
        ck_assert_double_eq_tol(kl, number(point, "predicted_kl"), 1e-7);
        ck_assert_str_eq(method, json_string_value(json_object_get(point, "method")));
        n_chosen += strcmp(chosen, "true") == 0;
        n_measured += measured;
        int slashes = 0, semicolons = 0;
        for (const char *c = plan; *c; c++) slashes += *c == '/', semicolons += *c == ';';
        ck_assert_int_eq(slashes, L);
        ck_assert_int_eq(semicolons, L - 1);
    }
    ck_assert_uint_eq(n, json_array_size(list));
    ck_assert_uint_eq(n_chosen, 1);
    ck_assert_uint_gt(n_measured, 0);
    free(csv);
    json_decref(list);
    solution_free(&s);
    profile_free(p);
}
END_TEST

CHECK_MAIN("report_doc", report_doc__has_what_was_chosen, report_doc__has_each_layer,
           report_doc__front_rises_whatever_the_method, report_doc__fronts_of_every_method,
           report_doc__says_why_there_is_no_front, report_doc__measured_fronts_are_called_so,
           report_doc__counts_padding, report_doc__has_what_refinement_did,
           report_doc__plans_are_predicted_from_the_others, report_doc__without_measurements, report_doc__prices,
           prices__gaps_are_filled_side_by_side, prices__exact_keys_need_none, prices__predict_without_anchors,
           report_doc__measurements, report_doc__a_plan_of_another_model_is_refused,
           front_csv__has_the_points_of_the_json)
