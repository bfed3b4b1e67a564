/* heads.c - a parallel loop over the heads of a layer. */
#include "heads.h"

#include <stdlib.h>

kvc_status heads_run(uint32_t n_heads, head_fn *fn, void *context, kvc_error *err)
{
    kvc_status status = KVC_OK;
    uint32_t failed = n_heads;
#pragma omp parallel for schedule(dynamic)
    for (uint32_t head = 0; head < n_heads; head++) {
        kvc_error why;
        kvc_status own = fn(context, head, &why);
        if (own == KVC_OK) continue;
#pragma omp critical(fit_heads_error)
        if (head < failed) {
            failed = head;
            status = kvc_fail(err, own, "head %u: %s", head, why.message);
        }
    }
    return status;
}
