/* test_score_score.c - local losses, global loss, resuming, on tiny random models. */
#include "check_main.h"
#include "model_tiny.h"
#include "probe_rows.h"
#include "probed.h"
#include "score.h"

#include <sys/stat.h>
#include <unistd.h>

static const kvc_token_policy policy = {.sinks = 4, .window = 16, .page = 16};

static kvc_codec codec_of(const char *spec)
{
    kvc_codec codec;
    OK(kvc_codec_parse(&codec, spec, err));
    return codec;
}

static sequence_set some_tokens(const model *m)
{
    sequence_set s = tiny_tokens((const size_t[]){150, 97, 40, 20}, 4, m->config.vocab);
    s.file[1] = s.file[3] = 1;
    return s;
}

/* ---- probe rows ---- */

START_TEST(probe_rows__are_a_stratified_sample_of_rows_that_read_a_page)
{
    uint32_t rows[400], again[400];
    uint32_t n = probe_rows_draw(rows, &policy, 400, 32, 5, 2);
    ck_assert_uint_eq(n, 32);
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_uint_gt(kvc_tokens_compressed(&policy, rows[i] + 1), 0);
        ck_assert_uint_lt(rows[i], 400);
        if (i) ck_assert_uint_gt(rows[i], rows[i - 1]);
    }
    ck_assert_uint_eq(probe_rows_draw(again, &policy, 400, 32, 5, 2), n);
    ck_assert_mem_eq(rows, again, n * sizeof *rows);
    probe_rows_draw(again, &policy, 400, 32, 6, 2);
    ck_assert_mem_ne(rows, again, n * sizeof *rows);
}
END_TEST

START_TEST(probe_rows__of_all_begin_with_the_first_compressed_page)
{
    uint32_t rows[64];
    ck_assert_uint_eq(probe_rows_draw(rows, &policy, 35, 0, 0, 0), 0);
    ck_assert_uint_eq(probe_rows_draw(rows, &policy, 36, 0, 0, 0), 1);
    ck_assert_uint_eq(rows[0], 35);
    ck_assert_uint_eq(probe_rows_draw(rows, &policy, 50, 0, 0, 0), 15);
    for (uint32_t i = 0; i < 15; i++) ck_assert_uint_eq(rows[i], 35 + i);
}
END_TEST

/* ---- probed sequences ---- */

/* Lengths 40 read a page, 20 do not; `want` is a digit per sequence. */
static void check_probed(const char *lengths, const char *files, size_t wanted, const char *want)
{
    size_t n = strlen(lengths), length[32];
    for (size_t i = 0; i < n; i++) length[i] = lengths[i] == '-' ? 20 : 40;
    sequence_set s = tiny_tokens(length, n, 320);
    probed_set p;
    char got[33] = "";
    for (size_t i = 0; i < n; i++) s.file[i] = (uint32_t)(files[i] - 'a');
    OK(probed_new(&p, &s, &policy, wanted, err));
    for (size_t i = 0; i < n; i++) got[i] = p.sequence[i] ? '1' : '0';
    ck_assert_str_eq(got, want);
    size_t ones = 0;
    for (size_t i = 0; i < n; i++) ones += want[i] == '1';
    ck_assert_uint_eq(p.n, ones);
    probed_free(&p);
    sequences_free(&s);
}

START_TEST(probed__are_spread_over_every_file)
{
    check_probed("++++++++", "aaaaaaaa", 4, "01010101");
    check_probed("++++++++", "abababab", 4, "00110011"); /* not one file alone */
    check_probed("++++++++", "abcdabcd", 2, "00001111"); /* at least one of each */
    check_probed("++++++++", "aabaaaaa", 4, "00110101");
    check_probed("++++++++", "abababab", 0, "11111111");
    check_probed("++++++++", "abababab", 99, "11111111");
    check_probed("+-+-+-+-", "abababab", 2, "00100010"); /* b has nothing to look at */
}
END_TEST

