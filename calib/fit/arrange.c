/* arrange.c - a way to arrange the channels of a side: order.h for each head, and the scales that follow.
 *
 * The scale of a sub-vector is the root of its mean energy per channel, weighted by sensitivity, so that sub-vectors
 * which share a table are alike. Where a fit has byte tables it comes from fourth powers: few values far out make it
 * greater, and with them a table's step less coarse; the shorter tables gain too (docs/decisions/0018). */
#include <math.h>
#include "table.h"

#define LEAST_SCALE 1e-12 /* below, a sub-vector counts as zero */

static void find_scales(const code_classes *classes, const double *energy, const uint16_t *order, float *scales)
{
    for (const code_class *c = classes->class; c < classes->class + classes->n; c++)
        for (uint32_t g = 0; g < c->n; g++) {
            double sum = 0.0;
            for (uint32_t k = 0; k < c->dims; k++) sum += energy[order[c->position + g * c->dims + k]];
            double scale = sqrt(sum / c->dims);
            scales[c->code + g] = scale > LEAST_SCALE ? (float)scale : 1.0f;
        }
}

/* The channels that have no position, behind those that have one. */
static void append_dropped(uint32_t d, uint32_t n_kept, uint16_t *order)
{
    bool kept[KVC_MAX_ROW] = {false};
    for (uint32_t i = 0; i < n_kept; i++) kept[order[i]] = true;
    for (uint32_t i = 0; i < d; i++)
        if (!kept[i]) order[n_kept++] = (uint16_t)i;
}

void table_arrange(const table_fit *t, arrangement how, table_way *way)
{
    uint32_t d = t->coder->head_dim;
    for (uint32_t head = 0; head < t->data->n_kv_heads; head++) {
        const code_classes *classes = &t->heads[head].classes;
        const double *energy = t->energy + (size_t)head * d;
        uint16_t *order = way->order + (size_t)head * t->order_stride;
        for (uint32_t i = 0; how == AS_THEY_ARE && i < d; i++) order[i] = (uint16_t)i;
        if (how == BANDS) order_bands(classes, d, energy, order);
        if (how == BALANCED) order_balanced(classes, t->coder->codec.bits, d, energy, order);
        if (t->n_shared) append_dropped(d, classes->n_kept, order);
        find_scales(classes, (t->bytes ? t->spread : t->energy) + (size_t)head * d, order,
                    way->scales + t->heads[head].first_code);
    }
}
