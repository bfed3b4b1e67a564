/* case_config.h - a cfg.bin for tests: any codecs, random but valid constants. "vq4x8.bytes+klt" means "vq4x8+klt"
 * whose table is a byte table, of keys with a step of 2^-6, of values of 2^-5. */
#ifndef TESTS_GPU_CASE_CONFIG_H
#define TESTS_GPU_CASE_CONFIG_H
#include "kvc/kvc.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct case_specs {
    const char *key, *value;
} case_specs;

typedef struct case_config {
    uint32_t n_heads, group, d; /* query heads to a KV head; channels */
    kvc_token_policy tokens;
    uint32_t n_layers, n_specs; /* layer i has specs[i % n_specs] */
    case_specs specs[4];
} case_config;

/* Owned: free(). Ends the program where libkvc refuses. */
void *case_config_image(const case_config *c, size_t *n_bytes);

#ifdef __cplusplus
}
#endif
#endif
