/* table.c - shape, constants and frame of the table symbols (table.h). */
#include "codec/table.h"
#include <string.h>

kvc_status kvci_table_check_scale(const kvc_codec *codec, const char *name, kvc_error *err)
{
    if (codec->scale == KVC_SCALE_NONE || codec->scale == KVC_SCALE_HEAD || codec->scale == KVC_SCALE_STATIC)
        return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "the tables of %s are one, .head or .static", name);
}

/* ---- shape ---- */

static void add_class(table_shape *shape, uint32_t n, uint32_t dims, uint32_t table)
{
    shape->class[shape->n_classes++] = (table_class){n, dims, shape->n_kept, shape->n_codes, table};
    shape->n_codes += n;
    shape->n_kept += n * dims;
}

/* How many of the codes that heads share out among themselves are those of the heads before; *own: the head's. Both
 * are unknown, zero, as long as there are no constants. */
static uint32_t share_of(const kvc_coder *coder, uint32_t head, uint32_t *own)
{
    const uint32_t *counts = coder->part[KVC_SYMBOL_PIECE];
    uint32_t before = 0;
    for (uint32_t i = 0; counts && i < head; i++) before += counts[i];
    *own = counts ? counts[head] : 0;
    return before;
}

/* Tables of 1, 2, 4, 8, 16 dims, whether a head has such codes or not. */
static table_shape shared_shape(const kvc_coder *coder, uint32_t head)
{
    kvc_code_class classes[2];
    uint32_t own, before = share_of(coder, head, &own);
    table_shape shape = {.codes_before = before};
    uint32_t n = own ? kvc_share_classes(coder->head_dim, own, classes) : 0;
    for (uint32_t i = 0; i < n; i++) add_class(&shape, classes[i].n, classes[i].dims, classes[i].dims - 1);
    return shape;
}

table_shape kvci_table_shape(const kvc_coder *coder, uint32_t head)
{
    kvc_code_class classes[5];
    table_shape shape = {0};
    if (kvci_table_shared(coder)) return shared_shape(coder, head);
    uint32_t n = kvc_codec_classes(&coder->codec, coder->head_dim, classes), table = 0;
    for (uint32_t i = 0; i < n; table += classes[i++].dims) add_class(&shape, classes[i].n, classes[i].dims, table);
    shape.codes_before = head * shape.n_codes;
    return shape;
}

static kvc_status shared_fits(const kvc_coder *coder, kvc_error *err)
{
    uint64_t n = kvci_table_shared(coder);
    if (n == 0)
        return kvc_fail(err, KVC_INVALID, "%u codes for every %u channels are none for %u heads of %u",
                        coder->codec.segment[5], TABLE_MIX_ROW, coder->n_kv_heads, coder->head_dim);
    if (n * coder->page / 8u * coder->codec.bits > UINT32_MAX - 16u)
        return kvc_fail(err, KVC_INVALID, "a page of %llu codes a token does not fit 4 GiB", (unsigned long long)n);
    return KVC_OK;
}

kvc_status kvci_table_fits(const kvc_coder *coder, kvc_error *err)
{
    uint32_t d = coder->head_dim, dims = coder->codec.dims, left = dims ? d % dims : 0;
    if (dims == 0 && coder->codec.segment[5]) return shared_fits(coder, err);
    for (uint32_t k = 0; dims == 0 && k < 5; k++) left |= coder->codec.segment[k] * d % TABLE_MIX_ROW;
    if (left == 0) return KVC_OK;
    char spec[KVC_SPEC_MAX];
    kvc_codec_format(&coder->codec, spec);
    return kvc_fail(err, KVC_INVALID, "%s does not fit rows of %u channels", spec, d);
}

/* Whole bytes: a page is a multiple of 8. */
static uint32_t stream_bytes(const kvc_coder *coder, uint64_t n_codes)
{
    return (uint32_t)(coder->page / 8u * n_codes * coder->codec.bits);
}

/* Dropped channels cost nothing; what is left over of d' is zero. Shared codes may leave one head none. */
void kvci_table_layout(kvc_coder *coder)
{
    if (kvci_table_shared(coder)) {
        coder->code_bytes = stream_bytes(coder, kvci_table_shared(coder));
        coder->page_bytes = (coder->code_bytes + 15u) & ~15u;
    } else {
        table_shape shape = kvci_table_shape(coder, 0);
        coder->latent_dim = (shape.n_kept + 7u) & ~7u;
        coder->code_bytes = stream_bytes(coder, shape.n_codes);
    }
    coder->block_bytes = coder->code_bytes;
}

/* The last head's has the padding of the page. */
kvc_block kvci_vq_block(const kvc_coder *coder, uint32_t head)
{
    if (!kvci_table_shared(coder)) return (kvc_block){(uint64_t)head * coder->block_bytes, coder->block_bytes};
    if (!coder->part[KVC_SYMBOL_PIECE]) return (kvc_block){0, 0};
    uint32_t own, offset = stream_bytes(coder, share_of(coder, head, &own));
    return (kvc_block){offset,
                       head + 1 == coder->n_kv_heads ? coder->block_bytes - offset : stream_bytes(coder, own)};
}

/* ---- frame: y[p] = x[order[p]] / scale of the sub-vector that has position p ---- */

/* The order of the stage's head and the scale of each position; returns how many there are. */
static uint32_t frame_of(kvc_stage stage, const uint16_t **order, float scale[KVC_MAX_ROW])
{
    table_shape shape = kvci_table_shape(stage.coder, stage.head);
    const float *scales = kvci_table_scales(stage.coder, &shape);
    for (uint32_t i = 0; i < shape.n_classes; i++) {
        const table_class *c = &shape.class[i];
        for (uint32_t p = 0; p < c->n * c->dims; p++) scale[c->position + p] = scales[c->code + p / c->dims];
    }
    *order = kvci_table_order(stage.coder, stage.head);
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
