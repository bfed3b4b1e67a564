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
void kvci_table_expand_plain(table_run run, const uint16_t *codes, uint32_t n, float *out)
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

#ifdef KVC_HAS_F16C
#define TARGET_F16C __attribute__((target("avx,f16c")))

TARGET_F16C static void widen2(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    for (; n >= 4; n -= 4, codes += 4, run.table += 4 * run.stride, out += 8) {
        int32_t e[4];
        for (uint32_t k = 0; k < 4; k++) memcpy(&e[k], run.table + k * run.stride + codes[k] * 2u, sizeof e[k]);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_setr_epi32(e[0], e[1], e[2], e[3])));
    }
    kvci_table_expand_plain(run, codes, n, out);
}

TARGET_F16C static void widen4(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
#pragma GCC unroll 4
    for (; n >= 2; n -= 2, codes += 2, run.table += 2 * run.stride, out += 8) {
        __m128i first = _mm_loadl_epi64((const __m128i *)(run.table + codes[0] * 4u));
        __m128i second = _mm_loadl_epi64((const __m128i *)(run.table + run.stride + codes[1] * 4u));
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_unpacklo_epi64(first, second)));
    }
    kvci_table_expand_plain(run, codes, n, out);
}

TARGET_F16C static void widen8(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, out += 8)
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(run.table + codes[i] * 8u))));
}

TARGET_F16C static void widen16(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    for (uint32_t i = 0; i < n; i++, run.table += run.stride, out += 16) {
        const __m128i *entry = (const __m128i *)(run.table + codes[i] * 16u);
        _mm256_storeu_ps(out, _mm256_cvtph_ps(_mm_loadu_si128(entry)));
        _mm256_storeu_ps(out + 8, _mm256_cvtph_ps(_mm_loadu_si128(entry + 1)));
    }
}
#endif

table_expand_fn *kvci_table_expand_f16c(table_run run)
{
#ifdef KVC_HAS_F16C
    if (!kvci_has_f16c()) return NULL;
    switch (run.dims) {
    case 2: return widen2;
    case 4: return widen4;
    case 8: return widen8;
    case 16: return widen16;
    }
#endif
    (void)run;
    return NULL;
}

void kvci_table_expand(table_run run, const uint16_t *codes, uint32_t n, float *out)
{
    table_expand_fn *expand = kvci_table_expand_vbmi(run, n);
    if (!expand) expand = kvci_table_expand_f16c(run);
    if (!expand) expand = kvci_table_expand_plain;
    expand(run, codes, n, out);
}
