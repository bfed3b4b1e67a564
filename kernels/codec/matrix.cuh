/* matrix.cuh - what rot and klt share: the rows of a tile times a d x d matrix, every sum in the order that FORMAT.md
 * gives ("rot"). Parts of the matrix go through scratch; sums stay in registers. d multiplications and as many
 * additions for each value: bound by these, operands come from shared memory at 3/8 (forward) and 3/4 (inverse) of
 * its rate. */
#ifndef KERNELS_CODEC_MATRIX_CUH
#define KERNELS_CODEC_MATRIX_CUH
#include <cuda_fp16.h>
#include "codec/page_shape.cuh"

__device__ inline float4 matrix_four(const float *m)
{
    return *(const float4 *)m;
}

__device__ inline float4 matrix_four(const __half *m)
{
    float2 a = __half22float2(*(const __half2 *)m), b = __half22float2(*(const __half2 *)(m + 2));
    return float4{a.x, a.y, b.x, b.y};
}

/* ---- y[i] = sum over j of x[j] M[j][i], j in order ---- */

/* n values to scratch, a multiple of 4: six loads of a thread are on their way before the first is stored. */
template <typename VALUE> __device__ inline void matrix_stage(const page_tile &t, const VALUE *from, uint32_t n)
{
    for (uint32_t i = threadIdx.x * 4, step = blockDim.x * 4; i < n; i += 6 * step) {
        float4 x[6];
#pragma unroll
        for (uint32_t k = 0; k < 6; k++)
            if (i + k * step < n) x[k] = matrix_four(from + i + k * step);
#pragma unroll
        for (uint32_t k = 0; k < 6; k++)
            if (i + k * step < n) *(float4 *)(t.scratch + i + k * step) = x[k];
    }
}

/* Four j. x: of R rows; m: of the thread's channels. */
template <uint32_t R, uint32_t N>
__device__ inline void matrix_add_rows(float (&sum)[R][N], const float *x, const float *m, uint32_t d)
{
    float4 row[R];
#pragma unroll
    for (uint32_t r = 0; r < R; r++) row[r] = *(const float4 *)(x + r * d);
#pragma unroll
    for (uint32_t j = 0; j < 4; j++) {
        float entry[N];
        load_floats(m + j * d, entry);
#pragma unroll
        for (uint32_t r = 0; r < R; r++) {
            float value = j == 0 ? row[r].x : j == 1 ? row[r].y : j == 2 ? row[r].z : row[r].w;
#pragma unroll
            for (uint32_t k = 0; k < N; k++) sum[r][k] += value * entry[k];
        }
    }
}

/* In place. A thread has R rows x N channels; there are enough threads for all of the tile. */
template <uint32_t R, uint32_t N, typename VALUE>
__device__ inline void matrix_forward_of(const page_shape &s, const page_tile &t, const VALUE *matrix)
{
    uint32_t d = s.d, row = threadIdx.x / (d / N) * R, channel = threadIdx.x % (d / N) * N;
    uint32_t most = t.room / d / 4 * 4;
    bool works = row < t.n_rows;
    float *y = t.y + row * d;
    float sum[R][N] = {};
    for (uint32_t j = 0; j < d; j += most) {
        uint32_t n = least(most, d - j);
        __syncthreads();
        matrix_stage(t, matrix + (size_t)j * d, n * d);
        __syncthreads();
        for (uint32_t i = 0; works && i < n; i += 4) matrix_add_rows(sum, y + j + i, t.scratch + i * d + channel, d);
    }
    __syncthreads();
#pragma unroll
    for (uint32_t r = 0; r < R; r++)
#pragma unroll
        for (uint32_t k = 0; k < N; k++)
            if (works) y[r * d + channel + k] = sum[r][k];
}

/* TILE_VALUES is what a thread has of the largest tile; few rows are for more threads. */
template <typename VALUE>
__device__ inline void matrix_forward(const page_shape &s, const page_tile &t, const VALUE *matrix)
{
    if (t.n_rows / 4 * s.d <= blockDim.x)
        matrix_forward_of<4, 1>(s, t, matrix);
    else if (t.n_rows / 8 * s.d <= blockDim.x)
        matrix_forward_of<8, 1>(s, t, matrix);
    else
        matrix_forward_of<8, 4>(s, t, matrix);
}

