/* bench_sensitivity.c - one call of sensitivity beside what its products take at the speed of sgemm.
 *
 *     bench_sensitivity [TOKENS [HEADS [KV_HEADS [HEAD_DIM [THREADS]]]]]      default 2048 9 3 64 all
 *
 * The floor: 8 d flops for each of T^2 / 2 scores per query head (scores twice, values, cross term), at the speed of
 * cblas_sgemm on 1024 x 1024 x 1024, every thread a product of its own. Prints the best and the median of REPEATS
 * calls, the same with the anchor score, attention alone and the moments of keys and queries. Data are random. */
#include "backend.h"

#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define REPEATS 7
#define SIDE 1024

static kvc_error error;

static void must(kvc_status status)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "bench_sensitivity: %s\n", error.message);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *random_floats(size_t n, uint32_t seed, float spread)
{
    float *x = malloc(n * sizeof *x);
    if (!x) exit(1);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = spread * (float)(int32_t)seed / 2147483648.0f;
    }
    return x;
}

static double *zeros(size_t n)
{
    double *x = calloc(n, sizeof *x);
    if (!x) exit(1);
    return x;
}

static int by_size(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* GFLOP/s of all threads together */
static double sgemm_speed(void)
{
    size_t n = (size_t)SIDE * SIDE;
    int threads = omp_get_max_threads();
    float *x = random_floats(n, 1, 1), *y = random_floats(n, 2, 1), *out = random_floats(n * (size_t)threads, 3, 1);
    double best = INFINITY;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        double start = now();
#pragma omp parallel
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, SIDE, SIDE, SIDE, 1, x, SIDE, y, SIDE, 0,
                    out + n * (size_t)omp_get_thread_num(), SIDE);
        best = fmin(best, now() - start);
    }
    free(x);
    free(y);
    free(out);
    return 2e-9 * (double)n * SIDE * threads / best;
}

typedef struct bench {
    backend *b;
    sensitivity_args s;
    attention_args attention;
    double *weight, *first, *second;
} bench;

static void run_sensitivity(bench *x)
{
    must(x->b->sensitivity(x->b, &x->s, &error));
}
static void run_attention(bench *x)
{
    must(x->b->attention(x->b, &x->attention, &error));
}

static void run_moments(bench *x)
{
    const sensitivity_args *s = &x->s;
    must(x->b->moments(x->b, s->n_tokens, s->n_kv_heads, s->head_dim, s->k, s->key_weight, s->n_tokens, x->weight,
                       x->first, x->second, &error));
    must(x->b->moments(x->b, s->n_tokens, s->n_heads, s->head_dim, s->q, s->query_weight, s->n_tokens, x->weight,
                       x->first, x->second, &error));
}

static void measure(bench *x, const char *what, void (*run)(bench *), double floor)
{
    double times[REPEATS];
    run(x);
    for (int i = 0; i < REPEATS; i++) {
        double start = now();
        run(x);
        times[i] = now() - start;
    }
    qsort(times, REPEATS, sizeof *times, by_size);
    printf("%-24s best %7.1f ms  median %7.1f ms", what, 1e3 * times[0], 1e3 * times[REPEATS / 2]);
    if (floor > 0) printf("  %.3f of the sgemm floor", floor / times[0]);
    putchar('\n');
}

int main(int argc, char **argv)
{
    size_t shape[5] = {2048, 9, 3, 64, 0};
    for (int i = 1; i < argc && i < 6; i++) shape[i - 1] = strtoul(argv[i], NULL, 10);
    size_t T = shape[0], heads = shape[1], kv = shape[2], d = shape[3];
    if (!T || !kv || !heads || heads % kv || !d || d > KVC_MAX_HEAD_DIM)
        return fprintf(stderr, "bench_sensitivity [TOKENS [HEADS [KV_HEADS [HEAD_DIM [THREADS]]]]]\n"), 2;
    float *q = random_floats(T * heads * d, 1, 2), *k = random_floats(T * kv * d, 2, 2);
    float *v = random_floats(T * kv * d, 3, 1), *out = random_floats(T * heads * d, 4, 1);
    float *metric = random_floats(heads * d * d, 5, 0.01f);
    for (size_t i = 0; i < heads * d; i++) metric[i * d + i % d] += 1;
    double *anchors = zeros(kv * T);
    bench x = {.s = {(uint32_t)T,
                     (uint32_t)heads,
                     (uint32_t)kv,
                     (uint32_t)d,
                     1 / sqrtf((float)d),
                     {4, 64, 64},
                     q,
                     k,
                     v,
                     metric,
                     zeros(kv * T),
                     zeros(kv * T),
                     zeros(heads * T),
                     NULL},
               .attention = {(uint32_t)T,
                             (uint32_t)heads,
                             (uint32_t)kv,
                             (uint32_t)d,
                             1 / sqrtf((float)d),
                             q,
                             k,
                             v,
                             NULL,
                             NULL,
                             {4, 64, 64},
                             out,
                             0},
               .weight = zeros(heads),
               .first = zeros(heads * d),
               .second = zeros(heads * d * d)};
    must(backend_open_cpu(&x.b, (int)shape[4], &error));
    double speed = sgemm_speed(), floor = 4e-9 * (double)heads * (double)T * (double)T * (double)d / speed;
    printf("%zu tokens, %zu query heads, %zu KV heads, head dimension %zu, %d threads: sgemm %.1f GFLOP/s, floor "
           "%.1f ms\n",
           T, heads, kv, d, omp_get_max_threads(), speed, 1e3 * floor);
    measure(&x, "sensitivity", run_sensitivity, floor);
    x.s.anchor_score = anchors;
    measure(&x, "with the anchor score", run_sensitivity, 0);
    measure(&x, "attention", run_attention, floor / 2);
    measure(&x, "moments of k and q", run_moments, 0);
    x.b->close(x.b);
    free(q), free(k), free(v), free(out), free(metric), free(anchors);
    free(x.s.key_weight), free(x.s.value_weight), free(x.s.query_weight);
    free(x.weight), free(x.first), free(x.second);
    return 0;
}
