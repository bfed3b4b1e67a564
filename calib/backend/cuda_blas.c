/* cuda_blas.c - finds cuBLAS (cuda_library.h). */
#include "cuda_blas.h"
#include "cuda_library.h"

#define LIBRARY "libcublas.so." CUDA_TEXT(CUBLAS_VER_MAJOR)

static kvc_status find_functions(cuda_blas *blas, kvc_error *err)
{
#define FIND(name, symbol) KVC_TRY(cuda_library_find(blas->library, LIBRARY, CUDA_TEXT(symbol), &blas->name, err));
    CUDA_BLAS_FUNCTIONS(FIND)
#undef FIND
    return KVC_OK;
}

kvc_status cuda_blas_open(cuda_blas *blas, kvc_error *err)
{
    *blas = (cuda_blas){0};
    KVC_TRY(cuda_library_open(&blas->library, LIBRARY, err));
    kvc_status status = find_functions(blas, err);
    if (status != KVC_OK) cuda_blas_close(blas);
    return status;
}

void cuda_blas_close(cuda_blas *blas)
{
    cuda_library_close(blas->library);
    *blas = (cuda_blas){0};
}
