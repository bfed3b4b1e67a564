/* Ids and text identical to Hugging Face tokenizers, on what tests/golden/tokenizer/make.py wrote (see there): four
 * small tokenizers of the kinds of GPT-2, Llama-3, Qwen2 and SmolLM2, a megabyte of generated text, and variants of
 * components. */
#include "check_main.h"

#include <stdio.h>
#include <string.h>
#include "json.h"
#include "sha256.h"
#include "tokenizer.h"

enum { TEXT_BYTES = 1 << 20, SHORT_BYTES = 1 << 15 };

static const uint32_t ranges[][2] = {
    {0x0, 0x1f},        {0x20, 0x7e},       {0x7f, 0xff},        {0x100, 0x24f},     {0x300, 0x36f},
    {0x391, 0x3a1},     {0x3a3, 0x3ff},     {0x400, 0x4ff},      {0x5d0, 0x5ea},     {0x620, 0x64a},
    {0x660, 0x669},     {0x905, 0x939},     {0x966, 0x96f},      {0xe01, 0xe3a},     {0x1100, 0x11ff},
    {0x1680, 0x169c},   {0x180b, 0x180e},   {0x1e00, 0x1eff},    {0x2000, 0x2064},   {0x2074, 0x208e},
    {0x2100, 0x218b},   {0x2190, 0x23ff},   {0x2460, 0x24ff},    {0x2600, 0x27bf},   {0x3000, 0x303f},
    {0x3041, 0x3096},   {0x30a1, 0x30ff},   {0x3400, 0x4dbf},    {0x4e00, 0x9ffc},   {0xac00, 0xd7a3},
    {0xe000, 0xe0ff},   {0xf900, 0xfa6d},   {0xfb00, 0xfb06},    {0xfe00, 0xfe0f},   {0xfeff, 0xfeff},
    {0xff01, 0xffbe},   {0x10330, 0x1034a}, {0x1d400, 0x1d454},  {0x1f1e6, 0x1f1ff}, {0x1f300, 0x1f64f},
    {0x1f900, 0x1f9ff}, {0x20000, 0x2a6dd}, {0x10fff0, 0x10ffff}};

static const char *data_path(const char *name)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/golden/tokenizer/%s", getenv("KVC_TEST_DATA"), name);
    return path;
}

static json_t *read_golden(const char *name)
{
    json_t *value;
    kvc_error err;
    ck_assert_msg(json_read_file(&value, data_path(name), 1 << 20, &err) == KVC_OK, "%s", err.message);
    return value;
}

/* ---- the text of make.py's generate() ------------------------------------------------------------------------ */

static uint32_t below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((*state >> 33) % n);
}

static size_t put_point(char *out, uint32_t c)
{
    if (c < 0x80) return out[0] = (char)c, 1;
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)((n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0) | c);
    return n;
}

static size_t put_piece(char *out, const json_t *fragments, uint64_t *state)
{
    uint32_t kind = below(state, 10);
    if (kind < 7) {
        const json_t *f = json_array_get(fragments, below(state, (uint32_t)json_array_size(fragments)));
        memcpy(out, json_string_value(f), json_string_length(f));
        return json_string_length(f);
    }
    if (kind < 9) {
        const uint32_t *r = ranges[below(state, sizeof ranges / sizeof *ranges)];
        return put_point(out, r[0] + below(state, r[1] - r[0] + 1));
    }
    static const uint32_t repeated[] = {' ', '\n', '\t', '\r', '0', 'a', '\'', 0xa0};
    uint32_t c = repeated[below(state, 8)], times = 1 + below(state, 9);
    size_t n = 0;
    while (times--) n += put_point(out + n, c);
    return n;
}

static char *generate(const json_t *fragments, size_t n_bytes, uint64_t seed, size_t *n)
{
    char *out = malloc(n_bytes + 4096);
    ck_assert_ptr_nonnull(out);
    for (*n = 0; *n < n_bytes;) *n += put_piece(out + *n, fragments, &seed);
    return out;
}

/* fragments.json holds a NUL, which JSON readers of C strings refuse: it is put back here. */
static json_t *read_fragments(void)
{
    FILE *f = fopen(data_path("fragments.json"), "rb");
    ck_assert_ptr_nonnull(f);
    char text[16384];
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    ck_assert_uint_lt(n, sizeof text);
    json_t *value = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(value);
    return value;
}

/* ---- comparing ----------------------------------------------------------------------------------------------- */

static tokenizer *open_kind(const char *kind)
{
    char name[64];
    tokenizer *t;
    kvc_error err;
    snprintf(name, sizeof name, "%s.json", kind);
    ck_assert_msg(tokenizer_open(&t, data_path(name), &err) == KVC_OK, "%s", err.message);
    return t;
}

static token_list encode(const tokenizer *t, const char *text, size_t n)
{
    token_list list = {0};
    kvc_error err;
    ck_assert_msg(tokenizer_encode(t, text, n, &list, &err) == KVC_OK, "%s", err.message);
    return list;
}

static void compare_hash(const json_t *want, const void *bytes, size_t n, const char *what)
{
    uint8_t hash[32];
    char hex[65];
    sha256_bytes(bytes, n, hash);
    sha256_hex(hash, hex);
    ck_assert_msg(!strcmp(hex, json_string_value(want)), "%s differs", what);
}

static void compare_digest(const json_t *want, const token_list *got, const char *what)
{
    ck_assert_msg((size_t)json_integer_value(json_object_get(want, "n")) == got->n, "%s: %zu tokens", what, got->n);
    compare_hash(json_object_get(want, "sha256"), got->ids, got->n * sizeof *got->ids, what);
}

