/* backend_open.c - a backend by the name that a user gives it. */
#include "backend.h"
#include "cuda_open.h"

#include <stdlib.h>
#include <string.h>

/* "cuda" or "cuda:N"; -1: neither */
static int cuda_device(const char *device)
{
    if (strcmp(device, "cuda") == 0) return 0;
    if (strncmp(device, "cuda:", 5) != 0 || device[5] < '0' || device[5] > '9') return -1;
    char *end;
    long n = strtol(device + 5, &end, 10);
    return *end || n > 1023 ? -1 : (int)n;
}

kvc_status backend_open(backend **out, const char *device, int threads, kvc_error *err)
{
    *out = NULL;
    if (strcmp(device, "cpu") == 0) return backend_open_cpu(out, threads, err);
    if (strcmp(device, "auto") == 0) return backend_open_auto(out, threads, err);
    int ordinal = cuda_device(device);
    if (ordinal >= 0) return backend_open_cuda(out, ordinal, threads, err);
    return kvc_fail(err, KVC_INVALID, "device '%.40s': expected auto, cpu, cuda or cuda:N", device);
}
