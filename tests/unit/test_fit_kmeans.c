/* Weighted k-means: what it finds, what it leaves, degenerate points, and that threads change nothing. */
#include "check_main.h"
#include "fit_rig.h"
#include "kmeans.h"
#include "nearest.h"

#include <float.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { MANY = 20000, MOST_K = 256, MOST_DIMS = 16 };

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

static float *normals(size_t n, uint64_t seed)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = (float)normal(&seed);
    return x;
}

static float *weights_of(size_t n, uint64_t seed)
{
    float *w = malloc(n * sizeof *w);
    for (size_t i = 0; i < n; i++) w[i] = (float)fmin(exp(1.5 * normal(&seed)), 200.0);
    return w;
}

static float *ones(size_t n)
{
    float *w = malloc(n * sizeof *w);
    for (size_t i = 0; i < n; i++) w[i] = 1.0f;
    return w;
}

/* Distortion of a table by definition. */
static double distortion_of(size_t n, uint32_t dims, const float *x, const float *w, uint32_t k, const float *table)
{
    double sum = 0.0, weight = 0.0;
    for (size_t i = 0; i < n; i++) {
        double least = INFINITY;
        for (uint32_t j = 0; j < k; j++) {
            double square = 0.0;
            for (uint32_t d = 0; d < dims; d++)
                square += pow((double)x[i * dims + d] - (double)table[j * dims + d], 2);
            least = fmin(least, square);
        }
        sum += (double)w[i] * least;
        weight += (double)w[i];
    }
    return weight > 0.0 ? sum / weight : 0.0;
}

/* Runs it and holds it to what kmeans.h says of any input: finite, sorted, the distortion that of the table. */
static double run(kmeans_options o, size_t n, const float *x, const float *w, float *table)
{
    kvc_error err = {""};
    double distortion = -1.0;
    for (uint32_t i = 0; i < o.k * o.dims; i++) table[i] = NAN;
    ck_assert_msg(kmeans(rig_backend(), &o, n, x, w, table, &distortion, &err) == KVC_OK, "%s", err.message);
    for (uint32_t i = 0; i < o.k * o.dims; i++) ck_assert(isfinite(table[i]));
    for (uint32_t j = 1; j < o.k; j++) {
        uint32_t d = 0;
        while (d + 1 < o.dims && table[(j - 1) * o.dims + d] == table[j * o.dims + d]) d++;
        ck_assert(table[(j - 1) * o.dims + d] <= table[j * o.dims + d]);
    }
    double found = distortion_of(n, o.dims, x, w, o.k, table),
           unit = distortion_of(n, o.dims, x, w, 1, table) + 1e-300;
    ck_assert_msg(fabs(found - distortion) <= 1e-4 * found + 1e-9 * unit, "%g, stated %g", found, distortion);
    return distortion;
}

static kmeans_options options(uint32_t k, uint32_t dims)
{
    return (kmeans_options){.k = k, .dims = dims, .iterations = 30, .restarts = 2, .seed = 5};
}

START_TEST(kmeans__finds_clusters_that_are_there)
{
    enum { K = 12, N = 3000 };
    static const uint32_t each[] = {1, 2, 3, 8, 16};
    for (size_t c = 0; c < sizeof each / sizeof *each; c++) {
        uint32_t dims = each[c];
        uint64_t seed = 7 + dims;
        float *x = malloc(N * dims * sizeof *x), *w = weights_of(N, 3), table[K * MOST_DIMS];
        for (uint32_t i = 0; i < N; i++)
            for (uint32_t d = 0; d < dims; d++)
                x[i * dims + d] = 1000.0f + (float)((i % K) * (d + 1) % 37) * 10.0f + 0.01f * (float)normal(&seed);
        ck_assert(run(options(K, dims), N, x, w, table) < 2e-4 * dims);
        free(x);
        free(w);
    }
}
END_TEST

START_TEST(kmeans__reaches_the_figures_of_a_normal_distribution)
{
    /* Per dimension, of optimal quantisers: scalar at 1, 3 and 4 bits; two dimensions at 2 and 3 bits each. A table
     * that was fitted to the points themselves may be a little below. */
    static const struct {
        uint32_t dims, k;
        double mse;
    } figures[] = {{1, 2, .36338}, {1, 8, .034548}, {1, 16, .009501}, {2, 16, .1086}, {2, 64, .0297}};
    float *x = normals((size_t)2 * 131072, 11), *w = ones(131072), table[MOST_K];
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        double mse = run(options(figures[i].k, figures[i].dims), 131072, x, w, table) / figures[i].dims;
        ck_assert_msg(mse < 1.01 * figures[i].mse, "%u in %u dims: %g, not %g", figures[i].k, figures[i].dims, mse,
                      figures[i].mse);
    }
    free(x);
    free(w);
}
END_TEST

