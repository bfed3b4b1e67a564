/* Golden files: tests/golden/gguf (made by the reference implementation), tests/fuzz/corpus/gguf (named for what is
 * wrong with them). */
#include "check_main.h"
#include "gguf.h"
#include "gguf_private.h"
#include "io_files.h"
#include "json.h"
#include "output.h"

static char *load(const char *name, size_t *n)
{
    char *bytes;
    kvc_error err = {0};
    ck_assert_msg(input_read(&bytes, n, data_path(name), 1 << 20, &err) == KVC_OK, "%s", err.message);
    return bytes;
}

START_TEST(dequantise__is_bit_equal_to_the_reference)
{
    static const uint32_t ids[] = {1, 2, 3, 6, 7, 8, 12, 13, 14, 30};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        const gguf_type *type = gguf_type_find(ids[i]);
        char name[64];
        size_t bytes;
        ck_assert_ptr_nonnull(type);
        ck_assert_str_eq(type->name, gguf_type_name(ids[i]));
        snprintf(name, sizeof name, "golden/gguf/%s.bin", type->name);
        char *golden = load(name, &bytes);
        size_t per_block = type->bytes + 4 * type->values;
        ck_assert_uint_eq(bytes % per_block, 0);
        size_t blocks = bytes / per_block, n = blocks * type->values;
        ck_assert_uint_gt(blocks, 0);
        float *values = malloc(4 * n);
        gguf_dequantise(type, (const uint8_t *)golden, n, values);
        const char *expected = golden + blocks * type->bytes;
        for (size_t k = 0; k < n; k++) {
            float want;
            memcpy(&want, expected + 4 * k, 4);
            ck_assert_msg(!memcmp(&want, &values[k], 4), "%s value %zu: %a, expected %a", type->name, k, values[k],
                          want);
        }
        free(values);
        free(golden);
    }
    ck_assert_ptr_null(gguf_type_find(10));
    ck_assert_str_eq(gguf_type_name(10), "Q2_K");
    ck_assert_str_eq(gguf_type_name(4000000000u), "unknown");
}
END_TEST

static const struct {
    const char *name;
    kvc_status status;
    const char *fragment;
} corpus[] = {
    {"good", KVC_OK, ""},
    {"good_v2", KVC_OK, ""},
    {"good_aligned64", KVC_OK, ""},
    {"good_bos", KVC_OK, ""},
    {"magic", KVC_FORMAT, "no GGUF file"},
    {"big_endian", KVC_UNSUPPORTED, "big-endian"},
    {"version_1", KVC_UNSUPPORTED, "version 1 "},
    {"counts_huge", KVC_FORMAT, "offset 24: more entries"},
    {"counts_short", KVC_FORMAT, "offset "},
    {"alignment_odd", KVC_FORMAT, "general.alignment: 24"},
    {"array_nested", KVC_FORMAT, "arrays of arrays"},
    {"kind_unknown", KVC_FORMAT, "unknown type of a metadata value"},
    {"string_huge", KVC_FORMAT, "truncated?"},
    {"key_twice", KVC_FORMAT, "'llama.block_count' is there twice"},
    {"key_missing", KVC_FORMAT, "'llama.block_count': is missing"},
    {"key_mistyped", KVC_FORMAT, "'llama.block_count': is no single whole number"},
    {"layers_huge", KVC_FORMAT, "more layers than tensors"},
    {"kv_heads", KVC_FORMAT, "'llama.attention.head_count_kv': does not divide"},
    {"architecture_bert", KVC_UNSUPPORTED, "architecture 'bert'"},
    {"experts", KVC_UNSUPPORTED, "llama.expert_count"},
    {"scaling_yarn", KVC_UNSUPPORTED, "'yarn'"},
    {"rope_freqs", KVC_UNSUPPORTED, "not the scaling of Llama 3.1"},
    {"rope_freqs_size", KVC_FORMAT, "'rope_freqs.weight' is not F32 [1]"},
    {"tokenizer_llama", KVC_UNSUPPORTED, "tokenizer.ggml.model 'llama'"},
    {"pre_unknown", KVC_UNSUPPORTED, "tokenizer.ggml.pre 'klingon'"},
    {"pre_missing", KVC_FORMAT, "'tokenizer.ggml.pre': is missing"},
    {"tokens_twice", KVC_FORMAT, "token 2 is there twice"},
    {"tokens_not_utf8", KVC_FORMAT, "token 1 is no UTF-8"},
    {"tokens_many", KVC_FORMAT, "5 tokens for 4 rows"},
    {"types_few", KVC_FORMAT, "1 entries for 4 tokens"},
    {"merge_unknown", KVC_FORMAT, "'tokenizer.ggml.merges': entry 0"},
    {"merge_single", KVC_FORMAT, "'tokenizer.ggml.merges': entry 0"},
    {"bos_out_of_range", KVC_FORMAT, "'tokenizer.ggml.bos_token_id'"},
    {"type_q2_k", KVC_UNSUPPORTED, "'blk.0.attn_q.weight': type Q2_K (10)"},
    {"type_unknown", KVC_UNSUPPORTED, "type unknown (999)"},
    {"type_block", KVC_FORMAT, "rows of 4 values are no whole blocks of Q8_0"},
    {"tensor_extra", KVC_UNSUPPORTED, "'blk.0.ffn_gate_inp.weight'"},
    {"tensor_size", KVC_FORMAT, "'blk.0.attn_q.weight' has 3 x 4 values, expected 4 x 4"},
    {"tensor_missing", KVC_FORMAT, "no tensor 'blk.0.ffn_up.weight'"},
    {"rank_5", KVC_UNSUPPORTED, "rank 5"},
    {"size_overflow", KVC_FORMAT, "'x': impossible size"},
    {"offset_unaligned", KVC_FORMAT, "'output_norm.weight': data at offset 68 is not aligned"},
    {"offset_overlap", KVC_FORMAT, "overlaps"},
    {"offset_past_end", KVC_FORMAT, "past the end"},
    {"data_truncated", KVC_FORMAT, "past the end"},
};

