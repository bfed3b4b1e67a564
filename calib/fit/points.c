/* points.c - the points of a table: sub-vectors of latent rows, all of them or some.
 *
 * Each has the weight of its token in its head, times the unit of the head and the scale squared, so that k-means
 * minimises the error of the side. Where there are too many, as many as shall be are drawn, tokens by the root of
 * their weight, and count as much more as they are rarer: heavy tokens are then not left to chance. */
#include <math.h>
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

/* One from each equal part of the rows' shares, sub-vectors in turn. */
static void gather_drawn(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x, float *w)
{
    double total = 0.0, before = 0.0;
    for (size_t row = 0; row < t->data->n_rows; row++) total += row_share(t, j, row);
    if (!(total > 0.0)) return; /* all weights are zero */
    size_t row = 0, last = t->data->n_rows - 1;
    double share = row_share(t, j, row);
    for (size_t i = 0; i < n; i++, x += j->dims) {
        double at = ((double)i + random_unit(t->options.seed, 0, i)) * (total / (double)n);
        while (row < last && before + share <= at) {
            before += share;
            share = row_share(t, j, ++row);
        }
        float own = take_point(t, way, &j->parts[i % j->n_parts], j->dims, row, x);
        w[i] = share > 0.0 ? (float)((double)own * (total / share) * j->n_parts / (double)n) : 0.0f;
    }
}

size_t table_points(const table_fit *t, const table_job *j, size_t most)
{
    size_t all = t->data->n_rows * j->n_parts;
    return all < most ? all : most;
}

void table_gather(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x, float *w)
{
    if (n == t->data->n_rows * j->n_parts)
        gather_all(t, way, j, x, w);
    else
        gather_drawn(t, way, j, n, x, w);
}
