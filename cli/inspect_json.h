/* inspect_json.h - a configuration as JSON (contract: docs/commands.md, inspect). */
#ifndef CLI_INSPECT_JSON_H
#define CLI_INSPECT_JSON_H
#include <jansson.h>
#include "kvc/codec.h"

kvc_status inspect_json_print(const kvc_config *c, uint64_t context, kvc_error *err);
/* The provenance section, or an empty object where there is none or it is not JSON. Owned. */
json_t *provenance_json(const kvc_config *c);
/* A JSON string; "(no UTF-8)" stands for what cannot be one. */
json_t *text_json(const char *text);
#endif
