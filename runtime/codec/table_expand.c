/* table_expand.c - on any machine, and with the x86 instruction that widens fp16. table_expand.h. */
#include "codec/table_expand.h"
#include "kvc/codec.h"
#include "simd.h"

KVC_INLINE size_t code_at(const void *codes, size_t i, uint32_t bytes)
{
    return bytes == 1 ? ((const uint8_t *)codes)[i] : ((const uint16_t *)codes)[i];
}

/* n codes from number `at` on. */
KVC_INLINE void copy_entries(table_run run, table_rows rows, const void *codes, size_t at, uint32_t n,
                             const uint32_t dims, uint16_t *out)
{
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, at += rows.code_step, out += dims)
        memcpy(out, run.table + code_at(codes, at, rows.code_bytes) * dims, dims * sizeof *out);
}

/* Entries of a row, whose first code is number `at`, side by side as fp16, then widened together. */
static void expand_row(table_run run, table_rows rows, const void *codes, size_t at, float *out)
{
    uint16_t values[512];
    for (uint32_t left = rows.n, n; left; left -= n, at += n * rows.code_step, run.table += n * run.stride) {
        n = 512u / run.dims < left ? 512u / run.dims : left;
        switch (run.dims) { /* constants, so that each copy is unrolled */
        case 1: copy_entries(run, rows, codes, at, n, 1, values); break;
        case 2: copy_entries(run, rows, codes, at, n, 2, values); break;
        case 4: copy_entries(run, rows, codes, at, n, 4, values); break;
        case 8: copy_entries(run, rows, codes, at, n, 8, values); break;
        case 16: copy_entries(run, rows, codes, at, n, 16, values); break;
        }
        kvc_rows_to_float(values, KVC_F16, (size_t)n * run.dims, out);
        out += n * run.dims;
    }
}

void kvci_table_expand_plain(table_run run, table_rows rows, const void *codes, float *out)
{
    for (uint32_t i = 0; i < rows.n_rows; i++)
        expand_row(run, rows, codes, i * rows.code_stride, out + i * rows.out_stride);
}

#ifdef KVC_HAS_F16C
#define TARGET_F16C __attribute__((target("avx,f16c")))
#define F16C_INLINE static inline __attribute__((always_inline, target("avx,f16c")))

/* Eight values from where codes k, k + 1, .. from number `at` on point to. */
#define ENTRY(k, dims) (table + (k)*stride + code_at(codes, at + (k)*step, bytes) * (dims))
#define ENTRY1(k) (short)*ENTRY(k, 1)
#define ENTRY2(k) _mm_loadu_si32(ENTRY(k, 2))
#define ENTRY4(k) _mm_loadl_epi64((const __m128i *)ENTRY(k, 4))
#define EIGHT1(k)                                                                                                    \
    _mm_setr_epi16(ENTRY1(k), ENTRY1(k + 1), ENTRY1(k + 2), ENTRY1(k + 3), ENTRY1(k + 4), ENTRY1(k + 5),             \
                   ENTRY1(k + 6), ENTRY1(k + 7))
#define EIGHT2(k)                                                                                                    \
    _mm_unpacklo_epi64(_mm_unpacklo_epi32(ENTRY2(k), ENTRY2(k + 1)), _mm_unpacklo_epi32(ENTRY2(k + 2), ENTRY2(k + 3)))
#define EIGHT4(k) _mm_unpacklo_epi64(ENTRY4(k), ENTRY4(k + 1))
#define EIGHT8(k) _mm_loadu_si128((const __m128i *)ENTRY(k, 8))
#define EIGHT16(k) _mm_loadu_si128((const __m128i *)ENTRY(0, 16) + (k))

/* A row has few codes, so the loop runs over rows: for each column of 16 values, a line of the processor's cache,
 * then for one of 8. `stride` is the run's, `step` and `bytes` those of the rows, constants where they can be. */
#define COLUMN(dims)                                                                                                 \
    F16C_INLINE void column##dims(const uint16_t *table, const size_t stride, const size_t step,                     \
                                  const uint32_t bytes, table_rows rows, const void *codes, float *out,              \
                                  const uint32_t n_values)                                                           \
    {                                                                                                                \
        for (size_t row = 0, at = 0; row < rows.n_rows; row++, at += rows.code_stride, out += rows.out_stride) {     \
            _mm256_storeu_ps(out, _mm256_cvtph_ps(EIGHT##dims(0)));                                                  \
            if (n_values == 16) _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(EIGHT##dims((dims < 8 ? 8 / dims : 1))));  \
        }                                                                                                            \
    }                                                                                                                \
    F16C_INLINE void columns##dims(table_run run, const size_t stride, const size_t step, const uint32_t bytes,      \
                                   table_rows rows, const uint8_t *codes, float *out)                                \
    {                                                                                                                \
        for (const uint32_t n = 16 / dims; rows.n >= n;                                                              \
             rows.n -= n, codes += n * step * bytes, out += 16, run.table += n * stride)                             \
            column##dims(run.table, stride, step, bytes, rows, codes, out, 16);                                      \
        for (const uint32_t n = dims < 8 ? 8 / dims : 1; rows.n >= n;                                                \
             rows.n -= n, codes += n * step * bytes, out += 8, run.table += n * stride)                              \
            column##dims(run.table, stride, step, bytes, rows, codes, out, 8);                                       \
        if (rows.n) kvci_table_expand_plain(run, rows, codes, out);                                                  \
    }                                                                                                                \
    TARGET_F16C static void widen##dims(table_run run, table_rows rows, const void *codes, float *out)               \
    {                                                                                                                \
        const int bytes = rows.code_bytes == 1 && run.stride == 0; /* shared codes */                                \
        if (bytes && rows.code_step == 32)                                                                           \
            columns##dims(run, 0, 32, 1, rows, codes, out);                                                          \
        else if (bytes && rows.code_step == 16)                                                                      \
            columns##dims(run, 0, 16, 1, rows, codes, out);                                                          \
        else if (rows.code_bytes == 1)                                                                               \
            columns##dims(run, run.stride, rows.code_step, 1, rows, codes, out);                                     \
        else if (rows.code_step != 1)                                                                                \
            columns##dims(run, run.stride, rows.code_step, 2, rows, codes, out);                                     \
        else if (run.stride)                                                                                         \
            columns##dims(run, run.stride, 1, 2, rows, codes, out);                                                  \
        else                                                                                                         \
            columns##dims(run, 0, 1, 2, rows, codes, out);                                                           \
    }
COLUMN(1)
COLUMN(2)
COLUMN(4)
COLUMN(8)
COLUMN(16)
#undef COLUMN
#undef EIGHT16
#undef EIGHT8
#undef EIGHT4
#undef EIGHT2
#undef EIGHT1
#undef ENTRY4
#undef ENTRY2
#undef ENTRY1
#undef ENTRY
#endif

table_expand_fn *kvci_table_expand_f16c(table_run run)
{
#ifdef KVC_HAS_F16C
    if (!kvci_has_f16c()) return NULL;
    switch (run.dims) {
    case 1: return widen1;
    case 2: return widen2;
    case 4: return widen4;
    case 8: return widen8;
    case 16: return widen16;
    }
#endif
    (void)run;
    return NULL;
}

void kvci_table_expand(table_run run, table_rows rows, const void *codes, float *out)
{
    table_expand_fn *expand = kvci_table_expand_f16c(run);
    if (!expand) expand = kvci_table_expand_plain;
    expand(run, rows, codes, out);
}
