/* tokenizer_decode.c - look-ups by id and by text, ids back into text, and the list of ids. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

kvc_status token_list_push(token_list *list, uint32_t id, kvc_error *err)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 256;
        uint32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu tokens", capacity);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return KVC_OK;
}

void token_list_free(token_list *list)
{
    free(list->ids);
    *list = (token_list){0};
}

uint32_t tokenizer_vocab(const tokenizer *t)
{
    return t->vocab.n;
}

int64_t tokenizer_prefix(const tokenizer *t)
{
    return t->prefix;
}

int64_t tokenizer_find(const tokenizer *t, const char *token)
{
    uint32_t id = vocab_find(&t->vocab, token, strlen(token));
    return id == NO_TOKEN ? -1 : (int64_t)id;
}

bool tokenizer_is_special(const tokenizer *t, uint32_t id)
{
    return id < t->vocab.n && (t->vocab.tokens[id].flags & TOKEN_SPECIAL);
}

const char *tokenizer_bytes(const tokenizer *t, uint32_t id, size_t *n)
{
    const vocab_token *token = id < t->vocab.n && t->vocab.tokens[id].flags ? &t->vocab.tokens[id] : NULL;
    *n = token ? token->n_bytes : 0;
    return token ? token->bytes : "";
}

/* Well-formed text as it is, each maximal malformed part as U+FFFD. */
static bool append_valid(text_buffer *out, const char *bytes, size_t n)
{
    static const char replacement[] = "\xef\xbf\xbd";
    for (size_t i = 0; i < n;) {
        size_t good = utf8_check(bytes + i, n - i);
        if (!text_append(out, bytes + i, good)) return false;
        i += good;
        if (i == n) break;
        if (!text_append(out, replacement, 3)) return false;
        i += utf8_broken(bytes + i, n - i);
    }
    return text_append(out, "", 1);
}

char *tokenizer_decode(const tokenizer *t, const uint32_t *ids, size_t n, bool skip_special)
{
    text_buffer raw = {0}, text = {0};
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        size_t n_bytes;
        const char *bytes = tokenizer_bytes(t, ids[i], &n_bytes);
        if (skip_special && tokenizer_is_special(t, ids[i])) continue;
        ok = text_append(&raw, bytes, n_bytes);
    }
    ok = ok && append_valid(&text, raw.bytes, raw.n);
    free(raw.bytes);
    if (ok) return text.bytes;
    free(text.bytes);
    return NULL;
}
