/* params_rig.h - made-up constants for every codec that has any, laid out by hand after FORMAT.md. */
#ifndef TESTS_UNIT_PARAMS_RIG_H
#define TESTS_UNIT_PARAMS_RIG_H
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kvc/codec.h"

enum { WIRE_LUT = 4, WIRE_VQ = 5, WIRE_SEG = 6, WIRE_SMOOTH = 2, WIRE_PERM = 3, WIRE_ROT = 4, WIRE_KLT = 5 };

static inline float params_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1.0f;
}

/* Codes of each of the five classes of a row of d channels. */
static inline void params_classes(const kvc_codec *codec, uint32_t d, uint32_t n[5])
{
    for (uint32_t k = 0; k < 5; k++)
        n[k] = codec->dims ? (codec->dims == 1u << k ? d >> k : 0) : codec->segment[k] * d / 64;
}

/* Codes of a row; the channels that have one; the channels of all tables of a head (each has 2^bits values for each).
 */
static inline uint32_t params_codes(const kvc_codec *codec, uint32_t d, uint32_t *kept, uint32_t *table_channels)
{
    uint32_t n[5], n_codes = 0;
    params_classes(codec, d, n);
    *kept = *table_channels = 0;
    for (uint32_t k = 0; k < 5; k++) {
        n_codes += n[k];
        *kept += n[k] << k;
        if (n[k]) *table_channels += (codec->scale == KVC_SCALE_STATIC ? n[k] : 1) << k;
    }
    return n_codes;
}

/* Of `heads` heads, with what fills them up. */
static inline size_t params_order_bytes(uint32_t heads, uint32_t kept)
{
    return ((size_t)heads * kept * 2 + 3) / 4 * 4;
}

/* Codes of a token that the heads share out among themselves; 0 where each has as many. */
static inline uint32_t params_shared(const kvc_codec *codec, uint32_t heads, uint32_t d)
{
    return codec->symbol == WIRE_VQ && codec->dims == 0 ? codec->segment[5] * heads * d / 64 : 0;
}

/* Codes of each of the five classes of a head that has k of them. */
static inline void params_share(uint32_t d, uint32_t k, uint32_t n[5])
{
    memset(n, 0, 5 * sizeof *n);
    if (16 * k <= d) n[4] = k;
    for (uint32_t e = 4; 16 * k > d && e-- > 0;) {
        if (k << e > d) continue;
        n[e] = 2 * k - (d >> e);
        n[e + 1] = k - n[e];
        return;
    }
}

/* Inverse of a well-conditioned n x n matrix by Gauss-Jordan. */
static inline void params_invert(uint32_t n, const double *a, double *inverse)
{
    double *work = malloc(n * n * sizeof *work);
    memcpy(work, a, n * n * sizeof *work);
    for (uint32_t i = 0; i < n * n; i++) inverse[i] = i / n == i % n;
    for (uint32_t c = 0; c < n; c++) {
        uint32_t pivot = c;
        for (uint32_t r = c; r < n; r++)
            if (fabs(work[r * n + c]) > fabs(work[pivot * n + c])) pivot = r;
        for (uint32_t i = 0; i < n; i++) {
            double held = work[c * n + i], other = inverse[c * n + i];
            work[c * n + i] = work[pivot * n + i], work[pivot * n + i] = held;
            inverse[c * n + i] = inverse[pivot * n + i], inverse[pivot * n + i] = other;
        }
        double scale = 1.0 / work[c * n + c];
        for (uint32_t i = 0; i < n; i++) work[c * n + i] *= scale, inverse[c * n + i] *= scale;
        for (uint32_t r = 0; r < n; r++) {
            double factor = work[r * n + c];
            if (r == c || factor == 0.0) continue;
            for (uint32_t i = 0; i < n; i++) {
                work[r * n + i] -= factor * work[c * n + i];
                inverse[r * n + i] -= factor * inverse[c * n + i];
            }
        }
    }
    free(work);
}

/* mean, T, S of each head: S is a reflection times factors of .5 to 2. Beyond 256 channels T is the inverse of what S
 * was before it was rounded. */
