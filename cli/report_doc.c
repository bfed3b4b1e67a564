/* report_doc.c - see report_doc.h. */
#include "report_doc.h"
#include "inspect_json.h"
#include "report_doc_part.h"
#include "sha256.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a plan occupies, and its constants. */
typedef struct plan_size {
    uint64_t bytes, constants; /* of the cache at the context; beside it */
    double bits, codes_bits;
} plan_size;

static double n_values(const solution *s)
{
    const kvc_model_info *m = &s->profile->model;
    return 2.0 * m->n_layers * m->n_kv_heads * m->head_dim * (double)s->context;
}

static kvc_status measure_size(plan_size *out, const solution *s, const kvc_token_policy *tokens,
                               const kvc_layer *layers, kvc_error *err)
{
    const kvc_model_info *m = &s->profile->model;
    *out = (plan_size){0};
    for (uint32_t item = 0; item < 2 * m->n_layers; item++) {
        kvc_coder c;
        const kvc_codec *codec = item % 2 ? &layers[item / 2].value : &layers[item / 2].key;
        KVC_TRY(kvc_coder_init(&c, codec, NULL, m->n_kv_heads, m->head_dim, tokens->page, err));
        out->bytes += kvc_coder_bytes(&c, tokens, s->context);
        out->constants += c.codec.param_bytes;
        out->codes_bits += 8.0 * (double)c.page_bytes / ((double)c.page * c.head_dim * c.n_kv_heads);
    }
    out->codes_bits /= 2 * m->n_layers;
    out->bits = 8.0 * (double)out->bytes / n_values(s);
    return KVC_OK;
}

kvc_status baseline_of(baseline *out, const solution *s, const kvc_layer *layers, const eval_result *r,
                       const char *name, const char *method, kvc_error *err)
{
    plan_size size;
    KVC_TRY(measure_size(&size, s, &s->tokens, layers, err));
    *out = (baseline){.name = name,
                      .method = method,
                      .bits = size.bits,
                      .codes_bits = size.codes_bits,
                      .kl = r->kl_mean,
                      .kl_stderr = r->kl_stderr,
                      .ppl_ratio = r->ppl / r->ppl_ref,
                      .top1 = r->top1_agreement};
    return KVC_OK;
}

json_t *number_json(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

/* Null for a hash that is not known: zero. */
static json_t *hash_json(const uint8_t hash[32])
{
    static const uint8_t none[32];
    char hex[65];
    sha256_hex(hash, hex);
    return memcmp(hash, none, sizeof none) ? json_string(hex) : json_null();
}

static json_t *model_json(const kvc_model_info *m)
{
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:o,s:o}", "name", text_json(m->name), "architecture",
                     text_json(m->architecture), "layers", (json_int_t)m->n_layers, "kv_heads",
                     (json_int_t)m->n_kv_heads, "query_heads", (json_int_t)m->n_query_heads, "head_dim",
                     (json_int_t)m->head_dim, "sha256", hash_json(m->weights_sha256), "tokenizer_sha256",
                     hash_json(m->tokenizer_sha256));
}

static json_t *tokens_json(const solution *s)
{
    const kvc_token_policy *t = &s->tokens;
    return json_pack("{s:I,s:I,s:I,s:o*}", "sinks", (json_int_t)t->sinks, "window", (json_int_t)t->window, "page",
                     (json_int_t)t->page, "trials", s->n_trials ? solution_trials_json(s) : NULL);
}

/* The constants of a compiled configuration are its parameters section, else what the plan's codecs take. */
static json_t *size_json(const report_input *in, const plan_size *chosen)
{
    size_t constants = chosen->constants;
    if (in->config) kvc_config_parameters(in->config, &constants);
    json_t *file = in->config ? json_integer((json_int_t)kvc_config_file_bytes(in->config)) : json_null();
    return json_pack("{s:I,s:f,s:I,s:o}", "cache_bytes", (json_int_t)chosen->bytes, "fp16_bytes",
                     2 * n_values(in->solution), "constant_bytes", (json_int_t)constants, "file_bytes", file);
}

