/* device.cuh - what kernels say differently on a GPU and where tests run them on a CPU (tests/gpu/emulate): dynamic
 * shared memory, and the start of a kernel. */
#ifndef KERNELS_DEVICE_CUH
#define KERNELS_DEVICE_CUH

#ifdef KVC_EMULATE
#define KVC_SHARED(type, name) type *name = (type *)(void *)emulate_shared
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    ((void)(stream), emulate_launch(grid, block, shared_bytes, [&] { kernel(__VA_ARGS__); }))
#else
#define KVC_SHARED(type, name)                                                                                       \
    extern __shared__ __align__(1024) unsigned char kvc_shared_[];                                                   \
    type *name = (type *)(void *)kvc_shared_
#define KVC_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                                   \
    kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#endif

#endif