START_TEST(kmeans__weights_pay)
{
    for (uint32_t dims = 1; dims <= 8; dims *= 2) {
        float *x = normals((size_t)MANY * dims, 3), *w = weights_of(MANY, 4), *plain = ones(MANY);
        float table[64 * 8], other[64 * 8];
        double weighted = run(options(64, dims), MANY, x, w, table);
        run(options(64, dims), MANY, x, plain, other);
        ck_assert(weighted < .99 * distortion_of(MANY, dims, x, w, 64, other));
        free(x);
        free(w);
        free(plain);
    }
}
END_TEST

START_TEST(kmeans__points_of_weight_zero_count_for_nothing)
{
    float *x = normals(MANY * 2, 3), *w = weights_of(MANY, 4), table[128], alone[128];
    size_t n = 0;
    float *kept = malloc(MANY * 2 * sizeof *kept), *kept_w = malloc(MANY * sizeof *kept_w);
    for (size_t i = 0; i < MANY; i++) {
        if (i % 3 == 0) {
            w[i] = 0.0f;
            x[2 * i] = 1e30f;
            continue;
        }
        memcpy(kept + 2 * n, x + 2 * i, 2 * sizeof *x);
        kept_w[n++] = w[i];
    }
    run(options(64, 2), MANY, x, w, table);
    run(options(64, 2), n, kept, kept_w, alone);
    ck_assert_mem_eq(table, alone, sizeof table);
    free(x);
    free(w);
    free(kept);
    free(kept_w);
}
END_TEST

START_TEST(kmeans__is_never_above_its_start)
{
    for (uint32_t dims = 2; dims <= 8; dims *= 2)
        for (uint32_t seed = 0; seed < 4; seed++) {
            float *x = normals((size_t)4000 * dims, seed), *w = weights_of(4000, seed + 9), table[100 * 8];
            kmeans_options o = {.k = 100, .dims = dims, .iterations = 0, .restarts = 1, .seed = seed};
            double before = run(o, 4000, x, w, table), start = before;
            for (o.iterations = 1; o.iterations < 40; o.iterations *= 2) {
                double now = run(o, 4000, x, w, table);
                ck_assert_msg(now <= before, "%u iterations: %g after %g", o.iterations, now, before);
                before = now;
            }
            ck_assert(before < .95 * start);
            o.restarts = 4;
            ck_assert(run(o, 4000, x, w, table) <= before);
            free(x);
            free(w);
        }
}
END_TEST

/* The best of all ways to cut sorted values into k intervals. */
static double best_intervals(const double *x, const double *w, size_t n, uint32_t k)
{
    double least = INFINITY, sum = 0.0, weight = 0.0, cost = 0.0;
    for (size_t first = n; first-- > (k > 1 ? 1 : 0);) { /* the last interval is x[first .. n - 1] */
        sum += w[first] * x[first];
        weight += w[first];
        cost = 0.0;
        for (size_t i = first; i < n; i++) cost += w[i] * pow(x[i] - sum / weight, 2);
        if (k > 1) cost += best_intervals(x, w, first, k - 1);
        if (k > 1 || first == 0) least = fmin(least, cost);
    }
    return least;
}

START_TEST(kmeans__is_exact_on_a_line)
{
    for (uint64_t seed = 1; seed < 40; seed++) {
        enum { N = 14 };
        uint64_t state = seed;
        double x[N], w[N], weight = 0.0;
        float shuffled[N], shuffled_w[N], table[5];
        uint32_t k = 2 + (uint32_t)seed % 4;
        for (size_t i = 0; i < N; i++) {
            double value = (double)(float)normal(&state);
            size_t at = i;
            for (; at > 0 && x[at - 1] > value; at--) x[at] = x[at - 1];
            x[at] = value;
            w[i] = (double)(float)uniform(&state);
            weight += w[i];
        }
        for (size_t i = 0; i < N; i++) {
            shuffled[i] = (float)x[i * 5 % N];
            shuffled_w[i] = (float)w[i * 5 % N];
        }
        double found = run(options(k, 1), N, shuffled, shuffled_w, table), best = best_intervals(x, w, N, k) / weight;
        ck_assert_msg(fabs(found - best) <= 1e-6 * best, "%u of seed %lu: %g, best %g", k, (unsigned long)seed, found,
                      best);
    }
}
END_TEST

