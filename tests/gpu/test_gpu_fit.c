/* test_gpu_fit.c - the CUDA backend's k-means iterations and eigendecompositions against the CPU backend's. Both
 * start from the same centroids and count the same way, so that tables agree to rounding. */
#include "gpu_check.h"
#include "nearest.h"

typedef struct table {
    size_t n;
    uint32_t dims, k, iterations;
    int far; /* centroids that no point is near to */
} table;

static const table tables[] = {{300, 8, 16, 10, 0}, {5000, 2, 256, 10, 0}, {1500, 4, 40, 3, 7}, {700, 16, 256, 5, 0},
                               {900, 3, 17, 0, 0},  {2000, 1, 300, 4, 1},  {65, 2, 64, 10, 30}, {1024, 8, 1, 2, 0}};
enum { N_TABLES = sizeof tables / sizeof *tables };

typedef struct run {
    packed_points points[N_TABLES];
    packed_centroids start[N_TABLES], result[N_TABLES];
    lloyd_job jobs[N_TABLES];
} run;

/* Value i of point or centroid `at`, packed. */
static float *value_of(float *x, uint32_t dims, size_t at, uint32_t i)
{
    return x + packed_at(dims, at) + i * NEAREST_GROUP;
}

static void run_new(run *r)
{
    for (uint32_t t = 0; t < N_TABLES; t++) {
        const table *a = &tables[t];
        uint32_t seed = t + 1;
        packed_points *p = &r->points[t];
        packed_centroids *c = &r->start[t];
        must(packed_points_new(p, a->n, a->dims, &error), "points");
        must(packed_centroids_new(c, a->k, a->dims, &error), "centroids");
        must(packed_centroids_new(&r->result[t], a->k, a->dims, &error), "centroids");
        r->jobs[t] = (lloyd_job){.points = p, .iterations = a->iterations, .centroids = &r->result[t]};
        for (size_t i = 0; i < a->n; i++) {
            p->w[i] = .5f + .4f * noise(&seed);
            for (uint32_t d = 0; d < a->dims; d++) {
                float x = *value_of(p->x, p->dims, i, d) = noise(&seed) * noise(&seed);
                r->jobs[t].energy += (double)p->w[i] * x * x;
            }
        }
        for (uint32_t j = 0; j < a->k; j++)
            for (uint32_t d = 0; d < a->dims; d++)
                *value_of(c->c, c->dims, j, d) = (int)j < a->far ? 50.0f : *value_of(p->x, p->dims, j * 7 % a->n, d);
        packed_centroids_ready(c);
    }
}

static size_t centroid_values(const packed_centroids *c)
{
    return (c->k + NEAREST_GROUP - 1) / NEAREST_GROUP * NEAREST_GROUP * c->dims;
}

/* Results in c [N_TABLES], owned. */
static void solve(run *r, backend *b, float *c[N_TABLES], double distortion[N_TABLES])
{
    for (uint32_t t = 0; t < N_TABLES; t++) {
        memcpy(r->result[t].c, r->start[t].c, centroid_values(&r->start[t]) * sizeof(float));
        packed_centroids_ready(&r->result[t]);
    }
    must(b->lloyd(b, N_TABLES, r->jobs, &error), "lloyd");
    for (uint32_t t = 0; t < N_TABLES; t++) {
        size_t n = centroid_values(&r->result[t]);
        c[t] = memcpy(memory(n * sizeof(float)), r->result[t].c, n * sizeof(float));
        distortion[t] = r->jobs[t].distortion;
    }
}

static void lloyd__agrees(void)
{
    run r = {0};
    float *want[N_TABLES], *got[N_TABLES], *again[N_TABLES];
    double distortion[3][N_TABLES];
    run_new(&r);
    solve(&r, cpu, want, distortion[0]);
    solve(&r, gpu, got, distortion[1]);
    solve(&r, gpu, again, distortion[2]);
    for (uint32_t t = 0; t < N_TABLES; t++) {
        const table *a = &tables[t];
        char text[96];
        snprintf(text, sizeof text, "%zu points, %u x %u, %u rounds", a->n, a->k, a->dims, a->iterations);
        check_doubles("k-means distortion", text, 1, &distortion[1][t], &distortion[0][t], 1e-6, 0);
        /* of many points one may be as near to two */
        check_floats("k-means centroids", text, centroid_values(&r.result[t]), got[t], want[t],
                     a->n < 5000 ? 1e-6 : 1e-3);
        report(memcmp(got[t], again[t], centroid_values(&r.result[t]) * sizeof(float)) == 0, "k-means twice", text,
               0);
        free(want[t]), free(got[t]), free(again[t]);
        packed_points_free(&r.points[t]);
        packed_centroids_free(&r.start[t]), packed_centroids_free(&r.result[t]);
    }
}

/* B B' of random B, so that values are apart. */
static void eigen__agrees(uint32_t n, size_t d)
{
    size_t square = d * d;
    double *a = memory(n * square * 8), *values[2], *vectors[2];
    uint32_t seed = 3;
    for (uint32_t m = 0; m < n; m++) {
        float *b = random_floats(square, seed + m, 1, 0);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++) {
                double sum = 0;
                for (size_t k = 0; k < d; k++) sum += (double)b[i * d + k] * b[j * d + k];
                a[m * square + i * d + j] = sum;
            }
        free(b);
    }
    for (int i = 0; i < 2; i++) {
        backend *own = i ? gpu : cpu;
        values[i] = memory(n * d * 8), vectors[i] = memory(n * square * 8);
        must(own->eigen(own, n, d, a, values[i], vectors[i], &error), "eigen");
    }
    char text[64];
    snprintf(text, sizeof text, "%u of %zu x %zu", n, d, d);
    check_doubles("eigenvalues", text, n * d, values[1], values[0], 1e-9, 1e-6);
    check_doubles("eigenvectors", text, n * square, vectors[1], vectors[0], 1e-5, 1);
    for (int i = 0; i < 2; i++) free(values[i]), free(vectors[i]);
    free(a);
}

int main(void)
{
    open_backends("cuda");
    lloyd__agrees();
    eigen__agrees(1, 8);
    eigen__agrees(3, 64);
    eigen__agrees(8, 128);
    eigen__agrees(1, 200);
    eigen__agrees(20, 128);
    eigen__agrees(2, 320);
    return close_backends();
}
