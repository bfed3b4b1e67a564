/* smooth.c - transform "smooth": channels divided by lambda, which the query is multiplied by (SmoothAttention).
 *
 *     lambda_i = lambda_{i + d/2} = max(absmax_i, absmax_{i + d/2}) ^ alpha      keys: tied across a RoPE pair of a
 *                                                                               head, d being the model's
 *     lambda_i = absmax_i ^ alpha                                                values
 * divided by their geometric mean, which a quantiser does not notice. alpha = k / 20 for k = 0 .. 20 is the one whose
 * trial_loss() with one scale per token is least, for each head by itself; equal losses (no rows, a metric of zero)
 * leave the smallest, and alpha = 0 is no smoothing. Channels without a value count as 1e-5 of the largest. */
#include "pieces.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "heads.h"

#define STEPS 20
#define ABSMAX_FLOOR 1e-5

typedef struct smooth_job {
    const fit_data *data;
    float *part;
} smooth_job;

/* The channel that RoPE turns together with channel i of a row. */
static size_t pair_of(const fit_data *data, size_t i)
{
    size_t d = data->model_head_dim ? data->model_head_dim : data->head_dim, first = i / d * d;
    return first + (i - first + d / 2) % d;
}

/* Logarithms of the maxima, tied and centred. */
static void log_maxima(const fit_data *data, uint32_t head, double *log_max)
{
    size_t d = data->head_dim;
    const double *absmax = data->absmax + head * d;
    double largest = 0.0, sum = 0.0;
    for (size_t i = 0; i < d; i++) largest = fmax(largest, absmax[i]);
    for (size_t i = 0; i < d; i++) {
        double pair = data->values ? absmax[i] : fmax(absmax[i], absmax[pair_of(data, i)]);
        log_max[i] = largest > 0.0 ? log(fmax(pair / largest, ABSMAX_FLOOR)) : 0.0;
        sum += log_max[i];
    }
    for (size_t i = 0; i < d; i++) log_max[i] -= sum / (double)d;
}

static void search(const fit_data *data, uint32_t head, const double *log_max, float *lambda, double *work)
{
    uint32_t d = data->head_dim;
    uint16_t order[KVC_MAX_ROW];
    float trial[KVC_MAX_ROW];
    double least = INFINITY;
    for (uint32_t i = 0; i < d; i++) order[i] = (uint16_t)i;
    for (int step = 0; step <= STEPS; step++) {
        for (uint32_t i = 0; i < d; i++) trial[i] = (float)exp(log_max[i] * step / STEPS);
        double loss = trial_loss(data, head, d, order, trial, work);
        if (step > 0 && !(loss < least)) continue;
        least = loss;
        memcpy(lambda, trial, d * sizeof *lambda);
    }
}

static kvc_status fit_head(void *context, uint32_t head, kvc_error *err)
{
    const smooth_job *job = context;
    uint32_t d = job->data->head_dim;
    double log_max[KVC_MAX_ROW], *work = malloc(TRIAL_WORK(d) * sizeof *work);
    if (!work) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a trial of %u channels", d);
    log_maxima(job->data, head, log_max);
    search(job->data, head, log_max, job->part + (size_t)head * d, work);
    free(work);
    return KVC_OK;
}

kvc_status fit_smooth(const fit_data *data, const fit_options *options, const kvc_coder *coder, void *part,
                      kvc_error *err)
{
    (void)options, (void)coder;
    smooth_job job = {data, part};
    return heads_run(data->n_kv_heads, fit_head, &job, err);
}
