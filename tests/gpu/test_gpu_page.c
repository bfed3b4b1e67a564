/* test_gpu_page.c - page_cases.h on the GPU. */
#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>
#include "page_cases.h"

#define N_PAGES 37

static void cuda_check(cudaError_t status, const char *what)
{
    if (status == cudaSuccess) return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(status));
    exit(1);
}

static void *make(size_t n)
{
    void *p;
    cuda_check(cudaMalloc(&p, n), "cudaMalloc");
    return p;
}

static void drop(void *p)
{
    cuda_check(cudaFree(p), "cudaFree");
}

static void put(void *to, const void *host, size_t n)
{
    cuda_check(cudaMemcpy(to, host, n, cudaMemcpyHostToDevice), "copy");
}

static void get(void *host, const void *from, size_t n)
{
    cuda_check(cudaMemcpy(host, from, n, cudaMemcpyDeviceToHost), "copy");
}

static void fill(void *to, int byte, size_t n)
{
    cuda_check(cudaMemset(to, byte, n), "fill");
}

int main(void)
{
    static const page_memory memory = {make, drop, put, get, fill};
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
        printf("skipped: no CUDA device\n");
        return 77;
    }
    int failed = page_cases_run(&memory, N_PAGES, 0, 1);
    failed += page_cases_run_all(&memory, N_PAGES);
    return failed ? 1 : 0;
}
