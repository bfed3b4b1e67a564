#include "stop_tokens.h"
#include "json.h"
#include <unistd.h>

#define MAX_FILE ((size_t)1 << 24)

static kvc_status add(stop_tokens *out, const json_t *id, const char *path, kvc_error *err)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > UINT32_MAX)
        return kvc_fail(err, KVC_FORMAT, "%s: \"eos_token_id\": expected a token id or a list of them", path);
    if (out->n == MAX_STOP_TOKENS) return kvc_fail(err, KVC_FORMAT, "%s: \"eos_token_id\": too many ids", path);
    out->ids[out->n++] = (uint32_t)json_integer_value(id);
    return KVC_OK;
}

static kvc_status read_ids(stop_tokens *out, const json_t *value, const char *path, kvc_error *err)
{
    if (!value || json_is_null(value)) return KVC_OK;
    if (!json_is_array(value)) return add(out, value, path, err);
    for (size_t i = 0; i < json_array_size(value); i++) KVC_TRY(add(out, json_array_get(value, i), path, err));
    return KVC_OK;
}

static kvc_status read_file(stop_tokens *out, const model *m, const char *name, kvc_error *err)
{
    char path[4096];
    json_t *root;
    snprintf(path, sizeof path, "%s/%s", weights_folder(m->weights), name);
    if (access(path, F_OK) != 0) return KVC_OK;
    KVC_TRY(json_read_file(&root, path, MAX_FILE, err));
    kvc_status status = read_ids(out, json_object_get(root, "eos_token_id"), path, err);
    json_decref(root);
    return status;
}

kvc_status stop_tokens_read(stop_tokens *out, const model *m, kvc_error *err)
{
    *out = (stop_tokens){0};
    KVC_TRY(read_file(out, m, "generation_config.json", err));
    return out->n ? KVC_OK : read_file(out, m, "config.json", err);
}

bool stop_tokens_hold(const stop_tokens *s, uint32_t id)
{
    size_t i = 0;
    while (i < s->n && s->ids[i] != id) i++;
    return i < s->n;
}
