/* table_expand.c - on any machine, and with the x86 instruction that widens fp16. table_expand.h. */
#include "codec/table_expand.h"
#include "kvc/codec.h"
#include "simd.h"

KVC_INLINE void copy_entries(table_run run, const uint16_t *codes, size_t step, uint32_t n, const uint32_t dims,
                             uint16_t *out)
{
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, codes += step, out += dims)
        memcpy(out, run.table + (size_t)*codes * dims, dims * sizeof *out);
}

/* Entries side by side as fp16, then widened together. */
static void expand_plain(table_run run, const uint16_t *codes, size_t step, uint32_t n, float *out)
{
    uint16_t values[512];
    for (uint32_t batch = 512u / run.dims, some; n; n -= some, codes += some * step, run.table += some * run.stride) {
        some = batch < n ? batch : n;
        switch (run.dims) { /* constants, so that each copy is unrolled */
        case 1: copy_entries(run, codes, step, some, 1, values); break;
        case 2: copy_entries(run, codes, step, some, 2, values); break;
        case 4: copy_entries(run, codes, step, some, 4, values); break;
        case 8: copy_entries(run, codes, step, some, 8, values); break;
        case 16: copy_entries(run, codes, step, some, 16, values); break;
        }
        kvc_rows_to_float(values, KVC_F16, (size_t)some * run.dims, out);
        out += some * run.dims;
    }
}

void kvci_table_expand_plain(table_run run, table_rows rows, const uint16_t *codes, float *out)
{
    for (uint32_t i = 0; i < rows.n_rows; i++, codes += rows.code_stride, out += rows.out_stride)
        expand_plain(run, codes, rows.code_step, rows.n, out);
}

#ifdef KVC_HAS_F16C
#define TARGET_F16C __attribute__((target("avx,f16c")))
#define F16C_INLINE static inline __attribute__((always_inline, target("avx,f16c")))

/* Eight values from where codes k, k + 1, .. point to. */
#define ENTRY(k, dims) (table + (k)*stride + (size_t)codes[(k)*step] * (dims))
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

/* A row has few codes, so the loop runs over rows: for each column of 16 values, a line of the processor's cache,
 * then for one of 8. `stride` is the run's, a constant where it is zero; `step` is that of the rows, a constant for
 * codes side by side and for those of whole runs (FORMAT.md, "shared codes"). */
#define COLUMN(dims)                                                                                                 \
    F16C_INLINE void column##dims(const uint16_t *table, const size_t stride, const size_t step, table_rows rows,    \
                                  const uint16_t *codes, float *out, const uint32_t n_values)                        \
    {                                                                                                                \
        for (uint32_t row = 0; row < rows.n_rows; row++, codes += rows.code_stride, out += rows.out_stride) {        \
            _mm256_storeu_ps(out, _mm256_cvtph_ps(EIGHT##dims(0)));                                                  \
            if (n_values == 16) _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(EIGHT##dims(8 / dims)));                   \
        }                                                                                                            \
    }                                                                                                                \
    F16C_INLINE void columns##dims(table_run run, const size_t stride, const size_t step, table_rows rows,           \
                                   const uint16_t *codes, float *out)                                                \
    {                                                                                                                \
        for (const uint32_t n = 16 / dims; rows.n >= n;                                                              \
             rows.n -= n, codes += n * step, out += 16, run.table += n * stride)                                     \
            column##dims(run.table, stride, step, rows, codes, out, 16);                                             \
        for (const uint32_t n = 8 / dims; rows.n >= n;                                                               \
             rows.n -= n, codes += n * step, out += 8, run.table += n * stride)                                      \
            column##dims(run.table, stride, step, rows, codes, out, 8);                                              \
        if (rows.n) kvci_table_expand_plain(run, rows, codes, out);                                                  \
    }                                                                                                                \
    TARGET_F16C static void widen##dims(table_run run, table_rows rows, const uint16_t *codes, float *out)           \
    {                                                                                                                \
        if (run.stride)                                                                                              \
            columns##dims(run, run.stride, rows.code_step, rows, codes, out);                                        \
        else if (rows.code_step == 1)                                                                                \
            columns##dims(run, 0, 1, rows, codes, out);                                                              \
        else if (rows.code_step == 32 && rows.code_stride == 1)                                                      \
            columns##dims(run, 0, 32, rows, codes, out);                                                             \
        else                                                                                                         \
            columns##dims(run, 0, rows.code_step, rows, codes, out);                                                 \
    }
COLUMN(1)
COLUMN(2)
COLUMN(4)
COLUMN(8)

TARGET_F16C static void widen16(table_run run, table_rows rows, const uint16_t *codes, float *out)
{
    for (uint32_t row = 0; row < rows.n_rows; row++, codes += rows.code_stride, out += rows.out_stride)
        for (uint32_t i = 0; i < rows.n; i++) {
            const uint16_t code = codes[i * rows.code_step];
            const __m128i *entry = (const __m128i *)(run.table + i * run.stride + code * 16u);
            _mm256_storeu_ps(out + i * 16, _mm256_cvtph_ps(_mm_loadu_si128(entry)));
            _mm256_storeu_ps(out + i * 16 + 8, _mm256_cvtph_ps(_mm_loadu_si128(entry + 1)));
        }
}
#undef COLUMN
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

void kvci_table_expand(table_run run, table_rows rows, const uint16_t *codes, float *out)
{
    table_expand_fn *expand = kvci_table_expand_f16c(run);
    if (!expand) expand = kvci_table_expand_plain;
    expand(run, rows, codes, out);
}
