/* json.h - JSON files and text with errors that name file and line (jansson). Duplicate keys are refused. */
#ifndef CALIB_IO_JSON_H
#define CALIB_IO_JSON_H
#include <jansson.h>
#include "kvc/kvc.h"

/* Owned: json_decref(). Files above max_bytes are KVC_FORMAT. */
kvc_status json_read_file(json_t **out, const char *path, size_t max_bytes, kvc_error *err);
/* `what` names the source in messages ("model.safetensors: header"). */
kvc_status json_read_text(json_t **out, const char *text, size_t n, const char *what, kvc_error *err);
/* Canonical text: sorted keys, compact, reals as %.9g. Owned: free(). */
char *json_canonical(const json_t *value);
#endif
