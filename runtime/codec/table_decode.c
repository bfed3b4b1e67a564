/* table_decode.c - codes to rows: unpack the fields of a page, then put entries in their places (table_expand.h). */
#include <string.h>
#include "codec/planes.h"
#include "codec/table.h"
#include "codec/table_expand.h"

#define BATCH_VALUES 4096u /* latent values that are made at a time */

/* Dropped channels and what fills the latent row up. */
static void zero_rest(const kvc_coder *coder, const table_shape *shape, uint32_t n_rows, float *y)
{
    size_t d = coder->latent_dim;
    for (uint32_t row = 0; row < n_rows && shape->n_kept < d; row++)
        memset(y + row * d + shape->n_kept, 0, (d - shape->n_kept) * sizeof *y);
}

/* codes [n_rows][n_codes] to y [n_rows][d']. */
static void expand_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint16_t *codes,
                        uint32_t n_rows, float *y)
{
    size_t d = coder->latent_dim, stride;
    for (uint32_t i = 0; i < shape->n_classes; i++) {
        const table_class *c = &shape->class[i];
        table_run run = {.table = kvci_table_of(coder, c, head, &stride), .dims = c->dims};
        run.stride = stride;
        table_rows rows = {n_rows, c->n, shape->n_codes, d, 1};
        kvci_table_expand(run, rows, codes + c->code, y + c->position);
    }
    zero_rest(coder, shape, n_rows, y);
}

static void decode_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint8_t *block,
                        uint32_t first_row, uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES + 16];
    uint32_t d = coder->latent_dim, batch = BATCH_VALUES / d;
    size_t n_fields = (size_t)coder->page * shape->n_codes;
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n, y += n * d) {
        n = batch < left ? batch : left;
        size_t field = (size_t)row * shape->n_codes, first = field & ~(size_t)7;
        uint32_t n_codes = (uint32_t)(field - first) + n * shape->n_codes;
        kvci_planes_unpack(block, (n_codes + 7u) & ~7u, first, coder->codec.bits, n_fields, codes);
        expand_rows(coder, shape, head, codes + (field - first), n, y);
    }
}

/* ---- shared codes: those of a run lie code by code ---- */

/* Rows of one run: some codes of a class at a time, of the whole run. */
static void decode_class(const kvc_coder *coder, const table_shape *shape, const table_class *class,
                         const uint8_t *block, uint32_t first_row, uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES];
    uint32_t run = kvc_share_run(coder->page), before = first_row % run, batch = BATCH_VALUES / run;
    size_t n_fields = (size_t)coder->page * shape->n_codes, stride;
    const uint16_t *table = kvci_table_of(coder, class, 0, &stride);
    for (uint32_t code = 0, n; code < class->n; code += n) {
        n = batch < class->n - code ? batch : class->n - code;
        size_t first = kvc_share_field(run, shape->n_codes, first_row - before, class->code + code);
        kvci_planes_unpack(block, n * run, first, coder->codec.bits, n_fields, codes);
        kvci_table_expand((table_run){table, stride, class->dims}, (table_rows){n_rows, n, 1, coder->latent_dim, run},
                          codes + before, y + class->position + code * class->dims);
    }
}

static void decode_shared(const kvc_coder *coder, const table_shape *shape, const uint8_t *block, uint32_t first_row,
                          uint32_t n_rows, float *y)
{
    uint32_t run = kvc_share_run(coder->page);
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n, y += n * coder->latent_dim) {
        n = run - row % run < left ? run - row % run : left;
        for (uint32_t i = 0; i < shape->n_classes; i++)
            decode_class(coder, shape, &shape->class[i], block, row, n, y);
        zero_rest(coder, shape, n, y);
    }
}

void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y)
{
    table_shape shape = kvci_table_shape(coder, head);
    if (kvci_table_shared(coder))
        decode_shared(coder, &shape, block, first_row, n_rows, y);
    else
        decode_rows(coder, &shape, head, block, first_row, n_rows, y);
}
