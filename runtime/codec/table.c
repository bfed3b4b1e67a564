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

static void add_class(table_shape *shape, uint32_t n, uint32_t dims)
{
    const table_class *last = shape->n_classes ? &shape->class[shape->n_classes - 1] : NULL;
    uint32_t table = last ? last->table + last->dims : 0;
    shape->class[shape->n_classes++] = (table_class){n, dims, shape->n_kept, shape->n_codes, table};
    shape->n_codes += n;
    shape->n_kept += n * dims;
}

table_shape kvci_table_shape(const kvc_coder *coder)
{
    uint32_t d = coder->head_dim, dims = coder->codec.dims;
    const uint8_t *mix = coder->codec.segment;
    table_shape shape = {0};
    if (dims) add_class(&shape, d / dims, dims);
    for (uint32_t k = 0; dims == 0 && k < 5; k++)
        if (mix[k]) add_class(&shape, mix[k] * d / TABLE_MIX_ROW, 1u << k);
    return shape;
}

kvc_status kvci_table_fits(const kvc_coder *coder, kvc_error *err)
{
    uint32_t d = coder->head_dim, dims = coder->codec.dims, left = dims ? d % dims : 0;
    for (uint32_t k = 0; dims == 0 && k < 5; k++) left |= coder->codec.segment[k] * d % TABLE_MIX_ROW;
    if (left == 0) return KVC_OK;
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(&coder->codec, spec);
    return kvc_fail(err, KVC_INVALID, "%s does not fit rows of %u channels", spec, d);
}

/* Whole bytes: a page is a multiple of 8. */
void kvci_table_layout(kvc_coder *coder)
{
    table_shape shape = kvci_table_shape(coder);
    coder->latent_dim = (shape.n_kept + 7u) & ~7u; /* dropped channels cost nothing; what is left over is zero */
    coder->code_bytes = coder->page / 8u * shape.n_codes * coder->codec.bits;
    coder->block_bytes = coder->code_bytes;
}

/* ---- constants: scales fp32 [H][n_codes], order u16 [H][n_kept], zero or two bytes, then the tables, fp16 ---- */

static size_t scale_bytes(const kvc_coder *coder, const table_shape *shape)
{
    return (size_t)coder->n_kv_heads * shape->n_codes * sizeof(float);
}

static size_t order_bytes(const kvc_coder *coder, const table_shape *shape)
{
    return ((size_t)coder->n_kv_heads * shape->n_kept * sizeof(uint16_t) + 3u) & ~(size_t)3;
}

/* Table values of one head (head, static), or of all (none). */
static size_t table_values(const kvc_coder *coder, const table_shape *shape)
{
    const table_class *last = &shape->class[shape->n_classes - 1];
    size_t dims = coder->codec.scale == KVC_SCALE_STATIC ? shape->n_kept : last->table + last->dims;
    return dims << coder->codec.bits;
}

static size_t all_table_values(const kvc_coder *coder, const table_shape *shape)
{
    return (coder->codec.scale == KVC_SCALE_NONE ? 1 : coder->n_kv_heads) * table_values(coder, shape);
}

const float *kvci_table_scales(const kvc_coder *coder, const table_shape *shape, uint32_t head)
{
    return (const float *)coder->part[4] + (size_t)head * shape->n_codes;
}

const uint16_t *kvci_table_order(const kvc_coder *coder, const table_shape *shape, uint32_t head)
{
    const uint8_t *orders = (const uint8_t *)coder->part[4] + scale_bytes(coder, shape);
    return (const uint16_t *)orders + (size_t)head * shape->n_kept;
}

const uint16_t *kvci_table_of(const kvc_coder *coder, const table_shape *shape, const table_class *class,
                              uint32_t head, size_t *stride)
{
    const uint8_t *behind = (const uint8_t *)coder->part[4] + scale_bytes(coder, shape) + order_bytes(coder, shape);
    const uint16_t *tables = (const uint16_t *)behind;
    uint32_t bits = coder->codec.bits;
    *stride = coder->codec.scale == KVC_SCALE_STATIC ? (size_t) class->dims << bits : 0;
    if (coder->codec.scale != KVC_SCALE_NONE) tables += head * table_values(coder, shape);
    return tables + ((size_t)(*stride ? class->position : class->table) << bits);
}

