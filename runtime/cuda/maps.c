/* maps.c - see maps.h. */
#include "maps.h"
#include <math.h>
#include <string.h>

void cuda_fold_map(const kvc_coder *keys, float *fold, float *bias)
{
    uint32_t d = keys->head_dim, latent = keys->latent_dim;
    for (uint32_t i = 0; i < keys->n_kv_heads * d; i++) {
        float unit[KVC_MAX_ROW] = {0};
        unit[i % d] = 1.0f;
        bias[i] = kvc_coder_fold_query(keys, i / d, unit, fold + (size_t)i * latent);
    }
}

void cuda_unfold_map(const kvc_coder *values, float *unfold, float *mean, float *work)
{
    uint32_t d = values->head_dim, latent_dim = values->latent_dim;
    memset(mean, 0, (size_t)values->n_kv_heads * d * sizeof *mean);
    memset(unfold, 0, (size_t)values->n_kv_heads * d * latent_dim * sizeof *unfold);
    for (uint32_t head = 0; head < values->n_kv_heads; head++, mean += d) {
        float latent[KVC_MAX_ROW] = {0};
        kvc_coder_unfold_output(values, head, latent, 1.0f, mean, work);
        for (uint32_t i = 0; i < latent_dim; i++, unfold += d) {
            latent[i] = 1.0f;
            kvc_coder_unfold_output(values, head, latent, 0.0f, unfold, work);
            latent[i] = 0.0f;
        }
    }
}

/* Codes that heads share out have numbers of codes before scales and order, and a table of each length (FORMAT.md,
 * "vq"); other codecs that kernels know have one table. */
cuda_table cuda_table_of(const kvc_coder *coder)
{
    const uint32_t *at = coder->part[KVC_SYMBOL_PIECE];
    size_t heads = coder->n_kv_heads, d = coder->head_dim, entries = (size_t)1 << coder->codec.bits;
    if (!at) return (cuda_table){0};
    bool shared = coder->codec.dims == 0;
    size_t n_codes = shared ? coder->codec.segment[5] * heads * d / 64 : heads * d / coder->codec.dims;
    return (cuda_table){shared ? at : NULL,
                        (const uint16_t *)(at + (shared ? heads : 0) + n_codes) + (heads * d + 1) / 2 * 2,
                        entries * (shared ? 31u : coder->codec.dims)};
}

static float reaching_step(const uint16_t *values, size_t n)
{
    float most = 0.0f, step = 0x1p-24f;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(kvc_fp16_to_float(values[i])));
    while (step * 127.0f < most) step *= 2.0f;
    return step;
}

void cuda_table_steps(const kvc_coder *coder, float steps[5])
{
    const uint16_t *values = cuda_table_of(coder).values;
    uint32_t entries = 1u << coder->codec.bits;
    for (uint32_t i = 0; i < 5; i++) {
        steps[i] = kvc_coder_byte_step(coder, 1u << i);
        if (values && coder->codec.dims == 0 && i < 2)
            steps[i] = reaching_step(values + ((1u << i) - 1) * entries, (size_t)entries << i);
    }
}
