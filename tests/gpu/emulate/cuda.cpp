/* cuda.cpp - as much of the CUDA runtime as libkvc_cuda and its test call, for kernels that run on the CPU: memory of
 * the machine, streams that are done at once, two devices that are the same; graphs.h has the rest.
 *
 * Nothing but launches may be captured; what breaks that, or leaks, is reported as CUDA would or ends the program.
 * KVC_EMULATE_ORDER=descending turns the order of threads round. */
#include "emulate.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <map>
#include "graphs.h"

#define N_DEVICES 2
#define DEVICE_BYTES ((size_t)4 << 30)

struct CUstream_st {
};

static int device;
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
    return graphs_done(graphs_capturing() ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

extern "C" {

/* ---- devices ---- */

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
    if (n < 0 || n >= N_DEVICES) return graphs_done(cudaErrorInvalidDevice);
    device = n;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int)
{
    if (attribute != cudaDevAttrMultiProcessorCount) return graphs_done(cudaErrorInvalidValue);
    *value = MULTIPROCESSORS;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
    return outside();
}

/* ---- memory ---- */

cudaError_t cudaMalloc(void **out, size_t n)
{
    if (graphs_capturing()) return outside();
    *out = n > DEVICE_BYTES ? NULL : aligned_alloc(256, (n + 255) / 256 * 256);
    if (!*out) return graphs_done(cudaErrorMemoryAllocation);
    allocated[*out] = n;
    memset(*out, 0xff, n);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    if (p && !allocated.erase(p)) return graphs_done(cudaErrorInvalidValue);
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

/* ---- streams ---- */

cudaError_t cudaStreamCreate(cudaStream_t *out)
{
    *out = new CUstream_st;
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

/* ---- events ---- */

cudaError_t cudaEventCreate(cudaEvent_t *out)
{
    *out = NULL;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t)
{
    return outside();
}

cudaError_t cudaEventDestroy(cudaEvent_t)
{
    return cudaSuccess;
}
}
