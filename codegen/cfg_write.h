/* cfg_write.h - the bytes of a cfg.bin (runtime/FORMAT.md) from a plan and its fitted parameters. */
#ifndef CODEGEN_CFG_WRITE_H
#define CODEGEN_CFG_WRITE_H
#include "kvc/codec.h"

typedef struct cfg_source {
    const kvc_model_info *model;
    kvc_token_policy tokens;
    const kvc_layer *layers; /* [model->n_layers]; groups and param_bytes may still be 0: they are resolved here */
    const void *params;      /* the parameters section, or NULL; descriptors say where theirs lie in it */
    size_t params_bytes;
    const char *provenance; /* canonical JSON, or NULL: no section */
} cfg_source;

/* Deterministic: the same source gives the same bytes. Owned: free(). The result is validated by the runtime's own
 * reader. */
kvc_status cfg_write(const cfg_source *source, void **bytes, size_t *n_bytes, kvc_error *err);
/* SHA-256 over the decision sections of an image, recomputed (FORMAT.md, "identity"). */
kvc_status cfg_identity(const void *bytes, size_t n_bytes, uint8_t out[32], kvc_error *err);
#endif
