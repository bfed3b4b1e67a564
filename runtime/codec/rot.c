/* rot.c - transform "rot": a fitted orthogonal matrix per head. FORMAT.md, "rot".
 *
 * The constants are R [head][input j][latent i], fp16. y = R' x; the inverse is the transpose, which for a rounded
 * orthogonal matrix is one to 2^-11 or so of the row's length, as good as fp16 itself (tests/unit/test_runtime_rot.c
 * measures it). Sums over j run in order, sums over i in eight lanes: the order fixes every bit. d^2 multiply-adds a
 * row. */
#include "attend_kernel.h"
#include "codec/pieces.h"

#define TILE 8u /* rows of R that are fp32 at a time */
#define ONE_FP16 0x3c00u
#define NORM_TOLERANCE 0x1p-6f

static void tile_of(kvc_stage stage, uint32_t j, float *rows)
{
    const uint16_t *matrix = (const uint16_t *)stage.params + (size_t)stage.head * stage.dim * stage.dim;
    kvc_rows_to_float(matrix + (size_t)j * stage.dim, KVC_F16, (size_t)TILE * stage.dim, rows);
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    float rows[TILE * KVC_MAX_ROW];
    for (uint32_t i = 0; i < stage.dim; i++) y[i] = 0.0f;
    for (uint32_t j = 0; j < stage.dim; j += TILE) {
        tile_of(stage, j, rows);
        kvci_kernel_accumulate(x + j, rows, TILE, stage.dim, y);
    }
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    float rows[TILE * KVC_MAX_ROW];
    (void)mass;
    for (uint32_t j = 0; j < stage.dim; j += TILE) {
        tile_of(stage, j, rows);
        kvci_kernel_scores(y, rows, TILE, stage.dim, 0.0f, x + j);
    }
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    forward(stage, q, folded);
    return 0.0f;
}

static size_t param_bytes(const kvc_coder *coder)
{
    return (size_t)coder->n_kv_heads * coder->head_dim * coder->head_dim * sizeof(uint16_t);
}

/* A row of an orthogonal matrix: no entry beyond 1, of length 1. */
static int is_unit(const uint16_t *row, uint32_t n)
{
    float square = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        if ((row[i] & 0x7fffu) > ONE_FP16) return 0;
        float value = kvc_fp16_to_float(row[i]);
        square += value * value;
    }
    return square > 1.0f - NORM_TOLERANCE && square < 1.0f + NORM_TOLERANCE;
}

static kvc_status param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    uint32_t d = coder->head_dim;
    const uint16_t *row = params;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++)
        for (uint32_t j = 0; j < d; j++, row += d)
            if (!is_unit(row, d))
                return kvc_fail(err, KVC_FORMAT, "rot: head %u, row %u is not that of a rotation", head, j);
    return KVC_OK;
}

const kvc_transform kvci_transform_rot = {
    .forward = forward, .inverse = inverse, .fold = fold, .param_bytes = param_bytes, .param_check = param_check};
