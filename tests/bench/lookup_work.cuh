/* lookup_work.cuh - what ways to look up codes have in common (bench_gpu_lookup.cu): what they work on, and who has
 * which tiles. A tile is 64 tokens of one side: 128 channels, a byte for each C of them. */
#ifndef TESTS_BENCH_LOOKUP_WORK_CUH
#define TESTS_BENCH_LOOKUP_WORK_CUH
#include "template/attend_values.cuh"

#define LOOKUP_DIM 128
#define LOOKUP_TOKENS 64
#define LOOKUP_HEADS 4
#define LOOKUP_WARPS 8
#define LOOKUP_THREADS (LOOKUP_WARPS * 32)
#define LOOKUP_ENTRIES 256

struct lookup_work {
    const uint8_t *codes;     /* [tiles][tokens][128 / C] */
    const uint16_t *table;    /* [entries][C] */
    const uint16_t *queries;  /* [runs][heads][128] */
    const uint16_t *weights;  /* [tokens][heads], of every tile, below 1 */
    uint32_t tiles, of_run;   /* of_run: tiles of one sequence and head, which have one query */
    float *out;               /* [blocks][warps][way::OUT] */
    unsigned long long *time; /* [blocks] clocks between the tables of the layer and the end */
};

struct lookup_range {
    uint32_t begin, end;
};

/* Part i of n equal ones. */
__host__ __device__ __forceinline__ lookup_range lookup_part(lookup_range all, uint32_t i, uint32_t n)
{
    uint32_t size = all.end - all.begin;
    return lookup_range{all.begin + (uint32_t)((uint64_t)size * i / n),
                        all.begin + (uint32_t)((uint64_t)size * (i + 1) / n)};
}

/* What of a block's tiles belongs to the run of the first one. */
__host__ __device__ __forceinline__ lookup_range lookup_piece(lookup_range own, uint32_t of_run)
{
    uint32_t run_end = (own.begin / of_run + 1) * of_run;
    return lookup_range{own.begin, run_end < own.end ? run_end : own.end};
}

/* ---- a way ----
 *     NAME, SHARED (bytes of the block, tables first), OUT, PASSES (of 128 bytes of shared memory that a tile takes,
 *     by arithmetic, without the copy that brings it)
 *     start(shared, w)             what is the layer's, once; all threads, before a barrier
 *     begin(shared, w, run)        of each run of the block, by all threads
 *     tile(shared, stage, lane)    by a warp
 *     end(shared)                  of each run, by all threads
 *     leave(out, lane)             by a warp, at the end: [OUT] */

template <typename WAY, int STAGES> struct lookup_shape {
    static const int TILE_BYTES = LOOKUP_TOKENS * WAY::CODES, RING = STAGES * TILE_BYTES;
    static const int BARRIERS = WAY::SHARED + LOOKUP_WARPS * RING;
    static const int BYTES = BARRIERS + LOOKUP_WARPS * STAGES * COPY_BARRIER_BYTES;
    static_assert(BYTES <= 227 * 1024 && WAY::SHARED % 16 == 0, "shared memory of a block");
};

template <typename WAY, int STAGES> __global__ void __launch_bounds__(LOOKUP_THREADS, 1) lookup_tiles(lookup_work w)
{
    typedef lookup_shape<WAY, STAGES> shape;
    KVC_SHARED(uint8_t, shared);
    /* By a shuffle, so that the compiler knows loops over tiles to be the same for all lanes: then tables' addresses
     * are uniform registers, which lookups add for nothing. */
    const int warp = __shfl_sync(~0u, (int)threadIdx.x / 32, 0), lane = (int)threadIdx.x % 32;
    uint8_t *ring = shared + WAY::SHARED + warp * shape::RING;
    stage_copies<STAGES> copies;
    WAY way;
    copies.init(shared + shape::BARRIERS + warp * STAGES * COPY_BARRIER_BYTES, lane, true);
    way.start(shared, w);
    __syncthreads();
    long long started = clock64();
    lookup_range own = lookup_part(lookup_range{0, w.tiles}, blockIdx.x, gridDim.x);
    int now = 0;
    while (own.begin < own.end) {
        lookup_range piece = lookup_piece(own, w.of_run);
        lookup_range part = lookup_part(piece, (uint32_t)warp, LOOKUP_WARPS);
        auto fetch = [&](uint32_t tile, int stage) {
            if (tile >= part.end) return copies.skip();
            copies.template ask<1>(stage, shape::TILE_BYTES, ring + stage * shape::TILE_BYTES,
                                   w.codes + (size_t)tile * shape::TILE_BYTES, shape::TILE_BYTES);
        };
        for (int i = 0; i < STAGES - 1; i++) fetch(part.begin + (uint32_t)i, (now + i) % STAGES);
        way.begin(shared, w, piece.begin / w.of_run);
        for (uint32_t tile = part.begin; tile < part.end; tile++) {
            fetch(tile + STAGES - 1, now ? now - 1 : STAGES - 1);
            copies.wait(now);
            way.tile(shared, ring + now * shape::TILE_BYTES, lane);
            __syncwarp(); /* the stage is fetched into next */
            now = now + 1 < STAGES ? now + 1 : 0;
        }
        way.end(shared);
        own.begin = piece.end;
    }
    way.leave(w.out + ((size_t)blockIdx.x * LOOKUP_WARPS + (size_t)warp) * WAY::OUT, lane);
    __syncthreads();
    if (threadIdx.x == 0) w.time[blockIdx.x] = (unsigned long long)(clock64() - started);
}

#endif
