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

kvc_status backend_open(backend **out, const char *device, int threads, kvc_error *err)
{
    bool fast;
    *out = NULL;
    if (strcmp(device, "cpu") == 0 || strcmp(device, "auto") == 0) return backend_open_cpu(out, threads, err);
    int ordinal = cuda_device(device, &fast);
    if (ordinal >= 0) return backend_open_cuda(out, ordinal, fast, threads, err);
    return kvc_fail(err, KVC_INVALID, "device '%.40s': expected auto, cpu, cuda[:N] or cuda[:N],fast", device);
}
