/* cuda_rows.c - the operations of a layer other than products: norm, rotary embedding, gated activation, attention.
 */
#include "cuda_internal.h"

/* Fast: the product that follows takes its input as bfloat16. */
static kvc_status rounded_too(cuda_state *s, size_t n, const float *x, void **half, kvc_error *err)
{
    const cuda_part part = {half, n * sizeof(uint16_t)};
    *half = NULL;
    if (!s->fast) return KVC_OK;
    KVC_TRY(cuda_scratch(s, &part, 1, err));
    s->rounded = x;
    s->n_rounded = n;
    return KVC_OK;
}

kvc_status cuda_rmsnorm(backend *b, size_t rows, size_t dim, const float *x, const float *w, double eps, float *y,
                        kvc_error *err)
{
    cuda_state *s = b->state;
    void *half;
    KVC_TRY(CUDA_BEGIN(b, err, x, w, y));
    KVC_TRY(rounded_too(s, rows * dim, y, &half, err));
    KVC_TRY_CUDA(op_rmsnorm(rows, dim, x, w, eps, y, half, s->compute));
    return KVC_OK;
}

kvc_status cuda_rope(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                     float *x, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY(CUDA_BEGIN(b, err, cosine, sine, x));
    KVC_TRY_CUDA(op_rope(rows, n_heads, head_dim, cosine, sine, x, s->compute));
    return KVC_OK;
}

kvc_status cuda_silu_mul(backend *b, size_t n, float *gate, const float *up, kvc_error *err)
{
    cuda_state *s = b->state;
    void *half;
    KVC_TRY(CUDA_BEGIN(b, err, gate, up));
    KVC_TRY(rounded_too(s, n, gate, &half, err));
    KVC_TRY_CUDA(op_silu_mul(n, gate, up, half, s->compute));
    return KVC_OK;
}

kvc_status cuda_attention(backend *b, const attention_args *a, kvc_error *err)
{
    cuda_state *s = b->state;
    const op_attention_args args = {
        .n_tokens = a->n_tokens,
        .n_heads = a->n_heads,
        .n_kv_heads = a->n_kv_heads,
        .head_dim = a->head_dim,
        .scale = a->scale,
        .q = a->q,
        .k = a->k,
        .v = a->v,
        .k_page = a->k_page,
        .v_page = a->v_page,
        .policy = a->policy,
        .out = a->out,
        .n_sequences = a->n_more + 1,
    };
    KVC_TRY(CUDA_BEGIN(b, err, a->q, a->k, a->v, a->k_page, a->v_page, a->out));
    bool half = s->fast && a->head_dim <= OP_HALF_DIM;
    KVC_TRY_CUDA((half ? op_attention_half : op_attention)(&args, s->compute));
    return KVC_OK;
}