static json_t *chosen_json(const solution *s, const plan_size *size)
{
    return json_pack("{s:s,s:f,s:f,s:o}", "method", s->method, "bits", size->bits, "codes_bits", size->codes_bits,
                     "predicted_kl", number_json(solution_kl(s, &s->chosen)));
}

json_t *refinement_json(const solution *s)
{
    const refinement *r = &s->refined;
    if (r->evaluations == 0) return json_null();
    return json_pack("{s:I,s:I,s:I,s:o,s:o,s:o}", "evaluations", (json_int_t)r->evaluations, "plans",
                     (json_int_t)r->plans, "accepted", (json_int_t)r->accepted, "start_kl", number_json(r->start_kl),
                     "kl", number_json(r->kl), "kl_stderr", number_json(r->kl_stderr));
}

static json_t *result_json(const baseline *b)
{
    return json_pack("{s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b}", "name", text_json(b->name), "method",
                     text_json(b->method), "bits", number_json(b->bits), "codes_bits", number_json(b->codes_bits),
                     "kl", number_json(b->kl), "kl_stderr", number_json(b->kl_stderr), "ppl_ratio",
                     number_json(b->ppl_ratio), "top1", number_json(b->top1), "yardstick", b->yardstick);
}

static void add_chosen(json_t *results, const report_input *in, const plan_size *size)
{
    const eval_result *r = in->measured;
    json_t *row = result_json(&(baseline){.name = "chosen plan",
                                          .method = in->solution->method,
                                          .bits = size->bits,
                                          .codes_bits = size->codes_bits,
                                          .kl = r->kl_mean,
                                          .kl_stderr = r->kl_stderr,
                                          .ppl_ratio = r->ppl / r->ppl_ref,
                                          .top1 = r->top1_agreement});
    json_object_set_new(row, "chosen", json_true());
    json_object_set_new(row, "tokens", json_integer((json_int_t)r->n_tokens));
    json_array_append_new(results, row);
}

/* A plan that was measured on calibration text, for the prediction. */
static kvc_status add_anchor(json_t *results, const solution *s, const profile_anchor *a, kvc_error *err)
{
    const profile *p = s->profile;
    plan_size size;
    kvc_layer *layers = malloc(p->n_layers * sizeof *layers);
    if (!layers) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the report");
    for (uint32_t i = 0; i < p->n_layers; i++) layers[i] = (kvc_layer){p->keys[a->key[i]], p->values[a->value[i]]};
    kvc_status status = measure_size(&size, s, &p->tokens, layers, err);
    free(layers);
    if (status != KVC_OK) return status;
    json_t *row = result_json(&(baseline){.name = "plan of the front",
                                          .method = "exact",
                                          .bits = size.bits,
                                          .codes_bits = size.codes_bits,
                                          .kl = a->kl,
                                          .kl_stderr = a->kl_stderr,
                                          .ppl_ratio = a->ppl / a->ppl_ref,
                                          .top1 = NAN});
    json_object_set_new(row, "calibration", json_true());
    json_array_append_new(results, row);
    return KVC_OK;
}

static kvc_status add_results(json_t *doc, const report_input *in, const plan_size *chosen, kvc_error *err)
{
    json_t *results = json_array();
    kvc_status status = KVC_OK;
    if (in->measured) add_chosen(results, in, chosen);
    for (size_t i = 0; i < in->n_baselines; i++) json_array_append_new(results, result_json(&in->baselines[i]));
    for (uint32_t i = 0; status == KVC_OK && i < in->solution->profile->n_anchors; i++)
        status = add_anchor(results, in->solution, &in->solution->profile->anchors[i], err);
    json_object_set_new(doc, "results", results);
    return status;
}

/* The measurement that a prediction is of: over all text or, with --objective max, of the file that loses most; NULL:
 * none. */
