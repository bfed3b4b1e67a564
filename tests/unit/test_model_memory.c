/* model_memory() against what a pass really takes: growth of the peak resident size, in a process of its own. */
#include "check_main.h"
#include "model_tiny.h"

#include <sys/resource.h>

#ifdef __SANITIZE_ADDRESS__
#define SLACK 4.0 /* its own memory counts too */
#else
#define SLACK 1.2
#endif

static double peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

static double need_of(const model *m, backend *b, size_t n_tokens, size_t longest, uint64_t limit)
{
    memory_need need = model_memory(&m->config, b, n_tokens, longest, limit);
    return (double)(need.host + need.dev);
}

static void check_peak(size_t length, size_t n, uint64_t limit)
{
    size_t lengths[8];
    backend *b = cpu_backend(2);
    model *m = tiny_model("test_model_memory", "model",
                          "--hidden 512 --ffn 640 --heads 8 --kv-heads 4 --head-dim 64 --layers 1");
    for (size_t i = 0; i < n; i++) lengths[i] = length;
    sequence_set tokens = tiny_tokens(lengths, n, m->config.vocab);
    logit_row *rows = malloc(n * length * sizeof *rows);
    double before = peak_bytes(), expected = need_of(m, b, n * length, length, limit);
    hidden_states *hidden;
    OK(hidden_new(&hidden, b, n * length, m->config.hidden, limit, getenv("KVC_TEST_BUILD"), err));
    OK(model_embed(m, &tokens, hidden, err));
    OK(model_layers(m, b, &tokens, hidden, 0, 1, NULL, NULL, "test", err));
    OK(model_compare(m, b, &tokens, hidden, hidden, rows, NULL, err));
    double taken = peak_bytes() - before;
    ck_assert_msg(taken < SLACK * expected && expected < 1.2 * taken, "taken %.1f MB, expected %.1f MB", taken / 1e6,
                  expected / 1e6);
    hidden_free(hidden);
    free(rows);
    sequences_free(&tokens);
    model_close(m);
    b->close(b);
}

START_TEST(model_memory__predicts_a_long_sequence)
{
    check_peak(5000, 1, 0);
}
END_TEST
START_TEST(model_memory__predicts_many_sequences)
{
    check_peak(1500, 8, 0);
}
END_TEST
START_TEST(model_memory__predicts_a_spilled_stream)
{
    check_peak(2500, 4, 10 << 20);
}
END_TEST

CHECK_MAIN("model memory", model_memory__predicts_a_long_sequence, model_memory__predicts_many_sequences,
           model_memory__predicts_a_spilled_stream)
