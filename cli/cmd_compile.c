/* cmd_compile.c - kvcalib compile plan.yaml -o cfg.bin [--kernels DIR]: the model's identity comes from the profile
 * or from the model itself. */
#include "command.h"
#include "config_image.h"
#include "console.h"
#include "kernel_folder.h"
#include "output.h"
#include "profile.h"
#include "provenance.h"
#include "sha256.h"
#include "subject.h"

typedef struct sources {
    profile *profile;
    model *model;
    const kvc_model_info *info;
} sources;

static kvc_status open_sources(sources *x, const settings *s, kvc_error *err)
{
    if (!s->profile && !s->model)
        return kvc_fail(err, KVC_INVALID, "compile: say with --model or --profile which model the plan is for");
    if (s->profile) KVC_TRY(profile_load(&x->profile, s->profile, err));
    if (s->model) KVC_TRY(model_open(&x->model, s->model, true, err));
    x->info = x->model ? &x->model->info : &x->profile->model;
    return s->profile && s->model ? model_info_match(&x->profile->model, s->profile, x->info, s->model, err) : KVC_OK;
}

static kvc_status compile(const settings *s, const sources *x, kvc_error *err)
{
    const char *path = s->operands[0];
    kvc_token_policy defaults = settings_tokens(s, x->profile ? &x->profile->tokens : NULL);
    plan plan;
    config_image image = {0};
    uint8_t hash[32];
    KVC_TRY(plan_read(&plan, path, x->info->n_layers, &defaults, err));
    kvc_status status = sha256_file(path, hash, err);
    json_t *provenance = status == KVC_OK ? provenance_compile(path, hash, x->profile) : NULL;
    if (status == KVC_OK) status = config_image_compile(&image, x->info, &plan, path, x->profile, provenance, err);
    if (status == KVC_OK) status = kernel_folder_write(s, image.config, path, err);
    if (status == KVC_OK) status = output_write(s->output, image.bytes, image.n, err);
    if (status == KVC_OK) console_note("%s: %u layers, %zu bytes", s->output, x->info->n_layers, image.n);
    config_image_free(&image);
    json_decref(provenance);
    plan_free(&plan);
    return status;
}

kvc_status command_compile(settings *s, kvc_error *err)
{
    sources x = {0};
    if (s->softcap && !s->kernels)
        return kvc_fail(err, KVC_INVALID, "compile: --softcap says what --kernels are for, and there are none");
    kvc_status status = open_sources(&x, s, err);
    if (status == KVC_OK) status = compile(s, &x, err);
    profile_free(x.profile);
    model_close(x.model);
    return status;
}
