/* dry_run.c - see dry_run.h. */
#include "dry_run.h"
#include "anchors.h"
#include "cost_model.h"
#include "prices.h"
#include "probed.h"
#include "score.h"
#include "stage_policy.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct stage {
    const char *name;
    size_t n_tokens;
    double seconds;
} stage;

typedef struct forecast {
    uint64_t resident; /* what program, model and tokenizer take already, before any pass */
    uint64_t memory;   /* the most that a stage adds, */
    uint64_t base;     /* what a device's backend took when it was opened */
    uint64_t device;   /* the most in a device's memory; 0: none is used */
    uint64_t disk;     /* of the work directory */
    speeds speeds;
    stage stages[6];
    size_t n_stages;
} forecast;

/* On the CPU buffers are host memory. */
static void raise_memory(forecast *f, const subject *subject, memory_need need)
{
    bool apart = subject->backend->room(subject->backend) != SIZE_MAX;
    uint64_t host = apart ? need.host : need.host + need.dev;
    if (host > f->memory) f->memory = host;
    uint64_t device = f->base + need.dev + need.scratch;
    if (apart && device > f->device) f->device = device;
}

static void add_stage(forecast *f, const char *name, size_t n_tokens, double seconds)
{
    f->stages[f->n_stages++] = (stage){name, n_tokens, seconds};
}

static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %llu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static memory_need pass_memory(const settings *s, const subject *subject, size_t n_tokens, size_t longest)
{
    return model_memory(&subject->model->config, subject->backend, n_tokens, longest, s->memory);
}

static memory_need stream_of(const settings *s, const subject *subject, size_t n_tokens, size_t longest)
{
    return stream_memory(&subject->model->config, subject->backend, n_tokens, longest, s->memory);
}

/* An append and an attend of libkvc_cuda, in one layer, of short sequences (docs/benchmarks.md: 7 us, and 30 with one
 * query). */
#define SERVE_SECONDS 40e-6

/* With a compressed model: its stream, and exact and decoded pages of one sequence. */
static memory_need eval_memory(const settings *s, const subject *subject, const sequence_set *tokens, size_t n_tokens,
                               bool compressed)
{
    const model_config *c = &subject->model->config;
    size_t longest = sequences_longest(tokens);
    memory_need pages = {.dev = 4 * (uint64_t)longest * c->n_kv_heads * c->head_dim * sizeof(float)};
    memory_need one = pass_memory(s, subject, n_tokens, longest);
    return compressed ? memory_sum(one, memory_sum(pages, stream_of(s, subject, n_tokens, longest))) : one;
}

static memory_need prices_memory(const settings *s, const subject *subject, size_t n_tokens, size_t n_sequences,
                                 size_t longest)
{
    const model_config *c = &subject->model->config;
    size_t together = model_together(c, subject->backend, n_tokens); /* copies of the text */
    return memory_sum(
        pass_memory(s, subject, together * n_tokens, longest),
        pricing_memory(c, subject->backend, n_tokens, n_sequences, longest, (uint32_t)s->price_rows, s->memory));
}

static kvc_status forecast_measuring(forecast *f, const settings *s, const subject *subject,
                                     const sequence_set *tokens, const codec_space *space, kvc_error *err)
{
    const model_config *c = &subject->model->config;
    size_t n = sequences_tokens(tokens), longest = sequences_longest(tokens);
    uint64_t stream = (uint64_t)n * c->hidden * sizeof(float);
    const profile_options o = {
        .probe_rows = (uint32_t)s->probe_rows, .fit_rows = s->fit_rows, .fit = settings_fit(s)};
    const kvc_token_policy policy = settings_tokens(s, NULL);
    probed_set probed;
    KVC_TRY(probed_new(&probed, tokens, &policy, s->probe_sequences, err));
    raise_memory(f, subject,
                 memory_sum(pass_memory(s, subject, n, longest),
                            profile_memory(subject->backend, &subject->model->info, space->keys, space->n_keys,
                                           space->values, space->n_values, &o, probed.n, longest)));
    memory_need held = stream_of(s, subject, n, longest);
    bool spilled = held.host + held.dev < stream;
    f->disk = 2 * stream + (spilled ? stream : 0); /* an old and a new checkpoint; the spilled stream */
    double seconds = seconds_forward(&f->speeds, c, tokens, tokens->n) + seconds_fit(&f->speeds, c, tokens) +
                     seconds_probe(&f->speeds, c, tokens, space, s->probe_rows, probed.n);
    add_stage(f, "profile", n,
              seconds_open(&f->speeds, subject) + seconds + seconds_checkpoints(s, c->n_layers, seconds, stream));
    probed_free(&probed);
    return KVC_OK;
}

