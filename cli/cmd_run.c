/* cmd_run.c - kvcalib run MODEL -o cfg.bin: profile, solve, compile, and measure the result on text held apart. */
#include "baselines.h"
#include "candidates.h"
#include "command.h"
#include "config_image.h"
#include "console.h"
#include "dry_run.h"
#include "front_file.h"
#include "item_price.h"
#include "kernel_folder.h"
#include "kvtuner_space.h"
#include "limits.h"
#include "measure_plan.h"
#include "output_check.h"
#include "plan_file.h"
#include "provenance.h"
#include "run_domains.h"
#include "run_report.h"
#include "report_file.h"
#include "stage_kvtuner.h"
#include "stage_policy.h"
#include "stage_profile.h"
#include "stage_refine.h"
#include <string.h>
#include <unistd.h>

typedef struct job_state {
    subject subject;
    corpus corpus;
    codec_space space;
    json_t *fingerprint;
    char hex[65];
    workdir work;
    profile *profile;
    solution solution;
    rivals rivals;
    hidden_states *reference; /* the exact model's final states of the text held apart */
    eval_result measured;
    run_domains domains;
    baselines baselines;
    config_image image;
} job_state;

/* A size or limits that no candidates have, or candidates that KVTuner's method lacks: none needs losses. */
static kvc_status check_candidates(const profile *empty, const settings *s, kvc_error *err)
{
    solution cheapest = {0};
    kvtuner_space space;
    kvc_status status = KVC_OK;
    kvc_token_policy tokens = policy_least(s);
    if (s->bits > 0)
        status = solution_find_among(&cheapest, empty, &tokens, s, NULL, err);
    else if (limits_asked(s))
        status = solution_front_among(&cheapest, empty, &tokens, s, NULL, err);
    else if (strcmp(s->method, "kvtuner") == 0) {
        KVC_TRY(kvtuner_space_new(&space, empty, NULL, err));
        kvtuner_space_free(&space);
    }
    solution_free(&cheapest);
    return status;
}

/* What cannot come out is refused before the model runs, a loss without anything to predict it from too. */
static kvc_status check_budget(const job_state *x, const settings *s, kvc_error *err)
{
    profile *empty = NULL;
    kvc_token_policy tokens = settings_tokens(s, NULL);
    const codec_space *space = &x->space;
    if (s->bits == 0 && s->anchor_tokens == 0 && strcmp(s->price, "local") == 0)
        return kvc_fail(err, KVC_INVALID,
                        "--max-loss needs measured plans or prices: not with --anchor-tokens 0 and --price local; or "
                        "use --bits");
    if (policy_is_auto(s) && policy_count(s, sequences_longest(&x->corpus.calibration)) == 0)
        return kvc_fail(
            err, KVC_INPUT,
            "--window auto, --sinks auto: sequences of %zu tokens and --context %llu leave no half of the "
            "positions compressed pages to read",
            sequences_longest(&x->corpus.calibration), (unsigned long long)s->context);
    kvc_status status = profile_new(&empty, &x->subject.model->info, &tokens, space->keys, space->n_keys,
                                    space->values, space->n_values, err);
    if (status == KVC_OK) status = check_candidates(empty, s, err);
    profile_free(empty);
    return status;
}

static kvc_status prepare(job_state *x, const settings *s, kvc_error *err)
{
    if (!s->dry_run) KVC_TRY(output_check(s->output, err));
    if (!s->dry_run && s->report) KVC_TRY(output_check(s->report, err));
    if (!s->dry_run && s->front) KVC_TRY(output_check(s->front, err));
    KVC_TRY(subject_open(&x->subject, s, !s->dry_run, err));
    KVC_TRY(corpus_open(&x->corpus, s, &x->subject, true, err));
    KVC_TRY(kernel_folder_check(s, &x->subject.model->info, err));
    KVC_TRY(candidates_read(&x->space, s, &x->subject.model->info, err));
    KVC_TRY(check_budget(x, s, err));
    if (s->dry_run) return dry_run_profile(s, &x->subject, &x->corpus, &x->space, err);
    return profile_fingerprint(&x->fingerprint, x->hex, s, &x->subject, &x->corpus, &x->space, err);
}

/* The work directory's profile.h5, if --resume may use it. */
static kvc_status load_finished(job_state *x, const settings *s, const char *path, kvc_error *err)
{
    if (!s->resume || access(path, F_OK) != 0) return KVC_OK;
    KVC_TRY(profile_load(&x->profile, path, err));
    if (strcmp(x->profile->fingerprint, x->hex) == 0) {
        console_note("profile: %s is done", path);
        return KVC_OK;
    }
    profile_free(x->profile);
    x->profile = NULL;
    return KVC_OK;
}

static kvc_status make_profile(job_state *x, const settings *s, kvc_error *err)
{
    char path[4096];
    workdir_file(&x->work, "profile.h5", path, sizeof path);
    KVC_TRY(load_finished(x, s, path, err));
    if (x->profile) return KVC_OK;
    KVC_TRY(stage_profile(&x->profile, s, &x->subject, &x->corpus, &x->space, &x->work, x->fingerprint, x->hex, err));
    KVC_TRY(profile_save(x->profile, path, err));
    profile_forget(x->work.path, x->profile->n_layers);
    return KVC_OK;
}

