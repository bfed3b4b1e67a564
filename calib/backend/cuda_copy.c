/* cuda_copy.c - copies between host memory, mostly mapped files and other pageable memory, and the device.
 *
 * They go through pinned stages in turn: the host fills (or empties) one while the device copies another. An upload
 * waits only for operations that use its buffer, and only operations that use its buffer wait for it; so weights for
 * the next layer can arrive while this one is computed. */
#include "cuda_internal.h"

#include <assert.h>
#include <string.h>

#define PIECE ((size_t)1 << 18) /* bytes that one thread copies at a time */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* One thread moves about 10 GB/s, a fifth of what the device takes. */
static void copy_host(char *dst, const char *src, size_t bytes)
{
#pragma omp parallel for schedule(static) if (bytes > 4 * PIECE)
    for (size_t at = 0; at < bytes; at += PIECE) memcpy(dst + at, src + at, smaller(PIECE, bytes - at));
}

/* The next stage, once nothing is copied from or to it any more. */
static kvc_status take_stage(cuda_state *s, unsigned *stage, kvc_error *err)
{
    *stage = s->next_stage;
    s->next_stage = (s->next_stage + 1) % CUDA_STAGES;
    KVC_TRY_CUDA(cudaEventSynchronize(s->stage_done[*stage]));
    return KVC_OK;
}

/* The copy stream may write a buffer that the compute stream has been using. */
static kvc_status wait_for_users(cuda_state *s, cuda_buffer *buffer, kvc_error *err)
{
    if (!buffer->used) return KVC_OK;
    KVC_TRY_CUDA(cudaEventRecord(s->computed, s->compute));
    KVC_TRY_CUDA(cudaStreamWaitEvent(s->copy, s->computed, 0));
    for (size_t i = 0; i < s->n_buffers; i++) s->buffers[i].used = false; /* it waits for all that was asked so far */
    return KVC_OK;
}

kvc_status cuda_upload(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    cuda_state *s = b->state;
    if (bytes == 0) return KVC_OK;
    cuda_buffer *buffer = cuda_buffer_of(s, dst);
    assert(buffer && (char *)dst + bytes <= buffer->begin + buffer->bytes);
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    KVC_TRY(wait_for_users(s, buffer, err));
    for (size_t at = 0; at < bytes; at += CUDA_STAGE_BYTES) {
        size_t n = smaller(CUDA_STAGE_BYTES, bytes - at);
        unsigned stage;
        KVC_TRY(take_stage(s, &stage, err));
        copy_host(s->stage[stage], (const char *)src + at, n);
        KVC_TRY_CUDA(cudaMemcpyAsync((char *)dst + at, s->stage[stage], n, cudaMemcpyHostToDevice, s->copy));
        KVC_TRY_CUDA(cudaEventRecord(s->stage_done[stage], s->copy));
    }
    KVC_TRY_CUDA(cudaEventRecord(buffer->arrived, s->copy));
    buffer->arriving = true;
    return KVC_OK;
}

/* A piece on its way from the device. */
typedef struct arrival {
    unsigned stage;
    char *to;
    size_t bytes; /* 0: none */
} arrival;

static kvc_status receive(cuda_state *s, const arrival *a, kvc_error *err)
{
    if (a->bytes == 0) return KVC_OK;
    KVC_TRY_CUDA(cudaEventSynchronize(s->stage_done[a->stage]));
    copy_host(a->to, s->stage[a->stage], a->bytes);
    return KVC_OK;
}

kvc_status cuda_fetch(cuda_state *s, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    arrival last = {0};
    for (size_t at = 0; at < bytes; at += CUDA_STAGE_BYTES) {
        arrival next = {.to = (char *)dst + at, .bytes = smaller(CUDA_STAGE_BYTES, bytes - at)};
        KVC_TRY(take_stage(s, &next.stage, err));
        KVC_TRY_CUDA(cudaMemcpyAsync(s->stage[next.stage], (const char *)src + at, next.bytes, cudaMemcpyDeviceToHost,
                                     s->compute));
        KVC_TRY_CUDA(cudaEventRecord(s->stage_done[next.stage], s->compute));
        KVC_TRY(receive(s, &last, err));
        last = next;
    }
    return receive(s, &last, err);
}

kvc_status cuda_download(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    KVC_TRY(CUDA_BEGIN(b, err, src));
    return cuda_fetch(b->state, dst, src, bytes, err);
}

kvc_status cuda_put(cuda_state *s, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    for (size_t at = 0; at < bytes; at += CUDA_STAGE_BYTES) {
        size_t n = smaller(CUDA_STAGE_BYTES, bytes - at);
        unsigned stage;
        KVC_TRY(take_stage(s, &stage, err));
        copy_host(s->stage[stage], (const char *)src + at, n);
        KVC_TRY_CUDA(cudaMemcpyAsync((char *)dst + at, s->stage[stage], n, cudaMemcpyHostToDevice, s->compute));
        KVC_TRY_CUDA(cudaEventRecord(s->stage_done[stage], s->compute));
    }
    return KVC_OK;
}

kvc_status cuda_sync(backend *b, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    KVC_TRY_CUDA(cudaStreamSynchronize(s->copy));
    KVC_TRY_CUDA(cudaStreamSynchronize(s->compute));
    return KVC_OK;
}
