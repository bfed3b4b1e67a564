/* perm.c - transform "perm": the channels of each head in another order. FORMAT.md, "perm".
 *
 * The constants are p [head][latent i], u16: y[i] = x[p[i]], and the same for queries. */
#include <string.h>
#include "codec/pieces.h"

static const uint16_t *order_of(kvc_stage stage)
{
    return (const uint16_t *)stage.params + (size_t)stage.head * stage.dim;
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    const uint16_t *order = order_of(stage);
    for (uint32_t i = 0; i < stage.dim; i++) y[i] = x[order[i]];
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    const uint16_t *order = order_of(stage);
    (void)mass;
    for (uint32_t i = 0; i < stage.dim; i++) x[order[i]] = y[i];
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    forward(stage, q, folded);
    return 0.0f;
}

static size_t param_bytes(const kvc_coder *coder)
{
    return (size_t)coder->n_kv_heads * coder->head_dim * sizeof(uint16_t);
}

static kvc_status param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    const uint16_t *order = params;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        uint8_t seen[KVC_MAX_ROW] = {0};
        for (uint32_t i = 0; i < coder->head_dim; i++, order++)
            if (*order >= coder->head_dim || seen[*order]++)
                return kvc_fail(err, KVC_FORMAT, "perm: head %u, channel %u: %u is too large or twice there", head, i,
                                *order);
    }
    return KVC_OK;
}

const kvc_transform kvci_transform_perm = {
    .forward = forward, .inverse = inverse, .fold = fold, .param_bytes = param_bytes, .param_check = param_check};
