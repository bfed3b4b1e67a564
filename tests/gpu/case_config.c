/* case_config.c - see case_config.h. */
#include "case_config.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../unit/params_rig.h"
#include "cfg_write.h"

#define MOST_LAYERS 8

static void must(kvc_status status, const char *what, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "%s: %s\n", what, err->message);
    exit(1);
}

/* The codec of a spec, and the step if it says that its table is a byte table. */
static void parse(kvc_codec *out, const char *spec, float byte_step, float *step)
{
    kvc_error err;
    char plain[KVC_SPEC_MAX];
    const char *mark = strstr(spec, ".bytes");
    size_t n = mark ? (size_t)(mark - spec) : strlen(spec);
    *step = mark ? byte_step : 0.0f;
    snprintf(plain, sizeof plain, "%.*s%s", (int)n, spec, mark ? mark + strlen(".bytes") : "");
    must(kvc_codec_parse(out, plain, &err), spec, &err);
}

void *case_config_image(const case_config *c, size_t *n_bytes)
{
    kvc_error err;
    kvc_layer layers[MOST_LAYERS] = {0};
    float steps[MOST_LAYERS][2];
    void *image = NULL;
    size_t n_params = 0;
    if (c->n_layers > MOST_LAYERS) exit(1);
    for (uint32_t i = 0; i < c->n_layers; i++) {
        const case_specs *s = &c->specs[i % c->n_specs];
        parse(&layers[i].key, s->key, 0x1p-6f, &steps[i][0]);
        parse(&layers[i].value, s->value, 0x1p-5f, &steps[i][1]);
    }
    void *params = params_of_layers(layers, c->n_layers, c->n_heads, c->d, c->tokens.page, steps, &n_params);
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
