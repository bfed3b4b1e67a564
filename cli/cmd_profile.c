/* cmd_profile.c - kvcalib profile MODEL -o profile.h5 */
#include "candidates.h"
#include "command.h"
#include "console.h"
#include "dry_run.h"
#include "output_check.h"
#include "score.h"
#include "stage_profile.h"

typedef struct profiling {
    subject subject;
    corpus corpus;
    codec_space space;
    json_t *fingerprint;
    workdir work;
} profiling;

static kvc_status work(profiling *x, const settings *s, const char *hex, kvc_error *err)
{
    profile *p = NULL;
    KVC_TRY(workdir_open(&x->work, s, x->fingerprint, err));
    KVC_TRY(stage_profile(&p, s, &x->subject, &x->corpus, &x->space, &x->work, x->fingerprint, hex, err));
    kvc_status status = profile_save(p, s->output, err);
    if (status == KVC_OK) {
        profile_forget(x->work.path, p->n_layers);
        workdir_remove(&x->work);
        console_note("%s: %u layers, %u key and %u value candidates, %llu tokens", s->output, p->n_layers, p->n_keys,
                     p->n_values, (unsigned long long)p->n_tokens);
    }
    profile_free(p);
    return status;
}

static kvc_status prepare(profiling *x, const settings *s, char hex[65], kvc_error *err)
{
    if (!s->dry_run) KVC_TRY(output_check(s->output, err));
    KVC_TRY(subject_open(&x->subject, s, !s->dry_run, err));
    KVC_TRY(corpus_open(&x->corpus, s, &x->subject, false, err));
    KVC_TRY(candidates_read(&x->space, s, &x->subject.model->info, err));
    if (s->dry_run) return dry_run_profile(s, &x->subject, &x->corpus, &x->space, err);
    return profile_fingerprint(&x->fingerprint, hex, s, &x->subject, &x->corpus, &x->space, err);
}

kvc_status command_profile(settings *s, kvc_error *err)
{
    profiling x = {.work.lock = -1};
    char hex[65];
    kvc_status status = prepare(&x, s, hex, err);
    if (status == KVC_OK && !s->dry_run) status = resumable(work(&x, s, hex, err), &x.work, err);
    workdir_close(&x.work);
    json_decref(x.fingerprint);
    space_free(&x.space);
    corpus_close(&x.corpus);
    subject_close(&x.subject);
    return status;
}
