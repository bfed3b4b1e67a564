/* fake_runtime.cpp - the calls of the CUDA runtime that host code makes, over host memory, for tests without a GPU.
 *
 * The first stream that is created runs everything at once. What is asked of any other waits until something waits
 * for it (an event behind it, the stream, the device): code that does not ask for its copies to have arrived finds
 * other bytes. Device memory is filled with NaN when it is taken.
 * One host thread at a time, as the code under test. */
#include "emulate.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <deque>
#include <map>
#include <vector>
#include "graphs.h"

/* In GiB; FAKE_DEVICE_GIB says another number. */
static size_t device_bytes(void)
{
    const char *text = getenv("FAKE_DEVICE_GIB");
    return (size_t)((text ? strtod(text, NULL) : 4) * (1 << 30));
}
static const size_t DEVICE_BYTES = device_bytes();

struct CUstream_st {
    bool lazy;
    std::deque<std::function<void()>> waiting;
    uint64_t n_run; /* since it was created */
};

struct CUevent_st {
    cudaStream_t stream;
    uint64_t end; /* everything before it counts, by n_run */
};

static std::vector<cudaStream_t> streams;
static std::map<void *, size_t> blocks;
static size_t taken;

/* At once, or behind what waits in the stream. */
static void fake_enqueue(cudaStream_t stream, std::function<void()> work);
static const bool hooked = (emulate_enqueue = fake_enqueue, true); /* kernels go into streams too */

static void run_until(cudaStream_t stream, uint64_t end)
{
    while (!stream->waiting.empty() && stream->n_run < end) {
        std::function<void()> work = stream->waiting.front();
        stream->waiting.pop_front();
        stream->n_run++;
        work();
    }
}

static void run_all(cudaStream_t stream)
{
    run_until(stream, UINT64_MAX);
}

static void fake_enqueue(cudaStream_t stream, std::function<void()> work)
{
    if (!stream || !stream->lazy || graphs_captures(stream)) {
        work();
        return;
    }
    stream->waiting.push_back(work);
}

extern "C" {

cudaError_t CUDARTAPI cudaGetDeviceCount(int *n)
{
    *n = 1;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t CUDARTAPI cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int)
{
    if (attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin && attribute != cudaDevAttrMultiProcessorCount)
        return cudaErrorInvalidValue;
    *value = attribute == cudaDevAttrMultiProcessorCount ? MULTIPROCESSORS : 227 << 10;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaGetDeviceProperties(struct cudaDeviceProp *p, int)
{
    *p = {};
    snprintf(p->name, sizeof p->name, "a GPU that is played");
    p->multiProcessorCount = MULTIPROCESSORS;
    p->l2CacheSize = 32 << 10;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaDeviceSynchronize(void)
{
    for (cudaStream_t stream : streams) run_all(stream);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    *free_bytes = DEVICE_BYTES - taken;
    *total = DEVICE_BYTES;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMalloc(void **out, size_t bytes)
{
    *out = bytes <= DEVICE_BYTES - taken ? aligned_alloc(256, (bytes + 255) / 256 * 256) : NULL;
    if (!*out) return cudaErrorMemoryAllocation;
    memset(*out, 0xff, bytes);
    blocks[*out] = bytes;
    taken += bytes;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaFree(void *memory)
{
    if (!memory) return cudaSuccess;
    if (!blocks.count(memory)) return cudaErrorInvalidValue;
    cudaDeviceSynchronize();
    taken -= blocks[memory];
    blocks.erase(memory);
    free(memory);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaHostAlloc(void **out, size_t bytes, unsigned)
{
    *out = malloc(bytes);
    return *out ? cudaSuccess : cudaErrorMemoryAllocation;
}

cudaError_t CUDARTAPI cudaFreeHost(void *memory)
{
    free(memory);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamCreate(cudaStream_t *out)
{
    return cudaStreamCreateWithFlags(out, 0);
}

cudaError_t CUDARTAPI cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = new CUstream_st{streams.size() > 0, {}, 0};
    streams.push_back(*out);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamDestroy(cudaStream_t stream)
{
    run_all(stream);
    for (size_t i = 0; i < streams.size(); i++)
        if (streams[i] == stream) streams.erase(streams.begin() + (ptrdiff_t)i);
    delete stream;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaStreamSynchronize(cudaStream_t stream)
{
    run_all(stream);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventCreate(cudaEvent_t *out)
{
    return cudaEventCreateWithFlags(out, 0);
}

cudaError_t CUDARTAPI cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st{NULL, 0};
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    event->stream = stream;
    event->end = stream->n_run + stream->waiting.size();
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaEventSynchronize(cudaEvent_t event)
{
    if (event->stream) run_until(event->stream, event->end);
    return cudaSuccess;
}

/* What the event stands for may as well run now. */
cudaError_t CUDARTAPI cudaStreamWaitEvent(cudaStream_t, cudaEvent_t event, unsigned)
{
    return cudaEventSynchronize(event);
}

cudaError_t CUDARTAPI cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream)
{
    fake_enqueue(stream, [=] { memmove(to, from, bytes); });
    return cudaSuccess;
}

/* Not behind what waits in the streams: as CUDA has it with streams that do not block. */
cudaError_t CUDARTAPI cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind)
{
    memmove(to, from, bytes);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemset(void *to, int value, size_t bytes)
{
    memset(to, value, bytes);
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                                        size_t height, cudaMemcpyKind, cudaStream_t stream)
{
    fake_enqueue(stream, [=] {
        for (size_t i = 0; i < height; i++)
            memmove((char *)to + i * to_pitch, (const char *)from + i * from_pitch, width);
    });
    return cudaSuccess;
}

cudaError_t CUDARTAPI cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    fake_enqueue(stream, [=] { memset(to, value, bytes); });
    return cudaSuccess;
}
}
