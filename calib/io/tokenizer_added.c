/* tokenizer_added.c - tokens that are found in the text before anything else cuts it: the leftmost, of these
 * the longest match, by a trie. Matches do not overlap, and one that a flag discards still hides those that
 * begin inside it, both as Hugging Face's matcher has it. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- trie
 * ---------------------------------------------------------------------------------------------------- */

static uint32_t trie_child(const added_trie *t, uint32_t node, uint8_t byte)
{
    uint32_t child = node ? t->nodes[node].child : t->first[byte];
    while (child && t->nodes[child].byte != byte) child = t->nodes[child].sibling;
    return child;
}

static bool trie_grow(added_trie *t)
{
    if (t->n < t->capacity) return true;
    uint32_t capacity = t->capacity ? 2 * t->capacity : 64;
    added_node *nodes = realloc(t->nodes, capacity * sizeof *nodes);
    if (!nodes) return false;
    t->nodes = nodes;
    t->capacity = capacity;
    if (t->n == 0) t->nodes[t->n++] = (added_node){0};
    return true;
}

static uint32_t trie_add_child(added_trie *t, uint32_t node, uint8_t byte)
{
    if (!trie_grow(t)) return 0;
    uint32_t child = t->n++, *list = node ? &t->nodes[node].child : &t->first[byte];
    t->nodes[child] = (added_node){.sibling = *list, .byte = byte};
    *list = child;
    return child;
}

/* The node of the text, made where it is not there; 0: out of memory. */
static uint32_t trie_node(added_trie *t, const char *text, size_t n)
{
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t child = trie_child(t, node, (uint8_t)text[i]);
        if (!child && !(child = trie_add_child(t, node, (uint8_t)text[i]))) return 0;
        node = child;
    }
    return node;
}

/* The longest token that the text begins with (counting from 1) and its length. */
static uint32_t trie_longest(const added_trie *t, const char *text, size_t n, size_t *length)
{
    uint32_t best = 0, node = 0;
    for (size_t i = 0; i < n && (node = trie_child(t, node, (uint8_t)text[i])); i++) {
        if (!t->nodes[node].token) continue;
        best = t->nodes[node].token;
        *length = i + 1;
    }
    return best;
}

/* ---- loading
 * ------------------------------------------------------------------------------------------------- */

static kvc_status set_text(added_token *token, const normaliser *m, const field *content, kvc_error *err)
{
    const char *text = json_string_value(content->value);
    text_buffer form = {0};
    kvc_status status = KVC_OK;
    token->n = json_string_length(content->value);
    if (token->normalised && m->n) {
        status = normaliser_run(m, &form, text, token->n, err);
        text = form.bytes;
        token->n = form.n;
    }
    if (status == KVC_OK && !(token->text = malloc(token->n + 1)))
        status = field_fail(content, KVC_NO_MEMORY, err, "out of memory");
    if (status == KVC_OK && token->n) memcpy(token->text, text, token->n);
    free(form.bytes);
    if (status == KVC_OK && token->n == 0)
        status = field_fail(content, KVC_UNSUPPORTED, err, "is empty once normalised");
    return status;
}

static kvc_status load_one(added_set *set, const field *f, const normaliser *m, kvc_error *err)
{
    field id = field_get(f, "id"), content = field_get(f, "content");
    added_token *token = &set->tokens[set->n++];
    bool special;
    KVC_TRY(field_only(
        f, (const char *const[]){"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special", NULL},
        err));
    token->id = (uint32_t)json_integer_value(id.value); /* vocab_load() has checked id and content */
    KVC_TRY(field_bool(f, "special", false, &special, err));
    KVC_TRY(field_bool(f, "single_word", false, &token->single_word, err));
    KVC_TRY(field_bool(f, "lstrip", false, &token->strip_left, err));
    KVC_TRY(field_bool(f, "rstrip", false, &token->strip_right, err));
    KVC_TRY(field_bool(f, "normalized", !special, &token->normalised, err));
    KVC_TRY(set_text(token, m, &content, err));
    added_trie *trie = token->normalised ? &set->normal : &set->raw;
    uint32_t node = trie_node(trie, token->text, token->n);
    if (!node) return field_fail(&content, KVC_NO_MEMORY, err, "out of memory");
    if (trie->nodes[node].token)
        return field_fail(&content, KVC_UNSUPPORTED, err, "has the same normal form as another added token");
    trie->nodes[node].token = (uint32_t)set->n;
    return KVC_OK;
}

kvc_status added_load(added_set *out, const field *f, const normaliser *m, kvc_error *err)
{
    size_t n = json_array_size(f->value);
    *out = (added_set){0};
    if (n == 0) return KVC_OK;
    out->tokens = calloc(n, sizeof *out->tokens);
    if (!out->tokens) return field_fail(f, KVC_NO_MEMORY, err, "out of memory");
    for (size_t i = 0; i < n; i++) {
        field entry = field_at(f, i);
        KVC_TRY(load_one(out, &entry, m, err));
    }
    return KVC_OK;
}

void added_free(added_set *set)
{
    for (size_t i = 0; i < set->n; i++) free(set->tokens[i].text);
    free(set->tokens);
    free(set->raw.nodes);
    free(set->normal.nodes);
}

/* ---- matching
 * ------------------------------------------------------------------------------------------------ */

/* The character that ends at `end`; text is well-formed. */
static size_t char_before(const char *text, size_t end, uint32_t *point)
{
    size_t at = end - 1;
    while (at > 0 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    utf8_read(text + at, end - at, point);
    return at;
}

static bool stands_alone(const char *text, size_t n, size_t start, size_t stop)
{
    uint32_t point;
    if (start > 0 && (char_before(text, start, &point), char_is_word(point))) return false;
    return stop == n || !utf8_read(text + stop, n - stop, &point) || !char_is_word(point);
}

static size_t spaces_before(const char *text, size_t start, size_t floor)
{
    uint32_t point;
    while (start > floor) {
        size_t at = char_before(text, start, &point);
        if (!char_is_space(point)) break;
        start = at;
    }
    return start;
}

static size_t spaces_after(const char *text, size_t n, size_t stop)
{
    uint32_t point;
    while (stop < n) {
        unsigned k = utf8_read(text + stop, n - stop, &point);
        if (!char_is_space(point)) break;
        stop += k;
    }
    return stop;
}

kvc_status added_split(const added_set *set, const added_trie *trie, const char *text, size_t n, added_part part,
                       void *context)
{
    size_t done = 0, length = 0; /* text before `done` has been handed out */
    for (size_t at = 0; at < n;) {
        uint32_t found = trie->first[(uint8_t)text[at]] ? trie_longest(trie, text + at, n - at, &length) : 0;
        if (!found) {
            at++;
            continue;
        }
        const added_token *token = &set->tokens[found - 1];
        size_t start = at, stop = at + length;
        at = stop;
        if (token->single_word && !stands_alone(text, n, start, stop)) continue;
        if (token->strip_left) start = spaces_before(text, start, done);
        if (token->strip_right) stop = spaces_after(text, n, stop);
        if (done < start) KVC_TRY(part(context, NO_TOKEN, text + done, start - done));
        KVC_TRY(part(context, token->id, NULL, 0));
        done = stop;
    }
    return done < n ? part(context, NO_TOKEN, text + done, n - done) : KVC_OK;
}
