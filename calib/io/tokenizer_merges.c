/* tokenizer_merges.c - the ranked merges, a hash table from a pair of ids to rank and result. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

static const uint64_t FREE_SLOT = UINT64_MAX;

static uint32_t hash_pair(uint64_t pair)
{
    pair *= 0x9e3779b97f4a7c15u;
    return (uint32_t)(pair >> 32);
}

const vocab_merge *vocab_merge_of(const vocab *v, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    for (uint32_t at = hash_pair(pair);; at++) {
        const vocab_merge *m = &v->merge[at & v->merge_mask];
        if (m->pair == pair) return m;
        if (m->pair == FREE_SLOT) return NULL;
    }
}

/* A pair that is listed twice has its last rank, as in Hugging Face. */
static void enter(vocab *v, vocab_merge m)
{
    uint32_t at = hash_pair(m.pair);
    while (v->merge[at & v->merge_mask].pair != FREE_SLOT && v->merge[at & v->merge_mask].pair != m.pair) at++;
    v->merge[at & v->merge_mask] = m;
}

typedef struct pair_text {
    const char *left, *right;
    size_t n_left, n_right;
} pair_text;

/* "a b" (exactly one space) or ["a", "b"]. */
static bool read_pair(const json_t *value, pair_text *out)
{
    if (json_is_string(value)) {
        const char *text = json_string_value(value), *space = strchr(text, ' ');
        if (!space || strchr(space + 1, ' ')) return false;
        *out = (pair_text){text, space + 1, (size_t)(space - text), strlen(space + 1)};
        return true;
    }
    const json_t *left = json_array_get(value, 0), *right = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_string(left) || !json_is_string(right)) return false;
    *out = (pair_text){json_string_value(left), json_string_value(right), json_string_length(left),
                       json_string_length(right)};
    return true;
}

static uint32_t find_word(const vocab *v, const char *text, size_t n)
{
    uint32_t id = vocab_find(v, text, n);
    return id != NO_TOKEN && (v->tokens[id].flags & TOKEN_MODEL) ? id : NO_TOKEN;
}

static kvc_status unknown(const field *merges, size_t index, const char *text, size_t n, kvc_error *err)
{
    field where = field_at(merges, index);
    return field_fail(&where, KVC_FORMAT, err, "'%s' is not in the vocabulary", quote(text, n).text);
}

static kvc_status load_one(vocab *v, const field *merges, size_t index, uint32_t rank, text_buffer *joined,
                           kvc_error *err)
{
    pair_text p;
    if (!read_pair(json_array_get(merges->value, index), &p)) {
        field where = field_at(merges, index);
        return field_fail(&where, KVC_FORMAT, err, "is neither \"a b\" nor [\"a\", \"b\"]");
    }
    joined->n = 0;
    if (!text_append(joined, p.left, p.n_left) || !text_append(joined, p.right, p.n_right))
        return field_fail(merges, KVC_NO_MEMORY, err, "out of memory");
    uint32_t left = find_word(v, p.left, p.n_left), right = find_word(v, p.right, p.n_right);
    uint32_t both = find_word(v, joined->bytes, joined->n);
    if (left == NO_TOKEN) return unknown(merges, index, p.left, p.n_left, err);
    if (right == NO_TOKEN) return unknown(merges, index, p.right, p.n_right, err);
    if (both == NO_TOKEN) return unknown(merges, index, joined->bytes, joined->n, err);
    enter(v, (vocab_merge){(uint64_t)left << 32 | right, rank, both});
    return KVC_OK;
}

static bool is_version_line(const json_t *value)
{
    return json_is_string(value) && !strncmp(json_string_value(value), "#version", 8);
}

kvc_status vocab_load_merges(vocab *v, const field *merges, kvc_error *err)
{
    size_t n;
    KVC_TRY(field_array(merges, &n, err));
    size_t slots = 16;
    while (slots < 2 * n) slots *= 2;
    v->merge = malloc(slots * sizeof *v->merge);
    if (!v->merge || slots > UINT32_MAX) return field_fail(merges, KVC_NO_MEMORY, err, "out of memory");
    memset(v->merge, 0xff, slots * sizeof *v->merge);
    v->merge_mask = (uint32_t)(slots - 1);
    text_buffer joined = {0};
    kvc_status status = KVC_OK;
    uint32_t rank = 0;
    for (size_t i = 0; i < n && status == KVC_OK; i++)
        if (!is_version_line(json_array_get(merges->value, i))) status = load_one(v, merges, i, rank++, &joined, err);
    free(joined.bytes);
    return status;
}
