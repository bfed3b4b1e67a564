/* model_tiny.h - tiny random models for tests of the forward pass, made by tests/tiny_model.py in the build folder.
 */
#ifndef TESTS_UNIT_MODEL_TINY_H
#define TESTS_UNIT_MODEL_TINY_H
#include "model.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK(call)                                                                                                     \
    do {                                                                                                             \
        kvc_error ok_error = {""};                                                                                   \
        kvc_error *err = &ok_error;                                                                                  \
        kvc_status ok_status = (call);                                                                               \
        ck_assert_msg(ok_status == KVC_OK, "%s: status %d: %s", #call, (int)ok_status, err->message);                \
    } while (0)

/* Each test program has folders of its own, so that they may run side by side. */
static inline const char *tiny_folder(const char *test, const char *name, const char *options)
{
    static char folder[512];
    char command[1400];
    snprintf(folder, sizeof folder, "%s/%s-%s", getenv("KVC_TEST_BUILD"), test, name);
    snprintf(command, sizeof command, "python3 '%s/tiny_model.py' '%s' %s", getenv("KVC_TEST_DATA"), folder, options);
    ck_assert_msg(system(command) == 0, "failed: %s", command);
    return folder;
}

static inline model *tiny_model(const char *test, const char *name, const char *options)
{
    model *m;
    OK(model_open(&m, tiny_folder(test, name, options), false, err));
    return m;
}

static inline backend *cpu_backend(int threads)
{
    backend *b;
    OK(backend_open(&b, "cpu", threads, err));
    return b;
}

/* Sequences of the given lengths with ids from a fixed generator. Owned: sequences_free(). */
static inline sequence_set tiny_tokens(const size_t *lengths, size_t n, uint32_t vocab)
{
    sequence_set s = {.n = n, .first = calloc(n + 1, sizeof *s.first), .file = calloc(n + 1, sizeof *s.file)};
    uint32_t state = 7;
    for (size_t i = 0; i < n; i++) s.first[i + 1] = s.first[i] + lengths[i];
    s.ids = calloc(s.first[n] + 1, sizeof *s.ids);
    for (size_t i = 0; i < s.first[n]; i++) s.ids[i] = ((state = state * 1664525u + 1013904223u) >> 8) % vocab;
    return s;
}

/* All rows after the last layer, [tokens][hidden]. Owned: free(). */
static inline float *tiny_stream(model *m, backend *b, const sequence_set *tokens, const forward_hooks *hooks,
                                 uint64_t memory)
{
    size_t n = tokens->first[tokens->n];
    hidden_states *hidden;
    float *rows = malloc((n + 1) * m->config.hidden * sizeof *rows);
    OK(hidden_new(&hidden, b, n, m->config.hidden, memory, getenv("KVC_TEST_BUILD"), err));
    OK(model_embed(m, tokens, hidden, err));
    OK(model_layers(m, b, tokens, hidden, 0, m->config.n_layers, hooks, NULL, "test", err));
    OK(hidden_read(hidden, 0, n, rows, err));
    hidden_free(hidden);
    return rows;
}

/* Largest difference relative to the largest magnitude of y. */
static inline double relative_difference(const float *x, const float *y, size_t n)
{
    double difference = 0, size = 0;
    for (size_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)x[i] - y[i]));
        size = fmax(size, fabs((double)y[i]));
    }
    return difference / size;
}
#endif
