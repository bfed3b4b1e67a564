/* nearest.c - nearest centroids (nearest.h).
 *
 * Work: n k dims multiply-adds, which is the floor: tests/bench/bench_kmeans.c measures against it. A comparison that
 * remembers its index costs three instructions a pair, more than the products of two dimensions. So the AVX-512 loop
 * only takes the least value of each chunk of 16 centroids (one instruction, beside the multiplier) and remembers the
 * chunk; which one of the chunk it was is looked up once per point, by the same products again. */
#include "nearest.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>
#include "isa.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define NEAREST_AVX512
#endif

#define GROUP NEAREST_GROUP
#define ALIGNMENT 64u

static uint32_t padded_dims(uint32_t dims)
{
    uint32_t padded = 1;
    while (padded < dims) padded *= 2;
    return padded;
}

static void *zeros(size_t n, size_t size)
{
    void *memory = n <= (SIZE_MAX - ALIGNMENT) / size ? aligned_alloc(ALIGNMENT, (n * size + 63) / 64 * 64) : NULL;
    if (memory) memset(memory, 0, n * size);
    return memory;
}

kvc_status packed_points_new(packed_points *p, size_t n, uint32_t dims, kvc_error *err)
{
    *p = (packed_points){.n = n, .groups = n / GROUP + (n % GROUP != 0), .dims = padded_dims(dims)};
    if (p->groups <= SIZE_MAX / (GROUP * NEAREST_MAX_DIMS)) {
        p->x = zeros(p->groups * GROUP * p->dims, sizeof *p->x);
        p->w = zeros(p->groups * GROUP, sizeof *p->w);
    }
    return p->x && p->w ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu points of k-means", n);
}

void packed_points_free(packed_points *p)
{
    free(p->x);
    free(p->w);
}

kvc_status packed_centroids_new(packed_centroids *c, uint32_t k, uint32_t dims, kvc_error *err)
{
    size_t slots = (k + GROUP - 1) / GROUP * GROUP;
    *c = (packed_centroids){.k = k, .dims = padded_dims(dims)};
    c->c = zeros(slots * c->dims, sizeof *c->c);
    c->half = zeros(slots, sizeof *c->half);
    return c->c && c->half ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u centroids", k);
}

void packed_centroids_free(packed_centroids *c)
{
    free(c->c);
    free(c->half);
}

void packed_centroids_ready(packed_centroids *c)
{
    uint32_t slots = (c->k + GROUP - 1) / GROUP * GROUP;
    for (uint32_t j = 0; j < slots; j++) {
        const float *value = c->c + packed_at(c->dims, j);
        float square = 0.0f;
        for (uint32_t i = 0; i < c->dims; i++) square += value[i * GROUP] * value[i * GROUP];
        c->half[j] = j < c->k ? 0.5f * square : FLT_MAX;
    }
}

/* ---- plain ---- */

/* One group; best and index stay in registers once the loops are unrolled. */
FIT_INLINE void plain_group(uint32_t dims, const float *restrict x, const packed_centroids *c,
                            uint32_t *restrict label)
{
    float best[GROUP];
    uint32_t index[GROUP] = {0};
    for (uint32_t p = 0; p < GROUP; p++) best[p] = FLT_MAX;
    for (uint32_t j = 0; j < c->k; j++) {
        const float *centroid = c->c + packed_at(dims, j);
        float value[GROUP];
        for (uint32_t p = 0; p < GROUP; p++) value[p] = c->half[j];
#pragma GCC unroll 16
        for (uint32_t i = 0; i < dims; i++)
            for (uint32_t p = 0; p < GROUP; p++) value[p] -= x[i * GROUP + p] * centroid[i * GROUP];
        for (uint32_t p = 0; p < GROUP; p++) {
            index[p] = value[p] < best[p] ? j : index[p];
            best[p] = value[p] < best[p] ? value[p] : best[p];
        }
    }
    memcpy(label, index, sizeof index);
}

FIT_INLINE void plain_groups(uint32_t dims, const float *x, const packed_centroids *c, size_t n, uint32_t *label)
{
    for (size_t g = 0; g < n; g++) plain_group(dims, x + g * dims * GROUP, c, label + g * GROUP);
}

FIT_CLONES static void plain(const float *x, const packed_centroids *c, size_t n, uint32_t *label)
{
    switch (c->dims) {
    case 1: plain_groups(1, x, c, n, label); break;
    case 2: plain_groups(2, x, c, n, label); break;
    case 4: plain_groups(4, x, c, n, label); break;
    case 8: plain_groups(8, x, c, n, label); break;
    case 16: plain_groups(16, x, c, n, label); break;
    }
}

void nearest_plain(const packed_points *p, const packed_centroids *c, size_t first_group, size_t n_groups,
                   uint32_t *label)
{
    plain(p->x + first_group * p->dims * GROUP, c, n_groups, label);
}

/* ---- AVX-512 ---- */

