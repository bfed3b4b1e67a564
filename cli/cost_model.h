/* cost_model.h - how long a pass takes: operations counted from shapes, speeds measured on this machine. */
#ifndef CLI_COST_MODEL_H
#define CLI_COST_MODEL_H
#include "plan.h"
#include "subject.h"

typedef struct speeds {
    double flops;        /* of products of a layer's shape, per second */
    double keys, values; /* seconds to encode and decode one token of one layer by all candidates of a side */
} speeds;

/* Takes about half a second. space may be NULL: no codecs. */
kvc_status speeds_measure(speeds *out, const subject *subject, const kvc_token_policy *tokens,
                          const codec_space *space, kvc_error *err);
/* Seconds of the decoder layers, of the vocabulary product of `models` models, and of probing candidates. */
double seconds_forward(const speeds *s, const model_config *c, const sequence_set *tokens, size_t n_sequences);
double seconds_logits(const speeds *s, const model_config *c, size_t n_tokens, int models);
double seconds_probe(const speeds *s, const model_config *c, const sequence_set *tokens, const codec_space *space,
                     uint64_t probe_rows, size_t n_probed);
/* Sensitivity weights and tables of the fitted codecs. */
double seconds_fit(const speeds *speeds, const settings *s, const model_config *c, const sequence_set *tokens,
                   const codec_space *space);
#endif
