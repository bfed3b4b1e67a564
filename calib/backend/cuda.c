/* cuda.c - the CUDA backend's table, and what a backend owns: streams, cuBLAS, staging, scratch. One GPU, one host
 * thread at a time. */
#include "cuda_internal.h"
#include "cpu_internal.h"
#include "cuda_open.h"

#include <assert.h>
#include <stdlib.h>
#include <stdio.h>

#define WORKSPACE ((size_t)32 << 20)

kvc_status cuda_fail(kvc_error *err, cudaError_t status, const char *where)
{
    (void)cudaGetLastError(); /* or the next launch would find it */
    return kvc_fail(err, status == cudaErrorMemoryAllocation ? KVC_NO_MEMORY : KVC_UNSUPPORTED, "%s: %s", where,
                    cudaGetErrorString(status));
}

kvc_status cuda_fail_blas(const cuda_state *s, kvc_error *err, cublasStatus_t status, const char *where)
{
    (void)cudaGetLastError();
    return kvc_fail(err, status == CUBLAS_STATUS_ALLOC_FAILED ? KVC_NO_MEMORY : KVC_UNSUPPORTED, "%s: cuBLAS: %s",
                    where, s->blas.status_text(status));
}

/* Also of what was opened in part, and after errors: every call may fail again. */
static void cuda_close(backend *b)
{
    cuda_state *s = b->state;
    cudaSetDevice(s->device);
    cudaDeviceSynchronize();
    cuda_free_buffers(s);
    for (int i = 0; i < CUDA_STAGES; i++) cudaFree(s->round_stage[i]);
    cuda_eigen_close(s);
    if (s->handle) s->blas.destroy(s->handle);
    cuda_blas_close(&s->blas);
    cudaFree(s->workspace);
    cudaFree(s->scratch);
    for (int i = 0; i < CUDA_STAGES; i++) {
        cudaFreeHost(s->stage[i]);
        if (s->stage_done[i]) cudaEventDestroy(s->stage_done[i]);
    }
    if (s->compute) cudaStreamDestroy(s->compute);
    if (s->copy) cudaStreamDestroy(s->copy);
    (void)cudaGetLastError();
    free(s);
    free(b);
}

static const backend cuda_table = {
    .batch_values = (size_t)1 << 25, /* 8192 rows of 4096 */
    .close = cuda_close,
    .buffer_new = cuda_buffer_new,
    .buffer_free = cuda_buffer_free,
    .room = cuda_room,
    .scratch = cuda_scratch_need,
    .peak = cuda_peak,
    .upload = cuda_upload,
    .download = cuda_download,
    .sync = cuda_sync,
    .copy = cuda_copy,
    .gather_rows = cuda_gather_rows,
    .load_weight = cuda_load_weight,
    .gemm = cuda_gemm,
    .output_metric = cuda_output_metric,
    .rmsnorm = cuda_rmsnorm,
    .rope = cuda_rope,
    .silu_mul = cuda_silu_mul,
    .attention = cuda_attention,
    .transcode = cuda_transcode,
    .compare_logits = cuda_compare_logits,
    .probe = cuda_probe,
    .row_power = cuda_row_power,
    .relative_error = cuda_relative_error,
    .column_stats = cuda_column_stats,
    .sensitivity = cuda_sensitivity,
    .moments = cuda_moments,
    .lloyd_batch = 32,
    .lloyd = cuda_lloyd,
    .eigen = cuda_eigen,
};

void cuda_stream_of(const backend *b, int *device, cudaStream_t *stream)
{
    const cuda_state *s = b->state;
    assert(b->close == cuda_close);
    *device = s->device;
    *stream = s->compute;
}

kvc_status backend_check_cuda(int ordinal, kvc_error *err)
{
    int n = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status != cudaSuccess)
        return kvc_fail(err, KVC_INVALID, "device cuda:%d: %s", ordinal, cudaGetErrorString(status));
    if (ordinal >= n)
        return kvc_fail(err, KVC_INVALID, "device cuda:%d: this machine has %d CUDA devices", ordinal, n);
    status = cudaSetDevice(ordinal);
    if (status == cudaSuccess) status = op_check_device();
    if (status == cudaSuccess) return KVC_OK;
    (void)cudaGetLastError();
    return kvc_fail(err, KVC_UNSUPPORTED, "device cuda:%d: %s", ordinal, cudaGetErrorString(status));
}

static kvc_status open_state(cuda_state *s, kvc_error *err)
{
    KVC_TRY(cuda_blas_open(&s->blas, err));
    KVC_TRY_CUDA(cudaStreamCreateWithFlags(&s->compute, cudaStreamNonBlocking));
    KVC_TRY_CUDA(cudaStreamCreateWithFlags(&s->copy, cudaStreamNonBlocking));
    for (int i = 0; i < CUDA_STAGES; i++) {
        KVC_TRY_CUDA(cudaHostAlloc((void **)&s->stage[i], CUDA_STAGE_BYTES, cudaHostAllocDefault));
        KVC_TRY_CUDA(cudaEventCreateWithFlags(&s->stage_done[i], cudaEventDisableTiming));
    }
    KVC_TRY(cuda_take(s, WORKSPACE, &s->workspace, "workspace", err));
    for (int i = 0; i < CUDA_STAGES && s->fast; i++)
        KVC_TRY(cuda_take(s, CUDA_STAGE_BYTES, &s->round_stage[i], "workspace", err));
    KVC_TRY_CUBLAS(s, s->blas.create(&s->handle));
    KVC_TRY_CUBLAS(s, s->blas.set_stream(s->handle, s->compute)); /* which also resets the workspace */
    KVC_TRY_CUBLAS(s, s->blas.set_workspace(s->handle, s->workspace, WORKSPACE));
    return KVC_OK;
}

kvc_status backend_open_cuda(backend **out, int ordinal, bool fast, int threads, kvc_error *err)
{
    *out = NULL;
    KVC_TRY(backend_check_cuda(ordinal, err));
    KVC_TRY(cpu_set_threads(threads, err));
    backend *b = malloc(sizeof *b);
    cuda_state *s = calloc(1, sizeof *s);
    if (!b || !s) {
        free(b);
        free(s);
        return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a backend");
    }
    *b = cuda_table;
    snprintf(b->name, sizeof b->name, fast ? "cuda,fast" : "cuda");
    s->device = ordinal;
    s->fast = fast;
    b->weight_bytes = fast ? sizeof(uint16_t) : sizeof(float);
    b->state = s;
    kvc_status status = open_state(s, err);
    if (status == KVC_OK)
        *out = b;
    else
        cuda_close(b);
    return status;
}
