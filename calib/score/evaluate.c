/* evaluate.c - the global loss of a plan: how far the next-token distribution moves when the whole cache is
 * compressed.
 *
 * Teacher forcing that decodes: every position of a sequence is computed at once, yet query t reads fp16 rows in
 * sinks and window and decoded rows in the pages that are compressed when t + 1 tokens are present (methods.md
 * sections 2 and 4), which is what a runtime cache fed token by token would hold. Errors accumulate through the
 * layers. Cost: one forward pass per model plus two logit products per scored position; memory: two residual streams
 * and five buffers of one sequence. */
#include "compressed_layers.h"

#include <math.h>
#include <stdlib.h>

static kvc_status attend(void *context, const layer_view *view, kvc_error *err)
{
    return compressed_layers_attend(context, view, err);
}

static void summarise(const logit_row *rows, size_t n, bool compressed, eval_result *out)
{
    double nll_ref = 0, nll = 0, kl = 0, square = 0, agree = 0;
    for (size_t i = 0; i < n; i++) {
        nll_ref += rows[i].nll_ref;
        nll += rows[i].nll_cfg;
        kl += rows[i].kl;
        square += rows[i].kl * rows[i].kl;
        agree += rows[i].top_ref == rows[i].top_cfg;
    }
    double mean = kl / n, variance = n > 1 ? fmax(0, (square - n * mean * mean) / (n - 1.0)) : 0;
    *out = (eval_result){.n_tokens = n, .ppl_ref = exp(nll_ref / n), .ppl = exp(nll / n), .top1_agreement = 1};
    if (!compressed) return;
    out->kl_mean = fmax(0, mean);
    out->kl_stderr = sqrt(variance / n);
    out->top1_agreement = agree / n;
}

static kvc_status run_pass(hidden_states **out, model *m, backend *b, const sequence_set *tokens,
                           const forward_hooks *hooks, uint64_t memory_limit, const job *job, const char *stage,
                           kvc_error *err)
{
    KVC_TRY(hidden_new(out, sequences_tokens(tokens), m->config.hidden, memory_limit, NULL, err));
    KVC_TRY(model_embed(m, tokens, *out, err));
    return model_layers(m, b, tokens, *out, 0, m->config.n_layers, hooks, job, stage, err);
}

kvc_status evaluate(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                    const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                    hidden_states *ref, eval_result *out, const job *job, const char *stage, kvc_error *err)
{
    size_t n_rows = sequences_tokens(tokens) - tokens->n;
    compressed_layers compressed = {0};
    forward_hooks hooks = {.attention = attend, .context = &compressed};
    plan_ref plan = {layers, params, params_bytes};
    hidden_states *own_ref = NULL, *cfg = NULL;
    logit_row *rows = NULL;
    kvc_status status = KVC_OK;
    if (n_rows == 0) return kvc_fail(err, KVC_INPUT, "the text has no position to score: it needs at least 2 tokens");
    if (layers && kvc_tokens_compressed(policy, sequences_longest(tokens)) == 0)
        return kvc_fail(
            err, KVC_INPUT,
            "the longest sequence has %zu tokens, fewer than sinks + window + page = %u: nothing would be compressed",
            sequences_longest(tokens), policy->sinks + policy->window + policy->page);
    if (!(rows = malloc(n_rows * sizeof *rows))) {
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu scored positions", n_rows);
        goto done;
    }
    if (!ref) {
        if ((status = run_pass(&own_ref, m, b, tokens, NULL, memory_limit, job, stage, err))) goto done;
        ref = own_ref;
    }
    if (layers) {
        if ((status = compressed_layers_new(&compressed, m, b, policy, sequences_longest(tokens), err))) goto done;
        if ((status = compressed_layers_bind(&compressed, &plan, compressed.sides, err))) goto done;
        if ((status = run_pass(&cfg, m, b, tokens, &hooks, memory_limit, job, stage, err))) goto done;
    }
    if ((status = model_compare(m, b, tokens, ref, cfg ? cfg : ref, rows, job, err))) goto done;
    summarise(rows, n_rows, layers != NULL, out);
done:
    compressed_layers_free(&compressed);
    hidden_free(own_ref);
    hidden_free(cfg);
    free(rows);
    return status;
}

kvc_status evaluate_exact(hidden_states **out, model *m, backend *b, const sequence_set *tokens,
                          uint64_t memory_limit, const job *job, const char *stage, kvc_error *err)
{
    *out = NULL;
    kvc_status status = run_pass(out, m, b, tokens, NULL, memory_limit, job, stage, err);
    if (status == KVC_OK) return KVC_OK;
    hidden_free(*out);
    *out = NULL;
    return status;
}