static void compare_ids(const json_t *want, const token_list *got, const char *what)
{
    ck_assert_msg(json_array_size(want) == got->n, "'%s': %zu tokens", what, got->n);
    for (size_t i = 0; i < got->n; i++)
        ck_assert_msg(got->ids[i] == json_integer_value(json_array_get(want, i)), "'%s': token %zu", what, i);
}

static void decode_scrambled(const tokenizer *t, uint32_t n_vocab, const json_t *want, const char *what)
{
    uint32_t ids[3000];
    size_t n = 0;
    for (uint32_t i = 0; i < 3000; i++) {
        uint32_t id = (uint32_t)((uint64_t)i * 7919 % n_vocab);
        size_t n_bytes;
        const char *bytes = tokenizer_bytes(t, id, &n_bytes);
        if (!tokenizer_is_special(t, id) && !memchr(bytes, 0, n_bytes)) ids[n++] = id;
    }
    char *text = tokenizer_decode(t, ids, n, false);
    ck_assert_ptr_nonnull(text);
    compare_hash(want, text, strlen(text), what);
    free(text);
}

START_TEST(encode__is_that_of_hugging_face_for_four_kinds)
{
    json_t *expected = read_golden("expected.json"), *fragments = read_fragments();
    size_t n;
    char *text = generate(fragments, TEXT_BYTES, 1, &n);
    compare_hash(json_object_get(json_object_get(expected, "text"), "sha256"), text, n, "the generated text");
    const char *kind;
    json_t *want;
    json_object_foreach(json_object_get(expected, "kinds"), kind, want)
    {
        tokenizer *t = open_kind(kind);
        const json_t *cases = json_object_get(want, "fragments");
        for (size_t i = 0; i < json_array_size(cases); i++) {
            const json_t *f = json_array_get(fragments, i);
            token_list got = encode(t, json_string_value(f), json_string_length(f));
            compare_ids(json_array_get(cases, i), &got, json_string_value(f));
            token_list_free(&got);
        }
        token_list got = encode(t, text, n);
        compare_digest(json_object_get(want, "long"), &got, kind);
        ck_assert_uint_eq(tokenizer_vocab(t), (uint32_t)json_integer_value(json_object_get(want, "vocab")));
        token_list_free(&got);
        tokenizer_close(t);
    }
    free(text);
    json_decref(fragments);
    json_decref(expected);
}
END_TEST

START_TEST(decode__is_that_of_hugging_face_for_broken_text)
{
    json_t *expected = read_golden("expected.json");
    const char *kind;
    json_t *want;
    json_object_foreach(json_object_get(expected, "kinds"), kind, want)
    {
        tokenizer *t = open_kind(kind);
        uint32_t n = (uint32_t)json_integer_value(json_object_get(want, "model_vocab"));
        decode_scrambled(t, n, json_object_get(want, "decoded"), kind);
        tokenizer_close(t);
    }
    json_decref(expected);
}
END_TEST

START_TEST(encode__is_that_of_hugging_face_for_variants)
{
    json_t *expected = read_golden("expected.json"), *fragments = read_fragments(), *entry;
    size_t n, i;
    char *text = generate(fragments, SHORT_BYTES, 7, &n);
    json_array_foreach(json_object_get(expected, "variants"), i, entry)
    {
        char name[64];
        kvc_error err;
        tokenizer *t;
        snprintf(name, sizeof name, "%s.json", json_string_value(json_object_get(entry, "base")));
        json_t *json = read_golden(name);
        json_object_update(json, json_object_get(entry, "change"));
        char *changed = json_dumps(json, JSON_COMPACT),
             *what = json_dumps(json_object_get(entry, "change"), JSON_COMPACT);
        ck_assert_msg(tokenizer_open_memory(&t, changed, strlen(changed), what, &err) == KVC_OK, "%s", err.message);
        token_list got = encode(t, text, n);
        compare_digest(entry, &got, what);
        token_list_free(&got);
        tokenizer_close(t);
        free(changed);
        free(what);
        json_decref(json);
    }
    ck_assert_uint_gt(i, 30);
    free(text);
    json_decref(fragments);
    json_decref(expected);
}
END_TEST

/* Byte-level: what went in comes out, whatever it was, unless a normaliser changed it. */
START_TEST(decode__gives_the_text_back)
{
    static const char *const kinds[] = {"llama3", "smollm2"};
    json_t *fragments = read_fragments();
    size_t n, n_bytes;
    char *text = generate(fragments, SHORT_BYTES, 11, &n);
    for (size_t k = 0; k < 2; k++) {
        tokenizer *t = open_kind(kinds[k]);
        token_list got = encode(t, text, n);
        size_t at = 0;
        for (size_t i = 0; i < got.n; i++) {
            const char *bytes = tokenizer_bytes(t, got.ids[i], &n_bytes);
            ck_assert(at + n_bytes <= n && !memcmp(text + at, bytes, n_bytes));
            at += n_bytes;
        }
        ck_assert_uint_eq(at, n);
        token_list_free(&got);
        tokenizer_close(t);
    }
    free(text);
    json_decref(fragments);
}
END_TEST

CHECK_MAIN("tokenizer against Hugging Face", encode__is_that_of_hugging_face_for_four_kinds,
           decode__is_that_of_hugging_face_for_broken_text, encode__is_that_of_hugging_face_for_variants,
           decode__gives_the_text_back)
