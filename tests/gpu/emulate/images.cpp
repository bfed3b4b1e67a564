/* images.cpp - attention images for kernels that run on the CPU, whichever runtime is beside it (cuda.cpp,
 * fake_runtime.cpp). An image is a shared object with the kernel as a function, made by emulate/nvcc.in; it finds in
 * the program what it needs. */
#include "emulate.h"

#include <dlfcn.h>
#include <stdio.h>
#include "template/attend_args.h"
#include "template/attend_info.h"

extern "C" {
cudaError_t cudaLibraryLoadFromFile(cudaLibrary_t *out, const char *path, enum cudaJitOption *, void **, unsigned,
                                    enum cudaLibraryOption *, void **, unsigned)
{
    char magic[4] = "";
    FILE *in = fopen(path, "rb");
    bool elf = in && fread(magic, 1, 4, in) == 4 && memcmp(magic, "\177ELF", 4) == 0; /* dlopen() goes by names */
    if (in) fclose(in);
    *out = elf ? (cudaLibrary_t)dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    return emulate_done(*out ? cudaSuccess : in ? cudaErrorInvalidKernelImage : cudaErrorFileNotFound);
}

cudaError_t cudaLibraryUnload(cudaLibrary_t library)
{
    dlclose(library);
    return cudaSuccess;
}

cudaError_t cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t library, const char *name)
{
    *out = (cudaKernel_t)dlsym(library, name);
    return emulate_done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t cudaLibraryGetGlobal(void **out, size_t *bytes, cudaLibrary_t library, const char *name)
{
    *out = dlsym(library, name);
    *bytes = sizeof(attend_info); /* no image has another global */
    return emulate_done(*out ? cudaSuccess : cudaErrorSymbolNotFound);
}

cudaError_t cudaFuncSetAttribute(const void *, enum cudaFuncAttribute, int)
{
    return cudaSuccess;
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *, const void *)
{
    return cudaSuccess;
}

/* Of an attention image; other kernels are started by KVC_LAUNCH. */
cudaError_t cudaLaunchKernel(const void *kernel, dim3 grid, dim3 block, void **arguments, size_t shared_bytes,
                             cudaStream_t stream)
{
    typedef void image_kernel(attend_layer, attend_batch, attend_work);
    image_kernel *run = (image_kernel *)kernel;
    attend_layer l = *(attend_layer *)arguments[0];
    attend_batch b = *(attend_batch *)arguments[1];
    attend_work w = *(attend_work *)arguments[2];
    emulate_start(stream, grid, block, shared_bytes, run, l, b, w);
    return cudaSuccess;
}
}
