/* cuda_blas.c - finds cuBLAS: by its name, where the system looks for libraries, else where the build found it.
 * Once loaded it stays: its own state outlives handles. */
#include "cuda_blas.h"

#include <dlfcn.h>
#include <string.h>

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define LIBRARY "libcublas.so." TEXT(CUBLAS_VER_MAJOR)

/* Returns the name of a function that the library lacks, else NULL. */
static const char *find_functions(cuda_blas *blas)
{
    void *found;
#define FIND(name, symbol)                                                                                           \
    found = dlsym(blas->library, TEXT(symbol));                                                                      \
    if (!found) return TEXT(symbol);                                                                                 \
    memcpy(&blas->name, &found, sizeof found);
    CUDA_BLAS_FUNCTIONS(FIND)
#undef FIND
    return NULL;
}

kvc_status cuda_blas_open(cuda_blas *blas, kvc_error *err)
{
    *blas = (cuda_blas){.library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)};
    if (!blas->library)
        blas->library = dlopen(CUDA_LIBRARY_FOLDER "/" LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!blas->library) {
        const char *why = dlerror();
        return kvc_fail(err, KVC_INVALID, "cuda: %s", why ? why : LIBRARY " cannot be opened");
    }
    const char *missing = find_functions(blas);
    if (!missing) return KVC_OK;
    cuda_blas_close(blas);
    return kvc_fail(err, KVC_UNSUPPORTED, "cuda: " LIBRARY " has no %s", missing);
}

void cuda_blas_close(cuda_blas *blas)
{
    if (blas->library) dlclose(blas->library);
    *blas = (cuda_blas){0};
}