#ifdef NEAREST_AVX512
#define AVX512 __attribute__((target("avx512f")))
#define AVX512_INLINE static inline __attribute__((always_inline, target("avx512f")))

/* |c|^2 / 2 - x.c of 16 pairs: 16 points and one centroid, or one point and 16 centroids. Both ways the same values.
 */
#define CHUNK_VALUES(half, x_of, c_of)                                                                               \
    ({                                                                                                               \
        __m512 value_ = half;                                                                                        \
        _Pragma("GCC unroll 16") for (uint32_t i = 0; i < dims; i++) value_ = _mm512_fnmadd_ps(x_of, c_of, value_);  \
        value_;                                                                                                      \
    })

/* Of each point of `many` groups: the least value, and the first chunk that has it. */
AVX512_INLINE void best_chunks(uint32_t dims, uint32_t many, const float *x, const packed_centroids *c, __m512 *best,
                               __m512i *chunk)
{
    for (uint32_t g = 0; g < many; g++) best[g] = _mm512_set1_ps(FLT_MAX), chunk[g] = _mm512_setzero_si512();
    const float *centroids = c->c, *half = c->half;
    for (uint32_t j = 0; j < c->k; j += GROUP, centroids += dims * GROUP, half += GROUP) {
        __m512 least[4];
        for (uint32_t g = 0; g < many; g++) least[g] = best[g];
#pragma GCC unroll 16
        for (uint32_t q = 0; q < GROUP; q++) {
#pragma GCC unroll 4
            for (uint32_t g = 0; g < many; g++) {
                const float *points = x + g * dims * GROUP;
                __m512 value = CHUNK_VALUES(_mm512_set1_ps(half[q]), _mm512_load_ps(points + i * GROUP),
                                            _mm512_set1_ps(centroids[i * GROUP + q]));
                least[g] = _mm512_min_ps(least[g], value);
            }
        }
        for (uint32_t g = 0; g < many; g++) {
            __mmask16 better = _mm512_cmp_ps_mask(least[g], best[g], _CMP_LT_OQ);
            best[g] = least[g];
            chunk[g] = _mm512_mask_mov_epi32(chunk[g], better, _mm512_set1_epi32((int)j));
        }
    }
}

/* The first centroid of each point's chunk that has the least value. */
AVX512_INLINE void resolve(uint32_t dims, const float *x, const packed_centroids *c, __m512 best, __m512i chunk,
                           uint32_t *label)
{
    float least[GROUP];
    uint32_t first[GROUP];
    _mm512_storeu_ps(least, best);
    _mm512_storeu_si512(first, chunk);
    for (uint32_t p = 0; p < GROUP; p++) {
        const float *centroids = c->c + (size_t)first[p] * dims;
        __m512 value = CHUNK_VALUES(_mm512_load_ps(c->half + first[p]), _mm512_set1_ps(x[i * GROUP + p]),
                                    _mm512_load_ps(centroids + i * GROUP));
        uint32_t equal = _mm512_cmp_ps_mask(value, _mm512_set1_ps(least[p]), _CMP_LE_OQ);
        label[p] = first[p] + (uint32_t)__builtin_ctz(equal | 0x8000u);
    }
}

/* Four groups at a time hide latencies where points fit the registers. */
AVX512_INLINE void groups_avx512(uint32_t dims, const float *x, const packed_centroids *c, size_t n, uint32_t *label)
{
    __m512 best[4];
    __m512i chunk[4];
    size_t g = 0;
    for (; dims <= 4 && g + 4 <= n; g += 4) {
        best_chunks(dims, 4, x + g * dims * GROUP, c, best, chunk);
        for (size_t r = 0; r < 4; r++)
            resolve(dims, x + (g + r) * dims * GROUP, c, best[r], chunk[r], label + (g + r) * GROUP);
    }
    for (; g < n; g++) {
        best_chunks(dims, 1, x + g * dims * GROUP, c, best, chunk);
        resolve(dims, x + g * dims * GROUP, c, *best, *chunk, label + g * GROUP);
    }
}

AVX512 static void nearest_avx512(const float *x, const packed_centroids *c, size_t n, uint32_t *label)
{
    switch (c->dims) {
    case 1: groups_avx512(1, x, c, n, label); break;
    case 2: groups_avx512(2, x, c, n, label); break;
    case 4: groups_avx512(4, x, c, n, label); break;
    case 8: groups_avx512(8, x, c, n, label); break;
    case 16: groups_avx512(16, x, c, n, label); break;
    }
}
#endif

void nearest(const packed_points *p, const packed_centroids *c, size_t first_group, size_t n_groups, uint32_t *label)
{
#ifdef NEAREST_AVX512
    if (__builtin_cpu_supports("avx512f")) {
        nearest_avx512(p->x + first_group * p->dims * GROUP, c, n_groups, label);
        return;
    }
#endif
    nearest_plain(p, c, first_group, n_groups, label);
}
