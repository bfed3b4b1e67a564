/* lookup_rows.cuh - a table whose rows of 128 bytes are full of copies of an entry, where one instruction makes the
 * address of a code's entry: a dot product of four bytes, the codes, with 128 for the one that is meant, plus where
 * the lane's copy begins. (A byte permutation, which fragment/table.cuh had before, asks for rows of 256 bytes, and
 * for the table's address in a uniform register.) And codes of eight tokens by matrix loads. */
#ifndef TESTS_BENCH_LOOKUP_ROWS_CUH
#define TESTS_BENCH_LOOKUP_ROWS_CUH
#include "lookup_work.cuh"

#ifdef KVC_EMULATE
typedef const uint8_t *row_address;
static inline row_address row_base(const uint8_t *at)
{
    return at;
}
static inline const uint8_t *row_entry(uint32_t word, int k, row_address base)
{
    return base + (word >> 8 * k & 255u) * 128u;
}
#else
typedef uint32_t row_address;
__device__ __forceinline__ row_address row_base(const uint8_t *at)
{
    return (uint32_t)__cvta_generic_to_shared(at);
}
/* Of code k of a word. */
__device__ __forceinline__ const uint8_t *row_entry(uint32_t word, int k, row_address base)
{
    return (const uint8_t *)__cvta_shared_to_generic(__dp4a(word, 128u << 8 * k, base));
}
#endif

/* Four matrices [8][8] of halves, rows at the addresses of lanes 0..7, 8..15, ..; word m of lane 4 g + t has column g
 * of rows 2t and 2t+1 of matrix m. */
#ifdef KVC_EMULATE
static inline void load_transposed(uint32_t words[4], const uint8_t *row)
{
    int lane = (int)threadIdx.x % 32, g = lane / 4, t = lane % 4;
    for (int m = 0; m < 4; m++) {
        const uint8_t *first = __shfl_sync(~0u, row, m * 8 + 2 * t),
                      *second = __shfl_sync(~0u, row, m * 8 + 2 * t + 1);
        words[m] = ((const uint16_t *)first)[g] | (uint32_t)((const uint16_t *)second)[g] << 16;
    }
}
#else
__device__ __forceinline__ void load_transposed(uint32_t words[4], const uint8_t *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                 : "r"((uint32_t)__cvta_generic_to_shared(row)));
}
#endif

/* Codes of values. words[i][u] of lane 4 g + t: of tokens 2t and 2t+1 of octet i, codes 16 u + 2 g and the next, in
 * two bytes each. A row is UNITS times 16 bytes; a matrix takes another unit of every 8 / UNITS rows, so that all
 * banks are used, and lanes put the units of their tokens in order. */
template <int UNITS>
__device__ __forceinline__ void load_octets(const uint8_t *stage, int lane, uint32_t words[8][UNITS])
{
    const int row = lane % 8, turn = lane % 4 * UNITS / 4;
#pragma unroll
    for (int k = 0; k < 2 * UNITS; k++) {
        int matrix = 4 * k + lane / 8, unit = (matrix + row * UNITS / 8) % UNITS;
        load_transposed(&words[0][0] + 4 * k, stage + ((matrix / UNITS * 8 + row) * UNITS + unit) * 16);
    }
#pragma unroll
    for (int by = 1; by < UNITS; by *= 2)
#pragma unroll
        for (int i = 0; i < 8; i++) {
            uint32_t before[UNITS];
#pragma unroll
            for (int u = 0; u < UNITS; u++) before[u] = words[i][u];
#pragma unroll
            for (int u = 0; u < UNITS; u++) words[i][u] = turn & by ? before[(u + UNITS - by) % UNITS] : before[u];
        }
}

#endif
