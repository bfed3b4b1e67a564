/* report_text.c - see report_text.h. */
#include "report_text.h"
#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST_NUMBER 1e15 /* beyond it there is nothing that a report could be about */

static bool make_room(text *t, size_t n)
{
    if (t->failed || n >= SIZE_MAX / 4 - t->n) return false;
    if (t->n + n + 1 <= t->room) return true;
    size_t room = 2 * (t->n + n) + 4096;
    char *bytes = realloc(t->bytes, room);
    if (!bytes) return false;
    t->bytes = bytes;
    t->room = room;
    return true;
}

void text_raw(text *t, const void *bytes, size_t n)
{
    t->failed = !make_room(t, n);
    if (t->failed) return;
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
    t->bytes[t->n] = 0;
}

static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '&': return "&amp;";
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    case '\n':
    case '\t': return " ";
    default: return c < 0x20 || c == 0x7f ? "\xef\xbf\xbd" : NULL; /* no control character is allowed */
    }
}

static void put_escaped(text *t, const char *s)
{
    while (*s) {
        size_t plain = 0;
        while (s[plain] && !escape_of((unsigned char)s[plain])) plain++;
        text_raw(t, s, plain);
        s += plain;
        if (!*s) break;
        const char *escape = escape_of((unsigned char)*s++);
        text_raw(t, escape, strlen(escape));
    }
}

static void put_number(text *t, const char *directive, size_t n, va_list *args)
{
    char number[352];
    int length = 0;
    if (n == 1 && *directive == 'd')
        length = snprintf(number, sizeof number, "%d", va_arg(*args, int));
    else if (n == 2 && strncmp(directive, "zu", 2) == 0)
        length = snprintf(number, sizeof number, "%zu", va_arg(*args, size_t));
    else if (n == 3 && strncmp(directive, ".2f", 3) == 0)
        length = snprintf(number, sizeof number, "%.2f", va_arg(*args, double));
    else
        assert(!"a directive that text_put knows");
    text_raw(t, number, (size_t)length);
}

/* One directive, without its %; returns what follows it. The list is behind a pointer: what is taken here is gone for
 * the caller too. */
static const char *put_directive(text *t, const char *directive, va_list *args)
{
    size_t n = strcspn(directive, "%sduf") + 1;
    if (*directive == 's')
        put_escaped(t, va_arg(*args, const char *));
    else if (*directive == '%')
        text_raw(t, "%", 1);
    else
        put_number(t, directive, n, args);
    return directive + n;
}

void text_put_list(text *t, const char *format, va_list list)
{
    va_list args;
    va_copy(args, list);
    while (*format) {
        size_t plain = strcspn(format, "%");
        text_raw(t, format, plain);
        format += plain;
        if (!*format) break;
        format = put_directive(t, format + 1, &args);
    }
    va_end(args);
}

void text_put(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_put_list(t, format, args);
    va_end(args);
}

static figure figure_of(double x, const char *format)
{
    figure f = {"\xe2\x80\x93"};
    if (!isnan(x)) snprintf(f.s, sizeof f.s, format, x);
    return f;
}

/* Fixed point down to 10^least, below that d.dde-n with an exponent as short as can be. */
static figure significant(double x, int digits, int least)
{
    figure f;
    if (isnan(x) || x == 0) return figure_of(x, "%.0f");
    int power = (int)floor(log10(fabs(x))), decimals = digits - 1 - power;
    if (power >= least) {
        snprintf(f.s, sizeof f.s, "%.*f", decimals > 0 ? decimals : 0, x);
        return f;
    }
    snprintf(f.s, sizeof f.s, "%.*e", digits - 1, x);
    char *exponent = strstr(f.s, "e-0");
    if (exponent) memmove(exponent + 2, exponent + 3, strlen(exponent + 3) + 1);
    return f;
}

figure figure_kl(double x)
{
    return significant(x, 3, -4);
}

figure figure_error(double x)
{
    return significant(x, 2, -6);
}

figure figure_bits(double x)
{
    return figure_of(x, "%.3f");
}

figure figure_short(double x)
{
    return figure_of(x, "%.3g");
}

figure figure_ratio(double x)
{
    return figure_of(x, "%.4f");
}

figure figure_share(double x)
{
    return significant(x, x < 1 ? 2 : 3, -4);
}

figure figure_correlation(double x)
{
    return figure_of(x, "%.3f");
}

figure figure_percent(double x)
{
    return figure_of(100 * x, "%.1f\xc2\xa0%%");
}

figure figure_bytes(double x)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    figure f;
    int unit = 0;
    if (isnan(x)) return figure_of(x, "%.0f");
    while (x >= 1024 && unit < 4) x /= 1024, unit++;
    snprintf(f.s, sizeof f.s, "%.*f\xc2\xa0%s", unit == 0 || x >= 100 ? 0 : x >= 10 ? 1 : 2, x, units[unit]);
    return f;
}

figure figure_count(double x)
{
    return figure_of(x, "%.0f");
}

double doc_number(const json_t *object, const char *key)
{
    const json_t *v = json_object_get(object, key);
    double x = json_is_number(v) ? json_number_value(v) : NAN;
    return fabs(x) <= LARGEST_NUMBER ? x : NAN;
}

const char *doc_text(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

bool doc_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}
