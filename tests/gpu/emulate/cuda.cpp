/* cuda.cpp - as much of the CUDA runtime as libkvc_cuda and its test call, for kernels that run on the CPU: memory of
 * the machine, streams that are done at once, captures that keep launches, two devices that are the same.
 *
 * Nothing but launches may be captured; what breaks that, or leaks, is reported as CUDA would or ends the program.
 * KVC_EMULATE_ORDER=descending turns the order of threads round. Images are images.cpp's. */
#include "emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <map>

#define N_DEVICES 2
#define DEVICE_BYTES ((size_t)4 << 30)

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

/* What a captured stream cannot take. */
static cudaError_t outside(void)
{
    return emulate_done(capturing ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
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
    if (n < 0 || n >= N_DEVICES) return emulate_done(cudaErrorInvalidDevice);
    device = n;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int)
{
    if (attribute != cudaDevAttrMultiProcessorCount) return emulate_done(cudaErrorInvalidValue);
    *value = EMULATED_MULTIPROCESSORS;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return outside();
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t status = emulate_last;
    emulate_last = cudaSuccess;
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
    if (outside() != cudaSuccess) return emulate_last;
    *out = n > DEVICE_BYTES ? NULL : aligned_alloc(256, (n + 255) / 256 * 256);
    if (!*out) return emulate_done(cudaErrorMemoryAllocation);
    allocated[*out] = n;
    memset(*out, 0xff, n);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (p && !allocated.erase(p)) return emulate_done(cudaErrorInvalidValue);
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
    if (outside() != cudaSuccess) return emulate_last;
    stream->capture = new std::vector<emulated_launch>;
    capturing = stream;
    emulate_record(stream->capture);
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *out)
{
    if (capturing != stream) return emulate_done(cudaErrorInvalidValue);
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
}
