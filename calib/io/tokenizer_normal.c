/* tokenizer_normal.c - Unicode normal forms by utf8proc, a line at a time: nothing composes or reorders
 * across a newline, and lines of ASCII, most of them, are their own normal form. */
#include "tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char *const SUPPORTED = "null, NFC, NFD, NFKC, NFKD and Sequence are";

static kvc_status add_form(normaliser *m, const field *f, const char *type, kvc_error *err)
{
    static const struct {
        const char *name;
        int options;
    } forms[] = {{"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
                 {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
                 {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
                 {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT}};
    KVC_TRY(field_only(f, (const char *const[]){"type", NULL}, err));
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (strcmp(type, forms[i].name)) continue;
        if (m->n == NORMAL_STEPS_MAX)
            return field_fail(f, KVC_UNSUPPORTED, err, "is beyond the limit of %d steps", NORMAL_STEPS_MAX);
        m->options[m->n++] = forms[i].options;
        return KVC_OK;
    }
    return field_unsupported(f, type, SUPPORTED, err);
}

static kvc_status add_steps(normaliser *m, const field *f, unsigned depth, kvc_error *err)
{
    const char *type;
    size_t n;
    KVC_TRY(field_type(f, &type, err));
    if (!type[0] && depth == 0) return KVC_OK;
    if (strcmp(type, "Sequence")) return add_form(m, f, type, err);
    if (depth == NORMAL_STEPS_MAX) return field_fail(f, KVC_UNSUPPORTED, err, "is nested too deep");
    field list = field_get(f, "normalizers");
    KVC_TRY(field_only(f, (const char *const[]){"type", "normalizers", NULL}, err));
    KVC_TRY(field_array(&list, &n, err));
    for (size_t i = 0; i < n; i++) {
        field step = field_at(&list, i);
        KVC_TRY(add_steps(m, &step, depth + 1, err));
    }
    return KVC_OK;
}

kvc_status normaliser_load(normaliser *out, const field *f, kvc_error *err)
{
    *out = (normaliser){0};
    return add_steps(out, f, 0, err);
}

static bool is_ascii(const char *s, size_t n)
{
    unsigned char any = 0;
    for (size_t i = 0; i < n; i++) any |= (unsigned char)s[i];
    return any < 0x80;
}

/* utf8proc orders combining marks in time quadratic in their run: no text needs runs this long. */
enum { MARKS_MAX = 4096 };

static kvc_status check_marks(const char *text, size_t n, kvc_error *err)
{
    size_t run = 0;
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t step = utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(n - i), &c);
        if (step <= 0) return KVC_OK; /* not UTF-8: utf8proc_map says so */
        run = utf8proc_get_property(c)->combining_class ? run + 1 : 0;
        if (run > MARKS_MAX) return kvc_fail(err, KVC_FORMAT, "more than %d combining marks in a row", MARKS_MAX);
        i += (size_t)step;
    }
    return KVC_OK;
}

static kvc_status append_form(text_buffer *out, int options, const char *text, size_t n, kvc_error *err)
{
    KVC_TRY(check_marks(text, n, err));
    utf8proc_uint8_t *form;
    utf8proc_ssize_t got =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &form, (utf8proc_option_t)options);
    if (got < 0) return kvc_fail(err, KVC_NO_MEMORY, "normalisation failed: %s", utf8proc_errmsg(got));
    bool ok = text_append(out, form, (size_t)got);
    free(form);
    return ok ? KVC_OK : kvc_fail(err, KVC_NO_MEMORY, "out of memory");
}

static kvc_status run_step(int options, text_buffer *out, const char *text, size_t n, kvc_error *err)
{
    out->n = 0;
    for (size_t i = 0, line; i < n; i += line) {
        const char *end = memchr(text + i, '\n', n - i);
        line = end ? (size_t)(end - text) - i + 1 : n - i;
        if (!is_ascii(text + i, line))
            KVC_TRY(append_form(out, options, text + i, line, err));
        else if (!text_append(out, text + i, line))
            return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    }
    return KVC_OK;
}

kvc_status normaliser_run(const normaliser *m, text_buffer *out, const char *text, size_t n, kvc_error *err)
{
    text_buffer before = {0};
    kvc_status status = m->n ? run_step(m->options[0], out, text, n, err)
                             : kvc_fail(err, KVC_INVALID, "there is no normaliser to run");
    for (size_t i = 1; i < m->n && status == KVC_OK; i++) {
        text_buffer swap = before;
        before = *out;
        *out = swap;
        status = run_step(m->options[i], out, before.bytes, before.n, err);
    }
    free(before.bytes);
    return status;
}
