/* provenance.c - see provenance.h. */
#include "provenance.h"
#include "build_id.h"
#include "recipe.h"
#include "report_doc.h"
#include "sha256.h"
#include <math.h>
#include <string.h>

enum { FRONT_POINTS = 32 };

json_t *eval_result_json(const eval_result *r)
{
    return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f}", "tokens", (json_int_t)r->n_tokens, "ppl_ref", r->ppl_ref, "ppl",
                     r->ppl, "kl_mean", r->kl_mean, "kl_stderr", r->kl_stderr, "top1_agreement", r->top1_agreement);
}

static json_t *tool_json(void)
{
    return json_sprintf("kvcalib %s", build_version());
}

static json_t *tokens_json(const sequence_set *s)
{
    uint8_t hash[32];
    char hex[65];
    sequences_sha256(s, hash);
    sha256_hex(hash, hex);
    return json_pack("{s:I,s:I,s:s}", "tokens", (json_int_t)sequences_tokens(s), "sequences", (json_int_t)s->n,
                     "sha256", hex);
}

static json_t *predicted_json(const solution *s)
{
    double kl = solution_kl(s, &s->chosen);
    return json_pack("{s:f,s:f,s:s,s:o}", "bits_per_value", solution_bits(s, &s->chosen), "loss", s->chosen.loss,
                     "measure", s->priced.from_prices ? "sum of prices" : "sum of local losses", "kl",
                     isfinite(kl) ? json_real(kl) : json_null());
}

static json_t *recipe_of(const profile *p)
{
    json_t *recipe = json_loads(p->recipe, 0, NULL);
    return recipe ? recipe : json_object();
}

json_t *provenance_run(const settings *s, const profile *p, const corpus *corpus, const solution *solution,
                       const eval_result *r)
{
    json_t *recipe = recipe_of(p), *plan_part = recipe_json(s, ROLE_PLAN);
    json_object_update(recipe, plan_part);
    json_decref(plan_part);
    return json_pack("{s:o,s:o,s:s,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o*,s:o*}", "tool", tool_json(), "recipe", recipe,
                     "device", p->backend, "seed", (json_int_t)p->seed, "prompts",
                     prompt_files_json(corpus->files, corpus->n_files), "holdout_prompts",
                     prompt_files_json(corpus->held_files, corpus->n_held_files), "calibration",
                     tokens_json(&corpus->calibration), "holdout", tokens_json(&corpus->holdout), "predicted",
                     predicted_json(solution), "measured", eval_result_json(r), "front",
                     solution_front_json(solution, FRONT_POINTS, true), "token_trials",
                     solution->n_trials ? solution_trials_json(solution) : NULL, "refinement",
                     solution->refined.evaluations ? refinement_json(solution) : NULL);
}

json_t *provenance_compile(const char *plan_path, const uint8_t plan_sha256[32], const profile *p)
{
    char hex[65];
    const char *slash = strrchr(plan_path, '/');
    json_t *name = json_string(slash ? slash + 1 : plan_path);
    sha256_hex(plan_sha256, hex);
    json_t *o = json_pack("{s:o,s:{s:o,s:s}}", "tool", tool_json(), "plan", "name",
                          name ? name : json_string("(no UTF-8)"), "sha256", hex);
    if (!p) return o;
    json_object_set_new(o, "recipe", recipe_of(p));
    json_object_set_new(o, "device", json_string(p->backend));
    json_object_set_new(o, "seed", json_integer((json_int_t)p->seed));
    return o;
}
