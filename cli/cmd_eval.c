/* cmd_eval.c - kvcalib eval MODEL --text FILE: the exact model, or it beside a configuration or plan. */
#include "command.h"
#include "config_image.h"
#include "console.h"
#include "corpus.h"
#include "dry_run.h"
#include "score.h"
#include "subject.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct evaluation {
    subject subject;
    prompt_file file;
    profile *profile; /* of --profile, or NULL */
    sequence_set tokens;
    config_image image; /* empty: the exact model alone */
    eval_result result;
    double seconds;
} evaluation;

static kvc_status read_text(evaluation *x, const settings *s, kvc_error *err)
{
    const subject *subject = &x->subject;
    int64_t prefix = subject->tokenizer ? tokenizer_prefix(subject->tokenizer) : -1;
    KVC_TRY(prompts_read(&x->file, s->text, subject->tokenizer, subject->model->config.vocab, err));
    KVC_TRY(sequences_cut(&x->tokens, &x->file, 0, (uint32_t)s->seq_len, prefix, s->max_tokens, err));
    subject_note_length(subject, sequences_longest(&x->tokens));
    if (x->tokens.n) return KVC_OK;
    return kvc_fail(err, KVC_INPUT, "%s: less than 2 tokens of text", s->text);
}

static kvc_status read_plan(evaluation *x, const settings *s, kvc_error *err)
{
    const kvc_model_info *model = &x->subject.model->info;
    if (s->profile) {
        KVC_TRY(profile_load(&x->profile, s->profile, err));
        KVC_TRY(model_info_match(&x->profile->model, s->profile, model, s->operands[0], err));
    }
    kvc_token_policy defaults = settings_tokens(s, x->profile ? &x->profile->tokens : NULL);
    plan plan;
    KVC_TRY(plan_read(&plan, s->plan, model->n_layers, &defaults, err));
    kvc_status status = config_image_compile(&x->image, model, &plan, s->plan, x->profile, NULL, err);
    plan_free(&plan);
    return status;
}

static kvc_status read_config(evaluation *x, const settings *s, kvc_error *err)
{
    if (s->profile && !s->plan) return kvc_fail(err, KVC_INVALID, "--profile has no effect without --plan");
    if (s->config && s->plan) return kvc_fail(err, KVC_INVALID, "--config and --plan exclude each other");
    if (s->plan) return read_plan(x, s, err);
    if (!s->config) return KVC_OK;
    static const char *const policy[] = {"sinks", "window", "page"};
    for (size_t i = 0; i < 3; i++)
        if (settings_asked(s, policy[i]))
            return kvc_fail(err, KVC_INVALID, "--%s has no effect with --config: the configuration says it",
                            policy[i]);
    KVC_TRY(config_image_read(&x->image, s->config, err));
    return model_info_match(kvc_config_model(x->image.config), s->config, &x->subject.model->info, s->operands[0],
                            err);
}

static kvc_status copy_layers(kvc_layer **out, const kvc_config *config, kvc_error *err)
{
    uint32_t n = kvc_config_model(config)->n_layers;
    *out = malloc(n * sizeof **out);
    for (uint32_t i = 0; *out && i < n; i++) (*out)[i] = *kvc_config_layer(config, i);
    return *out ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory for %u layers", n);
}

/* Attention is the backend's own. */
static kvc_status run_backend(evaluation *x, const settings *s, kvc_error *err)
{
    const kvc_config *config = x->image.config;
    kvc_layer *layers = NULL;
    size_t n_params = 0;
    const void *params = config ? kvc_config_parameters(config, &n_params) : NULL;
    if (config) KVC_TRY(copy_layers(&layers, config, err));
    kvc_status status =
        evaluate(x->subject.model, x->subject.backend, &x->tokens, config ? kvc_config_tokens(config) : NULL, layers,
                 params, n_params, s->memory, NULL, &x->result, console_job(), "eval", err);
    free(layers);
    return status;
}

/* It is libkvc_cuda's. */
static kvc_status run_served(evaluation *x, const settings *s, kvc_error *err)
{
    serving_need need = {0};
    KVC_TRY(evaluate_served(x->subject.model, x->subject.backend, &x->tokens, x->image.config, s->kernels, s->memory,
                            &x->result, &need, console_job(), "eval", err));
    console_detail("libkvc_cuda: %u sequences at a time, %.1f MiB of the device for them", need.n_together,
                   (double)need.memory.dev / (1 << 20));
    return KVC_OK;
}

