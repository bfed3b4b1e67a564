/* The pass over many sequences: threads, spilled streams, hooks, resumption, interruption, and the comparison of
 * logits. */
#include "check_main.h"
#include "model_tiny.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

static const size_t lengths[] = {70, 1, 2, 300, 33};
#define N_SEQUENCES (sizeof lengths / sizeof *lengths)
static kvc_error error;

static float *stream_of(model *m, int threads, uint64_t memory, const forward_hooks *hooks)
{
    backend *b = cpu_backend(threads);
    sequence_set tokens = tiny_tokens(lengths, N_SEQUENCES, m->config.vocab);
    float *rows = tiny_stream(m, b, &tokens, hooks, memory);
    sequences_free(&tokens);
    b->close(b);
    return rows;
}

START_TEST(model_layers__same_bits_for_any_threads_and_for_a_spilled_stream)
{
    model *m = tiny_model("test_model_forward", "threads", "");
    size_t bytes = 406 * m->config.hidden * sizeof(float);
    float *one = stream_of(m, 1, 0, NULL), *two = stream_of(m, 2, 0, NULL), *spilled = stream_of(m, 2, 1000, NULL);
    ck_assert_mem_eq(one, two, bytes);
    ck_assert_mem_eq(one, spilled, bytes);
    free(one), free(two), free(spilled);
    model_close(m);
}
END_TEST

