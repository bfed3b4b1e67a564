/* cuda_absent.c - stands for the CUDA backend in a build without it. */
#include "cuda_open.h"

kvc_status backend_check_cuda(int ordinal, kvc_error *err)
{
    return kvc_fail(err, KVC_INVALID, "device cuda:%d: this build has no CUDA backend", ordinal);
}

kvc_status backend_open_cuda(backend **out, int ordinal, bool fast, int threads, kvc_error *err)
{
    (void)fast, (void)threads;
    *out = NULL;
    return backend_check_cuda(ordinal, err);
}
