/* device.h - the cache's device for the length of a call, and what CUDA says as a status. */
#ifndef RUNTIME_CUDA_DEVICE_H
#define RUNTIME_CUDA_DEVICE_H
#include <cuda_runtime_api.h>
#include <stdbool.h>
#include "kvc/kvc.h"

/* Out of memory is KVC_NO_MEMORY, everything else KVC_UNSUPPORTED. */
kvc_status kvci_cuda_fail(kvc_error *err, cudaError_t status, const char *where);
#define KVC_TRY_CUDA(call)                                                                                           \
    do {                                                                                                             \
        cudaError_t kvc_try_ = (call);                                                                               \
        if (kvc_try_ != cudaSuccess) return kvci_cuda_fail(err, kvc_try_, __func__);                                 \
    } while (0)

/* Makes `device` the current one until cuda_leave(), which returns `status`. */
kvc_status cuda_enter(int device, int *before, kvc_error *err);
kvc_status cuda_leave(int before, kvc_status status);

/* KVC_INVALID while the stream is captured. */
kvc_status cuda_refuse_capture(cudaStream_t stream, const char *what, kvc_error *err);
kvc_status cuda_is_captured(cudaStream_t stream, bool *captured, kvc_error *err);

#endif
