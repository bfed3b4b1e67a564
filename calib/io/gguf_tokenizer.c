/* gguf_tokenizer.c - tokenizer.json and tokenizer_config.json of a byte-level BPE tokenizer in GGUF metadata
 * (tokenizer.ggml.model "gpt2"; the others are refused by name). All tokens go into the vocabulary, so that
 * ids stay what they are; control and user-defined ones are added tokens besides. */
#include <stdlib.h>
#include <string.h>
#include "gguf_private.h"
#include "json.h"

/* tokenizer.ggml.token_type */
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_USER_DEFINED = 4, TOKEN_TYPES = 7 };

typedef struct vocabulary {
    const gguf *g;
    char **tokens; /* [n] owned; NUL-terminated UTF-8 */
    uint32_t n;
    json_t *ids;          /* {token: id}, owned */
    const uint8_t *types; /* [n] of 4 bytes; NULL: all normal */
} vocabulary;

static kvc_status no_memory(const gguf *g, kvc_error *err)
{
    return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
}

static void vocabulary_free(vocabulary *v)
{
    for (uint32_t i = 0; i < v->n; i++) free(v->tokens[i]);
    free(v->tokens);
    json_decref(v->ids);
}

static kvc_status read_types(vocabulary *v, uint64_t n, kvc_error *err)
{
    const gguf_value *types = gguf_find(v->g, "tokenizer.ggml.token_type");
    gguf_kind kind = types && types->element == GGUF_U32 ? GGUF_U32 : GGUF_I32;
    KVC_TRY(gguf_get_array(v->g, "tokenizer.ggml.token_type", kind, true, &types, err));
    if (!types) return KVC_OK;
    if (types->n != n)
        return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.token_type': %llu entries for %llu tokens",
                        v->g->path, (unsigned long long)types->n, (unsigned long long)n);
    for (uint64_t i = 0; i < n; i++)
        if (gguf_u32(types->data + 4 * i) >= TOKEN_TYPES)
            return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.token_type': unknown type of token %llu",
                            v->g->path, (unsigned long long)i);
    v->types = types->data;
    return KVC_OK;
}

static uint32_t type_of(const vocabulary *v, uint32_t id)
{
    return v->types ? gguf_u32(v->types + 4 * (size_t)id) : TOKEN_NORMAL;
}

static kvc_status add_token(vocabulary *v, gguf_text text, kvc_error *err)
{
    if (memchr(text.bytes, 0, text.n))
        return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.tokens': token %u holds a NUL", v->g->path,
                        v->n);
    char *token = strndup(text.bytes, text.n);
    if (!token) return no_memory(v->g, err);
    v->tokens[v->n++] = token;
    if (json_object_get(v->ids, token))
        return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.tokens': token %u is there twice", v->g->path,
                        v->n - 1);
    if (json_object_set_new(v->ids, token, json_integer(v->n - 1)))
        return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.tokens': token %u is no UTF-8", v->g->path,
                        v->n - 1);
    return KVC_OK;
}

static kvc_status read_vocabulary(vocabulary *v, uint32_t rows, kvc_error *err)
{
    const gguf_value *tokens = NULL;
    KVC_TRY(gguf_get_array(v->g, "tokenizer.ggml.tokens", GGUF_STRING, false, &tokens, err));
    if (!tokens->n || tokens->n > rows)
        return kvc_fail(err, KVC_FORMAT,
                        "%s: metadata 'tokenizer.ggml.tokens': %llu tokens for %u rows of the embedding", v->g->path,
                        (unsigned long long)tokens->n, rows);
    v->ids = json_object();
    v->tokens = calloc(tokens->n, sizeof *v->tokens);
    if (!v->ids || !v->tokens) return no_memory(v->g, err);
    const uint8_t *at = tokens->data;
    for (uint64_t i = 0; i < tokens->n; i++) KVC_TRY(add_token(v, gguf_next_text(&at), err));
    return read_types(v, tokens->n, err);
}

