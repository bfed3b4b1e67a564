/* cuda_eigen.c - eigendecompositions by cuSOLVER, all matrices of a call as one batch, in double.
 *
 * A few small ones, those of a layer's heads, are LAPACK's: matrices and results lie in host memory, where threads
 * take a millisecond or two, and a device is not kept busy by steps that wait for each other. cuSOLVER counts columns
 * first and gives values ascending, as LAPACK; what is equal or of either sign is settled as on the CPU
 * (eigen_order.h). Its library is opened by the first call. */
#include "cpu_internal.h"
#include "cuda_internal.h"
#include "eigen_order.h"

#include <stdlib.h>

#define FEW ((double)(1 << 25)) /* n d^3: 16 matrices of 128 */

#define KVC_TRY_SOLVER(call)                                                                                         \
    do {                                                                                                             \
        cusolverStatus_t kvc_try_ = (call);                                                                          \
        if (kvc_try_ != CUSOLVER_STATUS_SUCCESS) return solver_fail(err, kvc_try_);                                  \
    } while (0)

static kvc_status solver_fail(kvc_error *err, cusolverStatus_t status)
{
    (void)cudaGetLastError();
    return kvc_fail(err, status == CUSOLVER_STATUS_ALLOC_FAILED ? KVC_NO_MEMORY : KVC_UNSUPPORTED,
                    "cuSOLVER: error %d", (int)status);
}

static kvc_status open_solver(cuda_state *s, kvc_error *err)
{
    if (s->solver.library) return KVC_OK;
    KVC_TRY(cuda_solver_open(&s->solver, err));
    KVC_TRY_SOLVER(s->solver.create(&s->solver_handle));
    KVC_TRY_SOLVER(s->solver.create_params(&s->solver_params));
    KVC_TRY_SOLVER(s->solver.set_stream(s->solver_handle, s->compute));
    return KVC_OK;
}

void cuda_eigen_close(cuda_state *s)
{
    if (s->solver_params) s->solver.destroy_params(s->solver_params);
    if (s->solver_handle) s->solver.destroy(s->solver_handle);
    cuda_solver_close(&s->solver);
}

typedef struct eigen_job {
    uint32_t n;
    size_t d;
    double *a, *values; /* device; a becomes the vectors */
    int *info;          /* device [n] */
    void *work, *host_work;
    size_t work_bytes, host_bytes;
} eigen_job;

static kvc_status decompose(cuda_state *s, eigen_job *j, kvc_error *err)
{
    j->host_work = malloc(j->host_bytes + 1);
    if (!j->host_work) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for cuSOLVER");
    cusolverStatus_t status =
        s->solver.eigen(s->solver_handle, s->solver_params, CUSOLVER_EIG_MODE_VECTOR, CUBLAS_FILL_MODE_UPPER,
                        (int64_t)j->d, CUDA_R_64F, j->a, (int64_t)j->d, CUDA_R_64F, j->values, CUDA_R_64F, j->work,
                        j->work_bytes, j->host_work, j->host_bytes, j->info, (int64_t)j->n);
    cudaError_t done = cudaStreamSynchronize(s->compute); /* it may use its host memory until then */
    free(j->host_work);
    KVC_TRY_SOLVER(status);
    KVC_TRY_CUDA(done);
    return KVC_OK;
}

static kvc_status check_info(cuda_state *s, const eigen_job *j, kvc_error *err)
{
    int *info = malloc(j->n * sizeof *info);
    if (!info) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u decompositions", j->n);
    kvc_status status = cuda_fetch(s, info, j->info, j->n * sizeof *info, err);
    for (uint32_t i = 0; i < j->n && status == KVC_OK; i++)
        if (info[i])
            status = kvc_fail(err, KVC_NONFINITE, "cuSOLVER does not converge on matrix %u (%d)", i, info[i]);
    free(info);
    return status;
}

static kvc_status plan(cuda_state *s, eigen_job *j, kvc_error *err)
{
    size_t square = j->n * j->d * j->d * sizeof(double);
    KVC_TRY_SOLVER(s->solver.eigen_size(s->solver_handle, s->solver_params, CUSOLVER_EIG_MODE_VECTOR,
                                        CUBLAS_FILL_MODE_UPPER, (int64_t)j->d, CUDA_R_64F, NULL, (int64_t)j->d,
                                        CUDA_R_64F, NULL, CUDA_R_64F, &j->work_bytes, &j->host_bytes, (int64_t)j->n));
    const cuda_part parts[] = {{&j->a, square},
                               {&j->values, j->n * j->d * sizeof(double)},
                               {&j->info, j->n * sizeof(int)},
                               {&j->work, j->work_bytes}};
    return cuda_scratch(s, parts, 4, err);
}

kvc_status cuda_eigen(backend *b, uint32_t n, size_t d, const double *a, double *values, double *vectors,
                      kvc_error *err)
{
    cuda_state *s = b->state;
    eigen_job j = {.n = n, .d = d};
    size_t square = n * d * d * sizeof *a;
    if (n == 0 || d == 0) return KVC_OK;
    if ((double)n * (double)(d * d * d) <= FEW) return cpu_eigen(b, n, d, a, values, vectors, err);
    KVC_TRY(CUDA_BEGIN(b, err, NULL));
    KVC_TRY(open_solver(s, err));
    KVC_TRY(plan(s, &j, err));
    KVC_TRY(cuda_put(s, j.a, a, square, err));
    KVC_TRY(decompose(s, &j, err));
    KVC_TRY(check_info(s, &j, err));
    KVC_TRY(cuda_fetch(s, vectors, j.a, square, err));
    KVC_TRY(cuda_fetch(s, values, j.values, n * d * sizeof *values, err));
    for (uint32_t i = 0; i < n; i++) eigen_order(d, values + i * d, vectors + i * d * d);
    return KVC_OK;
}
