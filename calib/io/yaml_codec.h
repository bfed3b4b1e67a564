/* yaml_codec.h - codec specs in YAML files (plans and spaces). */
#ifndef CALIB_IO_YAML_CODEC_H
#define CALIB_IO_YAML_CODEC_H
#include "kvc/codec.h"
#include "yaml.h"

/* A failure has the parser's status and message, with the place before it. */
kvc_status yaml_to_codec(const yaml_file *f, const yaml_value *v, const char *field, kvc_codec *out, kvc_error *err);
#endif
