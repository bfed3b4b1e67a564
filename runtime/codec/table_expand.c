/* table_expand.c - on any machine, and with the x86 instruction that widens fp16. table_expand.h. */
#include "codec/table_expand.h"
#include "kvc/codec.h"
#include "simd.h"

KVC_INLINE void copy_entries(table_run run, const uint16_t *codes, uint32_t n, const uint32_t dims, uint16_t *out)
{
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, out += dims)
        memcpy(out, run.table + (size_t)codes[i] * dims, dims * sizeof *out);
}

/* Entries side by side as fp16, then widened together. */
static void expand_plain(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    uint16_t values[512];
    for (uint32_t batch = 512u / run.dims, some; n; n -= some, codes += some, run.table += some * run.stride) {
        some = batch < n ? batch : n;
        switch (run.dims) { /* constants, so that each copy is unrolled */
        case 1: copy_entries(run, codes, some, 1, values); break;
        case 2: copy_entries(run, codes, some, 2, values); break;
        case 4: copy_entries(run, codes, some, 4, values); break;
        case 8: copy_entries(run, codes, some, 8, values); break;
        case 16: copy_entries(run, codes, some, 16, values); break;
        }
        kvc_rows_to_float(values, KVC_F16, (size_t)some * run.dims, out);
        out += some * run.dims;
    }
}

void kvci_table_expand_plain(table_run run, table_rows rows, const uint16_t *codes, float *out)
{
    for (uint32_t i = 0; i < rows.n_rows; i++, codes += rows.code_stride, out += rows.out_stride)
        expand_plain(run, codes, rows.n, out);
}

#ifdef KVC_HAS_F16C
#define TARGET_F16C __attribute__((target("avx,f16c")))
#define F16C_INLINE static inline __attribute__((always_inline, target("avx,f16c")))

/* The first n of eight fp16 numbers. */
F16C_INLINE void widen_some(__m128i halves, uint32_t n, float *out)
{
    float values[8];
    _mm256_storeu_ps(values, _mm256_cvtph_ps(halves));
    memcpy(out, values, n * sizeof *out);
}

F16C_INLINE void widen1(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
#define ENTRY(k) (short)run.table[(k)*run.stride + codes[k]]
    for (; n >= 8; n -= 8, codes += 8, run.table += 8 * run.stride, out += 8)
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_setr_epi16(ENTRY(0), ENTRY(1), ENTRY(2), ENTRY(3), ENTRY(4),
                                                             ENTRY(5), ENTRY(6), ENTRY(7))));
#undef ENTRY
    uint16_t e[8] = {0};
    for (uint32_t k = 0; k < n; k++) e[k] = run.table[k * run.stride + codes[k]];
    if (n) widen_some(_mm_loadu_si128((const __m128i *)e), n, out);
}

F16C_INLINE void widen2(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    for (; n >= 4; n -= 4, codes += 4, run.table += 4 * run.stride, out += 8) {
        int32_t e[4];
        for (uint32_t k = 0; k < 4; k++) memcpy(&e[k], run.table + k * run.stride + codes[k] * 2u, sizeof e[k]);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_setr_epi32(e[0], e[1], e[2], e[3])));
    }
    int32_t e[4] = {0};
    for (uint32_t k = 0; k < n; k++) memcpy(&e[k], run.table + k * run.stride + codes[k] * 2u, sizeof e[k]);
    if (n) widen_some(_mm_setr_epi32(e[0], e[1], e[2], e[3]), n * 2u, out);
}

F16C_INLINE void widen4(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
#pragma GCC unroll 4
    for (; n >= 2; n -= 2, codes += 2, run.table += 2 * run.stride, out += 8) {
        __m128i first = _mm_loadl_epi64((const __m128i *)(run.table + codes[0] * 4u));
        __m128i second = _mm_loadl_epi64((const __m128i *)(run.table + run.stride + codes[1] * 4u));
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_unpacklo_epi64(first, second)));
    }
    if (n) _mm_storeu_ps(out, _mm_cvtph_ps(_mm_loadl_epi64((const __m128i *)(run.table + codes[0] * 4u))));
}

F16C_INLINE void widen8(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, out += 8)
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(run.table + codes[i] * 8u))));
}

F16C_INLINE void widen16(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, out += 16) {
        const __m128i *entry = (const __m128i *)(run.table + codes[i] * 16u);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(entry)));
        _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(_mm_loadu_si128(entry + 1)));
    }
}
#define WIDEN(dims)                                                                                                  \
    TARGET_F16C static void widen_rows##dims(table_run run, table_rows rows, const uint16_t *codes, float *out)      \
    {                                                                                                                \
        for (uint32_t i = 0; i < rows.n_rows; i++, codes += rows.code_stride, out += rows.out_stride)                \
            widen##dims(run, codes, rows.n, out);                                                                    \
    }
WIDEN(1)
WIDEN(2)
WIDEN(4)
WIDEN(8)
WIDEN(16)
#undef WIDEN
#endif

table_expand_fn *kvci_table_expand_f16c(table_run run)
{
#ifdef KVC_HAS_F16C
    if (!kvci_has_f16c()) return NULL;
    switch (run.dims) {
    case 1: return widen_rows1;
    case 2: return widen_rows2;
    case 4: return widen_rows4;
    case 8: return widen_rows8;
    case 16: return widen_rows16;
    }
#endif
    (void)run;
    return NULL;
}

void kvci_table_expand(table_run run, table_rows rows, const uint16_t *codes, float *out)
{
    if (rows.code_stride == rows.n && rows.out_stride == rows.n * run.dims && run.stride == 0) { /* without a gap */
        rows.n *= rows.n_rows;
        rows.n_rows = 1;
    }
    table_expand_fn *expand = kvci_table_expand_vbmi(run, rows.n);
    if (!expand) expand = kvci_table_expand_f16c(run);
    if (!expand) expand = kvci_table_expand_plain;
    expand(run, rows, codes, out);
}
