/* device.cuh - what kernels say differently on a GPU and where tests run them on a CPU (tests/gpu/emulate): dynamic
 * shared memory, and the start of a kernel. */
#ifndef KERNELS_DEVICE_CUH
#define KERNELS_DEVICE_CUH

#ifdef KVC_EMULATE
#define KVC_SHARED(type, name) type *name = (type *)(void *)emulate_shared
#define KVC_ALLOW_SHARED(kernel, bytes) ((void)(kernel), (void)(bytes), cudaSuccess)
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    ((void)(stream), emulate_launch(grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); }))
#define KVC_LAUNCHED() cudaSuccess
#else
#define KVC_SHARED(type, name)                                                                                       \
    extern __shared__ __align__(1024) unsigned char kvc_shared_[];                                                   \
    type *name = (type *)(void *)kvc_shared_
/* More than 48 KiB have to be asked for. */
#define KVC_ALLOW_SHARED(kernel, bytes)                                                                              \
    ((bytes) > 48u * 1024u ? cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(bytes)) \
                           : cudaSuccess)
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define KVC_LAUNCHED() cudaGetLastError()
#endif

#endif
