/* kept.c - see kept.h. Rows lie in host memory, one sequence after another: q, k, v; one sequence at a time is in the
 * backend's. */
#include "kept.h"

#include <stdlib.h>

struct kept {
    backend *b;
    size_t query, kv;   /* values of a token */
    size_t n, n_floats; /* sequences, floats used */
    size_t *first;      /* [n + 1] floats before sequence i */
    layer_view *views;
    float *host;
    float *device; /* backend memory, q k v of the longest */
};

static size_t token_floats(const kept *k)
{
    return k->query + 2 * k->kv;
}

kvc_status kept_new(kept **out, backend *b, const model_config *c, const sequence_set *tokens,
                    const probed_set *probed, kvc_error *err)
{
    kept *k = calloc(1, sizeof *k);
    size_t n_tokens = 0, longest = 0;
    *out = NULL;
    if (!k) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for probed sequences");
    k->b = b;
    k->query = (size_t)c->n_heads * c->head_dim;
    k->kv = (size_t)c->n_kv_heads * c->head_dim;
    for (size_t i = 0; i < tokens->n; i++) {
        if (!probed->sequence[i]) continue;
        size_t length = tokens->first[i + 1] - tokens->first[i];
        longest = length > longest ? length : longest;
        n_tokens += length;
    }
    k->first = calloc(probed->n + 1, sizeof *k->first);
    k->views = calloc(probed->n + 1, sizeof *k->views);
    k->host = malloc((n_tokens * token_floats(k) + 1) * sizeof *k->host);
    kvc_status status = k->first && k->views && k->host
                            ? b->buffer_new(b, longest * token_floats(k) * sizeof(float), (void **)&k->device, err)
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
    k->b->buffer_free(k->b, k->device);
    free(k->first);
    free(k->views);
    free(k->host);
    free(k);
}

void kept_clear(kept *k)
{
    k->n = k->n_floats = 0;
}

kvc_status kept_add(kept *k, const layer_view *view, kvc_error *err)
{
    size_t T = view->n_tokens;
    float *to = k->host + k->n_floats;
    KVC_TRY(k->b->download(k->b, to, view->q, T * k->query * sizeof *to, err));
    KVC_TRY(k->b->download(k->b, to + T * k->query, view->k, T * k->kv * sizeof *to, err));
    KVC_TRY(k->b->download(k->b, to + T * (k->query + k->kv), view->v, T * k->kv * sizeof *to, err));
    KVC_TRY(k->b->sync(k->b, err));
    k->views[k->n] = *view;
    k->first[k->n++] = k->n_floats;
    k->n_floats += T * token_floats(k);
    return KVC_OK;
}

size_t kept_count(const kept *k)
{
    return k->n;
}

kvc_status kept_view(kept *k, size_t index, layer_view *out, kvc_error *err)
{
    size_t T = k->views[index].n_tokens;
    *out = k->views[index];
    out->q = k->device;
    out->k = k->device + T * k->query;
    out->v = out->k + T * k->kv;
    out->residual = NULL;
    out->out = NULL;
    return k->b->upload(k->b, k->device, k->host + k->first[index], T * token_floats(k) * sizeof(float), err);
}

uint64_t kept_memory(const kvc_model_info *m, size_t n_sequences, size_t longest)
{
    uint64_t token = ((uint64_t)m->n_query_heads + 2 * (uint64_t)m->n_kv_heads) * m->head_dim;
    return sizeof(float) * token * longest * (n_sequences + 1);
}
