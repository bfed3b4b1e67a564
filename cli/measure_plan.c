/* measure_plan.c - see measure_plan.h. */
#include "measure_plan.h"
#include "bound_plan.h"
#include "console.h"

kvc_status measure_plan(const plan_measure *m, const kvc_token_policy *tokens, const kvc_layer *layers,
                        eval_result *out, eval_result *files, kvc_error *err)
{
    bound_plan bound;
    KVC_TRY(bound_plan_new(&bound, m->profile, &m->profile->model, tokens->page, layers, err));
    console_units("tokens", (double)sequences_tokens(m->text));
    kvc_status status =
        evaluate_files(m->subject->model, m->subject->backend, m->text, tokens, bound.layers, bound.params,
                       bound.n_params, m->s->memory, m->reference, out, files, console_job(), m->stage, err);
    bound_plan_free(&bound);
    return status;
}
