/* yaml_value.c - typed access to the values of a YAML tree. */
#include "yaml.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const yaml_value *yaml_get(const yaml_value *map, const char *key)
{
    for (size_t i = 0; map->kind == YAML_MAP && i < map->n; i++)
        if (strcmp(map->keys[i], key) == 0) return &map->items[i];
    return NULL;
}

static bool is_known(const char *key, const char *const *known)
{
    while (*known && strcmp(*known, key) != 0) known++;
    return *known != NULL;
}

kvc_status yaml_check_keys(const yaml_file *f, const yaml_value *map, const char *const *known, kvc_error *err)
{
    if (map->kind != YAML_MAP) return yaml_fail(f, map, err, "expected a map (key: value)");
    for (size_t i = 0; i < map->n; i++) {
        const char *key = map->keys[i];
        if (is_known(key, known)) continue;
        const char *near = nearest_word(key, known);
        if (near) return yaml_fail_key(f, map, i, err, "unknown key \"%s\"; did you mean \"%s\"?", key, near);
        return yaml_fail_key(f, map, i, err, "unknown key \"%s\"", key);
    }
    return KVC_OK;
}

kvc_status yaml_to_text(const yaml_file *f, const yaml_value *v, const char *field, const char **out, kvc_error *err)
{
    if (v->kind != YAML_SCALAR) return yaml_fail(f, v, err, "%s: expected a text", field);
    *out = v->text;
    return KVC_OK;
}

kvc_status yaml_to_u64(const yaml_file *f, const yaml_value *v, const char *field, uint64_t min, uint64_t max,
                       uint64_t *out, kvc_error *err)
{
    const char *text = "";
    KVC_TRY(yaml_to_text(f, v, field, &text, err));
    size_t digits = strspn(text, "0123456789");
    if (!v->plain || !digits || text[digits])
        return yaml_fail(f, v, err, "%s: expected a whole number, not \"%s\"", field, text);
    errno = 0;
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno || value < min || value > max)
        return yaml_fail(f, v, err, "%s: %s is not between %llu and %llu", field, text, (unsigned long long)min,
                         (unsigned long long)max);
    *out = value;
    return KVC_OK;
}

kvc_status yaml_to_double(const yaml_file *f, const yaml_value *v, const char *field, double min, double max,
                          double *out, kvc_error *err)
{
    const char *text = "";
    KVC_TRY(yaml_to_text(f, v, field, &text, err));
    char *end = NULL;
    bool decimal = v->plain && *text && strspn(text, "0123456789+-.eE") == strlen(text);
    double value = decimal ? strtod(text, &end) : 0;
    if (!decimal || *end) return yaml_fail(f, v, err, "%s: expected a number, not \"%s\"", field, text);
    if (!isfinite(value) || value < min || value > max)
        return yaml_fail(f, v, err, "%s: %s is not between %g and %g", field, text, min, max);
    *out = value;
    return KVC_OK;
}

kvc_status yaml_to_bool(const yaml_file *f, const yaml_value *v, const char *field, bool *out, kvc_error *err)
{
    const char *text = "";
    KVC_TRY(yaml_to_text(f, v, field, &text, err));
    bool yes = strcmp(text, "true") == 0;
    if (!v->plain || (!yes && strcmp(text, "false") != 0))
        return yaml_fail(f, v, err, "%s: expected true or false, not \"%s\"", field, text);
    *out = yes;
    return KVC_OK;
}
