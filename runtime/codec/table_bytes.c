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

float kvc_coder_byte_step(const kvc_coder *coder)
{
    size_t stride;
    table_shape shape;
    if (!coder->part[KVC_SYMBOL_PIECE] || coder->codec.dims == 0 || coder->codec.scale != KVC_SCALE_NONE) return 0.0f;
    shape = kvci_table_shape(coder, 0);
    return step_of(kvci_table_of(coder, shape.class, 0, &stride), (size_t)coder->codec.dims << coder->codec.bits);
}