size_t kvci_table_param_bytes(const kvc_coder *coder)
{
    table_shape shape = kvci_table_shape(coder);
    return scale_bytes(coder, &shape) + order_bytes(coder, &shape) +
           all_table_values(coder, &shape) * sizeof(uint16_t);
}

static kvc_status check_order(const kvc_coder *coder, const table_shape *shape, uint32_t head, kvc_error *err)
{
    const uint16_t *order = kvci_table_order(coder, shape, head);
    uint8_t seen[KVC_MAX_ROW] = {0};
    for (uint32_t i = 0; i < shape->n_kept; i++)
        if (order[i] >= coder->head_dim || seen[order[i]]++)
            return kvc_fail(err, KVC_FORMAT, "head %u, position %u: channel %u is too large or twice there", head, i,
                            order[i]);
    return KVC_OK;
}

kvc_status kvci_table_param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    table_shape shape = kvci_table_shape(coder);
    const float *scales = params;
    for (size_t i = 0; i < scale_bytes(coder, &shape) / sizeof *scales; i++)
        if (!(scales[i] > 0.0f) || !isfinite(scales[i]))
            return kvc_fail(err, KVC_NONFINITE, "scale %zu of head %zu is %g", i % shape.n_codes, i / shape.n_codes,
                            (double)scales[i]);
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) KVC_TRY(check_order(coder, &shape, head, err));
    size_t stride, n_values = all_table_values(coder, &shape);
    const uint16_t *values = kvci_table_of(coder, &shape, &shape.class[0], 0, &stride);
    for (size_t i = 0; i < n_values; i++)
        if ((values[i] & 0x7c00u) == 0x7c00u)
            return kvc_fail(err, KVC_NONFINITE, "table value %zu is NaN or infinite", i);
    return KVC_OK;
}

/* ---- frame: y[p] = x[order[p]] / scale of the sub-vector that has position p ---- */

/* The order of the stage's head and the scale of each position; returns how many there are. */
static uint32_t frame_of(kvc_stage stage, const uint16_t **order, float scale[KVC_MAX_ROW])
{
    table_shape shape = kvci_table_shape(stage.coder);
    const float *scales = kvci_table_scales(stage.coder, &shape, stage.head);
    for (uint32_t i = 0; i < shape.n_classes; i++) {
        const table_class *c = &shape.class[i];
        for (uint32_t p = 0; p < c->n * c->dims; p++) scale[c->position + p] = scales[c->code + p / c->dims];
    }
    *order = kvci_table_order(stage.coder, &shape, stage.head);
    return shape.n_kept;
}

static void forward(kvc_stage stage, const float *x, float *y)
{
    const uint16_t *order;
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_of(stage, &order, scale);
    for (uint32_t i = 0; i < n; i++) y[i] = x[order[i]] / scale[i];
    memset(y + n, 0, (stage.dim - n) * sizeof *y);
}

static void inverse(kvc_stage stage, const float *y, float mass, float *x)
{
    const uint16_t *order;
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_of(stage, &order, scale);
    (void)mass;
    memset(x, 0, stage.dim * sizeof *x);
    for (uint32_t i = 0; i < n; i++) x[order[i]] = y[i] * scale[i];
}

static float fold(kvc_stage stage, const float *q, float *folded)
{
    const uint16_t *order;
    float scale[KVC_MAX_ROW];
    uint32_t n = frame_of(stage, &order, scale);
    for (uint32_t i = 0; i < n; i++) folded[i] = q[order[i]] * scale[i];
    memset(folded + n, 0, (stage.dim - n) * sizeof *folded);
    return 0.0f;
}

const kvc_transform kvci_table_frame = {.forward = forward, .inverse = inverse, .fold = fold};
