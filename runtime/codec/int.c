/* int.c - symbol "int": asymmetric uniform codes of 1, 2, 3, 4, 6 or 8 bits, with an fp16 scale and minimum
 * for each group of channels of one token (".tok G") or of tokens of one channel (".ch G"). FORMAT.md, "int".
 *
 * For a group with extremes lo and hi:  m = lo rounded down to fp16,  s = (hi - m) / (2^b - 1) rounded up to
 * fp16, code = clamp(rint((x - m) / s), 0, 2^b - 1),  decoded m + s * code.  Rounding outwards means that
 * nothing clips, so the error is at most s / 2 and a few roundings. The exception: s saturates at 65504,
 * which only int1 can reach. A group of one value that fp16 represents has s = 0 and codes 0.
 *
 * Codes lie in planes of 1, 2, 4 or 8 bits (3 = 2 + 1, 6 = 4 + 2), low bits first. In a plane of w bits a row
 * of d codes takes n = d w / 8 bytes, and byte j holds channel j + k n at bit k w: unpacking is shifts and
 * masks on whole vectors. */
#include <math.h>
#include "codec/half.h"
#include "codec/pieces.h"
#include "simd.h"

typedef struct planes {
    uint8_t n;
    uint8_t width[2];
} planes;

static planes planes_of(uint32_t bits)
{
    switch (bits) {
    case 3: return (planes){2, {2, 1}};
    case 6: return (planes){2, {4, 2}};
    default: return (planes){1, {(uint8_t)bits, 0}};
    }
}

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    static const uint32_t widths = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 6 | 1u << 8;
    if (codec->bits > 8 || !(widths >> codec->bits & 1u))
        return kvc_fail(err, KVC_FORMAT, "int has 1, 2, 3, 4, 6 or 8 bits, not %u", codec->bits);
    if (codec->dims != 1) return kvc_fail(err, KVC_FORMAT, "int codes hold 1 value, not %u", codec->dims);
    if (codec->scale == KVC_SCALE_STATIC)
        return kvc_fail(err, KVC_UNSUPPORTED, "scale 'static' of int is not in this version");
    if (codec->scale != KVC_SCALE_TOK && codec->scale != KVC_SCALE_CH)
        return kvc_fail(err, KVC_FORMAT, "int needs a scale: tok or ch");
    return KVC_OK;
}

static uint32_t n_scales(const kvc_coder *coder)
{
    return coder->page * coder->latent_dim / coder->codec.group;
}

static void layout(kvc_coder *coder)
{
    coder->code_bytes = coder->page * coder->latent_dim * coder->codec.bits / 8u;
    coder->block_bytes = coder->code_bytes + n_scales(coder) * 2u * 2u;
}

/* ---- encode ---- */

typedef struct row_scale { /* of each channel, for the row at hand */
    float scale[KVC_MAX_HEAD_DIM], minimum[KVC_MAX_HEAD_DIM];
} row_scale;

/* fp16 scale and minimum of the range lo .. hi. */
static void choose_scale(float lo, float hi, float levels, uint16_t *scale, uint16_t *minimum)
{
    /* -0 becomes +0: which of two zeros is least or greatest is not defined */
    *minimum = kvc_fp16_from_float_down(lo + 0.0f);
    *scale = kvc_fp16_from_float_up((hi - half_to_float(*minimum)) / levels + 0.0f);
}

/* code = rint((x - m) / s); where s is 0, x - m is 0 too. Adding 2^23 leaves the rounded integer in the low
 * bits. */
KVC_CLONES static void quantise_row(const float *restrict x, const row_scale *restrict range, uint32_t d, int32_t top,
                                    uint8_t *restrict codes)
{
    for (uint32_t i = 0; i < d; i++) {
        float scale = range->scale[i] > 0.0f ? range->scale[i] : 1.0f;
        float steps = (x[i] - range->minimum[i]) / scale;
        int32_t code = (int32_t)(half_bits(steps + 0x1p23f) & 0x7fffffu);
        codes[i] = (uint8_t)(code < top ? code : top);
    }
}

static void pack_row(const uint8_t *codes, uint32_t d, uint32_t shift, uint32_t width, uint8_t *bytes)
{
    uint32_t n = d * width / 8u, mask = (1u << width) - 1u;
    memset(bytes, 0, n);
    for (uint32_t k = 0; k < 8u / width; k++)
        for (uint32_t j = 0; j < n; j++)
            bytes[j] |= (uint8_t)(((uint32_t)codes[j + k * n] >> shift & mask) << (k * width));
}

static void encode_row(const kvc_coder *coder, const float *x, const row_scale *range, uint32_t row, uint8_t *block)
{
    uint8_t codes[KVC_MAX_HEAD_DIM];
    uint32_t d = coder->latent_dim, shift = 0;
    planes p = planes_of(coder->codec.bits);
    quantise_row(x, range, d, (1 << coder->codec.bits) - 1, codes);
    for (uint32_t i = 0; i < p.n; i++) {
        uint32_t row_bytes = d * p.width[i] / 8u;
        pack_row(codes, d, shift, p.width[i], block + row * row_bytes);
        block += coder->page * row_bytes;
        shift += p.width[i];
    }
}

static void encode_tok(const kvc_coder *coder, const float *y, uint16_t *scales, uint16_t *minima, uint8_t *block)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    float levels = (float)((1u << coder->codec.bits) - 1u);
    row_scale range;
    for (uint32_t row = 0; row < coder->page; row++, y += d) {
        for (uint32_t i = 0; i < d; i += group) {
            float lo = y[i], hi = y[i];
            for (uint32_t j = i + 1; j < i + group; j++) {
                lo = y[j] < lo ? y[j] : lo;
                hi = y[j] > hi ? y[j] : hi;
            }
            choose_scale(lo, hi, levels, scales, minima);
            float scale = half_to_float(*scales++), minimum = half_to_float(*minima++);
            for (uint32_t j = i; j < i + group; j++) range.scale[j] = scale, range.minimum[j] = minimum;
        }
        encode_row(coder, y, &range, row, block);
    }
}

