/* maps.c - see maps.h. */
#include "maps.h"
#include <math.h>
#include <string.h>
#include "kvc/codec_list.h"
#include "template/attend_args.h"

size_t cuda_map_words(const kvc_coder *coder, bool is_value)
{
    uint32_t d = coder->head_dim, latent = cuda_latent(coder);
    return is_value ? attend_map_words(latent, d) : attend_map_words(d, latent);
}

/* The nearest bfloat16 of a finite number, as the upper half of a word. */
static uint32_t nearest_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
}

/* What an input of a map gives to n channels, where there are zeros. */
static void place_row(uint32_t *map, uint32_t n_in, uint32_t input, const float *row, uint32_t n)
{
    uint32_t shift = input % 2 ? 0 : 16;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t *word = map + attend_map_place(n_in, input, i), high = nearest_bf16(row[i]);
        float rounded;
        memcpy(&rounded, &high, sizeof rounded);
        word[0] |= high >> shift;
        word[2] |= nearest_bf16(row[i] - rounded) >> shift;
    }
}

void cuda_fold_map(const kvc_coder *keys, uint32_t *fold, float *bias)
{
    uint32_t d = keys->head_dim;
    size_t of_head = cuda_map_words(keys, false);
    memset(fold, 0, keys->n_kv_heads * of_head * sizeof *fold);
    for (uint32_t head = 0; head < keys->n_kv_heads; head++, fold += of_head)
        for (uint32_t i = 0; i < d; i++) {
            float unit[KVC_MAX_ROW] = {0}, row[KVC_MAX_ROW];
            unit[i] = 1.0f;
            *bias++ = kvc_coder_fold_query(keys, head, unit, row);
            place_row(fold, d, i, row, keys->latent_dim);
        }
}

void cuda_unfold_map(const kvc_coder *values, uint32_t *unfold, float *mean, float *work)
{
    uint32_t d = values->head_dim, n_latent = cuda_latent(values);
    size_t of_head = cuda_map_words(values, true);
    memset(mean, 0, (size_t)values->n_kv_heads * d * sizeof *mean);
    memset(unfold, 0, values->n_kv_heads * of_head * sizeof *unfold);
    for (uint32_t head = 0; head < values->n_kv_heads; head++, mean += d, unfold += of_head) {
        float latent[KVC_MAX_ROW] = {0};
        kvc_coder_unfold_output(values, head, latent, 1.0f, mean, work);
        for (uint32_t i = 0; i < values->latent_dim; i++) {
            float row[KVC_MAX_ROW] = {0};
            latent[i] = 1.0f;
            kvc_coder_unfold_output(values, head, latent, 0.0f, row, work);
            latent[i] = 0.0f;
            place_row(unfold, n_latent, i, row, d);
        }
    }
}

/* Do heads share their codes out? */
static bool is_shared(const kvc_codec *codec)
{
    return codec->symbol == KVC_SYMBOL_vq && codec->dims == 0 && codec->segment[5];
}

/* What lies before the tables of vq and lut: numbers of codes, where heads share them out, scales, order (FORMAT.md,
 * "vq"). */
static size_t bytes_before_tables(const kvc_coder *coder)
{
    kvc_code_class classes[5];
    size_t heads = coder->n_kv_heads, n_codes = 0, n_positions = 0;
    if (is_shared(&coder->codec))
        return (heads + coder->codec.segment[5] * heads * coder->head_dim / 64) * 4 +
               (heads * coder->head_dim + 1) / 2 * 4;
    for (uint32_t i = kvc_codec_classes(&coder->codec, coder->head_dim, classes); i-- > 0;)
        n_codes += classes[i].n, n_positions += (size_t)classes[i].n * classes[i].dims;
    return heads * n_codes * 4 + (heads * n_positions + 1) / 2 * 4;
}

cuda_table cuda_table_of(const kvc_coder *coder)
{
    const uint8_t *at = coder->part[KVC_SYMBOL_PIECE];
    if (!at) return (cuda_table){0};
    size_t before = coder->codec.symbol == KVC_SYMBOL_seg ? 0 : bytes_before_tables(coder);
    return (cuda_table){is_shared(&coder->codec) ? (const uint32_t *)(const void *)at : NULL,
                        (const uint16_t *)(const void *)(at + before),
                        (kvc_coder_part_bytes(coder, KVC_SYMBOL_PIECE) - before) / 2};
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
        if (values && is_shared(&coder->codec) && i < 2)
            steps[i] = reaching_step(values + ((1u << i) - 1) * entries, (size_t)entries << i);
    }
}
