/* backend_open.c - a backend by the name that a user gives it. */
#include "backend.h"
#include "cuda_open.h"

#include <stdlib.h>
#include <string.h>

/* "cuda", "cuda:N", and either with ",fast" behind; -1: none of them */
static int cuda_device(const char *device, bool *fast)
{
    if (strncmp(device, "cuda", 4) != 0) return -1;
    const char *at = device + 4;
    long n = 0;
    if (*at == ':') {
        if (at[1] < '0' || at[1] > '9') return -1;
        char *end;
        n = strtol(at + 1, &end, 10);
        at = end;
    }
    *fast = strcmp(at, ",fast") == 0;
    return (*at && !*fast) || n > 1023 ? -1 : (int)n;
}

kvc_status backend_parse_device(backend_device *out, const char *device, kvc_error *err)
{
    *out = (backend_device){.cuda = -1};
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) return KVC_OK;
    out->cuda = cuda_device(device, &out->fast);
    if (out->cuda >= 0) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "device '%.40s': expected auto, cpu, cuda[:N] or cuda[:N],fast", device);
}

kvc_status backend_open(backend **out, const char *device, int threads, kvc_error *err)
{
    backend_device d;
    *out = NULL;
    KVC_TRY(backend_parse_device(&d, device, err));
    if (d.cuda < 0) return backend_open_cpu(out, threads, err);
    return backend_open_cuda(out, d.cuda, d.fast, threads, err);
}