/* The bytes that refinement may use: what was asked for, or what the plan for a loss takes. */
static uint64_t refine_budget(const job_state *x, const settings *s)
{
    return s->bits > 0 ? solution_budget(&x->solution, s->bits) : x->solution.chosen.bytes;
}

/* What the model itself says of plans: --evaluations of them. */
static kvc_status measure_plans(job_state *x, const settings *s, kvc_error *err)
{
    if (s->evaluations == 0) return KVC_OK;
    if (strcmp(s->method, "kvtuner") == 0)
        return stage_kvtuner(&x->solution, s, &x->subject, &x->corpus.calibration, &x->work, err);
    return stage_refine(&x->solution, refine_budget(x, s), (uint32_t)s->evaluations, s, &x->subject,
                        &x->corpus.calibration, &x->work, err);
}

static kvc_status find_plan(job_state *x, const settings *s, kvc_error *err)
{
    if (!policy_is_auto(s)) return solution_find(&x->solution, x->profile, s, err);
    return stage_policy(&x->solution, x->profile, s, &x->subject, &x->corpus.calibration, &x->work, err);
}

static kvc_status make_plan(job_state *x, const settings *s, kvc_error *err)
{
    char path[4096];
    KVC_TRY(find_plan(x, s, err));
    objective_note(x->profile, s, x->corpus.n_files);
    item_price_note(x->profile);
    KVC_TRY(measure_plans(x, s, err));
    limits_note(&x->solution.priced, x->profile, s, x->solution.chosen.choice);
    workdir_file(&x->work, "plan.yaml", path, sizeof path);
    return plan_file_write(&x->solution, path, err);
}

static kvc_status measure(job_state *x, const settings *s, const plan *plan, kvc_error *err)
{
    const sequence_set *text = &x->corpus.holdout;
    KVC_TRY(run_domains_new(&x->domains, &x->corpus, err));
    console_units("tokens", (double)sequences_tokens(text));
    KVC_TRY(evaluate_exact(&x->reference, x->subject.model, x->subject.backend, text, s->memory, console_job(),
                           "measure", err));
    const plan_measure m = {x->profile, s, &x->subject, text, x->reference, "measure"};
    return measure_plan(&m, &plan->tokens, plan->layers, &x->measured, x->domains.files, err);
}

static kvc_status make_report(job_state *x, const settings *s, const json_t *provenance, kvc_error *err)
{
    KVC_TRY(rivals_find(&x->rivals, &x->solution, s->seed, err));
    KVC_TRY(baselines_measure(&x->baselines, s, &x->subject, &x->rivals, &x->corpus.holdout, x->reference,
                              x->domains.yardstick, err));
    run_domains_list(&x->domains);
    const report_input in = {.solution = &x->solution,
                             .config = x->image.config,
                             .measured = &x->measured,
                             .baselines = x->baselines.list,
                             .n_baselines = x->baselines.n,
                             .domains = x->domains.list,
                             .n_domains = x->domains.n,
                             .rivals = &x->rivals,
                             .provenance = provenance};
    return report_file_write(&in, s->report, err);
}

static kvc_status make_config(job_state *x, const settings *s, const plan *plan, kvc_error *err)
{
    json_t *provenance = provenance_run(s, x->profile, &x->corpus, &x->solution, &x->measured);
    if (!provenance) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the provenance");
    kvc_status status =
        config_image_compile(&x->image, &x->profile->model, plan, "the plan", x->profile, provenance, err);
    if (status == KVC_OK) status = kernel_folder_write(s, x->image.config, "the plan", err);
    if (status == KVC_OK) status = output_write(s->output, x->image.bytes, x->image.n, err);
    if (status == KVC_OK && s->front) status = front_file_write(&x->solution, s->front, err);
    if (status == KVC_OK && s->report) status = make_report(x, s, provenance, err);
    json_decref(provenance);
    return status;
}

static kvc_status work(job_state *x, const settings *s, kvc_error *err)
{
    plan plan = {0};
    KVC_TRY(workdir_open(&x->work, s, x->fingerprint, err));
    console_lap("opening");
    KVC_TRY(make_profile(x, s, err));
    KVC_TRY(make_plan(x, s, err));
    console_lap("plan");
    kvc_status status = solution_plan(&x->solution, &x->solution.chosen, &plan, err);
    if (status == KVC_OK) status = measure(x, s, &plan, err);
    console_lap("measuring");
    if (status == KVC_OK) status = make_config(x, s, &plan, err);
    console_lap("writing");
    plan_free(&plan);
    if (status == KVC_OK) run_report(s, &x->image, &x->solution, &x->measured, &x->work);
    return status;
}

kvc_status command_run(settings *s, kvc_error *err)
{
    job_state x = {.work.lock = -1};
    kvc_status status = prepare(&x, s, err);
    if (status == KVC_OK && !s->dry_run) status = resumable(work(&x, s, err), &x.work, err);
    config_image_free(&x.image);
    hidden_free(x.reference);
    run_domains_free(&x.domains);
    rivals_free(&x.rivals);
    solution_free(&x.solution);
    profile_free(x.profile);
    workdir_close(&x.work);
    json_decref(x.fingerprint);
    space_free(&x.space);
    corpus_close(&x.corpus);
    subject_close(&x.subject);
    return status;
}
