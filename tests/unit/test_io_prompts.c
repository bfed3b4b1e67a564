#include "check_main.h"

#include "io_files.h"
#include "prompts.h"
#include "sha256.h"

static tokenizer *open_golden(const char *kind)
{
    char name[64];
    tokenizer *t;
    kvc_error err;
    snprintf(name, sizeof name, "golden/tokenizer/%s.json", kind);
    ck_assert_msg(tokenizer_open(&t, data_path(name), &err) == KVC_OK, "%s", err.message);
    return t;
}

static void check_read(prompt_file *out, const char *name, const char *text, const tokenizer *t, uint32_t vocab)
{
    kvc_error err;
    ck_assert_msg(prompts_read_memory(out, name, text, strlen(text), t, vocab, &err) == KVC_OK, "%s", err.message);
}

static void check_text(const prompt_file *f, const tokenizer *t, const char *want)
{
    char *text = tokenizer_decode(t, f->tokens.ids, f->tokens.n, false);
    ck_assert_str_eq(text, want);
    free(text);
}

START_TEST(prompts_read__takes_a_text_file_as_one_document)
{
    static const char text[] = "One line.\n\nAnd a second: \xe2\x82\xac 5.\n";
    tokenizer *t = open_golden("llama3");
    uint8_t hash[32];
    const char *path = scratch_path("notes.txt");
    char with_suffix[1100];
    snprintf(with_suffix, sizeof with_suffix, "%s.txt", path);
    write_bytes(with_suffix, text, sizeof text - 1);
    prompt_file f;
    kvc_error err;
    ck_assert_msg(prompts_read(&f, with_suffix, t, 100000, &err) == KVC_OK, "%s", err.message);
    remove(with_suffix);
    check_text(&f, t, text);
    sha256_bytes(text, sizeof text - 1, hash);
    ck_assert_mem_eq(f.sha256, hash, 32);
    ck_assert_int_eq(strncmp(f.name, "notes.txt-", 10), 0);
    prompt_file_free(&f);
    tokenizer_close(t);
}
END_TEST

START_TEST(prompts_read__opens_each_json_document_with_the_prefix)
{
    tokenizer *t = open_golden("llama3");
    prompt_file f;
    check_read(&f, "a/b.jsonl", "{\"text\": \"x\\u00e9\"}\n\n{\"text\": \"\"}\r\n{\"text\": \"two\", \"id\": 7}", t,
               100000);
    ck_assert_str_eq(f.name, "b.jsonl");
    check_text(&f, t, "<|begin_of_text|>x\xc3\xa9<|begin_of_text|>two");
    prompt_file_free(&f);
    tokenizer_close(t);
}
END_TEST

static const char CHAT[] = "{\"messages\": [{\"role\": \"user\", \"content\": \" Hi \"}, {\"role\": \"assistant\", "
                           "\"content\": \"Yes?\"}]}\n";

START_TEST(prompts_read__formats_chats_as_the_special_tokens_imply)
{
    static const char *const want[][2] = {
        {"llama3", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
                   "<|start_header_id|>assistant<|end_header_id|>\n\nYes?<|eot_id|>"},
        {"qwen2", "<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n"},
        {"gpt2", "user:  Hi \nassistant: Yes?\n"}};
    for (size_t i = 0; i < 3; i++) {
        tokenizer *t = open_golden(want[i][0]);
        prompt_file f;
        check_read(&f, "chat.jsonl", CHAT, t, 100000);
        check_text(&f, t, want[i][1]);
        prompt_file_free(&f);
        tokenizer_close(t);
    }
}
END_TEST

