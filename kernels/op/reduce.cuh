/* reduce.cuh - sums and maxima over a warp or a block in a fixed order; every thread gets the result.
 * All threads of the block take part, blocks are whole warps. `slots` is shared memory, one for each of 32 warps. */
#ifndef KERNELS_OP_REDUCE_CUH
#define KERNELS_OP_REDUCE_CUH
#include <stdint.h>

#define ALL_LANES 0xffffffffu

/* Lanes exchange in pairs and addition commutes: all of them add the same numbers in the same tree. */
template <typename number> __device__ inline number warp_sum(number x)
{
    for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(ALL_LANES, x, offset);
    return x;
}

template <typename number> __device__ inline number block_sum(number x, number *slots)
{
    x = warp_sum(x);
    __syncthreads(); /* the slots of an earlier call have been read */
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = x;
    __syncthreads();
    number sum = slots[0];
    for (uint32_t i = 1; i < blockDim.x / 32; i++) sum += slots[i];
    return sum;
}

__device__ inline float block_max(float x, float *slots)
{
    for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, offset));
    __syncthreads();
    if (threadIdx.x % 32 == 0) slots[threadIdx.x / 32] = x;
    __syncthreads();
    float max = slots[0];
    for (uint32_t i = 1; i < blockDim.x / 32; i++) max = fmaxf(max, slots[i]);
    return max;
}
#endif
