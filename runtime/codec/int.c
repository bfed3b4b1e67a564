/* int.c - symbol "int": asymmetric uniform codes of 1, 2, 3, 4, 6 or 8 bits, with an fp16 scale and minimum
 * for each group of channels of one token (".tok G") or of tokens of one channel (".ch G"). FORMAT.md, "int".
 *
 * Scales and codes are made as uniform.h says.
 *
 * Codes lie in planes of 1, 2, 4 or 8 bits (3 = 2 + 1, 6 = 4 + 2), low bits first. In a plane of w bits a row
 * of d codes takes n = d w / 8 bytes, and byte j holds channel j + k n at bit k w: unpacking is shifts and
 * masks on whole vectors. */
#include <stdbool.h>
#include <string.h>
#include "codec/uniform.h"

typedef struct planes {
    uint8_t n;
    uint8_t width[2];
} planes;

KVC_INLINE planes planes_of(uint32_t bits)
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
    return kvci_check_unsegmented(codec, err);
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

KVC_INLINE void quantise_row(const float *restrict x, const row_scale *restrict range, uint32_t d, int32_t top,
                             uint8_t *restrict codes)
{
    for (uint32_t i = 0; i < d; i++) codes[i] = (uint8_t)uniform_code(x[i], range->scale[i], range->minimum[i], top);
}

KVC_INLINE void pack_row(const uint8_t *restrict codes, uint32_t d, uint32_t shift, uint32_t width,
                         uint8_t *restrict bytes)
{
    uint32_t n = d * width / 8u, mask = (1u << width) - 1u;
    memset(bytes, 0, n);
    for (uint32_t k = 0; k < 8u / width; k++)
        for (uint32_t j = 0; j < n; j++) bytes[j] |= (uint8_t)((codes[j + k * n] >> shift & mask) << (k * width));
}

KVC_CLONES static void encode_row(const kvc_coder *coder, const float *x, const row_scale *range, uint32_t row,
                                  uint8_t *block)
{
    uint8_t codes[KVC_MAX_ROW];
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

/* Extremes of n values, a multiple of eight. */
KVC_CLONES static void group_extremes(const float *x, uint32_t n, float *lo, float *hi)
{
    v8 low = v8_load(x), high = low;
    for (uint32_t i = KVC_LANES; i < n; i += KVC_LANES) {
        v8 value = v8_load(x + i);
        low = v8_choose(value < low, value, low);
        high = v8_choose(value > high, value, high);
    }
    *lo = low[0], *hi = high[0];
    for (uint32_t i = 1; i < KVC_LANES; i++) {
        *lo = low[i] < *lo ? low[i] : *lo;
        *hi = high[i] > *hi ? high[i] : *hi;
    }
}

static void encode_tok(const kvc_coder *coder, const float *y, uint16_t *scales, uint16_t *minima, uint8_t *block)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    float levels = (float)((1u << coder->codec.bits) - 1u), lo, hi;
    row_scale range;
    for (uint32_t row = 0; row < coder->page; row++, y += d) {
        for (uint32_t i = 0; i < d; i += group) {
            group_extremes(y + i, group, &lo, &hi);
            uniform_choose(lo, hi, levels, scales, minima);
            float scale = half_to_float(*scales++), minimum = half_to_float(*minima++);
            for (uint32_t j = i; j < i + group; j++) range.scale[j] = scale, range.minimum[j] = minimum;
        }
        encode_row(coder, y, &range, row, block);
    }
}