/* All streams of the exact model, and half the layers for every price. */
static void forecast_prices(forecast *f, const settings *s, const subject *subject, const sequence_set *tokens,
                            const codec_space *space)
{
    const model_config *c = &subject->model->config;
    size_t n_sequences = sequences_within(tokens, s->price_tokens), n = tokens->first[n_sequences];
    size_t scored = s->price_rows ? n_sequences * s->price_rows : n;
    double n_prices = (double)prices_count(s, c->n_layers, space->n_keys, space->n_values);
    if (n_prices == 0) return;
    size_t longest = sequences_longest(tokens);
    raise_memory(f, subject,
                 memory_sum(stream_of(s, subject, sequences_tokens(tokens), longest),
                            prices_memory(s, subject, n, n_sequences, longest)));
    double forward = seconds_forward(&f->speeds, c, tokens, n_sequences);
    add_stage(f, "prices", n * (size_t)n_prices,
              forward + n_prices * (forward / 2 + seconds_logits(&f->speeds, c, scored, 2)));
}

/* The exact model, and one plan of every policy; for a bound of the loss two. */
static void forecast_policies(forecast *f, const settings *s, const subject *subject, const sequence_set *tokens)
{
    const model_config *c = &subject->model->config;
    size_t n_sequences = sequences_within(tokens, s->price_tokens), n = tokens->first[n_sequences];
    size_t n_plans = policy_count(s, sequences_longest(tokens)) * (s->bits > 0 ? 1 : 2);
    double forward = seconds_forward(&f->speeds, c, tokens, n_sequences);
    raise_memory(f, subject, eval_memory(s, subject, tokens, n, true));
    add_stage(f, "policy", n * n_plans, forward + (double)n_plans * (forward + seconds_logits(&f->speeds, c, n, 2)));
}

/* Measured plans: the exact model and the first plan, then what each changes: for refinement one item or a few, half
 * the layers; for kvtuner every layer. */
static void forecast_evaluations(forecast *f, const settings *s, const subject *subject, const sequence_set *tokens)
{
    const model_config *c = &subject->model->config;
    bool tuned = strcmp(s->method, "kvtuner") == 0;
    size_t n_sequences = sequences_within(tokens, s->price_tokens), n = tokens->first[n_sequences];
    size_t scored = s->price_rows ? n_sequences * s->price_rows : n;
    double forward = seconds_forward(&f->speeds, c, tokens, n_sequences);
    double once = forward / (tuned ? 1 : 2) + seconds_logits(&f->speeds, c, scored, 2);
    raise_memory(f, subject, prices_memory(s, subject, n, n_sequences, sequences_longest(tokens)));
    add_stage(f, tuned ? "kvtuner" : "refine", n * (size_t)s->evaluations,
              2 * forward + (double)s->evaluations * once);
}

static void forecast_anchors(forecast *f, const settings *s, const subject *subject, const sequence_set *tokens)
{
    const model_config *c = &subject->model->config;
    size_t n_sequences = sequences_within(tokens, s->anchor_tokens), n = tokens->first[n_sequences];
    raise_memory(f, subject,
                 memory_sum(stream_of(s, subject, sequences_tokens(tokens), sequences_longest(tokens)),
                            eval_memory(s, subject, tokens, n, true)));
    double once = seconds_forward(&f->speeds, c, tokens, n_sequences) + seconds_logits(&f->speeds, c, n, 2);
    add_stage(f, "anchors", N_ANCHORS * n, N_ANCHORS * once);
}

static void forecast_eval(forecast *f, const char *name, const settings *s, const subject *subject,
                          const sequence_set *tokens, bool compressed)
{
    const model_config *c = &subject->model->config;
    size_t n = sequences_tokens(tokens);
    int models = compressed ? 2 : 1;
    raise_memory(f, subject, eval_memory(s, subject, tokens, n, compressed));
    add_stage(f, name, n,
              models * seconds_forward(&f->speeds, c, tokens, tokens->n) + seconds_logits(&f->speeds, c, n, models));
}

