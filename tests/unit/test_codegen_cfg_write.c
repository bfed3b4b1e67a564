/* cfg_write(): deterministic, small, readable, and of the identity that the golden files have. */
#include <stdio.h>
#include "cache_rig.h"
#include "kvc/format.h"

static kvc_model_info model_of(uint32_t n_layers)
{
    return (kvc_model_info){.name = "m",
                            .architecture = "llama",
                            .n_layers = n_layers,
                            .n_query_heads = 32,
                            .n_kv_heads = 8,
                            .head_dim = 128,
                            .hidden_size = 4096,
                            .vocab_size = 1000,
                            .rope_theta = 1e4};
}

static void parse_layers(kvc_layer *layers, uint32_t n, const char *key, const char *value)
{
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_int_eq(kvc_codec_parse(&layers[i].key, key, NULL), KVC_OK);
        ck_assert_int_eq(kvc_codec_parse(&layers[i].value, value, NULL), KVC_OK);
    }
}

START_TEST(cfg_write__gives_the_same_bytes_again)
{
    kvc_model_info m = model_of(32);
    kvc_layer layers[32];
    void *a, *b;
    size_t n_a, n_b;
    parse_layers(layers, 32, "int4.ch", "int4+had");
    cfg_source source = {.model = &m, .tokens = {4, 64, 64}, .layers = layers};
    ck_assert_int_eq(cfg_write(&source, &a, &n_a, NULL), KVC_OK);
    ck_assert_int_eq(cfg_write(&source, &b, &n_b, NULL), KVC_OK);
    ck_assert_uint_eq(n_a, n_b);
    ck_assert_int_eq(memcmp(a, b, n_a), 0);
    ck_assert_uint_lt(n_a, 4096);
    free(a);
    free(b);
}
END_TEST

START_TEST(cfg_write__keeps_everything_it_was_given)
{
    kvc_model_info m = model_of(2);
    kvc_layer layers[2];
    void *image;
    size_t n, n_bytes;
    char text[KVC_SPEC_MAX];
    uint8_t params[130];
    kvc_config *cfg;
    for (int i = 0; i < 130; i++) params[i] = (uint8_t)i;
    memset(m.weights_sha256, 0xab, 32);
    parse_layers(layers, 2, "int2.ch", "int3+had");
    cfg_source source = {.model = &m,
                         .tokens = {5, 70, 32},
                         .layers = layers,
                         .params = params,
                         .params_bytes = 130,
                         .provenance = "{\"a\":1}"};
    ck_assert_int_eq(cfg_write(&source, &image, &n_bytes, NULL), KVC_OK);
    ck_assert_int_eq(kvc_config_open_memory(&cfg, image, n_bytes, NULL), KVC_OK);
    ck_assert_int_eq(memcmp(kvc_config_model(cfg), &m, sizeof m), 0);
    ck_assert_uint_eq(kvc_config_tokens(cfg)->sinks, 5);
    ck_assert_uint_eq(kvc_config_tokens(cfg)->window, 70);
    ck_assert_uint_eq(kvc_config_tokens(cfg)->page, 32);
    kvc_codec_format(&kvc_config_layer(cfg, 1)->key, text);
    ck_assert_str_eq(text, "int2.ch32"); /* defaults written out */
    kvc_codec_format(&kvc_config_layer(cfg, 1)->value, text);
    ck_assert_str_eq(text, "int3.tok128+had");
    ck_assert_int_eq(memcmp(kvc_config_parameters(cfg, &n), params, 130), 0);
    ck_assert_uint_eq(n, 130);
    ck_assert_int_eq(memcmp(kvc_config_provenance(cfg, &n), "{\"a\":1}", 7), 0);
    ck_assert_uint_eq(n, 7);
    kvc_config_close(cfg);
    free(image);
}
END_TEST

START_TEST(cfg_identity__covers_decisions_and_nothing_else)
{
    kvc_model_info m = model_of(1);
    kvc_layer layers[1];
    void *image;
    size_t n;
    uint8_t ids[4][32];
    const char *provenance[] = {NULL, "{\"x\":1}", NULL, NULL};
    const char *values[] = {"int4", "int4", "int8", "int4"};
    for (int i = 0; i < 4; i++) {
        parse_layers(layers, 1, "int4.ch", values[i]);
        cfg_source source = {
            .model = &m, .tokens = {i == 3 ? 5 : 4, 64, 64}, .layers = layers, .provenance = provenance[i]};
        kvc_config *cfg;
        ck_assert_int_eq(cfg_write(&source, &image, &n, NULL), KVC_OK);
        ck_assert_int_eq(cfg_identity(image, n, ids[i], NULL), KVC_OK);
        ck_assert_int_eq(kvc_config_open_memory(&cfg, image, n, NULL), KVC_OK);
        ck_assert_int_eq(memcmp(kvc_config_id(cfg), ids[i], 32), 0);
        kvc_config_close(cfg);
        free(image);
    }
    ck_assert_int_eq(memcmp(ids[0], ids[1], 32), 0);
    ck_assert_int_ne(memcmp(ids[0], ids[2], 32), 0);
    ck_assert_int_ne(memcmp(ids[0], ids[3], 32), 0);
}
END_TEST

