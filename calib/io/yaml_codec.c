/* yaml_codec.c - a spec string at a place in a YAML file. */
#include "yaml_codec.h"

kvc_status yaml_to_codec(const yaml_file *f, const yaml_value *v, const char *field, kvc_codec *out, kvc_error *err)
{
    const char *spec = "";
    kvc_error inner;
    KVC_TRY(yaml_to_text(f, v, field, &spec, err));
    kvc_status status = kvc_codec_parse(out, spec, &inner);
    if (status != KVC_OK) yaml_fail(f, v, err, "%s: %s", field, inner.message);
    return status;
}
