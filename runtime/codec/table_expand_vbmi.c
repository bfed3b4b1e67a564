/* table_expand_vbmi.c - 64 codes at a time where the machine can permute bytes across a whole vector (AVX-512 VBMI):
 * for entries of one or two values in a shared table of at most 256, whose bytes then lie in registers.
 *
 * A table is cut into planes: byte p of every entry. Looking up 64 codes in a plane of 64 entries is one permutation,
 * of 128 one of two registers, of 256 two of those and a choice by the code's top bit. The planes' results are
 * interleaved into fp16 values; codes are put into such an order beforehand that those come out in theirs. */
#include "codec/table_expand.h"
#include "simd.h"

#ifdef KVC_HAS_F16C
#define TARGET_VBMI __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define VBMI_INLINE static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vbmi")))

#define LEAST_CODES 256u /* fewer are not worth the planes */

typedef struct plane {
    __m512i part[4]; /* bytes of entries 64 k .. 64 k + 63 */
} plane;

/* Entries of 4 or of 2 bytes; what lies behind n_entries is zero. */
VBMI_INLINE void cut_planes(const uint16_t *table, uint32_t n_entries, const uint32_t dims, plane planes[4])
{
    _Alignas(64) uint8_t bytes[4][256] = {{0}};
    uint32_t per_load = 32u / dims;
    for (uint32_t e = 0; e < n_entries; e += per_load) {
        uint32_t left = n_entries - e < per_load ? (n_entries - e) * dims : 32u; /* fp16 values */
        __mmask32 present = left < 32u ? (1u << left) - 1u : 0xffffffffu;
        __m512i entries = _mm512_maskz_loadu_epi16(present, table + (size_t)e * dims);
        for (uint32_t p = 0; p < 2 * dims; p++) {
            if (dims == 1)
                _mm256_store_si256((__m256i *)(bytes[p] + e),
                                   _mm512_cvtepi16_epi8(_mm512_srli_epi16(entries, 8 * p)));
            else
                _mm_store_si128((__m128i *)(bytes[p] + e), _mm512_cvtepi32_epi8(_mm512_srli_epi32(entries, 8 * p)));
        }
    }
    for (uint32_t p = 0; p < 2 * dims; p++)
        for (uint32_t k = 0; k < 4; k++) planes[p].part[k] = _mm512_load_si512(bytes[p] + 64 * k);
}

/* `parts` of the plane's registers are in use: 1, 2 or 4. */
VBMI_INLINE __m512i look_up(const plane *p, __m512i codes, const uint32_t parts)
{
    if (parts == 1) return _mm512_permutexvar_epi8(codes, p->part[0]);
    __m512i low = _mm512_permutex2var_epi8(p->part[0], codes, p->part[1]);
    if (parts == 2) return low;
    __m512i high = _mm512_permutex2var_epi8(p->part[2], codes, p->part[3]);
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(codes), low, high);
}

VBMI_INLINE void widen(__m512i halves, float *out)
{
    _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm512_castsi512_si256(halves)));
    _mm512_storeu_ps(out + 16, _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1)));
}

/* Which code comes to byte i, such that interleaving within each 16 bytes gives all of them in order. */
VBMI_INLINE __m512i interleaving_order(const uint32_t dims)
{
    _Alignas(64) uint8_t order[64];
    uint32_t run = 16u / (2 * dims); /* codes of one 16-byte part of the result */
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t lane = i / 16, slot = i % 16 / run;
        order[i] = (uint8_t)(slot * 4 * run + lane * run + i % run);
    }
    return _mm512_load_si512(order);
}

VBMI_INLINE void expand64(const plane planes[4], __m512i codes, const uint32_t dims, const uint32_t parts, float *out)
{
    __m512i first = look_up(&planes[0], codes, parts), second = look_up(&planes[1], codes, parts);
    __m512i low = _mm512_unpacklo_epi8(first, second), high = _mm512_unpackhi_epi8(first, second);
    if (dims == 1) {
        widen(low, out);
        widen(high, out + 32);
        return;
    }
    __m512i third = look_up(&planes[2], codes, parts), fourth = look_up(&planes[3], codes, parts);
    __m512i low2 = _mm512_unpacklo_epi8(third, fourth), high2 = _mm512_unpackhi_epi8(third, fourth);
    widen(_mm512_unpacklo_epi16(low, low2), out);
    widen(_mm512_unpackhi_epi16(low, low2), out + 32);
    widen(_mm512_unpacklo_epi16(high, high2), out + 64);
    widen(_mm512_unpackhi_epi16(high, high2), out + 96);
}

VBMI_INLINE __m512i load_codes(const uint16_t *codes, __m512i order)
{
    __m256i low = _mm512_cvtepi16_epi8(_mm512_loadu_si512(codes));
    __m256i high = _mm512_cvtepi16_epi8(_mm512_loadu_si512(codes + 32));
    return _mm512_permutexvar_epi8(order, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

VBMI_INLINE void expand_all(table_run run, table_rows rows, const uint16_t *codes, float *out, const uint32_t dims,
                            const uint32_t parts)
{
    plane planes[4];
    __m512i order = interleaving_order(dims);
    table_rows rest = {1, rows.n % 64, 0, 0};
    cut_planes(run.table, run.n_entries, dims, planes);
    for (uint32_t row = 0; row < rows.n_rows; row++, codes += rows.code_stride, out += rows.out_stride) {
        uint32_t i = 0;
        for (; i + 64 <= rows.n; i += 64) expand64(planes, load_codes(codes + i, order), dims, parts, out + i * dims);
        if (rest.n) kvci_table_expand_plain(run, rest, codes + i, out + i * dims);
    }
}

#define EXPAND(dims, parts)                                                                                          \
    TARGET_VBMI static void expand_##dims##_##parts(table_run run, table_rows rows, const uint16_t *codes,           \
                                                    float *out)                                                      \
    {                                                                                                                \
        expand_all(run, rows, codes, out, dims, parts);                                                              \
    }
EXPAND(1, 1)
EXPAND(1, 2)
EXPAND(1, 4)
EXPAND(2, 1)
EXPAND(2, 2)
EXPAND(2, 4)
#undef EXPAND

table_expand_fn *kvci_table_expand_vbmi(table_run run, uint32_t n)
{
    static table_expand_fn *const by_dims[2][3] = {{expand_1_1, expand_1_2, expand_1_4},
                                                   {expand_2_1, expand_2_2, expand_2_4}};
    if (run.dims > 2 || run.stride || run.n_entries > 256 || n < LEAST_CODES) return NULL;
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vbmi")) return NULL;
    return by_dims[run.dims - 1][run.n_entries > 128 ? 2 : run.n_entries > 64 ? 1 : 0];
}

#else

table_expand_fn *kvci_table_expand_vbmi(table_run run, uint32_t n)
{
    (void)run;
    (void)n;
    return NULL;
}

#endif
