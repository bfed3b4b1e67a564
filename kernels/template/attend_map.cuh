/* attend_map.cuh - rows times a dense map, by all warps of a block: queries into the latent space
 * (attend_prepare.cuh) and outputs out of it (attend_merge.cuh).
 *
 * A warp has 16 channels, and four rows at a time. Of these channels a lane 4 g + t has four, and of the inputs
 * 4 g .. 4 g + 3 of every 32, so that a map of 128 channels is asked for at once by eight warps, and shared memory is
 * read without conflicts. Maps lie in the order in which lanes want them (attend_args.h). Products of matrices (tf32,
 * in two parts) took 1.5 us longer a call (decision 0014).
 *
 * All of this runs once in a call: an instruction that is run once takes five clocks or more to come and go, so there
 * are few of them, and no quotients. */
#ifndef KERNELS_TEMPLATE_ATTEND_MAP_CUH
#define KERNELS_TEMPLATE_ATTEND_MAP_CUH
#include <cuda_fp16.h>
#include "template/attend_units.cuh"

#define MAP_THREADS 512 /* of a block that applies maps */
#define MAP_WARPS (MAP_THREADS / 32)
/* Rows of a block at most, and no more of them than are needed for so many blocks, but `fewest`: a second block on a
 * multiprocessor takes longer than more rows of the first one. */
#define MAP_ROWS 16
#define MAP_BLOCKS 132u
static_assert(MAP_WARPS >= MAP_ROWS, "a row has a warp");
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

/* Of a sum over the 8 lanes of each t, lanes get the rows that are theirs: those of a lane with bit `step` the upper
 * half of ROWS rows. Whatever the number of rows, terms are added in the same order. */
template <int ROWS> __device__ __forceinline__ void share_sums(float4 *sum, uint32_t step, uint32_t lane)
{
    if constexpr (ROWS > 1) {
        bool upper = lane & step;
#pragma unroll
        for (int r = 0; r < ROWS / 2; r++) {
            float4 own = upper ? sum[r + ROWS / 2] : sum[r], other = upper ? sum[r] : sum[r + ROWS / 2];
            own.x += __shfl_xor_sync(~0u, other.x, step), own.y += __shfl_xor_sync(~0u, other.y, step);
            own.z += __shfl_xor_sync(~0u, other.z, step), own.w += __shfl_xor_sync(~0u, other.w, step);
            sum[r] = own;
        }
        share_sums<ROWS / 2>(sum, step / 2, lane);
    } else {
        for (; step >= 4; step /= 2) {
            sum->x += __shfl_xor_sync(~0u, sum->x, step), sum->y += __shfl_xor_sync(~0u, sum->y, step);
            sum->z += __shfl_xor_sync(~0u, sum->z, step), sum->w += __shfl_xor_sync(~0u, sum->w, step);
        }
    }
}

/* A map of n_in inputs and n_out channels, both multiples of 16, channels at most 16 MAP_WARPS. */
struct map_shape {
    uint32_t n_in, n_out;
    uint32_t of_slab; /* 2^16 / (n_out / 16), not less */

    __host__ __device__ __forceinline__ map_shape(uint32_t inputs, uint32_t outputs) : n_in(inputs), n_out(outputs)
    {
        of_slab = share_of(1u << 16, n_out / 16);
    }
};

/* What a warp has of it: 16 channels, `slab`; of the sets of four rows every `sets`th from `set` on, if set < sets.
 */
struct map_share {
    uint32_t slab, set, sets, channel; /* the first one of the lane */

    __device__ __forceinline__ explicit map_share(const map_shape &m)
    {
        uint32_t warp = threadIdx.x / 32;
        set = warp * m.of_slab >> 16, sets = MAP_WARPS * m.of_slab >> 16;
        slab = warp - set * (m.n_out / 16);
        channel = slab * 16 + threadIdx.x % 4 * 4;
    }
};

/* in [n_rows][stride] in shared memory, rows 16-byte aligned; map: of a head, 16-byte aligned; put(row, channel, four
 * values) for every row and fourth channel. However many rows there are, a row's terms are added in the same order.
 */
template <typename PUT>
__device__ __forceinline__ void apply_map(const map_shape &m, const map_share &own, uint32_t n_rows, const float *in,
                                          uint32_t stride, const float *map, PUT put)
{
    const int ROWS = 4;
    uint32_t lane = threadIdx.x % 32, g = lane / 4;
    if (own.set >= own.sets) return;
    const float4 *from = (const float4 *)map + own.slab * (attend_map_floats(m.n_in, 16) / 4) + lane;
    float4 y[4][4];
    bool held = false; /* does y have all of the map that the lane needs? */
#pragma unroll 1
    for (uint32_t row = own.set * ROWS; row < n_rows; row += own.sets * ROWS) {
        float4 sum[ROWS];
        const float *x_of_row = in + row * stride;
#pragma unroll
        for (int r = 0; r < ROWS; r++) sum[r] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
        for (uint32_t first = 0; first < m.n_in; first += 128) {
#pragma unroll
            for (int k = 0; k < 4; k++) { /* all on their way before the first one is looked at */
                if (held || first + 32 * k >= m.n_in) break;
#pragma unroll
                for (int e = 0; e < 4; e++) y[k][e] = from[first * 4 + (k * 4 + e) * 32];
            }
#pragma unroll
            for (int k = 0; k < 4; k++) {
                if (first + 32 * k + g * 4 >= m.n_in) break;
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    if (row + (uint32_t)r >= n_rows) break;
                    float4 x = *(const float4 *)(x_of_row + r * stride + first + 32 * k + g * 4);
                    add_scaled(sum[r], x.x, y[k][0]), add_scaled(sum[r], x.y, y[k][1]);
                    add_scaled(sum[r], x.z, y[k][2]), add_scaled(sum[r], x.w, y[k][3]);
                }
            }
        }
        held = m.n_in <= 128;
        __syncwarp();
        share_sums<ROWS>(sum, 16, lane);
        if (g % 2 == 0 && row + g / 2 < n_rows) put(row + g / 2, own.channel, sum[0]);
    }
}

#endif