START_TEST(chat_format__opens_the_reply)
{
    static const char *const want[][2] = {
        {"llama3",
         "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"smollm2", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
        {"gpt2", "user: Hi\nassistant:"}};
    for (size_t i = 0; i < 3; i++) {
        tokenizer *t = open_golden(want[i][0]);
        char *text = chat_format(t, (const char *const[]){"user"}, (const char *const[]){"Hi"}, 1, true);
        ck_assert_str_eq(text, want[i][1]);
        free(text);
        tokenizer_close(t);
    }
}
END_TEST

START_TEST(prompts_read__takes_ids)
{
    tokenizer *t = open_golden("llama3");
    uint32_t bos = (uint32_t)tokenizer_prefix(t);
    char text[64];
    prompt_file f;
    snprintf(text, sizeof text, "7 8\t9\r\n\n  %u 5", bos);
    check_read(&f, "x.tokens", text, NULL, 100);
    ck_assert_uint_eq(f.tokens.n, 5);
    ck_assert_mem_eq(f.tokens.ids, ((const uint32_t[]){7, 8, 9, bos, 5}), 20);
    prompt_file_free(&f);
    check_read(&f, "x.tokens", text, t, 100); /* a prefix where there is none yet */
    ck_assert_uint_eq(f.tokens.n, 6);
    ck_assert_mem_eq(f.tokens.ids, ((const uint32_t[]){bos, 7, 8, 9, bos, 5}), 24);
    prompt_file_free(&f);
    tokenizer_close(t);
}
END_TEST

typedef struct bad_file {
    const char *name, *text;
    size_t n;
    kvc_status status;
    const char *message;
} bad_file;
#define BYTES(text) text, sizeof text - 1

static const bad_file bad_files[] = {
    {"d/a.txt", BYTES(""), KVC_FORMAT, "d/a.txt: is empty"},
    {"a.txt", BYTES("abc\0def\xff"), KVC_FORMAT, "a.txt: a NUL byte at offset 3: not a text file"},
    {"a.txt", BYTES("abcd\xff\0"), KVC_FORMAT, "a.txt: invalid UTF-8 at offset 4: not a text file"},
    {"a.jsonl", BYTES("{\"text\":\"x\"}\n\x80"), KVC_FORMAT, "a.jsonl: invalid UTF-8 at offset 13: not a text file"},
    {"a.tokens", BYTES("1 2\0"), KVC_FORMAT, "a.tokens: a NUL byte at offset 3: not a text file"},
    {"a.pdf", BYTES("abc"), KVC_UNSUPPORTED,
     "a.pdf: the suffix '.pdf' is not supported (.txt, .jsonl and .tokens are)"},
    {"d.txt/a", BYTES("abc"), KVC_UNSUPPORTED, "d.txt/a: the suffix '' is not supported"},
    {"a.jsonl", BYTES("\n \n"), KVC_FORMAT, "a.jsonl: holds no text"},
    {"a.jsonl", BYTES("{\"text\":\"\"}\n"), KVC_FORMAT, "a.jsonl: holds no text"},
    {"a.jsonl", BYTES("{\"text\":\"x\"}\n{\"text\":"), KVC_FORMAT, "a.jsonl:2: JSON"},
    {"a.jsonl", BYTES("{\"text\":\"x\"}\n[]"), KVC_FORMAT, "a.jsonl:2: needs either \"text\" or \"messages\""},
    {"a.jsonl", BYTES("{\"text\":\"x\",\"messages\":[]}"), KVC_FORMAT, "a.jsonl:1: needs either"},
    {"a.jsonl", BYTES("\n{\"text\":7}"), KVC_FORMAT, "a.jsonl:2: \"text\" is not a string"},
    {"a.jsonl", BYTES("{\"messages\":[]}"), KVC_FORMAT, "a.jsonl:1: \"messages\" is not a list"},
    {"a.jsonl", BYTES("{\"messages\":{\"role\":\"x\"}}"), KVC_FORMAT, "a.jsonl:1: \"messages\" is not a list"},
    {"a.jsonl", BYTES("{\"messages\":[{\"role\":\"user\"}]}"), KVC_FORMAT, "a.jsonl:1: a message needs"},
    {"a.jsonl", BYTES("{\"messages\":[{\"role\":\"user\",\"content\":[]}]}"), KVC_FORMAT,
     "a.jsonl:1: a message needs"},
    {"a.tokens", BYTES("1 2\n3 x4 5"), KVC_FORMAT, "a.tokens:2: 'x4' is not a token id"},
    {"a.tokens", BYTES("1 -2"), KVC_FORMAT, "a.tokens:1: '-2' is not a token id"},
    {"a.tokens", BYTES("1 2\n\n3 4000 5"), KVC_FORMAT,
     "a.tokens:3: token id 4000 is out of range (the vocabulary has 4000"},
    {"a.tokens", BYTES("99999999999999999999999"), KVC_FORMAT,
     "a.tokens:1: token id 99999999999999999999999 is out of range"},
    {"a.tokens", BYTES(" \n"), KVC_FORMAT, "a.tokens: holds no text"},
};

START_TEST(prompts_read__names_file_and_place_of_what_it_refuses)
{
    tokenizer *t = open_golden("smollm2");
    for (size_t i = 0; i < sizeof bad_files / sizeof *bad_files; i++) {
        const bad_file *b = &bad_files[i];
        prompt_file f;
        kvc_error err = {""};
        ck_assert_msg(prompts_read_memory(&f, b->name, b->text, b->n, t, 4000, &err) == b->status, "%s", b->message);
        ck_assert_msg(strstr(err.message, b->message) == err.message, "'%s', not '%s'", err.message, b->message);
        ck_assert_ptr_null(f.tokens.ids);
    }
    tokenizer_close(t);
}
END_TEST

START_TEST(prompts_read__needs_a_tokenizer_that_fits_the_model)
{
    tokenizer *t = open_golden("smollm2");
    prompt_file f;
    kvc_error err;
    ck_assert_int_eq(prompts_read_memory(&f, "a.txt", "abc", 3, NULL, 100, &err), KVC_INVALID);
    ck_assert_str_eq(err.message, "a.txt: text needs the model's tokenizer.json (.tokens does not)");
    ck_assert_int_eq(prompts_read_memory(&f, "a.txt", "abc", 3, t, 5, &err), KVC_MISMATCH);
    ck_assert_int_eq(prompts_read(&f, "/nonexistent/a.txt", t, 5, &err), KVC_INPUT);
    tokenizer_close(t);
}
END_TEST

/* ---- sequences ----------------------------------------------------------------------------------------------- */

static prompt_file counting(uint32_t first, size_t n)
{
    prompt_file f = {.name = "counted"};
    for (size_t i = 0; i < n; i++) ck_assert_int_eq(token_list_push(&f.tokens, first + (uint32_t)i, NULL), KVC_OK);
    return f;
}

static void check_set(const sequence_set *s, size_t n, const size_t *first, const uint32_t *ids)
{
    ck_assert_uint_eq(s->n, n);
    ck_assert_mem_eq(s->first, first, (n + 1) * sizeof *first);
    ck_assert_mem_eq(s->ids, ids, first[n] * sizeof *ids);
}

START_TEST(sequences_cut__counts_the_prefix_and_keeps_a_partial_sequence)
{
    prompt_file f = counting(10, 7);
    sequence_set s;
    ck_assert_int_eq(sequences_cut(&s, &f, 3, 4, -1, 0, NULL), KVC_OK);
    check_set(&s, 2, (const size_t[]){0, 4, 7}, (const uint32_t[]){10, 11, 12, 13, 14, 15, 16});
    ck_assert(s.file[0] == 3 && s.file[1] == 3 && sequences_longest(&s) == 4);
    sequences_free(&s);
    ck_assert_int_eq(sequences_cut(&s, &f, 0, 4, 1, 0, NULL), KVC_OK);
    check_set(&s, 3, (const size_t[]){0, 4, 8, 10}, (const uint32_t[]){1, 10, 11, 12, 1, 13, 14, 15, 1, 16});
    sequences_free(&s);
    ck_assert_int_eq(sequences_cut(&s, &f, 0, 6, -1, 0, NULL), KVC_OK); /* one token is left over and dropped */
    check_set(&s, 1, (const size_t[]){0, 6}, (const uint32_t[]){10, 11, 12, 13, 14, 15});
    sequences_free(&s);
    ck_assert_int_eq(sequences_cut(&s, &f, 0, 4, 10, 0, NULL), KVC_OK); /* the text has its own prefix at first */
    check_set(&s, 2, (const size_t[]){0, 4, 8}, (const uint32_t[]){10, 11, 12, 13, 10, 14, 15, 16});
    sequences_free(&s);
    prompt_file_free(&f);
}
END_TEST

START_TEST(sequences_cut__stops_at_the_limit)
{
    prompt_file f = counting(10, 100);
    sequence_set s;
    kvc_error err;
    static const struct {
        uint64_t limit;
        size_t n, tokens;
    } cases[] = {{1, 0, 0}, {2, 1, 2}, {8, 1, 8}, {9, 1, 8}, {10, 2, 10}, {24, 3, 24}, {1u << 30, 15, 115}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(sequences_cut(&s, &f, 0, 8, 1, cases[i].limit, NULL), KVC_OK);
        ck_assert_uint_eq(s.n, cases[i].n);
        ck_assert_uint_eq(sequences_tokens(&s), cases[i].tokens);
        sequences_free(&s);
    }
    ck_assert_int_eq(sequences_cut(&s, &f, 0, 1, -1, 0, &err), KVC_INVALID);
    prompt_file_free(&f);
}
END_TEST

START_TEST(sequences_mix__takes_turns)
{
    prompt_file files[2] = {counting(10, 5), counting(50, 2)};
    sequence_set s, part;
    kvc_error err;
    uint8_t hash[2][32];
    ck_assert_int_eq(sequences_mix(&s, files, 2, 2, -1, NULL), KVC_OK);
    check_set(&s, 3, (const size_t[]){0, 2, 4, 6}, (const uint32_t[]){10, 11, 50, 51, 12, 13});
    ck_assert(s.file[0] == 0 && s.file[1] == 1 && s.file[2] == 0);
    ck_assert_int_eq(sequences_slice(&part, &s, 1, 3, NULL), KVC_OK);
    check_set(&part, 2, (const size_t[]){0, 2, 4}, (const uint32_t[]){50, 51, 12, 13});
    ck_assert(part.file[0] == 1 && part.file[1] == 0);
    ck_assert_uint_eq(sequences_files(&part), 2);
    ck_assert_uint_eq(sequences_files(&(sequence_set){0}), 0);
    sequences_sha256(&part, hash[0]);
    sequences_free(&part);
    ck_assert_int_eq(sequences_slice(&part, &s, 1, 3, NULL), KVC_OK);
    sequences_sha256(&part, hash[1]);
    ck_assert_mem_eq(hash[0], hash[1], 32);
    part.ids[3]++;
    sequences_sha256(&part, hash[1]);
    ck_assert_mem_ne(hash[0], hash[1], 32);
    part.ids[3]--;
    part.first[1]++;
    sequences_sha256(&part, hash[1]);
    ck_assert_mem_ne(hash[0], hash[1], 32);
    part.first[1]--;
    part.file[1]++;
    sequences_sha256(&part, hash[1]);
    ck_assert_mem_ne(hash[0], hash[1], 32);
    sequences_free(&part);
    ck_assert_int_eq(sequences_slice(&part, &s, 2, 4, &err), KVC_INVALID);
    sequences_free(&s);
    prompt_file_free(&files[0]);
    prompt_file_free(&files[1]);
}
END_TEST

/* ---- the built-in set ---------------------------------------------------------------------------------------- */

START_TEST(builtin_prompts__can_all_be_read)
{
    tokenizer *t = open_golden("smollm2");
    size_t n, bytes = 0;
    const builtin_prompt *all = builtin_prompts(&n);
    ck_assert_uint_ge(n, 6);
    for (size_t i = 0; i < n; i++) {
        prompt_file f;
        kvc_error err;
        ck_assert_msg(prompts_read_memory(&f, all[i].name, all[i].text, all[i].n, t, 100000, &err) == KVC_OK, "%s",
                      err.message);
        ck_assert(i == 0 || strcmp(all[i - 1].name, all[i].name) < 0);
        bytes += all[i].n;
        prompt_file_free(&f);
    }
    ck_assert_uint_ge(bytes, 60000);
    ck_assert_uint_le(bytes, 100000);
    tokenizer_close(t);
}
END_TEST

CHECK_MAIN("prompts", prompts_read__takes_a_text_file_as_one_document,
           prompts_read__opens_each_json_document_with_the_prefix,
           prompts_read__formats_chats_as_the_special_tokens_imply, chat_format__opens_the_reply,
           prompts_read__takes_ids, prompts_read__names_file_and_place_of_what_it_refuses,
           prompts_read__needs_a_tokenizer_that_fits_the_model,
           sequences_cut__counts_the_prefix_and_keeps_a_partial_sequence, sequences_cut__stops_at_the_limit,
           sequences_mix__takes_turns, builtin_prompts__can_all_be_read)
