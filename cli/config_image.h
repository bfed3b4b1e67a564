/* config_image.h - a configuration opened from a file, or compiled in memory from a plan. */
#ifndef CLI_CONFIG_IMAGE_H
#define CLI_CONFIG_IMAGE_H
#include <jansson.h>
#include "plan.h"
#include "profile.h"

typedef struct config_image {
    void *bytes; /* what would be, or is, the file */
    size_t n;
    kvc_config *config;
} config_image;

kvc_status config_image_read(config_image *out, const char *path, kvc_error *err);
/* provenance may be NULL, profile too where no codec is fitted. A plan that names other weights than the model's is
 * KVC_MISMATCH; `plan_name` is for messages. */
kvc_status config_image_compile(config_image *out, const kvc_model_info *model, const plan *plan,
                                const char *plan_name, const profile *profile, const json_t *provenance,
                                kvc_error *err);
/* Every layer fp16: the exact cache. */
kvc_status config_image_exact(config_image *out, const kvc_model_info *model, const kvc_token_policy *tokens,
                              kvc_error *err);
void config_image_free(config_image *image);
#endif
