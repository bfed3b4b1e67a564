#include "check_main.h"
#include "io_files.h"
#include "model_config.h"

#define SHAPES                                                                                                       \
    "\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4, "         \
    "\"intermediate_size\": 96, \"vocab_size\": 320"

static kvc_status read_config(const char *text, model_config *c, kvc_error *err)
{
    const char *path = scratch_path("config.json");
    write_bytes(path, text, strlen(text));
    kvc_status status = model_config_read(c, path, err);
    ck_assert_msg(status == KVC_OK || !strncmp(err->message, path, strlen(path)), "'%s' names no file", err->message);
    unlink(path);
    return status;
}

static model_config accept(const char *text)
{
    model_config c;
    kvc_error err = {0};
    kvc_status status = read_config(text, &c, &err);
    ck_assert_msg(status == KVC_OK, "%s", err.message);
    return c;
}

START_TEST(read__fills_in_the_defaults)
{
    model_config c = accept("{" SHAPES "}");
    ck_assert_str_eq(c.architecture, "llama");
    ck_assert_str_eq(c.name, "io_scratch"); /* the folder's name */
    ck_assert_uint_eq(c.n_layers, 2);
    ck_assert_uint_eq(c.hidden, 64);
    ck_assert_uint_eq(c.n_heads, 4);
    ck_assert_uint_eq(c.n_kv_heads, 4);
    ck_assert_uint_eq(c.head_dim, 16);
    ck_assert_uint_eq(c.ffn, 96);
    ck_assert_uint_eq(c.vocab, 320);
    ck_assert_uint_eq(c.max_positions, 2048);
    ck_assert_double_eq(c.rms_eps, 1e-6);
    ck_assert_double_eq(c.rope_theta, 10000);
    ck_assert_int_eq(c.scaling, ROPE_PLAIN);
    ck_assert(!c.tied_embeddings && !c.attention_bias && !c.mlp_bias);
}
END_TEST

START_TEST(read__takes_what_is_given)
{
    model_config c =
        accept("{" SHAPES ", \"num_key_value_heads\": 2, \"head_dim\": 8, \"max_position_embeddings\": 8192,"
               "\"rms_norm_eps\": 1e-05, \"rope_theta\": 100000, \"rope_scaling\": null, \"hidden_act\": \"silu\","
               "\"tie_word_embeddings\": true, \"attention_bias\": true, \"mlp_bias\": true,"
               "\"sliding_window\": null, \"_name_or_path\": \"someone/Tiny-Model/\"}");
    ck_assert_str_eq(c.name, "Tiny-Model");
    ck_assert_uint_eq(c.n_kv_heads, 2);
    ck_assert_uint_eq(c.head_dim, 8);
    ck_assert_uint_eq(c.max_positions, 8192);
    ck_assert_double_eq(c.rms_eps, 1e-5);
    ck_assert_double_eq(c.rope_theta, 100000);
    ck_assert(c.tied_embeddings && c.attention_bias && c.mlp_bias);
}
END_TEST

START_TEST(read__knows_both_spellings_of_rope)
{
    model_config c = accept("{" SHAPES ", \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"default\"}}");
    ck_assert_double_eq(c.rope_theta, 5e5);
    ck_assert_int_eq(c.scaling, ROPE_PLAIN);
    c = accept("{" SHAPES ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}");
    ck_assert_int_eq(c.scaling, ROPE_LINEAR);
    ck_assert_double_eq(c.rope_factor, 4);
    c = accept("{" SHAPES
               ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 32.0, \"low_freq_factor\": 1.0,"
               "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 8192}}");
    ck_assert_int_eq(c.scaling, ROPE_LLAMA3);
    ck_assert_double_eq(c.rope_factor, 32);
    ck_assert_double_eq(c.rope_low_factor, 1);
    ck_assert_double_eq(c.rope_high_factor, 4);
    ck_assert_uint_eq(c.rope_original_positions, 8192);
}
END_TEST

START_TEST(read__cuts_long_names_between_characters)
{
    char text[600] = "{" SHAPES ", \"_name_or_path\": \"x/";
    for (int i = 0; i < 40; i++) strcat(text, "\xc3\xa9");
    strcat(text, "\"}");
    model_config c = accept(text);
    ck_assert_uint_eq(strlen(c.name), 62); /* 31 characters of 2 bytes; 63 would split one */
}
END_TEST

