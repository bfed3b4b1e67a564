/* early.cuh - launches of kernels that may start while the one before them in the stream still runs (device.cuh), on
 * the host. A block that comes early waits where the one before has left room; what does not hang on results (what is
 * to be done, constants) is done meanwhile.
 *
 * Two rules keep calls in order, whatever a stream has before them. Each block of an early kernel calls
 * await_previous() before it ends, on every path: so when it is done the one before is, too, and so on to the first.
 * The first kernel of a call does so before it looks at anything but constants, and lets the next one start only
 * then: so the later kernels of a call may read at once what was there before it. */
#ifndef KERNELS_EARLY_CUH
#define KERNELS_EARLY_CUH
#include <cuda_runtime_api.h>
#include "device.cuh"

/* early_bytes(): shared memory of which a multiprocessor has room for one block's alone: with as much, blocks that
 * come early do not gather where there is room first. 0: the device, or how one of the n kernels was compiled, has no
 * early starts.
 *
 * launch(), launch_loaded(): early: may the kernel start while the one before still runs? */
#ifdef KVC_EMULATE
static inline cudaError_t early_bytes(const void *const *, int, uint32_t *bytes)
{
    *bytes = 113u << 10;
    return cudaSuccess;
}

template <typename... PARAMETERS, typename... ARGUMENTS>
static inline cudaError_t launch(bool, void (*kernel)(PARAMETERS...), dim3 grid, uint32_t threads,
                                 uint32_t shared_bytes, cudaStream_t stream, ARGUMENTS... arguments)
{
    emulate_start(stream, grid, dim3(threads), shared_bytes, kernel, arguments...);
    return cudaSuccess;
}

static inline cudaError_t launch_loaded(bool, const void *kernel, dim3 grid, uint32_t threads, uint32_t shared_bytes,
                                        cudaStream_t stream, void **arguments)
{
    return cudaLaunchKernel(kernel, grid, dim3(threads), arguments, shared_bytes, stream);
}
#else
static inline cudaError_t early_bytes(const void *const *kernels, int n, uint32_t *bytes)
{
    int device, of_all = 0;
    bool can = true;
    cudaError_t status = cudaGetDevice(&device);
    if (status == cudaSuccess)
        status = cudaDeviceGetAttribute(&of_all, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device);
    for (int i = 0; i < n && status == cudaSuccess; i++) {
        cudaFuncAttributes a;
        status = cudaFuncGetAttributes(&a, kernels[i]);
        can = can && status == cudaSuccess && a.ptxVersion >= 90 && a.binaryVersion >= 90;
    }
    *bytes = can ? (uint32_t)of_all / 2 : 0;
    return status;
}

struct early_config {
    cudaLaunchAttribute attribute;
    cudaLaunchConfig_t config;

    early_config(bool early, dim3 grid, uint32_t threads, uint32_t shared_bytes, cudaStream_t stream)
        : attribute(), config()
    {
        attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attribute.val.programmaticStreamSerializationAllowed = 1;
        config.gridDim = grid, config.blockDim = dim3(threads);
        config.dynamicSmemBytes = shared_bytes, config.stream = stream;
        config.attrs = &attribute, config.numAttrs = early;
    }
};

template <typename... PARAMETERS, typename... ARGUMENTS>
static inline cudaError_t launch(bool early, void (*kernel)(PARAMETERS...), dim3 grid, uint32_t threads,
                                 uint32_t shared_bytes, cudaStream_t stream, ARGUMENTS... arguments)
{
    const early_config c(early, grid, threads, shared_bytes, stream);
    return cudaLaunchKernelEx(&c.config, kernel, arguments...);
}

/* Of a library that was loaded. */
static inline cudaError_t launch_loaded(bool early, const void *kernel, dim3 grid, uint32_t threads,
                                        uint32_t shared_bytes, cudaStream_t stream, void **arguments)
{
    const early_config c(early, grid, threads, shared_bytes, stream);
    return cudaLaunchKernelExC(&c.config, kernel, arguments);
}
#endif

#endif