START_TEST(check__accepts_and_refuses_the_corpus)
{
    for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) {
        char name[64];
        size_t n;
        kvc_error err = {0};
        snprintf(name, sizeof name, "fuzz/corpus/gguf/%s", corpus[i].name);
        char *bytes = load(name, &n);
        kvc_status status = gguf_check_memory(bytes, n, &err);
        ck_assert_msg(status == corpus[i].status, "%s: %d %s", corpus[i].name, status, err.message);
        if (status != KVC_OK) assert_failed(status, corpus[i].status, &err, corpus[i].fragment);
        free(bytes);
    }
}
END_TEST

START_TEST(check__refuses_every_truncation)
{
    size_t n;
    char *good = load("fuzz/corpus/gguf/good", &n);
    for (size_t length = 0; length < n; length++) {
        kvc_error err = {0};
        char *cut = malloc(length + 1); /* of its own, so that a sanitizer sees a read past the end */
        memcpy(cut, good, length);
        kvc_status status = gguf_check_memory(cut, length, &err);
        free(cut);
        if (n - length < 32 - 4) continue; /* padding behind the last tensor */
        ck_assert_msg(status == KVC_FORMAT && err.message[0], "%zu of %zu bytes: %d", length, n, status);
    }
    free(good);
}
END_TEST

START_TEST(check__survives_every_changed_byte)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    size_t n;
    int refused = 0;
    char *bytes = load("fuzz/corpus/gguf/good", &n);
    for (size_t at = 0; at < n; at++)
        for (int c = 0; c < 3; c++) {
            kvc_error err = {0};
            bytes[at] = (char)(bytes[at] ^ changes[c]);
            if (gguf_check_memory(bytes, n, &err) != KVC_OK) refused++, ck_assert(err.message[0]);
            bytes[at] = (char)(bytes[at] ^ changes[c]);
        }
    ck_assert_int_gt(refused, (int)n); /* most bytes of the header matter */
    free(bytes);
}
END_TEST

static const char *folder_of_import(void)
{
    return scratch_path("imported");
}

static const char *inside(const char *folder, const char *name)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void remove_import(const char *folder)
{
    static const char *const names[] = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json",
                                        "generation_config.json"};
    for (int i = 0; i < 5; i++) unlink(inside(folder, names[i]));
    ck_assert_msg(rmdir(folder) == 0, "%s holds something else, too", folder);
}

