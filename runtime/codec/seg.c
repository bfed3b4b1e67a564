/* seg.c - symbol "seg": scalar codes of 0 to 8 bits, each eighth of the latent channels having its own number of
 * bits, as the transform before it sorts them by energy (SVDq, arXiv 2502.15304). FORMAT.md, "seg".
 *
 * ".ch G": int's scale and minimum for each channel over G tokens, with the levels of its eighth. ".static": a fitted
 * table of 2^b entries for each channel of each head and no metadata. Eighths of 0 bits are dropped.
 *
 * Work goes by batches of 8 rows: 8 m codes of an eighth of m channels are whole bytes of every plane (planes.h). */
#include <string.h>
#include "codec/planes.h"
#include "codec/uniform.h"

#define EIGHTHS 8u
#define ROWS 8u
#define MAX_CODES (ROWS * KVC_MAX_ROW / EIGHTHS) /* of an eighth in a batch */

static kvc_status check(const kvc_codec *codec, kvc_error *err)
{
    uint8_t most = 0;
    for (uint32_t e = 0; e < EIGHTHS; e++) {
        if (codec->segment[e] > 8)
            return kvc_fail(err, KVC_FORMAT, "seg: eighth %u has %u bits, at most 8", e, codec->segment[e]);
        most = codec->segment[e] > most ? codec->segment[e] : most;
    }
    if (most == 0) return kvc_fail(err, KVC_FORMAT, "seg drops every channel");
    if (codec->bits != most)
        return kvc_fail(err, KVC_FORMAT, "seg states %u bits, its eighths have up to %u", codec->bits, most);
    if (codec->dims != 1) return kvc_fail(err, KVC_FORMAT, "seg codes hold 1 value, not %u", codec->dims);
    if (codec->scale != KVC_SCALE_CH && codec->scale != KVC_SCALE_STATIC)
        return kvc_fail(err, KVC_FORMAT, "seg needs a scale: ch or static");
    return KVC_OK;
}

/* Channels of an eighth. */
static uint32_t width_of(const kvc_coder *coder)
{
    return coder->latent_dim / EIGHTHS;
}

static uint32_t kept_channels(const kvc_coder *coder)
{
    uint32_t n = 0;
    for (uint32_t e = 0; e < EIGHTHS; e++) n += coder->codec.segment[e] ? width_of(coder) : 0;
    return n;
}

/* Scales of a page, and as many minima. */
static uint32_t n_scales(const kvc_coder *coder)
{
    return coder->codec.scale == KVC_SCALE_CH ? coder->page / coder->codec.group * kept_channels(coder) : 0;
}

static void layout(kvc_coder *coder)
{
    uint32_t bits = 0;
    for (uint32_t e = 0; e < EIGHTHS; e++) bits += coder->codec.segment[e];
    coder->code_bytes = (coder->page / 8u * width_of(coder) * bits + 1u) & ~1u; /* fp16 numbers follow */
    coder->block_bytes = coder->code_bytes + n_scales(coder) * 2u * 2u;
}

/* ---- constants: for each head, for each kept channel its table, fp16 ---- */

static size_t head_values(const kvc_coder *coder)
{
    size_t n = 0;
    for (uint32_t e = 0; e < EIGHTHS; e++)
        if (coder->codec.segment[e]) n += (size_t)width_of(coder) << coder->codec.segment[e];
    return n;
}

static const uint16_t *head_tables(const kvc_coder *coder, uint32_t head)
{
    return (const uint16_t *)coder->part[KVC_SYMBOL_PIECE] + head * head_values(coder);
}

static size_t param_bytes(const kvc_coder *coder)
{
    if (coder->codec.scale != KVC_SCALE_STATIC) return 0;
    return coder->n_kv_heads * head_values(coder) * sizeof(uint16_t);
}

static kvc_status param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    const uint16_t *values = params;
    size_t n = coder->n_kv_heads * head_values(coder);
    for (size_t i = 0; i < n; i++)
        if ((values[i] & 0x7c00u) == 0x7c00u)
            return kvc_fail(err, KVC_NONFINITE, "seg: table value %zu is NaN or infinite", i);
    return KVC_OK;
}

/* ---- encode ---- */

static void choose_scales(const kvc_coder *coder, const float *y, uint16_t *scales, uint16_t *minima,
                          row_scale *range)
{
    uint32_t m = width_of(coder), d = coder->latent_dim;
    for (uint32_t e = 0; e < EIGHTHS; e++) {
        uint32_t bits = coder->codec.segment[e];
        if (bits == 0) continue;
        float levels = (float)((1u << bits) - 1u);
        kvci_uniform_columns(y + e * m, coder->codec.group, d, m, levels, scales, minima, range, e * m);
        scales += m;
        minima += m;
    }
}

/* One row of an eighth. */
KVC_CLONES static void quantise(const float *restrict x, const float *restrict scales, const float *restrict minima,
                                uint32_t n, int32_t top, uint16_t *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) codes[i] = (uint16_t)uniform_code(x[i], scales[i], minima[i], top);
}

/* Eight rows of one channel: the entry at the least distance, the first of equals. codes: m apart. */
KVC_CLONES static void look_up(const float *y, uint32_t d, const uint16_t *table, uint32_t n_entries, uint32_t m,
                               uint16_t *codes)
{
    v8 x, best = v8_all(__builtin_inff());
    v8i code = {0};
    for (uint32_t row = 0; row < ROWS; row++) x[row] = y[(size_t)row * d];
    for (uint32_t e = 0; e < n_entries; e++) {
        v8 step = x - v8_all(half_to_float(table[e])), distance = (v8)((v8i)step & 0x7fffffff);
        v8i closer = distance < best;
        best = v8_choose(closer, distance, best);
        code = (closer & (int32_t)e) | (~closer & code);
    }
    for (uint32_t row = 0; row < ROWS; row++) codes[row * m] = (uint16_t)code[row];
}

