/* kept.c - see kept.h. Rows lie in the backend's memory, one sequence after another: q, k, v. */
#include "kept.h"

#include <stdlib.h>

struct kept {
    backend *b;
    size_t query, kv;   /* values of a token */
    size_t n, n_floats; /* sequences, floats used */
    layer_view *views;
    float *rows; /* backend memory */
};

static size_t token_floats(const kept *k)
{
    return k->query + 2 * k->kv;
}

kvc_status kept_new(kept **out, backend *b, const model_config *c, const sequence_set *tokens,
                    const probed_set *probed, kvc_error *err)
{
    kept *k = calloc(1, sizeof *k);
    size_t n_tokens = 0;
    *out = NULL;
    if (!k) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for probed sequences");
    k->b = b;
    k->query = (size_t)c->n_heads * c->head_dim;
    k->kv = (size_t)c->n_kv_heads * c->head_dim;
    for (size_t i = 0; i < tokens->n; i++) {
        if (!probed->sequence[i]) continue;
        n_tokens += tokens->first[i + 1] - tokens->first[i];
    }
    k->views = calloc(probed->n + 1, sizeof *k->views);
    kvc_status status = k->views
                            ? b->buffer_new(b, n_tokens * token_floats(k) * sizeof(float), (void **)&k->rows, err)
                            : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu probed sequences", probed->n);
    if (status == KVC_OK)
        *out = k;
    else
        kept_free(k);
    return status;
}

void kept_free(kept *k)
{
    if (!k) return;
    k->b->buffer_free(k->b, k->rows);
    free(k->views);
    free(k);
}

void kept_clear(kept *k)
{
    k->n = k->n_floats = 0;
}

kvc_status kept_add(kept *k, const layer_view *view, kvc_error *err)
{
    size_t T = view->n_tokens, kv_bytes = T * k->kv * sizeof(float);
    layer_view *own = &k->views[k->n];
    float *q = k->rows + k->n_floats, *key = q + T * k->query, *value = key + T * k->kv;
    KVC_TRY(k->b->copy(k->b, q, view->q, T * k->query * sizeof *q, err));
    KVC_TRY(k->b->copy(k->b, key, view->k, kv_bytes, err));
    KVC_TRY(k->b->copy(k->b, value, view->v, kv_bytes, err));
    *own = *view;
    own->q = q;
    own->k = key;
    own->v = value;
    own->residual = NULL;
    own->out = NULL;
    k->n++;
    k->n_floats += T * token_floats(k);
    return KVC_OK;
}

size_t kept_count(const kept *k)
{
    return k->n;
}

const layer_view *kept_view(const kept *k, size_t index)
{
    return &k->views[index];
}

uint64_t kept_memory(const kvc_model_info *m, size_t n_sequences, size_t longest)
{
    uint64_t token = ((uint64_t)m->n_query_heads + 2 * (uint64_t)m->n_kv_heads) * m->head_dim;
    return sizeof(float) * token * longest * n_sequences;
}