/* "left right": both and their union are tokens. */
static bool is_merge(const vocabulary *v, char *text)
{
    char *space = strchr(text, ' ');
    if (!space || space == text || !space[1] || strchr(space + 1, ' ')) return false;
    *space = '\0';
    bool known = json_object_get(v->ids, text) && json_object_get(v->ids, space + 1);
    memmove(space, space + 1, strlen(space + 1) + 1);
    return known && json_object_get(v->ids, text);
}

static kvc_status add_merge(const vocabulary *v, json_t *list, gguf_text text, kvc_error *err)
{
    json_t *merge = json_stringn(text.bytes, text.n);
    char *scratch = strndup(text.bytes, text.n);
    bool good = merge && scratch && !memchr(text.bytes, 0, text.n) && is_merge(v, scratch);
    free(scratch);
    if (good && !json_array_append_new(list, merge)) return KVC_OK;
    if (!good) json_decref(merge);
    return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.ggml.merges': entry %zu is no pair of tokens",
                    v->g->path, json_array_size(list));
}

static kvc_status read_merges(const vocabulary *v, json_t *list, kvc_error *err)
{
    const gguf_value *merges = NULL;
    KVC_TRY(gguf_get_array(v->g, "tokenizer.ggml.merges", GGUF_STRING, false, &merges, err));
    const uint8_t *at = merges->data;
    for (uint64_t i = 0; i < merges->n; i++) KVC_TRY(add_merge(v, list, gguf_next_text(&at), err));
    return KVC_OK;
}

static json_t *added_tokens(const vocabulary *v)
{
    json_t *list = json_array();
    for (uint32_t id = 0; id < v->n; id++) {
        uint32_t type = type_of(v, id);
        if (type != TOKEN_UNKNOWN && type != TOKEN_CONTROL && type != TOKEN_USER_DEFINED) continue;
        json_array_append_new(list, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                                              v->tokens[id], "single_word", 0, "lstrip", 0, "rstrip", 0, "normalized",
                                              0, "special", type != TOKEN_USER_DEFINED));
    }
    return list;
}

/* The token that a key like tokenizer.ggml.bos_token_id names, or NULL. */
static kvc_status read_token(const vocabulary *v, const char *key, uint32_t *id, const char **token, kvc_error *err)
{
    *token = NULL;
    *id = UINT32_MAX;
    KVC_TRY(gguf_get_count(v->g, key, 0, v->n - 1, true, id, err));
    if (*id != UINT32_MAX) *token = v->tokens[*id];
    return KVC_OK;
}

/* A template that puts BOS in front, or null. */
static kvc_status post_processor(const vocabulary *v, bool add_bos, json_t **out, kvc_error *err)
{
    bool add_eos = false;
    uint32_t id = 0;
    const char *bos = NULL;
    KVC_TRY(gguf_get_flag(v->g, "tokenizer.ggml.add_bos_token", &add_bos, err));
    KVC_TRY(gguf_get_flag(v->g, "tokenizer.ggml.add_eos_token", &add_eos, err));
    KVC_TRY(read_token(v, "tokenizer.ggml.bos_token_id", &id, &bos, err));
    if (add_eos)
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: tokenizer.ggml.add_eos_token is not supported", v->g->path);
    if (add_bos && !bos)
        return kvc_fail(err, KVC_FORMAT,
                        "%s: metadata 'tokenizer.ggml.bos_token_id': is missing, and BOS is to be added", v->g->path);
    *out = add_bos
               ? json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}],"
                           " s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}], "
                           "s:{s:{s:s, s:[i], s:[s]}}}",
                           "type", "TemplateProcessing", "single", "SpecialToken", "id", bos, "type_id", 0,
                           "Sequence", "id", "A", "type_id", 0, "pair", "SpecialToken", "id", bos, "type_id", 0,
                           "Sequence", "id", "A", "type_id", 0, "SpecialToken", "id", bos, "type_id", 1, "Sequence",
                           "id", "B", "type_id", 1, "special_tokens", bos, "id", bos, "ids", (int)id, "tokens", bos)
               : json_null();
    return *out ? KVC_OK : no_memory(v->g, err);
}

