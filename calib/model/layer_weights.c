/* layer_weights.c - the weights of one layer in backend memory: matrices in the form that its gemm() takes, vectors
 * as fp32. All layers have one shape, so one block of memory can serve them in turn, slot after slot, each from a
 * 64-byte boundary. */
#include "model_private.h"

#include <stdlib.h>

#define PIECE ((size_t)1 << 16) /* values that one thread converts at a time */

/* The pieces of one stage. Where one fails, the first of them is read again for its message: the same whatever the
 * threads. */
static kvc_status read_stage(const model *m, const tensor *t, uint64_t first, size_t n, float *stage, kvc_error *err)
{
    size_t bad = SIZE_MAX;
#pragma omp parallel for schedule(static) reduction(min : bad)
    for (size_t at = 0; at < n; at += PIECE) {
        kvc_status status = weights_read(m->weights, t, first + at, min_size(PIECE, n - at), stage + at, NULL);
        if (status != KVC_OK && at < bad) bad = at;
    }
    return bad == SIZE_MAX ? KVC_OK
                           : weights_read(m->weights, t, first + bad, min_size(PIECE, n - bad), stage + bad, err);
}

/* Both backends read the stage before they return. */
kvc_status tensor_load(const model *m, backend *b, const tensor *t, uint64_t first, uint64_t n, float *stage,
                       float *dev, kvc_error *err)
{
    for (uint64_t at = 0; at < n; at += STAGE_FLOATS) {
        size_t count = min_size(STAGE_FLOATS, n - at);
        KVC_TRY(read_stage(m, t, first + at, count, stage, err));
        KVC_TRY(b->upload(b, dev + at, stage, count * sizeof *dev, err));
    }
    return KVC_OK;
}

kvc_status weight_load(const model *m, backend *b, const tensor *t, uint64_t first, uint64_t n, float *stage,
                       void *dev, kvc_error *err)
{
    for (uint64_t at = 0; at < n; at += STAGE_FLOATS) {
        size_t count = min_size(STAGE_FLOATS, n - at);
        KVC_TRY(read_stage(m, t, first + at, count, stage, err));
        KVC_TRY(b->load_weight(b, (char *)dev + at * b->weight_bytes, stage, count, err));
    }
    return KVC_OK;
}

static bool is_matrix(const arch_tensor *t)
{
    return t->cols != WIDTH_ONE;
}

/* Bytes from the block's start to each slot; returns the total. */
static size_t slot_layout(const model_config *c, const arch *a, size_t weight_bytes, size_t offset[SLOT_COUNT])
{
    size_t at = 0;
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        const arch_tensor *t = &a->layer[slot];
        size_t n = arch_has(c, t) ? arch_width_of(c, t->rows) * arch_width_of(c, t->cols) : 0;
        offset[slot] = at;
        at += (n * (is_matrix(t) ? weight_bytes : sizeof(float)) + 63) & ~(size_t)63;
    }
    return at;
}

size_t layer_weights_bytes(const model_config *c, const arch *a, size_t weight_bytes)
{
    size_t offset[SLOT_COUNT];
    return slot_layout(c, a, weight_bytes, offset);
}

kvc_status layer_weights_new(layer_weights *w, const model *m, backend *b, kvc_error *err)
{
    size_t offset[SLOT_COUNT];
    const arch *a = arch_find(m->config.architecture);
    size_t total = slot_layout(&m->config, a, b->weight_bytes, offset);
    w->layer = NO_LAYER;
    KVC_TRY(b->buffer_new(b, total, &w->memory, err));
    for (int slot = 0; slot < SLOT_COUNT; slot++)
        w->slot[slot] = arch_has(&m->config, &a->layer[slot]) ? (char *)w->memory + offset[slot] : NULL;
    return KVC_OK;
}

void layer_weights_free(layer_weights *w, backend *b)
{
    b->buffer_free(b, w->memory);
}

kvc_status layer_weights_load(layer_weights *w, const model *m, backend *b, uint32_t layer, float *stage,
                              kvc_error *err)
{
    const arch *a = arch_find(m->config.architecture);
    if (w->layer == layer) return KVC_OK;
    w->layer = NO_LAYER;
    for (int slot = 0; slot < SLOT_COUNT; slot++) {
        const tensor *t = w->slot[slot] ? model_layer_tensor(m, layer, slot) : NULL;
        if (!t) continue;
        if (is_matrix(&a->layer[slot]))
            KVC_TRY(weight_load(m, b, t, 0, t->n, stage, w->slot[slot], err));
        else
            KVC_TRY(tensor_load(m, b, t, 0, t->n, stage, w->slot[slot], err));
        weights_release(m->weights, t);
    }
    w->layer = layer;
    return KVC_OK;
}
