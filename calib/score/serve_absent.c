/* serve_absent.c - stands for serve.c in a build without CUDA. */
#include "score.h"

static kvc_status fail(kvc_error *err)
{
    return kvc_fail(err, KVC_INVALID, "this build has no libkvc_cuda");
}

kvc_status evaluate_served(model *m, backend *b, const sequence_set *tokens, const kvc_config *config,
                           const char *kernels, uint64_t memory_limit, eval_result *out, serving_need *need,
                           const job *job, const char *stage, kvc_error *err)
{
    (void)m, (void)b, (void)tokens, (void)config, (void)kernels, (void)memory_limit, (void)out, (void)need;
    (void)job, (void)stage;
    return fail(err);
}

kvc_status serving_forecast(serving_need *out, const model_config *c, backend *b, const sequence_set *tokens,
                            const kvc_config *config, const char *kernels, kvc_error *err)
{
    (void)out, (void)c, (void)b, (void)tokens, (void)config, (void)kernels;
    return fail(err);
}