START_TEST(kmeans__fewer_distinct_points_than_centroids_are_kept_as_they_are)
{
    float x[3 * 300], w[300], table[8 * 3];
    for (uint32_t i = 0; i < 300; i++) {
        w[i] = 1.0f + (float)(i % 7);
        for (uint32_t d = 0; d < 3; d++) x[3 * i + d] = (float)(i % 5) * 0.1f + (float)d * 1e10f;
    }
    ck_assert(run(options(8, 3), 300, x, w, table) == 0.0);
    for (uint32_t i = 0; i < 8; i++) ck_assert_mem_eq(table + 3 * i, x + 3 * (i < 5 ? i : 4), 3 * sizeof *x);
    ck_assert(run(options(5, 3), 300, x, w, table) == 0.0);
    for (uint32_t i = 0; i < 5; i++) ck_assert_mem_eq(table + 3 * i, x + 3 * i, 3 * sizeof *x);
}
END_TEST

/* Nearly all points are one point, so that a start from a sample sees too few others. */
START_TEST(kmeans__centroids_without_points_move_to_where_they_save_most)
{
    float *x = calloc(MANY * 2, sizeof *x), *w = ones(MANY), table[64 * 2];
    for (size_t i = 0; i < 64; i++) x[2 * (i * 311 + 17)] = (float)(i + 1);
    kmeans_options o = options(64, 2);
    ck_assert(run(o, MANY, x, w, table) * MANY <= 0.51); /* 65 places: two neighbours share a centroid */
    o.k = 60;
    ck_assert(run(o, MANY, x, w, table) * MANY < 5.0);
    free(x);
    free(w);
}
END_TEST

START_TEST(kmeans__one_point_none_and_no_weight)
{
    float x[] = {3.25f, -7.5f, 1e-30f, -0.0f}, w[] = {2.0f}, zero[] = {0.0f, 0.0f}, table[4 * 4];
    for (uint32_t dims = 1; dims <= 4; dims++) {
        ck_assert(run(options(4, dims), 1, x, w, table) == 0.0);
        for (uint32_t j = 0; j < 4; j++)
            for (uint32_t d = 0; d < dims; d++) ck_assert(table[j * dims + d] == x[d]);
        ck_assert(run(options(4, dims), 0, x, w, table) == 0.0);
        for (uint32_t j = 0; j < 4 * dims; j++) ck_assert(table[j] == 0.0f);
        ck_assert(run(options(4, dims), 1, x, zero, table) == 0.0);
        for (uint32_t j = 0; j < 4 * dims; j++) ck_assert(table[j] == 0.0f);
    }
}
END_TEST

START_TEST(kmeans__magnitudes_do_not_matter)
{
    static const float factors[] = {1e-30f, 1e-10f, 1.0f, 1e20f, 1e37f};
    for (uint32_t dims = 1; dims <= 2; dims++) {
        double relative[5];
        for (size_t f = 0; f < 5; f++) {
            float *x = normals((size_t)2000 * dims, 1), *w = weights_of(2000, 2), table[32];
            for (size_t i = 0; i < 2000 * dims; i++) x[i] *= factors[f];
            for (size_t i = 0; i < 2000; i++) w[i] *= f % 2 ? 1e-35f : 1e30f;
            relative[f] = run(options(16, dims), 2000, x, w, table) / ((double)factors[f] * (double)factors[f]);
            ck_assert_msg(fabs(relative[f] - relative[0]) < 0.03 * relative[0], "%g: %g", (double)factors[f],
                          relative[f]);
            free(x);
            free(w);
        }
    }
}
END_TEST