/* Names, shapes and values are those of the model before it was made into GGUF. */
static void compare_weights(const weights *w, const weights *expected, kvc_dtype dtype)
{
    ck_assert_uint_eq(weights_count(w), weights_count(expected));
    for (size_t i = 0; i < weights_count(expected); i++) {
        const tensor *want = weights_at(expected, i), *t;
        float got[64], values[64];
        kvc_error err = {0};
        kvc_status status =
            weights_get(w, want->name, want->shape[0], want->rank == 2 ? want->shape[1] : 0, &t, &err);
        ck_assert_msg(status == KVC_OK, "%s", err.message);
        ck_assert_int_eq(t->dtype, dtype);
        for (uint64_t at = 0; at < t->n; at += 64) {
            uint64_t n = t->n - at < 64 ? t->n - at : 64;
            ck_assert_int_eq(weights_read(w, t, at, n, got, &err), KVC_OK);
            ck_assert_int_eq(weights_read(expected, want, at, n, values, &err), KVC_OK);
            for (uint64_t k = 0; k < n; k++) {
                double step = dtype == KVC_F32 ? 0 : dtype == KVC_F16 ? 0x1p-11 : 0x1p-8;
                double tolerance = step * (values[k] < 0 ? -values[k] : values[k]) + (step ? 0x1p-25 : 0);
                ck_assert_msg(got[k] - values[k] <= tolerance && values[k] - got[k] <= tolerance,
                              "%s[%llu]: %a, expected %a", t->name, (unsigned long long)(at + k), got[k], values[k]);
            }
        }
    }
}

START_TEST(import__restores_the_weights)
{
    char source[1100];
    weights *expected, *w;
    kvc_error err = {0};
    snprintf(source, sizeof source, "%s", data_path("golden/gguf/tiny.gguf"));
    ck_assert_int_eq(weights_open(&expected, data_path("golden/gguf/tiny.safetensors"), &err), KVC_OK);
    const char *folder = folder_of_import();
    for (kvc_dtype dtype = KVC_F32; dtype <= KVC_BF16; dtype++) {
        ck_assert_msg(gguf_import(source, folder, dtype, NULL, &err) == KVC_OK, "%s", err.message);
        ck_assert_msg(weights_open(&w, folder, &err) == KVC_OK, "%s", err.message);
        compare_weights(w, expected, dtype);
        weights_close(w);
    }
    remove_import(folder);
    weights_close(expected);
}
END_TEST

START_TEST(import__writes_config_and_tokenizer)
{
    char source[1100];
    model_config c;
    json_t *t, *settings;
    kvc_error err = {0};
    snprintf(source, sizeof source, "%s", data_path("golden/gguf/tiny.gguf"));
    const char *folder = folder_of_import();
    ck_assert_int_eq(gguf_import(source, folder, KVC_F16, NULL, &err), KVC_OK);
    ck_assert_msg(model_config_read(&c, inside(folder, "config.json"), &err) == KVC_OK, "%s", err.message);
    ck_assert_str_eq(c.name, "tiny");
    ck_assert(c.n_layers == 2 && c.hidden == 32 && c.n_heads == 4 && c.n_kv_heads == 2 && c.head_dim == 8 &&
              c.ffn == 64);
    ck_assert(c.vocab == 262 && c.max_positions == 256 && c.attention_bias && !c.mlp_bias && !c.tied_embeddings);
    ck_assert_double_eq(c.rms_eps, 1e-5);
    ck_assert_double_eq(c.rope_theta, 500000);
    ck_assert(c.scaling == ROPE_LLAMA3 && c.rope_factor == 8 && c.rope_low_factor == 1 && c.rope_high_factor == 4);
    ck_assert_uint_eq(c.rope_original_positions, 8192);
    ck_assert_int_eq(json_read_file(&t, inside(folder, "tokenizer.json"), 1 << 20, &err), KVC_OK);
    const json_t *model = json_object_get(t, "model"), *added = json_object_get(t, "added_tokens");
    ck_assert_uint_eq(json_object_size(json_object_get(model, "vocab")), 262);
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(model, "vocab"), "the")), 260);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(model, "merges"), 1)), "th e");
    ck_assert(json_is_true(json_object_get(model, "ignore_merges"))); /* llama-bpe */
    ck_assert_uint_eq(json_array_size(added), 3);
    ck_assert(json_is_true(json_object_get(json_array_get(added, 1), "special")));
    ck_assert(json_is_false(json_object_get(json_array_get(added, 2), "special")));
    const json_t *post = json_object_get(t, "post_processor");
    ck_assert_str_eq(json_string_value(json_object_get(post, "type")), "TemplateProcessing");
    ck_assert_ptr_nonnull(json_object_get(json_object_get(post, "special_tokens"), "<|bos|>"));
    ck_assert_int_eq(json_read_file(&settings, inside(folder, "tokenizer_config.json"), 1 << 20, &err), KVC_OK);
    ck_assert_str_eq(json_string_value(json_object_get(settings, "eos_token")), "<|eos|>");
    ck_assert_str_eq(json_string_value(json_object_get(settings, "chat_template")), "{{ messages }}");
    json_decref(settings);
    json_decref(t);
    remove_import(folder);
}
END_TEST

