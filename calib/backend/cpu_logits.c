/* cpu_logits.c - log-sum-exp and KL of two models' logits, a block of the vocabulary at a time (backend.h,
 * logit_sums). A task is one row; terms are fp32 exponentials, sums are double and in vocabulary order. */
#include "cpu_internal.h"

#include <math.h>

/* The largest logit so far; sums taken relative to the old one are brought to the new. Ties stay at the lower
 * index. */
static void raise_max(const float *x, size_t n, uint32_t first, float *max, uint32_t *top, double *sum, double *cross)
{
    float block = cpu_row_max(x, n);
    size_t at = 0;
    if (!(block > *max)) return;
    while (x[at] != block) at++;
    double keep = exp((double)*max - block);
    *sum *= keep;
    *cross *= keep;
    *max = block;
    *top = first + (uint32_t)at;
}

static void add_row(const float *ref, const float *cfg, size_t first, size_t n, uint32_t target, logit_sums *s)
{
    double unused = 0;
    raise_max(ref, n, (uint32_t)first, &s->max_ref, &s->top_ref, &s->sum_ref, &s->cross);
    cpu_exp_sums(ref, cfg, n, s->max_ref, &s->sum_ref, &s->cross);
    if (target >= first && target < first + n) {
        s->target_ref = ref[target - first];
        s->target_cfg = cfg[target - first];
    }
    if (ref == cfg) { /* one model: its sums serve as both */
        s->max_cfg = s->max_ref;
        s->top_cfg = s->top_ref;
        s->sum_cfg = s->sum_ref;
        return;
    }
    raise_max(cfg, n, (uint32_t)first, &s->max_cfg, &s->top_cfg, &s->sum_cfg, &unused);
    cpu_exp_sums(cfg, cfg, n, s->max_cfg, &s->sum_cfg, &unused);
}

kvc_status cpu_compare_logits(backend *b, size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                              const float *cfg, const uint32_t *targets, logit_sums *sums, kvc_error *err)
{
    (void)b, (void)err;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r++)
        add_row(ref + r % ref_rows * n, cfg + r * n, first, n, targets[r % ref_rows], &sums[r]);
    return KVC_OK;
}
