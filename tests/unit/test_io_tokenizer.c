/* What a tokenizer.json may not hold, each refused by its field, and what the rest of tokenizer.h promises. */
#include "check_main.h"

#include <pthread.h>
#include <string.h>
#include "json.h"
#include "tokenizer.h"

static const char BASE[] =
    "{\"version\":\"1.0\",\"truncation\":{\"max_length\":1},\"padding\":null,\"added_tokens\":[{\"id\":5,\"content\":"
    "\"<s>\","
    "\"special\":true,\"normalized\":false}],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false},\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":"
    "\"BPE\","
    "\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"\\u0120\":3,\"\\u0120ab\":4,\"\\u00c3\":6},\"merges\":[\"a b\",\"\\u0120 "
    "ab\"]}}";

/* BASE with the member `path` ("model.vocab", "decoder") set to a JSON value. */
static kvc_status open_changed(tokenizer **out, const char *path, const char *value, kvc_error *err)
{
    json_t *root = json_loads(BASE, 0, NULL), *new_value = json_loads(value, JSON_DECODE_ANY, NULL);
    const char *dot = strchr(path, '.');
    ck_assert_ptr_nonnull(root);
    ck_assert_msg(new_value != NULL, "%s", value);
    json_object_set_new(dot ? json_object_get(root, "model") : root, dot ? dot + 1 : path, new_value);
    char *text = json_dumps(root, 0);
    kvc_status status = tokenizer_open_memory(out, text, strlen(text), "t.json", err);
    free(text);
    json_decref(root);
    return status;
}

static tokenizer *open_good(const char *path, const char *value)
{
    tokenizer *t;
    kvc_error err;
    ck_assert_msg(open_changed(&t, path, value, &err) == KVC_OK, "%s", err.message);
    return t;
}

typedef struct bad_case {
    const char *path, *value, *message; /* the message contains this */
} bad_case;

#define ADDED(fields) "[{" fields "}]"
#define SPLIT(pattern)                                                                                               \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{"          \
    "\"Regex\":\"" pattern "\"}},{\"type\":\"ByteLevel\"}]}"
#define TEMPLATE(single, ids)                                                                                        \
    "{\"type\":\"TemplateProcessing\",\"single\":[" single                                                           \
    "],\"special_tokens\":{\"<s>\":{\"id\":\"<s>\",\"ids\":" ids "}}}"
#define BOS "{\"SpecialToken\":{\"id\":\"<s>\",\"type_id\":0}}"
#define TEXT "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"

