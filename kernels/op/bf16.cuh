/* bf16.cuh - fp32 to bfloat16, four at a time. */
#ifndef KERNELS_OP_BF16_CUH
#define KERNELS_OP_BF16_CUH
#include <cuda_bf16.h>

__device__ inline uint2 four_bf16(float4 x)
{
    uint32_t bits[4] = {
        __bfloat16_as_ushort(__float2bfloat16_rn(x.x)), __bfloat16_as_ushort(__float2bfloat16_rn(x.y)),
        __bfloat16_as_ushort(__float2bfloat16_rn(x.z)), __bfloat16_as_ushort(__float2bfloat16_rn(x.w))};
    return make_uint2(bits[0] | bits[1] << 16, bits[2] | bits[3] << 16);
}
#endif
