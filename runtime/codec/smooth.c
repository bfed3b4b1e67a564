/* smooth.c - transform "smooth": a factor per channel that moves from the keys into the query. FORMAT.md, "smooth".
 *
 * The constants are lambda [head][channel], fp32: y = x / lambda, x = lambda y, q' = lambda q. */
#include "codec/pieces.h"
#include "simd.h"

static const float *lambda_of(kvc_stage stage)
{
    return (const float *)stage.params + (size_t)stage.head * stage.dim;
}

KVC_CLONES static void divide(const float *restrict x, const float *restrict by, uint32_t n, float *restrict y)
{
    for (uint32_t i = 0; i < n; i++) y[i] = x[i] / by[i];
}

KVC_CLONES static void multiply(const float *restrict x, const float *restrict by, uint32_t n, float *restrict y)
{
    for (uint32_t i = 0; i < n; i++) y[i] = x[i] * by[i];
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    divide(x, lambda_of(stage), stage.dim, y);
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    (void)mass;
    multiply(y, lambda_of(stage), stage.dim, x);
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    multiply(q, lambda_of(stage), stage.dim, folded);
    return 0.0f;
}

static size_t param_bytes(const kvc_coder *coder)
{
    return (size_t)coder->n_kv_heads * coder->head_dim * sizeof(float);
}

static kvc_status param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    const float *lambda = params;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++)
        for (uint32_t i = 0; i < coder->head_dim; i++, lambda++)
            if (!(*lambda >= 1.0f / KVC_GROWTH_MAX && *lambda <= KVC_GROWTH_MAX))
                return kvc_fail(err, KVC_FORMAT,
                                "smooth: head %u, channel %u has the factor %g: expected 2^-17 to 2^17", head, i,
                                (double)*lambda);
    return KVC_OK;
}

const kvc_transform kvci_transform_smooth = {
    .forward = forward, .inverse = inverse, .fold = fold, .param_bytes = param_bytes, .param_check = param_check};
