/* tokenizer.c - the parts of a tokenizer.json put together, and encoding.
 *
 * "truncation" and "padding" of the file are not applied: they are settings of a call, which transformers
 * sets anew for each, and text that is measured must be neither cut nor padded. "post_processor" may put one
 * special token before a sequence (tokenizer_prefix); one that puts any after it is refused. "decoder" must
 * be ByteLevel. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>
#include "output.h"

enum { FILE_BYTES_MAX = 256 << 20, SEQUENCE_DEPTH_MAX = 8 };

/* ---- the model
 * ----------------------------------------------------------------------------------------------- */

/* Options of BPE that must be off: null, false, "" or 0. */
static kvc_status must_be_off(const field *model, const char *key, kvc_error *err)
{
    field f = field_get(model, key);
    bool off = !field_given(&f) || json_is_false(f.value) ||
               (json_is_string(f.value) && !json_string_length(f.value)) ||
               (json_is_number(f.value) && json_number_value(f.value) == 0);
    return off ? KVC_OK : field_fail(&f, KVC_UNSUPPORTED, err, "is not supported (it must be null or off)");
}

static kvc_status check_model(const field *model, bool *ignore_merges, kvc_error *err)
{
    static const char *const off[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"};
    bool fuse;
    KVC_TRY(field_object(model, err));
    field type = field_get(model, "type"); /* early files have none */
    const char *name = type.value ? json_string_value(type.value) : "BPE";
    if (!name) return field_fail(&type, KVC_FORMAT, err, "is not a string");
    if (strcmp(name, "BPE")) return field_unsupported(&type, name, "BPE is", err);
    KVC_TRY(field_only(model,
                       (const char *const[]){"type", "dropout", "unk_token", "continuing_subword_prefix",
                                             "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges",
                                             "vocab", "merges", NULL},
                       err));
    for (size_t i = 0; i < sizeof off / sizeof *off; i++) KVC_TRY(must_be_off(model, off[i], err));
    KVC_TRY(field_bool(model, "fuse_unk", false, &fuse, err)); /* means nothing without unknown tokens */
    return field_bool(model, "ignore_merges", false, ignore_merges, err);
}

/* An unknown token does no harm where every byte is known, since nothing is unknown then. */
static kvc_status check_unknown(const vocab *v, const field *model, kvc_error *err)
{
    unsigned missing = 0;
    for (unsigned b = 0; b < 256; b++) missing += v->byte_id[b] == NO_TOKEN;
    return missing ? must_be_off(model, "unk_token", err) : KVC_OK;
}

static kvc_status load_model(tokenizer *t, const field *root, size_t json_bytes, kvc_error *err)
{
    field model = field_get(root, "model"), added = field_get(root, "added_tokens");
    KVC_TRY(check_model(&model, &t->vocab.ignore_merges, err));
    KVC_TRY(vocab_load(&t->vocab, &model, &added, json_bytes, err));
    KVC_TRY(check_unknown(&t->vocab, &model, err));
    return added_load(&t->added, &added, &t->normal, err);
}

/* ---- post-processor and decoder
 * ------------------------------------------------------------------------------ */

/* "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}} */
static kvc_status load_prefix(tokenizer *t, const field *template, const field *token, kvc_error *err)
{
    field name = field_get(token, "id"), specials = field_get(template, "special_tokens");
    const char *text;
    size_t n;
    uint32_t id;
    KVC_TRY(field_text(&name, &text, &n, err));
    field entry = field_member(&specials, text, json_object_get(specials.value, text)),
          ids = field_get(&entry, "ids");
    KVC_TRY(field_array(&ids, &n, err));
    if (n != 1) return field_fail(&ids, KVC_UNSUPPORTED, err, "holds %zu ids (one is supported)", n);
    field first = field_at(&ids, 0);
    KVC_TRY(field_index(&first, t->vocab.n, &id, err));
    if (t->prefix >= 0) return field_fail(token, KVC_UNSUPPORTED, err, "is a second token before the sequence");
    t->prefix = id;
    return KVC_OK;
}

static kvc_status load_template(tokenizer *t, const field *f, kvc_error *err)
{
    field single = field_get(f, "single");
    size_t n;
    bool after_text = false;
    KVC_TRY(field_only(f, (const char *const[]){"type", "single", "pair", "special_tokens", NULL}, err));
    KVC_TRY(field_array(&single, &n, err));
    for (size_t i = 0; i < n; i++) {
        field item = field_at(&single, i), special = field_get(&item, "SpecialToken"),
              text = field_get(&item, "Sequence");
        if (!special.value == !text.value)
            return field_fail(&item, KVC_FORMAT, err, "is neither 'SpecialToken' nor 'Sequence'");
        if (after_text)
            return field_fail(&item, KVC_UNSUPPORTED, err, "something after the sequence is not supported");
        if (special.value) KVC_TRY(load_prefix(t, f, &special, err));
        after_text = text.value != NULL;
    }
    return after_text ? KVC_OK : field_fail(&single, KVC_FORMAT, err, "has no 'Sequence'");
}

static kvc_status load_processor(tokenizer *t, const field *f, unsigned depth, kvc_error *err)
{
    const char *type;
    size_t n;
    KVC_TRY(field_type(f, &type, err));
    if ((!type[0] && depth == 0) || !strcmp(type, "ByteLevel")) return KVC_OK; /* ByteLevel trims offsets only */
    if (!strcmp(type, "TemplateProcessing")) return load_template(t, f, err);
    if (strcmp(type, "Sequence") || depth == SEQUENCE_DEPTH_MAX)
        return field_unsupported(f, type, "null, ByteLevel, TemplateProcessing and Sequence are", err);
    field list = field_get(f, "processors");
    KVC_TRY(field_array(&list, &n, err));
    for (size_t i = 0; i < n; i++) {
        field item = field_at(&list, i);
        KVC_TRY(load_processor(t, &item, depth + 1, err));
    }
    return KVC_OK;
}

static kvc_status check_decoder(const field *f, unsigned depth, kvc_error *err)
{
    const char *type;
    size_t n;
    KVC_TRY(field_type(f, &type, err));
    if (!strcmp(type, "ByteLevel")) return KVC_OK;
    if (strcmp(type, "Sequence") || depth == SEQUENCE_DEPTH_MAX)
        return field_unsupported(f, type, "ByteLevel is", err);
    field list = field_get(f, "decoders");
    KVC_TRY(field_array(&list, &n, err));
    if (n != 1)
        return field_fail(&list, KVC_UNSUPPORTED, err, "holds %zu decoders (ByteLevel alone is supported)", n);
    field item = field_at(&list, 0);
    return check_decoder(&item, depth + 1, err);
}

/* ---- open and close
 * ------------------------------------------------------------------------------------------ */

static kvc_status check_version(const field *root, kvc_error *err)
{
    field version = field_get(root, "version");
    const char *text = json_string_value(version.value);
    if (!field_given(&version) || (text && !strcmp(text, "1.0"))) return KVC_OK;
    return field_fail(&version, KVC_UNSUPPORTED, err, "is not \"1.0\"");
}

static kvc_status load(tokenizer *t, const field *root, size_t json_bytes, kvc_error *err)
{
    field normal = field_get(root, "normalizer"), split = field_get(root, "pre_tokenizer");
    field processor = field_get(root, "post_processor"), decoder = field_get(root, "decoder");
    KVC_TRY(field_object(root, err));
    KVC_TRY(check_version(root, err));
    KVC_TRY(normaliser_load(&t->normal, &normal, err));
    KVC_TRY(split_load(&t->split, &split, err));
    KVC_TRY(load_model(t, root, json_bytes, err));
    KVC_TRY(load_processor(t, &processor, 0, err));
    return check_decoder(&decoder, 0, err);
}

kvc_status tokenizer_open_memory(tokenizer **out, const char *json, size_t n, const char *what, kvc_error *err)
{
    json_t *value = NULL;
    *out = NULL;
    tokenizer *t = calloc(1, sizeof *t);
    kvc_status status =
        t && (t->what = strdup(what)) ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", what);
    if (status == KVC_OK) status = json_read_text(&value, json, n, what, err);
    if (status == KVC_OK) {
        field root = field_root(t->what, value);
        t->prefix = -1;
        status = load(t, &root, n, err);
    }
    json_decref(value);
    if (status == KVC_OK)
        *out = t;
    else
        tokenizer_close(t);
    return status;
}

kvc_status tokenizer_open(tokenizer **out, const char *path, kvc_error *err)
{
    char *json;
    size_t n;
    *out = NULL;
    KVC_TRY(input_read(&json, &n, path, FILE_BYTES_MAX, err));
    kvc_status status = tokenizer_open_memory(out, json, n, path, err);
    free(json);
    return status;
}

void tokenizer_close(tokenizer *t)
{
    if (!t) return;
    vocab_free(&t->vocab);
    added_free(&t->added);
    split_free(t->split);
    free(t->what);
    free(t);
}

/* ---- encoding
 * ------------------------------------------------------------------------------------------------ */

typedef struct encoder { /* what one call needs */
    const tokenizer *t;
    bpe_work *bpe;
    splitter *splitter;
    text_buffer normal;
    token_list *out;
    kvc_error *err;
} encoder;

static kvc_status encode_plain(void *context, uint32_t id, const char *text, size_t n)
{
    encoder *e = context;
    if (id != NO_TOKEN) return token_list_push(e->out, id, e->err);
    return splitter_run(e->splitter, text, n, e->out, e->err);
}

static kvc_status encode_part(void *context, uint32_t id, const char *text, size_t n)
{
    encoder *e = context;
    const tokenizer *t = e->t;
    if (id != NO_TOKEN) return token_list_push(e->out, id, e->err);
    if (t->normal.n) {
        KVC_TRY(normaliser_run(&t->normal, &e->normal, text, n, e->err));
        text = e->normal.bytes;
        n = e->normal.n;
    }
    return added_split(&t->added, &t->added.normal, text, n, encode_plain, e);
}

kvc_status tokenizer_encode(const tokenizer *t, const char *text, size_t n, token_list *out, kvc_error *err)
{
    encoder e = {.t = t, .out = out, .err = err};
    size_t bad = utf8_check(text, n);
    if (bad < n) return kvc_fail(err, KVC_FORMAT, "invalid UTF-8 at byte %zu", bad);
    if (n >= UINT32_MAX / 4) return kvc_fail(err, KVC_INVALID, "%zu bytes of text are too many for one call", n);
    kvc_status status = bpe_open(&e.bpe, &t->vocab, n, err);
    if (status == KVC_OK) status = splitter_open(&e.splitter, t->split, e.bpe, t->what, err);
    if (status == KVC_OK) status = added_split(&t->added, &t->added.raw, text, n, encode_part, &e);
    splitter_close(e.splitter);
    bpe_close(e.bpe);
    free(e.normal.bytes);
    return status;
}
