/* page_shape.cuh - what the device functions of every codec know: a kvc_coder as plain data, its constants as offsets
 * in their copy on the device, and the rows of a page that lie in shared memory.
 *
 * A thread block has one page of one head, or some of its rows. They pass through shared memory some at a time, a
 * *tile*: a multiple of 8, so that codes of a tile are whole bytes. */
#ifndef KERNELS_CODEC_PAGE_SHAPE_CUH
#define KERNELS_CODEC_PAGE_SHAPE_CUH
#include <cuda_fp16.h>
#include <stdint.h>
#include "kvc/codec.h"
#include "kvc/codec_list.h"

#define WARP 32u
/* Values of a tile for each thread: what the sums of a matrix keep in registers (matrix.cuh). */
#define TILE_VALUES 32u
/* Floats of scratch in shared memory, at least four rows. */
#define SCRATCH_FLOATS 4096u

struct page_class { /* of equal codes: runtime/codec/table.h */
    uint32_t n, dims, position, code;
    uint32_t table; /* channels of the tables before its own */
};

struct page_tables {        /* lut and vq; offsets in the constants */
    uint64_t counts;        /* of codes, u32 for each head; where they are shared out */
    uint64_t scales, order; /* fp32 for each code of all heads; u16 [heads][order_stride] */
    uint64_t values;        /* fp16 */
    uint32_t order_stride;
    uint32_t head_values;        /* of the tables of a head, 0: all heads have the same */
    uint32_t shared, per_code;   /* codes are shared out; each code of a row has a table */
    uint32_t n_classes, n_codes; /* of every head, unless shared */
    page_class classes[5];
};

struct page_shape {
    uint32_t n_heads, d, page, bits, group, scale;
    uint32_t block_bytes, code_bytes, used_bytes; /* of a head; used: without padding */
    uint64_t page_bytes;
    uint32_t n_transforms, transform[4];
    uint64_t part[KVC_SYMBOL_PIECE + 1];
    uint32_t had_block; /* size of one Walsh-Hadamard block */
    float had_factor;   /* 1 / sqrt(had_block) */
    uint8_t segment[8]; /* int and seg: bits of each eighth of the channels */
    uint32_t n_kept;    /* int and seg: channels that have bits */
    page_tables tables;
    uint32_t tile, scratch, threads; /* rows, floats; of the block */
    uint32_t slice, slices, ranges;  /* scale ch, uniform.cuh: rows of a slice, slices of a group (2^n), of a tile */
};

/* In shared memory. */
struct page_tile {
    float *y; /* [n_rows][d] */
    float *scratch;
    float2 *ranges;        /* of uniform.cuh */
    uint32_t n_rows, room; /* room: floats of scratch */
};

__device__ inline float clamp_fp16(float x)
{
    x = x > -65504.0f ? x : -65504.0f;
    return x < 65504.0f ? x : 65504.0f;
}

__device__ inline uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* N values in shared memory, aligned to 16 bytes where N is a multiple of 4. */
template <uint32_t N> __device__ inline void load_floats(const float *from, float (&to)[N])
{
    if (N % 4 == 0) {
#pragma unroll
        for (uint32_t k = 0; k < N; k += 4) {
            float4 four = *(const float4 *)(from + k);
            to[k] = four.x, to[k + 1 % N] = four.y, to[k + 2 % N] = four.z, to[k + 3 % N] = four.w;
        }
    } else {
#pragma unroll
        for (uint32_t k = 0; k < N; k++) to[k] = from[k];
    }
}

/* f(row, piece) for all of n rows of n_pieces each, no more than threads: neighbours have pieces of a row. */
template <typename F> __device__ inline void each_piece(uint32_t n, uint32_t n_pieces, F f)
{
    uint32_t step = blockDim.x / n_pieces, own = threadIdx.x / n_pieces;
    for (uint32_t r = own < step ? own : n; r < n; r += step) f(r, threadIdx.x - own * n_pieces);
}

/* f(row, channel) for all n x d: a warp for a row, so that nothing is divided and lines are whole. */
template <typename F> __device__ inline void each_value(uint32_t n, uint32_t d, F f)
{
    for (uint32_t r = threadIdx.x / WARP; r < n; r += blockDim.x / WARP)
        for (uint32_t i = threadIdx.x % WARP; i < d; i += WARP) f(r, i);
}

/* The same for values from memory, read(row, channel): eight are on their way before the first
 * write(row, channel, value). */
template <typename READ, typename WRITE>
__device__ inline void each_value_from(uint32_t n, uint32_t d, READ read, WRITE write)
{
    uint32_t n_warps = blockDim.x / WARP;
    for (uint32_t r = threadIdx.x / WARP; r < n; r += 2 * n_warps)
        for (uint32_t i = threadIdx.x % WARP; i < d; i += 4 * WARP) {
            float x[8];
#pragma unroll
            for (uint32_t k = 0; k < 8; k++) {
                uint32_t row = r + k / 4 * n_warps, channel = i + k % 4 * WARP;
                if (row < n && channel < d) x[k] = read(row, channel);
            }
#pragma unroll
            for (uint32_t k = 0; k < 8; k++) {
                uint32_t row = r + k / 4 * n_warps, channel = i + k % 4 * WARP;
                if (row < n && channel < d) write(row, channel, x[k]);
            }
        }
}
#endif