static inline void params_klt(uint32_t heads, uint32_t d, uint64_t *state, uint8_t *part)
{
    double *s = malloc(d * d * sizeof *s), *inverse = malloc(d * d * sizeof *inverse), *v = malloc(d * sizeof *v);
    for (uint32_t head = 0; head < heads; head++, part += 4 * d + 6 * d * d) {
        float *mean = (float *)part, *forward = mean + d;
        uint16_t *backward = (uint16_t *)(forward + d * d);
        double norm = 0.0;
        for (uint32_t i = 0; i < d; i++) mean[i] = 0.5f * params_random(state);
        for (uint32_t i = 0; i < d; i++) v[i] = params_random(state), norm += v[i] * v[i];
        for (uint32_t j = 0; j < d; j++)
            for (uint32_t i = 0; i < d; i++) {
                double factor = exp2((double)(i % 5) * 0.5 - 1.0);
                uint16_t half = kvc_fp16_from_float((float)(factor * ((i == j) - 2.0 * v[i] * v[j] / norm)));
                backward[j * d + i] = half;
                s[j * d + i] = kvc_fp16_to_float(half);
                inverse[i * d + j] = ((i == j) - 2.0 * v[i] * v[j] / norm) / factor;
            }
        if (d <= 256) params_invert(d, s, inverse);
        for (uint32_t j = 0; j < d; j++)
            for (uint32_t i = 0; i < d; i++) forward[j * d + i] = (float)inverse[i * d + j];
    }
    free(s);
    free(inverse);
    free(v);
}

/* A reflection for each head. */
static inline void params_rot(uint32_t heads, uint32_t d, uint64_t *state, uint16_t *matrix)
{
    double v[KVC_MAX_ROW];
    for (uint32_t head = 0; head < heads; head++) {
        double norm = 0.0;
        for (uint32_t i = 0; i < d; i++) v[i] = params_random(state), norm += v[i] * v[i];
        for (uint32_t j = 0; j < d; j++)
            for (uint32_t i = 0; i < d; i++)
                *matrix++ = kvc_fp16_from_float((float)((i == j) - 2.0 * v[i] * v[j] / norm));
    }
}

/* Each head an order that is drawn by chance. */
static inline void params_orders(uint32_t heads, uint32_t d, uint32_t kept, uint64_t *state, uint16_t *order)
{
    uint16_t all[KVC_MAX_ROW];
    for (uint32_t head = 0; head < heads; head++, order += kept) {
        for (uint32_t i = 0; i < d; i++) all[i] = (uint16_t)i;
        for (uint32_t i = 0; i < kept; i++) {
            uint32_t other = i + (uint32_t)((0.5f + 0.4999f * params_random(state)) * (float)(d - i));
            order[i] = all[other];
            all[other] = all[i];
        }
    }
}

static inline void params_tables(const kvc_codec *codec, uint32_t heads, uint32_t d, uint64_t *state, uint8_t *part)
{
    uint32_t kept, table_channels, n_codes = params_codes(codec, d, &kept, &table_channels);
    float *scale = (float *)part;
    uint16_t *order = (uint16_t *)(scale + heads * n_codes);
    uint16_t *table = order + params_order_bytes(heads, kept) / 2;
    size_t n = (size_t)(codec->scale == KVC_SCALE_NONE ? 1 : heads) * table_channels << codec->bits;
    for (uint32_t i = 0; i < heads * n_codes; i++) scale[i] = exp2f(0.5f * params_random(state));
    params_orders(heads, d, kept, state, order);
    for (size_t i = 0; i < n; i++) table[i] = kvc_fp16_from_float(1.5f * params_random(state));
}

/* A number of codes for each head: all that it may have, as few as will do, or something between. */
static inline void params_counts(uint32_t total, uint32_t heads, uint32_t d, uint64_t *state, uint32_t *counts)
{
    for (uint32_t head = 0; head < heads; head++) {
        uint32_t others = (heads - 1 - head) * d, most = total < d ? total : d,
                 least = total > others ? total - others : 0;
        float draw = 1.2f * params_random(state);
        counts[head] = draw < -1.0f  ? least
                       : draw > 1.0f ? most
                                     : least + (uint32_t)((0.5f + 0.49f * draw) * (float)(most - least));
        total -= counts[head];
    }
}

static inline void params_shared_tables(const kvc_codec *codec, uint32_t heads, uint32_t d, uint64_t *state,
                                        uint8_t *part)
{
    uint32_t total = params_shared(codec, heads, d), *counts = (uint32_t *)part;
    float *scale = (float *)(counts + heads);
    uint16_t *order = (uint16_t *)(scale + total), *table = order + heads * d;
    params_counts(total, heads, d, state, counts);
    for (uint32_t i = 0; i < total; i++) scale[i] = exp2f(0.5f * params_random(state));
    params_orders(heads, d, d, state, order);
    for (size_t i = 0; i < (size_t)31 << codec->bits; i++)
        table[i] = kvc_fp16_from_float(1.5f * params_random(state));
}

static inline void params_transform(uint8_t wire_id, uint32_t heads, uint32_t d, uint64_t *state, uint8_t *part)
{
    if (wire_id == WIRE_KLT) params_klt(heads, d, state, part);
    if (wire_id == WIRE_ROT) params_rot(heads, d, state, (uint16_t *)part);
    if (wire_id == WIRE_PERM) params_orders(heads, d, d, state, (uint16_t *)part);
    for (uint32_t i = 0; wire_id == WIRE_SMOOTH && i < heads * d; i++)
        ((float *)part)[i] = exp2f(3.0f * params_random(state));
}

