/* gpu_timing.cuh - what the benchmarks of kernels share: random bits, times of launches in a CUDA graph, and the
 * memory's streaming read, beside which every figure is put. */
#ifndef TESTS_BENCH_GPU_TIMING_CUH
#define TESTS_BENCH_GPU_TIMING_CUH
#include <stdint.h>
#include <algorithm>
#include <vector>
#include "../gpu/device_memory.h"

#define REPEATS 25
#define ROUNDS 20 /* launches of a replay, so that the start of a graph does not count */

__device__ static uint32_t hashed(uint64_t x)
{
    x ^= x >> 31, x *= 0x9e3779b97f4a7c15ull, x ^= x >> 29, x *= 0xbf58476d1ce4e5b9ull;
    return (uint32_t)(x >> 32);
}

static __global__ void read_all(const uint4 *x, size_t n, uint32_t *out)
{
    uint32_t sum = 0;
    for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        uint4 v = __ldcs(x + i);
        sum ^= v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 12345) *out = sum;
}

static double median(std::vector<float> times)
{
    std::sort(times.begin(), times.end());
    return times[times.size() / 2] * 1e-3;
}

/* Seconds of one of the ROUNDS launches that `launch` makes. */
template <typename F> static double time_graph(F launch)
{
    cudaStream_t stream;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    cudaEvent_t begin, end;
    std::vector<float> times;
    device_check(cudaStreamCreate(&stream), "stream");
    device_check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal), "capture");
    for (int i = 0; i < ROUNDS; i++) launch(stream, i);
    device_check(cudaStreamEndCapture(stream, &graph), "capture");
    device_check(cudaGraphInstantiate(&exec, graph, 0), "graph");
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    for (int i = 0; i < REPEATS + 3; i++) {
        float ms;
        cudaEventRecord(begin, stream);
        device_check(cudaGraphLaunch(exec, stream), "replay");
        cudaEventRecord(end, stream);
        device_check(cudaEventSynchronize(end), "replay");
        cudaEventElapsedTime(&ms, begin, end);
        if (i >= 3) times.push_back(ms / ROUNDS);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    cudaStreamDestroy(stream);
    return median(times);
}

/* Bytes a second. */
static double measure_ceiling(int n_multiprocessors)
{
    device_arena a;
    size_t bytes = (size_t)1 << 30;
    uint4 *x = a.make<uint4>(bytes / 16);
    uint32_t *out = a.make<uint32_t>(1);
    double seconds =
        time_graph([&](cudaStream_t s, int) { read_all<<<n_multiprocessors * 16, 256, 0, s>>>(x, bytes / 16, out); });
    printf("streaming read of 1 GiB: %.0f GB/s\n", (double)bytes / seconds * 1e-9);
    return (double)bytes / seconds;
}

#endif
