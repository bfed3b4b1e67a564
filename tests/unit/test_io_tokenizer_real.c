/* A real tokenizer against ids that Hugging Face gave: KVC_TOKENIZER_REAL names a folder with tokenizer.json, text
 * and ids, as tests/golden/tokenizer/make.py --real writes it. Prints the speed; skipped without a folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "output.h"
#include "tokenizer.h"

static int fail(const char *message)
{
    fprintf(stderr, "FAILED: %s\n", message);
    return 1;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int compare(const token_list *got, const char *ids, size_t n_bytes)
{
    size_t n = n_bytes / sizeof *got->ids, i = 0;
    const uint32_t *want = (const uint32_t *)(const void *)ids;
    while (i < n && i < got->n && got->ids[i] == want[i]) i++;
    printf("%zu tokens, %zu expected, the first %zu are the same\n", got->n, n, i);
    return i == n && i == got->n ? 0 : fail("the ids differ");
}

static int run(const tokenizer *t, const char *text, size_t n, const char *ids, size_t n_ids)
{
    kvc_error err;
    token_list got = {0};
    double start = now();
    if (tokenizer_encode(t, text, n, &got, &err) != KVC_OK) return fail(err.message);
    printf("%zu bytes at %.1f MB/s on one core\n", n, (double)n / (now() - start) * 1e-6);
    int failed = compare(&got, ids, n_ids);
    token_list_free(&got);
    return failed;
}

int main(void)
{
    const char *folder = getenv("KVC_TOKENIZER_REAL");
    if (!folder) return puts("skipped: KVC_TOKENIZER_REAL names no folder"), 77;
    char path[3][4096], *text = NULL, *ids = NULL;
    static const char *const names[] = {"tokenizer.json", "text", "ids"};
    size_t n, n_ids;
    kvc_error err;
    tokenizer *t = NULL;
    for (int i = 0; i < 3; i++) snprintf(path[i], sizeof path[i], "%s/%s", folder, names[i]);
    int failed = tokenizer_open(&t, path[0], &err) || input_read(&text, &n, path[1], 1 << 28, &err) ||
                 input_read(&ids, &n_ids, path[2], 1 << 28, &err);
    failed = failed ? fail(err.message) : run(t, text, n, ids, n_ids);
    free(text);
    free(ids);
    tokenizer_close(t);
    return failed;
}