/* ---- x[j] = sum over i of M[j][i] y[i] in eight lanes ---- */

/* Eight i, one for each lane. y: of four rows; m: of two columns, the next i `pitch` further on. */
__device__ inline void matrix_add_lanes(float (&sum)[4][2][8], const float *y, uint32_t d, const float *m,
                                        uint32_t pitch)
{
#pragma unroll
    for (uint32_t half = 0; half < 8; half += 4) {
        float4 row[4];
#pragma unroll
        for (uint32_t r = 0; r < 4; r++) row[r] = *(const float4 *)(y + r * d + half);
#pragma unroll
        for (uint32_t k = 0; k < 4; k++) {
            float2 entry = *(const float2 *)(m + (half + k) * pitch);
#pragma unroll
            for (uint32_t r = 0; r < 4; r++) {
                float value = k == 0 ? row[r].x : k == 1 ? row[r].y : k == 2 ? row[r].z : row[r].w;
                sum[r][0][half + k] += value * entry.x;
                sum[r][1][half + k] += value * entry.y;
            }
        }
    }
}

__device__ inline float matrix_lanes(const float (&s)[8])
{
    return (((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]))) + 0.0f;
}

/* Rows j .. j + n - 1 of the matrix, entries i .. i + m - 1, to scratch [m][pitch]. */
__device__ inline void matrix_turn(const page_tile &t, const __half *matrix, uint32_t d, uint32_t j, uint32_t n,
                                   uint32_t i, uint32_t m, uint32_t pitch)
{
    for (uint32_t k = threadIdx.x; k < n * (m / 4); k += blockDim.x) {
        uint32_t q = k % (m / 4) * 4, c = k / (m / 4);
        float4 four = matrix_four(matrix + (size_t)(j + c) * d + i + q);
        float *to = t.scratch + q * pitch + c;
        to[0] = four.x;
        to[pitch] = four.y;
        to[2 * pitch] = four.z;
        to[3 * pitch] = four.w;
    }
}

/* To memory: out [n_rows][d], rows `stride` apart. A thread has 4 rows x 2 columns, 8 sums each; `add(j, sum)` is
 * what is written. */
template <typename ADD>
__device__ inline void matrix_inverse(const page_shape &s, const page_tile &t, const __half *matrix, float *out,
                                      size_t stride, ADD add)
{
    uint32_t d = s.d, columns = least(least(blockDim.x * 8 / t.n_rows, t.room / 8 - 2), d) / 2 * 2;
    uint32_t pitch = columns + 2, deep = least(t.room / pitch / 8 * 8, d), n_parts = (d + deep - 1) / deep;
    uint32_t row = threadIdx.x / (columns / 2) * 4, column = threadIdx.x % (columns / 2) * 2;
    deep = (d / 8 + n_parts - 1) / n_parts * 8;
    for (uint32_t j = 0; j < d; j += columns) {
        uint32_t n = least(columns, d - j);
        bool works = row < t.n_rows && column < n;
        float sum[4][2][8] = {};
        for (uint32_t i = 0; i < d; i += deep) {
            uint32_t m = least(deep, d - i);
            __syncthreads();
            matrix_turn(t, matrix, d, j, n, i, m, pitch);
            __syncthreads();
            for (uint32_t k = 0; works && k < m; k += 8)
                matrix_add_lanes(sum, t.y + row * d + i + k, d, t.scratch + k * pitch + column, pitch);
        }
#pragma unroll
        for (uint32_t r = 0; r < 4; r++) {
            float *to = out + (row + r) * stride + j + column;
            if (works) to[0] = add(j + column, matrix_lanes(sum[r][0]));
            if (works) to[1] = add(j + column + 1, matrix_lanes(sum[r][1]));
        }
    }
}
#endif
