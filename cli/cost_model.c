/* cost_model.c - see cost_model.h. */
#include "cost_model.h"
#include <math.h>

/* Sum of the squares of the sequences' lengths. */
static double pairs_of(const sequence_set *tokens, size_t n_sequences)
{
    double sum = 0;
    for (size_t i = 0; i < n_sequences; i++) {
        double n = (double)(tokens->first[i + 1] - tokens->first[i]);
        sum += n * n;
    }
    return sum;
}

double seconds_forward(const speeds *s, const model_config *c, const sequence_set *tokens, size_t n_sequences)
{
    return c->n_layers *
           (s->layer * (double)tokens->first[n_sequences] + s->attention * pairs_of(tokens, n_sequences));
}

double seconds_open(const speeds *s, const subject *subject)
{
    const model_config *c = &subject->model->config;
    double query = (double)c->n_heads * c->head_dim, kv = (double)c->n_kv_heads * c->head_dim;
    double values = c->hidden * (2 * query + 2 * kv + 3.0 * c->ffn);
    return (double)weights_bytes(subject->model->weights) / s->hash + s->load * values * c->n_layers;
}

double seconds_checkpoints(const settings *s, uint32_t n_layers, double seconds, uint64_t bytes)
{
    double n = s->checkpoint_interval > 0 ? 1 + floor(seconds / s->checkpoint_interval) : n_layers;
    return fmin(n, n_layers) * (double)bytes / CHECKPOINT_RATE;
}

double seconds_logits(const speeds *s, const model_config *c, size_t n_tokens, int models)
{
    return 2.0 * (double)n_tokens * c->hidden * c->vocab * models / s->flops;
}

/* Scores that sensitivity weights take a second for, three products each, or that attention takes, two. */
static double products_with_scores(const speeds *s, const model_config *c)
{
    double query = (double)c->n_heads * c->head_dim;
    return s->weights > 0 ? 3 * query / s->weights : 2 * query / s->attention;
}

/* Per probed row and head K + 1 products over the tokens before it and V / 2 for each key that is paired
 * (calib/score), at the rate of products with scores; each delta through W_o, and every candidate's codec over all
 * tokens. */
double seconds_probe(const speeds *s, const model_config *c, const sequence_set *tokens, const codec_space *space,
                     uint64_t probe_rows, size_t n_probed)
{
    double share = (double)n_probed / (double)tokens->n;
    double scores = 0, flops = 0, query = (double)c->n_heads * c->head_dim, K = space->n_keys, V = space->n_values,
           paired = 1;
    for (uint32_t i = 0; i < space->n_keys; i++) paired += space->keys[i].param_bytes == 0;
    for (size_t i = 0; i < tokens->n; i++) {
        double n = (double)(tokens->first[i + 1] - tokens->first[i]),
               rows = probe_rows ? fmin((double)probe_rows, n) : n;
        scores += 2 * rows * n * query * (K + 1 + paired * V / 2);
        flops += 2 * rows * query * c->hidden * (K + V + 1);
    }
    double codecs = (s->keys + s->values) * (double)sequences_tokens(tokens);
    return c->n_layers * share * (scores / products_with_scores(s, c) + flops / s->flops + codecs);
}

double seconds_fit(const speeds *s, const model_config *c, const sequence_set *tokens)
{
    return c->n_layers *
           (s->weights * pairs_of(tokens, tokens->n) + s->moments * (double)sequences_tokens(tokens) + s->fits);
}
