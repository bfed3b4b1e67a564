/* table_decode.c - codes to rows: unpack the fields, copy the entries, widen fp16 to fp32. */
#include "codec/table.h"
#include "simd.h"

#define BATCH_VALUES 4096u /* latent values that are made at a time */

/* n_bytes of a plane: every field gains `width` bits at `shift`. */
KVC_INLINE void unpack_plane(const uint8_t *restrict bytes, uint32_t n_bytes, const uint32_t width, uint32_t shift,
                             uint16_t *restrict codes)
{
    for (uint32_t i = 0; i < n_bytes; i++)
        for (uint32_t k = 0; k < 8u / width; k++)
            codes[i * (8u / width) + k] |= (uint16_t)((bytes[i] >> (k * width) & ((1u << width) - 1u)) << shift);
}

/* Fields first .. first + n - 1 of the page's n_fields, all three multiples of 8. */
KVC_CLONES static void unpack(const uint8_t *block, uint32_t bits, size_t n_fields, size_t first, uint32_t n,
                              uint16_t *codes)
{
    uint32_t shift = 0;
    memset(codes, 0, n * sizeof *codes);
    for (uint32_t width = 8; width; width /= 2) {
        if (!(bits & width)) continue;
        const uint8_t *bytes = block + first / 8 * width;
        switch (width) {
        case 8: unpack_plane(bytes, n, 8, shift, codes); break;
        case 4: unpack_plane(bytes, n / 2, 4, shift, codes); break;
        case 2: unpack_plane(bytes, n / 4, 2, shift, codes); break;
        case 1: unpack_plane(bytes, n / 8, 1, shift, codes); break;
        }
        block += n_fields / 8 * width;
        shift += width;
    }
}

KVC_INLINE void copy_entries(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride,
                             const uint32_t dims, uint16_t *out)
{
    for (uint32_t i = 0; i < n; i++, table += stride, out += dims)
        memcpy(out, table + (size_t)codes[i] * dims, dims * sizeof *out);
}

/* n neighbouring sub-vectors, the table of each `stride` behind that of the one before. */
static void copy_run(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride, uint32_t dims,
                     uint16_t *out)
{
    switch (dims) {
    case 1: copy_entries(codes, n, table, stride, 1, out); break;
    case 2: copy_entries(codes, n, table, stride, 2, out); break;
    case 4: copy_entries(codes, n, table, stride, 4, out); break;
    case 8: copy_entries(codes, n, table, stride, 8, out); break;
    case 16: copy_entries(codes, n, table, stride, 16, out); break;
    }
}

/* codes [n_rows][n_codes] to values [n_rows][d'], of which dropped channels are left alone. */
static void copy_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint16_t *codes,
                      uint32_t n_rows, uint16_t *values)
{
    for (uint32_t i = 0; i < shape->n_bands; i++) {
        const table_band *b = &shape->band[i];
        size_t stride;
        const uint16_t *table = kvci_table_of(coder, shape, b, head, &stride);
        if (stride == 0 && b->n == shape->n_codes && shape->n_channels == coder->latent_dim) {
            copy_run(codes, n_rows * b->n, table, 0, b->dims, values); /* rows follow each other without a gap */
            continue;
        }
        for (uint32_t row = 0; row < n_rows; row++)
            copy_run(codes + row * shape->n_codes + b->code, b->n, table, stride, b->dims,
                     values + row * coder->latent_dim + b->channel);
    }
}

void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES + 16], values[BATCH_VALUES];
    table_shape shape = kvci_table_shape(coder);
    uint32_t d = coder->latent_dim, batch = BATCH_VALUES / d;
    size_t n_fields = (size_t)coder->page * shape.n_codes;
    if (shape.n_channels < d) memset(values, 0, sizeof values);
    for (uint32_t row = first_row, left = n_rows, n; left; row += n, left -= n, y += n * d) {
        n = batch < left ? batch : left;
        size_t field = (size_t)row * shape.n_codes, first = field & ~(size_t)7;
        uint32_t n_codes = (uint32_t)(field - first) + n * shape.n_codes;
        unpack(block, coder->codec.bits, n_fields, first, (n_codes + 7u) & ~7u, codes);
        copy_rows(coder, &shape, head, codes + (field - first), n, values);
        kvc_rows_to_float(values, KVC_F16, (size_t)n * d, y);
    }
}
