/* stream_read.cu - 16 bytes a thread and step, marked as not to be kept in caches; sixteen blocks a multiprocessor of
 * those that have the most of them. */
#include "op.h"

#include "launch.cuh"

static const unsigned BLOCKS = 16 * 132;

__global__ static void stream_read(const uint4 *x, size_t n, uint32_t *unused)
{
    uint32_t sum = 0;
    for (size_t i = loop_first(); i < n; i += loop_step()) {
        uint4 v = __ldcs(x + i);
        sum ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 12345) *unused = sum;
}

extern "C" cudaError_t op_stream_read(const void *bytes, size_t n_bytes, uint32_t *unused, cudaStream_t stream)
{
    if (n_bytes == 0) return cudaSuccess;
    size_t n = n_bytes / 16, blocks = blocks_of(n, THREADS);
    KVC_LAUNCH(stream_read, (unsigned)(blocks < BLOCKS ? blocks : BLOCKS), THREADS, 0, stream, (const uint4 *)bytes,
               n, unused);
    return KVC_LAUNCHED();
}
