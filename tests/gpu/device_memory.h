/* device_memory.h - memory of the GPU for tests, freed at the end; where kernels are emulated, memory of the machine.
 */
#ifndef TESTS_GPU_DEVICE_MEMORY_H
#define TESTS_GPU_DEVICE_MEMORY_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#ifdef KVC_EMULATE
static inline void device_check(int, const char *) {}
static inline void *device_alloc(size_t n)
{
    void *p = aligned_alloc(256, (n + 256) / 256 * 256);
    if (!p) exit(1);
    return p;
}
static inline void device_free(void *p)
{
    free(p);
}
static inline void device_copy(void *to, const void *from, size_t n)
{
    memcpy(to, from, n);
}
static inline void device_fill(void *to, int byte, size_t n)
{
    memset(to, byte, n);
}
static inline void device_sync(const char *) {}
#else
#include <cuda_runtime.h>
static inline void device_check(cudaError_t status, const char *what)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    exit(1);
}
static inline void *device_alloc(size_t n)
{
    void *p;
    device_check(cudaMalloc(&p, n + 16), "cudaMalloc");
    return p;
}
static inline void device_free(void *p)
{
    device_check(cudaFree(p), "cudaFree");
}
static inline void device_copy(void *to, const void *from, size_t n)
{
    device_check(cudaMemcpy(to, from, n, cudaMemcpyDefault), "cudaMemcpy");
}
static inline void device_fill(void *to, int byte, size_t n)
{
    device_check(cudaMemset(to, byte, n), "cudaMemset");
}
static inline void device_sync(const char *what)
{
    device_check(cudaGetLastError(), what);
    device_check(cudaDeviceSynchronize(), what);
}
#endif

struct device_arena {
    std::vector<void *> all;
    /* n values, poisoned: NaN as floats. */
    template <typename T> T *make(size_t n)
    {
        all.push_back(device_alloc(n * sizeof(T)));
        device_fill(all.back(), 0xff, n * sizeof(T));
        return (T *)all.back();
    }
    template <typename T> T *copy(const T *from, size_t n)
    {
        if (!from) return NULL;
        T *to = make<T>(n);
        device_copy(to, from, n * sizeof(T));
        return to;
    }
    ~device_arena()
    {
        for (void *p : all) device_free(p);
    }
};

#endif
