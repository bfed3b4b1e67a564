/* model_config.h - config.json of a Hugging Face model, read into the shapes that the forward pass needs. */
#ifndef CALIB_IO_MODEL_CONFIG_H
#define CALIB_IO_MODEL_CONFIG_H
#include <stdbool.h>
#include "kvc/kvc.h"

typedef enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 } rope_scaling;

typedef struct model_config {
    char name[64];         /* "_name_or_path" basename, else the folder's name */
    char architecture[32]; /* model_type: "llama" is the one supported */
    uint32_t n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, vocab, max_positions;
    double rms_eps, rope_theta;
    rope_scaling scaling;
    double rope_factor, rope_low_factor, rope_high_factor; /* llama3; rope_factor also for linear */
    uint32_t rope_original_positions;
    bool tied_embeddings, attention_bias, mlp_bias;
} model_config;

/* Missing, mistyped or out-of-range fields are KVC_FORMAT with file and field; another model_type, activation other
 * than silu, sliding windows or unknown rope scaling are KVC_UNSUPPORTED by name. */
kvc_status model_config_read(model_config *out, const char *path, kvc_error *err);
#endif
