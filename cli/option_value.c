/* option_value.c - the value of one option, from text into its field of the settings. */
#include "option_table.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *field_of(const option_row *row, settings *s)
{
    return (char *)s + row->offset;
}

static kvc_status out_of_range(const option_row *row, const char *text, kvc_error *err)
{
    return kvc_fail(err, KVC_INVALID, "%s is out of range (%.15g to %.15g)", text, row->min, row->max);
}

static kvc_status parse_count(const option_row *row, const char *text, uint64_t unit, uint64_t *out, kvc_error *err)
{
    size_t digits = strspn(text, "0123456789");
    errno = 0;
    unsigned long long n = strtoull(text, NULL, 10);
    if (digits == 0 || text[digits + (unit > 1)])
        return kvc_fail(err, KVC_INVALID, "\"%s\" is no whole number", text);
    if (errno || n > UINT64_MAX / unit || (double)n * (double)unit > row->max || (double)n * (double)unit < row->min)
        return out_of_range(row, text, err);
    *out = n * unit;
    return KVC_OK;
}

static kvc_status parse_auto(const option_row *row, const char *text, count_or_auto *out, kvc_error *err)
{
    out->is_auto = strcmp(text, "auto") == 0;
    if (!out->is_auto && strspn(text, "0123456789") != strlen(text))
        return kvc_fail(err, KVC_INVALID, "\"%s\" is neither a whole number nor auto", text);
    return parse_count(row, out->is_auto ? row->fallback : text, 1, &out->n, err);
}

static kvc_status parse_size(const option_row *row, const char *text, uint64_t *out, kvc_error *err)
{
    static const char units[] = "kKmMgGtT";
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    if (digits == 0 || (text[digits] && (!unit || text[digits + 1])))
        return kvc_fail(err, KVC_INVALID, "\"%s\" is no size (4096, 512M, 2G)", text);
    return parse_count(row, text, unit ? 1ull << (10 * ((unit - units) / 2 + 1)) : 1, out, err);
}

static kvc_status parse_number(const option_row *row, const char *text, double *out, kvc_error *err)
{
    char *end;
    bool percent = row->type == OPTION_LOSS && *text && text[strlen(text) - 1] == '%';
    double x = strtod(text, &end);
    if (end == text || end[percent] || strspn(text, "+-.0123456789eE%") != strlen(text))
        return kvc_fail(err, KVC_INVALID, "\"%s\" is no number", text);
    if (percent) x /= 100;
    if (!isfinite(x) || x < row->min || x > row->max) return out_of_range(row, text, err);
    *out = x;
    return KVC_OK;
}

static kvc_status parse_choice(const option_row *row, const char *text, const char **out, kvc_error *err)
{
    size_t n = strlen(text);
    for (const char *word = row->argument; *word; word += strcspn(word, "|"), word += *word == '|')
        if (strcspn(word, "|") == n && memcmp(word, text, n) == 0) {
            *out = text;
            return KVC_OK;
        }
    return kvc_fail(err, KVC_INVALID, "\"%s\" is none of %s", text, row->argument);
}

static kvc_status append(text_list *list, const char *text, kvc_error *err)
{
    const char **items = realloc(list->items, (list->n + 1) * sizeof *items);
    if (!items) return kvc_fail(err, KVC_NO_MEMORY, "out of memory");
    list->items = items;
    items[list->n++] = text;
    return KVC_OK;
}

static kvc_status parse_flag(const char *text, bool *out, kvc_error *err)
{
    *out = strcmp(text, "true") == 0;
    if (*out || strcmp(text, "false") == 0) return KVC_OK;
    return kvc_fail(err, KVC_INVALID, "\"%s\" is neither true nor false", text);
}

kvc_status option_set(const option_row *row, settings *s, const char *text, kvc_error *err)
{
    void *field = field_of(row, s);
    switch (row->type) {
    case OPTION_FLAG: return parse_flag(text, field, err);
    case OPTION_CHOICE: return parse_choice(row, text, field, err);
    case OPTION_COUNT: return parse_count(row, text, 1, field, err);
    case OPTION_AUTO: return parse_auto(row, text, field, err);
    case OPTION_SIZE: return parse_size(row, text, field, err);
    case OPTION_NUMBER:
    case OPTION_LOSS: return parse_number(row, text, field, err);
    case OPTION_TEXT:
    case OPTION_LIST: break;
    }
    if (!*text) return kvc_fail(err, KVC_INVALID, "the value is empty");
    if (row->type == OPTION_LIST) return append(field, text, err);
    *(const char **)field = text;
    return KVC_OK;
}

void option_unset(const option_row *row, settings *s)
{
    void *field = field_of(row, s);
    switch (row->type) {
    case OPTION_FLAG: *(bool *)field = false; break;
    case OPTION_CHOICE:
    case OPTION_TEXT: *(const char **)field = NULL; break;
    case OPTION_COUNT:
    case OPTION_SIZE: *(uint64_t *)field = 0; break;
    case OPTION_AUTO: *(count_or_auto *)field = (count_or_auto){0}; break;
    case OPTION_NUMBER:
    case OPTION_LOSS: *(double *)field = 0; break;
    case OPTION_LIST:
        free(((text_list *)field)->items);
        *(text_list *)field = (text_list){0};
        break;
    }
    s->source[row - option_table] = FROM_NOWHERE;
}

bool option_is_set(const option_row *row, const settings *s)
{
    return s->source[row - option_table] != FROM_NOWHERE;
}
