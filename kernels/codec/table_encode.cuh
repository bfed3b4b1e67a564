/* table_encode.cuh - the nearest entry of a table for each vector (runtime/codec/table_encode.c): distances in the
 * order of the channels, every operation rounded by itself, of equally near entries the first.
 *
 * 3 c 2^b operations for a vector and three more for an entry, and bound by them. Entries are fp32 in scratch. Where
 * all codes have one table, four lanes share up to four vectors, so that an entry is read once for all of them;
 * otherwise a thread has a vector, and lanes read the same entry or those of neighbouring tables. */
#ifndef KERNELS_CODEC_TABLE_ENCODE_CUH
#define KERNELS_CODEC_TABLE_ENCODE_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

/* Some codes of a row that are alike, in every row of a tile, and their tables [n_entries][dims]: one for all of
 * them, or one each, side by side. */
struct table_set {
    const __half *tables;
    uint32_t n, n_entries;
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

/* ---- one table: read(row, code, k) and write(row, code, nearest) ---- */

#define TABLE_LANES 4u

/* Of two entries the nearer one; of equally near ones the first. */
__device__ inline void table_prefer(float distance, uint32_t other, float &best, uint32_t &code)
{
    bool better = (distance < best) | ((distance == best) & (other < code)); /* no branch */
    best = better ? distance : best;
    code = better ? other : code;
}

/* Four lanes have each some of the entries; the nearest of all, in all of them. */
__device__ inline void table_meet(float &best, uint32_t &code)
{
    for (int with = 1; with < (int)TABLE_LANES; with *= 2) {
        float distance = __shfl_xor_sync(0xffffffffu, best, with);
        uint32_t other = __shfl_xor_sync(0xffffffffu, code, with);
        table_prefer(distance, other, best, code);
    }
}

template <uint32_t DIMS, typename READ, typename WRITE>
__device__ inline void table_search_one(const page_tile &t, const table_set &set, READ read, WRITE write)
{
    constexpr uint32_t N = DIMS <= 4 ? 4 : 16 / DIMS; /* vectors of four lanes: one for each, or less */
    uint32_t lane = threadIdx.x % TABLE_LANES, n = set.n * t.n_rows, most = least(t.room / DIMS, set.n_entries);
    for (uint32_t start = 0, step = blockDim.x / TABLE_LANES * N; start < n; start += step) {
        uint32_t v = start + threadIdx.x / TABLE_LANES * N + lane % N, row = v / set.n, c = v % set.n, code[N];
        float own[DIMS], x[N][DIMS], best[N];
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k++) own[k] = v < n ? read(row, c, k) : 0.0f;
#pragma unroll
        for (uint32_t i = 0; i < N; i++) {
            best[i] = __uint_as_float(0x7f800000u), code[i] = 0;
#pragma unroll
            for (uint32_t k = 0; k < DIMS; k++)
                x[i][k] = __shfl_sync(0xffffffffu, own[k], (int)(threadIdx.x % WARP - lane + i));
        }
        for (uint32_t first = 0, some; first < set.n_entries; first += some) {
            some = least(most, set.n_entries - first);
            if (start == 0 || most < set.n_entries)
                table_load(t.scratch, set.tables + (size_t)first * DIMS, some * DIMS);
            const float *at = t.scratch + lane * DIMS;
#pragma unroll 2
            for (uint32_t e = first + lane; e < first + some; e += TABLE_LANES, at += TABLE_LANES * DIMS) {
                float entry[DIMS];
                load_floats(at, entry);
#pragma unroll
                for (uint32_t i = 0; i < N; i++) {
                    float distance = table_distance<DIMS, false>(x[i], entry);
                    code[i] = distance < best[i] ? e : code[i];
                    best[i] = distance < best[i] ? distance : best[i];
                }
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < N; i++) {
            table_meet(best[i], code[i]);
            if (lane == i && v < n) write(row, c, code[i]);
        }
    }
}

/* ---- a table for each code ---- */

/* Codes g .. g + n - 1 of the set. */
template <uint32_t DIMS, bool MAGNITUDE, typename READ, typename WRITE>
__device__ inline void table_search_some(const page_tile &t, const table_set &set, uint32_t g, uint32_t n, READ read,
                                         WRITE write)
{
    uint32_t most = least(t.room / DIMS / n, set.n_entries);
    const __half *tables = set.tables + (size_t)g * set.n_entries * DIMS;
    for (uint32_t v = threadIdx.x, batch = 0; batch < n * t.n_rows; v += blockDim.x, batch += blockDim.x) {
        uint32_t row = v % t.n_rows, c = v / t.n_rows, code = 0;
        bool works = v < n * t.n_rows;
        float x[DIMS], best = __uint_as_float(0x7f800000u);
#pragma unroll
        for (uint32_t k = 0; k < DIMS; k++) x[k] = works ? read(row, g + c, k) : 0.0f;
        for (uint32_t first = 0, some; first < set.n_entries; first += some) {
            some = least(most, set.n_entries - first);
            if (batch == 0 || most < set.n_entries)
                table_load(t.scratch, tables + (size_t)first * DIMS, n * some * DIMS);
            const float *at = t.scratch + (works ? c * set.n_entries * DIMS : 0);
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
__device__ inline void table_search_each(const page_tile &t, const table_set &set, READ read, WRITE write)
{
    uint32_t fit = t.room / DIMS / set.n_entries, busy = (blockDim.x + t.n_rows - 1) / t.n_rows;
    uint32_t most = least(fit, busy);
    most += most == 0;
    for (uint32_t g = 0; g < set.n; g += most)
        table_search_some<DIMS, MAGNITUDE>(t, set, g, least(most, set.n - g), read, write);
}
#endif
