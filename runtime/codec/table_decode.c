/* table_decode.c - codes to rows: unpack the fields of a page, then put entries in their places (table_expand.h). */
#include <string.h>
#include "codec/planes.h"
#include "codec/table.h"
#include "codec/table_expand.h"

#define BATCH_VALUES 4096u /* latent values that are made at a time */

/* codes [n_rows][n_codes] to y [n_rows][d']. */
static void expand_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint16_t *codes,
                        uint32_t n_rows, float *y)
{
    size_t d = coder->latent_dim, stride;
    for (uint32_t i = 0; i < shape->n_classes; i++) {
        const table_class *c = &shape->class[i];
        table_run run = {.table = kvci_table_of(coder, c, head, &stride), .dims = c->dims};
        run.stride = stride;
        table_rows rows = {n_rows, c->n, shape->n_codes, d};
        kvci_table_expand(run, rows, codes + c->code, y + c->position);
    }
    for (uint32_t row = 0; row < n_rows && shape->n_kept < d; row++)
        memset(y + row * d + shape->n_kept, 0, (d - shape->n_kept) * sizeof *y);
}

void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES + 16];
    table_shape shape = kvci_table_shape(coder, head);
    uint32_t d = coder->latent_dim, batch = BATCH_VALUES / d;
    size_t n_fields = (size_t)coder->page * shape.n_codes;
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n, y += n * d) {
        n = batch < left ? batch : left;
        size_t field = (size_t)row * shape.n_codes, first = field & ~(size_t)7;
        uint32_t n_codes = (uint32_t)(field - first) + n * shape.n_codes;
        kvci_planes_unpack(block, (n_codes + 7u) & ~7u, first, coder->codec.bits, n_fields, codes);
        expand_rows(coder, &shape, head, codes + (field - first), n, y);
    }
}
