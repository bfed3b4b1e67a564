/* prompts.c - prompt files into tokens (prompts.h). */
#include "prompts.h"

#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "output.h"
#include "sha256.h"
#include "tokenizer_text.h"

enum { FILE_BYTES_MAX = 1 << 30, MESSAGES_MAX = 100000 };

typedef struct reader { /* one file being read */
    prompt_file *out;
    const char *name; /* as given, for messages */
    const char *text;
    size_t n;
    const tokenizer *t;
    uint32_t vocab;
    kvc_error *err;
} reader;

/* ---- tokens -------------------------------------------------------------------------------------------------- */

/* The model must have a row for every id that the tokenizer gives. */
static kvc_status check_ids(const reader *r, size_t first)
{
    for (size_t i = first; i < r->out->tokens.n; i++)
        if (r->out->tokens.ids[i] >= r->vocab)
            return kvc_fail(r->err, KVC_MISMATCH,
                            "%s: the tokenizer gives id %u, but the model's vocabulary has %u tokens", r->name,
                            r->out->tokens.ids[i], r->vocab);
    return KVC_OK;
}

static kvc_status add_text(reader *r, const char *text, size_t n)
{
    size_t first = r->out->tokens.n;
    kvc_error why;
    kvc_status status = tokenizer_encode(r->t, text, n, &r->out->tokens, &why);
    if (status != KVC_OK) return kvc_fail(r->err, status, "%s: %s", r->name, why.message);
    return check_ids(r, first);
}

/* Documents of one file are told apart by the prefix token, where the tokenizer has one. */
static kvc_status open_document(reader *r)
{
    int64_t prefix = r->t ? tokenizer_prefix(r->t) : -1;
    if (prefix < 0) return KVC_OK;
    size_t first = r->out->tokens.n;
    KVC_TRY(token_list_push(&r->out->tokens, (uint32_t)prefix, r->err));
    return check_ids(r, first);
}

/* ---- lines --------------------------------------------------------------------------------------------------- */

typedef kvc_status (*line_reader)(reader *r, const char *line, size_t n, size_t number);

static bool is_blank(const char *line, size_t n)
{
    size_t i = 0;
    while (i < n && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) i++;
    return i == n;
}

static kvc_status read_lines(reader *r, line_reader read)
{
    size_t number = 1;
    for (size_t at = 0; at < r->n; number++) {
        const char *end = memchr(r->text + at, '\n', r->n - at);
        size_t n = end ? (size_t)(end - r->text) - at : r->n - at;
        if (!is_blank(r->text + at, n)) KVC_TRY(read(r, r->text + at, n, number));
        at += n + 1;
    }
    if (r->out->tokens.n == 0) return kvc_fail(r->err, KVC_FORMAT, "%s: holds no text", r->name);
    return KVC_OK;
}

/* ---- .jsonl -------------------------------------------------------------------------------------------------- */

static kvc_status bad_line(const reader *r, size_t number, const char *why)
{
    return kvc_fail(r->err, KVC_FORMAT, "%s:%zu: %s", r->name, number, why);
}

static kvc_status add_chat(reader *r, const json_t *messages, size_t number)
{
    size_t n = json_array_size(messages);
    const char **texts = n && n <= MESSAGES_MAX ? calloc(2 * n, sizeof *texts) : NULL;
    if (!texts) return bad_line(r, number, "\"messages\" is not a list of messages");
    kvc_status status = KVC_OK;
    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        const json_t *message = json_array_get(messages, i);
        texts[i] = json_string_value(json_object_get(message, "role"));
        texts[n + i] = json_string_value(json_object_get(message, "content"));
        if (!texts[i] || !texts[n + i])
            status = bad_line(r, number, "a message needs \"role\" and \"content\", both strings");
    }
    char *text = status == KVC_OK ? chat_format(r->t, texts, texts + n, n, false) : NULL;
    if (status == KVC_OK && !text) status = kvc_fail(r->err, KVC_NO_MEMORY, "%s: out of memory", r->name);
    if (status == KVC_OK) status = open_document(r);
    if (status == KVC_OK) status = add_text(r, text, strlen(text));
    free(text);
    free(texts);
    return status;
}

static kvc_status add_json(reader *r, const json_t *value, size_t number)
{
    const json_t *text = json_object_get(value, "text"), *messages = json_object_get(value, "messages");
    if (!text == !messages) return bad_line(r, number, "needs either \"text\" or \"messages\"");
    if (messages) return add_chat(r, messages, number);
    if (!json_is_string(text)) return bad_line(r, number, "\"text\" is not a string");
    if (json_string_length(text) == 0) return KVC_OK; /* data sets have empty documents */
    KVC_TRY(open_document(r));
    return add_text(r, json_string_value(text), json_string_length(text));
}

