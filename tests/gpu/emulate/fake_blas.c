/* fake_blas.c - cuda_blas_open() for tests without a GPU: cuBLAS's functions by OpenBLAS. Column-major, as theirs. */
#include "cuda_blas.h"

#include <cblas.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static cublasStatus_t create(cublasHandle_t *handle)
{
    *handle = malloc(1);
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
}

static cublasStatus_t destroy(cublasHandle_t handle)
{
    free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_stream(cublasHandle_t handle, cudaStream_t stream)
{
    (void)handle, (void)stream;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t set_workspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    (void)handle, (void)workspace, (void)bytes;
    return CUBLAS_STATUS_SUCCESS;
}

static const char *status_text(cublasStatus_t status)
{
    (void)status;
    return "an error of the fake";
}

static enum CBLAS_TRANSPOSE turned(cublasOperation_t op)
{
    return op == CUBLAS_OP_N ? CblasNoTrans : CblasTrans;
}

/* fp32 values of a matrix of `n` bfloat16; owned. */
static float *widened(const void *x, size_t n)
{
    const uint16_t *from = x;
    float *out = malloc((n + 1) * sizeof *out);
    if (!out) abort();
    for (size_t i = 0; i < n; i++) {
        uint32_t bits = (uint32_t)from[i] << 16;
        memcpy(out + i, &bits, sizeof bits);
    }
    return out;
}

static cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int64_t m,
                           int64_t n, int64_t k, const void *alpha, const void *a, cudaDataType type_a, int64_t lda,
                           const void *b, cudaDataType type_b, int64_t ldb, const void *beta, void *c,
                           cudaDataType type_c, int64_t ldc, cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    (void)handle, (void)algorithm;
    if (type_a != type_b || type_c != CUDA_R_32F || compute != CUBLAS_COMPUTE_32F) return CUBLAS_STATUS_NOT_SUPPORTED;
    bool half = type_a == CUDA_R_16BF;
    const float *x = half ? widened(a, (size_t)(lda * (op_a == CUBLAS_OP_N ? k : m))) : a,
                *y = half ? widened(b, (size_t)(ldb * (op_b == CUBLAS_OP_N ? n : k))) : b;
    cblas_sgemm(CblasColMajor, turned(op_a), turned(op_b), (int)m, (int)n, (int)k, *(const float *)alpha, x, (int)lda,
                y, (int)ldb, *(const float *)beta, c, (int)ldc);
    if (half) {
        free((float *)x);
        free((float *)y);
    }
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t float_products(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int64_t m,
                                     int64_t n, int64_t k, const float *alpha, const float *a, int64_t lda,
                                     long long stride_a, const float *b, int64_t ldb, long long stride_b,
                                     const float *beta, float *c, int64_t ldc, long long stride_c, int64_t batch)
{
    (void)handle;
    for (int64_t i = 0; i < batch; i++)
        cblas_sgemm(CblasColMajor, turned(op_a), turned(op_b), (int)m, (int)n, (int)k, *alpha, a + i * stride_a,
                    (int)lda, b + i * stride_b, (int)ldb, *beta, c + i * stride_c, (int)ldc);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t double_products(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b,
                                      int64_t m, int64_t n, int64_t k, const double *alpha, const double *a,
                                      int64_t lda, long long stride_a, const double *b, int64_t ldb,
                                      long long stride_b, const double *beta, double *c, int64_t ldc,
                                      long long stride_c, int64_t batch)
{
    (void)handle;
    for (int64_t i = 0; i < batch; i++)
        cblas_dgemm(CblasColMajor, turned(op_a), turned(op_b), (int)m, (int)n, (int)k, *alpha, a + i * stride_a,
                    (int)lda, b + i * stride_b, (int)ldb, *beta, c + i * stride_c, (int)ldc);
    return CUBLAS_STATUS_SUCCESS;
}

kvc_status cuda_blas_open(cuda_blas *blas, kvc_error *err)
{
    (void)err;
    *blas = (cuda_blas){.create = create,
                        .destroy = destroy,
                        .set_stream = set_stream,
                        .set_workspace = set_workspace,
                        .status_text = status_text,
                        .gemm = gemm,
                        .float_products = float_products,
                        .double_products = double_products};
    return KVC_OK;
}

void cuda_blas_close(cuda_blas *blas)
{
    *blas = (cuda_blas){0};
}
