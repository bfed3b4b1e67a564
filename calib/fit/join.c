/* join.c - see join.h. Cost: R (H d)^2 multiplications for the covariance. */
#include "join.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 512 /* rows that the covariance takes at a time */

struct joined {
    fit_data data;
    float *rows, *weights;                /* [R][D], [R] */
    double *mean, *cov, *metric, *absmax; /* [D], [D][D], [D][D], [D] */
    double *head_weight;                  /* [H] m_h */
    double *batch;                        /* [BATCH][D] */
};

static kvc_status allocate(joined *j, const fit_data *data, kvc_error *err)
{
    size_t H = data->n_kv_heads, R = data->n_rows, D = H * data->head_dim;
    j->rows = malloc((R * D + 1) * sizeof *j->rows);
    j->weights = malloc((R + 1) * sizeof *j->weights);
    j->mean = malloc(D * sizeof *j->mean);
    j->absmax = malloc(D * sizeof *j->absmax);
    j->cov = calloc(D * D, sizeof *j->cov);
    j->metric = calloc(D * D, sizeof *j->metric);
    j->head_weight = calloc(H, sizeof *j->head_weight);
    j->batch = malloc(BATCH * D * sizeof *j->batch);
    if (j->rows && j->weights && j->mean && j->absmax && j->cov && j->metric && j->head_weight && j->batch)
        return KVC_OK;
    return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu rows of %zu channels", R, D);
}

static void join_rows(joined *j, const fit_data *data)
{
    size_t H = data->n_kv_heads, R = data->n_rows, d = data->head_dim;
    for (size_t h = 0; h < H; h++)
        for (size_t r = 0; r < R; r++)
            memcpy(j->rows + (r * H + h) * d, data->rows + (h * R + r) * d, d * sizeof *j->rows);
}

static void join_weights(joined *j, const fit_data *data)
{
    size_t H = data->n_kv_heads, R = data->n_rows;
    double sum = 0.0;
    for (size_t h = 0; h < H; h++) {
        for (size_t r = 0; r < R; r++) j->head_weight[h] += (double)data->weights[h * R + r];
        j->head_weight[h] = R ? j->head_weight[h] / (double)R : 1.0;
    }
    for (size_t r = 0; r < R; r++) {
        double w = 0.0;
        for (size_t h = 0; h < H; h++)
            if (j->head_weight[h] > 0.0) w += (double)data->weights[h * R + r] / j->head_weight[h];
        j->weights[r] = (float)w;
        sum += w;
    }
    for (size_t r = 0; r < R; r++) j->weights[r] = sum > 0.0 ? (float)(j->weights[r] * (double)R / sum) : 1.0f;
}

/* metric = diag of m_h metric_h */
static void join_metric(joined *j, const fit_data *data)
{
    size_t H = data->n_kv_heads, d = data->head_dim, D = H * d;
    for (size_t h = 0; h < H; h++)
        for (size_t a = 0; a < d; a++)
            for (size_t b = 0; b < d; b++)
                j->metric[(h * d + a) * D + h * d + b] = j->head_weight[h] * data->metric[(h * d + a) * d + b];
}

/* cov = sum of w (x - mean)(x - mean)' / sum of w */
static void join_covariance(joined *j, size_t R, size_t D)
{
    double sum = 0.0;
    for (size_t first = 0; first < R; first += BATCH) {
        size_t n = R - first < BATCH ? R - first : BATCH;
        for (size_t r = 0; r < n; r++) {
            double w = (double)j->weights[first + r], root = sqrt(w);
            sum += w;
            for (size_t c = 0; c < D; c++)
                j->batch[r * D + c] = root * ((double)j->rows[(first + r) * D + c] - j->mean[c]);
        }
        cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, (int)D, (int)n, 1.0, j->batch, (int)D, 1.0, j->cov,
                    (int)D);
    }
    for (size_t a = 0; a < D; a++)
        for (size_t b = a; b < D; b++)
            j->cov[b * D + a] = j->cov[a * D + b] = sum > 0.0 ? j->cov[a * D + b] / sum : 0.0;
}

kvc_status joined_new(joined **out, const fit_data *data, kvc_error *err)
{
    size_t D = (size_t)data->n_kv_heads * data->head_dim;
    joined *j = calloc(1, sizeof *j);
    *out = NULL;
    if (!j) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a fit");
    kvc_status status = allocate(j, data, err);
    if (status != KVC_OK) {
        joined_free(j);
        return status;
    }
    memcpy(j->mean, data->mean, D * sizeof *j->mean);
    memcpy(j->absmax, data->absmax, D * sizeof *j->absmax);
    join_rows(j, data);
    join_weights(j, data);
    join_metric(j, data);
    join_covariance(j, data->n_rows, D);
    j->data = (fit_data){.values = data->values,
                         .n_kv_heads = 1,
                         .head_dim = (uint32_t)D,
                         .n_rows = data->n_rows,
                         .rows = j->rows,
                         .weights = j->weights,
                         .mean = j->mean,
                         .cov = j->cov,
                         .metric = j->metric,
                         .absmax = j->absmax,
                         .model_head_dim = data->head_dim};
    *out = j;
    return KVC_OK;
}

void joined_free(joined *j)
{
    if (!j) return;
    free(j->rows);
    free(j->weights);
    free(j->mean);
    free(j->absmax);
    free(j->cov);
    free(j->metric);
    free(j->head_weight);
    free(j->batch);
    free(j);
}

const fit_data *joined_data(const joined *j)
{
    return &j->data;
}