/* Rows 8 batch .. of every eighth. range: for scale ch; tables of the head otherwise. */
static void encode_batch(const kvc_coder *coder, const float *y, uint32_t batch, const row_scale *range,
                         const uint16_t *tables, uint8_t *block)
{
    uint32_t d = coder->latent_dim, m = width_of(coder), fields = coder->page * m;
    uint16_t codes[MAX_CODES];
    y += (size_t)batch * ROWS * d;
    for (uint32_t e = 0, first = 0; e < EIGHTHS; e++, first += m) {
        uint32_t bits = coder->codec.segment[e];
        if (bits == 0) continue;
        for (uint32_t row = 0; range && row < ROWS; row++)
            quantise(y + (size_t)row * d + first, range->scale + first, range->minimum + first, m, (1 << bits) - 1,
                     codes + row * m);
        for (uint32_t i = 0; !range && i < m; i++, tables += 1u << bits)
            look_up(y + first + i, d, tables, 1u << bits, m, codes + i);
        kvci_planes_pack(codes, ROWS * m, (size_t)batch * ROWS * m, bits, fields, block);
        block += (size_t)fields / 8u * bits;
    }
}

static void encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block)
{
    uint32_t kept = kept_channels(coder), n_batches = coder->page / ROWS;
    uint16_t *scales = (uint16_t *)(block + coder->code_bytes), *minima = scales + n_scales(coder);
    if (coder->codec.scale == KVC_SCALE_STATIC) {
        const uint16_t *tables = head_tables(coder, head);
        for (uint32_t batch = 0; batch < n_batches; batch++) encode_batch(coder, y, batch, NULL, tables, block);
        return;
    }
    row_scale range;
    for (uint32_t batch = 0, per_group = coder->codec.group / ROWS; batch < n_batches; batch++) {
        if (batch % per_group == 0) {
            size_t at = (size_t)(batch / per_group) * kept;
            choose_scales(coder, y + (size_t)batch * ROWS * coder->latent_dim, scales + at, minima + at, &range);
        }
        encode_batch(coder, y, batch, &range, NULL, block);
    }
}

/* ---- decode ---- */

KVC_CLONES static void scale_codes(const uint16_t *restrict codes, uint32_t n, const float *restrict scales,
                                   const float *restrict minima, float *restrict y)
{
    for (uint32_t i = 0; i < n; i++) y[i] = minima[i] + scales[i] * (float)codes[i];
}

KVC_CLONES static void look_up_codes(const uint16_t *restrict codes, uint32_t n, const uint16_t *restrict tables,
                                     uint32_t bits, float *restrict y)
{
    for (uint32_t i = 0; i < n; i++) y[i] = half_to_float(tables[((size_t)i << bits) + codes[i]]);
}

/* Rows from .. to - 1 of a batch into y [to - from][d']. range: of the kept channels, for scale ch. */
static void decode_batch(const kvc_coder *coder, const uint8_t *block, uint32_t batch, uint32_t from, uint32_t to,
                         const row_scale *range, const uint16_t *tables, float *y)
{
    uint32_t d = coder->latent_dim, m = width_of(coder), fields = coder->page * m, kept = 0;
    uint16_t codes[MAX_CODES];
    for (uint32_t e = 0; e < EIGHTHS; e++, y += m) {
        uint32_t bits = coder->codec.segment[e];
        if (bits) kvci_planes_unpack(block, ROWS * m, (size_t)batch * ROWS * m, bits, fields, codes);
        for (uint32_t row = from; row < to; row++) {
            float *to_y = y + (size_t)(row - from) * d;
            if (bits == 0)
                memset(to_y, 0, m * sizeof *to_y);
            else if (range)
                scale_codes(codes + row * m, m, range->scale + kept, range->minimum + kept, to_y);
            else
                look_up_codes(codes + row * m, m, tables, bits, to_y);
        }
        if (bits == 0) continue;
        kept += m;
        block += (size_t)fields / 8u * bits;
        tables = range ? NULL : tables + ((size_t)m << bits);
    }
}

static void decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row, uint32_t n_rows,
                   float *y)
{
    int by_channel = coder->codec.scale == KVC_SCALE_CH;
    const uint16_t *scales = (const uint16_t *)(block + coder->code_bytes), *minima = scales + n_scales(coder);
    const uint16_t *tables = by_channel ? NULL : head_tables(coder, head);
    uint32_t kept = kept_channels(coder), end = first_row + n_rows, loaded = UINT32_MAX;
    row_scale range;
    for (uint32_t row = first_row, next; row < end; row = next) {
        uint32_t batch = row / ROWS, group = by_channel ? row / coder->codec.group : 0;
        next = (batch + 1) * ROWS < end ? (batch + 1) * ROWS : end;
        if (by_channel && group != loaded) {
            kvc_rows_to_float(scales + (size_t)group * kept, KVC_F16, kept, range.scale);
            kvc_rows_to_float(minima + (size_t)group * kept, KVC_F16, kept, range.minimum);
            loaded = group;
        }
        decode_batch(coder, block, batch, row % ROWS, next - batch * ROWS, by_channel ? &range : NULL, tables, y);
        y += (size_t)(next - row) * coder->latent_dim;
    }
}

const kvc_symbol kvci_symbol_seg = {.check = check,
                                    .layout = layout,
                                    .encode = encode,
                                    .decode = decode,
                                    .param_bytes = param_bytes,
                                    .param_check = param_check};
