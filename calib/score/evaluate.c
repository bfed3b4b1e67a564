/* evaluate.c - the global loss of a plan: how far the next-token distribution moves when the whole cache is
 * compressed.
 *
 * Teacher forcing that decodes: every position of a sequence is computed at once, yet query t reads fp16 rows in
 * sinks and window and decoded rows in the pages that are compressed when t + 1 tokens are present (methods.md
 * sections 2 and 4), which is what a runtime cache fed token by token would hold. Errors accumulate through the
 * layers. Cost: one forward pass per model plus two logit products per scored position; memory: two residual streams
 * and five buffers of one sequence. */
#include "compressed_layers.h"
#include "evaluate.h"

#include <math.h>
#include <stdlib.h>

static kvc_status attend(void *context, const layer_view *view, kvc_error *err)
{
    return compressed_layers_attend(context, view, err);
}

enum { ALL_FILES = -1 };

typedef struct kl_sums {
    double n, kl, square;
} kl_sums;

typedef struct eval_sums {
    double nll_ref, nll, agree;
    kl_sums all, late;
} eval_sums;

static void add_kl(kl_sums *s, double kl)
{
    s->n++;
    s->kl += kl;
    s->square += kl * kl;
}

static void add_row(eval_sums *s, const logit_row *row, bool late)
{
    s->nll_ref += row->nll_ref;
    s->nll += row->nll_cfg;
    s->agree += row->top_ref == row->top_cfg;
    add_kl(&s->all, row->kl);
    if (late) add_kl(&s->late, row->kl);
}

static void mean_kl(const kl_sums *s, double *mean, double *error)
{
    double m = s->n > 0 ? s->kl / s->n : 0;
    double variance = s->n > 1 ? fmax(0, (s->square - s->n * m * m) / (s->n - 1)) : 0;
    *mean = fmax(0, m);
    *error = s->n > 0 ? sqrt(variance / s->n) : 0;
}

/* Over the positions of a prompt file; every sequence has one row less than tokens. */
static eval_result summarise(const sequence_set *tokens, int64_t file, const logit_row *rows, bool compressed)
{
    eval_sums s = {0};
    size_t half = sequences_longest(tokens) / 2;
    for (size_t i = 0; i < tokens->n; i++) {
        size_t first = tokens->first[i] - i, end = tokens->first[i + 1] - i - 1;
        for (size_t t = first; t < end; t++)
            if (file == ALL_FILES || file == tokens->file[i]) add_row(&s, &rows[t], t - first >= half);
    }
    double n = s.all.n;
    if (n == 0) return (eval_result){0};
    eval_result out = {
        .n_tokens = (uint64_t)n, .ppl_ref = exp(s.nll_ref / n), .ppl = exp(s.nll / n), .top1_agreement = 1};
    if (!compressed) return out;
    mean_kl(&s.all, &out.kl_mean, &out.kl_stderr);
    mean_kl(&s.late, &out.kl_late, &out.kl_late_stderr);
    out.top1_agreement = s.agree / n;
    return out;
}

static kvc_status run_pass(hidden_states **out, model *m, backend *b, const sequence_set *tokens,
                           const forward_hooks *hooks, uint64_t memory_limit, const job *job, const char *stage,
                           kvc_error *err)
{
    KVC_TRY(hidden_new(out, b, sequences_tokens(tokens), m->config.hidden, memory_limit, NULL, err));
    KVC_TRY(model_embed(m, tokens, *out, err));
    return model_layers(m, b, tokens, *out, 0, m->config.n_layers, hooks, job, stage, err);
}

kvc_status evaluate_check(const sequence_set *tokens, const kvc_token_policy *policy, kvc_error *err)
{
    size_t longest = sequences_longest(tokens);
    if (sequences_tokens(tokens) == tokens->n)
        return kvc_fail(err, KVC_INPUT, "the text has no position to score: it needs at least 2 tokens");
    if (!policy || kvc_tokens_compressed(policy, longest)) return KVC_OK;
    return kvc_fail(
        err, KVC_INPUT,
        "the longest sequence has %zu tokens, fewer than sinks + window + page = %u: nothing would be compressed",
        longest, policy->sinks + policy->window + policy->page);
}

kvc_status evaluate_passes(model *m, backend *b, const sequence_set *tokens, const forward_hooks *hooks,
                           uint64_t memory_limit, hidden_states *ref, eval_result *out, eval_result *files,
                           const job *job, const char *stage, kvc_error *err)
{
    size_t n_rows = sequences_tokens(tokens) - tokens->n;
    hidden_states *own_ref = NULL, *cfg = NULL;
    logit_row *rows = malloc(n_rows * sizeof *rows);
    kvc_status status = KVC_OK;
    if (!rows) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %zu scored positions", n_rows);
    if (!ref) {
        if ((status = run_pass(&own_ref, m, b, tokens, NULL, memory_limit, job, stage, err))) goto done;
        ref = own_ref;
    }
    if (hooks && (status = run_pass(&cfg, m, b, tokens, hooks, memory_limit, job, stage, err))) goto done;
    if ((status = model_compare(m, b, tokens, ref, cfg ? cfg : ref, rows, job, err))) goto done;
    *out = summarise(tokens, ALL_FILES, rows, hooks != NULL);
    for (uint32_t i = 0; files && i < sequences_files(tokens); i++)
        files[i] = summarise(tokens, i, rows, hooks != NULL);
done:
    hidden_free(own_ref);
    hidden_free(cfg);
    free(rows);
    return status;
}

kvc_status evaluate_files(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                          const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                          hidden_states *ref, eval_result *out, eval_result *files, const job *job, const char *stage,
                          kvc_error *err)
{
    compressed_layers compressed = {0};
    const forward_hooks hooks = {.attention = attend, .context = &compressed};
    const plan_ref plan = {layers, params, params_bytes};
    KVC_TRY(evaluate_check(tokens, layers ? policy : NULL, err));
    if (!layers) return evaluate_passes(m, b, tokens, NULL, memory_limit, ref, out, files, job, stage, err);
    kvc_status status = compressed_layers_new(&compressed, m, b, policy, sequences_longest(tokens), err);
    if (status == KVC_OK) status = compressed_layers_bind(&compressed, &plan, compressed.sides, err);
    if (status == KVC_OK)
        status = evaluate_passes(m, b, tokens, &hooks, memory_limit, ref, out, files, job, stage, err);
    compressed_layers_free(&compressed);
    return status;
}

kvc_status evaluate(model *m, backend *b, const sequence_set *tokens, const kvc_token_policy *policy,
                    const kvc_layer *layers, const void *params, size_t params_bytes, uint64_t memory_limit,
                    hidden_states *ref, eval_result *out, const job *job, const char *stage, kvc_error *err)
{
    return evaluate_files(m, b, tokens, policy, layers, params, params_bytes, memory_limit, ref, out, NULL, job,
                          stage, err);
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