static kvc_status read_json_line(reader *r, const char *line, size_t n, size_t number)
{
    json_t *value;
    kvc_error why;
    kvc_status status = json_read_text(&value, line, n, "JSON", &why);
    if (status != KVC_OK) return bad_line(r, number, why.message);
    status = add_json(r, value, number);
    json_decref(value);
    return status;
}

/* ---- .tokens ------------------------------------------------------------------------------------------------- */

static kvc_status read_id(const reader *r, const char *digits, size_t n, size_t number, uint32_t *id)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return kvc_fail(r->err, KVC_FORMAT, "%s:%zu: '%s' is not a token id", r->name, number,
                            quote(digits, n).text);
        if (value < UINT32_MAX) value = value * 10 + (uint64_t)(digits[i] - '0');
    }
    if (value >= r->vocab)
        return kvc_fail(r->err, KVC_FORMAT, "%s:%zu: token id %s is out of range (the vocabulary has %u tokens)",
                        r->name, number, quote(digits, n).text, r->vocab);
    *id = (uint32_t)value;
    return KVC_OK;
}

static kvc_status read_id_line(reader *r, const char *line, size_t n, size_t number)
{
    int64_t prefix = r->t ? tokenizer_prefix(r->t) : -1;
    bool first = true;
    for (size_t i = 0; i < n;) {
        size_t length = 0;
        uint32_t id = 0;
        while (i < n && is_blank(line + i, 1)) i++;
        while (i + length < n && !is_blank(line + i + length, 1)) length++;
        if (length == 0) break;
        KVC_TRY(read_id(r, line + i, length, number, &id));
        if (first && id != prefix) KVC_TRY(open_document(r));
        KVC_TRY(token_list_push(&r->out->tokens, id, r->err));
        first = false;
        i += length;
    }
    return KVC_OK;
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static kvc_status check_text(const reader *r)
{
    if (r->n == 0) return kvc_fail(r->err, KVC_FORMAT, "%s: is empty", r->name);
    const char *nul = memchr(r->text, '\0', r->n);
    size_t bad = utf8_check(r->text, r->n);
    if (nul && (size_t)(nul - r->text) < bad)
        return kvc_fail(r->err, KVC_FORMAT, "%s: a NUL byte at offset %zu: not a text file", r->name,
                        (size_t)(nul - r->text));
    if (bad < r->n)
        return kvc_fail(r->err, KVC_FORMAT, "%s: invalid UTF-8 at offset %zu: not a text file", r->name, bad);
    return KVC_OK;
}

static kvc_status read_kind(reader *r)
{
    const char *dot = strrchr(r->name, '.'), *slash = strrchr(r->name, '/');
    const char *suffix = dot && (!slash || dot > slash) ? dot : "";
    bool ids = !strcmp(suffix, ".tokens");
    if (!ids && strcmp(suffix, ".txt") && strcmp(suffix, ".jsonl"))
        return kvc_fail(r->err, KVC_UNSUPPORTED,
                        "%s: the suffix '%s' is not supported (.txt, .jsonl and .tokens are)", r->name, suffix);
    if (!ids && !r->t)
        return kvc_fail(r->err, KVC_INVALID, "%s: text needs the model's tokenizer.json (.tokens does not)", r->name);
    KVC_TRY(check_text(r));
    if (ids) return read_lines(r, read_id_line);
    return !strcmp(suffix, ".txt") ? add_text(r, r->text, r->n) : read_lines(r, read_json_line);
}

kvc_status prompts_read_memory(prompt_file *out, const char *name, const char *text, size_t n, const tokenizer *t,
                               uint32_t vocab, kvc_error *err)
{
    reader r = {out, name, text, n, t, vocab, err};
    const char *slash = strrchr(name, '/');
    *out = (prompt_file){0};
    strncpy(out->name, slash ? slash + 1 : name, sizeof out->name - 1);
    sha256_bytes(text, n, out->sha256);
    kvc_status status = read_kind(&r);
    if (status != KVC_OK) prompt_file_free(out);
    return status;
}

kvc_status prompts_read(prompt_file *out, const char *path, const tokenizer *t, uint32_t vocab, kvc_error *err)
{
    char *text;
    size_t n;
    *out = (prompt_file){0};
    KVC_TRY(input_read(&text, &n, path, FILE_BYTES_MAX, err));
    kvc_status status = prompts_read_memory(out, path, text, n, t, vocab, err);
    free(text);
    return status;
}

void prompt_file_free(prompt_file *f)
{
    token_list_free(&f->tokens);
}
