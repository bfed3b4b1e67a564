/* tokenizer_vocab.c - the table of tokens: by id, and by text through a hash table of ids (open addressing,
 * at most half full). Ids, and so the table by id, are bounded by the size of the file: gaps are allowed,
 * absurd ids are not. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

enum { ID_SLACK = 65536, ALPHABET_END = 324 };

/* GPT-2 writes each byte as a printable character: itself where that is one, else 256 + k for the k-th other
 * byte. */
static bool is_printable(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

static unsigned char_of_byte(unsigned byte)
{
    if (is_printable(byte)) return byte;
    unsigned others = 0;
    for (unsigned b = 0; b < byte; b++) others += !is_printable(b);
    return 256 + others;
}

bool vocab_spell(text_buffer *out, const char *bytes, size_t n)
{
    char point[4];
    for (size_t i = 0; i < n; i++)
        if (!text_append(out, point, utf8_write(char_of_byte((unsigned char)bytes[i]), point))) return false;
    return true;
}

static uint32_t hash_text(const char *s, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u;
    return (uint32_t)(h ^ h >> 32);
}

uint32_t vocab_find(const vocab *v, const char *text, size_t n)
{
    for (uint32_t at = hash_text(text, n);; at++) {
        uint32_t id = v->slot[at & v->slot_mask];
        if (id == 0) return NO_TOKEN;
        const vocab_token *token = &v->tokens[id - 1];
        if (token->n_text == n && !memcmp(token->text, text, n)) return id - 1;
    }
}

static void enter(vocab *v, uint32_t id)
{
    uint32_t at = hash_text(v->tokens[id].text, v->tokens[id].n_text);
    while (v->slot[at & v->slot_mask]) at++;
    v->slot[at & v->slot_mask] = id + 1;
}

/* Bytes of a text in the alphabet; a text with any other character stands for itself, as in Hugging Face. */
static size_t unspell(const uint16_t *byte_of, const char *text, size_t n, char *out)
{
    size_t used = 0;
    uint32_t point = 0;
    for (size_t i = 0; i < n; used++) {
        unsigned k = utf8_read(text + i, n - i, &point);
        if (k == 0 || point >= ALPHABET_END || byte_of[point] == 0) return memcpy(out, text, n), n;
        out[used] = (char)(byte_of[point] - 1);
        i += k;
    }
    return used;
}

/* A word of the model where `byte_of` is given, else an added token, whose bytes the caller sets. */
static void add_token(vocab *v, char **arena, const uint16_t *byte_of, uint32_t id, const char *text, size_t n)
{
    vocab_token *token = &v->tokens[id];
    char *bytes = *arena + n;
    memcpy(*arena, text, n);
    size_t n_bytes = byte_of ? unspell(byte_of, text, n, bytes) : 0;
    *token = (vocab_token){*arena, bytes, (uint32_t)n, (uint32_t)n_bytes, byte_of ? TOKEN_MODEL : 0};
    *arena += n + n_bytes;
    enter(v, id);
}

/* The first pass: how many tokens, their text in all and the largest id. */
typedef struct census {
    size_t n, text_bytes;
    uint32_t largest;
    uint64_t limit; /* of ids */
} census;

static kvc_status count(census *c, const field *id, size_t text_bytes, kvc_error *err)
{
    uint32_t value;
    KVC_TRY(field_index(id, c->limit, &value, err));
    if (value > c->largest) c->largest = value;
    c->n++;
    c->text_bytes += text_bytes;
    return KVC_OK;
}

static kvc_status take_census(census *c, const field *words, const field *added, kvc_error *err)
{
    const char *key;
    json_t *value;
    size_t n_added = 0, n = 0;
    json_object_foreach((json_t *)words->value, key, value)
    {
        field id = {.what = words->what, .path = "model.vocab", .value = value};
        if (!json_is_integer(value) || (uint64_t)json_integer_value(value) >= c->limit)
            id = field_member(words, key, value);
        KVC_TRY(count(c, &id, strlen(key), err));
    }
    if (c->n == 0) return field_fail(words, KVC_FORMAT, err, "is empty");
    if (field_given(added)) KVC_TRY(field_array(added, &n_added, err));
    for (size_t i = 0; i < n_added; i++) {
        field entry = field_at(added, i), id = field_get(&entry, "id"), content = field_get(&entry, "content");
        const char *text;
        KVC_TRY(field_object(&entry, err));
        KVC_TRY(field_text(&content, &text, &n, err));
        if (n == 0) return field_fail(&content, KVC_FORMAT, err, "is empty");
        KVC_TRY(count(c, &id, n, err));
    }
    return KVC_OK;
}

static kvc_status allocate(vocab *v, const census *c, const field *words, char **arena, kvc_error *err)
{
    uint32_t slots = 16;
    while (slots < 2 * c->n) slots *= 2;
    v->n = c->largest + 1;
    v->tokens = calloc(v->n, sizeof *v->tokens);
    v->slot = calloc(slots, sizeof *v->slot);
    v->slot_mask = slots - 1;
    *arena = v->arena = malloc(2 * c->text_bytes + 1);
    if (!v->tokens || !v->slot || !v->arena) return field_fail(words, KVC_NO_MEMORY, err, "out of memory");
    return KVC_OK;
}

static kvc_status same_id(const vocab *v, const field *where, uint32_t id, kvc_error *err)
{
    const vocab_token *other = &v->tokens[id];
    return field_fail(where, KVC_FORMAT, err, "id %u is also that of '%s'", id,
                      quote(other->text, other->n_text).text);
}

static kvc_status add_words(vocab *v, const field *words, char **arena, const uint16_t *byte_of, kvc_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)words->value, key, value)
    {
        uint32_t id = (uint32_t)json_integer_value(value);
        if (v->tokens[id].flags) {
            field where = field_member(words, key, value);
            return same_id(v, &where, id, err);
        }
        add_token(v, arena, byte_of, id, key, strlen(key));
    }
    return KVC_OK;
}

