/* cuda_logits.c - comparison of two models' logits: the rows' sums travel to the device and back. */
#include "cuda_internal.h"

#include <stddef.h>

#define SAME(field)                                                                                                  \
    _Static_assert(offsetof(logit_sums, field) == offsetof(op_logit_sums, field), "logit_sums and op_logit_sums")
_Static_assert(sizeof(logit_sums) == sizeof(op_logit_sums), "logit_sums and op_logit_sums");
SAME(max_ref);
SAME(max_cfg);
SAME(target_ref);
SAME(target_cfg);
SAME(sum_ref);
SAME(sum_cfg);
SAME(cross);
SAME(top_ref);
SAME(top_cfg);

kvc_status cuda_compare_logits(backend *b, size_t rows, size_t ref_rows, size_t first, size_t n, const float *ref,
                               const float *cfg, const uint32_t *targets, logit_sums *sums, kvc_error *err)
{
    cuda_state *s = b->state;
    uint32_t *dev_targets;
    op_logit_sums *dev_sums;
    const cuda_part parts[] = {{&dev_targets, ref_rows * sizeof *targets}, {&dev_sums, rows * sizeof *sums}};
    if (rows == 0 || n == 0) return KVC_OK;
    KVC_TRY(CUDA_BEGIN(b, err, ref, cfg));
    KVC_TRY(cuda_scratch(s, parts, 2, err));
    KVC_TRY(cuda_put(s, dev_targets, targets, ref_rows * sizeof *targets, err));
    KVC_TRY(cuda_put(s, dev_sums, sums, rows * sizeof *sums, err));
    KVC_TRY_CUDA(op_compare_logits(rows, ref_rows, first, n, ref, cfg, dev_targets, dev_sums, s->compute));
    return cuda_fetch(s, sums, dev_sums, rows * sizeof *sums, err);
}
