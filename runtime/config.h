/* config.h - an open configuration: a validated image and pointers into it. */
#ifndef RUNTIME_CONFIG_H
#define RUNTIME_CONFIG_H
#include <stdbool.h>
#include "kvc/format.h"

struct kvc_config {
    const uint8_t *image; /* 64-byte aligned */
    size_t n_bytes;
    bool mapped, copied; /* how to let go of the image; neither: it is the caller's */
    const kvc_file_header *header;
    const kvc_file_section *sections;
    const kvc_model_info *model;
    const kvc_file_tokens *tokens;
    const kvc_layer *layers;
    uint64_t page_bytes; /* one page: keys and values of all layers and heads */
};

/* Validate every byte of cfg->image and set what follows it in the struct. */
kvc_status kvci_config_check(kvc_config *cfg, kvc_error *err);
/* The section's table entry, or NULL. */
const kvc_file_section *kvci_config_find(const kvc_config *cfg, uint32_t type);
/* Parameters of a descriptor of a checked configuration; NULL if it has none. */
const void *kvci_config_params(const kvc_config *cfg, const kvc_codec *codec);

#endif
