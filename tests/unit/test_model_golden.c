/* Logits against Hugging Face transformers in fp32 (tests/golden/model/make_golden.py). */
#include "check_main.h"
#include "model_tiny.h"

#define MAX_IDS 1024

/* "options ...", "ids ...", then "row POSITION values..."; lines of any length */
static FILE *open_golden(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/golden/model/%s.txt", getenv("KVC_TEST_DATA"), name);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    return f;
}

static size_t read_ids(FILE *f, uint32_t *ids)
{
    size_t n = 0;
    ck_assert_int_eq(fscanf(f, "ids"), 0);
    while (n < MAX_IDS && fscanf(f, " %u", &ids[n]) == 1) n++;
    return n;
}

static void check_rows(FILE *f, model *m, backend *b, const float *stream, double tolerance)
{
    size_t vocab = m->config.vocab, position;
    float *want = malloc(vocab * sizeof *want), *got = malloc(vocab * sizeof *got);
    int rows = 0;
    for (; fscanf(f, " row %zu", &position) == 1; rows++) {
        for (size_t i = 0; i < vocab; i++) ck_assert_int_eq(fscanf(f, " %f", &want[i]), 1);
        OK(model_logits(m, b, 1, stream + position * m->config.hidden, got, err));
        double difference = relative_difference(got, want, vocab);
        ck_assert_msg(difference < tolerance, "row %zu: relative difference %g", position, difference);
    }
    ck_assert_int_ge(rows, 6);
    free(want);
    free(got);
}

static void check_variant(const char *name)
{
    FILE *f = open_golden(name);
    char options[512] = "";
    uint32_t ids[MAX_IDS], file = 0;
    ck_assert_int_eq(fscanf(f, "options%511[^\n]\n", options) >= 0, 1);
    size_t first[2] = {0, read_ids(f, ids)};
    sequence_set tokens = {.ids = ids, .first = first, .file = &file, .n = 1};
    model *m = tiny_model("test_model_golden", name, options);
    backend *b = cpu_backend(2);
    float *stream = tiny_stream(m, b, &tokens, NULL, 0);
    check_rows(f, m, b, stream, 1e-5);
    free(stream);
    b->close(b);
    model_close(m);
    fclose(f);
}

START_TEST(logits__equal_transformers_plain)
{
    check_variant("plain");
}
END_TEST
START_TEST(logits__equal_transformers_untied_f16_wide_heads)
{
    check_variant("untied_f16");
}
END_TEST
START_TEST(logits__equal_transformers_biases_bf16_shards)
{
    check_variant("bias_bf16");
}
END_TEST
START_TEST(logits__equal_transformers_llama3_scaling)
{
    check_variant("llama3");
}
END_TEST
START_TEST(logits__equal_transformers_linear_scaling)
{
    check_variant("linear");
}
END_TEST

CHECK_MAIN("model golden", logits__equal_transformers_plain, logits__equal_transformers_untied_f16_wide_heads,
           logits__equal_transformers_biases_bf16_shards, logits__equal_transformers_llama3_scaling,
           logits__equal_transformers_linear_scaling)