static const bad_case bad_cases[] = {
    {"version", "\"2.0\"", "t.json: version: is not \"1.0\""},
    {"model", "null", "model: is not an object"},
    {"model", "[]", "model: is not an object"},
    {"model.type", "\"Unigram\"", "model.type: Unigram is not supported"},
    {"model.type", "7", "model.type: is not a string"},
    {"model.dropout", "0.1", "model.dropout: is not supported"},
    {"model.byte_fallback", "true", "model.byte_fallback: is not supported"},
    {"model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix: is not supported"},
    {"model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix: is not supported"},
    {"model.unk_token", "\"<unk>\"", "model.unk_token: is not supported"},
    {"model.ignore_merges", "1", "model.ignore_merges: is not true or false"},
    {"model.surprise", "1", "model: the option 'surprise' is not supported"},
    {"model.vocab", "null", "model.vocab: is not an object"},
    {"model.vocab", "{}", "model.vocab: is empty"},
    {"model.vocab", "{\"a\":-1}", "model.vocab[\"a\"]: -1 is out of range"},
    {"model.vocab", "{\"a\":4294967296}", "model.vocab[\"a\"]: 4294967296 is out of range"},
    {"model.vocab", "{\"a\":900000}", "model.vocab[\"a\"]: 900000 is out of range"},
    {"model.vocab", "{\"a\":0.5}", "model.vocab[\"a\"]: is not an integer"},
    {"model.vocab", "{\"a\":0,\"b\\n\":0}", "model.vocab[\"b?\"]: id 0 is also that of 'a'"},
    {"model.merges", "null", "model.merges: is not an array"},
    {"model.merges", "[\"a b\",\"a x\"]", "model.merges[1]: 'x' is not in the vocabulary"},
    {"model.merges", "[\"b a\"]", "model.merges[0]: 'ba' is not in the vocabulary"},
    {"model.merges", "[\"<s> a\"]", "model.merges[0]: '<s>' is not in the vocabulary"},
    {"model.merges", "[\"a b b\"]", "model.merges[0]: is neither"},
    {"model.merges", "[[\"a\"]]", "model.merges[0]: is neither"},
    {"model.merges", "[[\"a\",3]]", "model.merges[0]: is neither"},
    {"normalizer", "{\"type\":\"Prepend\",\"prepend\":\"_\"}", "normalizer: the option 'prepend' is not supported"},
    {"normalizer", "{\"type\":\"Lowercase\"}", "normalizer: Lowercase is not supported"},
    {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"StripAccents\"}]}",
     "normalizer.normalizers[1]: StripAccents is not supported"},
    {"normalizer", "\"NFC\"", "normalizer: is not an object"},
    {"pre_tokenizer", "null", "pre_tokenizer: null is not supported"},
    {"pre_tokenizer", "{\"type\":\"Whitespace\"}", "pre_tokenizer: Whitespace is not supported"},
    {"pre_tokenizer", "{\"type\":\"Digits\"}", "pre_tokenizer: has no ByteLevel"},
    {"pre_tokenizer", "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]}",
     "pre_tokenizer.pretokenizers[1]: Digits after ByteLevel is not supported"},
    {"pre_tokenizer", "{\"type\":\"ByteLevel\",\"use_regex\":\"yes\"}",
     "pre_tokenizer.use_regex: is not true or false"},
    {"pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Isolated\"}",
     "pre_tokenizer.pattern.String: is empty"},
    {"pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}",
     "needs either 'Regex' or 'String'"},
    {"pre_tokenizer", "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Often\"}",
     "pre_tokenizer.behavior: Often is not supported"},
    {"pre_tokenizer", SPLIT("a("), "pretokenizers[0].pattern.Regex: the regular expression has a ( without its )"},
    {"pre_tokenizer", SPLIT("a)"), "a ) too many at offset 1"},
    {"pre_tokenizer", SPLIT("[a"), "a class without its ] at offset 0"},
    {"pre_tokenizer", SPLIT("[a[b]]"), "a class in a class at offset 2"},
    {"pre_tokenizer", SPLIT("[a&&b]"), "an intersection of classes"},
    {"pre_tokenizer", SPLIT("[z-a]"), "does not compile"},
    {"pre_tokenizer", SPLIT("x\\\\b"), "an unknown escape at offset 1"},
    {"pre_tokenizer", SPLIT("(a)\\\\1"), "an unknown escape at offset 3"},
    {"pre_tokenizer", SPLIT("(?i)a"), "an unknown group at offset 0"},
    {"pre_tokenizer", SPLIT("(*FAIL)"), "an unknown group at offset 0"},
    {"pre_tokenizer", SPLIT("(?i:\\\\p{L})"), "a property under (?i: at offset 4"},
    {"pre_tokenizer", SPLIT("\\\\p{Nope}"), "does not compile"},
    {"pre_tokenizer", SPLIT("\\\\pL"), "a property without braces"},
    {"pre_tokenizer", SPLIT("*"), "a quantifier with nothing to repeat"},
    {"pre_tokenizer", SPLIT("a**"), "a quantifier with nothing to repeat at offset 2"},
    {"pre_tokenizer", SPLIT("a{,3}"), "a { that is no quantifier"},
    {"pre_tokenizer", SPLIT("a{2}+"), "an interval with a suffix"},
    {"pre_tokenizer", SPLIT("a{99999}"), "does not compile"},
    {"pre_tokenizer", SPLIT("\\\\x{110000}"), "a bad code point"},
    {"pre_tokenizer", SPLIT("\\\\xe4"), "a bad code point"},
    {"pre_tokenizer", SPLIT(""), "is empty"},
    {"post_processor", "{\"type\":\"BertProcessing\"}", "post_processor: BertProcessing is not supported"},
    {"post_processor", TEMPLATE(BOS "," TEXT "," BOS, "[5]"), "single[2]: something after the sequence"},
    {"post_processor", TEMPLATE(BOS "," BOS "," TEXT, "[5]"), "is a second token before the sequence"},
    {"post_processor", TEMPLATE(BOS, "[5]"), "single: has no 'Sequence'"},
    {"post_processor", TEMPLATE(BOS "," TEXT, "[5,5]"), "holds 2 ids"},
    {"post_processor", TEMPLATE(BOS "," TEXT, "[77]"), "special_tokens[\"<s>\"].ids[0]: 77 is out of range"},
    {"decoder", "null", "decoder: null is not supported"},
    {"decoder", "{\"type\":\"WordPiece\"}", "decoder: WordPiece is not supported"},
    {"decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Fuse\"}]}",
     "holds 2 decoders"},
    {"added_tokens", "{}", "added_tokens: is not an array"},
    {"added_tokens", "[7]", "added_tokens[0]: is not an object"},
    {"added_tokens", ADDED("\"id\":7"), "added_tokens[0].content: is missing"},
    {"added_tokens", ADDED("\"content\":\"x\""), "added_tokens[0].id: is missing"},
    {"added_tokens", ADDED("\"id\":7,\"content\":\"\""), "added_tokens[0].content: is empty"},
    {"added_tokens", ADDED("\"id\":4294967295,\"content\":\"x\""), "added_tokens[0].id: 4294967295 is out of range"},
    {"added_tokens", ADDED("\"id\":7,\"content\":\"a\""), "added_tokens[0].id: 7, but the vocabulary says 0"},
    {"added_tokens", ADDED("\"id\":2,\"content\":\"x\""), "added_tokens[0].id: id 2 is also that of 'ab'"},
    {"added_tokens", ADDED("\"id\":7,\"content\":\"x\"},{\"id\":8,\"content\":\"x\""),
     "[1].content: 'x' is added twice"},
    {"added_tokens", ADDED("\"id\":7,\"content\":\"x\",\"odd\":true"), "added_tokens[0]: the option 'odd'"},
    {"added_tokens", ADDED("\"id\":7,\"content\":\"x\",\"lstrip\":3"),
     "added_tokens[0].lstrip: is not true or false"},
};