/* Two writers, this one and the script beside the golden files, agree on what was decided. */
START_TEST(cfg_write__has_the_golden_identity)
{
    char path[1024];
    kvc_config *cfg;
    kvc_layer layers[32];
    void *image;
    size_t n;
    uint8_t id[32];
    snprintf(path, sizeof path, "%s/golden/good/uniform.bin", getenv("KVC_TEST_DATA"));
    ck_assert_int_eq(kvc_config_open(&cfg, path, NULL), KVC_OK);
    parse_layers(layers, 32, "int4.ch", "int4.tok64+had");
    cfg_source source = {.model = kvc_config_model(cfg), .tokens = {4, 64, 64}, .layers = layers};
    ck_assert_int_eq(cfg_write(&source, &image, &n, NULL), KVC_OK);
    ck_assert_int_eq(cfg_identity(image, n, id, NULL), KVC_OK);
    ck_assert_int_eq(memcmp(id, kvc_config_id(cfg), 32), 0);
    kvc_config_close(cfg);
    free(image);
}
END_TEST

START_TEST(cfg_write__refuses_what_the_reader_would)
{
    kvc_model_info m = model_of(1);
    kvc_layer layers[1];
    void *image = NULL;
    size_t n;
    kvc_error err;
    parse_layers(layers, 1, "int4.ch48", "int4");
    cfg_source source = {.model = &m, .tokens = {4, 64, 64}, .layers = layers};
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_INVALID);
    ck_assert_msg(strstr(err.message, "layer 0 key") != NULL, "%s", err.message);
    parse_layers(layers, 1, "int4.ch", "int4");
    m.n_query_heads = 9;
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_FORMAT);
    ck_assert_msg(strstr(err.message, "[F-24]") != NULL, "%s", err.message);
    m = model_of(0);
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_INVALID);
    ck_assert_ptr_null(image);
    ck_assert_int_eq(cfg_identity("nonsense", 8, m.weights_sha256, &err), KVC_FORMAT);
}
END_TEST

/* int keys, vq values: the writer finds sizes and the reader version, the reader's rules hold for the values. */
START_TEST(cfg_write__binds_parameters)
{
    kvc_model_info m = model_of(1);
    kvc_layer layers[1];
    void *image = NULL;
    size_t n, n_params;
    kvc_error err;
    kvc_config *cfg;
    parse_layers(layers, 1, "int4.ch", "int4");
    cfg_source source = {.model = &m, .tokens = {4, 64, 64}, .layers = layers};
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_OK);
    ck_assert_uint_eq(((kvc_file_header *)image)->reader_min, 1000);
    free(image);
    parse_layers(layers, 1, "int4.ch", "vq8x8+klt");
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_FORMAT);
    ck_assert_msg(strstr(err.message, "[F-45] layer 0 value") != NULL, "%s", err.message);
    uint8_t *params = codec_params(&layers[0].value, 8, 128, 64, 3, &n_params), *all = calloc(1, 64 + n_params);
    memcpy(all + 64, params, n_params);
    layers[0].value.param_offset = 64;
    source.params = all, source.params_bytes = 64 + n_params;
    ck_assert_msg(cfg_write(&source, &image, &n, &err) == KVC_OK, "%s", err.message);
    ck_assert_uint_eq(((kvc_file_header *)image)->reader_min, 1001);
    ck_assert_int_eq(kvc_config_open_memory(&cfg, image, n, &err), KVC_OK);
    ck_assert_uint_eq(kvc_config_layer(cfg, 0)->value.param_bytes, n_params);
    ck_assert_int_eq(memcmp((const uint8_t *)kvc_config_parameters(cfg, &n) + 64, params, n_params), 0);
    kvc_config_close(cfg);
    free(image);
    source.params_bytes--;
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_FORMAT);
    ck_assert_msg(strstr(err.message, "[F-45]") != NULL, "%s", err.message);
    source.params_bytes++;
    layers[0].value.param_bytes = (uint32_t)n_params - 16;
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_INVALID);
    layers[0].value.param_bytes = 0;
    layers[0].key = layers[0].value;
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_FORMAT);
    ck_assert_msg(strstr(err.message, "[F-48]") != NULL, "%s", err.message);
    parse_layers(layers, 1, "int4.ch", "vq8x8+klt");
    memset(all, 0xff, 64 + n_params);
    ck_assert_int_eq(cfg_write(&source, &image, &n, &err), KVC_FORMAT);
    ck_assert_msg(strstr(err.message, "[F-49] layer 0 value") != NULL, "%s", err.message);
    free(params);
    free(all);
}
END_TEST

CHECK_MAIN("cfg_write", cfg_write__gives_the_same_bytes_again, cfg_write__keeps_everything_it_was_given,
           cfg_identity__covers_decisions_and_nothing_else, cfg_write__has_the_golden_identity,
           cfg_write__refuses_what_the_reader_would, cfg_write__binds_parameters)
