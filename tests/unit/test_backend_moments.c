/* test_backend_moments.c - weighted moments of rows against plain sums in long double. */
#include "backend.h"
#include "check_main.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { MOST_D = 80 };

typedef struct moments {
    double weight[3], first[3][MOST_D], second[3][MOST_D][MOST_D];
} moments;

typedef struct shape {
    size_t rows, heads, d, stride;
} shape;

static const shape shapes[] = {{0, 1, 8, 4},      {1, 1, 8, 1},      {5, 3, 8, 9},       {63, 1, 64, 63},
                               {130, 3, 64, 200}, {300, 3, 80, 300}, {1500, 2, 8, 1500}, {257, 1, 80, 257}};

static double noise(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (double)(int32_t)*state / 2147483648.0;
}

typedef struct moments_case {
    float *x;
    double *w;
} moments_case;

/* Weights over many orders of magnitude, some zero; more of them than rows. */
static moments_case case_new(const shape *s)
{
    uint32_t seed = 11;
    moments_case c = {malloc((s->rows * s->heads * s->d + 1) * sizeof *c.x),
                      malloc(s->heads * s->stride * sizeof *c.w)};
    for (size_t i = 0; i < s->rows * s->heads * s->d; i++) c.x[i] = (float)(0.3 + noise(&seed));
    for (size_t i = 0; i < s->heads * s->stride; i++) c.w[i] = i % 7 == 3 ? 0 : exp(8 * noise(&seed));
    return c;
}

static void case_free(moments_case *c)
{
    free(c->x);
    free(c->w);
}

static long double plain(const shape *s, const moments_case *c, size_t h, long i, long j)
{
    long double sum = 0;
    for (size_t r = 0; r < s->rows; r++) {
        const float *x = c->x + (r * s->heads + h) * s->d;
        sum += (long double)c->w[h * s->stride + r] * (i < 0 ? 1 : x[i]) * (j < 0 ? 1 : x[j]);
    }
    return sum;
}

/* Adds to `weight`, `first`, `second` as the backend lays them out, then unpacks. */
static void measure(const shape *s, const moments_case *c, int threads, int times, moments *m)
{
    size_t d = s->d;
    double *first = calloc(s->heads * d, sizeof *first), *second = calloc(s->heads * d * d, sizeof *second);
    kvc_error error = {""};
    backend *b;
    memset(m, 0, sizeof *m);
    ck_assert_int_eq(backend_open_cpu(&b, threads, &error), KVC_OK);
    for (int i = 0; i < times; i++)
        ck_assert_msg(b->moments(b, s->rows, s->heads, d, c->x, c->w, s->stride, m->weight, first, second, &error) ==
                          KVC_OK,
                      "%s", error.message);
    b->close(b);
    for (size_t h = 0; h < s->heads; h++)
        for (size_t i = 0; i < d; i++) {
            m->first[h][i] = first[h * d + i];
            memcpy(m->second[h][i], second + (h * d + i) * d, d * sizeof *second);
        }
    free(first);
    free(second);
}

static void check_near(double got, long double want, double size)
{
    ck_assert_msg(fabsl(got - want) <= 1e-13L * size, "%.17g, expected %.17Lg", got, want);
}

START_TEST(moments__equal_plain_sums_and_are_added_to)
{
    static moments m;
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        const shape *s = &shapes[n];
        moments_case c = case_new(s);
        measure(s, &c, 2, 2, &m);
        for (size_t h = 0; h < s->heads; h++) {
            double total = 4 * (double)plain(s, &c, h, -1, -1); /* rows are below 1.3 */
            check_near(m.weight[h], 2 * plain(s, &c, h, -1, -1), total);
            for (size_t i = 0; i < s->d; i++) {
                check_near(m.first[h][i], 2 * plain(s, &c, h, (long)i, -1), total);
                for (size_t j = 0; j < s->d; j++) {
                    check_near(m.second[h][i][j], 2 * plain(s, &c, h, (long)i, (long)j), total);
                    ck_assert(m.second[h][i][j] == m.second[h][j][i]);
                }
            }
        }
        case_free(&c);
    }
}
END_TEST

START_TEST(moments__do_not_depend_on_threads)
{
    static moments one, two;
    for (size_t n = 0; n < sizeof shapes / sizeof *shapes; n++) {
        moments_case c = case_new(&shapes[n]);
        measure(&shapes[n], &c, 1, 1, &one);
        measure(&shapes[n], &c, 3, 1, &two);
        ck_assert_int_eq(memcmp(&one, &two, sizeof one), 0);
        case_free(&c);
    }
}
END_TEST

CHECK_MAIN("backend moments", moments__equal_plain_sums_and_are_added_to, moments__do_not_depend_on_threads)