static kvc_status run_evaluation(evaluation *x, const settings *s, kvc_error *err)
{
    struct timespec begin, end;
    console_units("tokens", (double)sequences_tokens(&x->tokens));
    clock_gettime(CLOCK_MONOTONIC, &begin);
    KVC_TRY((s->kernels ? run_served : run_backend)(x, s, err));
    clock_gettime(CLOCK_MONOTONIC, &end);
    x->seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    return KVC_OK;
}

/* Whose attention was measured. */
static const char *attention_of(const settings *s)
{
    return s->kernels ? "libkvc_cuda" : "backend";
}

/* What was not measured is null. */
static json_t *measured(const evaluation *x, double value)
{
    return x->image.config ? json_real(value) : json_null();
}

static kvc_status report_json(const evaluation *x, const settings *s, kvc_error *err)
{
    const eval_result *r = &x->result;
    const kvc_config *config = x->image.config;
    json_t *o = json_pack("{s:I,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:I,s:I,s:s,s:s,s:f}", "tokens", (json_int_t)r->n_tokens,
                          "ppl_ref", r->ppl_ref, "ppl", measured(x, r->ppl), "kl_mean", measured(x, r->kl_mean),
                          "kl_stderr", measured(x, r->kl_stderr), "top1_agreement", measured(x, r->top1_agreement),
                          "bits_per_value", measured(x, config ? kvc_config_bits_per_value(config, s->context) : 0),
                          "bytes_per_token", measured(x, config ? kvc_config_bytes_per_token(config, s->context) : 0),
                          "seq_len", (json_int_t)s->seq_len, "context", (json_int_t)s->context, "device",
                          x->subject.backend->name, "attention", attention_of(s), "seconds", x->seconds);
    if (!o) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the result");
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(o);
    return KVC_OK;
}

static void report_text(const evaluation *x, const settings *s)
{
    const eval_result *r = &x->result;
    const kvc_config *config = x->image.config;
    printf("positions scored      %llu (sequences of %llu tokens)\n", (unsigned long long)r->n_tokens,
           (unsigned long long)s->seq_len);
    printf("perplexity, exact     %.4f\n", r->ppl_ref);
    if (config) {
        printf("perplexity            %.4f (%+.3f %%)\n", r->ppl, 100 * (r->ppl / r->ppl_ref - 1));
        printf("KL divergence         %.6f +- %.6f nats per token\n", r->kl_mean, r->kl_stderr);
        printf("same first choice     %.2f %%\n", 100 * r->top1_agreement);
        printf("bits per value        %.4f at %llu tokens (fp16: 16)\n",
               kvc_config_bits_per_value(config, s->context), (unsigned long long)s->context);
        printf("bytes per token       %.1f\n", kvc_config_bytes_per_token(config, s->context));
        printf("attention             %s\n", attention_of(s));
    }
    printf("time                  %.1f s on %s\n", x->seconds, x->subject.backend->name);
}

static kvc_status check_kernels(const settings *s, kvc_error *err)
{
    if (!s->kernels) return KVC_OK;
    if (!s->config) return kvc_fail(err, KVC_INVALID, "--kernels: say with --config whose kernels they are");
    if (strncmp(s->device, "cuda", 4) == 0) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "--kernels: libkvc_cuda needs --device cuda, not %s", s->device);
}

static kvc_status eval(evaluation *x, const settings *s, kvc_error *err)
{
    if (!s->text) return kvc_fail(err, KVC_INVALID, "eval: say with --text what to score");
    KVC_TRY(check_kernels(s, err));
    bool opens = s->kernels || !s->dry_run; /* a forecast looks into no configuration otherwise */
    KVC_TRY(subject_open(&x->subject, s, (s->config || s->plan) && opens, err));
    KVC_TRY(read_text(x, s, err));
    if (opens) KVC_TRY(read_config(x, s, err));
    if (s->dry_run && s->kernels) return dry_run_served(s, &x->subject, &x->tokens, x->image.config, err);
    if (s->dry_run) return dry_run_eval(s, &x->subject, &x->tokens, s->config || s->plan, err);
    KVC_TRY(run_evaluation(x, s, err));
    if (s->json) return report_json(x, s, err);
    report_text(x, s);
    return KVC_OK;
}

kvc_status command_eval(settings *s, kvc_error *err)
{
    evaluation x = {0};
    kvc_status status = eval(&x, s, err);
    config_image_free(&x.image);
    profile_free(x.profile);
    sequences_free(&x.tokens);
    prompt_file_free(&x.file);
    subject_close(&x.subject);
    return status;
}
