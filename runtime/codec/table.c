/* table.c - shape, constants and frame of the table symbols (table.h). */
#include "codec/table.h"
#include <math.h>
#include "codec/half.h"
#include "simd.h"

kvc_status kvci_table_check_scale(const kvc_codec *codec, const char *name, kvc_error *err)
{
    if (codec->scale == KVC_SCALE_NONE || codec->scale == KVC_SCALE_HEAD || codec->scale == KVC_SCALE_STATIC)
        return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "the tables of %s are one, .head or .static", name);
}

/* ---- shape ---- */

/* Runs of equal eighths. */
static table_shape bands_of(const uint8_t dims[8], uint32_t eighth)
{
    table_shape shape = {0};
    uint32_t table = 0;
    for (uint32_t i = 0, end; i < 8 && dims[i]; i = end) {
        for (end = i + 1; end < 8 && dims[end] == dims[i];) end++;
        uint32_t n = (end - i) * eighth / dims[i];
        shape.band[shape.n_bands++] = (table_band){i * eighth, n, dims[i], shape.n_codes, table};
        shape.n_codes += n;
        shape.n_channels = end * eighth;
        table += dims[i];
    }
    return shape;
}

table_shape kvci_table_shape(const kvc_coder *coder)
{
    uint32_t d = coder->latent_dim, dims = coder->codec.dims;
    if (dims == 0) return bands_of(coder->codec.segment, d / 8u);
    return (table_shape){1, d / dims, d, {{0, d / dims, dims, 0, 0}}};
}

kvc_status kvci_table_fits(const kvc_coder *coder, kvc_error *err)
{
    table_shape shape = kvci_table_shape(coder);
    for (uint32_t i = 0; i < shape.n_bands; i++) {
        uint32_t end = i + 1 < shape.n_bands ? shape.band[i + 1].channel : shape.n_channels;
        uint32_t n_channels = end - shape.band[i].channel;
        if (n_channels % shape.band[i].dims)
            return kvc_fail(err, KVC_INVALID, "%u channels of the head cannot be cut into vectors of %u", n_channels,
                            shape.band[i].dims);
    }
    return KVC_OK;
}

/* Whole bytes: a page is a multiple of 8. */
void kvci_table_layout(kvc_coder *coder)
{
    coder->code_bytes = coder->page / 8u * kvci_table_shape(coder).n_codes * coder->codec.bits;
    coder->block_bytes = coder->code_bytes;
}

/* ---- constants: scales fp32 [H][n_codes], then the tables, fp16 ---- */

static size_t n_scales(const kvc_coder *coder, const table_shape *shape)
{
    return (size_t)coder->n_kv_heads * shape->n_codes;
}

/* Table values of one head (head, static), or of all (none). */
static size_t table_values(const kvc_coder *coder, const table_shape *shape)
{
    const table_band *last = &shape->band[shape->n_bands - 1];
    size_t dims = coder->codec.scale == KVC_SCALE_STATIC ? shape->n_channels : last->table + last->dims;
    return dims << coder->codec.bits;
}

const float *kvci_table_scales(const kvc_coder *coder, const table_shape *shape, uint32_t head)
{
    return (const float *)coder->part[4] + (size_t)head * shape->n_codes;
}

const uint16_t *kvci_table_of(const kvc_coder *coder, const table_shape *shape, const table_band *band, uint32_t head,
                              size_t *stride)
{
    const uint16_t *tables = (const uint16_t *)((const float *)coder->part[4] + n_scales(coder, shape));
    uint32_t bits = coder->codec.bits;
    *stride = coder->codec.scale == KVC_SCALE_STATIC ? (size_t)band->dims << bits : 0;
    if (coder->codec.scale != KVC_SCALE_NONE) tables += head * table_values(coder, shape);
    return tables + ((size_t)(*stride ? band->channel : band->table) << bits);
}

size_t kvci_table_param_bytes(const kvc_coder *coder)
{
    table_shape shape = kvci_table_shape(coder);
    size_t n_tables = coder->codec.scale == KVC_SCALE_NONE ? 1 : coder->n_kv_heads;
    return n_scales(coder, &shape) * sizeof(float) + n_tables * table_values(coder, &shape) * sizeof(uint16_t);
}

kvc_status kvci_table_param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    table_shape shape = kvci_table_shape(coder);
    const float *scales = params;
    size_t n = n_scales(coder, &shape);
    for (size_t i = 0; i < n; i++)
        if (!(scales[i] > 0.0f) || !isfinite(scales[i]))
            return kvc_fail(err, KVC_NONFINITE, "scale %zu of head %zu is %g", i % shape.n_codes, i / shape.n_codes,
                            (double)scales[i]);
    const uint16_t *values = (const uint16_t *)(scales + n);
    size_t n_values = (kvci_table_param_bytes(coder) - n * sizeof *scales) / sizeof *values;
    for (size_t i = 0; i < n_values; i++)
        if ((values[i] & 0x7c00u) == 0x7c00u)
            return kvc_fail(err, KVC_NONFINITE, "table value %zu is NaN or infinite", i);
    return KVC_OK;
}

/* ---- frame: y[a + g c + k] = x[a + g + k n] / scale[g] in each band that starts at channel a ---- */

/* Which channel of the incoming row comes to each place, and the scale that it has; returns how many are kept. */
static uint32_t frame_order(kvc_stage stage, uint16_t from[KVC_MAX_ROW], float scale[KVC_MAX_ROW])
{
    table_shape shape = kvci_table_shape(stage.coder);
    const float *scales = kvci_table_scales(stage.coder, &shape, stage.head);
    for (uint32_t i = 0; i < shape.n_bands; i++) {
        const table_band *b = &shape.band[i];
        for (uint32_t g = 0; g < b->n; g++)
            for (uint32_t k = 0, at = b->channel + g * b->dims; k < b->dims; k++, at++) {
                from[at] = (uint16_t)(b->channel + g + k * b->n);
                scale[at] = scales[b->code + g];
            }
    }
    return shape.n_channels;
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    uint16_t from[KVC_MAX_ROW];
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_order(stage, from, scale);
    for (uint32_t i = 0; i < n; i++) y[i] = x[from[i]] / scale[i];
    memset(y + n, 0, (stage.dim - n) * sizeof *y);
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    uint16_t from[KVC_MAX_ROW];
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_order(stage, from, scale);
    (void)mass;
    for (uint32_t i = 0; i < n; i++) x[from[i]] = y[i] * scale[i];
    memset(x + n, 0, (stage.dim - n) * sizeof *x);
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    uint16_t from[KVC_MAX_ROW];
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_order(stage, from, scale);
    for (uint32_t i = 0; i < n; i++) folded[i] = q[from[i]] * scale[i];
    memset(folded + n, 0, (stage.dim - n) * sizeof *folded);
    return 0.0f;
}

const kvc_transform kvci_table_frame = {.forward = forward, .inverse = inverse, .fold = fold};