static const eval_result *predicted_measure(const report_input *in)
{
    const eval_result *worst = NULL;
    if (!in->solution->objective.losses.n) return in->measured;
    for (size_t i = 0; i < in->n_domains; i++)
        if (!worst || in->domains[i].result.kl_mean > worst->kl_mean) worst = &in->domains[i].result;
    return worst;
}

/* The chosen plan's prediction on text that it was not made from joins the other pairs. */
static json_t *all_predictions_json(const report_input *in)
{
    json_t *sets = predictions_json(in->solution);
    double predicted = solution_kl(in->solution, &in->solution->chosen);
    const eval_result *measured = predicted_measure(in);
    if (!measured || isnan(predicted)) return sets;
    json_array_append_new(sets,
                          json_pack("{s:s,s:[{s:s,s:o,s:o,s:o}]}", "name", "chosen plan, on text held apart", "pairs",
                                    "name", "chosen plan", "predicted", number_json(predicted), "measured",
                                    number_json(measured->kl_mean), "stderr", number_json(measured->kl_stderr)));
    return sets;
}

static json_t *domains_json(const report_input *in)
{
    json_t *list = json_array();
    for (size_t i = 0; i < in->n_domains; i++) {
        const eval_result *r = &in->domains[i].result;
        json_array_append_new(list,
                              json_pack("{s:o,s:I,s:o,s:o,s:o,s:o,s:o}", "name", text_json(in->domains[i].name),
                                        "tokens", (json_int_t)r->n_tokens, "kl", number_json(r->kl_mean), "kl_stderr",
                                        number_json(r->kl_stderr), "ppl_ratio", number_json(r->ppl / r->ppl_ref),
                                        "top1", number_json(r->top1_agreement), "yardstick_kl",
                                        number_json(in->domains[i].yardstick_kl)));
    }
    return list;
}

static json_t *origin_json(const report_input *in)
{
    const profile *p = in->solution->profile;
    if (in->provenance) return json_deep_copy(in->provenance);
    json_t *recipe = p->recipe ? json_loads(p->recipe, 0, NULL) : NULL;
    return json_pack("{s:s,s:I,s:o}", "device", p->backend, "seed", (json_int_t)p->seed, "recipe",
                     recipe ? recipe : json_object());
}

static kvc_status measure_chosen(plan_size *out, const solution *s, kvc_error *err)
{
    plan chosen = {0};
    KVC_TRY(solution_plan(s, &s->chosen, &chosen, err));
    kvc_status status = measure_size(out, s, &s->tokens, chosen.layers, err);
    plan_free(&chosen);
    out->bytes = s->chosen.bytes; /* padding included */
    out->bits = solution_bits(s, &s->chosen);
    return status;
}

kvc_status report_doc(json_t **out, const report_input *in, kvc_error *err)
{
    const solution *s = in->solution;
    plan_size chosen;
    *out = NULL;
    KVC_TRY(measure_chosen(&chosen, s, err));
    const char *untuned = in->rivals && *in->rivals->untuned.message ? in->rivals->untuned.message : NULL;
    json_t *doc =
        json_pack("{s:o,s:o,s:I,s:o,s:o,s:o,s:s*,s:o,s:o,s:o,s:o,s:o}", "model", model_json(&s->profile->model),
                  "tokens", tokens_json(s), "context", (json_int_t)s->context, "size", size_json(in, &chosen),
                  "chosen", chosen_json(s, &chosen), "refinement", refinement_json(s), "without_kvtuner", untuned,
                  "layers", layers_json(s), "sensitivity", sensitivity_json(s), "predictions",
                  all_predictions_json(in), "domains", domains_json(in), "provenance", origin_json(in));
    if (!doc) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the report");
    json_t *fronts = NULL;
    kvc_status status = fronts_json(&fronts, s, in->rivals, err);
    json_object_set_new(doc, "fronts", fronts);
    if (status == KVC_OK) status = add_results(doc, in, &chosen, err);
    if (status == KVC_OK)
        *out = doc;
    else
        json_decref(doc);
    return status;
}
