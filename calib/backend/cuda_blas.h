/* cuda_blas.h - the functions of cuBLAS that the backend calls, from a library opened when a GPU is: half a gigabyte
 * that no other run of the program should map. */
#ifndef CALIB_BACKEND_CUDA_BLAS_H
#define CALIB_BACKEND_CUDA_BLAS_H
#include <cublas_v2.h>
#include "kvc/kvc.h"

#define CUDA_BLAS_FUNCTIONS(X)                                                                                       \
    X(create, cublasCreate_v2)                                                                                       \
    X(destroy, cublasDestroy_v2)                                                                                     \
    X(set_stream, cublasSetStream_v2)                                                                                \
    X(set_workspace, cublasSetWorkspace_v2)                                                                          \
    X(status_text, cublasGetStatusString)                                                                            \
    X(gemm, cublasGemmEx_64)                                                                                         \
    X(float_products, cublasSgemmStridedBatched_64)                                                                  \
    X(double_products, cublasDgemmStridedBatched_64)

typedef struct cuda_blas {
    void *library;
#define CUDA_BLAS_MEMBER(name, symbol) __typeof__(symbol) *name;
    CUDA_BLAS_FUNCTIONS(CUDA_BLAS_MEMBER)
#undef CUDA_BLAS_MEMBER
} cuda_blas;

/* On failure nothing is held. */
kvc_status cuda_blas_open(cuda_blas *blas, kvc_error *err);
void cuda_blas_close(cuda_blas *blas); /* zeros are fine */
#endif
