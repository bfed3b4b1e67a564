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
    plan_measure measure;
    eval_result *yardstick; /* of each prompt file */
} comparison;

static kvc_status measure(comparison *x, const kvc_layer *layers, const char *name, const char *method,
                          bool yardstick, kvc_error *err)
{
    eval_result r;
    baseline *b = &x->out->list[x->out->n];
    KVC_TRY(
        measure_plan(&x->measure, &x->solution->tokens, layers, &r, yardstick ? x->yardstick : NULL, err));
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

static kvc_status measure_point(comparison *x, const front_point *point, const char *name, kvc_error *err)
{
    plan plan = {0};
    KVC_TRY(solution_plan(x->solution, point, &plan, err));
    kvc_status status = measure(x, plan.layers, name, name, false, err);
    plan_free(&plan);
    return status;
}

/* The same candidates and bytes as the chosen plan, spent in another way. */
static kvc_status measure_others(comparison *x, kvc_error *err)
{
    const cost_table *t = &x->solution->priced.table;
    uint64_t budget = x->solution->chosen.bytes;
    front_point greedy = {0}, random = {0};
    kvc_status status = search_failed(solve_greedy(t, budget, &greedy), err);
    if (status == KVC_OK) status = search_failed(solve_random(t, budget, x->measure.s->seed, &random), err);
    if (status == KVC_OK) status = measure_point(x, &greedy, "greedy", err);
    if (status == KVC_OK) status = measure_point(x, &random, "random", err);
    free(greedy.choice);
    free(random.choice);
    return status;
}

kvc_status baselines_measure(baselines *out, const settings *s, const subject *subject, const solution *solution,
                             const sequence_set *text, hidden_states *reference, eval_result *yardstick,
                             kvc_error *err)
{
    comparison x = {out, solution, {solution->profile, s, subject, text, reference, "baselines"}, yardstick};
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