static void encode_ch(const kvc_coder *coder, const float *y, uint16_t *scales, uint16_t *minima, uint8_t *block)
{
    uint32_t d = coder->latent_dim, group = coder->codec.group;
    float levels = (float)((1u << coder->codec.bits) - 1u);
    row_scale range;
    for (uint32_t row = 0; row < coder->page; row += group, scales += d, minima += d) {
        kvci_uniform_columns(y + row * d, group, d, d, levels, scales, minima, &range, 0);
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

/* Eight bytes, so that lane i of the result has byte i at bit 8 (i mod 4). */
KVC_INLINE v8i spread(const uint8_t *bytes)
{
    typedef int64_t v4l __attribute__((vector_size(32)));
    int64_t both;
    memcpy(&both, bytes, sizeof both);
    v8i words = (v8i)(v4l){both};
    return __builtin_shufflevector(words, words, 0, 0, 0, 0, 1, 1, 1, 1);
}

KVC_INLINE v8i field(v8i words, uint32_t shift, uint32_t width)
{
    const v8i byte = {0, 8, 16, 24, 0, 8, 16, 24};
    return words >> (byte + (int32_t)shift) & (int32_t)((1u << width) - 1u);
}

/* Where the bits of a row lie: bytes of one plane, or of a second one whose rows are half as long. */
typedef struct packed_row {
    const uint8_t *low, *high;
    uint32_t n_bytes; /* of the shorter plane */
} packed_row;

/* Columns `first` .. of every part of a row: what a head dimension leaves over that is not made of whole vectors. */
static void decode_rest(packed_row r, planes p, uint32_t first, const row_scale *range, float *y)
{
    for (uint32_t part = 0; part < 8u / p.width[p.n - 1]; part++) {
        for (uint32_t j = first; j < r.n_bytes; j++) {
            uint32_t c = part * r.n_bytes + j, n_low = r.n_bytes * p.n;
            uint32_t code = r.low[c % n_low] >> (c / n_low * p.width[0]) & ((1u << p.width[0]) - 1u);
            if (p.n == 2) code |= (r.high[j] >> (part * p.width[1]) & ((1u << p.width[1]) - 1u)) << p.width[0];
            y[c] = range->minimum[c] + range->scale[c] * (float)code;
        }
    }
}

/* y = minimum + scale * code. Part k of a row are the channels k n .. k n + n - 1, n the bytes of its shorter plane.
 */
KVC_INLINE void decode_row(packed_row r, planes p, const row_scale *range, float *y)
{
    uint32_t j = 0;
    for (; j + KVC_LANES <= r.n_bytes; j += KVC_LANES) {
        v8i high = {0};
        if (p.n == 2) high = spread(r.high + j);
        for (uint32_t half = 0; half < p.n; half++) {
            v8i low = spread(r.low + half * r.n_bytes + j);
            for (uint32_t slot = 0; slot < 8u / p.width[0]; slot++) {
                uint32_t part = slot * p.n + half, c = part * r.n_bytes + j;
                v8i code = field(low, slot * p.width[0], p.width[0]);
                if (p.n == 2) code |= field(high, part * p.width[1], p.width[1]) << p.width[0];
                v8 steps = __builtin_convertvector(code, v8);
                v8_store(y + c, v8_load(range->minimum + c) + v8_load(range->scale + c) * steps);
            }
        }
    }
    if (j < r.n_bytes) decode_rest(r, p, j, range, y);
}

/* Scales [n_scales] and minima of the row's groups, each held by `repeat` channels. */
KVC_INLINE void expand_scales(const float *scales, const float *minima, uint32_t d, uint32_t group, row_scale *range)
{
    for (uint32_t i = 0, c = 0; c < d; i++) {
        v8 scale = v8_all(scales[i]), minimum = v8_all(minima[i]);
        for (uint32_t end = c + group; c < end; c += KVC_LANES) {
            v8_store(range->scale + c, scale);
            v8_store(range->minimum + c, minimum);
        }
    }
}

/* Rows first_row .. of a page. Scales become floats in batches: of all groups of some rows (tok), or of all channels
 * (ch). */
KVC_INLINE void decode_width(const kvc_coder *coder, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                             float *y, planes p)
{
    bool by_token = coder->codec.scale == KVC_SCALE_TOK;
    uint32_t d = coder->latent_dim, group = coder->codec.group, per_row = by_token ? d / group : d;
    uint32_t low_bytes = d * p.width[0] / 8u, high_bytes = d * p.width[1] / 8u;
    const uint8_t *high = block + coder->page * low_bytes;
    const uint16_t *scales = (const uint16_t *)(block + coder->code_bytes), *minima = scales + n_scales(coder);
    row_scale batch, range;
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n) {
        n = by_token ? KVC_MAX_ROW / per_row : group - row % group;
        n = n < left ? n : left;
        size_t at = (size_t)(by_token ? row : row / group) * per_row, count = by_token ? (size_t)n * per_row : d;
        kvc_rows_to_float(scales + at, KVC_F16, count, batch.scale);
        kvc_rows_to_float(minima + at, KVC_F16, count, batch.minimum);
        for (uint32_t i = 0; i < n; i++, y += d) {
            packed_row r = {block + (row + i) * low_bytes, high + (row + i) * high_bytes,
                            p.n == 2 ? high_bytes : low_bytes};
            if (by_token) expand_scales(batch.scale + i * per_row, batch.minimum + i * per_row, d, group, &range);
            decode_row(r, p, by_token ? &range : &batch, y);
        }
    }
}

/* The widths are spelled out so that shifts and masks are constants in each copy. */
KVC_CLONES static void decode_rows(const kvc_coder *coder, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                                   float *y)
{
    switch (coder->codec.bits) {
    case 1: decode_width(coder, block, first_row, n_rows, y, planes_of(1)); break;
    case 2: decode_width(coder, block, first_row, n_rows, y, planes_of(2)); break;
    case 3: decode_width(coder, block, first_row, n_rows, y, planes_of(3)); break;
    case 4: decode_width(coder, block, first_row, n_rows, y, planes_of(4)); break;
    case 6: decode_width(coder, block, first_row, n_rows, y, planes_of(6)); break;
    case 8: decode_width(coder, block, first_row, n_rows, y, planes_of(8)); break;
    }
}

static void decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                   float *y)
{
    (void)head;
    decode_rows(coder, block, first_row, n_rows, y);
}

const kvc_symbol kvci_symbol_int = {.check = check, .layout = layout, .encode = encode, .decode = decode};
