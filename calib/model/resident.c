/* resident.c - weights, and an arena with its angles, that stay in a device's memory from one pass to the next.
 *
 * A price or a refined plan is a pass of seconds over a few thousand tokens: reading 16 GB of weights again would
 * take longer than the pass. Where they do not fit, two layers take turns: the next one's copies are on their way
 * while one is computed. In host memory one layer's block serves all of them and is let go of after a pass. */
#include "model_private.h"

#include <stdlib.h>

struct resident {
    backend *b;
    layer_weights *layers; /* [n] */
    uint32_t n;
    void *head;        /* NULL: not held */
    layer_arena arena; /* of the last pass */
    bool own_x;
};

static uint64_t head_bytes(const model_config *c, size_t weight_bytes)
{
    return (uint64_t)c->vocab * c->hidden * weight_bytes;
}

uint32_t resident_count(const model_config *c, size_t room, size_t weight_bytes)
{
    uint64_t all = c->n_layers * (uint64_t)layer_weights_bytes(c, arch_find(c->architecture), weight_bytes);
    if (room == SIZE_MAX || c->n_layers == 1) return 1;
    return all <= room / 2 ? c->n_layers : 2;
}

bool resident_holds_head(const model_config *c, size_t room, size_t weight_bytes)
{
    return room != SIZE_MAX && head_bytes(c, weight_bytes) <= room / 2;
}

static kvc_status layers_new(model *m, resident *r, kvc_error *err)
{
    uint32_t n = resident_count(&m->config, r->b->room(r->b), r->b->weight_bytes);
    if (r->layers) return KVC_OK;
    r->layers = calloc(n, sizeof *r->layers);
    if (!r->layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u layers", n);
    kvc_status status = KVC_OK;
    for (; r->n < n && status == KVC_OK; r->n++) status = layer_weights_new(&r->layers[r->n], m, r->b, err);
    if (status != KVC_OK) resident_free(m);
    return status;
}

kvc_status resident_open(model *m, backend *b, kvc_error *err)
{
    if (m->resident && m->resident->b == b) return KVC_OK;
    resident_free(m);
    m->resident = calloc(1, sizeof *m->resident);
    if (!m->resident) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for weights");
    m->resident->b = b;
    return KVC_OK;
}

kvc_status resident_layer(model *m, uint32_t layer, float *stage, layer_weights **out, kvc_error *err)
{
    resident *r = m->resident;
    KVC_TRY(layers_new(m, r, err));
    *out = &r->layers[layer % r->n];
    return layer_weights_load(*out, m, r->b, layer, stage, err);
}

kvc_status resident_arena(model *m, size_t n_tokens, bool own_x, layer_arena *out, bool *fresh, kvc_error *err)
{
    resident *r = m->resident;
    *fresh = r->arena.n_tokens != n_tokens || r->own_x != own_x;
    if (*fresh) {
        layer_arena_free(&r->arena, r->b);
        KVC_TRY(layer_arena_new(&r->arena, &m->config, r->b, n_tokens, own_x, err));
        r->own_x = own_x;
    }
    *out = r->arena;
    return KVC_OK;
}

bool resident_ahead(const model *m)
{
    return m->resident->n > 1;
}

kvc_status resident_head(model *m, float *stage, void **out, kvc_error *err)
{
    resident *r = m->resident;
    const tensor *t = model_head_tensor(m);
    void *head = NULL;
    *out = r->head;
    if (r->head || !resident_holds_head(&m->config, r->b->room(r->b), r->b->weight_bytes)) return KVC_OK;
    KVC_TRY(r->b->buffer_new(r->b, head_bytes(&m->config, r->b->weight_bytes), &head, err));
    kvc_status status = weight_load(m, r->b, t, 0, t->n, stage, head, err);
    weights_release(m->weights, t);
    if (status == KVC_OK)
        *out = r->head = head;
    else
        r->b->buffer_free(r->b, head);
    return status;
}

void resident_leave(model *m)
{
    if (m->resident && m->resident->b->room(m->resident->b) == SIZE_MAX) resident_free(m);
}

void resident_free(model *m)
{
    resident *r = m->resident;
    m->resident = NULL;
    if (!r) return;
    for (uint32_t i = 0; i < r->n; i++) layer_weights_free(&r->layers[i], r->b);
    r->b->buffer_free(r->b, r->head);
    layer_arena_free(&r->arena, r->b);
    free(r->layers);
    free(r);
}
