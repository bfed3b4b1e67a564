/* perm.c - transform "perm": the channels of a head in an order in which neighbours are alike, for scales per group.
 *
 * Channels are sorted by a statistic, as SKVQ and K-sort do. Which one serves depends on whether offset or spread
 * tells the channels apart, so that each is tried, for each head by itself, by its trial_loss() with four groups to a
 * head: none (the order of the model), largest magnitude, variance, mean. The first of the best wins; channels that
 * are alike keep their order. */
#include "pieces.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "heads.h"

#define GROUPS 4

typedef struct perm_job {
    const fit_data *data;
    uint16_t *part;
} perm_job;

typedef enum statistic { STAT_NONE, STAT_ABSMAX, STAT_DEVIATION, STAT_MEAN, N_STATS } statistic;

static double statistic_of(const fit_data *data, uint32_t head, statistic which, uint32_t i)
{
    size_t d = data->head_dim, at = head * d + i;
    switch (which) {
    case STAT_ABSMAX: return data->absmax[at];
    case STAT_DEVIATION: return data->cov[at * d + i];
    case STAT_MEAN: return data->mean[at];
    default: return 0.0;
    }
}

/* By insertion, which keeps the order of equals: d^2 / 4 steps, with "@joint" a million. */
static void sorted_by(const fit_data *data, uint32_t head, statistic which, uint16_t *order)
{
    double key[KVC_MAX_ROW];
    for (uint32_t i = 0; i < data->head_dim; i++) {
        uint32_t at = i;
        double own = statistic_of(data, head, which, i);
        for (; at > 0 && key[at - 1] > own; at--) {
            key[at] = key[at - 1];
            order[at] = order[at - 1];
        }
        key[at] = own;
        order[at] = (uint16_t)i;
    }
}

static void search(const fit_data *data, uint32_t head, uint16_t *best, double *work)
{
    uint32_t d = data->head_dim;
    uint16_t order[KVC_MAX_ROW];
    float ones[KVC_MAX_ROW];
    double least = INFINITY;
    for (uint32_t i = 0; i < d; i++) ones[i] = 1.0f;
    for (statistic which = STAT_NONE; which < N_STATS; which++) {
        sorted_by(data, head, which, order);
        double loss = trial_loss(data, head, d / GROUPS, order, ones, work);
        if (which != STAT_NONE && !(loss < least)) continue;
        least = loss;
        memcpy(best, order, d * sizeof *best);
    }
}

static kvc_status fit_head(void *context, uint32_t head, kvc_error *err)
{
    const perm_job *job = context;
    uint32_t d = job->data->head_dim;
    double *work = malloc(TRIAL_WORK(d) * sizeof *work);
    if (!work) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a trial of %u channels", d);
    search(job->data, head, job->part + (size_t)head * d, work);
    free(work);
    return KVC_OK;
}

kvc_status fit_perm(const fit_data *data, const fit_options *options, const kvc_coder *coder, void *part,
                    kvc_error *err)
{
    (void)options, (void)coder;
    perm_job job = {data, part};
    return heads_run(data->n_kv_heads, fit_head, &job, err);
}