START_TEST(probed__number_the_files_that_have_any)
{
    sequence_set s = tiny_tokens((const size_t[]){40, 20, 40}, 3, 320);
    probed_set p;
    for (uint32_t i = 0; i < 3; i++) s.file[i] = i + 1;
    OK(probed_new(&p, &s, &policy, 0, err));
    ck_assert_uint_eq(p.n_files, 4);
    ck_assert_uint_eq(p.n_domains, 2);
    ck_assert(p.domain[0] == NO_DOMAIN && p.domain[1] == 0 && p.domain[2] == NO_DOMAIN && p.domain[3] == 1);
    probed_free(&p);
    sequences_free(&s);
}
END_TEST

/* ---- global loss ---- */

static eval_result evaluate_pair(model *m, backend *b, const char *key, const char *value)
{
    kvc_layer layers[8];
    sequence_set tokens = some_tokens(m);
    eval_result r;
    for (uint32_t i = 0; i < m->config.n_layers; i++) layers[i] = (kvc_layer){codec_of(key), codec_of(value)};
    OK(evaluate(m, b, &tokens, &policy, key ? layers : NULL, NULL, 0, 0, NULL, &r, NULL, "test", err));
    sequences_free(&tokens);
    return r;
}

START_TEST(evaluate__ranks_widths_and_is_nearly_exact_in_fp16)
{
    model *m = tiny_model("score", "eval", "--layers 3");
    backend *b = cpu_backend(2);
    eval_result fp16 = evaluate_pair(m, b, "fp16", "fp16"), int8 = evaluate_pair(m, b, "int8.ch16", "int8.tok");
    eval_result int4 = evaluate_pair(m, b, "int4.ch16", "int4.tok+had"),
                int2 = evaluate_pair(m, b, "int2.ch16", "int2.tok");
    ck_assert_uint_eq(fp16.n_tokens, 150 + 97 + 40 + 20 - 4);
    ck_assert_double_lt(fp16.kl_mean, 1e-6);
    ck_assert_double_eq_tol(fp16.ppl / fp16.ppl_ref, 1, 1e-4);
    ck_assert_double_gt(fp16.top1_agreement, 0.99);
    ck_assert_double_lt(fp16.kl_mean, int8.kl_mean);
    ck_assert_double_lt(8 * int8.kl_mean, int4.kl_mean);
    ck_assert_double_lt(4 * int4.kl_mean, int2.kl_mean);
    ck_assert_double_gt(int2.kl_stderr, 0);
    ck_assert_double_lt(int2.kl_stderr, int2.kl_mean);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(evaluate__reuses_a_reference_pass)
{
    model *m = tiny_model("score", "ref", "--layers 2");
    backend *b = cpu_backend(1);
    kvc_layer layers[2] = {{codec_of("int3.ch16"), codec_of("int3.tok")}, {codec_of("int4.ch16"), codec_of("fp16")}};
    sequence_set tokens = some_tokens(m);
    hidden_states *ref;
    eval_result own, given;
    OK(hidden_new(&ref, b, sequences_tokens(&tokens), m->config.hidden, 0, NULL, err));
    OK(model_embed(m, &tokens, ref, err));
    OK(model_layers(m, b, &tokens, ref, 0, 2, NULL, NULL, "test", err));
    OK(evaluate(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &own, NULL, "test", err));
    OK(evaluate(m, b, &tokens, &policy, layers, NULL, 0, 0, ref, &given, NULL, "test", err));
    ck_assert_mem_eq(&own, &given, sizeof own);
    hidden_free(ref);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(evaluate_files__is_the_evaluation_of_each)
{
    model *m = tiny_model("score", "files", "--layers 2");
    backend *b = cpu_backend(1);
    kvc_layer layers[2] = {{codec_of("int3.ch16"), codec_of("int3.tok")}, {codec_of("int4.ch16"), codec_of("fp16")}};
    sequence_set tokens = some_tokens(m), part;
    eval_result all, again, files[4], alone;
    OK(evaluate(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &all, NULL, "test", err));
    tokens.file[0] = tokens.file[2] = 3; /* files 1 and 3, none of 0 and 2 */
    OK(evaluate_files(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &again, files, NULL, "test", err));
    ck_assert_mem_eq(&all, &again, sizeof all);
    ck_assert(files[0].n_tokens == 0 && files[0].kl_mean == 0 && files[2].n_tokens == 0);
    ck_assert_uint_eq(files[1].n_tokens, 97 + 20 - 2);
    ck_assert_uint_eq(files[3].n_tokens, 150 + 40 - 2);
    double mean = (115 * files[1].kl_mean + 188 * files[3].kl_mean) / 303;
    ck_assert_double_eq_tol(mean, all.kl_mean, 1e-12);
    /* from position 75 of 150 on: 21 of the sequence of 97 tokens, 74 of the longest one */
    ck_assert_double_eq_tol((21 * files[1].kl_late + 74 * files[3].kl_late) / 95, all.kl_late, 1e-12);
    ck_assert_double_gt(all.kl_late, all.kl_mean);
    ck_assert_double_lt(95 * all.kl_late, 303 * all.kl_mean);
    tokens.file[2] = 1;
    OK(evaluate_files(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &again, files, NULL, "test", err));
    OK(sequences_slice(&part, &tokens, 0, 1, err));
    OK(evaluate(m, b, &part, &policy, layers, NULL, 0, 0, NULL, &alone, NULL, "test", err));
    ck_assert_double_eq_tol(files[3].kl_mean, alone.kl_mean, 1e-9);
    ck_assert_double_eq_tol(files[3].ppl, alone.ppl, 1e-5 * alone.ppl);
    sequences_free(&part);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(evaluate__names_the_layer_whose_codec_does_not_fit)
{
    model *m = tiny_model("score", "misfit", "--layers 2");
    backend *b = cpu_backend(1);
    kvc_layer layers[2] = {{codec_of("fp16"), codec_of("fp16")}, {codec_of("fp16"), codec_of("int4.tok24")}};
    sequence_set tokens = some_tokens(m);
    eval_result r;
    kvc_error why;
    ck_assert_int_eq(evaluate(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &r, NULL, "test", &why), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(why.message, "layer 1 values"));
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

/* ---- profile ---- */

enum { N_KEYS = 4, N_VALUES = 3 };

static profile *new_profile(const model *m)
{
    kvc_codec keys[N_KEYS] = {codec_of("fp16"), codec_of("int8.ch16"), codec_of("int4.ch16"),
                              codec_of("int2.tok+had")};
    kvc_codec values[N_VALUES] = {codec_of("int8.tok"), codec_of("int4.tok+had"), codec_of("int2.tok")};
    profile *p;
    OK(profile_new(&p, &m->info, &policy, keys, N_KEYS, values, N_VALUES, err));
    OK(profile_set_domains(p, (const char *[]){"a", "b"}, 2, err));
    memset(p->fingerprint, 'a', 64);
    p->recipe = strdup("{}");
    return p;
}

static void save(const profile *p, const char *name, char path[512])
{
    snprintf(path, 512, "%s/score-%s.h5", getenv("KVC_TEST_BUILD"), name);
    OK(profile_save(p, path, err));
}

static void assert_same_file(const char *a, const char *b)
{
    char command[1200];
    snprintf(command, sizeof command, "cmp '%s' '%s'", a, b);
    ck_assert_int_eq(system(command), 0);
}

static void measure(model *m, int threads, const char *name, char path[512])
{
    backend *b = cpu_backend(threads);
    profile *p = new_profile(m);
    sequence_set tokens = some_tokens(m);
    profile_options options = {.probe_rows = 24, .seed = 1};
    OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
    save(p, name, path);
    profile_free(p);
    sequences_free(&tokens);
    b->close(b);
}

START_TEST(profile_measure__ranks_candidates_and_keeps_pairs_consistent)
{
    model *m = tiny_model("score", "profile", "--layers 3");
    backend *b = cpu_backend(2);
    profile *p = new_profile(m);
    sequence_set tokens = some_tokens(m);
    profile_options options = {.probe_rows = 0};
    OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
    ck_assert_uint_eq(p->layers_done, 3);
    for (uint32_t l = 0; l < 3; l++) {
        const double *k = p->key_loss + l * N_KEYS, *v = p->value_loss + l * N_VALUES,
                     *o = p->e_o + l * N_KEYS * N_VALUES;
        ck_assert_double_lt(k[0], 1e-6);
        for (int i = 1; i < N_KEYS; i++) ck_assert_double_gt(k[i], 4 * k[i - 1]);
        for (int i = 1; i < N_VALUES; i++) ck_assert_double_gt(v[i], 4 * v[i - 1]);
        for (int i = 1; i < N_KEYS; i++) ck_assert_double_gt(p->e_a[l * N_KEYS + i], p->e_a[l * N_KEYS + i - 1]);
        for (int i = 1; i < N_KEYS; i++) ck_assert_double_gt(p->e_k[l * N_KEYS + i], p->e_k[l * N_KEYS + i - 1]);
        ck_assert_double_gt(o[2 * N_VALUES + 1], o[1 * N_VALUES + 0]);
        ck_assert_double_gt(o[3 * N_VALUES + 2], o[2 * N_VALUES + 1]);
        ck_assert_double_gt(p->output_power[l], 0);
        ck_assert_double_gt(p->residual_power[l], 0);
        for (size_t i = 0; i < (size_t)m->config.n_kv_heads * m->config.head_dim; i++) {
            size_t at = l * m->config.n_kv_heads * m->config.head_dim + i;
            ck_assert_double_le(p->key_min[at], p->key_mean[at]);
            ck_assert_double_ge(p->key_max[at], p->key_mean[at]);
            ck_assert_double_ge(p->value_rms[at], fabs(p->value_mean[at]));
        }
    }
    profile_free(p);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

/* The constants of layer 0's keys, fitted from sequence fit_from on, to text whose first sequence is another or not.
 */
static void *fitted_keys(model *m, size_t fit_from, bool other, size_t *n)
{
    backend *b = cpu_backend(1);
    kvc_codec key = codec_of("vq2x4+klt"), value = codec_of("fp16");
    profile *p;
    OK(profile_new(&p, &m->info, &policy, &key, 1, &value, 1, err));
    memset(p->fingerprint, 'a', 64);
    p->recipe = strdup("{}");
    sequence_set tokens = some_tokens(m);
    for (size_t i = 0; other && i < tokens.first[1]; i++) tokens.ids[i] = (tokens.ids[i] + 1) % m->config.vocab;
    profile_options options = {
        .probe_rows = 4, .seed = 1, .fit_rows = 400, .fit_from = fit_from, .fit = fit_defaults};
    OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
    void *params;
    *n = p->keys[0].param_bytes;
    OK(profile_get_params(p, false, 0, 0, &params, err));
    profile_free(p);
    sequences_free(&tokens);
    b->close(b);
    return params;
}

START_TEST(profile_measure__fits_nothing_to_sequences_left_out)
{
    model *m = tiny_model("score", "apart", "--layers 1");
    size_t n;
    void *all = fitted_keys(m, 0, false, &n), *all_other = fitted_keys(m, 0, true, &n);
    void *rest = fitted_keys(m, 1, false, &n), *rest_other = fitted_keys(m, 1, true, &n);
    void *none = fitted_keys(m, 3, false, &n); /* the last has 20 tokens: nothing to fit to */
    ck_assert_mem_ne(all, all_other, n);
    ck_assert_mem_ne(all, rest, n);
    ck_assert_mem_eq(rest, rest_other, n);
    ck_assert_mem_eq(none, all, n);
    void *blocks[] = {all, all_other, rest, rest_other, none};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    model_close(m);
}
END_TEST

START_TEST(profile_measure__tells_domains_apart)
{
    model *m = tiny_model("score", "domains", "--layers 2");
    backend *b = cpu_backend(2);
    profile *p = new_profile(m), *alone = new_profile(m);
    sequence_set tokens = some_tokens(m), part;
    profile_options options = {.probe_rows = 24, .seed = 1};
    OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
    ck_assert_double_eq(p->domain_rows[0], 24 + 5); /* of 40 tokens, 5 rows read a page */
    ck_assert_double_eq(p->domain_rows[1], 24);
    double differs = 0;
    for (uint32_t l = 0; l < 2; l++) {
        for (uint32_t i = 0; i < N_KEYS; i++) {
            const double *each = p->domain_key_loss + l * N_KEYS + i;
            double mean = (29 * each[0] + 24 * each[2 * N_KEYS]) / 53;
            ck_assert_double_eq_tol(mean, p->key_loss[l * N_KEYS + i], 1e-12 * mean);
            differs += fabs(each[0] / mean - 1);
        }
        for (uint32_t i = 0; i < N_VALUES; i++) {
            const double *each = p->domain_value_loss + l * N_VALUES + i;
            double mean = (29 * each[0] + 24 * each[2 * N_VALUES]) / 53;
            ck_assert_double_eq_tol(mean, p->value_loss[l * N_VALUES + i], 1e-12 * mean);
        }
    }
    ck_assert_double_gt(differs, 1e-3);
    /* the power of a domain's errors is that of a profile of its probed text alone: the sequence of 40 tokens */
    OK(sequences_slice(&part, &tokens, 2, 3, err));
    OK(profile_set_domains(alone, NULL, 0, err));
    OK(profile_measure(alone, m, b, &part, &options, NULL, NULL, err));
    p->layers_done = 0;
    OK(profile_measure(p, m, b, &tokens, &(profile_options){.probe_rows = 24, .seed = 1, .probe_sequences = 1}, NULL,
                       NULL, err));
    for (uint32_t i = 0; i < N_KEYS; i++)
        ck_assert_double_eq_tol(p->domain_key_loss[i] * p->output_power[0],
                                alone->key_loss[i] * alone->output_power[0],
                                1e-12 * alone->key_loss[i] * alone->output_power[0]);
    OK(profile_set_domains(p, (const char *[]){"a", "b", "c"}, 3, err));
    kvc_error why;
    p->layers_done = 0;
    ck_assert_int_eq(profile_measure(p, m, b, &tokens, &options, NULL, NULL, &why), KVC_INVALID);
    profile_free(p);
    profile_free(alone);
    sequences_free(&tokens);
    sequences_free(&part);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(profile_measure__gives_the_same_bytes_for_any_number_of_threads)
{
    char one[512], two[512];
    model *m = tiny_model("score", "threads", "--layers 2");
    measure(m, 1, "one", one);
    measure(m, 2, "two", two);
    assert_same_file(one, two);
    model_close(m);
}
END_TEST

typedef struct stop_after {
    int calls, limit;
} stop_after;

static bool stop(void *context)
{
    stop_after *s = context;
    return s->calls++ >= s->limit;
}

START_TEST(profile_measure__resumes_to_the_same_bytes_wherever_it_stops)
{
    char whole[512], path[512], workdir[600];
    model *m = tiny_model("score", "resume", "--layers 4");
    backend *b = cpu_backend(2);
    measure(m, 2, "whole", whole);
    snprintf(workdir, sizeof workdir, "%s/score-work", getenv("KVC_TEST_BUILD"));
    mkdir(workdir, 0777);
    int interrupted = 0;
    for (int limit = 0; limit < 20; limit += 3) {
        sequence_set tokens = some_tokens(m);
        profile_options options = {.probe_rows = 24, .seed = 1, .workdir = workdir};
        stop_after s = {.limit = limit};
        job job = {.cancelled = stop, .context = &s};
        profile *p = new_profile(m);
        kvc_error why;
        kvc_status status = profile_measure(p, m, b, &tokens, &options, NULL, &job, &why);
        interrupted += status == KVC_INTERRUPTED;
        ck_assert(status == KVC_OK || status == KVC_INTERRUPTED);
        profile_free(p);
        p = new_profile(m);
        options.resume = true;
        OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
        save(p, "resumed", path);
        assert_same_file(whole, path);
        profile_free(p);
        profile_forget(workdir, 4);
        ck_assert_int_eq(rmdir(workdir), 0); /* nothing left behind */
        mkdir(workdir, 0777);
        sequences_free(&tokens);
    }
    ck_assert_int_gt(interrupted, 3);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(profile_measure__refuses_a_checkpoint_of_something_else)
{
    char workdir[600];
    model *m = tiny_model("score", "other", "--layers 2");
    backend *b = cpu_backend(1);
    sequence_set tokens = some_tokens(m);
    profile_options options = {.probe_rows = 8, .workdir = workdir};
    snprintf(workdir, sizeof workdir, "%s/score-other-work", getenv("KVC_TEST_BUILD"));
    mkdir(workdir, 0777);
    profile *p = new_profile(m);
    OK(profile_measure(p, m, b, &tokens, &options, NULL, NULL, err));
    profile_free(p);
    p = new_profile(m);
    p->fingerprint[0] = 'b';
    options.resume = true;
    kvc_error why;
    ck_assert_int_eq(profile_measure(p, m, b, &tokens, &options, NULL, NULL, &why), KVC_MISMATCH);
    ck_assert_ptr_nonnull(strstr(why.message, "profile.partial.h5"));
    profile_free(p);
    profile_forget(workdir, 2);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(profile_measure__refuses_a_checkpoint_of_another_shape)
{
    char workdir[600];
    model *wide = tiny_model("score", "wide", "--layers 2 --kv-heads 4"),
          *narrow = tiny_model("score", "narrow", "--layers 2");
    backend *b = cpu_backend(1);
    sequence_set tokens = some_tokens(narrow);
    profile_options options = {.probe_rows = 8, .workdir = workdir};
    snprintf(workdir, sizeof workdir, "%s/score-shape-work", getenv("KVC_TEST_BUILD"));
    mkdir(workdir, 0777);
    profile *p = new_profile(narrow);
    OK(profile_measure(p, narrow, b, &tokens, &options, NULL, NULL, err));
    profile_free(p);
    p = new_profile(wide); /* with the same fingerprint */
    options.resume = true;
    kvc_error why;
    ck_assert_int_eq(profile_measure(p, wide, b, &tokens, &options, NULL, NULL, &why), KVC_MISMATCH);
    ck_assert_ptr_nonnull(strstr(why.message, "shape"));
    profile_free(p);
    profile_forget(workdir, 2);
    sequences_free(&tokens);
    b->close(b);
    model_close(wide);
    model_close(narrow);
}
END_TEST

START_TEST(evaluate__refuses_text_that_nothing_compresses)
{
    model *m = tiny_model("score", "window", "--layers 2");
    backend *b = cpu_backend(1);
    kvc_layer layers[2] = {{codec_of("int4.ch16"), codec_of("int4.tok")},
                           {codec_of("int4.ch16"), codec_of("int4.tok")}};
    sequence_set tokens = tiny_tokens((const size_t[]){35}, 1, m->config.vocab);
    eval_result r;
    kvc_error why;
    ck_assert_int_eq(evaluate(m, b, &tokens, &policy, layers, NULL, 0, 0, NULL, &r, NULL, "test", &why), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(why.message, "35 tokens"));
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(profile_measure__refuses_text_that_never_leaves_the_window)
{
    model *m = tiny_model("score", "short", "--layers 2");
    backend *b = cpu_backend(1);
    sequence_set tokens = tiny_tokens((const size_t[]){30}, 1, m->config.vocab);
    profile *p = new_profile(m);
    kvc_error why;
    ck_assert_int_eq(profile_measure(p, m, b, &tokens, &(profile_options){0}, NULL, NULL, &why), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(why.message, "30 tokens"));
    profile_free(p);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

CHECK_MAIN("score", probe_rows__are_a_stratified_sample_of_rows_that_read_a_page,
           probe_rows__of_all_begin_with_the_first_compressed_page,
           evaluate__ranks_widths_and_is_nearly_exact_in_fp16, evaluate__reuses_a_reference_pass,
           evaluate_files__is_the_evaluation_of_each, evaluate__names_the_layer_whose_codec_does_not_fit,
           profile_measure__ranks_candidates_and_keeps_pairs_consistent,
           profile_measure__fits_nothing_to_sequences_left_out, profile_measure__tells_domains_apart,
           probed__are_spread_over_every_file, probed__number_the_files_that_have_any,
           profile_measure__gives_the_same_bytes_for_any_number_of_threads,
           profile_measure__resumes_to_the_same_bytes_wherever_it_stops,
           profile_measure__refuses_a_checkpoint_of_something_else,
           profile_measure__refuses_a_checkpoint_of_another_shape, evaluate__refuses_text_that_nothing_compresses,
           profile_measure__refuses_text_that_never_leaves_the_window)