START_TEST(kmeans__values_at_the_ends_of_fp32_stay_finite)
{
    float x[] = {FLT_MAX, -FLT_MAX, 1.0f, 0.0f, FLT_MAX, FLT_MIN, -1.0f, 2.0f}, w[8], table[6];
    for (int i = 0; i < 8; i++) w[i] = i % 2 ? FLT_MAX : FLT_MIN;
    for (uint32_t dims = 1; dims <= 2; dims++) {
        kmeans_options o = options(3, dims);
        double distortion;
        ck_assert(kmeans(rig_backend(), &o, 8 / dims, x, w, table, &distortion, NULL) == KVC_OK);
        for (uint32_t i = 0; i < 3 * dims; i++) ck_assert(isfinite(table[i]));
        ck_assert(isfinite(distortion) && distortion >= 0.0);
    }
}
END_TEST

START_TEST(kmeans__an_offset_costs_no_precision)
{
    float *x = normals(MANY * 2, 1), *w = ones(MANY), table[128];
    double plain = run(options(64, 2), MANY, x, w, table);
    for (size_t i = 0; i < MANY * 2; i++) x[i] += 4096.0f;
    kvc_error err;
    kmeans_options o = options(64, 2);
    double moved;
    ck_assert(kmeans(rig_backend(), &o, MANY, x, w, table, &moved, &err) == KVC_OK);
    ck_assert(fabs(moved - plain) < .02 * plain);
    free(x);
    free(w);
}
END_TEST

START_TEST(kmeans__threads_change_no_byte)
{
    static const uint32_t each[] = {1, 2, 4, 6, 8};
    int before = omp_get_max_threads();
    for (size_t c = 0; c < sizeof each / sizeof *each; c++) {
        uint32_t dims = each[c];
        float *x = normals((size_t)MANY * dims, 1), *w = weights_of(MANY, 2);
        float one[MOST_K * 8], two[MOST_K * 8], three[MOST_K * 8];
        omp_set_num_threads(1);
        double first = run(options(MOST_K, dims), MANY, x, w, one);
        omp_set_num_threads(2);
        double second = run(options(MOST_K, dims), MANY, x, w, two);
        omp_set_num_threads(3);
        run(options(MOST_K, dims), MANY, x, w, three);
        ck_assert(first == second);
        ck_assert_mem_eq(one, two, MOST_K * dims * sizeof *one);
        ck_assert_mem_eq(one, three, MOST_K * dims * sizeof *one);
        free(x);
        free(w);
    }
    omp_set_num_threads(before);
}
END_TEST

START_TEST(kmeans__the_seed_decides_the_start)
{
    float *x = normals(4000, 1), *w = ones(2000), one[64], other[64];
    kmeans_options o = options(32, 2);
    o.restarts = 1;
    run(o, 2000, x, w, one);
    o.seed++;
    run(o, 2000, x, w, other);
    ck_assert_mem_ne(one, other, sizeof one);
    free(x);
    free(w);
}
END_TEST

/* Without iterations a given start is the result; with some it goes on from there, as far as one run would. */
START_TEST(kmeans__goes_on_from_a_given_start)
{
    enum { N = 4000, K = 16, DIMS = 4 };
    float *x = normals(N * DIMS, 3), *w = weights_of(N, 4), first[K * DIMS], same[K * DIMS], on[K * DIMS];
    kmeans_options o = {.k = K, .dims = DIMS, .iterations = 2, .restarts = 1, .seed = 1};
    double before = run(o, N, x, w, first);
    o.start = first;
    o.iterations = 0;
    ck_assert_double_eq_tol(run(o, N, x, w, same), before, 1e-6 * before);
    for (uint32_t i = 0; i < K * DIMS; i++) ck_assert_double_eq_tol((double)same[i], (double)first[i], 1e-5);
    o.iterations = 2;
    double twice = run(o, N, x, w, on);
    o.start = NULL;
    o.iterations = 4;
    ck_assert(twice < before);
    ck_assert_double_eq_tol(twice, run(o, N, x, w, same), 1e-4 * before);
    free(x);
    free(w);
}
END_TEST

