/* table_expand.h - the inner loop of decoding tables: codes in, entries out as fp32, side by side. */
#ifndef RUNTIME_CODEC_TABLE_EXPAND_H
#define RUNTIME_CODEC_TABLE_EXPAND_H
#include <stddef.h>
#include <stdint.h>

typedef struct table_run {
    const uint16_t *table; /* fp16 [][dims] of the first code */
    size_t stride;         /* how far behind it that of the next code lies; 0: all share it */
    uint32_t dims;
} table_run;

/* `n` codes of each of n_rows rows, of 1 or 2 bytes each. */
typedef struct table_rows {
    uint32_t n_rows, n;
    size_t code_stride, out_stride; /* from one row to the next */
    size_t code_step;               /* from one code of a row to the next */
    uint32_t code_bytes;
} table_rows;

/*  codes [n]        in, of each row, each an index into its table
 *  out   [n][dims]  out, of each row */
typedef void table_expand_fn(table_run run, table_rows rows, const void *codes, float *out);
table_expand_fn kvci_table_expand; /* the best of those below */

/* All give the same values. That of a machine's own may be NULL. */
table_expand_fn kvci_table_expand_plain;
table_expand_fn *kvci_table_expand_f16c(table_run run);

#endif
