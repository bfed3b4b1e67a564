/* space.c - candidate spaces: the codecs that a profile measures for keys and for values. */
#include "plan.h"
#include "output.h"
#include "yaml_codec.h"
#include <stdlib.h>
#include <string.h>

#define MAX_CANDIDATES 256 /* a side; every pair is measured */

static kvc_status check_new(const yaml_file *f, const yaml_value *v, const char *field, const kvc_codec *list,
                            size_t n, kvc_error *err)
{
    char spec[KVC_SPEC_MAX], other[KVC_SPEC_MAX];
    kvc_codec_format(&list[n], spec);
    for (size_t i = 0; i < n; i++) {
        kvc_codec_format(&list[i], other);
        if (strcmp(spec, other) == 0) return yaml_fail(f, v, err, "%s: \"%s\" again", field, spec);
    }
    return KVC_OK;
}

static kvc_status read_side(const yaml_file *f, const char *field, kvc_codec **out, uint32_t *n, kvc_error *err)
{
    const yaml_value *v = yaml_get(f->root, field);
    if (!v) return yaml_fail(f, f->root, err, "\"%s\" is missing", field);
    if (v->kind != YAML_LIST || !v->n) return yaml_fail(f, v, err, "%s: expected a list of codec specs", field);
    if (v->n > MAX_CANDIDATES) return yaml_fail(f, v, err, "%s: more than %d candidates", field, MAX_CANDIDATES);
    *out = calloc(v->n, sizeof **out);
    if (!*out) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", f->name);
    for (size_t i = 0; i < v->n; i++) {
        KVC_TRY(yaml_to_codec(f, &v->items[i], field, &(*out)[i], err));
        KVC_TRY(check_new(f, &v->items[i], field, *out, i, err));
    }
    *n = (uint32_t)v->n;
    return KVC_OK;
}

static kvc_status read_sides(const yaml_file *f, codec_space *out, kvc_error *err)
{
    static const char *const known[] = {"keys", "values", NULL};
    KVC_TRY(yaml_check_keys(f, f->root, known, err));
    KVC_TRY(read_side(f, "keys", &out->keys, &out->n_keys, err));
    return read_side(f, "values", &out->values, &out->n_values, err);
}

kvc_status space_read_memory(codec_space *out, const char *text, size_t n, const char *name, kvc_error *err)
{
    yaml_file file;
    *out = (codec_space){0};
    KVC_TRY(yaml_open_memory(&file, text, n, name, err));
    kvc_status status = read_sides(&file, out, err);
    if (status != KVC_OK) space_free(out);
    yaml_close(&file);
    return status;
}

kvc_status space_read(codec_space *out, const char *path, kvc_error *err)
{
    char *text;
    size_t n;
    *out = (codec_space){0};
    KVC_TRY(input_read(&text, &n, path, YAML_MAX_BYTES, err));
    kvc_status status = space_read_memory(out, text, n, path, err);
    free(text);
    return status;
}

extern const unsigned char embedded_space[]; /* written by cmake/embed.cmake */
extern const size_t embedded_space_size;

const char *builtin_space(size_t *n)
{
    *n = embedded_space_size;
    return (const char *)embedded_space;
}

void space_free(codec_space *s)
{
    free(s->keys);
    free(s->values);
    *s = (codec_space){0};
}
