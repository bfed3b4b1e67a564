/* bench_layers.h - the distinct layers of a configuration, each as a configuration of its own. */
#ifndef CLI_BENCH_LAYERS_H
#define CLI_BENCH_LAYERS_H
#include "config_image.h"
#include "kvc/codec.h"

/* Layers with the same pair of codecs; `image` has the first of them alone, with its constants. */
typedef struct bench_layer {
    char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
    uint32_t first, n_layers;
    config_image image;
} bench_layer;

typedef struct bench_layers {
    bench_layer *items; /* [n], in the order of their first layers */
    uint32_t n;
    bench_layer fp16; /* what all are compared with: n_layers 0 */
} bench_layers;

kvc_status bench_layers_new(bench_layers *out, const kvc_config *config, kvc_error *err);
void bench_layers_free(bench_layers *layers);
#endif
