/* units.c - see units.h. Cost: d rows of each head through its transforms. */
#include "units.h"

#include <math.h>
#include <stdlib.h>
#include "heads.h"

typedef struct unit_job {
    const fit_data *data;
    const kvc_coder *coder;
    double *units;
} unit_job;

static double trace_of(const double *a, size_t d)
{
    double trace = 0.0;
    for (size_t i = 0; i < d; i++) trace += a[i * d + i];
    return trace;
}

static double largest(const double *x, size_t n)
{
    double most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, x[i]);
    return most;
}

/* |T|^2 by rows that have one channel, as large as channels of the head are, beside a row of zeros. */
static double squared_norm(const unit_job *job, uint32_t head, float *work)
{
    uint32_t d = job->data->head_dim;
    float *x = work, *origin = work + d, *y = work + 2 * (size_t)d;
    double probe = largest(job->data->absmax + (size_t)head * d, d), sum = 0.0;
    if (!(probe > 0.0) || probe > 65504.0) probe = 1.0;
    kvc_coder_transform(job->coder, head, x, origin);
    for (uint32_t i = 0; i < d; i++) {
        x[i] = (float)probe;
        kvc_coder_transform(job->coder, head, x, y);
        x[i] = 0.0f;
        for (uint32_t k = 0; k < d; k++) {
            double off = ((double)y[k] - (double)origin[k]) / probe;
            sum += off * off;
        }
    }
    return sum;
}

static kvc_status find_unit(void *context, uint32_t head, kvc_error *err)
{
    const unit_job *job = context;
    size_t d = job->data->head_dim;
    float *work = calloc(3 * d, sizeof *work); /* a row of zeros, and room for two */
    if (!work) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu channels", d);
    double norm = squared_norm(job, head, work), trace = trace_of(job->data->metric + head * d * d, d);
    job->units[head] = norm > 0.0 ? fmax(trace, 0.0) / norm : 0.0;
    free(work);
    return KVC_OK;
}

kvc_status units_of_heads(const fit_data *data, const kvc_coder *coder, double *units, kvc_error *err)
{
    unit_job job = {data, coder, units};
    uint32_t n = data->n_kv_heads;
    KVC_TRY(heads_run(n, find_unit, &job, err));
    double most = largest(units, n);
    for (uint32_t head = 0; head < n; head++) units[head] = most > 0.0 && isfinite(most) ? units[head] / most : 1.0;
    return KVC_OK;
}
