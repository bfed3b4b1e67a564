/* attend_map.cuh - rows times a dense map, by all warps of a block: queries into the latent space
 * (attend_prepare.cuh) and outputs out of it (attend_merge.cuh).
 *
 * Products of matrices of 16 rows, and of eight channels a warp. A number is the sum of two bfloat16, which have
 * fp32's range, and of the four products the least is left out: relative errors of 2^-16. Maps lie as the operands
 * want them (attend_args.h), so a lane asks for 16 inputs of a channel by one load, and a warp for 128 before there
 * are rows.
 *
 * All of this runs once in a call: an instruction that is run once takes five clocks or more to come and go, so there
 * are few of them, and no quotients. */
#ifndef KERNELS_TEMPLATE_ATTEND_MAP_CUH
#define KERNELS_TEMPLATE_ATTEND_MAP_CUH
#include <cuda_bf16.h>
#include "template/attend_units.cuh"

#define MAP_THREADS 512 /* of a block that applies maps */
#define MAP_WARPS (MAP_THREADS / 32)
/* Rows of a block at most, and no more of them than are needed for so many blocks: a second block on a multiprocessor
 * takes longer than more rows of the first one. */
#define MAP_ROWS 16
#define MAP_BLOCKS 132u
#define MAP_MOST 256u /* inputs, and channels */
static_assert(MAP_WARPS >= MAP_ROWS, "a row has a warp");
__host__ __device__ __forceinline__ uint32_t map_rows(uint32_t n_heads, uint32_t rows_of_head)
{
    uint32_t rows = 1;
    while (rows < MAP_ROWS && share_of(rows_of_head, rows) * n_heads > MAP_BLOCKS) rows *= 2;
    return rows;
}

/* A map of n_in inputs and n_out channels, both multiples of 16. */
struct map_shape {
    uint32_t n_in, n_out;

    __host__ __device__ __forceinline__ map_shape(uint32_t inputs, uint32_t outputs) : n_in(inputs), n_out(outputs) {}
};

/* MAP_ROWS rows of n_in numbers in shared memory, high parts and behind them low ones. Between rows lie 16 bytes
 * more: other banks. */
struct map_rows_in {
    uint16_t *high;
    uint32_t stride;

    __device__ __forceinline__ map_rows_in(void *shared, uint32_t n_in) : high((uint16_t *)shared), stride(n_in + 8)
    {
    }
    __host__ __device__ static __forceinline__ uint32_t bytes(uint32_t n_in) { return MAP_ROWS * (n_in + 8) * 4; }
    __device__ __forceinline__ uint32_t low() const { return MAP_ROWS * stride; }

    /* Of two numbers the nearest bfloat16, and the nearest of what they leave. */
    __device__ static __forceinline__ uint2 split(float x, float y)
    {
        __nv_bfloat162 pair = __floats2bfloat162_rn(x, y);
        uint32_t bits = *(uint32_t *)(void *)&pair;
        pair = __floats2bfloat162_rn(x - __uint_as_float(bits << 16), y - __uint_as_float(bits & 0xffff0000u));
        return make_uint2(bits, *(uint32_t *)(void *)&pair);
    }
    /* Inputs i, even, and i + 1; one input. */
    __device__ __forceinline__ void put(uint32_t row, uint32_t i, float x, float y) const
    {
        uint2 parts = split(x, y);
        uint16_t *to = high + row * stride + i;
        *(uint32_t *)(void *)to = parts.x, *(uint32_t *)(void *)(to + low()) = parts.y;
    }
    __device__ __forceinline__ void put_one(uint32_t row, uint32_t i, float x) const
    {
        uint2 parts = split(x, 0.0f);
        uint16_t *to = high + row * stride + i;
        to[0] = (uint16_t)parts.x, to[low()] = (uint16_t)parts.y;
    }
};

/* Of a map what a warp has of eight channels, 16 MAP_STEPS inputs. */
#define MAP_STEPS 8
struct map_part {
    uint4 x[MAP_STEPS];

    /* Channels 8 tile .. and inputs 16 first .., if they are there. */
    __device__ __forceinline__ void load(const map_shape &m, const uint32_t *map, uint32_t tile, uint32_t first)
    {
        uint32_t n = m.n_in / 16, end = tile * 8 < m.n_out ? n : 0;
        const uint4 *at = (const uint4 *)(const void *)map + (tile * n + first) * 32 + threadIdx.x % 32;
#pragma unroll
        for (uint32_t k = 0; k < MAP_STEPS; k++)
            if (first + k < end) x[k] = at[k * 32];
    }
    /* The first one of the lane, when its warp begins. */
    __device__ static __forceinline__ uint32_t channel()
    {
        return threadIdx.x / 32 * 8 + threadIdx.x % 4 * 2;
    }
};

/* part: of the warp's first channels and inputs, which is changed; put(row, channel, value, next channel's value) for
 * MAP_ROWS rows, whether they are there or not, and every second channel. A row's terms are added in the same order
 * whatever rows there are. */
template <typename PUT>
__device__ __forceinline__ void apply_map(const map_shape &m, map_part &part, const map_rows_in &in,
                                          const uint32_t *map, PUT put)
{
    uint32_t lane = threadIdx.x % 32, n = m.n_in / 16;
    const shared_address high_rows = shared_address_of(in.high + lane % 16 * in.stride + lane / 16 * 8),
                         low_rows = high_rows + in.low() * 2;
    bool loaded = true;
#pragma unroll 1
    for (uint32_t tile = threadIdx.x / 32; tile * 8 < m.n_out; tile += MAP_WARPS) {
        float sum[3][4] = {};
#pragma unroll 1
        for (uint32_t first = 0; first < n; first += MAP_STEPS) {
            if (!loaded) part.load(m, map, tile, first);
            loaded = false;
#pragma unroll
            for (uint32_t k = 0; k < MAP_STEPS; k++) {
                if (first + k >= n) break;
                uint32_t high[4], low[4], high_part[2] = {part.x[k].x, part.x[k].y},
                                          low_part[2] = {part.x[k].z, part.x[k].w};
                load_matrices(high_rows + (first + k) * 32, high);
                load_matrices(low_rows + (first + k) * 32, low);
                mma_16x8x16_bf16(sum[0], high, high_part);
                mma_16x8x16_bf16(sum[1], high, low_part);
                mma_16x8x16_bf16(sum[2], low, high_part);
            }
        }
        uint32_t channel = tile * 8 + lane % 4 * 2;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) sum[0][i] += sum[1][i] + sum[2][i];
        put(lane / 4, channel, sum[0][0], sum[0][1]);
        put(lane / 4 + 8, channel, sum[0][2], sum[0][3]);
    }
}

#endif
