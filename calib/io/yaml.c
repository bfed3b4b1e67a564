/* yaml.c - one YAML document as a tree with positions, from libyaml's event stream.
 * Hostile text: the size is capped, every event yields at most one value, recursion ends at MAX_DEPTH. */
#include "yaml.h"
#include "output.h"
#include <libyaml.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 16
#define MAX_KEYS 4096 /* of one map: keys are compared pair by pair */

typedef struct reader {
    yaml_parser_t parser;
    const yaml_file *file;
    kvc_error *err;
} reader;

static kvc_status no_memory(const reader *r)
{
    return kvc_fail(r->err, KVC_NO_MEMORY, "%s: out of memory", r->file->name);
}

static yaml_value place(yaml_mark_t mark)
{
    return (yaml_value){.line = (uint32_t)mark.line + 1, .column = (uint32_t)mark.column + 1};
}

static kvc_status fail_parser(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) return no_memory(r);
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_READER_ERROR)
        return kvc_fail(r->err, KVC_FORMAT, "%s: byte %zu: %s", r->file->name, p->problem_offset, problem);
    yaml_value at = place(p->problem_mark);
    if (!p->context) return yaml_fail(r->file, &at, r->err, "%s", problem);
    return yaml_fail(r->file, &at, r->err, "%s %s", problem, p->context);
}

static kvc_status next_event(reader *r, yaml_event_t *event)
{
    return yaml_parser_parse(&r->parser, event) ? KVC_OK : fail_parser(r);
}

static void value_free(yaml_value *v)
{
    for (size_t i = 0; i < v->n; i++) {
        value_free(&v->items[i]);
        if (v->keys) free((char *)v->keys[i]);
    }
    free(v->items);
    free(v->keys);
    free(v->key_lines);
    free(v->key_columns);
    free((char *)v->text);
}

static kvc_status refuse_extras(const reader *r, const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    yaml_value at = place(e->start_mark);
    if (e->type == YAML_ALIAS_EVENT) return yaml_fail(r->file, &at, r->err, "aliases (*name) are not supported");
    if (e->type == YAML_SCALAR_EVENT) anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
    if (e->type == YAML_MAPPING_START_EVENT) anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
    if (e->type == YAML_SEQUENCE_START_EVENT)
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
    if (anchor) return yaml_fail(r->file, &at, r->err, "anchors (&name) are not supported");
    if (tag) return yaml_fail(r->file, &at, r->err, "tags (!name) are not supported");
    return KVC_OK;
}

static kvc_status copy_text(const reader *r, const yaml_event_t *e, const char **out)
{
    const char *text = (const char *)e->data.scalar.value;
    yaml_value at = place(e->start_mark);
    if (strlen(text) != e->data.scalar.length) return yaml_fail(r->file, &at, r->err, "a text holds a NUL character");
    *out = strdup(text);
    return *out ? KVC_OK : no_memory(r);
}

static bool grow(void **array, size_t n, size_t size)
{
    if (n & (n - 1)) return true; /* capacities are powers of two */
    void *p = realloc(*array, (n ? 2 * n : 1) * size);
    if (p) *array = p;
    return p != NULL;
}

static kvc_status add_key(const reader *r, yaml_value *map, const yaml_event_t *e)
{
    size_t n = map->n;
    yaml_value at = place(e->start_mark);
    if (e->type != YAML_SCALAR_EVENT) return yaml_fail(r->file, &at, r->err, "a key must be a single word or text");
    if (n == MAX_KEYS) return yaml_fail(r->file, &at, r->err, "more than %d keys in one map", MAX_KEYS);
    if (!grow((void **)&map->keys, n, sizeof *map->keys) ||
        !grow((void **)&map->key_lines, n, sizeof *map->key_lines) ||
        !grow((void **)&map->key_columns, n, sizeof *map->key_columns))
        return no_memory(r);
    KVC_TRY(copy_text(r, e, &map->keys[n]));
    map->key_lines[n] = at.line;
    map->key_columns[n] = at.column;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(map->keys[i], map->keys[n]) != 0) continue;
        free((char *)map->keys[n]);
        return yaml_fail(r->file, &at, r->err, "key \"%s\" again (first in line %u)", map->keys[i],
                         map->key_lines[i]);
    }
    return KVC_OK;
}

