/* klt.c - transform "klt": any invertible affine map of a head, fitted as the Karhunen-Loeve basis of its rows in the
 * metric of what attention does with them. FORMAT.md, "klt".
 *
 * Forward is y = T (x - mean) with T as fp32, backward x = mean + S y with S as fp16: T is the inverse of the rounded
 * S, so that the smaller of the two costs no exactness. S is what runs when serving: once per query (fold) and once
 * per output (inverse). 2 d^2 flops each. */
#include <math.h>
#include "attend_kernel.h"
#include "codec/half.h"
#include "codec/pieces.h"

#define FORWARD_MAX 0x1p40f

/* Of one head: mean fp32 [d], T fp32 [d][d] (row j: what input channel j adds to every output), S fp16 [d][d]. */
typedef struct basis {
    const float *mean, *forward;
    const uint16_t *backward;
} basis;

static size_t head_bytes(size_t d)
{
    return d * 4u + d * d * 6u;
}

static basis basis_of(kvc_stage stage)
{
    size_t d = stage.dim;
    const float *mean = (const float *)((const uint8_t *)stage.params + stage.head * head_bytes(d));
    return (basis){mean, mean + d, (const uint16_t *)(mean + d + d * d)};
}

static size_t param_bytes(const kvc_coder *coder)
{
    return coder->n_kv_heads * head_bytes(coder->head_dim);
}

static kvc_status check_range(const char *what, uint32_t head, const float *x, size_t n, float most, kvc_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(x[i]) <= most))
            return kvc_fail(err, isfinite(x[i]) ? KVC_FORMAT : KVC_NONFINITE,
                            "klt: value %zu of head %u's %s is %g: expected at most %g", i, head, what, (double)x[i],
                            (double)most);
    return KVC_OK;
}

/* Rows that enlarge a latent by more than KVC_GROWTH_MAX are refused, and with them NaN and infinity. */
static kvc_status check_backward(uint32_t head, const uint16_t *backward, uint32_t d, kvc_error *err)
{
    float row[KVC_MAX_ROW];
    for (uint32_t j = 0; j < d; j++, backward += d) {
        float sum = 0.0f;
        kvc_rows_to_float(backward, KVC_F16, d, row);
        for (uint32_t i = 0; i < d; i++) sum += fabsf(row[i]);
        if (!(sum <= KVC_GROWTH_MAX))
            return kvc_fail(err, isfinite(sum) ? KVC_FORMAT : KVC_NONFINITE,
                            "klt: row %u of head %u's inverse has magnitudes of %g together: expected at most 2^17",
                            j, head, (double)sum);
    }
    return KVC_OK;
}

static kvc_status param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    size_t d = coder->head_dim;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        basis b = basis_of((kvc_stage){.head = head, .dim = coder->head_dim, .params = params});
        KVC_TRY(check_range("mean", head, b.mean, d, KVC_FP16_MAX, err));
        KVC_TRY(check_range("matrix", head, b.forward, d * d, FORWARD_MAX, err));
        KVC_TRY(check_backward(head, b.backward, coder->head_dim, err));
    }
    return KVC_OK;
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    basis b = basis_of(stage);
    float centred[KVC_MAX_ROW];
    for (uint32_t j = 0; j < stage.dim; j++) centred[j] = x[j] - b.mean[j], y[j] = 0.0f;
    kvci_kernel_accumulate(centred, b.forward, stage.dim, stage.dim, y);
}

/* Eight rows of S are fp32 at a time. */
static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    basis b = basis_of(stage);
    uint32_t d = stage.dim;
    float rows[8 * KVC_MAX_ROW], sums[8];
    for (uint32_t j = stage.first; j < stage.end; j += 8) {
        kvc_rows_to_float(b.backward + (size_t)j * d, KVC_F16, (size_t)8 * d, rows);
        kvci_kernel_scores(y, rows, 8, d, 0.0f, sums);
        for (uint32_t i = 0; i < 8; i++) x[j + i] = b.mean[j + i] * mass + sums[i];
    }
}

static int all_zero(const float *q, uint32_t n)
{
    uint32_t nonzero = 0;
    for (uint32_t i = 0; i < n; i++) nonzero += q[i] != 0.0f; /* a NaN is not zero */
    return nonzero == 0;
}

/* Zeros add nothing: with "@joint" a query has few channels that are not. */
static float fold(kvc_stage stage, const float *q, float *folded)
{
    basis b = basis_of(stage);
    uint32_t d = stage.dim;
    float rows[8 * KVC_MAX_ROW], bias = 0.0f;
    for (uint32_t i = 0; i < d; i++) folded[i] = 0.0f;
    for (uint32_t j = 0; j < d; j += 8) {
        if (all_zero(q + j, 8)) continue;
        kvc_rows_to_float(b.backward + (size_t)j * d, KVC_F16, (size_t)8 * d, rows);
        kvci_kernel_accumulate(q + j, rows, 8, d, folded);
    }
    for (uint32_t j = 0; j < d; j++) bias += q[j] * b.mean[j];
    return bias;
}

const kvc_transform kvci_transform_klt = {
    .forward = forward, .inverse = inverse, .fold = fold, .param_bytes = param_bytes, .param_check = param_check};
