/* table_decode.c - codes to rows: unpack the fields, copy the entries, widen fp16 to fp32. */
#include "codec/table.h"
#include "simd.h"

#define BATCH_VALUES 4096u /* latent values that are made at a time */

/* ---- fields ---- */

typedef uint64_t word64 __attribute__((may_alias, aligned(2)));
typedef uint32_t word32 __attribute__((may_alias, aligned(2)));

/* The fields of a plane become 16-bit codes, or its further bits: each byte is spread over its 8 / width codes. */
KVC_INLINE void spread1(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word64 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t low = bytes[i] & 15u, high = bytes[i] >> 4;
        codes[2 * i] |= ((low | low << 15 | low << 30 | low << 45) & 0x0001000100010001u) << shift;
        codes[2 * i + 1] |= ((high | high << 15 | high << 30 | high << 45) & 0x0001000100010001u) << shift;
    }
}

KVC_INLINE void spread2(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word64 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t b = bytes[i];
        codes[i] |= ((b | b << 14 | b << 28 | b << 42) & 0x0003000300030003u) << shift;
    }
}

KVC_INLINE void spread4(const uint8_t *restrict bytes, uint32_t n, uint32_t shift, word32 *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) codes[i] |= ((bytes[i] | (uint32_t)bytes[i] << 12) & 0x000f000fu) << shift;
}

KVC_INLINE void spread8(const uint8_t *restrict bytes, uint32_t n, uint16_t *restrict codes)
{
    for (uint32_t i = 0; i < n; i++) codes[i] = bytes[i];
}

/* Fields first .. first + n - 1 of the page's n_fields, all three multiples of 8. */
KVC_CLONES static void unpack(const uint8_t *block, uint32_t bits, size_t n_fields, size_t first, uint32_t n,
                              uint16_t *codes)
{
    uint32_t shift = 0;
    if (!(bits & 8u)) memset(codes, 0, n * sizeof *codes);
    for (uint32_t width = 8; width; width /= 2) {
        if (!(bits & width)) continue;
        const uint8_t *bytes = block + first / 8 * width;
        switch (width) {
        case 8: spread8(bytes, n, codes); break;
        case 4: spread4(bytes, n / 2, shift, (word32 *)codes); break;
        case 2: spread2(bytes, n / 4, shift, (word64 *)codes); break;
        case 1: spread1(bytes, n / 8, shift, (word64 *)codes); break;
        }
        block += n_fields / 8 * width;
        shift += width;
    }
}

/* ---- entries ---- */

KVC_INLINE void copy_entries(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride,
                             const uint32_t dims, uint16_t *out)
{
    for (uint32_t i = 0; i < n; i++, table += stride, out += dims)
        memcpy(out, table + (size_t)codes[i] * dims, dims * sizeof *out);
}

/* Any machine: entries side by side as fp16, then widened together. */
static void expand_plainly(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride, uint32_t dims,
                           float *out)
{
    uint16_t values[512];
    for (uint32_t batch = 512u / dims, some; n;
         n -= some, codes += some, table += some * stride, out += some * dims) {
        some = batch < n ? batch : n;
        switch (dims) { /* constants, so that each copy is unrolled */
        case 1: copy_entries(codes, some, table, stride, 1, values); break;
        case 2: copy_entries(codes, some, table, stride, 2, values); break;
        case 4: copy_entries(codes, some, table, stride, 4, values); break;
        case 8: copy_entries(codes, some, table, stride, 8, values); break;
        case 16: copy_entries(codes, some, table, stride, 16, values); break;
        }
        kvc_rows_to_float(values, KVC_F16, (size_t)some * dims, out);
    }
}

#ifdef KVC_HAS_F16C
#define TARGET_F16C __attribute__((target("avx,f16c")))

TARGET_F16C static void widen2(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride, float *out)
{
    for (; n >= 4; n -= 4, codes += 4, table += 4 * stride, out += 8) {
        int32_t e[4];
        for (uint32_t k = 0; k < 4; k++) memcpy(&e[k], table + k * stride + codes[k] * 2u, sizeof e[k]);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_setr_epi32(e[0], e[1], e[2], e[3])));
    }
    expand_plainly(codes, n, table, stride, 2, out);
}

TARGET_F16C static void widen4(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride, float *out)
{
    for (; n >= 2; n -= 2, codes += 2, table += 2 * stride, out += 8) {
        __m128i first = _mm_loadl_epi64((const __m128i *)(table + codes[0] * 4u));
        __m128i second = _mm_loadl_epi64((const __m128i *)(table + stride + codes[1] * 4u));
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_unpacklo_epi64(first, second)));
    }
    expand_plainly(codes, n, table, stride, 4, out);
}

TARGET_F16C static void widen8(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride,
                               uint32_t parts, float *out)
{
    for (; n; n--, codes++, table += stride) {
        const __m128i *entry = (const __m128i *)(table + codes[0] * parts * 8u);
        for (uint32_t k = 0; k < parts; k++, out += 8)
            _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(entry + k)));
    }
}

/* Entries widened on their way from the table to the row; dims 2 to 16. */
TARGET_F16C static void expand_widening(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride,
                                        uint32_t dims, float *out)
{
    switch (dims) {
    case 2: widen2(codes, n, table, stride, out); break;
    case 4: widen4(codes, n, table, stride, out); break;
    case 8: widen8(codes, n, table, stride, 1, out); break;
    case 16: widen8(codes, n, table, stride, 2, out); break;
    }
}
#endif

/* n neighbouring sub-vectors, the table of each `stride` behind that of the one before. */
static void expand(const uint16_t *codes, uint32_t n, const uint16_t *table, size_t stride, uint32_t dims, float *out)
{
#ifdef KVC_HAS_F16C
    if (dims >= 2 && kvci_has_f16c()) {
        expand_widening(codes, n, table, stride, dims, out);
        return;
    }
#endif
    expand_plainly(codes, n, table, stride, dims, out);
}

/* codes [n_rows][n_codes] to y [n_rows][d']. */
static void expand_rows(const kvc_coder *coder, const table_shape *shape, uint32_t head, const uint16_t *codes,
                        uint32_t n_rows, float *y)
{
    size_t d = coder->latent_dim, stride;
    for (uint32_t i = 0; i < shape->n_bands; i++) {
        const table_band *b = &shape->band[i];
        const uint16_t *table = kvci_table_of(coder, shape, b, head, &stride);
        if (stride == 0 && b->n == shape->n_codes && shape->n_channels == d) {
            expand(codes, n_rows * b->n, table, 0, b->dims, y); /* rows follow each other without a gap */
            continue;
        }
        for (uint32_t row = 0; row < n_rows; row++)
            expand(codes + row * shape->n_codes + b->code, b->n, table, stride, b->dims, y + row * d + b->channel);
    }
    for (uint32_t row = 0; row < n_rows && shape->n_channels < d; row++) /* dropped channels */
        memset(y + row * d + shape->n_channels, 0, (d - shape->n_channels) * sizeof *y);
}

void kvci_table_decode(const kvc_coder *coder, uint32_t head, const uint8_t *block, uint32_t first_row,
                       uint32_t n_rows, float *y)
{
    uint16_t codes[BATCH_VALUES + 16];
    table_shape shape = kvci_table_shape(coder);
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
