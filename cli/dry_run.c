/* dry_run.c - see dry_run.h. */
#include "dry_run.h"
#include "cost_model.h"
#include "score.h"
#include <stdio.h>
#include <unistd.h>

enum { ANCHORS = 4 };

typedef struct estimate {
    uint64_t memory, disk;
} estimate;

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t stream_bytes(const settings *s, const model_config *c, size_t n_tokens)
{
    uint64_t bytes = (uint64_t)n_tokens * c->hidden * sizeof(float);
    return s->memory && bytes > s->memory ? 0 : bytes;
}

/* A pass over both models: the second stream, and exact and decoded pages of one sequence. */
static uint64_t eval_memory(const settings *s, const model_config *c, const sequence_set *tokens, size_t n_tokens,
                            bool compressed)
{
    uint64_t page = (uint64_t)sequences_longest(tokens) * c->n_kv_heads * c->head_dim * sizeof(float);
    uint64_t one = model_memory(c, n_tokens, sequences_longest(tokens), s->memory);
    return compressed ? one + stream_bytes(s, c, n_tokens) + 4 * page : one;
}

/* What program, model and tokenizer take already, before any pass; 0 if it cannot be told. */
static uint64_t resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%*u %llu", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void print_bytes(const char *what, uint64_t bytes)
{
    printf("%-22s %.1f MiB\n", what, (double)bytes / (1 << 20));
}

static void print_stage(const char *stage, size_t n_tokens, double seconds)
{
    printf("%-10s %8zu tokens  about %.*f s\n", stage, n_tokens, seconds < 10, seconds);
}

static void print_speed(const speeds *v, const char *device)
{
    printf("%-22s %.3g GFLOP/s measured on %s\n", "speed", v->flops / 1e9, device);
}

typedef struct profile_cost {
    estimate space;
    size_t anchor_sequences, anchor_tokens;
} profile_cost;

static profile_cost cost_profile(const settings *s, const subject *subject, const corpus *corpus,
                                 const codec_space *space)
{
    const model_config *c = &subject->model->config;
    const sequence_set *tokens = &corpus->calibration;
    profile_cost cost = {0};
    size_t n = sequences_tokens(tokens), longest = sequences_longest(tokens);
    if (s->anchor_tokens) cost.anchor_sequences = sequences_within(tokens, s->anchor_tokens);
    cost.anchor_tokens = tokens->first[cost.anchor_sequences];
    uint64_t measure =
        model_memory(c, n, longest, s->memory) +
        profile_memory(&subject->model->info, space->n_keys, space->n_values, (uint32_t)s->probe_rows, longest);
    uint64_t anchors = stream_bytes(s, c, n) + eval_memory(s, c, tokens, cost.anchor_tokens, true);
    uint64_t stream = (uint64_t)n * c->hidden * sizeof(float);
    cost.space.memory = most(measure, anchors);
    cost.space.disk =
        2 * stream + (stream_bytes(s, c, n) ? 0 : stream); /* an old and a new checkpoint, and the spilled stream */
    return cost;
}

static void print_profile_stages(const settings *s, const subject *subject, const corpus *corpus,
                                 const codec_space *space, const speeds *v, const profile_cost *cost)
{
    const model_config *c = &subject->model->config;
    const sequence_set *tokens = &corpus->calibration;
    double forward = seconds_forward(v, c, tokens, tokens->n);
    print_stage("profile", sequences_tokens(tokens), forward + seconds_probe(v, c, tokens, space, s->probe_rows));
    if (!cost->anchor_sequences) return;
    double anchor =
        seconds_forward(v, c, tokens, cost->anchor_sequences) + seconds_logits(v, c, cost->anchor_tokens, 2);
    print_stage("anchors", ANCHORS * cost->anchor_tokens, ANCHORS * anchor);
}

static kvc_status dry_run(const settings *s, const subject *subject, const corpus *corpus, const codec_space *space,
                          bool measures, kvc_error *err)
{
    const model_config *c = &subject->model->config;
    const sequence_set *held = &corpus->holdout;
    kvc_token_policy policy = settings_tokens(s, NULL);
    profile_cost cost = cost_profile(s, subject, corpus, space);
    size_t n_held = sequences_tokens(held);
    uint64_t resident = resident_bytes();
    speeds v;
    KVC_TRY(speeds_measure(&v, subject, &policy, space, err));
    uint64_t memory = cost.space.memory;
    if (measures) memory = most(memory, eval_memory(s, c, held, n_held, true));
    print_bytes("peak memory", resident + memory);
    print_bytes("work directory", cost.space.disk);
    print_speed(&v, subject->backend->name);
    print_profile_stages(s, subject, corpus, space, &v, &cost);
    if (measures)
        print_stage("measure", n_held, 2 * seconds_forward(&v, c, held, held->n) + seconds_logits(&v, c, n_held, 2));
    return KVC_OK;
}

kvc_status dry_run_run(const settings *s, const subject *subject, const corpus *corpus, const codec_space *space,
                       kvc_error *err)
{
    return dry_run(s, subject, corpus, space, true, err);
}

kvc_status dry_run_profile(const settings *s, const subject *subject, const corpus *corpus, const codec_space *space,
                           kvc_error *err)
{
    return dry_run(s, subject, corpus, space, false, err);
}

kvc_status dry_run_eval(const settings *s, const subject *subject, const sequence_set *tokens, bool compressed,
                        kvc_error *err)
{
    const model_config *c = &subject->model->config;
    size_t n = sequences_tokens(tokens);
    int models = compressed ? 2 : 1;
    uint64_t resident = resident_bytes();
    speeds v;
    KVC_TRY(speeds_measure(&v, subject, NULL, NULL, err));
    print_bytes("peak memory", resident + eval_memory(s, c, tokens, n, compressed));
    print_speed(&v, subject->backend->name);
    print_stage("eval", n, models * seconds_forward(&v, c, tokens, tokens->n) + seconds_logits(&v, c, n, models));
    return KVC_OK;
}
