/* cuda_absent.c - stands for the CUDA backend in a build without it. */
#include "cuda_open.h"

kvc_status backend_open_cuda(backend **out, int ordinal, int threads, kvc_error *err)
{
    (void)threads;
    *out = NULL;
    return kvc_fail(err, KVC_INVALID, "device cuda:%d: this build has no CUDA backend", ordinal);
}

kvc_status backend_open_auto(backend **out, int threads, kvc_error *err)
{
    return backend_open_cpu(out, threads, err);
}
