/* table_bytes.c - byte tables: those whose values are integers of a byte times one power of two. */
#include "codec/table.h"
#include <math.h>

/* The smallest power of two of which n values are at most 127 times as much, if they are integers times it; else 0.
 */
static float step_of(const uint16_t *values, size_t n)
{
    float most = 0.0f, step = 1.0f;
    for (size_t i = 0; i < n; i++) {
        float x = fabsf(kvc_fp16_to_float(values[i]));
        if (!isfinite(x)) return 0.0f;
        most = x > most ? x : most;
    }
    while (most > 127.0f * step) step *= 2.0f;
    while (most > 0.0f && most <= 127.0f * (step / 2.0f)) step /= 2.0f;
    for (size_t i = 0; i < n; i++) {
        float x = kvc_fp16_to_float(values[i]) / step;
        if (x != rintf(x)) return 0.0f;
    }
    return step;
}

/* The table of all heads for codes of `dims` channels; NULL: there is none, or it is one of a mix. */
static const uint16_t *table_for(const kvc_coder *coder, uint32_t dims)
{
    table_class class = {.dims = dims};
    size_t stride;
    if (!coder->part[KVC_SYMBOL_PIECE] || dims == 0 || coder->codec.scale != KVC_SCALE_NONE) return NULL;
    if (kvci_table_shared(coder)) {
        if (dims > TABLE_MAX_DIMS || (dims & (dims - 1))) return NULL;
        class.table = dims - 1; /* those of fewer lie before it */
    } else if (dims != coder->codec.dims) {
        return NULL;
    }
    return kvci_table_of(coder, &class, 0, &stride);
}

float kvc_coder_byte_step(const kvc_coder *coder, uint32_t dims)
{
    const uint16_t *table = table_for(coder, dims);
    return table ? step_of(table, (size_t)dims << coder->codec.bits) : 0.0f;
}