START_TEST(kmeans__refuses_what_it_cannot_do)
{
    float x[] = {1.0f, NAN, INFINITY, 2.0f}, w[] = {1.0f, 1.0f}, bad[] = {-1.0f, NAN}, table[8];
    double distortion;
    kvc_error err;
    kmeans_options o = options(2, 2);
    ck_assert(kmeans(rig_backend(), &o, 2, x, w, table, &distortion, &err) == KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(err.message, "value 1 of point 0"));
    o.dims = 1;
    ck_assert(kmeans(rig_backend(), &o, 1, x, bad, table, &distortion, &err) == KVC_NONFINITE);
    ck_assert(kmeans(rig_backend(), &o, 1, x, bad + 1, table, &distortion, &err) == KVC_NONFINITE);
    ck_assert_ptr_nonnull(strstr(err.message, "weight 0"));
    static const uint32_t wrong[][2] = {{0, 1}, {4097, 1}, {2, 0}, {2, 17}};
    for (size_t i = 0; i < 4; i++) {
        o.k = wrong[i][0], o.dims = wrong[i][1];
        ck_assert(kmeans(rig_backend(), &o, 1, x, w, table, &distortion, &err) == KVC_INVALID);
    }
}
END_TEST

/* Both ways against the definition in double: never further off than rounding allows, exact on small integers. */
START_TEST(nearest__both_ways_find_the_first_of_the_nearest)
{
    static const uint32_t ks[] = {1, 5, 16, 17, 100};
    for (uint32_t dims = 1; dims <= MOST_DIMS; dims++)
        for (size_t c = 0; c < 5; c++) {
            enum { N = 200 };
            packed_points p;
            packed_centroids q;
            uint32_t k = ks[c], labels[2][(N + 15) / 16 * 16];
            uint64_t seed = dims * 7 + c;
            ck_assert(packed_points_new(&p, N, dims, NULL) == KVC_OK);
            ck_assert(packed_centroids_new(&q, k, dims, NULL) == KVC_OK);
            for (uint32_t d = 0; d < dims; d++) {
                for (size_t i = 0; i < N; i++)
                    p.x[packed_at(p.dims, i) + d * 16] = (float)(int)(9.0 * uniform(&seed));
                for (size_t j = 0; j < k; j++)
                    q.c[packed_at(q.dims, j) + d * 16] = (float)(int)(9.0 * uniform(&seed));
            }
            packed_centroids_ready(&q);
            nearest(&p, &q, 0, 5, labels[0]);
            nearest(&p, &q, 5, p.groups - 5, labels[0] + 80);
            nearest_plain(&p, &q, 0, p.groups, labels[1]);
            for (size_t i = 0; i < N; i++) {
                double least = INFINITY;
                uint32_t first = 0;
                for (uint32_t j = 0; j < k; j++) {
                    double square = 0.0;
                    for (uint32_t d = 0; d < dims; d++)
                        square += pow((double)p.x[packed_at(p.dims, i) + d * 16] -
                                          (double)q.c[packed_at(q.dims, j) + d * 16],
                                      2);
                    if (square < least) least = square, first = j;
                }
                ck_assert_uint_eq(labels[0][i], first);
                ck_assert_uint_eq(labels[1][i], first);
            }
            packed_points_free(&p);
            packed_centroids_free(&q);
        }
}
END_TEST

/* Those of a table are what `bytes` promises: in fp16 too, and all of its codes. */
static double run_bytes(kmeans_options o, size_t n, const float *x, const float *w, float *table)
{
    uint16_t half[256 * 8];
    float back[256 * 8];
    o.bytes = true;
    double distortion = run(o, n, x, w, table);
    size_t values = (size_t)o.k * o.dims;
    ck_assert(rig_are_bytes(table, values));
    kvc_rows_to_fp16(table, values, half);
    kvc_rows_to_float(half, KVC_F16, values, back);
    ck_assert_mem_eq(back, table, values * sizeof *back);
    return distortion;
}

static double greatest(const float *x, size_t n)
{
    float most = 0.0f;
    for (size_t i = 0; i < n; i++) most = fmaxf(most, fabsf(x[i]));
    return (double)most;
}

/* Beside the table that is rounded: at most what the least step that reaches all values adds, half of it a value. */
START_TEST(kmeans__bytes_cost_little)
{
    static const float magnitudes[] = {1e-4f, 1.0f, 3.0f, 1000.0f};
    for (uint32_t dims = 4; dims <= 8; dims += 4)
        for (size_t i = 0; i < 4; i++) {
            float *x = normals((size_t)MANY * dims, 3), *w = weights_of(MANY, 4), table[256 * 8], bytes[256 * 8];
            for (size_t p = 0; p < (size_t)MANY * dims; p++) x[p] *= magnitudes[i];
            double exact = run(options(256, dims), MANY, x, w, table), step = 0x1p-24;
            double rounded = run_bytes(options(256, dims), MANY, x, w, bytes);
            while (127.0 * step < greatest(table, 256 * dims)) step *= 2.0;
            ck_assert_msg(rounded <= exact + dims * step * step / 4.0, "%g, %g before", rounded, exact);
            ck_assert_msg(i == 0 || rounded < 1.02 * exact, "%u dims: %g, %g before", dims, rounded, exact);
            free(x);
            free(w);
        }
}
END_TEST

