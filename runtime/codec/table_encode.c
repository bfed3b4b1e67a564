/* table_encode.c - rows to codes: for each sub-vector the nearest entry of its table.
 *
 * The distance is  ((x0 - t0)^2 + (x1 - t1)^2) + ...  in binary32, channels in order, every operation rounded by
 * itself; of equally near entries the first is taken. Sixteen sub-vectors of one table pass over it side by side, one
 * in each lane, so that no sum crosses lanes and any vector length gives the same codes. 3 c 2^b operations a
 * sub-vector. */
#include "codec/planes.h"
#include "codec/table.h"
#include "simd.h"

#define LANES 16u
#define CHUNK 1024u /* table values that are fp32 at a time */

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));

KVC_INLINE v16i choose(v16i mask, v16i yes, v16i no)
{
    return (mask & yes) | (~mask & no);
}

/* Entries [n][dims], the first of which is number `first`. */
KVC_INLINE void scan(const v16 *x, const float *entries, uint32_t first, uint32_t n, const uint32_t dims, v16 *best,
                     v16i *code)
{
    for (uint32_t e = 0; e < n; e++, entries += dims) {
        v16 step = x[0] - entries[0], distance = step * step;
        for (uint32_t k = 1; k < dims; k++) {
            step = x[k] - entries[k];
            distance += step * step;
        }
        v16i closer = distance < *best;
        *best = (v16)choose(closer, (v16i)distance, (v16i)*best);
        *code = choose(closer, (v16i){0} + (int32_t)(first + e), *code);
    }
}

/*  x     [dims][LANES]     in, 64-byte aligned
 *  table [n_entries][dims] in
 *  codes [LANES]           out */
KVC_CLONES static void find_nearest(const float *x, const uint16_t *table, uint32_t n_entries, uint32_t dims,
                                    int32_t *codes)
{
    float entries[CHUNK];
    const v16 *lanes = (const v16 *)x;
    v16 best = (v16){0} + __builtin_inff();
    v16i code = {0};
    for (uint32_t first = 0, n; first < n_entries; first += n) {
        n = CHUNK / dims < n_entries - first ? CHUNK / dims : n_entries - first;
        kvc_rows_to_float(table + (size_t)first * dims, KVC_F16, (size_t)n * dims, entries);
        switch (dims) { /* constants, so that each copy is unrolled */
        case 1: scan(lanes, entries, first, n, 1, &best, &code); break;
        case 2: scan(lanes, entries, first, n, 2, &best, &code); break;
        case 4: scan(lanes, entries, first, n, 4, &best, &code); break;
        case 8: scan(lanes, entries, first, n, 8, &best, &code); break;
        case 16: scan(lanes, entries, first, n, 16, &best, &code); break;
        }
    }
    memcpy(codes, &code, sizeof code);
}

/* Codes of some rows, and how far from one row or code of a row to the next. */
typedef struct code_places {
    uint16_t *codes;
    size_t row, code;
} code_places;

/* Sub-vectors first .. first + n - 1 of a class, those that share the table, in n_rows rows: their codes to their
 * places. */
static void encode_set(const kvc_coder *coder, const table_class *class, uint32_t first, uint32_t n,
                       const uint16_t *table, const float *y, uint32_t n_rows, code_places to)
{
    _Alignas(64) float x[TABLE_MAX_DIMS * LANES];
    size_t place[LANES];
    int32_t nearest[LANES];
    uint32_t n_vectors = n_rows * n;
    for (uint32_t start = 0; start < n_vectors; start += LANES) {
        uint32_t count = n_vectors - start < LANES ? n_vectors - start : LANES;
        for (uint32_t i = 0; i < LANES; i++) {
            uint32_t vector = start + (i < count ? i : 0), row = vector / n, g = first + vector % n;
            const float *from = y + (size_t)row * coder->latent_dim + class->position + g * class->dims;
            for (uint32_t k = 0; k < class->dims; k++) x[k * LANES + i] = from[k];
            place[i] = row * to.row + (class->code + g) * to.code;
        }
        find_nearest(x, table, 1u << coder->codec.bits, class->dims, nearest);
        for (uint32_t i = 0; i < count; i++) to.codes[place[i]] = (uint16_t)nearest[i];
    }
}

static void encode_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const float *y,
                        uint32_t n_rows, code_places to)
{
    for (uint32_t i = 0; i < shape->n_classes; i++) {
        const table_class *class = &shape->class[i];
        size_t stride;
        const uint16_t *table = kvci_table_of(coder, class, head, &stride);
        uint32_t n = stride ? 1 : class->n;
        for (uint32_t g = 0; g < class->n; g += n) encode_set(coder, class, g, n, table + g * stride, y, n_rows, to);
    }
}

/* As many rows at a time as there are lanes: a table that belongs to one code has them all busy. */
static void encode_page(const kvc_coder *coder, const table_shape *shape, uint32_t head, const float *y,
                        uint8_t *block)
{
    uint16_t codes[LANES * KVC_MAX_ROW];
    uint32_t n_codes = shape->n_codes;
    size_t n_fields = (size_t)coder->page * n_codes;
    for (uint32_t row = 0, n; row < coder->page; row += n) {
        n = coder->page - row < LANES ? coder->page - row : LANES;
        encode_rows(coder, shape, head, y + (size_t)row * coder->latent_dim, n, (code_places){codes, n_codes, 1});
        kvci_planes_pack(codes, n * n_codes, (size_t)row * n_codes, coder->codec.bits, n_fields, block);
    }
}

/* Shared codes: a run or a part of it at a time, code by code. */
static void encode_shared(const kvc_coder *coder, const table_shape *shape, uint32_t head, const float *y,
                          uint8_t *block)
{
    uint16_t codes[LANES * KVC_MAX_ROW];
    uint32_t run = kvc_share_run(coder->page), n = run < LANES ? run : LANES;
    size_t n_fields = (size_t)coder->page * shape->n_codes;
    for (uint32_t row = 0; row < coder->page; row += n) {
        encode_rows(coder, shape, head, y + (size_t)row * coder->latent_dim, n, (code_places){codes, 1, n});
        for (uint32_t i = 0; i < shape->n_codes; i++)
            kvci_planes_pack(codes + i * n, n, kvc_share_field(run, shape->n_codes, row, i), coder->codec.bits,
                             n_fields, block);
    }
}

void kvci_table_encode(const kvc_coder *coder, uint32_t head, const float *y, uint8_t *block)
{
    table_shape shape = kvci_table_shape(coder, head);
    (kvci_table_shared(coder) ? encode_shared : encode_page)(coder, &shape, head, y, block);
}