static void forecast_served(forecast *f, const settings *s, const subject *subject, const sequence_set *tokens,
                            const serving_need *need)
{
    const model_config *c = &subject->model->config;
    size_t n = sequences_tokens(tokens);
    memory_need passes = eval_memory(s, subject, tokens, n, false);
    raise_memory(f, subject,
                 memory_sum(memory_sum(passes, stream_of(s, subject, n, sequences_longest(tokens))), need->memory));
    add_stage(f, "eval", n,
              2 * seconds_forward(&f->speeds, c, tokens, tokens->n) + seconds_logits(&f->speeds, c, n, 2));
    add_stage(f, "serve", n, (double)need->n_steps * c->n_layers * SERVE_SECONDS);
}

/* What follows the profile. */
static void forecast_plan(forecast *f, const settings *s, const subject *subject, const corpus *corpus)
{
    if (policy_is_auto(s)) forecast_policies(f, s, subject, &corpus->calibration);
    if (s->evaluations) forecast_evaluations(f, s, subject, &corpus->calibration);
    forecast_eval(f, "measure", s, subject, &corpus->holdout, true);
}

static void print_text(const forecast *f, const char *device)
{
    printf("peak memory            %.1f MiB\n", (double)(f->resident + f->memory) / (1 << 20));
    if (f->device) printf("peak device memory     %.1f MiB\n", (double)f->device / (1 << 20));
    if (f->disk) printf("work directory         %.1f MiB\n", (double)f->disk / (1 << 20));
    printf("speed                  %.3g GFLOP/s measured on %s\n", f->speeds.flops / 1e9, device);
    for (size_t i = 0; i < f->n_stages; i++)
        printf("%-10s %8zu tokens  about %.*f s\n", f->stages[i].name, f->stages[i].n_tokens,
               f->stages[i].seconds < 10, f->stages[i].seconds);
}

static kvc_status print_json(const forecast *f, const char *device, kvc_error *err)
{
    json_t *stages = json_array();
    for (size_t i = 0; i < f->n_stages; i++)
        json_array_append_new(stages, json_pack("{s:s,s:I,s:f}", "stage", f->stages[i].name, "tokens",
                                                (json_int_t)f->stages[i].n_tokens, "seconds", f->stages[i].seconds));
    json_t *o = json_pack("{s:I,s:I,s:I,s:f,s:s,s:o}", "memory_bytes", (json_int_t)(f->resident + f->memory),
                          "device_bytes", (json_int_t)f->device, "disk_bytes", (json_int_t)f->disk, "flops",
                          f->speeds.flops, "device", device, "stages", stages);
    if (!o) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the result");
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(o);
    return KVC_OK;
}

static kvc_status print_forecast(const forecast *f, const settings *s, const subject *subject, kvc_error *err)
{
    if (s->json) return print_json(f, subject->backend->name, err);
    print_text(f, subject->backend->name);
    return KVC_OK;
}

kvc_status dry_run_profile(const settings *s, const subject *subject, const corpus *corpus, const codec_space *space,
                           kvc_error *err)
{
    forecast f = {.resident = resident_bytes(), .base = subject->backend->peak(subject->backend)};
    KVC_TRY(speeds_measure(&f.speeds, subject, s, &corpus->calibration, space, err));
    KVC_TRY(forecast_measuring(&f, s, subject, &corpus->calibration, space, err));
    forecast_prices(&f, s, subject, &corpus->calibration, space);
    if (s->anchor_tokens) forecast_anchors(&f, s, subject, &corpus->calibration);
    if (corpus->holdout.n) forecast_plan(&f, s, subject, corpus);
    return print_forecast(&f, s, subject, err);
}

kvc_status dry_run_eval(const settings *s, const subject *subject, const sequence_set *tokens, bool compressed,
                        kvc_error *err)
{
    forecast f = {.resident = resident_bytes(), .base = subject->backend->peak(subject->backend)};
    KVC_TRY(speeds_measure(&f.speeds, subject, s, tokens, NULL, err));
    forecast_eval(&f, "eval", s, subject, tokens, compressed);
    return print_forecast(&f, s, subject, err);
}

kvc_status dry_run_served(const settings *s, const subject *subject, const sequence_set *tokens,
                          const kvc_config *config, kvc_error *err)
{
    forecast f = {.resident = resident_bytes(), .base = subject->backend->peak(subject->backend)};
    serving_need need;
    KVC_TRY(serving_forecast(&need, &subject->model->config, subject->backend, tokens, config, s->kernels, err));
    KVC_TRY(speeds_measure(&f.speeds, subject, s, tokens, NULL, err));
    forecast_served(&f, s, subject, tokens, &need);
    return print_forecast(&f, s, subject, err);
}
