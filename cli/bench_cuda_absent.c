/* bench_cuda_absent.c - stands for bench_cuda.c in a build without CUDA. */
#include "backend.h"
#include "bench.h"

static kvc_status refuse(void **state, const bench_place *place, kvc_error *err)
{
    *state = NULL;
    return backend_check_cuda(place->ordinal, err);
}

static void close_nothing(void *state)
{
    (void)state;
}

const bench_device bench_cuda = {.name = "cuda", .open = refuse, .close = close_nothing};
