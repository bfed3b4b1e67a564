/* candidates.h - the codecs that a profile measures. */
#ifndef CLI_CANDIDATES_H
#define CLI_CANDIDATES_H
#include <jansson.h>
#include "plan.h"
#include "settings.h"

/* --space, or the built-in space less the codecs that do not fit the model's shape. Owned: space_free(). */
kvc_status candidates_read(codec_space *out, const settings *s, const kvc_model_info *model, kvc_error *err);
/* ["int4.ch64", ...] */
json_t *specs_json(const kvc_codec *codecs, uint32_t n);
#endif
