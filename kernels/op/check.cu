/* check.cu - whether this build's kernels run on the current device. */
#include "op.h"

__global__ static void nothing() {}

extern "C" cudaError_t op_check_device(void)
{
    cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, (const void *)nothing);
}
