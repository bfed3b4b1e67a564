/* evaluate.c - the global loss of a plan: how far the next-token distribution moves when the whole cache is
 * compressed.
 *
 * Teacher forcing that decodes: every position of a sequence is computed at once, yet query t reads fp16 rows in
 * sinks and window and decoded rows in the pages that are compressed when t + 1 tokens are present (methods.md
 * sections 2 and 4), which is what a runtime cache fed token by token would hold. Errors accumulate through the
 * layers. Cost: one forward pass per model plus two logit products per scored position; memory: two residual streams
 * and five buffers of one sequence. */
#include "score.h"

#include <math.h>
#include <stdlib.h>

typedef struct compressed_attention { /* context of the attention hook */
    const kvc_token_policy *policy;
    kvc_coder *coders;                          /* [n_layers][2]: keys, values */
    float *k_exact, *k_page, *v_exact, *v_page; /* backend memory, [longest][n_kv_heads][d] */
} compressed_attention;

static kvc_status attend_compressed(void *context, const layer_view *view, kvc_error *err)
{
    compressed_attention *c = context;
    backend *b = view->backend;
    const kvc_coder *coder = c->coders + 2 * view->layer;
    const model_config *m = view->config;
    KVC_TRY(b->transcode(b, &coder[0], c->policy, view->n_tokens, view->k, c->k_exact, c->k_page, err));
    KVC_TRY(b->transcode(b, &coder[1], c->policy, view->n_tokens, view->v, c->v_exact, c->v_page, err));
    attention_args args = {
        .n_tokens = (uint32_t)view->n_tokens,
        .n_heads = m->n_heads,
        .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim,
        .scale = 1.0f / sqrtf((float)m->head_dim),
        .q = view->q,
        .k = c->k_exact,
        .v = c->v_exact,
        .k_page = c->k_page,
        .v_page = c->v_page,
        .policy = *c->policy,
        .out = view->out,
    };
    return b->attention(b, &args, err);
}

/* Codecs of a plan, bound to the model's shape. coders [n_layers][2]. */
static kvc_status bind_coders(kvc_coder *coders, const model_config *m, const kvc_token_policy *policy,
                              const kvc_layer *layers, const void *params, size_t params_bytes, kvc_error *err)
{
    for (uint32_t i = 0; i < 2 * m->n_layers; i++) {
        const kvc_codec *codec = i % 2 ? &layers[i / 2].value : &layers[i / 2].key;
        if ((uint64_t)codec->param_offset + codec->param_bytes > params_bytes)
            return kvc_fail(err, KVC_INVALID, "layer %u: codec parameters end at byte %llu of %zu", i / 2,
                            (unsigned long long)codec->param_offset + codec->param_bytes, params_bytes);
        const void *own = codec->param_bytes ? (const char *)params + codec->param_offset : NULL;
        kvc_error why;
        kvc_status status = kvc_coder_init(&coders[i], codec, own, m->n_kv_heads, m->head_dim, policy->page, &why);
        if (status) return kvc_fail(err, status, "layer %u %s: %s", i / 2, i % 2 ? "values" : "keys", why.message);
    }
    return KVC_OK;
}

static void compressed_free(compressed_attention *c, backend *b)
{
    free(c->coders);
    b->buffer_free(b, c->k_exact);
    b->buffer_free(b, c->k_page);
    b->buffer_free(b, c->v_exact);
    b->buffer_free(b, c->v_page);
}

static kvc_status compressed_new(compressed_attention *c, model *m, backend *b, const kvc_token_policy *policy,
                                 const kvc_layer *layers, const void *params, size_t params_bytes, size_t longest,
                                 kvc_error *err)
{
    size_t bytes = longest * m->config.n_kv_heads * m->config.head_dim * sizeof(float);
    float **buffers[] = {&c->k_exact, &c->k_page, &c->v_exact, &c->v_page};
    c->policy = policy;
    c->coders = malloc(2 * (size_t)m->config.n_layers * sizeof *c->coders);
    if (!c->coders) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u layers", m->config.n_layers);
    KVC_TRY(bind_coders(c->coders, &m->config, policy, layers, params, params_bytes, err));
    for (size_t i = 0; i < 4; i++) KVC_TRY(b->buffer_new(b, bytes, (void **)buffers[i], err));
    return KVC_OK;
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
    compressed_attention compressed = {0};
    forward_hooks hooks = {.attention = attend_compressed, .context = &compressed};
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
        size_t longest = sequences_longest(tokens);
        if ((status = compressed_new(&compressed, m, b, policy, layers, params, params_bytes, longest, err)))
            goto done;
        if ((status = run_pass(&cfg, m, b, tokens, &hooks, memory_limit, job, stage, err))) goto done;
    }
    if ((status = model_compare(m, b, tokens, ref, cfg ? cfg : ref, rows, job, err))) goto done;
    summarise(rows, n_rows, layers != NULL, out);
done:
    compressed_free(&compressed, b);
    hidden_free(own_ref);
    hidden_free(cfg);
    free(rows);
    return status;
}
