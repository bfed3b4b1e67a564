/* embed.c - token ids to rows of the embedding matrix, read straight from the mapped weights. */
#include "model_private.h"

#include <stdlib.h>

#define ROWS 256

kvc_status check_ids(const model *m, const uint32_t *ids, size_t n, kvc_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] >= m->config.vocab)
            return kvc_fail(err, KVC_INVALID, "token %zu has id %u, the model's vocabulary ends at %u", i, ids[i],
                            m->config.vocab - 1);
    return KVC_OK;
}

kvc_status embed_rows(const model *m, const uint32_t *ids, size_t n, float *rows, kvc_error *err)
{
    const tensor *t = weights_find(m->weights, arch_find(m->config.architecture)->embedding);
    uint64_t hidden = m->config.hidden;
    for (size_t i = 0; i < n; i++)
        KVC_TRY(weights_read(m->weights, t, ids[i] * hidden, hidden, rows + i * hidden, err));
    return KVC_OK;
}

kvc_status model_embed(model *m, const sequence_set *tokens, hidden_states *hidden, kvc_error *err)
{
    size_t n = tokens->first[tokens->n];
    kvc_status status = check_ids(m, tokens->ids, n, err);
    float *rows = malloc(ROWS * (size_t)m->config.hidden * sizeof *rows);
    if (!rows && status == KVC_OK) status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for embeddings");
    for (size_t at = 0; at < n && status == KVC_OK; at += ROWS) {
        size_t count = min_size(ROWS, n - at);
        status = embed_rows(m, tokens->ids + at, count, rows, err);
        if (status == KVC_OK) status = hidden_write(hidden, at, count, rows, err);
    }
    weights_release(m->weights, weights_find(m->weights, arch_find(m->config.architecture)->embedding));
    free(rows);
    return status;
}
