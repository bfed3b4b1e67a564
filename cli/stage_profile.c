/* stage_profile.c - see stage_profile.h. */
#include "stage_profile.h"
#include "build_id.h"
#include "anchors.h"
#include "candidates.h"
#include "console.h"
#include "json.h"
#include "prices.h"
#include "probed.h"
#include "recipe.h"
#include "score.h"
#include "sha256.h"
#include <stdlib.h>
#include <string.h>

static json_t *hex_json(const uint8_t hash[32])
{
    char hex[65];
    sha256_hex(hash, hex);
    return json_string(hex);
}

/* The recipe as far as the profile depends on it, candidates included. */
static json_t *profile_recipe(const settings *s, const corpus *corpus, const codec_space *space)
{
    json_t *recipe = recipe_json(s, ROLE_PROFILE);
    json_object_set_new(recipe, "seq_len", json_integer(corpus->seq_len));
    json_object_set_new(recipe, "keys", specs_json(space->keys, space->n_keys));
    json_object_set_new(recipe, "values", specs_json(space->values, space->n_values));
    return recipe;
}

kvc_status profile_fingerprint(json_t **out, char hex[65], const settings *s, const subject *subject,
                               const corpus *corpus, const codec_space *space, kvc_error *err)
{
    uint8_t text[32], build[32], whole[32];
    const kvc_model_info *m = &subject->model->info;
    KVC_TRY(build_sha256(build, err));
    sequences_sha256(&corpus->calibration, text);
    *out = json_pack("{s:o,s:o,s:o,s:o,s:o}", "model", hex_json(m->weights_sha256), "tokenizer",
                     hex_json(m->tokenizer_sha256), "text", hex_json(text), "recipe",
                     profile_recipe(s, corpus, space), "build", hex_json(build));
    char *canonical = *out ? json_canonical(*out) : NULL;
    if (!canonical) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    sha256_bytes(canonical, strlen(canonical), whole);
    sha256_hex(whole, hex);
    free(canonical);
    return KVC_OK;
}

/* The prompt files of which something is probed are the profile's domains. */
static kvc_status name_domains(profile *p, const settings *s, const corpus *corpus, kvc_error *err)
{
    probed_set probed;
    KVC_TRY(probed_new(&probed, &corpus->calibration, &p->tokens, s->probe_sequences, err));
    const char **names = calloc(probed.n_domains + 1u, sizeof *names);
    for (uint32_t i = 0; names && i < probed.n_files; i++)
        if (probed.domain[i] != NO_DOMAIN) names[probed.domain[i]] = corpus->files[i].name;
    kvc_status status = names ? profile_set_domains(p, names, probed.n_domains, err)
                              : kvc_fail(err, KVC_NO_MEMORY, "out of memory for domains");
    free(names);
    probed_free(&probed);
    return status;
}

static kvc_status begin(profile **out, const settings *s, const subject *subject, const corpus *corpus,
                        const codec_space *space, const json_t *fingerprint, const char *hex, kvc_error *err)
{
    kvc_token_policy tokens = settings_tokens(s, NULL);
    KVC_TRY(profile_new(out, &subject->model->info, &tokens, space->keys, space->n_keys, space->values,
                        space->n_values, err));
    profile *p = *out;
    p->seq_len = corpus->seq_len;
    snprintf(p->fingerprint, sizeof p->fingerprint, "%s", hex);
    free(p->recipe);
    p->recipe = json_canonical(json_object_get(fingerprint, "recipe"));
    if (!p->recipe) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    return name_domains(p, s, corpus, err);
}

kvc_status stage_profile(profile **out, const settings *s, const subject *subject, const corpus *corpus,
                         const codec_space *space, const workdir *w, const json_t *fingerprint, const char *hex,
                         kvc_error *err)
{
    hidden_states *final = NULL;
    profile_times times = {0};
    profile_options options = {
        .times = &times,
        .probe_rows = (uint32_t)s->probe_rows,
        .probe_sequences = (uint32_t)s->probe_sequences,
        .fit_rows = s->fit_rows,
        .fit_from = corpus_measured(s, &corpus->calibration),
        .fit = settings_fit(s),
        .antkv_keys = strcmp(s->weights, "antkv") == 0,
        .seed = s->seed,
        .memory_limit = s->memory,
        .workdir = w->path,
        .checkpoint_seconds = s->checkpoint_interval,
        .resume = s->resume,
    };
    kvc_status status = begin(out, s, subject, corpus, space, fingerprint, hex, err);
    console_units("tokens", (double)sequences_tokens(&corpus->calibration));
    if (status == KVC_OK)
        status = profile_measure(*out, subject->model, subject->backend, &corpus->calibration, &options, &final,
                                 console_job(), err);
    console_lap("profile");
    console_detail("time: profile: layers %.2f, sensitivity %.2f, fits %.2f, losses %.2f, checkpoints %.2f s",
                   times.layers, times.sensitivity, times.fits, times.losses, times.checkpoints);
    if (status == KVC_OK) status = prices_measure(*out, s, subject, &corpus->calibration, w, err);
    console_lap("prices");
    if (status == KVC_OK) status = anchors_measure(*out, s, subject, &corpus->calibration, final, err);
    console_lap("anchors");
    hidden_free(final);
    if (status != KVC_OK) {
        profile_free(*out);
        *out = NULL;
    }
    return status;
}

kvc_status resumable(kvc_status status, const workdir *w, kvc_error *err)
{
    if (status != KVC_INTERRUPTED) return status;
    return kvc_fail(err, status, "interrupted; the same command with --resume goes on from %s", w->path);
}
