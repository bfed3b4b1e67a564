/* cuda_memory.c - buffers with what the two streams are doing to them, and scratch. */
#include "cuda_internal.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256

cuda_buffer *cuda_buffer_of(cuda_state *s, const void *dev)
{
    const char *at = dev;
    for (size_t i = 0; i < s->n_buffers; i++)
        if (at >= s->buffers[i].begin && at < s->buffers[i].begin + s->buffers[i].bytes) return &s->buffers[i];
    return NULL;
}

kvc_status cuda_use(cuda_state *s, const void *dev, kvc_error *err)
{
    cuda_buffer *buffer = dev ? cuda_buffer_of(s, dev) : NULL;
    if (!buffer) return KVC_OK;
    if (buffer->arriving) KVC_TRY_CUDA(cudaStreamWaitEvent(s->compute, buffer->arrived, 0));
    buffer->arriving = false;
    buffer->used = true;
    return KVC_OK;
}

kvc_status cuda_begin(backend *b, const void *const *used, size_t n, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY_CUDA(cudaSetDevice(s->device));
    for (size_t i = 0; i < n; i++) KVC_TRY(cuda_use(s, used[i], err));
    return KVC_OK;
}

static kvc_status reserve_record(cuda_state *s, kvc_error *err)
{
    if (s->n_buffers < s->room) return KVC_OK;
    size_t room = s->room ? 2 * s->room : 32;
    cuda_buffer *buffers = realloc(s->buffers, room * sizeof *buffers);
    if (!buffers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu buffers", room);
    s->buffers = buffers;
    s->room = room;
    return KVC_OK;
}

kvc_status cuda_buffer_new(backend *b, size_t bytes, void **out, kvc_error *err)
{
    cuda_state *s = b->state;
    cuda_buffer buffer = {.bytes = bytes ? bytes : 1};
    *out = NULL;
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    KVC_TRY(reserve_record(s, err));
    KVC_TRY_CUDA(cudaEventCreateWithFlags(&buffer.arrived, cudaEventDisableTiming));
    cudaError_t status = cudaMalloc((void **)&buffer.begin, buffer.bytes);
    if (status != cudaSuccess) {
        cudaEventDestroy(buffer.arrived);
        (void)cudaGetLastError();
        return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED,
                        "device cuda:%d: a buffer of %zu bytes: %s", s->device, bytes, cudaGetErrorString(status));
    }
    s->buffers[s->n_buffers++] = buffer;
    *out = buffer.begin;
    return KVC_OK;
}

void cuda_buffer_free(backend *b, void *dev)
{
    cuda_state *s = b->state;
    cuda_buffer *buffer = dev ? cuda_buffer_of(s, dev) : NULL;
    if (!buffer) return;
    cudaSetDevice(s->device);
    cudaDeviceSynchronize(); /* it may be in use */
    cudaFree(buffer->begin);
    cudaEventDestroy(buffer->arrived);
    (void)cudaGetLastError();
    *buffer = s->buffers[--s->n_buffers];
}

/* The old scratch goes first: both together may not fit. */
static kvc_status grow_scratch(cuda_state *s, size_t bytes, kvc_error *err)
{
    if (bytes <= s->scratch_bytes) return KVC_OK;
    KVC_TRY_CUDA(cudaStreamSynchronize(s->compute));
    void *old = s->scratch;
    s->scratch = NULL;
    s->scratch_bytes = 0;
    KVC_TRY_CUDA(cudaFree(old));
    cudaError_t status = cudaMalloc(&s->scratch, bytes);
    if (status != cudaSuccess) {
        s->scratch = NULL;
        (void)cudaGetLastError();
        return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED,
                        "device cuda:%d: %zu bytes of scratch: %s", s->device, bytes, cudaGetErrorString(status));
    }
    s->scratch_bytes = bytes;
    return KVC_OK;
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

kvc_status cuda_scratch(cuda_state *s, const cuda_part *parts, size_t n, kvc_error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += padded(parts[i].bytes);
    KVC_TRY(grow_scratch(s, bytes, err));
    char *at = s->scratch;
    for (size_t i = 0; i < n; i++) {
        memcpy(parts[i].to, &at, sizeof at);
        at += padded(parts[i].bytes);
    }
    return KVC_OK;
}
