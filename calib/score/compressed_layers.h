/* compressed_layers.h - attention as a decoder with a compressed cache would compute it, for the forward pass. */
#ifndef CALIB_SCORE_COMPRESSED_LAYERS_H
#define CALIB_SCORE_COMPRESSED_LAYERS_H
#include "score.h"

typedef struct cache_side {
    bool exact; /* fp32 as the model computes it; else what the coder keeps */
    kvc_coder coder;
} cache_side;

typedef struct compressed_layers {
    backend *b;
    const model_config *config;
    const kvc_token_policy *policy;
    cache_side *sides;                          /* [n_layers][2]: keys, values */
    float *k_exact, *k_page, *v_exact, *v_page; /* backend memory, [longest][n_kv_heads][d] */
} compressed_layers;

/* All sides exact. policy is borrowed. On failure `c` may be freed. */
kvc_status compressed_layers_new(compressed_layers *c, model *m, backend *b, const kvc_token_policy *policy,
                                 size_t longest, kvc_error *err);
void compressed_layers_free(compressed_layers *c);
/* sides [n_layers][2] of a plan, whose parameters are borrowed. A codec that does not fit is named with its layer. */
kvc_status compressed_layers_bind(const compressed_layers *c, const plan_ref *plan, cache_side *sides,
                                  kvc_error *err);
/* One side by its codec and own parameters (param_offset counts for nothing). */
kvc_status compressed_layers_side(const compressed_layers *c, uint32_t layer, bool values, const kvc_codec *codec,
                                  const void *params, cache_side *out, kvc_error *err);
/* Query t reads exact rows in sinks and window and decoded rows in the pages that are compressed when t + 1 tokens
 * are present (methods.md sections 2 and 4). */
kvc_status compressed_layers_attend(compressed_layers *c, const layer_view *view, kvc_error *err);
/* The same with other sides [2] than the layer's. */
kvc_status compressed_layers_attend_as(compressed_layers *c, const layer_view *view, const cache_side *sides,
                                       kvc_error *err);
#endif
