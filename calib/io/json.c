#include "json.h"

#include <stdlib.h>
#include "output.h"

/* jansson quotes the input near the error: control characters in it must not break the one-line rule. */
static kvc_status fail_at(const char *what, const json_error_t *at, kvc_error *err)
{
    char text[JSON_ERROR_TEXT_LENGTH];
    size_t n = 0;
    for (; at->text[n]; n++) text[n] = (unsigned char)at->text[n] < 0x20 ? ' ' : at->text[n];
    text[n] = '\0';
    if (json_error_code(at) == json_error_out_of_memory)
        return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", what);
    return kvc_fail(err, KVC_FORMAT, "%s:%d:%d: %s", what, at->line, at->column, text);
}

kvc_status json_read_text(json_t **out, const char *text, size_t n, const char *what, kvc_error *err)
{
    json_error_t at;
    *out = json_loadb(text, n, JSON_REJECT_DUPLICATES, &at);
    return *out ? KVC_OK : fail_at(what, &at, err);
}

kvc_status json_read_file(json_t **out, const char *path, size_t max_bytes, kvc_error *err)
{
    char *text;
    size_t n;
    *out = NULL;
    KVC_TRY(input_read(&text, &n, path, max_bytes, err));
    kvc_status status = json_read_text(out, text, n, path, err);
    free(text);
    return status;
}

char *json_canonical(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
}
