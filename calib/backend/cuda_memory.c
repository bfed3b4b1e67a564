/* cuda_memory.c - buffers with what the two streams are doing to them, and scratch.
 *
 * Passes allocate and free the same few sizes hundreds of times, and cudaFree() waits for the whole device; so what
 * is freed stays, idle, for the next buffer of that size, until memory is short or the most ever taken would rise. */
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
    buffer->touched = buffer->fed;
    return KVC_OK;
}

/* An upload may come to a buffer: what uses it up to now is behind its event. */
static kvc_status settle(cuda_state *s, kvc_error *err)
{
    for (size_t i = 0; i < s->n_buffers; i++) {
        if (!s->buffers[i].touched) continue;
        s->buffers[i].touched = false;
        KVC_TRY_CUDA(cudaEventRecord(s->buffers[i].released, s->compute));
    }
    return KVC_OK;
}

kvc_status cuda_begin(backend *b, const void *const *used, size_t n, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY_CUDA(cudaSetDevice(s->device));
    KVC_TRY(settle(s, err));
    s->rounded = NULL;
    for (size_t i = 0; i < n; i++) KVC_TRY(cuda_use(s, used[i], err));
    return KVC_OK;
}

/* ---- memory ---- */

static void destroy(cuda_state *s, cuda_buffer *buffer)
{
    cudaEventDestroy(buffer->arrived);
    cudaEventDestroy(buffer->released);
    cuda_give(s, buffer->begin, buffer->bytes);
    *buffer = s->buffers[--s->n_buffers];
}

static void drop_idle(cuda_state *s)
{
    for (size_t i = s->n_buffers; i-- > 0;)
        if (s->buffers[i].idle) destroy(s, &s->buffers[i]);
}

void cuda_free_buffers(cuda_state *s)
{
    while (s->n_buffers) destroy(s, &s->buffers[s->n_buffers - 1]);
    free(s->buffers);
}

kvc_status cuda_take(cuda_state *s, size_t bytes, void **out, const char *what, kvc_error *err)
{
    if (s->taken + bytes > s->most) drop_idle(s);
    cudaError_t status = cudaMalloc(out, bytes);
    if (status == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        drop_idle(s);
        status = cudaMalloc(out, bytes);
    }
    if (status != cudaSuccess) {
        *out = NULL;
        (void)cudaGetLastError();
        return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED,
                        "device cuda:%d: %zu bytes of %s: %s", s->device, bytes, what, cudaGetErrorString(status));
    }
    s->taken += bytes;
    if (s->taken > s->most) s->most = s->taken;
    return KVC_OK;
}

void cuda_give(cuda_state *s, void *dev, size_t bytes)
{
    if (!dev) return;
    cudaFree(dev); /* waits for whatever uses it */
    (void)cudaGetLastError();
    s->taken -= bytes;
}

/* The device's own needs and those of libraries are left alone. */
#define RESERVE ((size_t)512 << 20)

size_t cuda_room(backend *b)
{
    cuda_state *s = b->state;
    size_t free_bytes = 0, total = 0;
    if (cudaSetDevice(s->device) != cudaSuccess || cudaMemGetInfo(&free_bytes, &total) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    for (size_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].idle) free_bytes += s->buffers[i].bytes;
    return free_bytes > RESERVE ? free_bytes - RESERVE : 0;
}

uint64_t cuda_peak(const backend *b)
{
    const cuda_state *s = b->state;
    return s->most;
}

/* ---- buffers ---- */

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

static cuda_buffer *find_idle(cuda_state *s, size_t bytes)
{
    for (size_t i = 0; i < s->n_buffers; i++)
        if (s->buffers[i].idle && s->buffers[i].bytes == bytes) return &s->buffers[i];
    return NULL;
}

static kvc_status fresh_buffer(cuda_state *s, size_t bytes, void **out, kvc_error *err)
{
    cuda_buffer buffer = {.bytes = bytes};
    KVC_TRY(reserve_record(s, err));
    KVC_TRY_CUDA(cudaEventCreateWithFlags(&buffer.arrived, cudaEventDisableTiming));
    cudaError_t event = cudaEventCreateWithFlags(&buffer.released, cudaEventDisableTiming);
    kvc_status status = event == cudaSuccess ? cuda_take(s, bytes, (void **)&buffer.begin, "a buffer", err)
                                             : cuda_fail(err, event, __func__);
    if (status != KVC_OK) {
        cudaEventDestroy(buffer.arrived);
        if (event == cudaSuccess) cudaEventDestroy(buffer.released);
        return status;
    }
    s->buffers[s->n_buffers++] = buffer;
    *out = buffer.begin;
    return KVC_OK;
}

kvc_status cuda_buffer_new(backend *b, size_t bytes, void **out, kvc_error *err)
{
    cuda_state *s = b->state;
    size_t rounded = (bytes + ALIGNMENT) / ALIGNMENT * ALIGNMENT; /* never 0 */
    *out = NULL;
    if (rounded < bytes) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a buffer of %zu bytes", bytes);
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    cuda_buffer *buffer = find_idle(s, rounded);
    if (!buffer) return fresh_buffer(s, rounded, out, err);
    buffer->idle = false;
    *out = buffer->begin;
    return KVC_OK;
}

/* Operations that still use it come before those that will: one stream, and uploads wait for it. */
void cuda_buffer_free(backend *b, void *dev)
{
    cuda_state *s = b->state;
    cuda_buffer *buffer = dev ? cuda_buffer_of(s, dev) : NULL;
    if (buffer) buffer->idle = true;
}

/* The old scratch goes first: both together may not fit. */
static kvc_status grow_scratch(cuda_state *s, size_t bytes, kvc_error *err)
{
    if (bytes <= s->scratch_bytes) return KVC_OK;
    cuda_give(s, s->scratch, s->scratch_bytes);
    s->scratch = NULL;
    s->scratch_bytes = 0;
    KVC_TRY(cuda_take(s, bytes, &s->scratch, "scratch", err));
    s->scratch_bytes = bytes;
    return KVC_OK;
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

size_t cuda_parts_bytes(const cuda_part *parts, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes += padded(parts[i].bytes);
    return bytes;
}

kvc_status cuda_scratch(cuda_state *s, const cuda_part *parts, size_t n, kvc_error *err)
{
    KVC_TRY(grow_scratch(s, cuda_parts_bytes(parts, n), err));
    char *at = s->scratch;
    for (size_t i = 0; i < n; i++) {
        memcpy(parts[i].to, &at, sizeof at);
        at += padded(parts[i].bytes);
    }
    return KVC_OK;
}