/* One point far out weighs little: a step that reaches it would cost the others more than it costs itself. Where it
 * weighs much it is reached. */
START_TEST(kmeans__bytes_cut_off_what_does_not_pay)
{
    for (int heavy = 0; heavy < 2; heavy++) {
        float *x = normals((size_t)MANY * 4, 3), *w = ones(MANY), table[256 * 4], bytes[256 * 4];
        x[0] = 70.0f;
        w[0] = heavy ? 1e4f : 1e-3f;
        kmeans_options o = options(256, 4);
        run(o, MANY, x, w, table);
        memcpy(table, x, 4 * sizeof *x); /* a centroid for it, whether it had one or not */
        o = (kmeans_options){.k = 256, .dims = 4, .start = table};
        double exact = run(o, MANY, x, w, bytes), rounded = run_bytes(o, MANY, x, w, bytes);
        double most = greatest(bytes, 256 * 4);
        ck_assert_msg(heavy ? most == 70.0 : most < 32.0, "weight %g: %g", (double)w[0], most);
        ck_assert_msg(rounded < (heavy ? 2.0 : 1.05) * exact, "%g, %g before", rounded, exact);
        free(x);
        free(w);
    }
}
END_TEST

START_TEST(kmeans__bytes_of_few_points_and_of_values_beyond_fp16)
{
    float x[300 * 4], w[300], table[256 * 4];
    for (uint32_t i = 0; i < 300; i++) w[i] = 1.0f;
    memset(x, 0, sizeof x);
    ck_assert(run_bytes(options(256, 4), 300, x, w, table) == 0.0);
    ck_assert(greatest(table, 256 * 4) == 0.0);
    uint64_t state = 3;
    for (uint32_t i = 0; i < 300 * 4; i++) x[i] = 1e30f * (float)normal(&state);
    kmeans_options o = options(256, 4);
    kvc_error err;
    double distortion;
    o.bytes = true;
    ck_assert(kmeans(rig_backend(), &o, 300, x, w, table, &distortion, &err) == KVC_OK);
    ck_assert(rig_are_bytes(table, 256 * 4) && greatest(table, 256 * 4) == 127.0 * 512.0);
    for (uint32_t i = 0; i < 300 * 4; i++) x[i] = 1e-9f * (float)normal(&state);
    ck_assert(kmeans(rig_backend(), &o, 300, x, w, table, &distortion, &err) == KVC_OK);
    ck_assert(greatest(table, 256 * 4) == 0.0);
    for (uint32_t i = 0; i < 300 * 4; i++) x[i] = (float)(i % 20) * 1.37f; /* five distinct points */
    ck_assert(kmeans(rig_backend(), &o, 300, x, w, table, &distortion, &err) == KVC_OK);
    ck_assert(rig_are_bytes(table, 256 * 4));
    ck_assert(distortion_of(300, 4, x, w, 256, table) <= 4 * .125 * .125);
}
END_TEST

CHECK_MAIN("kmeans", kmeans__finds_clusters_that_are_there, kmeans__reaches_the_figures_of_a_normal_distribution,
           kmeans__weights_pay, kmeans__points_of_weight_zero_count_for_nothing, kmeans__is_never_above_its_start,
           kmeans__is_exact_on_a_line, kmeans__fewer_distinct_points_than_centroids_are_kept_as_they_are,
           kmeans__centroids_without_points_move_to_where_they_save_most, kmeans__one_point_none_and_no_weight,
           kmeans__magnitudes_do_not_matter, kmeans__values_at_the_ends_of_fp32_stay_finite,
           kmeans__an_offset_costs_no_precision, kmeans__threads_change_no_byte, kmeans__the_seed_decides_the_start,
           kmeans__goes_on_from_a_given_start, kmeans__bytes_cost_little, kmeans__bytes_cut_off_what_does_not_pay,
           kmeans__bytes_of_few_points_and_of_values_beyond_fp16, kmeans__refuses_what_it_cannot_do,
           nearest__both_ways_find_the_first_of_the_nearest)
