/* trial.c - the trial quantiser: which of several scalings or orders of the channels would cost least.
 *
 * The int codec at 4 bits in short: minimum and range of a group, 15 steps, round to nearest; its fp16 rounding of
 * scale and minimum is left out. The error is weighed as attention sees it (methods.md, section 3), since the mean
 * squared error picks other exponents. One matrix product per call: 2 n d^2 flops with n <= 512. */
#include "heads.h"

#include <math.h>
#include <string.h>
#include "eigen.h"

#define LEVELS 15.0f

/* Errors of the n channels of one group, in the units of x; rows are clamped as the coder does it. */
static void group_errors(const float *x, uint32_t n, const uint16_t *order, const float *lambda, double *error)
{
    float y[KVC_MAX_ROW], low = INFINITY, high = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        y[i] = fminf(fmaxf(x[order[i]], -65504.0f), 65504.0f) / lambda[order[i]];
        low = fminf(low, y[i]);
        high = fmaxf(high, y[i]);
    }
    float step = (high - low) / LEVELS;
    for (uint32_t i = 0; i < n; i++) {
        float back = step > 0.0f ? low + step * rintf((y[i] - low) / step) : low;
        error[order[i]] = ((double)back - y[i]) * lambda[order[i]];
    }
}

double trial_loss(const fit_data *data, uint32_t head, uint32_t group, const uint16_t *order, const float *lambda,
                  double *work)
{
    size_t d = data->head_dim, stride = (data->n_rows + TRIAL_ROWS - 1) / TRIAL_ROWS;
    if (stride == 0) return 0.0;
    size_t n = (data->n_rows + stride - 1) / stride;
    double *error = work, *weighed = work + TRIAL_ROWS * d, loss = 0.0, mass = 0.0;
    for (size_t row = 0; row < n; row++) {
        const float *x = data->rows + (head * data->n_rows + row * stride) * d;
        for (size_t i = 0; i < d; i += group) group_errors(x, group, order + i, lambda, error + row * d);
    }
    eigen_multiply(n, d, d, error, data->metric + head * d * d, weighed);
    for (size_t row = 0; row < n; row++) {
        double w = data->weights[head * data->n_rows + row * stride], square = 0.0;
        for (size_t i = 0; i < d; i++) square += error[row * d + i] * weighed[row * d + i];
        loss += w * square;
        mass += w;
    }
    return mass > 0.0 ? loss / mass : 0.0;
}
