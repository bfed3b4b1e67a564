/* heads.c - a parallel loop over the heads of a layer, or other jobs. */
#include "heads.h"

#include <stdlib.h>

kvc_status jobs_run(const char *noun, uint32_t n, job_fn *fn, void *context, kvc_error *err)
{
    kvc_status status = KVC_OK;
    uint32_t failed = n;
#pragma omp parallel for schedule(dynamic)
    for (uint32_t i = 0; i < n; i++) {
        kvc_error why;
        kvc_status own = fn(context, i, &why);
        if (own == KVC_OK) continue;
#pragma omp critical(fit_heads_error)
        if (i < failed) {
            failed = i;
            status =
                noun ? kvc_fail(err, own, "%s %u: %s", noun, i, why.message) : kvc_fail(err, own, "%s", why.message);
        }
    }
    return status;
}

kvc_status heads_run(uint32_t n_heads, job_fn *fn, void *context, kvc_error *err)
{
    return jobs_run("head", n_heads, fn, context, err);
}
