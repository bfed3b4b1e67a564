/* fit_rig.h - one side of a layer for the tests of calib/fit: correlated rows and their exact statistics. */
#ifndef TESTS_UNIT_FIT_RIG_H
#define TESTS_UNIT_FIT_RIG_H
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "fit.h"

/* The CPU, opened once. */
static inline backend *rig_backend(void)
{
    static backend *b;
    if (!b && backend_open_cpu(&b, 0, NULL) != KVC_OK) abort();
    return b;
}

static inline fit_options rig_options(const fit_options *options)
{
    fit_options own = *options;
    own.b = rig_backend();
    return own;
}

static inline kvc_status rig_eigen(size_t d, const double *a, double *values, double *vectors, kvc_error *err)
{
    return rig_backend()->eigen(rig_backend(), 1, d, a, values, vectors, err);
}

/* fit_new() with that backend. */
static inline kvc_status rig_fit_new(fit **out, const fit_data *data, const fit_options *options, kvc_error *err)
{
    fit_options own = rig_options(options);
    return fit_new(out, data, &own, err);
}

/* Owns what the fit_data in it points to. */
typedef struct fit_rig {
    fit_data data;
    float *rows, *weights;
    double *mean, *cov, *metric, *absmax;
} fit_rig;

static inline double rig_random(uint64_t *state) /* roughly normal, sd 1 */
{
    double sum = 0.0;
    for (int i = 0; i < 12; i++) {
        *state = *state * 6364136223846793005u + 1442695040888963407u;
        sum += (double)(*state >> 11) * 0x1p-53;
    }
    return sum - 6.0;
}

/* mean, cov (weighted) and absmax of the rows, as the profile pass has them. */
static inline void rig_statistics(fit_rig *rig)
{
    size_t d = rig->data.head_dim, n = rig->data.n_rows;
    memset(rig->mean, 0, rig->data.n_kv_heads * d * sizeof(double));
    memset(rig->cov, 0, rig->data.n_kv_heads * d * d * sizeof(double));
    memset(rig->absmax, 0, rig->data.n_kv_heads * d * sizeof(double));
    for (size_t h = 0; h < rig->data.n_kv_heads; h++) {
        const float *rows = rig->rows + h * n * d, *w = rig->weights + h * n;
        double *mean = rig->mean + h * d, *cov = rig->cov + h * d * d, mass = 0.0;
        for (size_t r = 0; r < n; r++) mass += w[r];
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < d; i++) {
                mean[i] += w[r] * (double)rows[r * d + i] / mass;
                rig->absmax[h * d + i] = fmax(rig->absmax[h * d + i], fabs((double)rows[r * d + i]));
            }
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < d; i++)
                for (size_t j = 0; j < d; j++)
                    cov[i * d + j] += w[r] / mass * (rows[r * d + i] - mean[i]) * (rows[r * d + j] - mean[j]);
    }
}

/* x = mean + A z with a decaying spectrum; metric = B B' / d with another. A channel in eight is an outlier. */
static inline fit_rig rig_new(uint32_t heads, uint32_t d, size_t n, bool values)
{
    size_t vectors = heads * (size_t)d, m = (size_t)d * d;
    uint64_t state = 7 + d + values;
    fit_rig rig = {.rows = malloc((n ? n : 1) * vectors * sizeof(float)),
                   .weights = malloc((n ? n : 1) * heads * sizeof(float)),
                   .mean = calloc(vectors, sizeof(double)),
                   .cov = calloc(vectors * d, sizeof(double)),
                   .metric = calloc(vectors * d, sizeof(double)),
                   .absmax = calloc(vectors, sizeof(double))};
    double *mix = malloc(m * sizeof *mix), *z = malloc(d * sizeof *z);
    rig.data = (fit_data){.values = values,
                          .n_kv_heads = heads,
                          .head_dim = d,
                          .n_rows = n,
                          .rows = rig.rows,
                          .weights = rig.weights,
                          .mean = rig.mean,
                          .cov = rig.cov,
                          .metric = rig.metric,
                          .absmax = rig.absmax};
    for (size_t h = 0; h < heads; h++) {
        for (size_t i = 0; i < m; i++) mix[i] = rig_random(&state) * exp(-4.0 * (double)(i % d) / d);
        for (size_t i = 0; i < d; i++)
            for (size_t j = 0; j < d; j++)
                for (size_t k = 0; k < d; k++)
                    rig.metric[h * m + i * d + j] += 40.0 * mix[i * d + k] * mix[j * d + k] / d;
        for (size_t i = 0; i < m; i++) mix[i] = rig_random(&state) * exp(-3.0 * (double)(i % d) / d);
        for (size_t r = 0; r < n; r++) {
            float *x = rig.rows + (h * n + r) * d;
            for (size_t i = 0; i < d; i++) z[i] = rig_random(&state);
            for (size_t i = 0; i < d; i++) {
                double sum = i % 8 == 3 ? 6.0 : 0.5;
                for (size_t k = 0; k < d; k++) sum += mix[i * d + k] * z[k] * (i % 8 == 5 ? 5.0 : 1.0);
                x[i] = (float)sum;
            }
            rig.weights[h * n + r] = (float)fabs(rig_random(&state));
        }
    }
    free(mix);
    free(z);
    if (n) rig_statistics(&rig);
    return rig;
}

static inline void rig_free(fit_rig *rig)
{
    free(rig->rows);
    free(rig->weights);
    free(rig->mean);
    free(rig->cov);
    free(rig->metric);
    free(rig->absmax);
}

/* Whether all values are integers of -127 .. 127 times one power of two. A step that is the double of another has no
 * multiples which that has not: the least that reaches the greatest value decides. */
static inline bool rig_are_bytes(const float *values, size_t n)
{
    double most = 0.0, step = 0x1p-24;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)values[i]));
    while (127.0 * step < most) step *= 2.0;
    for (size_t i = 0; i < n; i++)
        if (rint((double)values[i] / step) * step != (double)values[i]) return false;
    return isfinite(most);
}

/* Parameters of `spec` for the rig, and the coder bound to them. */
static inline void *rig_fit_with(const fit_rig *rig, const fit_options *options, const char *spec, kvc_coder *coder)
{
    kvc_error err = {""};
    kvc_codec codec;
    fit *f = NULL;
    void *params = NULL;
    size_t n = 0;
    ck_assert_msg(kvc_codec_parse(&codec, spec, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(rig_fit_new(&f, &rig->data, options, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(fit_codec(f, &codec, 8, &params, &n, &err) == KVC_OK, "%s", err.message);
    ck_assert_msg(kvc_coder_init(coder, &codec, params, rig->data.n_kv_heads, rig->data.head_dim, 8, &err) == KVC_OK,
                  "%s", err.message);
    ck_assert_uint_eq(n, coder->codec.param_bytes);
    fit_free(f);
    return params;
}

static inline void *rig_fit(const fit_rig *rig, const char *spec, kvc_coder *coder)
{
    return rig_fit_with(rig, &fit_defaults, spec, coder);
}
#endif
