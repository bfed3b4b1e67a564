/* table_decode.c - codes to rows: unpack the fields of a page, then put entries in their places (table_expand.h). */
#include "codec/table.h"
#include "codec/table_expand.h"
#include "simd.h"

#define BATCH_VALUES 4096u /* latent values that are made at a time */

/* ---- fields ---- */

typedef uint64_t word64 __attribute__((may_alias, aligned(2)));
typedef uint32_t word32 __attribute__((may_alias, aligned(2)));
typedef uint16_t word16x8 __attribute__((vector_size(16)));

/* The fields of a plane become 16-bit codes, or (shift > 0) their further bits: each byte is spread over its 8 /
 * width codes. */
KVC_INLINE void spread1(const uint8_t *bytes, uint32_t n, uint32_t shift, uint16_t *codes)
{
    const word16x8 digit = {1, 2, 4, 8, 16, 32, 64, 128};
    for (uint32_t i = 0; i < n; i++, codes += 8) {
        word16x8 fields = (word16x8)((((word16x8){0} + bytes[i]) & digit) == digit) & (uint16_t)(1u << shift), held;
        if (shift) {
            memcpy(&held, codes, sizeof held);
            fields |= held;
        }
        memcpy(codes, &fields, sizeof fields);
    }
}

KVC_INLINE void spread2(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word64 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t b = bytes[i], fields = ((b | b << 14 | b << 28 | b << 42) & 0x0003000300030003u) << shift;
        codes[i] = shift ? codes[i] | fields : fields;
    }
}

KVC_INLINE void spread4(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word32 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t b = bytes[i], fields = ((b | b << 12) & 0x000f000fu) << shift;
        codes[i] = shift ? codes[i] | fields : fields;
    }
}

KVC_INLINE void spread8(const uint8_t *restrict bytes, uint32_t n, uint16_t *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) codes[i] = bytes[i];
}

/* Fields first .. first + n - 1 of the page's n_fields, all three multiples of 8. */
KVC_CLONES static void unpack(const uint8_t *block, uint32_t bits, size_t n_fields, size_t first, uint32_t n,
                              uint16_t *codes)
{
    for (uint32_t width = 8, shift = 0; width; width /= 2) {
        if (!(bits & width)) continue;
        const uint8_t *bytes = block + first / 8 * width;
        switch (width) {
        case 8: spread8(bytes, n, codes); break;
        case 4: spread4(bytes, n / 2, shift, (word32 *)codes); break;
        case 2: spread2(bytes, n / 4, shift, (word64 *)codes); break;
        case 1: spread1(bytes, n / 8, shift, codes); break;
        }
        block += n_fields / 8 * width;
        shift += width;
    }
}

/* ---- rows ---- */

/* codes [n_rows][n_codes] to y [n_rows][d']. */
static void expand_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint16_t *codes,
                        uint32_t n_rows, float *y)
{
    size_t d = coder->latent_dim, stride;
    for (uint32_t i = 0; i < shape->n_classes; i++) {
        const table_class *c = &shape->class[i];
        table_run run = {
            .table = kvci_table_of(coder, c, head, &stride), .n_entries = 1u << coder->codec.bits, .dims = c->dims};
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
        unpack(block, coder->codec.bits, n_fields, first, (n_codes + 7u) & ~7u, codes);
        expand_rows(coder, &shape, head, codes + (field - first), n, y);
    }
}
