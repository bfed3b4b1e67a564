/* points.c - the points of a table: sub-vectors of latent rows, all of them or some.
 *
 * Each has the weight of its token in its head, times the unit of the head and the scale squared, so that k-means
 * minimises the error of the side. Where there are too many, as many as shall be are drawn, tokens by the root of
 * their weight, and count as much more as they are rarer: heavy tokens are then not left to chance. */
#include <math.h>
#include <stdlib.h>
#include "random.h"
#include "table.h"

/* The sub-vector's values to x; returns its weight. */
static float take_point(const table_fit *t, const table_way *way, const sub_vector *v, uint32_t dims, size_t row,
                        float *x)
{
    size_t at = v->head * t->data->n_rows + row;
    const float *y = t->y + at * t->coder->head_dim;
    const uint16_t *order = way->order + (size_t)v->head * t->order_stride + v->position;
    double scale = (double)way->scales[v->code];
    float divisor = way->scales[v->code];
    for (uint32_t k = 0; k < dims; k++) x[k] = y[order[k]] / divisor;
    return (float)((double)t->data->weights[at] * t->heads[v->head].unit * scale * scale);
}

static void gather_all(const table_fit *t, const table_way *way, const table_job *j, float *x, float *w)
{
#pragma omp parallel for
    for (size_t row = 0; row < t->data->n_rows; row++)
        for (size_t i = 0; i < j->n_parts; i++) {
            size_t at = row * j->n_parts + i;
            w[at] = take_point(t, way, &j->parts[i], j->dims, row, x + at * j->dims);
        }
}

/* How much a row is to be drawn: by its mean weight over the sub-vectors. */
static double row_share(const table_fit *t, const table_job *j, size_t row)
{
    double sum = 0.0;
    for (uint32_t i = 0, next; i < j->n_parts; i = next) {
        uint32_t head = j->parts[i].head;
        for (next = i + 1; next < j->n_parts && j->parts[next].head == head;) next++;
        sum += (next - i) * t->heads[head].unit * (double)t->data->weights[head * t->data->n_rows + row];
    }
    return sqrt(sum / j->n_parts);
}

/* rows [n]: one from each equal part of the shares [n_rows]. */
static void draw_rows(const table_fit *t, const double *shares, double total, size_t n, size_t *rows)
{
    double before = 0.0;
    size_t row = 0, last = t->data->n_rows - 1;
    for (size_t i = 0; i < n; i++) {
        double at = ((double)i + random_unit(t->options.seed, 0, i)) * (total / (double)n);
        while (row < last && before + shares[row] <= at) before += shares[row++];
        rows[i] = row;
    }
}

/* Sub-vectors in turn. */
static void take_drawn(const table_fit *t, const table_way *way, const table_job *j, const double *shares,
                       double total, const size_t *rows, size_t n, float *x, float *w)
{
#pragma omp parallel for
    for (size_t i = 0; i < n; i++) {
        double share = shares[rows[i]];
        float own = take_point(t, way, &j->parts[i % j->n_parts], j->dims, rows[i], x + i * j->dims);
        w[i] = share > 0.0 ? (float)((double)own * (total / share) * j->n_parts / (double)n) : 0.0f;
    }
}

static kvc_status gather_drawn(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x,
                               float *w, kvc_error *err)
{
    size_t n_rows = t->data->n_rows, *rows = malloc(n * sizeof *rows);
    double total = 0.0, *shares = malloc(n_rows * sizeof *shares);
    kvc_status status = KVC_OK;
    if (!rows || !shares) {
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory to draw %zu of %zu rows", n, n_rows);
        goto done;
    }
#pragma omp parallel for
    for (size_t row = 0; row < n_rows; row++) shares[row] = row_share(t, j, row);
    for (size_t row = 0; row < n_rows; row++) total += shares[row];
    if (!(total > 0.0)) goto done; /* all weights are zero */
    draw_rows(t, shares, total, n, rows);
    take_drawn(t, way, j, shares, total, rows, n, x, w);
done:
    free(rows);
    free(shares);
    return status;
}

size_t table_points(const table_fit *t, const table_job *j, size_t most)
{
    size_t all = t->data->n_rows * j->n_parts;
    return all < most ? all : most;
}

kvc_status table_gather(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x, float *w,
                        kvc_error *err)
{
    if (n < t->data->n_rows * j->n_parts) return gather_drawn(t, way, j, n, x, w, err);
    gather_all(t, way, j, x, w);
    return KVC_OK;
}
