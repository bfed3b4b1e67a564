/* plan.h - plan.yaml: which codec each layer's keys and values use (contract.md). */
#ifndef CALIB_IO_PLAN_H
#define CALIB_IO_PLAN_H
#include "kvc/codec.h"
#include "yaml.h"

typedef struct plan {
    char model[64];             /* "" if not named */
    uint8_t weights_sha256[32]; /* zero if not given ("model_sha256: hex" in the file) */
    kvc_token_policy tokens;
    uint32_t n_layers;
    kvc_layer *layers; /* [n_layers] */
} plan;

/* n_layers is the model's. `defaults` supplies what "tokens:" leaves out. Layers without an entry take
 * "default:"; without that either it is an error that names the first layer missing. A key of "layers:" is an
 * index or a range ("4-7"); an entry may leave out a side if there is a default. Unknown keys are refused
 * with a suggestion, indices out of range or given twice with both places. Also accepts KVTuner's form
 * (layer: {nbits_key, nbits_value}) as int<b>.ch32 keys and int<b>.tok32 values (16 = fp16). Codecs are as
 * parsed: their fit to the model's shape is kvc_coder_init()'s to check. */
kvc_status plan_read(plan *out, const char *path, uint32_t n_layers, const kvc_token_policy *defaults,
                     kvc_error *err);
kvc_status plan_read_memory(plan *out, const char *text, size_t n, const char *name, uint32_t n_layers,
                            const kvc_token_policy *defaults, kvc_error *err);
/* Canonical: equal plans give equal text, which plan_read() reads back. The most frequent pair (ties: lower
 * layer) becomes "default:", every other layer a line of its own. `comment` (may be NULL) becomes "# " lines
 * at the top. Owned: free(). */
char *plan_write(const plan *p, const char *comment);
/* KVTuner's form, which has bits alone: what plan_read() would not read back as it is, anything but int<b>.ch32 keys,
 * int<b>.tok32 values and fp16, is KVC_LOSSY with a list. Sinks, window and page are no part of it. *out is owned. */
kvc_status plan_write_kvtuner(char **out, const plan *p, const char *comment, kvc_error *err);
void plan_free(plan *p);

/* space.yaml: {keys: [spec, ...], values: [spec, ...]}, at least one and at most 256 a side, none twice */
typedef struct codec_space {
    kvc_codec *keys, *values;
    uint32_t n_keys, n_values;
} codec_space;
kvc_status space_read(codec_space *out, const char *path, kvc_error *err);
kvc_status space_read_memory(codec_space *out, const char *text, size_t n, const char *name, kvc_error *err);
void space_free(codec_space *s);
/* configs/spaces/fitted.yaml as it was at build time: the space of a run without --space. *n bytes, then a
 * NUL. */
const char *builtin_space(size_t *n);
#endif