/* The parts are taken over, whatever the result. */
static json_t *assemble(const vocabulary *v, const gguf_pre *pre, json_t *merges, json_t *post)
{
    json_t *model =
        json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:o}", "type", "BPE", "dropout", "unk_token",
                  "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                  "ignore_merges", (int)pre->ignore_merges, "vocab", v->ids, "merges", merges);
    json_t *normalizer = pre->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:{s:s, s:b, s:b, s:b}, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added_tokens(v), "normalizer", normalizer,
                     "pre_tokenizer", json_loads(pre->pre_tokenizer, 0, NULL), "post_processor", post, "decoder",
                     "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "model", model);
}

static kvc_status read_pre(const gguf *g, const gguf_pre **out, kvc_error *err)
{
    gguf_text model = {0}, pre = {0};
    KVC_TRY(gguf_get_text(g, "tokenizer.ggml.model", false, &model, err));
    if (!gguf_text_is(model, "gpt2"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: tokenizer.ggml.model '%.*s' is not supported (gpt2 is)", g->path,
                        model.n > 64 ? 64 : (int)model.n, model.bytes);
    KVC_TRY(gguf_get_text(g, "tokenizer.ggml.pre", false, &pre, err));
    *out = gguf_pre_find(pre);
    if (*out) return KVC_OK;
    return kvc_fail(err, KVC_UNSUPPORTED, "%s: tokenizer.ggml.pre '%.*s' is not supported", g->path,
                    pre.n > 64 ? 64 : (int)pre.n, pre.bytes);
}

kvc_status gguf_read_tokenizer(const gguf *g, uint32_t vocab, json_t **out, kvc_error *err)
{
    vocabulary v = {.g = g};
    const gguf_pre *pre = NULL;
    json_t *merges = json_array(), *post = NULL;
    *out = NULL;
    kvc_status status = merges ? read_pre(g, &pre, err) : no_memory(g, err);
    if (status == KVC_OK) status = read_vocabulary(&v, vocab, err);
    if (status == KVC_OK) status = read_merges(&v, merges, err);
    if (status == KVC_OK) status = post_processor(&v, pre->add_bos, &post, err);
    if (status == KVC_OK) {
        *out = assemble(&v, pre, merges, post);
        merges = NULL;
        if (!*out) status = no_memory(g, err);
    }
    json_decref(merges);
    vocabulary_free(&v);
    return status;
}

static kvc_status add_names(const vocabulary *v, json_t *config, kvc_error *err)
{
    static const char *const keys[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token"},
                                          {"tokenizer.ggml.eos_token_id", "eos_token"},
                                          {"tokenizer.ggml.unknown_token_id", "unk_token"},
                                          {"tokenizer.ggml.padding_token_id", "pad_token"}};
    for (int i = 0; i < 4; i++) {
        uint32_t id;
        const char *token = NULL;
        KVC_TRY(read_token(v, keys[i][0], &id, &token, err));
        if (token) json_object_set_new(config, keys[i][1], json_string(token));
    }
    return KVC_OK;
}

static kvc_status add_template(const gguf *g, json_t *config, kvc_error *err)
{
    gguf_text text = {0};
    KVC_TRY(gguf_get_text(g, "tokenizer.chat_template", true, &text, err));
    if (!text.bytes || !json_object_set_new(config, "chat_template", json_stringn(text.bytes, text.n))) return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "%s: metadata 'tokenizer.chat_template': is no UTF-8", g->path);
}

kvc_status gguf_read_tokenizer_config(const gguf *g, const model_config *shape, json_t **out, kvc_error *err)
{
    vocabulary v = {.g = g};
    json_t *config = json_pack("{s:s, s:I, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "model_max_length",
                               (json_int_t)shape->max_positions, "clean_up_tokenization_spaces", 0);
    kvc_status status = config ? read_vocabulary(&v, shape->vocab, err) : no_memory(g, err);
    if (status == KVC_OK) status = add_names(&v, config, err);
    if (status == KVC_OK) status = add_template(g, config, err);
    vocabulary_free(&v);
    if (status == KVC_OK) {
        *out = config;
    } else {
        json_decref(config);
    }
    return status;
}
