/* bench_fit.c - what it takes to fit the tables of a space's vq candidates to one side of a layer, and how good they
 * are.
 *
 *     bench_fit [ROWS [HEADS [THREADS]]]      default 20000 3 1
 *
 * Synthetic latents: heads of 64 channels, variances a geometric series, another in each of three heads, values
 * normal and Laplacian, weights lognormal. The candidates are those of the keys in two spaces, without "+klt", which
 * the latents are past. Prints for each candidate the seconds of fit_codec() and those of its threads together, the
 * best of three, and the weighted error of fresh rows relative to their energy; for each space the sums of the
 * seconds and the geometric mean of the errors. */
#include "fit.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { DIM = 64, PAGE = 64, FRESH = 2048, REPEATS = 3 };

/* The keys of configs/spaces/mixes.yaml and, shared out among heads, of fitted.yaml. */
static const char *const mixes[] = {
    "vq[2*16]x8",          "vq[4*16]x8",     "vq[4*8,2*16]x8", "vq8x8",           "vq[4*4,6*8]x8",
    "vq[8*4,4*8]x8",       "vq[12*4,2*8]x8", "vq4x8",          "vq[8*2,12*4]x8",  "vq[16*2,8*4]x8",
    "vq[4*1,10*2,10*4]x8", "vq[24*2,4*4]x8", "vq2x8",          "vq[16*1,24*2]x8", NULL};
static const char *const shared[] = {"vq[2]x8",  "vq[3]x8",  "vq[4]x8",  "vq[5]x8",  "vq[6]x8",  "vq[7]x8",
                                     "vq[8]x8",  "vq[10]x8", "vq[12]x8", "vq[14]x8", "vq[16]x8", "vq[20]x8",
                                     "vq[24]x8", "vq[28]x8", "vq[32]x8", "vq[40]x8", NULL};

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
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

static double laplacian(uint64_t *state)
{
    double u = uniform(state) - .5;
    return copysign(log(1.0 - 2.0 * fabs(u)) * .7071067811865476, u);
}

static void must(kvc_status status, const kvc_error *err)
{
    if (status == KVC_OK) return;
    fprintf(stderr, "bench_fit: %s\n", err->message);
    exit(1);
}

static void *zeros(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    if (!memory) exit(1);
    return memory;
}

/* Variances fall by 2^-8, 2^-12, 2^-16 over the channels of heads 0, 1, 2, 3 as 0, ...; weights spread by e^1.5. */
static void make_side(fit_data *data, float *rows, float *weights, uint64_t seed)
{
    double sum = 0.0;
    size_t n = data->n_kv_heads * data->n_rows;
    for (size_t i = 0; i < n; i++) {
        size_t head = i / data->n_rows;
        double fall = (8.0 + 4.0 * (double)(head % 3)) / DIM;
        weights[i] = (float)exp(1.5 * normal(&seed));
        sum += (double)weights[i];
        for (uint32_t c = 0; c < DIM; c++)
            rows[i * DIM + c] = (float)(exp2(-.5 * fall * c) * (c % 2 ? laplacian(&seed) : normal(&seed)));
    }
    for (size_t i = 0; i < n; i++) weights[i] = (float)fmin((double)weights[i] * (double)n / sum, 200.0);
}

static fit_data side_new(uint32_t heads, size_t n_rows, uint64_t seed)
{
    float *rows = zeros(heads * n_rows * DIM, sizeof *rows), *weights = zeros(heads * n_rows, sizeof *weights);
    double *none = zeros((size_t)heads * DIM * DIM, sizeof *none); /* the statistics that tables do not use */
    fit_data data = {.values = true,
                     .n_kv_heads = heads,
                     .head_dim = DIM,
                     .n_rows = n_rows,
                     .rows = rows,
                     .weights = weights,
                     .mean = none,
                     .cov = none,
                     .metric = none,
                     .absmax = none};
    make_side(&data, rows, weights, seed);
    return data;
}

static void side_free(fit_data *data)
{
    free((void *)data->rows);
    free((void *)data->weights);
    free((void *)data->mean);
}

static double relative_error(const kvc_coder *coder, const fit_data *data)
{
    float decoded[PAGE * DIM], *work = zeros(kvc_coder_work(coder), sizeof *work);
    unsigned char *block = aligned_alloc(16, coder->block_bytes);
    double error = 0.0, energy = 0.0;
    if (!block) exit(1);
    for (size_t i = 0; i < data->n_kv_heads * data->n_rows; i += PAGE) {
        uint32_t head = (uint32_t)(i / data->n_rows);
        const float *x = data->rows + i * DIM;
        kvc_coder_encode(coder, head, x, DIM, block, work);
        kvc_coder_decode(coder, head, block, decoded, DIM, work);
        for (size_t k = 0; k < PAGE * DIM; k++) {
            double w = (double)data->weights[i + k / DIM], off = (double)x[k] - (double)decoded[k];
            error += w * off * off;
            energy += w * (double)x[k] * (double)x[k];
        }
    }
    free(work);
    free(block);
    return error / energy;
}

typedef struct seconds {
    double wall, cpu;
} seconds;

/* The least of a few. */
static seconds seconds_of(fit *f, const kvc_codec *codec, void **params)
{
    seconds least = {1e30, 1e30};
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        size_t n;
        kvc_error err;
        double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        if (repeat) free(*params);
        must(fit_codec(f, codec, PAGE, params, &n, &err), &err);
        least.wall = fmin(least.wall, now(CLOCK_MONOTONIC) - wall);
        least.cpu = fmin(least.cpu, now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    }
    return least;
}

static void measure(fit *f, const char *name, const char *const *specs, const fit_data *fresh)
{
    seconds sum = {0.0, 0.0};
    double logs = 0.0;
    size_t n = 0;
    for (; specs[n]; n++) {
        kvc_codec codec;
        kvc_coder coder;
        kvc_error err;
        void *params;
        must(kvc_codec_parse(&codec, specs[n], &err), &err);
        seconds took = seconds_of(f, &codec, &params);
        must(kvc_coder_init(&coder, &codec, params, fresh->n_kv_heads, DIM, PAGE, &err), &err);
        double error = relative_error(&coder, fresh);
        printf("%-22s %7.3f s  %7.3f s  %.6f\n", specs[n], took.wall, took.cpu, error);
        sum.wall += took.wall;
        sum.cpu += took.cpu;
        logs += log(error);
        free(params);
    }
    printf("%-22s %7.3f s  %7.3f s  %.6f\n", name, sum.wall, sum.cpu, exp(logs / (double)n));
}

int main(int argc, char **argv)
{
    size_t n_rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 20000;
    uint32_t heads = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 3;
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    fit_options options = {.seed = 0, .table_rows = 65536, .restarts = 1, .iterations = 10, .ridge = 1e-2};
    fit_data seen = side_new(heads, n_rows, 1), fresh = side_new(heads, FRESH, 2);
    kvc_error err;
    fit *f;
    must(backend_open_cpu(&options.b, threads, &err), &err);
    must(fit_new(&f, &seen, &options, &err), &err);
    printf("%zu rows of %u heads, %d threads\n", n_rows, heads, threads);
    measure(f, "mixes", mixes, &fresh);
    measure(f, "shared", shared, &fresh);
    fit_free(f);
    side_free(&seen);
    side_free(&fresh);
    return 0;
}
