/* bench_layers.c - see bench_layers.h. */
#include "bench_layers.h"
#include "cfg_write.h"
#include <stdlib.h>
#include <string.h>

/* The constants of one side go behind what is in params. */
static void take_params(kvc_codec *codec, const uint8_t *all, uint8_t *params, size_t *n)
{
    if (codec->param_bytes == 0) return;
    memcpy(params + *n, all + codec->param_offset, codec->param_bytes);
    codec->param_offset = (uint32_t)*n;
    *n += (codec->param_bytes + 63u) / 64u * 64u;
}

static kvc_status make_image(config_image *out, const kvc_config *config, kvc_layer layer, kvc_error *err)
{
    size_t n_all, n = 0;
    const void *all = kvc_config_parameters(config, &n_all);
    uint8_t *params = calloc(1, (size_t)layer.key.param_bytes + layer.value.param_bytes + 128);
    if (!params) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the constants of a layer");
    kvc_model_info model = *kvc_config_model(config);
    model.n_layers = 1;
    take_params(&layer.key, all, params, &n);
    take_params(&layer.value, all, params, &n);
    const cfg_source source = {.model = &model,
                               .tokens = *kvc_config_tokens(config),
                               .layers = &layer,
                               .params = n ? params : NULL,
                               .params_bytes = n};
    kvc_status status = cfg_write(&source, &out->bytes, &out->n, err);
    if (status == KVC_OK) status = kvc_config_open_memory(&out->config, out->bytes, out->n, err);
    free(params);
    return status;
}

static kvc_status layer_new(bench_layer *out, const kvc_config *config, const kvc_layer *layer, uint32_t index,
                            kvc_error *err)
{
    *out = (bench_layer){.first = index};
    kvc_codec_format(&layer->key, out->key);
    kvc_codec_format(&layer->value, out->value);
    return make_image(&out->image, config, *layer, err);
}

static bench_layer *find(bench_layers *layers, const kvc_layer *layer)
{
    char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
    kvc_codec_format(&layer->key, key);
    kvc_codec_format(&layer->value, value);
    for (uint32_t i = 0; i < layers->n; i++)
        if (strcmp(layers->items[i].key, key) == 0 && strcmp(layers->items[i].value, value) == 0)
            return &layers->items[i];
    return NULL;
}

static kvc_status collect(bench_layers *layers, const kvc_config *config, kvc_error *err)
{
    kvc_layer exact;
    for (uint32_t i = 0; i < kvc_config_model(config)->n_layers; i++) {
        const kvc_layer *layer = kvc_config_layer(config, i);
        bench_layer *known = find(layers, layer);
        if (!known) {
            known = &layers->items[layers->n++];
            KVC_TRY(layer_new(known, config, layer, i, err));
        }
        known->n_layers++;
    }
    KVC_TRY(kvc_codec_parse(&exact.key, "fp16", err));
    exact.value = exact.key;
    return layer_new(&layers->fp16, config, &exact, 0, err);
}

kvc_status bench_layers_new(bench_layers *out, const kvc_config *config, kvc_error *err)
{
    *out = (bench_layers){.items = calloc(kvc_config_model(config)->n_layers, sizeof *out->items)};
    if (!out->items) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for layers");
    kvc_status status = collect(out, config, err);
    if (status != KVC_OK) bench_layers_free(out);
    return status;
}

void bench_layers_free(bench_layers *layers)
{
    for (uint32_t i = 0; i < layers->n; i++) config_image_free(&layers->items[i].image);
    config_image_free(&layers->fp16.image);
    free(layers->items);
    *layers = (bench_layers){0};
}
