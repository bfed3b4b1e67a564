/* table_params.c - the constants of the table symbols (table.h): where they lie and whether they will do.
 *
 *     [counts u32 [H],] scales fp32 [codes of all heads], order u16 [H][positions], zero or two bytes, tables fp16
 *
 * Shared codes have counts, and an order of all channels of each head. */
#include "codec/table.h"
#include <math.h>

static size_t n_counts(const kvc_coder *coder)
{
    return kvci_table_shared(coder) ? coder->n_kv_heads : 0;
}

static size_t n_scales(const kvc_coder *coder)
{
    uint64_t shared = kvci_table_shared(coder);
    return shared ? shared : (size_t)coder->n_kv_heads * kvci_table_shape(coder, 0).n_codes;
}

static size_t n_positions(const kvc_coder *coder)
{
    return kvci_table_shared(coder) ? coder->head_dim : kvci_table_shape(coder, 0).n_kept;
}

static size_t before_tables(const kvc_coder *coder)
{
    size_t order_bytes = coder->n_kv_heads * n_positions(coder) * sizeof(uint16_t);
    return (n_counts(coder) + n_scales(coder)) * 4u + ((order_bytes + 3u) & ~(size_t)3);
}

/* Table values of one head (head, static), or of all (none). */
static size_t table_values(const kvc_coder *coder)
{
    if (kvci_table_shared(coder)) return (size_t)31u << coder->codec.bits;
    table_shape shape = kvci_table_shape(coder, 0);
    const table_class *last = &shape.class[shape.n_classes - 1];
    size_t dims = coder->codec.scale == KVC_SCALE_STATIC ? shape.n_kept : last->table + last->dims;
    return dims << coder->codec.bits;
}

static size_t all_table_values(const kvc_coder *coder)
{
    return (coder->codec.scale == KVC_SCALE_NONE ? 1 : coder->n_kv_heads) * table_values(coder);
}

const float *kvci_table_scales(const kvc_coder *coder, const table_shape *shape)
{
    return (const float *)coder->part[KVC_SYMBOL_PIECE] + n_counts(coder) + shape->codes_before;
}

const uint16_t *kvci_table_order(const kvc_coder *coder, uint32_t head)
{
    const float *scales = (const float *)coder->part[KVC_SYMBOL_PIECE] + n_counts(coder);
    return (const uint16_t *)(scales + n_scales(coder)) + head * n_positions(coder);
}

const uint16_t *kvci_table_of(const kvc_coder *coder, const table_class *class, uint32_t head, size_t *stride)
{
    const uint16_t *tables =
        (const uint16_t *)((const uint8_t *)coder->part[KVC_SYMBOL_PIECE] + before_tables(coder));
    uint32_t bits = coder->codec.bits;
    *stride = coder->codec.scale == KVC_SCALE_STATIC ? (size_t) class->dims << bits : 0;
    if (coder->codec.scale != KVC_SCALE_NONE) tables += head * table_values(coder);
    return tables + ((size_t)(*stride ? class->position : class->table) << bits);
}

size_t kvci_table_param_bytes(const kvc_coder *coder)
{
    return before_tables(coder) + all_table_values(coder) * sizeof(uint16_t);
}

static kvc_status check_counts(const kvc_coder *coder, const uint32_t *counts, kvc_error *err)
{
    uint64_t sum = 0;
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) {
        if (counts[head] > coder->head_dim)
            return kvc_fail(err, KVC_FORMAT, "head %u has %u codes for %u channels", head, counts[head],
                            coder->head_dim);
        sum += counts[head];
    }
    if (sum == kvci_table_shared(coder)) return KVC_OK;
    return kvc_fail(err, KVC_FORMAT, "the heads have %llu codes, not %llu", (unsigned long long)sum,
                    (unsigned long long)kvci_table_shared(coder));
}

static kvc_status check_order(const kvc_coder *coder, uint32_t head, kvc_error *err)
{
    const uint16_t *order = kvci_table_order(coder, head);
    uint8_t seen[KVC_MAX_ROW] = {0};
    for (uint32_t i = 0; i < n_positions(coder); i++)
        if (order[i] >= coder->head_dim || seen[order[i]]++)
            return kvc_fail(err, KVC_FORMAT, "head %u, position %u: channel %u is too large or twice there", head, i,
                            order[i]);
    return KVC_OK;
}

kvc_status kvci_table_param_check(const kvc_coder *coder, const void *params, kvc_error *err)
{
    if (kvci_table_shared(coder)) KVC_TRY(check_counts(coder, params, err));
    const float *scales = (const float *)params + n_counts(coder);
    for (size_t i = 0; i < n_scales(coder); i++)
        if (!(scales[i] > 0.0f && scales[i] <= KVC_GROWTH_MAX))
            return kvc_fail(err, isfinite(scales[i]) ? KVC_FORMAT : KVC_NONFINITE,
                            "scale %zu is %g: expected more than 0, at most 2^17", i, (double)scales[i]);
    for (uint32_t head = 0; head < coder->n_kv_heads; head++) KVC_TRY(check_order(coder, head, err));
    size_t n_values = all_table_values(coder);
    const uint16_t *values = (const uint16_t *)((const uint8_t *)params + before_tables(coder));
    for (size_t i = 0; i < n_values; i++)
        if ((values[i] & 0x7c00u) == 0x7c00u)
            return kvc_fail(err, KVC_NONFINITE, "table value %zu is NaN or infinite", i);
    return KVC_OK;
}
