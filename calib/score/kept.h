/* kept.h - queries, keys and values of a layer's probed sequences, held back until its codecs are fitted. */
#ifndef CALIB_SCORE_KEPT_H
#define CALIB_SCORE_KEPT_H
#include "model.h"
#include "probed.h"

typedef struct kept kept;

/* Room for the sequences of `tokens` that are probed. */
kvc_status kept_new(kept **out, backend *b, const model_config *c, const sequence_set *tokens,
                    const probed_set *probed, kvc_error *err);
void kept_free(kept *k); /* NULL is fine */
void kept_clear(kept *k);
kvc_status kept_add(kept *k, const layer_view *view, kvc_error *err);
size_t kept_count(const kept *k);
/* Sequence `index` in the order of adding, as when it was added but without residual and out; valid until
 * kept_clear(). */
const layer_view *kept_view(const kept *k, size_t index);
/* Bytes of the backend's memory. */
uint64_t kept_memory(const kvc_model_info *m, size_t n_sequences, size_t longest);
#endif
