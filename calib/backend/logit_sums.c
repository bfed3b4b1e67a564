/* logit_sums.c - beginning and end of the comparison that compare_logits() accumulates. With p = exp(x - max)
 * / sum: KL = sum_i p_i (x_i - y_i) - lse(x) + lse(y),  lse = max + log(sum) */
#include "backend.h"

#include <math.h>

void logit_sums_start(size_t rows, logit_sums *sums)
{
    for (size_t r = 0; r < rows; r++) sums[r] = (logit_sums){.max_ref = -INFINITY, .max_cfg = -INFINITY};
}

logit_row logit_sums_finish(const logit_sums *s)
{
    double lse_ref = s->max_ref + log(s->sum_ref), lse_cfg = s->max_cfg + log(s->sum_cfg);
    return (logit_row){
        .nll_ref = lse_ref - s->target_ref,
        .nll_cfg = lse_cfg - s->target_cfg,
        .kl = s->cross / s->sum_ref - lse_ref + lse_cfg,
        .top_ref = s->top_ref,
        .top_cfg = s->top_cfg,
    };
}
