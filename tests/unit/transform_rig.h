/* transform_rig.h - a fitted transform behind fp16 symbols, with constants that the test makes. */
#ifndef TESTS_UNIT_TRANSFORM_RIG_H
#define TESTS_UNIT_TRANSFORM_RIG_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "kvc/codec.h"

static const uint32_t rig_dims[] = {8, 24, 64, 80, 128, 512};
#define RIG_N_DIMS (sizeof rig_dims / sizeof *rig_dims)
#define RIG_HEADS 2u

/* Values in [-1, 1). */
static inline void rig_fill(float *x, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(seed >> 40) * 0x1p-23f - 1.0f;
    }
}

static inline kvc_status rig_bind(kvc_coder *coder, const char *spec, uint32_t d, const void *params, kvc_error *err)
{
    kvc_codec codec;
    KVC_TRY(kvc_codec_parse(&codec, spec, err));
    return kvc_coder_init(coder, &codec, params, RIG_HEADS, d, 8, err);
}

/* Zeroed room for the parameters of `spec`. Owned: free(). */
static inline void *rig_params(const char *spec, uint32_t d)
{
    kvc_coder coder;
    ck_assert_int_eq(rig_bind(&coder, spec, d, NULL, NULL), KVC_OK);
    size_t n = (coder.codec.param_bytes + 63u) / 64u * 64u;
    return memset(aligned_alloc(64, n), 0, n);
}

static inline double rig_dot(const float *a, const float *b, uint32_t n)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) sum += (double)a[i] * b[i];
    return sum;
}

/* What a transform promises, for one row and query of each head, within `tolerance` of |x| or |q| |x|:
 *     decoded rows are the encoded ones,  q'.(T x) + bias = q.x,  and outputs unfold, the mass counted. */
static inline void rig_check_identities(const kvc_coder *coder, double tolerance)
{
    uint32_t d = coder->head_dim;
    float *rows = malloc(8 * d * 4), *back = malloc(8 * d * 4), *work = malloc(kvc_coder_work(coder) * 4);
    float q[512], folded[512], y[512], out[512];
    void *block = aligned_alloc(16, coder->block_bytes);
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        rig_fill(rows, 8 * d, d + head);
        rig_fill(q, d, 2 * d + head);
        double length = sqrt(rig_dot(rows, rows, d)), query = sqrt(rig_dot(q, q, d));
        kvc_coder_encode(coder, head, rows, d, block, work);
        kvc_coder_decode(coder, head, block, back, d, work);
        for (uint32_t i = 0; i < d; i++) ck_assert_double_eq_tol(back[i], rows[i], (tolerance + 0x1p-10) * length);
        kvc_coder_transform(coder, head, rows, y);
        float bias = kvc_coder_fold_query(coder, head, q, folded);
        ck_assert_double_eq_tol(rig_dot(folded, y, d) + bias, rig_dot(q, rows, d), tolerance * query * length);
        for (uint32_t i = 0; i < d; i++) {
            y[i] *= 0.5f;
            out[i] = 1.0f;
        }
        kvc_coder_unfold_output(coder, head, y, 0.5f, out, work);
        for (uint32_t i = 0; i < d; i++) ck_assert_double_eq_tol(out[i], 1.0 + 0.5 * rows[i], tolerance * length);
    }
    free(rows);
    free(back);
    free(work);
    free(block);
}
#endif