START_TEST(tokenizer_open__names_the_field_it_refuses)
{
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++) {
        const bad_case *c = &bad_cases[i];
        tokenizer *t;
        kvc_error err = {""};
        kvc_status status = open_changed(&t, c->path, c->value, &err);
        ck_assert_msg(status == KVC_FORMAT || status == KVC_UNSUPPORTED, "%s = %s: status %d", c->path, c->value,
                      status);
        ck_assert_ptr_null(t);
        ck_assert_msg(strstr(err.message, c->message) != NULL, "%s = %s: '%s'", c->path, c->value, err.message);
        ck_assert_msg(!strncmp(err.message, "t.json: ", 8) && !strchr(err.message, '\n'), "'%s'", err.message);
    }
}
END_TEST

START_TEST(tokenizer_open__survives_depth_and_size)
{
    size_t n = 100000;
    char *text = malloc(n + 1);
    tokenizer *t;
    kvc_error err;
    memset(text, '[', n);
    ck_assert_int_eq(tokenizer_open_memory(&t, text, n, "t.json", &err), KVC_FORMAT);
    memset(text, 'a', n);
    memcpy(text, "{\"type\":\"Split\",\"behavior\":\"Isolated\",\"pattern\":{\"Regex\":\"", 58);
    memcpy(text + 40000, "\"}}", 4);
    ck_assert_int_eq(open_changed(&t, "pre_tokenizer", text, &err), KVC_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "bytes, the limit is 16384"));
    free(text);
    ck_assert_int_eq(tokenizer_open(&t, "/nonexistent/tokenizer.json", &err), KVC_INPUT);
    ck_assert_ptr_null(t);
}
END_TEST

