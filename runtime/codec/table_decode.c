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
        table_rows rows = {n_rows, c->n, shape->n_codes, d, 1, sizeof *codes};
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

/* Codes first .. first + n - 1 of the head, of n_rows rows of one run.
 *  codes [n][run] of `bytes` each, from the first row on
 *  y     [n_rows][d'] out */
static void expand_codes(const kvc_coder *coder, const table_shape *shape, uint32_t first, uint32_t n,
                         const uint8_t *codes, uint32_t bytes, uint32_t n_rows, float *y)
{
    uint32_t run = kvc_share_run(coder->page), end = first + n, d = coder->latent_dim, batch = BATCH_VALUES / d;
    for (uint32_t i = 0; i < shape->n_classes; i++) {
        const table_class *c = &shape->class[i];
        uint32_t from = c->code > first ? c->code : first, to = c->code + c->n < end ? c->code + c->n : end;
        if (from >= to) continue;
        size_t stride;
        table_run entries = {kvci_table_of(coder, c, 0, &stride), 0, c->dims};
        const uint8_t *own = codes + (size_t)(from - first) * run * bytes;
        float *out = y + c->position + (from - c->code) * c->dims;
        for (uint32_t row = 0, some; row < n_rows; row += some) {
            some = batch < n_rows - row ? batch : n_rows - row;
            kvci_table_expand(entries, (table_rows){some, to - from, 1, d, run, bytes}, own + row * bytes,
                              out + (size_t)row * d);
        }
    }
}

/* Rows of one run, whose codes begin at `field`, `before` rows behind its first. */
static void decode_run(const kvc_coder *coder, const table_shape *shape, const uint8_t *block, size_t field,
                       uint32_t before, uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES];
    uint32_t run = kvc_share_run(coder->page), n_codes = shape->n_codes, batch = BATCH_VALUES / run;
    if (coder->codec.bits == 8) { /* as they lie there */
        expand_codes(coder, shape, 0, n_codes, block + field + before, 1, n_rows, y);
        return;
    }
    for (uint32_t first = 0, n; first < n_codes; first += n) {
        n = batch < n_codes - first ? batch : n_codes - first;
        kvci_planes_unpack(block, n * run, field + first * run, coder->codec.bits, (size_t)coder->page * n_codes,
                           codes);
        expand_codes(coder, shape, first, n, (const uint8_t *)(codes + before), sizeof *codes, n_rows, y);
    }
}

static void decode_shared(const kvc_coder *coder, const table_shape *shape, const uint8_t *block, uint32_t first_row,
                          uint32_t n_rows, float *y)
{
    uint32_t run = kvc_share_run(coder->page);
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n, y += n * coder->latent_dim) {
        uint32_t before = row % run;
        n = run - before < left ? run - before : left;
        decode_run(coder, shape, block, kvc_share_field(run, shape->n_codes, row - before, 0), before, n, y);
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