START_TEST(model_layers__sequences_do_not_see_each_other)
{
    model *m = tiny_model("test_model_forward", "sequences", "");
    size_t hidden = m->config.hidden;
    backend *b = cpu_backend(2);
    sequence_set all = tiny_tokens(lengths, N_SEQUENCES, m->config.vocab);
    float *rows = tiny_stream(m, b, &all, NULL, 0);
    for (size_t i = 0; i < N_SEQUENCES; i++) {
        size_t first[2] = {0, lengths[i]};
        sequence_set one = {.ids = all.ids + all.first[i], .first = first, .file = all.file, .n = 1};
        float *alone = tiny_stream(m, b, &one, NULL, 0);
        ck_assert_mem_eq(alone, rows + all.first[i] * hidden, lengths[i] * hidden * sizeof *rows);
        free(alone);
    }
    free(rows);
    sequences_free(&all);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(model_layers__in_two_parts_equal_one_run)
{
    model *m = tiny_model("test_model_forward", "parts", "--layers 3");
    backend *b = cpu_backend(2);
    sequence_set tokens = tiny_tokens(lengths, N_SEQUENCES, m->config.vocab);
    size_t n = tokens.first[tokens.n], bytes = n * m->config.hidden * sizeof(float);
    float *whole = tiny_stream(m, b, &tokens, NULL, 0), *parts = malloc(bytes);
    hidden_states *hidden;
    OK(hidden_new(&hidden, b, n, m->config.hidden, 0, NULL, err));
    OK(model_embed(m, &tokens, hidden, err));
    OK(model_layers(m, b, &tokens, hidden, 0, 1, NULL, NULL, "test", err));
    OK(model_layers(m, b, &tokens, hidden, 1, 3, NULL, NULL, "test", err));
    OK(hidden_read(hidden, 0, n, parts, err));
    ck_assert_mem_eq(whole, parts, bytes);
    free(whole), free(parts);
    hidden_free(hidden);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

typedef struct seen {
    int observed, attended, layers;
    size_t tokens;
} seen;

static kvc_status observe(void *context, const layer_view *view, kvc_error *err)
{
    seen *s = context;
    (void)err;
    ck_assert_uint_eq(view->layer * N_SEQUENCES + view->sequence, s->observed);
    ck_assert_uint_eq(view->n_tokens, lengths[view->sequence]);
    s->observed++;
    s->tokens += view->n_tokens;
    return KVC_OK;
}

static kvc_status silence(void *context, const layer_view *view, kvc_error *err)
{
    seen *s = context;
    (void)err;
    ck_assert_int_eq(++s->attended, s->observed);
    memset(view->out, 0, view->n_tokens * view->config->n_heads * view->config->head_dim * sizeof(float));
    return KVC_OK;
}

static kvc_status refuse_second_layer(void *context, uint32_t layer, hidden_states *hidden, kvc_error *err)
{
    seen *s = context;
    float row[64];
    ck_assert_int_eq((int)layer, s->layers++);
    OK(hidden_read(hidden, 405, 1, row, err));
    return layer == 1 ? kvc_fail(err, KVC_FULL, "as told") : KVC_OK;
}

START_TEST(hooks__are_called_in_order_and_can_replace_attention)
{
    seen s = {0};
    forward_hooks hooks = {.observe = observe, .attention = silence, .context = &s};
    model *m = tiny_model("test_model_forward", "hooks", "");
    float *silent = stream_of(m, 2, 0, &hooks), *plain = stream_of(m, 2, 0, NULL);
    ck_assert_int_eq(s.observed, 2 * N_SEQUENCES);
    ck_assert_int_eq(s.attended, 2 * N_SEQUENCES);
    ck_assert_uint_eq(s.tokens, 2 * 406);
    ck_assert_mem_ne(silent, plain, 406 * m->config.hidden * sizeof *plain);
    free(silent), free(plain);
    model_close(m);
}
END_TEST

static bool after_three(void *context)
{
    return ++*(int *)context > 3;
}

/* Embeds and runs with a job and hooks. */
static kvc_status run(model *m, const job *job, const forward_hooks *hooks, uint64_t memory, const char *folder)
{
    backend *b = cpu_backend(2);
    sequence_set tokens = tiny_tokens(lengths, N_SEQUENCES, m->config.vocab);
    hidden_states *hidden = NULL;
    kvc_status status = hidden_new(&hidden, b, tokens.first[tokens.n], m->config.hidden, memory, folder, &error);
    if (status == KVC_OK) status = model_embed(m, &tokens, hidden, &error);
    if (status == KVC_OK) status = model_layers(m, b, &tokens, hidden, 0, 2, hooks, job, "test", &error);
    hidden_free(hidden);
    sequences_free(&tokens);
    b->close(b);
    return status;
}

START_TEST(model_layers__stops_when_cancelled_and_when_a_hook_fails)
{
    int calls = 0;
    seen s = {0};
    job job = {.cancelled = after_three, .context = &calls};
    forward_hooks hooks = {.layer_done = refuse_second_layer, .context = &s};
    model *m = tiny_model("test_model_forward", "cancel", "--layers 3");
    ck_assert_int_eq(run(m, &job, NULL, 0, NULL), KVC_INTERRUPTED);
    ck_assert_int_eq(calls, 4);
    ck_assert_int_eq(run(m, NULL, &hooks, 0, NULL), KVC_FULL);
    ck_assert_int_eq(s.layers, 2);
    model_close(m);
}
END_TEST

START_TEST(hidden_states__report_a_disk_that_cannot_take_them)
{
    model *m = tiny_model("test_model_forward", "disk", "");
    struct rlimit old, small = {10000, RLIM_INFINITY};
    ck_assert_int_eq(run(m, NULL, NULL, 1000, "/nonexistent"), KVC_IO);
    ck_assert_ptr_nonnull(strstr(error.message, "/nonexistent"));
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    setrlimit(RLIMIT_FSIZE, &small);
    kvc_status status = run(m, NULL, NULL, 1000, getenv("KVC_TEST_BUILD"));
    setrlimit(RLIMIT_FSIZE, &old);
    ck_assert_int_eq(status, KVC_IO);
    ck_assert_ptr_nonnull(strstr(error.message, getenv("KVC_TEST_BUILD")));
    model_close(m);
}
END_TEST

START_TEST(hidden_states__check_their_range)
{
    hidden_states *h;
    float row[8] = {0};
    OK(hidden_new(&h, NULL, 3, 4, 0, NULL, err));
    OK(hidden_write(h, 1, 2, row, err));
    ck_assert_int_eq(hidden_write(h, 2, 2, row, &error), KVC_INVALID);
    ck_assert_int_eq(hidden_read(h, 4, 0, row, &error), KVC_INVALID);
    ck_assert_int_eq(hidden_read(h, 1, SIZE_MAX, row, &error), KVC_INVALID);
    hidden_free(h);
    ck_assert_int_eq(hidden_new(&h, NULL, SIZE_MAX / 8, 4, 0, NULL, &error), KVC_NO_MEMORY);
    ck_assert_ptr_null(h);
}
END_TEST

START_TEST(model_embed__refuses_ids_beyond_the_vocabulary)
{
    size_t length = 5;
    model *m = tiny_model("test_model_forward", "ids", "");
    sequence_set tokens = tiny_tokens(&length, 1, m->config.vocab);
    hidden_states *hidden;
    tokens.ids[3] = 320;
    OK(hidden_new(&hidden, NULL, 5, m->config.hidden, 0, NULL, err));
    ck_assert_int_eq(model_embed(m, &tokens, hidden, &error), KVC_INVALID);
    ck_assert_ptr_nonnull(strstr(error.message, "token 3 has id 320"));
    hidden_free(hidden);
    sequences_free(&tokens);
    model_close(m);
}
END_TEST

static hidden_states *hidden_of(const float *rows, size_t n, uint32_t width)
{
    hidden_states *h;
    OK(hidden_new(&h, NULL, n, width, 0, NULL, err));
    OK(hidden_write(h, 0, n, rows, err));
    return h;
}

static double log_sum_exp(const float *x, size_t n)
{
    double max = x[0], sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

/* The vocabulary is larger than a block of it, and the tokens more than a block of rows. */
START_TEST(model_compare__equals_the_full_logits)
{
    static const size_t long_lengths[] = {2040, 2, 30, 1, 100};
    model *m = tiny_model("test_model_forward", "compare", "--vocab 2100 --layers 1");
    size_t vocab = m->config.vocab, hidden = m->config.hidden, next = 0;
    backend *b = cpu_backend(2);
    sequence_set tokens = tiny_tokens(long_lengths, 5, m->config.vocab);
    size_t n = tokens.first[tokens.n];
    float *x = tiny_stream(m, b, &tokens, NULL, 0), *y = malloc(n * hidden * sizeof *y);
    float *p = malloc(2 * vocab * sizeof *p), *q = p + vocab;
    logit_row *rows = malloc(n * sizeof *rows);
    for (size_t i = 0; i < n * hidden; i++) y[i] = x[i] * (1 + 0.05f * (float)(i % 7));
    hidden_states *ref = hidden_of(x, n, m->config.hidden), *cfg = hidden_of(y, n, m->config.hidden);
    OK(model_compare(m, b, &tokens, ref, cfg, rows, NULL, err));
    for (size_t s = 0; s < tokens.n; s++)
        for (size_t i = tokens.first[s]; i + 1 < tokens.first[s + 1]; i++, next++) {
            if (i % 37 && i > 5 && i + 8 < n) continue;
            OK(model_logits(m, b, 1, x + i * hidden, p, err));
            OK(model_logits(m, b, 1, y + i * hidden, q, err));
            double lp = log_sum_exp(p, vocab), lq = log_sum_exp(q, vocab), kl = 0;
            for (size_t j = 0; j < vocab; j++) kl += exp(p[j] - lp) * ((p[j] - lp) - (q[j] - lq));
            ck_assert_double_eq_tol(rows[next].nll_ref, lp - p[tokens.ids[i + 1]], 1e-5);
            ck_assert_double_eq_tol(rows[next].nll_cfg, lq - q[tokens.ids[i + 1]], 1e-5);
            ck_assert_double_eq_tol(rows[next].kl, kl, 1e-6);
        }
    ck_assert_uint_eq(next, n - 5);
    hidden_free(ref), hidden_free(cfg);
    free(x), free(y), free(p), free(rows);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

START_TEST(model_compare__of_one_stream_has_no_divergence)
{
    model *m = tiny_model("test_model_forward", "same", "");
    backend *b = cpu_backend(2);
    sequence_set tokens = tiny_tokens(lengths, N_SEQUENCES, m->config.vocab);
    size_t n = tokens.first[tokens.n];
    float *x = tiny_stream(m, b, &tokens, NULL, 0);
    hidden_states *ref = hidden_of(x, n, m->config.hidden);
    logit_row rows[406];
    OK(model_compare(m, b, &tokens, ref, ref, rows, NULL, err));
    for (size_t i = 0; i < n - N_SEQUENCES; i++) {
        ck_assert_double_eq(rows[i].kl, 0);
        ck_assert_double_eq(rows[i].nll_ref, rows[i].nll_cfg);
    }
    free(x);
    hidden_free(ref);
    sequences_free(&tokens);
    b->close(b);
    model_close(m);
}
END_TEST

CHECK_MAIN("model forward", model_layers__same_bits_for_any_threads_and_for_a_spilled_stream,
           model_layers__sequences_do_not_see_each_other, model_layers__in_two_parts_equal_one_run,
           hooks__are_called_in_order_and_can_replace_attention,
           model_layers__stops_when_cancelled_and_when_a_hook_fails,
           hidden_states__report_a_disk_that_cannot_take_them, hidden_states__check_their_range,
           model_embed__refuses_ids_beyond_the_vocabulary, model_compare__equals_the_full_logits,
           model_compare__of_one_stream_has_no_divergence)
