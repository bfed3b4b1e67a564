/* baselines.c - see baselines.h. */
#include "baselines.h"
#include "console.h"
#include "measure_plan.h"
#include <stdlib.h>
#include <string.h>

typedef struct pair {
    const char *name, *method, *key, *value;
    bool yardstick;
} pair;

static const pair pairs[] = {
    {"KIVI, 2 bits", "uniform", "int2.ch32", "int2.tok32", true},
    {"KIVI, 4 bits", "uniform", "int4.ch32", "int4.tok32", false},
    {"int4 per token", "uniform", "int4.tok", "int4.tok", false},
    {"Hadamard INT4", "hadamard", "int4.tok+had", "int4.tok+had", false},
    {"int4 keys by channel", "uniform", "int4.ch", "int4.tok+had", false},
    {"int3 keys by channel", "uniform", "int3.ch", "int3.tok+had", false},
};

typedef struct comparison {
    baselines *out;
    const solution *solution;
    const rivals *rivals;
    plan_measure measure;
    eval_result *yardstick; /* of each prompt file */
} comparison;

static kvc_status measure(comparison *x, const kvc_layer *layers, const char *name, const char *method,
                          bool yardstick, kvc_error *err)
{
    eval_result r;
    baseline *b = &x->out->list[x->out->n];
    KVC_TRY(measure_plan(&x->measure, &x->solution->tokens, layers, &r, yardstick ? x->yardstick : NULL, err));
    KVC_TRY(baseline_of(b, x->solution, layers, &r, name, method, err));
    b->yardstick = yardstick;
    x->out->n++;
    console_detail("%s: KL %.5f +- %.5f at %.3f bits per value", name, r.kl_mean, r.kl_stderr, b->bits);
    return KVC_OK;
}

static bool fits(const profile *p, const kvc_codec *codec)
{
    kvc_coder coder;
    return kvc_coder_init(&coder, codec, NULL, p->model.n_kv_heads, p->model.head_dim, p->tokens.page, NULL) ==
           KVC_OK;
}

static kvc_status measure_pair(comparison *x, const pair *pair, kvc_layer *layers, kvc_error *err)
{
    const profile *p = x->solution->profile;
    kvc_layer layer;
    KVC_TRY(kvc_codec_parse(&layer.key, pair->key, err));
    KVC_TRY(kvc_codec_parse(&layer.value, pair->value, err));
    if (!fits(p, &layer.key) || !fits(p, &layer.value)) return KVC_OK;
    for (uint32_t i = 0; i < p->n_layers; i++) layers[i] = layer;
    return measure(x, layers, pair->name, pair->method, pair->yardstick, err);
}

static kvc_status measure_point(comparison *x, const solution *of, const front_point *point, const char *name,
                                const char *method, kvc_error *err)
{
    plan plan = {0};
    KVC_TRY(solution_plan(of, point, &plan, err));
    kvc_status status = measure(x, plan.layers, name, method, false, err);
    plan_free(&plan);
    return status;
}

static kvc_status measure_budget(comparison *x, bool random, kvc_error *err)
{
    const char *name = random ? "random" : "greedy";
    uint64_t budget = x->solution->chosen.bytes;
    front_point point = {0};
    if (strcmp(x->solution->method, name) == 0) return KVC_OK;
    KVC_TRY(random ? rivals_random(x->rivals, budget, x->rivals->seed, &point, err)
                   : rivals_greedy(x->rivals, budget, &point, err));
    kvc_status status = measure_point(x, rivals_exact(x->rivals), &point, name, name, err);
    free(point.choice);
    return status;
}

/* The best of a front at the chosen plan's bytes; a front may begin above them. */
static kvc_status measure_front(comparison *x, const solution *of, const char *name, const char *method,
                                kvc_error *err)
{
    const front_point *point = of ? front_at_bytes(&of->front, x->solution->chosen.bytes) : NULL;
    if (!point || strcmp(x->solution->method, method) == 0) return KVC_OK;
    return measure_point(x, of, point, name, method, err);
}

/* What refinement began with stands for the exact front. */
static kvc_status measure_exact(comparison *x, kvc_error *err)
{
    const solution *s = x->solution;
    if (s->refined.accepted) return measure_point(x, s, &s->refined.start, "exact, before refinement", "exact", err);
    return measure_front(x, rivals_exact(x->rivals), "exact", "exact", err);
}

/* The same bytes as the chosen plan, spent in other ways. */
static kvc_status measure_others(comparison *x, kvc_error *err)
{
    KVC_TRY(measure_exact(x, err));
    KVC_TRY(measure_budget(x, false, err));
    KVC_TRY(measure_budget(x, true, err));
    return measure_front(x, rivals_tuned(x->rivals), "KVTuner's search", "kvtuner", err);
}

kvc_status baselines_measure(baselines *out, const settings *s, const subject *subject, const rivals *rivals,
                             const sequence_set *text, hidden_states *reference, eval_result *yardstick,
                             kvc_error *err)
{
    const solution *solution = rivals->subject;
    comparison x = {out, solution, rivals, {solution->profile, s, subject, text, reference, "baselines"}, yardstick};
    out->n = 0;
    kvc_layer *layers = calloc(solution->profile->n_layers, sizeof *layers);
    if (!layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a plan");
    kvc_status status = KVC_OK;
    for (size_t i = 0; status == KVC_OK && i < sizeof pairs / sizeof *pairs; i++)
        status = measure_pair(&x, &pairs[i], layers, err);
    if (status == KVC_OK) status = measure_others(&x, err);
    free(layers);
    return status;
}
