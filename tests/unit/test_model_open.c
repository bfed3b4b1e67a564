/* Opening a model, and inputs that cannot be one: each names the tensor or the field. */
#include "check_main.h"
#include "model_tiny.h"

static kvc_error error;

/* The weights that `options` make with the config.json that `config_options` make. */
static const char *mixed_folder(const char *name, const char *options, const char *config_options)
{
    char other[600], command[1300], config_name[64];
    snprintf(config_name, sizeof config_name, "%s-config", name);
    snprintf(other, sizeof other, "%s", tiny_folder("test_model_open", config_name, config_options));
    const char *folder = tiny_folder("test_model_open", name, options);
    snprintf(command, sizeof command, "cp '%s/config.json' '%s/config.json'", other, folder);
    ck_assert_int_eq(system(command), 0);
    return folder;
}

static const struct {
    const char *options, *config, *names[2];
} mismatches[] = {
    {"--tied", "--no-tied", {"lm_head.weight", "model.safetensors"}},
    {"--layers 2", "--layers 3", {"model.layers.2.input_layernorm.weight", "model.safetensors"}},
    {"--ffn 96", "--ffn 104", {"model.layers.0.mlp.gate_proj.weight", "104"}},
    {"--vocab 320", "--vocab 330", {"model.embed_tokens.weight", "330"}},
    {"--kv-heads 2", "--kv-heads 4", {"model.layers.0.self_attn.k_proj.weight", "64"}},
    {"", "--attention-bias", {"model.layers.0.self_attn.q_proj.bias", "model.safetensors"}},
    {"--attention-bias", "--attention-bias --mlp-bias", {"model.layers.0.mlp.gate_proj.bias", "model.safetensors"}},
};

START_TEST(model_open__names_the_tensor_that_does_not_fit)
{
    for (size_t i = 0; i < sizeof mismatches / sizeof *mismatches; i++) {
        model *m = (model *)&error;
        const char *folder = mixed_folder("mixed", mismatches[i].options, mismatches[i].config);
        ck_assert_int_eq(model_open(&m, folder, false, &error), KVC_FORMAT);
        ck_assert_ptr_null(m);
        for (size_t j = 0; j < 2; j++)
            ck_assert_msg(strstr(error.message, mismatches[i].names[j]) != NULL, "%s: %s", mismatches[i].config,
                          error.message);
    }
}
END_TEST

START_TEST(model_open__refuses_another_architecture_and_missing_files)
{
    model *m;
    char command[800];
    const char *folder = tiny_folder("test_model_open", "other", "");
    snprintf(command, sizeof command,
             "sed -i 's/\"model_type\": \"llama\"/\"model_type\": \"mamba\"/' '%s/config.json'", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(model_open(&m, folder, false, &error), KVC_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(error.message, "mamba"));
    snprintf(command, sizeof command, "rm '%s/config.json'", folder);
    ck_assert_int_eq(system(command), 0);
    ck_assert_int_eq(model_open(&m, folder, false, &error), KVC_INPUT);
    ck_assert_ptr_nonnull(strstr(error.message, "config.json"));
    ck_assert_int_eq(model_open(&m, "/nonexistent", false, &error), KVC_INPUT);
}
END_TEST

START_TEST(model_open__fills_the_model_info)
{
    static const uint8_t zero[32];
    char path[600];
    model *m, *again;
    const char *folder = tiny_folder("test_model_open", "info", "--layers 3 --head-dim 24 --rope-theta 500000");
    OK(model_open(&m, folder, true, err));
    ck_assert_str_eq(m->info.architecture, "llama");
    ck_assert_str_eq(m->info.name, "tiny");
    const uint32_t want[] = {3, 4, 2, 24, 64, 320};
    const uint32_t got[] = {m->info.n_layers, m->info.n_query_heads, m->info.n_kv_heads,
                            m->info.head_dim, m->info.hidden_size,   m->info.vocab_size};
    ck_assert_mem_eq(want, got, sizeof want);
    ck_assert_double_eq(m->info.rope_theta, 500000);
    ck_assert_mem_ne(m->info.weights_sha256, zero, 32);
    ck_assert_mem_ne(m->info.tokenizer_sha256, zero, 32);
    model_tokenizer_path(m, path, sizeof path);
    ck_assert_int_eq(remove(path), 0);
    OK(model_open(&again, folder, true, err));
    ck_assert_mem_eq(again->info.weights_sha256, m->info.weights_sha256, 32);
    ck_assert_mem_eq(again->info.tokenizer_sha256, zero, 32);
    model_close(m);
    model_close(again);
    model_close(NULL);
}
END_TEST

/* Writes a NaN over the last value of the file, which belongs to the last layer's down projection bias or the final
 * norm. */
static void spoil(const char *folder, long back)
{
    char path[600];
    float bad = NAN;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "r+b");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(fseek(f, -back, SEEK_END), 0);
    ck_assert_uint_eq(fwrite(&bad, sizeof bad, 1, f), 1);
    fclose(f);
}

START_TEST(model_layers__names_the_weight_that_is_not_finite)
{
    size_t length = 20;
    model *m;
    hidden_states *hidden;
    backend *b = cpu_backend(2);
    const char *folder = tiny_folder("test_model_open", "nan", "--layers 2");
    spoil(folder, 65 * (long)sizeof(float)); /* the final norm has 64 values and is the last tensor */
    OK(model_open(&m, folder, false, err));
    sequence_set tokens = tiny_tokens(&length, 1, m->config.vocab);
    OK(hidden_new(&hidden, b, length, m->config.hidden, 0, NULL, err));
    OK(model_embed(m, &tokens, hidden, err));
    ck_assert_int_eq(model_layers(m, b, &tokens, hidden, 0, 2, NULL, NULL, "test", &error), KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(error.message, "model.layers.1.mlp.down_proj.weight"));
    ck_assert_ptr_nonnull(strstr(error.message, "6143"));
    hidden_free(hidden);
    sequences_free(&tokens);
    model_close(m);
    b->close(b);
}
END_TEST

START_TEST(model_layers__reports_activations_that_overflow)
{
    size_t length = 20;
    backend *b = cpu_backend(2);
    model *m = tiny_model("test_model_open", "overflow", "--gain 1e20 --mlp-bias");
    sequence_set tokens = tiny_tokens(&length, 1, m->config.vocab);
    hidden_states *hidden;
    OK(hidden_new(&hidden, b, length, m->config.hidden, 0, NULL, err));
    OK(model_embed(m, &tokens, hidden, err));
    ck_assert_int_eq(model_layers(m, b, &tokens, hidden, 0, 2, NULL, NULL, "test", &error), KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(error.message, "layer 0"));
    hidden_free(hidden);
    sequences_free(&tokens);
    model_close(m);
    b->close(b);
}
END_TEST

CHECK_MAIN("model open", model_open__names_the_tensor_that_does_not_fit,
           model_open__refuses_another_architecture_and_missing_files, model_open__fills_the_model_info,
           model_layers__names_the_weight_that_is_not_finite, model_layers__reports_activations_that_overflow)
