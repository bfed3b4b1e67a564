/* fake_solver.c - cuda_solver_open() for tests without a GPU: cuSOLVER's functions by LAPACK. */
#include "cuda_solver.h"

#include <lapacke.h>
#include <stdlib.h>

static cusolverStatus_t create(cusolverDnHandle_t *handle)
{
    *handle = malloc(1);
    return *handle ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

static cusolverStatus_t destroy(cusolverDnHandle_t handle)
{
    free(handle);
    return CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t set_stream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    (void)handle, (void)stream;
    return CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t create_params(cusolverDnParams_t *params)
{
    *params = malloc(1);
    return *params ? CUSOLVER_STATUS_SUCCESS : CUSOLVER_STATUS_ALLOC_FAILED;
}

static cusolverStatus_t destroy_params(cusolverDnParams_t params)
{
    free(params);
    return CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t eigen_size(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t mode,
                                   cublasFillMode_t half, int64_t n, cudaDataType type_a, const void *a, int64_t lda,
                                   cudaDataType type_w, const void *w, cudaDataType compute, size_t *on_device,
                                   size_t *on_host, int64_t batch)
{
    (void)handle, (void)params, (void)mode, (void)half, (void)n, (void)type_a, (void)a, (void)lda, (void)type_w;
    (void)w, (void)compute, (void)batch;
    *on_device = 100;
    *on_host = 100;
    return CUSOLVER_STATUS_SUCCESS;
}

static cusolverStatus_t eigen(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t mode,
                              cublasFillMode_t half, int64_t n, cudaDataType type_a, void *a, int64_t lda,
                              cudaDataType type_w, void *w, cudaDataType compute, void *work, size_t work_bytes,
                              void *host_work, size_t host_bytes, int *info, int64_t batch)
{
    (void)handle, (void)params, (void)work, (void)work_bytes, (void)host_work, (void)host_bytes;
    if (mode != CUSOLVER_EIG_MODE_VECTOR || half != CUBLAS_FILL_MODE_UPPER || type_a != CUDA_R_64F ||
        type_w != CUDA_R_64F || compute != CUDA_R_64F)
        return CUSOLVER_STATUS_NOT_SUPPORTED;
    for (int64_t i = 0; i < batch; i++)
        info[i] = LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, (double *)a + i * lda * n,
                                 (lapack_int)lda, (double *)w + i * n);
    return CUSOLVER_STATUS_SUCCESS;
}

kvc_status cuda_solver_open(cuda_solver *solver, kvc_error *err)
{
    static int library;
    (void)err;
    *solver = (cuda_solver){.library = &library,
                            .create = create,
                            .destroy = destroy,
                            .set_stream = set_stream,
                            .create_params = create_params,
                            .destroy_params = destroy_params,
                            .eigen_size = eigen_size,
                            .eigen = eigen};
    return KVC_OK;
}

void cuda_solver_close(cuda_solver *solver)
{
    *solver = (cuda_solver){0};
}
