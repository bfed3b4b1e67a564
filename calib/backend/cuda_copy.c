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
    if (buffer->used) {
        if (!buffer->fed) KVC_TRY_CUDA(cudaEventRecord(buffer->released, s->compute));
        KVC_TRY_CUDA(cudaStreamWaitEvent(s->copy, buffer->released, 0));
    }
    buffer->used = false;
    buffer->fed = true;
    return KVC_OK;
}

static kvc_status begin_upload(backend *b, const void *dst, size_t bytes, cuda_buffer **buffer, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    *buffer = cuda_buffer_of(s, dst);
    (void)bytes;
    assert(*buffer && (const char *)dst + bytes <= (*buffer)->begin + (*buffer)->bytes);
    return wait_for_users(s, *buffer, err);
}

static kvc_status end_upload(cuda_state *s, cuda_buffer *buffer, kvc_error *err)
{
    KVC_TRY_CUDA(cudaEventRecord(buffer->arrived, s->copy));
    buffer->arriving = true;
    return KVC_OK;
}

/* A piece of at most a stage, by way of it. */
static kvc_status send(cuda_state *s, unsigned stage, void *dst, const void *src, size_t bytes, cudaStream_t stream,
                       kvc_error *err)
{
    copy_host(s->stage[stage], src, bytes);
    KVC_TRY_CUDA(cudaMemcpyAsync(dst, s->stage[stage], bytes, cudaMemcpyHostToDevice, stream));
    return KVC_OK;
}

static kvc_status send_all(cuda_state *s, void *dst, const void *src, size_t bytes, cudaStream_t stream,
                           kvc_error *err)
{
    for (size_t at = 0; at < bytes; at += CUDA_STAGE_BYTES) {
        unsigned stage;
        KVC_TRY(take_stage(s, &stage, err));
        KVC_TRY(send(s, stage, (char *)dst + at, (const char *)src + at, smaller(CUDA_STAGE_BYTES, bytes - at),
                     stream, err));
        KVC_TRY_CUDA(cudaEventRecord(s->stage_done[stage], stream));
    }
    return KVC_OK;
}

kvc_status cuda_upload(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    cuda_state *s = b->state;
    cuda_buffer *buffer;
    if (bytes == 0) return KVC_OK;
    KVC_TRY(begin_upload(b, dst, bytes, &buffer, err));
    KVC_TRY(send_all(s, dst, src, bytes, s->copy, err));
    return end_upload(s, buffer, err);
}

/* bfloat16: rounded on the device, on the copy stream. */
static kvc_status send_halves(cuda_state *s, uint16_t *w, const float *src, size_t n, kvc_error *err)
{
    const size_t most = CUDA_STAGE_BYTES / sizeof *src;
    for (size_t at = 0; at < n; at += most) {
        size_t count = smaller(most, n - at);
        unsigned stage;
        KVC_TRY(take_stage(s, &stage, err));
        KVC_TRY(send(s, stage, s->round_stage[stage], src + at, count * sizeof *src, s->copy, err));
        KVC_TRY_CUDA(op_to_bf16(count, s->round_stage[stage], w + at, s->copy));
        KVC_TRY_CUDA(cudaEventRecord(s->stage_done[stage], s->copy));
    }
    return KVC_OK;
}

kvc_status cuda_load_weight(backend *b, void *w, const float *src, size_t n, kvc_error *err)
{
    cuda_state *s = b->state;
    cuda_buffer *buffer;
    if (!s->fast) return cuda_upload(b, w, src, n * sizeof *src, err);
    if (n == 0) return KVC_OK;
    KVC_TRY(begin_upload(b, w, n * b->weight_bytes, &buffer, err));
    KVC_TRY(send_halves(s, w, src, n, err));
    return end_upload(s, buffer, err);
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
    return send_all(s, dst, src, bytes, s->compute, err);
}

kvc_status cuda_copy(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err)
{
    cuda_state *s = b->state;
    KVC_TRY(CUDA_BEGIN(b, err, dst, src));
    KVC_TRY_CUDA(cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDeviceToDevice, s->compute));
    return KVC_OK;
}

kvc_status cuda_gather_rows(backend *b, size_t n, size_t width, const float *x, const size_t *rows, float *out,
                            kvc_error *err)
{
    cuda_state *s = b->state;
    size_t *dev_rows;
    const cuda_part part = {&dev_rows, n * sizeof *rows};
    if (n == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, x, out));
    KVC_TRY(cuda_scratch(s, &part, 1, err));
    KVC_TRY(cuda_put(s, dev_rows, rows, n * sizeof *rows, err));
    KVC_TRY_CUDA(op_gather_rows(n, width, x, dev_rows, out, s->compute));
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
