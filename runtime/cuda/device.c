/* device.c - see device.h. */
#include "device.h"

kvc_status kvci_cuda_fail(kvc_error *err, cudaError_t status, const char *where)
{
    cudaGetLastError(); /* or the next launch is blamed for it */
    return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED, "CUDA, %s: %s", where,
                    cudaGetErrorString(status));
}

kvc_status cuda_enter(int device, int *before, kvc_error *err)
{
    *before = device;
    KVC_TRY_CUDA(cudaGetDevice(before));
    if (*before != device) KVC_TRY_CUDA(cudaSetDevice(device));
    return KVC_OK;
}

kvc_status cuda_leave(int before, kvc_status status)
{
    int now;
    if (cudaGetDevice(&now) == cudaSuccess && now != before) cudaSetDevice(before);
    return status;
}

kvc_status cuda_is_captured(cudaStream_t stream, bool *captured, kvc_error *err)
{
    enum cudaStreamCaptureStatus status;
    *captured = false;
    KVC_TRY_CUDA(cudaStreamIsCapturing(stream, &status));
    *captured = status != cudaStreamCaptureStatusNone;
    return KVC_OK;
}

kvc_status cuda_refuse_capture(cudaStream_t stream, const char *what, kvc_error *err)
{
    bool captured;
    KVC_TRY(cuda_is_captured(stream, &captured, err));
    return captured ? kvc_fail(err, KVC_INVALID, "%s while the stream is captured", what) : KVC_OK;
}
