/* fuzz_tokenizer.c - a tokenizer.json, then a NUL and text for it (a fixed text where there is none). What opens must
 * encode and decode without harm. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const tokenizer *t, const char *text, size_t n)
{
    token_list ids = {0};
    kvc_error err;
    if (tokenizer_encode(t, text, n, &ids, &err) == KVC_OK) {
        char *decoded = tokenizer_decode(t, ids.ids, ids.n, true);
        free(decoded);
        for (size_t i = 0; i < ids.n; i++)
            if (ids.ids[i] >= tokenizer_vocab(t)) abort();
    }
    token_list_free(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char fixed[] = "Ab  12 caf\xc3\xa9's\n\n<s>\xf0\x9f\x98\x80 x=y;";
    const uint8_t *end = size ? memchr(data, 0, size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    tokenizer *t;
    kvc_error err;
    if (tokenizer_open_memory(&t, (const char *)data, n, "fuzz", &err) != KVC_OK) return 0;
    if (end)
        use(t, (const char *)end + 1, size - n - 1);
    else
        use(t, fixed, sizeof fixed - 1);
    tokenizer_close(t);
    return 0;
}
