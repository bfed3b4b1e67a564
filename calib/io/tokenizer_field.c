#include "tokenizer_field.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "tokenizer_text.h"

field field_root(const char *what, const json_t *value)
{
    return (field){.what = what, .value = value};
}

/* A path that does not fit is cut: it still says where to look. */
static field make(const field *parent, const json_t *value, const char *format, ...) KVC_PRINTF(3, 4);
static field make(const field *parent, const json_t *value, const char *format, ...)
{
    field f = {.what = parent->what, .value = value};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f.path, sizeof f.path, format, arguments);
    va_end(arguments);
    return f;
}

field field_get(const field *parent, const char *key)
{
    return make(parent, json_object_get(parent->value, key), "%s%s%s", parent->path, parent->path[0] ? "." : "", key);
}

field field_member(const field *parent, const char *key, const json_t *value)
{
    return make(parent, value, "%s[\"%s\"]", parent->path, quote(key, strlen(key)).text);
}

field field_at(const field *parent, size_t index)
{
    return make(parent, json_array_get(parent->value, index), "%s[%zu]", parent->path, index);
}

bool field_given(const field *f)
{
    return f->value && !json_is_null(f->value);
}

kvc_status field_fail(const field *f, kvc_status status, kvc_error *err, const char *format, ...)
{
    char text[320];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return kvc_fail(err, status, "%s: %s%s%s", f->what, f->path, f->path[0] ? ": " : "", text);
}

static kvc_status expect(const field *f, bool ok, const char *type, kvc_error *err)
{
    if (ok) return KVC_OK;
    return field_fail(f, KVC_FORMAT, err, f->value ? "is not %s" : "is missing (%s)", type);
}

kvc_status field_object(const field *f, kvc_error *err)
{
    return expect(f, json_is_object(f->value), "an object", err);
}

kvc_status field_array(const field *f, size_t *n, kvc_error *err)
{
    *n = json_array_size(f->value);
    return expect(f, json_is_array(f->value), "an array", err);
}

kvc_status field_text(const field *f, const char **text, size_t *n, kvc_error *err)
{
    *text = json_string_value(f->value);
    *n = json_string_length(f->value);
    return expect(f, *text, "a string", err);
}

kvc_status field_bool(const field *parent, const char *key, bool fallback, bool *out, kvc_error *err)
{
    field f = field_get(parent, key);
    *out = field_given(&f) ? json_is_true(f.value) : fallback;
    return expect(&f, !field_given(&f) || json_is_boolean(f.value), "true or false", err);
}

kvc_status field_index(const field *f, uint64_t limit, uint32_t *out, kvc_error *err)
{
    KVC_TRY(expect(f, json_is_integer(f->value), "an integer", err));
    json_int_t value = json_integer_value(f->value);
    if (value < 0 || (uint64_t)value >= limit)
        return field_fail(f, KVC_FORMAT, err, "%lld is out of range (0 to %llu)", (long long)value,
                          (unsigned long long)limit - 1);
    *out = (uint32_t)value;
    return KVC_OK;
}

kvc_status field_type(const field *f, const char **type, kvc_error *err)
{
    size_t n;
    *type = "";
    if (!field_given(f)) return KVC_OK;
    KVC_TRY(field_object(f, err));
    field member = field_get(f, "type");
    return field_text(&member, type, &n, err);
}

kvc_status field_only(const field *f, const char *const *keys, kvc_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)f->value, key, value)
    {
        const char *const *known = keys;
        while (*known && strcmp(*known, key)) known++;
        if (!*known)
            return field_fail(f, KVC_UNSUPPORTED, err, "the option '%s' is not supported",
                              quote(key, strlen(key)).text);
    }
    return KVC_OK;
}

kvc_status field_unsupported(const field *f, const char *type, const char *known, kvc_error *err)
{
    return field_fail(f, KVC_UNSUPPORTED, err, "%s is not supported (%s)",
                      type[0] ? quote(type, strlen(type)).text : "null", known);
}