/* Owned, 64-byte aligned; *n bytes. NULL where the codec has none. */
static inline void *codec_params(const kvc_codec *codec, uint32_t heads, uint32_t d, uint32_t page, uint64_t seed,
                                 size_t *n)
{
    kvc_coder coder;
    kvc_error err = {""};
    kvc_codec bare = *codec;
    bare.param_offset = bare.param_bytes = 0;
    if (kvc_coder_init(&coder, &bare, NULL, heads, d, page, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    *n = coder.codec.param_bytes;
    if (*n == 0) return NULL;
    uint8_t *params = aligned_alloc(64, (*n + 63) / 64 * 64);
    memset(params, 0, (*n + 63) / 64 * 64);
    for (uint32_t i = 0; i < codec->n_transforms; i++)
        params_transform(codec->transform[i], coder.n_kv_heads, coder.head_dim, &seed,
                         params + kvc_coder_part_offset(&coder, i));
    uint8_t *last = params + kvc_coder_part_offset(&coder, 4);
    if (params_shared(codec, coder.n_kv_heads, coder.head_dim))
        params_shared_tables(codec, coder.n_kv_heads, coder.head_dim, &seed, last);
    else if (codec->symbol == WIRE_LUT || codec->symbol == WIRE_VQ)
        params_tables(codec, coder.n_kv_heads, coder.head_dim, &seed, last);
    else if (codec->symbol == WIRE_SEG)
        for (size_t i = 0; i < kvc_coder_part_bytes(&coder, 4) / 2; i++)
            ((uint16_t *)last)[i] = kvc_fp16_from_float(1.5f * params_random(&seed));
    return params;
}

static inline void params_round(uint16_t *table, size_t n, float step)
{
    for (size_t i = 0; i < n; i++) table[i] = kvc_fp16_from_float(rintf(kvc_fp16_to_float(table[i]) / step) * step);
}

/* Values of the side's one table become integers times `step`: a byte table, with a step that is not too small. Of
 * shared codes those of 4, 8 and 16 channels do, times step, 2 step and 4 step. */
static inline void params_round_table(const kvc_codec *codec, uint32_t heads, uint32_t d, uint32_t page, float step,
                                      void *params)
{
    kvc_coder coder;
    uint32_t kept, channels, shared = params_shared(codec, heads, d);
    if (codec->symbol != WIRE_VQ || (codec->dims == 0 && !shared) ||
        kvc_coder_init(&coder, codec, NULL, heads, d, page, NULL))
        return;
    uint8_t *part = (uint8_t *)params + kvc_coder_part_offset(&coder, 4);
    if (shared) {
        uint16_t *tables = (uint16_t *)(part + (heads + shared) * sizeof(float)) + heads * d;
        for (uint32_t dims = 4; dims <= 16; dims *= 2)
            params_round(tables + ((size_t)(dims - 1) << codec->bits), (size_t)dims << codec->bits,
                         step * (float)(dims / 4));
        return;
    }
    uint32_t n_codes = params_codes(codec, d, &kept, &channels);
    uint8_t *table = part + heads * n_codes * sizeof(float) + params_order_bytes(heads, kept);
    params_round((uint16_t *)table, (size_t)channels << codec->bits, step);
}

/* Constants of all layers, one behind the other, whose places the layers' codecs learn; steps [n_layers] of keys' and
 * of values' tables (params_round_table()), 0: as they come. Owned, 64-byte aligned; *n bytes. */
static inline void *params_of_layers(kvc_layer *layers, uint32_t n_layers, uint32_t heads, uint32_t d, uint32_t page,
                                     const float steps[][2], size_t *n)
{
    const size_t most = (size_t)1 << 26;
    uint8_t *params = aligned_alloc(64, most);
    *n = 0;
    for (uint32_t i = 0; i < 2 * n_layers; i++) {
        kvc_codec *codec = i % 2 ? &layers[i / 2].value : &layers[i / 2].key;
        size_t bytes;
        void *own = codec_params(codec, heads, d, page, 11 + i, &bytes);
        codec->param_bytes = (uint32_t)bytes;
        if (!own) continue;
        if (steps[i / 2][i % 2] > 0.0f) params_round_table(codec, heads, d, page, steps[i / 2][i % 2], own);
        size_t end = *n + (bytes + 63) / 64 * 64;
        if (end > most) abort();
        codec->param_offset = (uint32_t)*n;
        memcpy(params + *n, own, bytes);
        memset(params + *n + bytes, 0, end - *n - bytes);
        *n = end;
        free(own);
    }
    return params;
}

#endif
