/* cmd_verify.c - kvcalib verify cfg.bin [--model MODEL]: opening checks structure and XXH3 of every section; here the
 * SHA-256 of the decisions is computed anew, and the model's identity compared. A file that is no configuration is
 * bad input (exit 3). */
#include "inspect_json.h"
#include "cfg_write.h"
#include "command.h"
#include "config_image.h"
#include "sha256.h"
#include "subject.h"
#include <string.h>

static kvc_status check_identity(const config_image *image, const char *path, kvc_error *err)
{
    uint8_t id[32];
    KVC_TRY(cfg_identity(image->bytes, image->n, id, err));
    if (memcmp(id, kvc_config_id(image->config), 32) == 0) return KVC_OK;
    return kvc_fail(err, KVC_MISMATCH, "%s: the identity in the header is not the SHA-256 of the decision sections",
                    path);
}

static kvc_status check_tokenizer(const kvc_model_info *cfg, const kvc_model_info *model, kvc_error *err)
{
    if (memcmp(cfg->tokenizer_sha256, model->tokenizer_sha256, 32) == 0) return KVC_OK;
    return kvc_fail(err, KVC_MISMATCH,
                    "the model's tokenizer.json is not the one that the configuration was made with");
}

static kvc_status check_model(const config_image *image, const settings *s, bool *opened, kvc_error *err)
{
    model *m = NULL;
    const kvc_model_info *info = kvc_config_model(image->config);
    KVC_TRY(model_open(&m, s->model, true, err));
    *opened = true;
    kvc_status status = model_info_match(info, s->operands[0], &m->info, s->model, err);
    if (status == KVC_OK) status = check_tokenizer(info, &m->info, err);
    model_close(m);
    return status;
}

static void report(const config_image *image, const settings *s, const kvc_error *why)
{
    char id[65];
    sha256_hex(kvc_config_id(image->config), id);
    if (s->json) {
        json_t *o =
            json_pack("{s:s,s:b,s:o,s:o}", "id", id, "matches", !s->differs, "model", json_boolean(s->model != NULL),
                      "reason", s->differs ? text_json(why->message) : json_null());
        json_dumpf(o, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(o);
    } else if (s->differs) {
        printf("%s\n", why->message);
    } else {
        printf("%s: whole%s; id %s\n", s->operands[0], s->model ? ", and made for this model" : "", id);
    }
}

kvc_status command_verify(settings *s, kvc_error *err)
{
    config_image image;
    bool opened = true;
    kvc_error why = {0};
    KVC_TRY(config_image_read(&image, s->operands[0], err));
    kvc_status status = check_identity(&image, s->operands[0], &why);
    if (status == KVC_OK && s->model) {
        opened = false;
        status = check_model(&image, s, &opened, &why);
    }
    s->differs = status == KVC_MISMATCH && opened;
    if (status == KVC_OK || s->differs) {
        report(&image, s, &why);
        status = KVC_OK;
    } else {
        *err = why;
    }
    config_image_free(&image);
    return status;
}