KVC_CLONES static void column_extremes(const float *restrict y, uint32_t rows, uint32_t d, float *restrict lo,
                                       float *restrict hi)
{
    memcpy(lo, y, d * sizeof *lo);
    memcpy(hi, y, d * sizeof *hi);
    for (uint32_t row = 1; row < rows; row++) {
        const float *x = y + row * d;
        for (uint32_t i = 0; i < d; i++) lo[i] = x[i] < lo[i] ? x[i] : lo[i];
        for (uint32_t i = 0; i < d; i++) hi[i] = x[i] > hi[i] ? x[i] : hi[i];
    }
}

static void encode_ch(const kvc_coder *coder, const float *y, uint16_t *scales, uint16_t *minima, uint8_t *block)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    float levels = (float)((1u << coder->codec.bits) - 1u), lo[KVC_MAX_HEAD_DIM], hi[KVC_MAX_HEAD_DIM];
    row_scale range;
    for (uint32_t row = 0; row < coder->page; row += group) {
        column_extremes(y + row * d, group, d, lo, hi);
        for (uint32_t i = 0; i < d; i++, scales++, minima++) {
            choose_scale(lo[i], hi[i], levels, scales, minima);
            range.scale[i] = half_to_float(*scales);
            range.minimum[i] = half_to_float(*minima);
        }
        for (uint32_t i = row; i < row + group; i++) encode_row(coder, y + i * d, &range, i, block);
    }
}

static void encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block)
{
    (void)head;
    uint16_t *scales = (uint16_t *)(block + coder->code_bytes), *minima = scales + n_scales(coder);
    if (coder->codec.scale == KVC_SCALE_TOK)
        encode_tok(coder, y, scales, minima, block);
    else
        encode_ch(coder, y, scales, minima, block);
}

/* ---- decode ---- */

/* Adds the bits of one plane of a row to its codes. */
KVC_INLINE void unpack_row(const uint8_t *restrict bytes, uint32_t d, uint32_t shift, uint32_t width,
                           uint8_t *restrict codes)
{
    uint32_t n = d * width / 8u, mask = (1u << width) - 1u;
    for (uint32_t k = 0; k < 8u / width; k++) {
        uint8_t *restrict part = codes + k * n;
        if (shift)
            for (uint32_t j = 0; j < n; j++) part[j] |= (uint8_t)((bytes[j] >> (k * width) & mask) << shift);
        else
            for (uint32_t j = 0; j < n; j++) part[j] = (uint8_t)(bytes[j] >> (k * width) & mask);
    }
}

/* The codes of a row, one to a byte; those of 8 bits are used where they lie. */
KVC_INLINE const uint8_t *row_codes(const kvc_coder *coder, const uint8_t *block, uint32_t row,
                                    uint8_t *restrict codes)
{
    uint32_t d = coder->latent_dim, shift = 0;
    if (coder->codec.bits == 8) return block + row * d;
    planes p = planes_of(coder->codec.bits);
    for (uint32_t i = 0; i < p.n; i++) {
        uint32_t row_bytes = d * p.width[i] / 8u;
        unpack_row(block + row * row_bytes, d, shift, p.width[i], codes);
        block += coder->page * row_bytes;
        shift += p.width[i];
    }
    return codes;
}

KVC_CLONES static void decode_tok(const kvc_coder *coder, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                                  float *restrict y)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    const uint16_t *scales = (const uint16_t *)(block + coder->code_bytes) + first_row * (d / group);
    const uint16_t *minima = scales + n_scales(coder);
    uint8_t buffer[KVC_MAX_HEAD_DIM];
    for (uint32_t row = first_row; row < first_row + n_rows; row++, y += d) {
        const uint8_t *codes = row_codes(coder, block, row, buffer);
        for (uint32_t i = 0; i < d; i += group) {
            float scale = half_to_float(*scales++), minimum = half_to_float(*minima++);
            for (uint32_t j = i; j < i + group; j++) y[j] = minimum + scale * (float)codes[j];
        }
    }
}

KVC_CLONES static void decode_ch(const kvc_coder *coder, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                                 float *restrict y)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    const uint16_t *scales = (const uint16_t *)(block + coder->code_bytes), *minima = scales + n_scales(coder);
    uint8_t buffer[KVC_MAX_HEAD_DIM];
    float scale[KVC_MAX_HEAD_DIM], minimum[KVC_MAX_HEAD_DIM];
    for (uint32_t row = first_row; row < first_row + n_rows; row++, y += d) {
        if (row == first_row || row % group == 0) {
            for (uint32_t i = 0; i < d; i++) scale[i] = half_to_float(scales[row / group * d + i]);
            for (uint32_t i = 0; i < d; i++) minimum[i] = half_to_float(minima[row / group * d + i]);
        }
        const uint8_t *codes = row_codes(coder, block, row, buffer);
        for (uint32_t i = 0; i < d; i++) y[i] = minimum[i] + scale[i] * (float)codes[i];
    }
}

static void decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                   float *y)
{
    (void)head;
    if (coder->codec.scale == KVC_SCALE_TOK)
        decode_tok(coder, block, first_row, n_rows, y);
    else
        decode_ch(coder, block, first_row, n_rows, y);
}

const kvc_symbol kvci_symbol_int = {check, layout, encode, decode};
