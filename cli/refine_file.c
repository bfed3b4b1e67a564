/* refine_file.c - see refine_file.h. Numbers are written with 17 digits, which give the same double back. */
#include "refine_file.h"
#include "json.h"
#include "output.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FILE ((size_t)64 << 20)
enum { JSON_LINE = JSON_COMPACT | JSON_SORT_KEYS };

static const char *const kinds[] = {[REFINE_PLAN] = "plan", [REFINE_MARGINAL] = "marginal"};

static json_t *record_json(const refine_record *r)
{
    char plan[17];
    snprintf(plan, sizeof plan, "%016llx", (unsigned long long)r->plan);
    return json_pack("{s:s,s:s,s:I,s:I,s:f,s:f}", "kind", kinds[r->kind], "plan", plan, "item", (json_int_t)r->item,
                     "option", (json_int_t)r->option, "value", r->value, "stderr", r->deviation);
}

static bool record_read(refine_record *r, json_t *line)
{
    const char *kind, *plan;
    char *end;
    json_int_t item, option;
    if (json_unpack(line, "{s:s,s:s,s:I,s:I,s:F,s:F!}", "kind", &kind, "plan", &plan, "item", &item, "option",
                    &option, "value", &r->value, "stderr", &r->deviation) != 0)
        return false;
    r->kind = strcmp(kind, kinds[REFINE_PLAN]) == 0 ? REFINE_PLAN : REFINE_MARGINAL;
    r->plan = strtoull(plan, &end, 16);
    r->item = (uint32_t)item;
    r->option = (uint16_t)option;
    return strcmp(kind, kinds[r->kind]) == 0 && strlen(plan) == 16 && *end == '\0' && item >= 0 &&
           item <= UINT32_MAX && option >= 0 && option <= UINT16_MAX;
}

static bool add_record(refine_file *f, json_t *line)
{
    if ((f->n & (f->n - 1)) == 0) { /* room for twice as many at every power of two */
        refine_record *records = realloc(f->records, (f->n ? 2 * f->n : 1) * sizeof *records);
        if (!records) return false;
        f->records = records;
    }
    if (!record_read(&f->records[f->n], line)) return false;
    f->n++;
    return true;
}

/* The lines that are whole and right; returns their bytes, 0 where even the first is not `header`. */
static size_t read_lines(refine_file *f, const char *text, size_t n, const json_t *header)
{
    size_t at = 0;
    for (const char *end; at < n && (end = memchr(text + at, '\n', n - at)); at = (size_t)(end - text) + 1) {
        json_t *line = json_loadb(text + at, (size_t)(end - text) - at, JSON_REJECT_DUPLICATES, NULL);
        bool ok = line && (at == 0 ? json_equal(line, header) : add_record(f, line));
        json_decref(line);
        if (!ok) break;
    }
    return at;
}

static kvc_status write_line(refine_file *f, json_t *line, kvc_error *err)
{
    char *text = line ? json_dumps(line, JSON_LINE) : NULL;
    bool written = text && fprintf(f->stream, "%s\n", text) > 0 && fflush(f->stream) == 0;
    kvc_status status = KVC_OK;
    if (!text)
        status = kvc_fail(err, KVC_NO_MEMORY, "out of memory for a measurement");
    else if (!written)
        status = kvc_fail(err, KVC_IO, "%s: cannot be written: %s", f->path, strerror(errno));
    free(text);
    return status;
}

kvc_status refine_file_open(refine_file *f, const char *path, const json_t *header, bool resume, kvc_error *err)
{
    char *text = NULL;
    size_t n = 0;
    *f = (refine_file){0};
    if (snprintf(f->path, sizeof f->path, "%s", path) >= (int)sizeof f->path)
        return kvc_fail(err, KVC_INVALID, "%.100s...: the path is too long", path);
    if (resume && access(path, F_OK) == 0) KVC_TRY(input_read(&text, &n, path, MAX_FILE, err));
    n = read_lines(f, text, n, header);
    kvc_status status = output_write(path, text ? text : "", n, err); /* less what is not whole */
    free(text);
    KVC_TRY(status);
    f->stream = fopen(path, "a");
    if (!f->stream) return kvc_fail(err, KVC_IO, "%s: cannot be opened: %s", path, strerror(errno));
    return n ? KVC_OK : write_line(f, (json_t *)header, err);
}

kvc_status refine_file_add(refine_file *f, const refine_record *record, kvc_error *err)
{
    json_t *line = record_json(record);
    kvc_status status = write_line(f, line, err);
    json_decref(line);
    return status;
}

void refine_file_close(refine_file *f)
{
    if (f->stream) fclose(f->stream);
    free(f->records);
    *f = (refine_file){0};
}
