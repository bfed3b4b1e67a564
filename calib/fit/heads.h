/* heads.h - work that the transforms' fits share: a loop over heads, and a trial quantiser that ranks candidates. */
#ifndef CALIB_FIT_HEADS_H
#define CALIB_FIT_HEADS_H
#include "fit.h"

typedef kvc_status job_fn(void *context, uint32_t index, kvc_error *err);

/* fn for each of n jobs, several at a time; they share nothing that they write. The error is that of the first that
 * failed, named by the noun and its number unless the noun is NULL. */
kvc_status jobs_run(const char *noun, uint32_t n, job_fn *fn, void *context, kvc_error *err);
/* The same for heads. */
kvc_status heads_run(uint32_t n_heads, job_fn *fn, void *context, kvc_error *err);

/* What a 4-bit min/max quantiser over groups of `group` neighbouring channels of a token costs head `head`:
 *     sum over rows of  w e' M e  / (sum of w),   e = x^ - x,   M the metric,
 * the quantiser seeing y[i] = x[order[i]] / lambda[order[i]]. At most 512 of the sampled rows, at equal strides.
 *  order  [d]  in, a permutation; lambda [d] in, > 0
 *  work        [TRIAL_WORK(d)] scratch */
double trial_loss(const fit_data *data, uint32_t head, uint32_t group, const uint16_t *order, const float *lambda,
                  double *work);
#define TRIAL_ROWS 512u
#define TRIAL_WORK(d) ((size_t)2 * TRIAL_ROWS * (d))
#endif