static kvc_status read_value(reader *r, const yaml_event_t *first, unsigned depth, yaml_value *out);

static kvc_status read_entry(reader *r, yaml_event_t *event, unsigned depth, yaml_value *out)
{
    yaml_event_t second = {0};
    if (!grow((void **)&out->items, out->n, sizeof *out->items)) return no_memory(r);
    out->items[out->n] = (yaml_value){0};
    if (out->kind == YAML_LIST) {
        out->n++;
        return read_value(r, event, depth, &out->items[out->n - 1]);
    }
    KVC_TRY(refuse_extras(r, event));
    KVC_TRY(add_key(r, out, event));
    out->n++;
    KVC_TRY(next_event(r, &second));
    kvc_status status = read_value(r, &second, depth, &out->items[out->n - 1]);
    yaml_event_delete(&second);
    return status;
}

static kvc_status read_entries(reader *r, yaml_event_type_t end, unsigned depth, yaml_value *out)
{
    for (;;) {
        yaml_event_t event;
        KVC_TRY(next_event(r, &event));
        bool done = event.type == end;
        kvc_status status = done ? KVC_OK : read_entry(r, &event, depth, out);
        yaml_event_delete(&event);
        if (done || status != KVC_OK) return status;
    }
}

static kvc_status read_value(reader *r, const yaml_event_t *first, unsigned depth, yaml_value *out)
{
    *out = place(first->start_mark);
    KVC_TRY(refuse_extras(r, first));
    if (first->type == YAML_SCALAR_EVENT) {
        out->plain = first->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return copy_text(r, first, &out->text);
    }
    if (depth == MAX_DEPTH) return yaml_fail(r->file, out, r->err, "nested more than %d deep", MAX_DEPTH);
    out->kind = first->type == YAML_MAPPING_START_EVENT ? YAML_MAP : YAML_LIST;
    return read_entries(r, out->kind == YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth + 1, out);
}

/* The events before the first value, that value, and the end of the stream. */
static kvc_status read_stream(reader *r, yaml_value *root)
{
    bool found = false;
    for (;;) {
        yaml_event_t event;
        KVC_TRY(next_event(r, &event));
        yaml_event_type_t type = event.type;
        yaml_value at = place(event.start_mark);
        kvc_status status = KVC_OK;
        if (type == YAML_DOCUMENT_START_EVENT && found)
            status = yaml_fail(r->file, &at, r->err, "a second document; there must be one");
        else if (type != YAML_STREAM_START_EVENT && type != YAML_STREAM_END_EVENT &&
                 type != YAML_DOCUMENT_START_EVENT && type != YAML_DOCUMENT_END_EVENT) {
            status = read_value(r, &event, 0, root);
            found = true;
        }
        yaml_event_delete(&event);
        if (status != KVC_OK) return status;
        if (type == YAML_STREAM_END_EVENT) break;
    }
    return found ? KVC_OK : kvc_fail(r->err, KVC_FORMAT, "%s: empty", r->file->name);
}

kvc_status yaml_open_memory(yaml_file *out, const char *text, size_t n, const char *name, kvc_error *err)
{
    *out = (yaml_file){0};
    strncpy(out->name, name, sizeof out->name - 1);
    if (n > YAML_MAX_BYTES) return kvc_fail(err, KVC_FORMAT, "%s: larger than %zu bytes", name, YAML_MAX_BYTES);
    reader r = {.file = out, .err = err};
    if (!yaml_parser_initialize(&r.parser)) return no_memory(&r);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, n);
    out->root = calloc(1, sizeof *out->root);
    kvc_status status = out->root ? read_stream(&r, out->root) : no_memory(&r);
    yaml_parser_delete(&r.parser);
    if (status != KVC_OK) yaml_close(out);
    return status;
}

kvc_status yaml_open(yaml_file *out, const char *path, kvc_error *err)
{
    char *text;
    size_t n;
    *out = (yaml_file){0};
    KVC_TRY(input_read(&text, &n, path, YAML_MAX_BYTES, err));
    kvc_status status = yaml_open_memory(out, text, n, path, err);
    free(text);
    return status;
}

void yaml_close(yaml_file *f)
{
    if (f->root) value_free(f->root);
    free(f->root);
    f->root = NULL;
}
