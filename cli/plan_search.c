/* plan_search.c - see plan_search.h. */
#include "plan_search.h"
#include "corpus.h"
#include "sha256.h"

kvc_status plan_search_text(sequence_set *out, const settings *s, const sequence_set *calibration, kvc_error *err)
{
    return sequences_slice(out, calibration, 0, sequences_within(calibration, s->price_tokens), err);
}

kvc_status plan_search_bind(bound_plan *out, const solution *s, const uint16_t *choice, kvc_error *err)
{
    const profile *p = s->profile;
    const front_point point = {.choice = (uint16_t *)choice};
    plan plan;
    KVC_TRY(solution_plan(s, &point, &plan, err));
    kvc_status status = bound_plan_new(out, p, &p->model, plan.tokens.page, plan.layers, err);
    plan_free(&plan);
    return status;
}

/* What measurements belong to; the options of items are part of each record's plan. */
static json_t *header_json(const profile *p, const kvc_token_policy *tokens, const settings *s,
                           const sequence_set *text)
{
    uint8_t hash[32];
    char hex[65];
    sequences_sha256(text, hash);
    sha256_hex(hash, hex);
    return json_pack("{s:s,s:s,s:I,s:s,s:[I,I,I]}", "profile", p->fingerprint, "text", hex, "rows",
                     (json_int_t)s->price_rows, "objective", s->objective, "tokens", (json_int_t)tokens->sinks,
                     (json_int_t)tokens->window, (json_int_t)tokens->page);
}

kvc_status plan_search_file(refine_file *f, const char *name, const profile *p, const kvc_token_policy *tokens,
                            const settings *s, const sequence_set *text, const workdir *w, kvc_error *err)
{
    char path[4096];
    json_t *header = header_json(p, tokens, s, text);
    if (!header) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for a header");
    workdir_file(w, name, path, sizeof path);
    kvc_status status = refine_file_open(f, path, header, s->resume, err);
    json_decref(header);
    return status;
}
