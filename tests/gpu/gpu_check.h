/* gpu_check.h - what the tests of the CUDA backend share: both backends, memory on the device, comparisons.
 * Outputs are poisoned with NaN first; NaN where a number is expected never passes. */
#ifndef TESTS_GPU_GPU_CHECK_H
#define TESTS_GPU_GPU_CHECK_H
#include <cuda_runtime_api.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "backend.h"

/* Longer sequences are for a real device. */
#ifdef GPU_EMULATED
#define MOST_TOKENS 200
#else
#define MOST_TOKENS UINT32_MAX
#endif

static backend *cpu, *gpu;
static kvc_error error;
static int cases, failures;

static void must(kvc_status status, const char *what)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "%s: %s\n", what, error.message);
    exit(1);
}

/* Exits with 77 and the reason where there is no device; with a device the backend has to open. */
static void open_backends(const char *device)
{
    int n = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status != cudaSuccess || n == 0) {
        printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(status));
        exit(77);
    }
    must(backend_open(&cpu, "cpu", 0, &error), "cpu");
    must(backend_open(&gpu, device, 0, &error), device);
}

static int close_backends(void)
{
    gpu->close(gpu);
    cpu->close(cpu);
    printf("%d cases, %d failures\n", cases, failures);
    return failures || !cases;
}

static void *memory(size_t bytes)
{
    void *p = malloc(bytes + 1);
    if (!p) exit(1);
    return p;
}

static float noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)*state / 2147483648.0f;
}

/* Uniform in offset +- spread */
static inline float *random_floats(size_t n, uint32_t seed, float spread, float offset)
{
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = offset + spread * noise(&seed);
    return x;
}

static inline float *nans(size_t n)
{
    float *x = memory(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = NAN;
    return x;
}

/* A buffer of the GPU with x [n]. */
static inline float *on_gpu(const float *x, size_t n)
{
    void *dev;
    must(gpu->buffer_new(gpu, n * sizeof *x, &dev, &error), "buffer");
    must(gpu->upload(gpu, dev, x, n * sizeof *x, &error), "upload");
    return dev;
}

static inline float *poisoned_on_gpu(size_t n)
{
    float *x = nans(n), *dev = on_gpu(x, n);
    free(x);
    return dev;
}

static inline float *from_gpu(const float *dev, size_t n)
{
    float *x = nans(n);
    must(gpu->download(gpu, x, dev, n * sizeof *x, &error), "download");
    must(gpu->sync(gpu, &error), "sync");
    return x;
}

static inline void release(float *dev)
{
    gpu->buffer_free(gpu, dev);
}

static void report(int good, const char *what, const char *shape, double difference)
{
    cases++;
    failures += !good;
    if (!good) fprintf(stderr, "FAILED %s, %s: difference %g\n", what, shape, difference);
}

/* Relative difference in the Euclidean norm, and of every value 20 times that relative to the largest. */
static inline void check_floats(const char *what, const char *shape, size_t n, const float *got, const float *want,
                                double tolerance)
{
    double square = 0, norm = 0, worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = fabs((double)got[i] - want[i]);
        square += difference * difference;
        norm += (double)want[i] * want[i];
        worst = difference > worst || isnan(difference) ? difference : worst;
        largest = fmax(largest, fabs(want[i]));
    }
    report(sqrt(square) <= tolerance * sqrt(norm) && worst <= 20 * tolerance * largest, what, shape,
           norm > 0 ? sqrt(square / norm) : sqrt(square));
}

/* A buffer of the GPU; it is freed. */
static inline void check_gpu(const char *what, const char *shape, size_t n, float *dev, const float *want,
                             double tolerance)
{
    float *got = from_gpu(dev, n);
    check_floats(what, shape, n, got, want, tolerance);
    free(got);
    release(dev);
}

/* Every value for itself, but for what is below `least` of the largest. */
static inline void check_doubles(const char *what, const char *shape, size_t n, const double *got, const double *want,
                                 double tolerance, double least)
{
    double worst = 0, largest = 0;
    for (size_t i = 0; i < n; i++) largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < n; i++) {
        double scale = fabs(want[i]) + least * largest, difference = fabs(got[i] - want[i]);
        if (scale > 0) difference /= scale;
        worst = difference > worst || isnan(difference) ? difference : worst;
    }
    report(worst <= tolerance, what, shape, worst);
}

/* Of one sequence. */
typedef struct shape {
    uint32_t tokens, heads, kv_heads, d;
    kvc_token_policy policy;
} shape;

static inline const char *name_of(const shape *s)
{
    static char text[128];
    snprintf(text, sizeof text, "T %u heads %u/%u d %u policy %u %u %u", s->tokens, s->heads, s->kv_heads, s->d,
             s->policy.sinks, s->policy.window, s->policy.page);
    return text;
}

#endif
