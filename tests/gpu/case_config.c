/* case_config.c - see case_config.h. */
#include "case_config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../unit/params_rig.h"
#include "cfg_write.h"

#define MOST_LAYERS 8
#define MOST_PARAMS ((size_t)1 << 26)

static void must(kvc_status status, const char *what, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

/* One side: its codec, and its constants behind those that are there. */
static void add_side(const case_config *c, kvc_codec *codec, const char *spec, bool is_value, uint64_t seed,
                     uint8_t *params, size_t *n_params)
{
    kvc_error err;
    kvc_coder coder;
    size_t n;
    must(kvc_codec_parse(codec, spec, &err), spec, &err);
    must(kvc_coder_init(&coder, codec, NULL, c->n_heads, c->d, c->tokens.page, &err), spec, &err);
    codec->param_bytes = coder.codec.param_bytes;
    if (!codec->param_bytes) return;
    void *own = codec_params(codec, c->n_heads, c->d, c->tokens.page, seed, &n);
    if (c->byte_tables)
        params_round_table(codec, c->n_heads, c->d, c->tokens.page, is_value ? 0x1p-5f : 0x1p-6f, own);
    if (n > MOST_PARAMS - *n_params) exit(1);
    codec->param_offset = (uint32_t)*n_params;
    memcpy(params + *n_params, own, n);
    *n_params += (n + 63u) / 64u * 64u;
    free(own);
}

void *case_config_image(const case_config *c, size_t *n_bytes)
{
    kvc_error err;
    kvc_layer layers[MOST_LAYERS] = {0};
    uint8_t *params = calloc(MOST_PARAMS, 1);
    void *image = NULL;
    size_t n_params = 0;
    if (!params || c->n_layers > MOST_LAYERS) exit(1);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const case_specs *s = &c->specs[i % c->n_specs];
        add_side(c, &layers[i].key, s->key, false, 11 + 2 * i, params, &n_params);
        add_side(c, &layers[i].value, s->value, true, 12 + 2 * i, params, &n_params);
    }
    kvc_model_info model = {
        .name = "case", .architecture = "llama", .n_layers = c->n_layers, .hidden_size = 1, .vocab_size = 1};
    model.n_query_heads = c->n_heads * c->group;
    model.n_kv_heads = c->n_heads;
    model.head_dim = c->d;
    cfg_source source = {.model = &model, .tokens = c->tokens, .layers = layers};
    source.params = n_params ? params : NULL;
    source.params_bytes = n_params;
    must(cfg_write(&source, &image, n_bytes, &err), "cfg_write", &err);
    free(params);
    return image;
}
