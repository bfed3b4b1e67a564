/* launch.cuh - grids for loops over n items, and the index that a thread starts at and steps by. */
#ifndef KERNELS_OP_LAUNCH_CUH
#define KERNELS_OP_LAUNCH_CUH
#include <stddef.h>
#include "device.cuh"

static const unsigned THREADS = 256;

static inline size_t blocks_of(size_t n, size_t block)
{
    return (n + block - 1) / block;
}

/* One item per thread, and no more blocks than fill any device a few times over. */
static inline unsigned loop_grid(size_t n)
{
    size_t blocks = blocks_of(n, THREADS);
    return (unsigned)(blocks < 16384 ? blocks : 16384);
}

__device__ inline size_t loop_first()
{
    return (size_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ inline size_t loop_step()
{
    return (size_t)gridDim.x * blockDim.x;
}
#endif