START_TEST(read__refuses_wrong_fields)
{
    static const struct {
        const char *text;
        kvc_status status;
        const char *fragment;
    } bad[] = {
        {"[]", KVC_FORMAT, "no JSON object"},
        {"{", KVC_FORMAT, ":1:"},
        {"{\"num_hidden_layers\": 2}", KVC_FORMAT, "\"model_type\": is missing"},
        {"{\"model_type\": \"gemma2\"}", KVC_UNSUPPORTED, "\"gemma2\""},
        {"{\"model_type\": [1]}", KVC_FORMAT, "\"model_type\": is no string"},
        {"{\"model_type\": \"llama\"}", KVC_FORMAT, "\"num_hidden_layers\": is missing"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": \"2\"}", KVC_FORMAT,
         "\"num_hidden_layers\": is no whole number"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": 0}", KVC_FORMAT,
         "\"num_hidden_layers\": is no whole number"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": 1e9}", KVC_FORMAT,
         "\"num_hidden_layers\": is no whole number"},
        {"{\"model_type\": \"llama\", \"num_hidden_layers\": 4294967298}", KVC_FORMAT, "\"num_hidden_layers\""},
        {"{" SHAPES ", \"num_key_value_heads\": 3}", KVC_FORMAT, "\"num_key_value_heads\": does not divide"},
        {"{" SHAPES ", \"head_dim\": 7}", KVC_FORMAT, "\"head_dim\": is odd"},
        {"{" SHAPES ", \"rms_norm_eps\": \"tiny\"}", KVC_FORMAT, "\"rms_norm_eps\": is no number"},
        {"{" SHAPES ", \"rms_norm_eps\": -1}", KVC_FORMAT, "\"rms_norm_eps\": is no number"},
        {"{" SHAPES ", \"rope_theta\": 0}", KVC_FORMAT, "\"rope_theta\": is no number"},
        {"{" SHAPES ", \"rope_parameters\": {\"rope_theta\": []}}", KVC_FORMAT, "\"rope_theta\": is no number"},
        {"{" SHAPES ", \"rope_scaling\": 2}", KVC_FORMAT, "\"rope_scaling\": is no object"},
        {"{" SHAPES ", \"rope_scaling\": {\"type\": \"yarn\"}}", KVC_UNSUPPORTED, "\"yarn\""},
        {"{" SHAPES ", \"rope_scaling\": {\"type\": \"linear\"}}", KVC_FORMAT, "\"factor\": is missing"},
        {"{" SHAPES ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}", KVC_FORMAT,
         "\"low_freq_factor\": is missing"},
        {"{" SHAPES ", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4}}",
         KVC_FORMAT, "\"high_freq_factor\""},
        {"{" SHAPES ", \"tie_word_embeddings\": 1}", KVC_FORMAT, "\"tie_word_embeddings\": is neither"},
        {"{" SHAPES ", \"hidden_act\": \"gelu\"}", KVC_UNSUPPORTED, "\"gelu\""},
        {"{" SHAPES ", \"sliding_window\": 4096}", KVC_UNSUPPORTED, "\"sliding_window\""},
        {"{" SHAPES ", \"layer_types\": [\"full_attention\", \"sliding_attention\"]}", KVC_UNSUPPORTED,
         "\"sliding_attention\""},
        {"{" SHAPES ", \"quantization_config\": {}}", KVC_UNSUPPORTED, "\"quantization_config\""},
        {"{" SHAPES ", \"partial_rotary_factor\": 0.5}", KVC_UNSUPPORTED, "\"partial_rotary_factor\""},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        model_config c;
        kvc_error err = {0};
        assert_failed(read_config(bad[i].text, &c, &err), bad[i].status, &err, bad[i].fragment);
        ck_assert_uint_eq(c.n_layers, 0);
    }
}
END_TEST

START_TEST(read__refuses_indivisible_heads)
{
    model_config c;
    kvc_error err = {0};
    const char *text =
        "{\"model_type\": \"llama\", \"num_hidden_layers\": 2, \"hidden_size\": 65, \"num_attention_heads\": 4,"
        "\"intermediate_size\": 96, \"vocab_size\": 320}";
    assert_failed(read_config(text, &c, &err), KVC_FORMAT, &err, "\"hidden_size\"");
    assert_failed(model_config_read(&c, scratch_path("missing"), &err), KVC_INPUT, &err, "No such file");
}
END_TEST

CHECK_MAIN("io_config", read__fills_in_the_defaults, read__takes_what_is_given, read__knows_both_spellings_of_rope,
           read__cuts_long_names_between_characters, read__refuses_wrong_fields, read__refuses_indivisible_heads)
