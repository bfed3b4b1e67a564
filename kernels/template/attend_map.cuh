/* attend_map.cuh - rows times a dense map, by all warps of a block: queries into the latent space
 * (attend_prepare.cuh) and outputs out of it (attend_merge.cuh).
 *
 * Products of matrices, of fp32 in two parts. */
#ifndef KERNELS_TEMPLATE_ATTEND_MAP_CUH
#define KERNELS_TEMPLATE_ATTEND_MAP_CUH
#include <cuda_fp16.h>
#include "template/attend_units.cuh"

#define MAP_THREADS 512 /* of a block that applies maps */
#define MAP_WARPS (MAP_THREADS / 32)
/* Rows of a block at most, and no more of them than are needed for so many blocks: a second block on a multiprocessor
 * takes longer than more rows of the first one. */
#define MAP_ROWS 16
#define MAP_BLOCKS 132u
static_assert(MAP_WARPS >= MAP_ROWS, "a row has a warp");
#define MAP_PAD 16 /* floats that map_stride() adds, at most */
/* Floats from a row of n of them, a multiple of 16, to the next one in shared memory, every `step` of which are
 * looked at together: rows side by side begin at other banks, where that can be with rows of whole float4. */
__host__ __device__ __forceinline__ uint32_t map_stride(uint32_t n, uint32_t step)
{
    return n | (step < 4 ? 16 / step : 4);
}
__host__ __device__ __forceinline__ uint32_t map_rows(uint32_t n_heads, uint32_t rows_of_head, uint32_t fewest)
{
    uint32_t rows = fewest;
    while (rows < MAP_ROWS && share_of(rows_of_head, rows) * n_heads > MAP_BLOCKS) rows *= 2;
    return rows;
}

__device__ __forceinline__ void add_scaled(float4 &sum, float x, const float4 &y)
{
    sum.x += x * y.x, sum.y += x * y.y, sum.z += x * y.z, sum.w += x * y.w;
}

/* A number of fp32 as a sum of two that products of floats look at whole, but for the last bits of `rest`. */
__device__ __forceinline__ void cut_in_two(float x, uint32_t *most, uint32_t *rest)
{
    *most = __float_as_uint(x) & 0xffffe000u;
    *rest = __float_as_uint(x - __uint_as_float(*most));
}

/* Sums of 16 channels and 8 rows: those of products of first parts, and of a first and a second one. A product's
 * relative error is below 2^-19. */
struct map_sums {
    float c[3][4];

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int i = 0; i < 12; i++) c[i / 4][i % 4] = 0.0f;
    }
    /* Of two inputs: what the map has of two channels, and a row. */
    __device__ __forceinline__ void add(const float2 &y, const float2 &z, float row_y, float row_z)
    {
        uint32_t a[2][4], b[2][2];
        cut_in_two(y.x, &a[0][0], &a[1][0]), cut_in_two(y.y, &a[0][1], &a[1][1]);
        cut_in_two(z.x, &a[0][2], &a[1][2]), cut_in_two(z.y, &a[0][3], &a[1][3]);
        cut_in_two(row_y, &b[0][0], &b[1][0]), cut_in_two(row_z, &b[0][1], &b[1][1]);
        mma_of_floats(c[0], a[0], b[0]);
        mma_of_floats(c[1], a[1], b[0]);
        mma_of_floats(c[2], a[0], b[1]);
    }
    __device__ __forceinline__ float of(int i) const
    {
        return c[0][i] + (c[1][i] + c[2][i]);
    }
};

/* Part of a map, n floats, is on its way to the first-level cache, whoever waits meanwhile. */
#ifdef KVC_EMULATE
static inline void ask_for_map(const float *, uint32_t) {}
#else
__device__ __forceinline__ void ask_for_map(const float *map, uint32_t n)
{
    const uint32_t SECTOR = 8, MOST = 16384; /* floats */
    n = min(n, MOST);
#pragma unroll 4
    for (uint32_t at = threadIdx.x * SECTOR; at < n; at += MAP_THREADS * SECTOR)
        asm volatile("{ .reg .f32 unused; ld.global.ca.f32 unused, [%0]; }" ::"l"(map + at));
}
#endif

/* in [n_rows][stride] in shared memory, rows 16-byte aligned; map [n_in][n_out], both multiples of 16, memory 8-byte
 * aligned; put(row, channel, two values) for every row and second channel. A row's sums do not hang on how many rows
 * there are. Little code: what runs once takes as long to come as to run.
 *
 * A warp has 16 channels and eight rows at a time. Of every 16 inputs lane 4 g + t has 4 t .. 4 t + 3 of channels 2 g
 * and 2 g + 1 (operand A) and of row g (operand B), then those channels of rows 2 t and 2 t + 1. */
template <typename PUT>
__device__ __forceinline__ void apply_map(uint32_t n_rows, const float *in, uint32_t stride, const float *map,
                                          uint32_t n_in, uint32_t n_out, PUT put)
{
    const int AHEAD = 4; /* times 16 inputs: all on their way before the first ones are looked at */
    uint32_t lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, slabs = n_out / 16;
#pragma unroll 1
    for (uint32_t at = threadIdx.x / 32; at < slabs * share_of(n_rows, 8); at += blockDim.x / 32) {
        uint32_t channel = at % slabs * 16 + 2 * g, first_row = at / slabs * 8;
        const float *row = in + min(first_row + g, n_rows - 1) * stride + 4 * t,
                    *from = map + 4 * t * n_out + channel;
        map_sums sums;
        sums.clear();
#pragma unroll 1
        for (uint32_t first = 0; first < n_in; first += AHEAD * 16) {
            float2 y[AHEAD][4];
#pragma unroll
            for (uint32_t s = 0; s < AHEAD; s++) {
#pragma unroll
                for (uint32_t e = 0; e < 4; e++) {
                    if (first + 16 * s < n_in) y[s][e] = *(const float2 *)from;
                    from += n_out;
                }
                from += 12 * n_out;
            }
#pragma unroll
            for (uint32_t s = 0; s < AHEAD; s++) {
                if (first + 16 * s >= n_in) break;
                float4 x = *(const float4 *)(row + first + 16 * s);
                sums.add(y[s][0], y[s][1], x.x, x.y);
                sums.add(y[s][2], y[s][3], x.z, x.w);
            }
        }
#pragma unroll
        for (uint32_t i = 0; i < 2; i++)
            if (first_row + 2 * t + i < n_rows)
                put(first_row + 2 * t + i, channel, make_float2(sums.of((int)i), sums.of((int)i + 2)));
    }
}

#endif
