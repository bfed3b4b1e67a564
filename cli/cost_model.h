/* cost_model.h - how long a pass takes: rates of each kind of work measured on this machine (cost_speeds.c), times
 * how much of it there is. */
#ifndef CLI_COST_MODEL_H
#define CLI_COST_MODEL_H
#include "plan.h"
#include "subject.h"

typedef struct speeds {
    double flops;        /* of products of a layer's shape, per second */
    double layer;        /* seconds for a token of a layer, attention apart */
    double attention;    /* seconds for a layer and the square of a token count */
    double weights;      /* the same of sensitivity weights; 0: nothing is fitted */
    double moments;      /* seconds for a token of a layer */
    double fits;         /* seconds for the candidates of a layer */
    double keys, values; /* seconds to encode and decode one token of one layer by all candidates of a side */
    double load;         /* seconds for a value of a weight on its way to the backend */
    double hash;         /* bytes per second of SHA-256 */
} speeds;

/* Bytes per second of a residual stream on its way from a device to the disk: 2.1 GB every 15 s take 10 to 15 s of a
 * profile of 70 to 90 s on the machine of docs/benchmarks.md, "Calibration on the GPU". */
#define CHECKPOINT_RATE 0.8e9

/* Takes a second or two, and as much memory as a layer. The length of the longest of `tokens`, and their beginning,
 * are what is measured with. space may be NULL: no codecs. */
kvc_status speeds_measure(speeds *out, const subject *subject, const settings *s, const sequence_set *tokens,
                          const codec_space *space, kvc_error *err);
/* Hashing the model, and its weights on their way to the backend. */
double seconds_open(const speeds *s, const subject *subject);
/* Seconds of the decoder layers, of the vocabulary product of `models` models, and of probing candidates. */
double seconds_forward(const speeds *s, const model_config *c, const sequence_set *tokens, size_t n_sequences);
double seconds_logits(const speeds *s, const model_config *c, size_t n_tokens, int models);
double seconds_probe(const speeds *s, const model_config *c, const sequence_set *tokens, const codec_space *space,
                     uint64_t probe_rows, size_t n_probed);
/* Sensitivity weights, moments and fits. */
double seconds_fit(const speeds *s, const model_config *c, const sequence_set *tokens);
/* Of `bytes` each, as often as a pass of so many seconds asks for them. */
double seconds_checkpoints(const settings *s, uint32_t n_layers, double seconds, uint64_t bytes);
#endif
