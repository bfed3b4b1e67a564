/* kmeans_bytes.c - a table whose values are integers of a signed byte times one power of two, the step.
 *
 * Rounding moves a value by up to half a step, a twelfth of the step's square on average, and the points' distortion
 * grows by that. The least step that reaches the greatest value is tried, and finer ones, which cut off what they do
 * not reach; the points decide (docs/decisions/0018). Cost: an assignment of all points for each. */
#include <math.h>
#include <stdlib.h>
#include "kmeans_parts.h"

#define MOST_MULTIPLE 127.0
#define LEAST_POWER -24 /* fp16 has all multiples of 2^-24 .. 2^9 up to the 127th */
#define MOST_POWER 9
#define N_FINER 2

/* The exponent of the least step that reaches all values, if one does. */
static int reaching_power(const float *values, size_t n)
{
    double most = 0.0;
    int power = LEAST_POWER;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)values[i]));
    while (power < MOST_POWER && ldexp(MOST_MULTIPLE, power) < most) power++;
    return power;
}

static void round_to(int power, const float *values, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++) {
        double multiple = rint(ldexp((double)values[i], -power));
        out[i] = (float)ldexp(fmin(fmax(multiple, -MOST_MULTIPLE), MOST_MULTIPLE), power);
    }
}

void kmeans_round(float *values, size_t n)
{
    round_to(reaching_power(values, n), values, n, values);
}

/* c and rounded are scratch. */
static kvc_status try_steps(backend *b, const kmeans_points *points, packed_centroids *c, const float *values,
                            float *rounded, size_t n, int *best, double *least, kvc_error *err)
{
    int first = reaching_power(values, n);
    *least = INFINITY;
    for (int power = first; power >= first - N_FINER && power >= LEAST_POWER; power--) {
        lloyd_job job = {.points = &points->p, .energy = points->energy, .centroids = c};
        round_to(power, values, n, rounded);
        kmeans_pack(points, rounded, c->k, (uint32_t)(n / c->k), c);
        KVC_TRY(b->lloyd(b, 1, &job, err));
        if (!(job.distortion < *least)) continue;
        *least = job.distortion;
        *best = power;
    }
    return KVC_OK;
}

kvc_status kmeans_bytes(backend *b, const kmeans_points *points, uint32_t k, uint32_t dims, float *values,
                        double *distortion, kvc_error *err)
{
    size_t n = (size_t)k * dims;
    packed_centroids c = {0};
    float *rounded = malloc(n * sizeof *rounded);
    int power = 0;
    kvc_status status =
        rounded ? packed_centroids_new(&c, k, dims, err) : kvc_fail(err, KVC_NO_MEMORY, "out of memory for k-means");
    if (status == KVC_OK) status = try_steps(b, points, &c, values, rounded, n, &power, distortion, err);
    if (status == KVC_OK) round_to(power, values, n, values);
    packed_centroids_free(&c);
    free(rounded);
    return status;
}
