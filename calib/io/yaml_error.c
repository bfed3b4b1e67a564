/* yaml_error.c - messages about a place in a YAML file, and the nearest known word. */
#include "yaml.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_WORD 64 /* longer words have no near ones */

static kvc_status fail_at(const yaml_file *f, uint32_t line, uint32_t column, kvc_error *err, const char *format,
                          va_list args)
{
    char text[sizeof err->message];
    vsnprintf(text, sizeof text, format, args);
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 32 || *c == 127) *c = '?';
    if (!line) return kvc_fail(err, KVC_FORMAT, "%s: %s", f->name, text);
    return kvc_fail(err, KVC_FORMAT, "%s:%u:%u: %s", f->name, line, column, text);
}

kvc_status yaml_fail(const yaml_file *f, const yaml_value *at, kvc_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    kvc_status status = fail_at(f, at ? at->line : 0, at ? at->column : 0, err, format, args);
    va_end(args);
    return status;
}

kvc_status yaml_fail_key(const yaml_file *f, const yaml_value *map, size_t entry, kvc_error *err, const char *format,
                         ...)
{
    va_list args;
    va_start(args, format);
    kvc_status status = fail_at(f, map->key_lines[entry], map->key_columns[entry], err, format, args);
    va_end(args);
    return status;
}

static unsigned least(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Insertions, deletions, replacements and swaps of neighbours (optimal string alignment), by rows. */
static unsigned edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned rows[3][MAX_WORD + 1];
    unsigned *older = rows[0], *old = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++) old[j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            now[j] = least(old[j] + 1, now[j - 1] + 1, old[j - 1] + (a[i - 1] != b[j - 1]));
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && older[j - 2] + 1 < now[j]) now[j] = older[j - 2] + 1;
        }
        unsigned *t = older;
        older = old;
        old = now;
        now = t;
    }
    return old[nb];
}

const char *nearest_word(const char *word, const char *const *list)
{
    size_t n = strlen(word);
    if (n > MAX_WORD) return NULL;
    const char *best = NULL;
    unsigned best_distance = n <= 2 ? 1 : n <= 5 ? 2 : 3;
    for (; *list; list++) {
        size_t m = strlen(*list);
        if (m > MAX_WORD) continue;
        unsigned distance = edit_distance(word, n, *list, m);
        if (distance < best_distance || (distance == best_distance && !best)) {
            best = *list;
            best_distance = distance;
        }
    }
    return best;
}
