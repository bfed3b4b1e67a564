/* bench_kmeans.c - k-means beside its floor.
 *
 *     bench_kmeans [POINTS [K [THREADS]]]      default 131072 256 1
 *
 * The floor of an iteration: points k dims multiply-adds, at the speed of a loop of independent fp32 multiply-adds
 * that is measured in the same run (per thread). Points are normal, weights lognormal. For dims 1, 2, 4, 8: time of
 * the assignment alone, of a Lloyd iteration, of the start, each beside the floor, and the distortion reached against
 * the start's; dims 1 is exact and has no iterations, so it prints its whole time. */
#include "kmeans.h"
#include "nearest.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REPEATS 7

static backend *cpu;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Multiply-adds per second of one thread: twelve chains of vectors of 16. */
#if defined(__x86_64__) && defined(__GLIBC__)
__attribute__((target_clones("default", "avx2,fma", "avx512f"), optimize("fp-contract=fast")))
#endif
static double
multiply_adds(void)
{
    typedef float v16 __attribute__((vector_size(64)));
    enum { CHAINS = 12, ROUNDS = 4000000 };
    v16 sum[CHAINS], factor = (v16){0} + 0.999f, term = (v16){0} + 1e-3f;
    double best = 0.0;
    for (int i = 0; i < CHAINS; i++) sum[i] = (v16){0} + (float)i;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now();
        for (int round = 0; round < ROUNDS; round++)
#pragma GCC unroll 12
            for (int i = 0; i < CHAINS; i++) sum[i] = sum[i] * factor + term;
        best = fmax(best, 16.0 * CHAINS * ROUNDS / (now() - start));
    }
    float total = 0.0f;
    for (int i = 0; i < CHAINS; i++) total += sum[i][0];
    return total < 0.0f ? 0.0 : best; /* the sums are used */
}

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*state >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2.0 * log(uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

static void must(kvc_status status, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "bench_kmeans: %s\n", err->message);
    exit(1);
}

/* Seconds of the assignment of all points on this thread. */
static double assignment(size_t n, uint32_t k, uint32_t dims, const float *x)
{
    packed_points p;
    packed_centroids c;
    kvc_error err;
    double best = 1e30;
    must(packed_points_new(&p, n, dims, &err), &err);
    must(packed_centroids_new(&c, k, dims, &err), &err);
    uint32_t *label = malloc(p.groups * NEAREST_GROUP * sizeof *label);
    for (size_t i = 0; i < n * dims; i++) p.x[packed_at(dims, i / dims) + i % dims * NEAREST_GROUP] = x[i];
    for (size_t i = 0; i < (size_t)k * dims; i++) c.c[packed_at(dims, i / dims) + i % dims * NEAREST_GROUP] = x[i];
    packed_centroids_ready(&c);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now();
        nearest(&p, &c, 0, p.groups, label);
        best = fmin(best, now() - start);
    }
    free(label);
    packed_points_free(&p);
    packed_centroids_free(&c);
    return best;
}

static double fit(kmeans_options o, size_t n, const float *x, const float *w, float *table, double *distortion)
{
    kvc_error err;
    double best = 1e30;
    for (int repeat = 0; repeat < 3; repeat++) {
        double start = now();
        must(kmeans(cpu, &o, n, x, w, table, distortion, &err), &err);
        best = fmin(best, now() - start);
    }
    return best;
}

static void measure(size_t n, uint32_t k, uint32_t dims, double speed, int threads)
{
    float *x = malloc(n * dims * sizeof *x), *w = malloc(n * sizeof *w), *table = malloc(k * dims * sizeof *table);
    uint64_t state = 1;
    if (!x || !w || !table) exit(1);
    for (size_t i = 0; i < n * dims; i++) x[i] = (float)normal(&state);
    for (size_t i = 0; i < n; i++) w[i] = (float)exp(normal(&state));
    double floor_ms = 1e3 * (double)n * k * dims / speed, first, last, start_s, ten_s;
    kmeans_options o = {.k = k, .dims = dims, .iterations = 0, .restarts = 1, .seed = 1};
    start_s = fit(o, n, x, w, table, &first);
    o.iterations = 10;
    ten_s = fit(o, n, x, w, table, &last);
    if (dims == 1) {
        printf("dims 1: whole fit %.2f ms, distortion %.6f\n", 1e3 * ten_s, last);
    } else {
        double one = 1e3 * assignment(n, k, dims, x), iteration = 1e2 * (ten_s - start_s);
        printf("dims %u: floor %.2f ms; assignment, 1 thread %.2f ms (%.2f of it); iteration, %d threads %.2f ms "
               "(%.2f); "
               "start %.2f ms; distortion %.6f, start %.6f\n",
               dims, floor_ms, one, floor_ms / one, threads, iteration, floor_ms / threads / iteration, 1e3 * start_s,
               last, first);
    }
    free(x);
    free(w);
    free(table);
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 131072;
    uint32_t k = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 256;
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    kvc_error err;
    must(backend_open_cpu(&cpu, threads, &err), &err);
    double speed = multiply_adds();
    printf("%zu points, %u centroids, %d threads; multiply-adds: %.1f G/s a thread\n", n, k, threads, 1e-9 * speed);
    for (uint32_t dims = 1; dims <= 8; dims *= 2) measure(n, k, dims, speed, threads);
    return 0;
}