/* An added token that the model's vocabulary holds, too, must have the same id there. */
static kvc_status add_added(vocab *v, const field *entry, char **arena, kvc_error *err)
{
    field where = field_get(entry, "id"), content = field_get(entry, "content");
    const char *text = json_string_value(content.value);
    size_t n = json_string_length(content.value);
    uint32_t id = (uint32_t)json_integer_value(where.value), known = vocab_find(v, text, n);
    bool special;
    KVC_TRY(field_bool(entry, "special", false, &special, err));
    if (known != NO_TOKEN && (v->tokens[known].flags & TOKEN_ADDED))
        return field_fail(&content, KVC_FORMAT, err, "'%s' is added twice", quote(text, n).text);
    if (known != NO_TOKEN && known != id)
        return field_fail(&where, KVC_FORMAT, err, "%u, but the vocabulary says %u", id, known);
    if (known == NO_TOKEN && v->tokens[id].flags) return same_id(v, &where, id, err);
    if (known == NO_TOKEN) add_token(v, arena, NULL, id, text, n);
    vocab_token *token = &v->tokens[id];
    token->bytes = token->text; /* an added token stands for itself */
    token->n_bytes = token->n_text;
    token->flags |= TOKEN_ADDED | (special ? TOKEN_SPECIAL : 0);
    return KVC_OK;
}

static void find_bytes(vocab *v)
{
    for (unsigned b = 0; b < 256; b++) {
        char point[4];
        uint32_t id = vocab_find(v, point, utf8_write(char_of_byte(b), point));
        v->byte_id[b] = id != NO_TOKEN && (v->tokens[id].flags & TOKEN_MODEL) ? id : NO_TOKEN;
    }
}

kvc_status vocab_load(vocab *v, const field *model, const field *added, size_t json_bytes, kvc_error *err)
{
    field words = field_get(model, "vocab"), merges = field_get(model, "merges");
    census c = {.limit = (uint64_t)json_bytes + ID_SLACK};
    uint16_t byte_of[ALPHABET_END] = {0}; /* byte + 1 */
    char *arena;
    if (c.limit > UINT32_MAX / 4) c.limit = UINT32_MAX / 4;
    for (unsigned b = 0; b < 256; b++) byte_of[char_of_byte(b)] = (uint16_t)(b + 1);
    KVC_TRY(field_object(&words, err));
    KVC_TRY(take_census(&c, &words, added, err));
    KVC_TRY(allocate(v, &c, &words, &arena, err));
    KVC_TRY(add_words(v, &words, &arena, byte_of, err));
    for (size_t i = 0; i < json_array_size(added->value); i++) {
        field entry = field_at(added, i);
        KVC_TRY(add_added(v, &entry, &arena, err));
    }
    find_bytes(v);
    return vocab_load_merges(v, &merges, err);
}

void vocab_free(vocab *v)
{
    free(v->tokens);
    free(v->slot);
    free(v->arena);
    free(v->merge);
}
