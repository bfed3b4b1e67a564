/* cuda_internal.h - what the files of the CUDA backend share.
 *
 * Two streams: `compute` runs every operation in the order of the calls, `copy` brings uploads, which may overtake
 * operations that have nothing to do with them. What holds them together is a record per buffer; so every operation
 * begins with CUDA_BEGIN, naming all the memory that it reads or writes. Operations that return numbers to the host
 * wait for them; all others are asynchronous. */
#ifndef CALIB_BACKEND_CUDA_INTERNAL_H
#define CALIB_BACKEND_CUDA_INTERNAL_H
#include <cuda_runtime_api.h>
#include "backend.h"
#include "cuda_blas.h"
#include "cuda_solver.h"
#include "op.h"

#define CUDA_STAGES 2
#define CUDA_STAGE_BYTES ((size_t)8 << 20)

typedef struct cuda_buffer {
    char *begin;
    size_t bytes;
    bool idle;            /* given back: kept for the next buffer of its size */
    cudaEvent_t arrived;  /* behind its last upload */
    bool arriving;        /* and the compute stream has not been told to wait for it */
    bool used;            /* by the compute stream since the copy stream last waited for that */
    bool fed;             /* uploads have come to it, so that there is always an event */
    bool touched;         /* by the last operation: the event is still to be put behind it */
    cudaEvent_t released; /* behind its last use */
} cuda_buffer;

typedef struct cuda_state {
    int device;
    bool fast;
    cudaStream_t compute, copy;
    cuda_blas blas;
    cublasHandle_t handle;
    cuda_solver solver; /* opened by the first eigen() */
    cusolverDnHandle_t solver_handle;
    cusolverDnParams_t solver_params;
    void *workspace; /* of cuBLAS: fixed, so that it chooses alike */
    cuda_buffer *buffers;
    size_t n_buffers, room;
    void *scratch; /* of one operation at a time */
    size_t scratch_bytes;
    uint64_t taken, most; /* bytes of the device's memory, idle buffers included: now, ever */
    const float *rounded; /* what the scratch begins with as bfloat16, of n_rounded values; NULL: nothing */
    size_t n_rounded;
    void *round_stage[CUDA_STAGES];      /* device, fast: fp32 weights on their way to bfloat16 */
    char *stage[CUDA_STAGES];            /* pinned */
    cudaEvent_t stage_done[CUDA_STAGES]; /* behind the last copy from or to it */
    unsigned next_stage;
} cuda_state;

/* Errors of the runtime and of cuBLAS. Memory is KVC_NO_MEMORY; there is no status for a device that fails, so
 * everything else is KVC_UNSUPPORTED. */
kvc_status cuda_fail(kvc_error *err, cudaError_t status, const char *where);
kvc_status cuda_fail_blas(const cuda_state *s, kvc_error *err, cublasStatus_t status, const char *where);
#define KVC_TRY_CUDA(call)                                                                                           \
    do {                                                                                                             \
        cudaError_t kvc_try_ = (call);                                                                               \
        if (kvc_try_ != cudaSuccess) return cuda_fail(err, kvc_try_, __func__);                                      \
    } while (0)
#define KVC_TRY_CUBLAS(s, call)                                                                                      \
    do {                                                                                                             \
        cublasStatus_t kvc_try_ = (call);                                                                            \
        if (kvc_try_ != CUBLAS_STATUS_SUCCESS) return cuda_fail_blas(s, err, kvc_try_, __func__);                    \
    } while (0)

/* cuda_memory.c */
/* cudaMalloc() with the bytes counted; `what` for the message. Idle buffers go before the most ever taken would rise.
 */
kvc_status cuda_take(cuda_state *s, size_t bytes, void **out, const char *what, kvc_error *err);
void cuda_give(cuda_state *s, void *dev, size_t bytes); /* NULL is fine */
void cuda_free_buffers(cuda_state *s);
size_t cuda_room(backend *b);
uint64_t cuda_peak(const backend *b);
/* The compute stream is about to use memory of buffers: waits for uploads on their way there. NULL is fine. */
kvc_status cuda_use(cuda_state *s, const void *dev, kvc_error *err);
kvc_status cuda_begin(backend *b, const void *const *used, size_t n, kvc_error *err);
#define CUDA_BEGIN(b, err, ...)                                                                                      \
    cuda_begin(b, (const void *const[]){__VA_ARGS__}, sizeof((const void *const[]){__VA_ARGS__}) / sizeof(void *),   \
               err)
