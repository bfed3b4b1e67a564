/* table_encode.cuh - the nearest entry of a table for each vector (runtime/codec/table_encode.c): distances in the
 * order of the channels, every operation rounded by itself, of equally near entries the first.
 *
 * A thread for a vector. Entries are fp32 in scratch, where the lanes of a warp read one at a time, all the same: 3 c
 * 2^b operations for a vector and two more for an entry, and bound by them. */
#ifndef KERNELS_CODEC_TABLE_ENCODE_CUH
#define KERNELS_CODEC_TABLE_ENCODE_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

/* Some codes of a row that are alike, in every row of a tile, and their tables [n_entries][dims]: one for all of
 * them, or one each, side by side. */
struct table_set {
    const __half *tables;
    uint32_t n, n_entries, per_code;
};

/* Sum of squares, or with MAGNITUDE (one dimension) the distance itself. */
template <uint32_t DIMS, bool MAGNITUDE>
__device__ inline float table_distance(const float (&x)[DIMS], const float (&entry)[DIMS])
{
    float step = x[0] - entry[0], distance = MAGNITUDE ? fabsf(step) : step * step;
#pragma unroll
    for (uint32_t k = 1; k < DIMS; k++) {
        step = x[k] - entry[k];
        distance += step * step;
    }
    return distance;
}

/* n values, an even number. */
__device__ inline void table_load(float *scratch, const __half *values, uint32_t n)
{
    __syncthreads(); /* those that are there have been read */
    for (uint32_t i = threadIdx.x; i < n / 2; i += blockDim.x)
        *(float2 *)(scratch + 2 * i) = __half22float2(*(const __half2 *)(values + 2 * i));
    __syncthreads();
}

/* Codes g .. g + n - 1 of the set. read(row, code, k) and write(row, code, nearest). */
template <uint32_t DIMS, bool MAGNITUDE, typename READ, typename WRITE>
__device__ inline void table_search_some(const page_tile &t, const table_set &set, uint32_t g, uint32_t n, READ read,
                                         WRITE write)
{
    uint32_t n_tables = set.per_code ? n : 1, most = least(t.room / DIMS / n_tables, set.n_entries);
    const __half *tables = set.tables + (set.per_code ? (size_t)g * set.n_entries * DIMS : 0);
    for (uint32_t v = threadIdx.x, batch = 0; batch < n * t.n_rows; v += blockDim.x, batch += blockDim.x) {
        /* lanes have one table, or neighbours in a row */
        uint32_t row = set.per_code ? v % t.n_rows : v / n, c = set.per_code ? v / t.n_rows : v % n, code = 0;
        bool works = v < n * t.n_rows;
        float x[DIMS], best = __uint_as_float(0x7f800000u);
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k++) x[k] = works ? read(row, g + c, k) : 0.0f;
        for (uint32_t first = 0, some; first < set.n_entries; first += some) {
            some = least(most, set.n_entries - first);
            if (batch == 0 || most < set.n_entries)
                table_load(t.scratch, tables + (size_t)first * DIMS, n_tables * some * DIMS);
            const float *at = t.scratch + (works && set.per_code ? c * set.n_entries * DIMS : 0);
#pragma unroll 4
            for (uint32_t e = first; e < first + some; e++, at += DIMS) {
                float entry[DIMS];
                load_floats(at, entry);
                float distance = table_distance<DIMS, MAGNITUDE>(x, entry);
                code = distance < best ? e : code;
                best = distance < best ? distance : best;
            }
        }
        if (works) write(row, g + c, code);
    }
}

/* As many tables at a time as scratch holds and as there are threads for; of one that it does not hold, parts. */
template <uint32_t DIMS, bool MAGNITUDE, typename READ, typename WRITE>
__device__ inline void table_search(const page_tile &t, const table_set &set, READ read, WRITE write)
{
    uint32_t fit = t.room / DIMS / set.n_entries, busy = (blockDim.x + t.n_rows - 1) / t.n_rows;
    uint32_t most = !set.per_code ? set.n : least(fit, busy);
    most += most == 0;
    for (uint32_t g = 0; g < set.n; g += most)
        table_search_some<DIMS, MAGNITUDE>(t, set, g, least(most, set.n - g), read, write);
}
#endif
