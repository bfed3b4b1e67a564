/* cuda.cpp - as much of the CUDA runtime as libkvc_cuda and its test call, for kernels that run on the CPU: memory of
 * the machine, streams that are done at once, captures that keep launches, two devices that are the same.
 *
 * An image is a shared object with the kernel as a function, made by emulate/nvcc.in. Nothing but launches may be
 * captured; what breaks that, or leaks, is reported as CUDA would or ends the program. KVC_EMULATE_ORDER=descending
 * turns the order of threads round. */
#include "emulate.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <map>
#include "template/attend_args.h"
#include "template/attend_info.h"

#define N_DEVICES 2
#define DEVICE_BYTES ((size_t)4 << 30)
#define MULTIPROCESSORS 3

struct CUstream_st {
    std::vector<emulated_launch> *capture;
};
struct CUgraph_st {
    std::vector<emulated_launch> launches;
};
struct CUgraphExec_st {
    std::vector<emulated_launch> launches;
};

static int device;
static cudaError_t last;
static CUstream_st *capturing;
static std::map<void *, size_t> allocated;

struct at_the_end {
    at_the_end()
    {
        const char *order = getenv("KVC_EMULATE_ORDER");
        if (order && strcmp(order, "descending") == 0) emulate_order(true);
    }
    ~at_the_end()
    {
        if (allocated.empty()) return;
        fprintf(stderr, "emulate: %zu blocks of device memory were not freed\n", allocated.size());
        _exit(1);
    }
};
static at_the_end at_the_end;

static cudaError_t done(cudaError_t status)
{
    return status == cudaSuccess ? status : last = status;
}

/* What a captured stream cannot take. */
static cudaError_t outside(void)
{
    return done(capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

extern "C" {

/* ---- devices and errors ---- */

cudaError_t cudaGetDeviceCount(int *n)
{
    *n = N_DEVICES;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *n)
{
    *n = device;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int n)
{
    if (n < 0 || n >= N_DEVICES) return done(cudaErrorInvalidDevice);
    device = n;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int)
{
    if (attribute != cudaDevAttrMultiProcessorCount) return done(cudaErrorInvalidValue);
    *value = MULTIPROCESSORS;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return outside();
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t status = last;
    last = cudaSuccess;
    return status;
}

const char *cudaGetErrorString(cudaError_t status)
{
    static char text[32];
    snprintf(text, sizeof text, "error %d", (int)status);
    return text;
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **out, size_t n)
{
    if (outside() != cudaSuccess) return last;
    *out = n > DEVICE_BYTES ? NULL : aligned_alloc(256, (n + 255) / 256 * 256);
    if (!*out) return done(cudaErrorMemoryAllocation);
    allocated[*out] = n;
    memset(*out, 0xff, n);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (p && !allocated.erase(p)) return done(cudaErrorInvalidValue);
    free(p);
    return outside();
}

cudaError_t cudaMemset(void *p, int byte, size_t n)
{
    memset(p, byte, n);
    return outside();
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind)
{
    memmove(to, from, n);
    return outside();
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind, cudaStream_t)
{
    memmove(to, from, n);
    return outside();
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                              size_t height, enum cudaMemcpyKind, cudaStream_t)
{
    for (size_t i = 0; i < height; i++)
        memmove((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
    return outside();
}

/* ---- streams and graphs ---- */

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    *out = new CUstream_st{NULL};
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return outside();
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, enum cudaStreamCaptureStatus *status)
{
    *status = stream && stream->capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    if (outside() != cudaSuccess) return last;
    stream->capture = new std::vector<emulated_launch>;
    capturing = stream;
    emulate_record(stream->capture);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    if (capturing != stream) return done(cudaErrorInvalidValue);
    emulate_record(NULL);
    *out = new CUgraph_st{*stream->capture};
    delete stream->capture;
    stream->capture = NULL;
    capturing = NULL;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *out, cudaGraph_t graph, unsigned long long)
{
    *out = new CUgraphExec_st{graph->launches};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
    for (const emulated_launch &l : exec->launches) emulate_launch(l.grid, l.block, l.shared_bytes, l.body);
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

/* Time stands still. */
cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    *out = NULL;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return outside();
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t, cudaEvent_t)
{
    *ms = 1.0f;
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t)
{
    return cudaSuccess;
}

/* ---- kernels ---- */

cudaError_t cudaLibraryLoadFromFile(cudaLibrary_t *out, const char *path, enum cudaJitOption *, void **, unsigned,
                                    enum cudaLibraryOption *, void **, unsigned)
{
    char magic[4] = "";
    FILE *in = fopen(path, "rb");
    bool elf = in && fread(magic, 1, 4, in) == 4 && memcmp(magic, "\177ELF", 4) == 0; /* dlopen() goes by names */
    if (in) fclose(in);
    *out = elf ? (cudaLibrary_t)dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return done(*out ? cudaSuccess : in ? cudaErrorInvalidKernelImage : cudaErrorFileNotFound);
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library)
{
    dlclose(library);
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t library, const char *name)
{
    *out = (cudaKernel_t)dlsym(library, name);
    return done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t cudaLibraryGetGlobal(void **out, size_t *bytes, cudaLibrary_t library, const char *name)
{
    *out = dlsym(library, name);
    *bytes = sizeof(attend_info); /* no image has another global */
    return done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int)
{
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *, const void *)
{
    return cudaSuccess;
}

/* Of an attention image; other kernels are started by KVC_LAUNCH. */
cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared_bytes,
                             cudaStream_t)
{
    typedef void image_kernel(attend_layer, attend_batch, attend_work);
    image_kernel *run = (image_kernel *)kernel;
    attend_layer l = *(attend_layer *)arguments[0];
    attend_batch b = *(attend_batch *)arguments[1];
    attend_work w = *(attend_work *)arguments[2];
    emulate_launch(grid, block, shared_bytes, [=] { run(l, b, w); });
    return cudaSuccess;
}
}