/* The buffer that an address lies in; NULL: none. */
cuda_buffer *cuda_buffer_of(cuda_state *s, const void *dev);
/* Parts of the scratch, each from a 256-byte boundary, until the next call. */
typedef struct cuda_part {
    void *to; /* the address of a pointer to anything */
    size_t bytes;
} cuda_part;
kvc_status cuda_scratch(cuda_state *s, const cuda_part *parts, size_t n, kvc_error *err);
size_t cuda_parts_bytes(const cuda_part *parts, size_t n);
kvc_status cuda_buffer_new(backend *b, size_t bytes, void **out, kvc_error *err);
void cuda_buffer_free(backend *b, void *dev);

/* cuda_copy.c */
kvc_status cuda_upload(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err);
kvc_status cuda_download(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err);
kvc_status cuda_sync(backend *b, kvc_error *err);
kvc_status cuda_copy(backend *b, void *dst, const void *src, size_t bytes, kvc_error *err);
kvc_status cuda_gather_rows(backend *b, size_t n, size_t width, const float *x, const size_t *rows, float *out,
                            kvc_error *err);
kvc_status cuda_load_weight(backend *b, void *w, const float *src, size_t n, kvc_error *err);
/* Between host memory and scratch, in the order of the compute stream. cuda_fetch() waits for the data. */
kvc_status cuda_put(cuda_state *s, void *dst, const void *src, size_t bytes, kvc_error *err);
kvc_status cuda_fetch(cuda_state *s, void *dst, const void *src, size_t bytes, kvc_error *err);

/* cuda_gemm.c: c [m][n] = a [m][k] b, b [k][n] or, turned, [n][k]', for each of `batch`; always fp32. k may be 0,
 * then c is contiguous. */
typedef struct cuda_product {
    size_t batch, m, n, k;
    const float *a;
    size_t lda, stride_a;
    const float *b;
    size_t ldb, stride_b;
    bool turn_b;
    float *c;
    size_t ldc, stride_c;
} cuda_product;
kvc_status cuda_multiply(cuda_state *s, const cuda_product *p, kvc_error *err);

kvc_status cuda_gemm(backend *b, size_t m, size_t n, size_t k, const float *x, const void *w, const float *bias,
                     int accumulate, float *y, kvc_error *err);
kvc_status cuda_output_metric(backend *b, size_t rows, size_t n_heads, size_t head_dim, const void *w, float *metric,
                              kvc_error *err);
/* cuda_need.c, and what operations that take much scratch say of it */
memory_need cuda_scratch_need(const backend *b, const scratch_shape *s);
size_t cuda_sensitivity_bytes(const scratch_shape *s);
size_t cuda_moments_bytes(const scratch_shape *s);
size_t cuda_probe_bytes(const scratch_shape *s);
size_t cuda_lloyd_bytes(uint32_t n, size_t points); /* of n tables; about */
kvc_status cuda_rmsnorm(backend *b, size_t rows, size_t dim, const float *x, const float *w, double eps, float *y,
                        kvc_error *err);
kvc_status cuda_rope(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *cosine, const float *sine,
                     float *x, kvc_error *err);
kvc_status cuda_silu_mul(backend *b, size_t n, float *gate, const float *up, kvc_error *err);
kvc_status cuda_attention(backend *b, const attention_args *args, kvc_error *err);
kvc_status cuda_transcode(backend *b, const kvc_coder *coder, const kvc_token_policy *policy, size_t n_tokens,
                          const float *x, float *exact, float *page, kvc_error *err);
kvc_status cuda_compare_logits(backend *b, size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                               const float *cfg, const uint32_t *targets, logit_sums *sums, kvc_error *err);
kvc_status cuda_probe(backend *b, const probe_args *a, kvc_error *err);
kvc_status cuda_row_power(backend *b, size_t rows, size_t width, const float *x, double *out, kvc_error *err);
kvc_status cuda_relative_error(backend *b, size_t n, const float *x, const float *y, double *sum, double *count,
                               kvc_error *err);
kvc_status cuda_column_stats(backend *b, size_t rows, size_t width, const float *x, double *sum, double *square,
                             double *min, double *max, kvc_error *err);
kvc_status cuda_sensitivity(backend *b, const sensitivity_args *a, kvc_error *err);
kvc_status cuda_moments(backend *b, size_t rows, size_t n_heads, size_t head_dim, const float *x,
                        const double *weights, size_t weight_stride, double *weight, double *first, double *second,
                        kvc_error *err);
/* cuda_lloyd.c, cuda_eigen.c */
kvc_status cuda_lloyd(backend *b, uint32_t n, lloyd_job *jobs, kvc_error *err);
kvc_status cuda_eigen(backend *b, uint32_t n, size_t d, const double *a, double *values, double *vectors,
                      kvc_error *err);
void cuda_eigen_close(cuda_state *s); /* also of what was never opened */
#endif