/* The folder does not exist afterwards. */
static void refuse_import(const char *source, kvc_dtype dtype, const job *job, kvc_status status,
                          const char *fragment)
{
    kvc_error err = {0};
    const char *folder = folder_of_import();
    assert_failed(gguf_import(source, folder, dtype, job, &err), status, &err, fragment);
    ck_assert_int_ne(access(folder, F_OK), 0);
}

/* A copy of the good file of the corpus, its last tensor's first value replaced. */
static const char *with_value(float x)
{
    size_t n;
    const char *path = scratch_path("value.gguf");
    char *bytes = load("fuzz/corpus/gguf/good", &n);
    memcpy(bytes + n - 32, &x, 4);
    write_bytes(path, bytes, n);
    free(bytes);
    return path;
}

static bool cancel_at_once(void *context)
{
    return ++*(int *)context > 3;
}

START_TEST(import__leaves_nothing_when_it_fails)
{
    int calls = 0;
    const job stop = {.cancelled = cancel_at_once, .context = &calls};
    refuse_import(with_value(__builtin_nanf("")), KVC_F16, NULL, KVC_NONFINITE,
                  "'blk.0.ffn_down.weight' holds a NaN");
    refuse_import(with_value(-__builtin_inff()), KVC_F32, NULL, KVC_NONFINITE, "'blk.0.ffn_down.weight' holds a NaN");
    refuse_import(with_value(65520), KVC_F16, NULL, KVC_FORMAT, "'blk.0.ffn_down.weight': 65520 is beyond");
    refuse_import(with_value(3.4e38f), KVC_BF16, NULL, KVC_FORMAT, "beyond the range");
    refuse_import(with_value(1), KVC_F16, &stop, KVC_INTERRUPTED, "interrupted");
    ck_assert_int_eq(calls, 4);
    refuse_import(scratch_path("absent.gguf"), KVC_F16, NULL, KVC_INPUT, "No such file");
    refuse_import(data_path("golden/gguf/tiny.safetensors"), KVC_F16, NULL, KVC_FORMAT, "no GGUF file");
    unlink(with_value(1));
}
END_TEST

START_TEST(import__keeps_what_was_there_when_it_fails)
{
    kvc_error err = {0};
    const char *folder = folder_of_import(), *source = with_value(65519); /* rounds to 65504 */
    ck_assert_msg(gguf_import(source, folder, KVC_F16, NULL, &err) == KVC_OK, "%s", err.message);
    write_bytes(inside(folder, "config.json"), "mine", 4);
    source = with_value(1e6f);
    assert_failed(gguf_import(source, folder, KVC_F16, NULL, &err), KVC_FORMAT, &err, "beyond");
    char *text;
    size_t n;
    ck_assert_int_eq(input_read(&text, &n, inside(folder, "config.json"), 100, &err), KVC_OK);
    ck_assert_str_eq(text, "mine");
    free(text);
    ck_assert_int_eq(access(inside(folder, "model.safetensors"), F_OK), 0);
    remove_import(folder);
    const char *file = scratch_path("file");
    write_bytes(file, "x", 1);
    assert_failed(gguf_import(with_value(1), file, KVC_F16, NULL, &err), KVC_IO, &err, "no folder");
    unlink(file);
    unlink(source);
}
END_TEST

START_TEST(pre_find__knows_components_that_parse)
{
    static const char *const names[] = {"smollm", "starcoder", "refact", "gpt-2",  "llama-bpe",
                                        "llama3", "llama-v3",  "qwen2",  "default"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const gguf_pre *pre = gguf_pre_find((gguf_text){names[i], strlen(names[i])});
        ck_assert_ptr_nonnull(pre);
        json_t *component;
        kvc_error err = {0};
        kvc_status status =
            json_read_text(&component, pre->pre_tokenizer, strlen(pre->pre_tokenizer), names[i], &err);
        ck_assert_msg(status == KVC_OK, "%s", err.message);
        ck_assert_ptr_nonnull(json_object_get(component, "type"));
        json_decref(component);
    }
    ck_assert_ptr_null(gguf_pre_find((gguf_text){"smollm2", 7}));
}
END_TEST

CHECK_MAIN("io_gguf", dequantise__is_bit_equal_to_the_reference, check__accepts_and_refuses_the_corpus,
           check__refuses_every_truncation, check__survives_every_changed_byte, import__restores_the_weights,
           import__writes_config_and_tokenizer, import__leaves_nothing_when_it_fails,
           import__keeps_what_was_there_when_it_fails, pre_find__knows_components_that_parse)
