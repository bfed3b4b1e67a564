/* cuda_library.c - see cuda_library.h. */
#include "cuda_library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

kvc_status cuda_library_open(void **out, const char *name, kvc_error *err)
{
    char path[512];
    *out = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (*out) return KVC_OK;
    snprintf(path, sizeof path, "%s/%s", CUDA_LIBRARY_FOLDER, name);
    *out = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (*out) return KVC_OK;
    const char *why = dlerror();
    return kvc_fail(err, KVC_INVALID, "cuda: %s", why ? why : name);
}

kvc_status cuda_library_find(void *library, const char *name, const char *symbol, void *to, kvc_error *err)
{
    void *found = dlsym(library, symbol);
    if (!found) return kvc_fail(err, KVC_UNSUPPORTED, "cuda: %s has no %s", name, symbol);
    memcpy(to, &found, sizeof found);
    return KVC_OK;
}

void cuda_library_close(void *library)
{
    if (library) dlclose(library);
}
