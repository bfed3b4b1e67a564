/* predict.c - piecewise linear in log KL over log loss. Both are powers of the codecs' step over the range that
 * matters, so the line is nearly straight; measured KL that falls where the loss rises is noise and is averaged (pool
 * adjacent violators). Beyond the anchors the end pieces go on, with a slope kept between 1/2 and 2; a single anchor
 * has slope 1. */
#include "predict.h"
#include <math.h>
#include <stdlib.h>

#define LEAST_SLOPE 0.5
#define MOST_SLOPE 2.0

static int by_loss(const void *a, const void *b)
{
    const predictor_anchor *x = a, *y = b;
    if (x->local_loss != y->local_loss) return x->local_loss < y->local_loss ? -1 : 1;
    return (x->kl > y->kl) - (x->kl < y->kl);
}

/* The nearest sequence that does not fall, by least squares. */
static void make_monotone(double *y, size_t n)
{
    for (size_t begin = 0; begin < n;) {
        size_t worst = begin;
        double lowest = INFINITY, sum = 0;
        for (size_t end = begin; end < n; end++) { /* the longest prefix with the least mean is a level */
            sum += y[end];
            double mean = sum / (double)(end - begin + 1);
            if (mean <= lowest) lowest = mean, worst = end;
        }
        for (; begin <= worst; begin++) y[begin] = lowest;
    }
}

int predictor_new(predictor *out, const predictor_anchor *anchors, size_t n)
{
    *out = (predictor){.log_loss = malloc((n + 1) * sizeof(double)), .log_kl = malloc((n + 1) * sizeof(double))};
    predictor_anchor *sorted = malloc((n + 1) * sizeof *sorted);
    if (!sorted || !out->log_loss || !out->log_kl) {
        free(sorted);
        predictor_free(out);
        return 0;
    }
    for (size_t i = 0; i < n; i++) sorted[i] = anchors[i];
    qsort(sorted, n, sizeof *sorted, by_loss);
    for (size_t i = 0; i < n; i++) {
        if (!(sorted[i].local_loss > 0) || !(sorted[i].kl > 0)) continue;
        out->log_loss[out->n] = log(sorted[i].local_loss);
        out->log_kl[out->n++] = log(sorted[i].kl);
    }
    make_monotone(out->log_kl, out->n);
    free(sorted);
    return 1;
}

void predictor_free(predictor *p)
{
    free(p->log_loss);
    free(p->log_kl);
    *p = (predictor){0};
}

void predictor_scale(predictor *p, double factor)
{
    for (size_t i = 0; i < p->n; i++) p->log_kl[i] += log(factor);
}

static double slope(const predictor *p, size_t i)
{
    double dx = p->log_loss[i + 1] - p->log_loss[i];
    return dx > 0 ? (p->log_kl[i + 1] - p->log_kl[i]) / dx : 0;
}

static double end_slope(const predictor *p, size_t i)
{
    return p->n < 2 ? 1 : fmin(fmax(slope(p, i), LEAST_SLOPE), MOST_SLOPE);
}

double predictor_kl(const predictor *p, double local_loss)
{
    if (p->n == 0) return NAN;
    if (!(local_loss > 0)) return 0;
    double x = log(local_loss);
    size_t last = p->n - 1, i = 0;
    if (x <= p->log_loss[0]) return exp(p->log_kl[0] + end_slope(p, 0) * (x - p->log_loss[0]));
    if (x >= p->log_loss[last])
        return exp(p->log_kl[last] + end_slope(p, last ? last - 1 : 0) * (x - p->log_loss[last]));
    while (x > p->log_loss[i + 1]) i++;
    return exp(p->log_kl[i] + slope(p, i) * (x - p->log_loss[i]));
}