static void expect_ids(const tokenizer *t, const char *text, size_t n_ids, const uint32_t *ids)
{
    token_list got = {0};
    kvc_error err;
    ck_assert_msg(tokenizer_encode(t, text, strlen(text), &got, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(got.n == n_ids, "'%s': %zu tokens", text, got.n);
    for (size_t i = 0; i < n_ids; i++) ck_assert_msg(got.ids[i] == ids[i], "'%s': token %zu", text, i);
    token_list_free(&got);
}

START_TEST(tokenizer_encode__merges_by_rank_and_finds_added_tokens)
{
    tokenizer *t = open_good("padding", "{\"direction\":\"Right\"}"); /* not applied */
    expect_ids(t, "", 0, NULL);
    expect_ids(t, "ab ab", 2, (const uint32_t[]){2, 4});
    expect_ids(t, "abaab", 3, (const uint32_t[]){2, 0, 2});
    expect_ids(t, "a<s>b<s", 3, (const uint32_t[]){0, 5, 1}); /* bytes without a token are dropped */
    ck_assert_int_eq(tokenizer_prefix(t), -1);
    tokenizer_close(t);
    t = open_good("model.merges", "[[\"\\u0120\",\"ab\"],\"#version: 0.2\",[\"a\",\"b\"],[\"a\",\"b\"]]");
    expect_ids(t, " ab", 1, (const uint32_t[]){4});
    tokenizer_close(t);
    t = open_good("model.ignore_merges", "true");
    expect_ids(t, " ab", 1, (const uint32_t[]){4});
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_prefix__comes_from_the_template)
{
    tokenizer *t = open_good("post_processor", TEMPLATE(BOS "," TEXT, "[5]"));
    ck_assert_int_eq(tokenizer_prefix(t), 5);
    expect_ids(t, "ab", 1, (const uint32_t[]){2});
    tokenizer_close(t);
    t = open_good("post_processor", TEMPLATE(TEXT, "[5]"));
    ck_assert_int_eq(tokenizer_prefix(t), -1);
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_lookups__know_text_id_and_bytes)
{
    tokenizer *t = open_good("padding", "null");
    size_t n;
    ck_assert_uint_eq(tokenizer_vocab(t), 7);
    ck_assert_int_eq(tokenizer_find(t, "<s>"), 5);
    ck_assert_int_eq(tokenizer_find(t, "ab"), 2);
    ck_assert_int_eq(tokenizer_find(t, "ba"), -1);
    ck_assert(tokenizer_is_special(t, 5) && !tokenizer_is_special(t, 2) && !tokenizer_is_special(t, 4000000000u));
    ck_assert_mem_eq(tokenizer_bytes(t, 4, &n), " ab", 3);
    ck_assert_uint_eq(n, 3);
    tokenizer_bytes(t, 7, &n);
    ck_assert_uint_eq(n, 0);
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_decode__replaces_what_is_no_utf8)
{
    tokenizer *t = open_good("padding", "null");
    char *text = tokenizer_decode(t, (const uint32_t[]){5, 2, 6, 4, 99, 6}, 6, false);
    ck_assert_str_eq(text, "<s>ab\xef\xbf\xbd ab\xef\xbf\xbd");
    free(text);
    text = tokenizer_decode(t, (const uint32_t[]){5, 2}, 2, true);
    ck_assert_str_eq(text, "ab");
    free(text);
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_encode__names_the_offset_of_invalid_utf8)
{
    static const char *const bad[] = {"ab\xff",    "ab\xc3", "ab\xed\xa0\x80", "ab\xc0\x80", "ab\xf4\x90\x80\x80",
                                      "ab\xe2\x82"};
    tokenizer *t = open_good("padding", "null");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        token_list got = {0};
        kvc_error err;
        ck_assert_int_eq(tokenizer_encode(t, bad[i], strlen(bad[i]), &got, &err), KVC_FORMAT);
        ck_assert_str_eq(err.message, "invalid UTF-8 at byte 2");
        token_list_free(&got);
    }
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_encode__gives_up_on_a_pattern_that_explodes)
{
    tokenizer *t = open_good("pre_tokenizer", SPLIT("(?:a+)+[xy]"));
    token_list got = {0};
    kvc_error err;
    char text[64];
    memset(text, 'a', sizeof text);
    ck_assert_int_eq(tokenizer_encode(t, text, sizeof text, &got, &err), KVC_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(err.message, "a pattern gave up on a piece of 64 bytes"));
    token_list_free(&got);
    tokenizer_close(t);
}
END_TEST

START_TEST(tokenizer_encode__takes_a_megabyte_without_a_cut)
{
    tokenizer *t = open_good("padding", "null");
    size_t n = 1 << 20;
    char *text = malloc(n);
    for (size_t i = 0; i < n; i++) text[i] = "ab"[i & 1];
    token_list got = {0};
    kvc_error err;
    ck_assert_int_eq(tokenizer_encode(t, text, n, &got, &err), KVC_OK);
    ck_assert_uint_eq(got.n, n / 2);
    ck_assert(got.ids[0] == 2 && got.ids[n / 2 - 1] == 2);
    token_list_free(&got);
    free(text);
    tokenizer_close(t);
}
END_TEST

static void *encode_often(void *argument)
{
    const tokenizer *t = argument;
    for (int i = 0; i < 200; i++) {
        token_list got = {0};
        if (tokenizer_encode(t, "ab ab abab", 10, &got, NULL) != KVC_OK || got.n != 4) return argument;
        token_list_free(&got);
    }
    return NULL;
}

START_TEST(tokenizer_encode__serves_several_threads)
{
    tokenizer *t = open_good("padding", "null");
    pthread_t threads[4];
    void *failed;
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, encode_often, t), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &failed);
        ck_assert_ptr_null(failed);
    }
    tokenizer_close(t);
}
END_TEST

CHECK_MAIN("tokenizer", tokenizer_open__names_the_field_it_refuses, tokenizer_open__survives_depth_and_size,
           tokenizer_encode__merges_by_rank_and_finds_added_tokens, tokenizer_prefix__comes_from_the_template,
           tokenizer_lookups__know_text_id_and_bytes, tokenizer_decode__replaces_what_is_no_utf8,
           tokenizer_encode__names_the_offset_of_invalid_utf8, tokenizer_encode__gives_up_on_a_pattern_that_explodes,
           tokenizer_encode__takes_a_megabyte_without_a_cut, tokenizer_encode__serves_several_threads)
