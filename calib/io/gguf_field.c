/* gguf_field.c - metadata values by key and type. Integers may be of any width, as in the wild. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "gguf_private.h"

static kvc_status fail_key(const gguf *g, const char *key, const char *what, kvc_error *err)
{
    return kvc_fail(err, KVC_FORMAT, "%s: metadata '%s': %s", g->path, key, what);
}

static kvc_status find_key(const gguf *g, const char *key, bool optional, const gguf_value **out, kvc_error *err)
{
    *out = gguf_find(g, key);
    return *out || optional ? KVC_OK : fail_key(g, key, "is missing", err);
}

/* Whether the value is an integer that fits int64. */
static bool to_integer(const gguf_value *v, int64_t *out)
{
    const uint8_t *p = v->data;
    switch (v->kind) {
    case GGUF_U8: *out = *p; return true;
    case GGUF_I8: *out = (int8_t)*p; return true;
    case GGUF_U16: *out = p[0] | p[1] << 8; return true;
    case GGUF_I16: *out = (int16_t)(p[0] | p[1] << 8); return true;
    case GGUF_U32: *out = gguf_u32(p); return true;
    case GGUF_I32: *out = (int32_t)gguf_u32(p); return true;
    case GGUF_U64:
    case GGUF_I64: *out = (int64_t)gguf_u64(p); return v->kind == GGUF_I64 || *out >= 0;
    default: return false;
    }
}

kvc_status gguf_get_count(const gguf *g, const char *key, uint32_t min, uint32_t max, bool optional, uint32_t *out,
                          kvc_error *err)
{
    const gguf_value *v = NULL;
    int64_t n;
    KVC_TRY(find_key(g, key, optional, &v, err));
    if (!v) return KVC_OK;
    if (!to_integer(v, &n) || n < min || n > max)
        return kvc_fail(err, KVC_FORMAT, "%s: metadata '%s': is no single whole number from %u to %u", g->path, key,
                        min, max);
    *out = (uint32_t)n;
    return KVC_OK;
}

/* The double whose decimal form is shortest among those that round to f: 1e-05 where the file
 * has 9.99999975e-06f. */
static double shortest(float f)
{
    char text[32];
    for (int digits = 1; digits < 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)f);
        if (strtof(text, NULL) == f) return strtod(text, NULL);
    }
    return f;
}

kvc_status gguf_get_real(const gguf *g, const char *key, bool optional, double *out, kvc_error *err)
{
    const gguf_value *v = NULL;
    float f;
    KVC_TRY(find_key(g, key, optional, &v, err));
    if (!v) return KVC_OK;
    double x = NAN;
    if (v->kind == GGUF_F32) {
        memcpy(&f, v->data, sizeof f);
        x = isfinite(f) ? shortest(f) : NAN;
    } else if (v->kind == GGUF_F64) {
        memcpy(&x, v->data, sizeof x);
    }
    if (!isfinite(x)) return fail_key(g, key, "is no finite real number", err);
    *out = x;
    return KVC_OK;
}

kvc_status gguf_get_flag(const gguf *g, const char *key, bool *out, kvc_error *err)
{
    const gguf_value *v = gguf_find(g, key);
    if (!v) return KVC_OK;
    if (v->kind != GGUF_BOOL || *v->data > 1) return fail_key(g, key, "is neither true nor false", err);
    *out = *v->data;
    return KVC_OK;
}

gguf_text gguf_next_text(const uint8_t **at)
{
    gguf_text text = {(const char *)*at + 8, gguf_u64(*at)};
    *at += 8 + text.n;
    return text;
}

kvc_status gguf_get_text(const gguf *g, const char *key, bool optional, gguf_text *out, kvc_error *err)
{
    const gguf_value *v = NULL;
    KVC_TRY(find_key(g, key, optional, &v, err));
    if (!v) return KVC_OK;
    if (v->kind != GGUF_STRING) return fail_key(g, key, "is no string", err);
    const uint8_t *at = v->data;
    *out = gguf_next_text(&at);
    return KVC_OK;
}

kvc_status gguf_get_array(const gguf *g, const char *key, gguf_kind kind, bool optional, const gguf_value **out,
                          kvc_error *err)
{
    KVC_TRY(find_key(g, key, optional, out, err));
    if (*out && ((*out)->kind != GGUF_ARRAY || (*out)->element != kind))
        return fail_key(g, key, "is no array of the expected type", err);
    return KVC_OK;
}

bool gguf_text_is(gguf_text text, const char *other)
{
    return text.n == strlen(other) && !memcmp(text.bytes, other, text.n);
}
