/* points.c - the points of a table: sub-vectors of latent rows, all of them or some.
 *
 * Each has the weight of its token in its head, times the unit of the head and the scale squared, so that k-means
 * minimises the error of the side. Where there are too many, as many as shall be are drawn, and count as much more as
 * their chance was small: a part of it goes by the root of the token's weight, so that heavy tokens are not left to
 * chance, a part by the point's energy, so that tails are not: that is worth 2 % of the error, more than twice the
 * points (tests/bench/bench_fit.c). */
#include <math.h>
#include <stdlib.h>
#include "isa.h"
#include "random.h"
#include "table.h"

#define ENERGY_SHARE .4 /* of the chances */

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

/* How much a row is to be drawn for its weight: the root of the mean over the sub-vectors. */
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

FIT_INLINE double add_energies(const table_fit *t, const table_way *way, const table_job *j, uint32_t dims,
                               size_t row, float *energies)
{
    double sum = 0.0;
    for (uint32_t i = 0, head; i < j->n_parts;) {
        head = j->parts[i].head;
        size_t at = head * t->data->n_rows + row;
        const float *y = t->y + at * t->coder->head_dim;
        const uint16_t *orders = way->order + (size_t)head * t->order_stride;
        float weight = (float)((double)t->data->weights[at] * t->heads[head].unit), total = 0.0f;
        for (; i < j->n_parts && j->parts[i].head == head; i++) {
            const uint16_t *order = orders + j->parts[i].position;
            float square = 0.0f;
            for (uint32_t k = 0; k < dims; k++) square += y[order[k]] * y[order[k]];
            energies[i] = weight * square;
            total += energies[i];
        }
        sum += (double)total;
    }
    return sum;
}

/* The weighted energies of its points [n_parts]: what they cost without a table. Returns their sum. */
static double row_energies(const table_fit *t, const table_way *way, const table_job *j, size_t row, float *energies)
{
    switch (j->dims) {
    case 1: return add_energies(t, way, j, 1, row, energies);
    case 2: return add_energies(t, way, j, 2, row, energies);
    case 4: return add_energies(t, way, j, 4, row, energies);
    case 8: return add_energies(t, way, j, 8, row, energies);
    default: return add_energies(t, way, j, 16, row, energies);
    }
}

/* The chance of a point is even * share of its row + uneven * its energy; all add up to n. */
typedef struct drawing {
    const table_fit *t;
    const table_way *way;
    const table_job *job;
    size_t n;
    double even, uneven;
    double *share, *before; /* [R]; [R + 1] sum of the chances in rows before */
    float *energies;        /* [R][n_parts] */
} drawing;

/* The place of draw i among the chances: one in each unit. */
static double place_of(const drawing *draw, size_t i)
{
    return (double)i + random_unit(draw->t->options.seed, 0, i);
}

/* The points of a row that are drawn; of the last row also what rounding leaves. */
static void draw_row(const drawing *draw, size_t row, float *x, float *w)
{
    const table_job *j = draw->job;
    const float *energy = draw->energies + row * j->n_parts;
    bool last = row + 1 == draw->t->data->n_rows;
    double before = draw->before[row], end = draw->before[row + 1], even = draw->even * draw->share[row];
    double own = even + draw->uneven * (double)energy[0];
    size_t i = before > 1.0 ? (size_t)(before - 1.0) : 0;
    while (i < draw->n && place_of(draw, i) < before) i++;
    for (uint32_t part = 0; i < draw->n && (last || place_of(draw, i) < end); i++) {
        while (part + 1 < j->n_parts && before + own <= place_of(draw, i)) {
            before += own;
            own = even + draw->uneven * (double)energy[++part];
        }
        float weight = take_point(draw->t, draw->way, &j->parts[part], j->dims, row, x + i * j->dims);
        w[i] = own > 0.0 ? (float)((double)weight / own) : 0.0f;
    }
}

/* Shares, energies and sums of all rows; false if there is nothing to draw from. */
static bool find_chances(drawing *draw)
{
    size_t n_rows = draw->t->data->n_rows, n_parts = draw->job->n_parts;
    double shares = 0.0, energies = 0.0, n = (double)draw->n;
#pragma omp parallel for
    for (size_t row = 0; row < n_rows; row++) {
        draw->share[row] = row_share(draw->t, draw->job, row);
        draw->before[row + 1] = row_energies(draw->t, draw->way, draw->job, row, draw->energies + row * n_parts);
    }
    for (size_t row = 0; row < n_rows; row++) {
        shares += draw->share[row] * (double)n_parts;
        energies += draw->before[row + 1];
    }
    if (!(shares > 0.0)) return false; /* all weights are zero */
    draw->uneven = energies > 0.0 ? n * ENERGY_SHARE / energies : 0.0;
    draw->even = n * (energies > 0.0 ? 1.0 - ENERGY_SHARE : 1.0) / shares;
    for (size_t row = 0; row < n_rows; row++)
        draw->before[row + 1] = draw->before[row] + (double)n_parts * draw->even * draw->share[row] +
                                draw->uneven * draw->before[row + 1];
    return true;
}

static kvc_status gather_drawn(const table_fit *t, const table_way *way, const table_job *j, size_t n, float *x,
                               float *w, kvc_error *err)
{
    size_t n_rows = t->data->n_rows;
    double *work = calloc(2 * n_rows + 1, sizeof *work);
    float *energies = malloc(n_rows * j->n_parts * sizeof *energies);
    drawing draw = {
        .t = t, .way = way, .job = j, .n = n, .share = work, .before = work + n_rows, .energies = energies};
    kvc_status status = KVC_OK;
    if (!work || !energies) {
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory to draw from %zu rows", n_rows);
    } else if (find_chances(&draw)) {
#pragma omp parallel for
        for (size_t row = 0; row < n_rows; row++) draw_row(&draw, row, x, w);
    }
    free(work);
    free(energies);
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
