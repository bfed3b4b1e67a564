/* yaml.h - YAML documents as a tree with positions (libyaml), for recipes, spaces and plans.
 * One document of at most 1 MiB of UTF-8; aliases, anchors, tags and duplicate keys are refused with line and
 * column; depth <= 16. An entry without a value ("key:") is the empty plain scalar. */
#ifndef CALIB_IO_YAML_H
#define CALIB_IO_YAML_H
#include <stdbool.h>
#include "kvc/kvc.h"

#define YAML_MAX_BYTES ((size_t)1 << 20)

typedef enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST } yaml_kind;
typedef struct yaml_value {
    yaml_kind kind;
    uint32_t line, column;    /* from 1 */
    const char *text;         /* scalar */
    bool plain;               /* scalar without quotes */
    size_t n;                 /* entries of a map or list */
    struct yaml_value *items; /* [n] */
    const char **keys;        /* [n], map */
    uint32_t *key_lines, *key_columns;
} yaml_value;
typedef struct yaml_file {
    char name[256]; /* for messages */
    yaml_value *root;
} yaml_file;

/* After a failure `out` is empty; yaml_close() is fine but not needed. */
kvc_status yaml_open(yaml_file *out, const char *path, kvc_error *err);
kvc_status yaml_open_memory(yaml_file *out, const char *text, size_t n, const char *name, kvc_error *err);
void yaml_close(yaml_file *f);
const yaml_value *yaml_get(const yaml_value *map, const char *key); /* NULL if absent */
/* KVC_FORMAT "recipe.yaml:3:5: ..."; control characters from the file are shown as '?'. */
kvc_status yaml_fail(const yaml_file *f, const yaml_value *at, kvc_error *err, const char *format, ...)
    KVC_PRINTF(4, 5);
kvc_status yaml_fail_key(const yaml_file *f, const yaml_value *map, size_t entry, kvc_error *err, const char *format,
                         ...) KVC_PRINTF(5, 6); /* at an entry's key */
/* `map` must be a map and every key of it in the NULL-terminated list; else line, column and the nearest
 * known key. */
kvc_status yaml_check_keys(const yaml_file *f, const yaml_value *map, const char *const *known, kvc_error *err);
/* `field` names the value in messages. Whole numbers are decimal; true and false are the only truth values.
 */
kvc_status yaml_to_u64(const yaml_file *f, const yaml_value *v, const char *field, uint64_t min, uint64_t max,
                       uint64_t *out, kvc_error *err);
kvc_status yaml_to_double(const yaml_file *f, const yaml_value *v, const char *field, double min, double max,
                          double *out, kvc_error *err);
kvc_status yaml_to_bool(const yaml_file *f, const yaml_value *v, const char *field, bool *out, kvc_error *err);
kvc_status yaml_to_text(const yaml_file *f, const yaml_value *v, const char *field, const char **out, kvc_error *err);
/* The entry of a NULL-terminated list nearest to `word` by edit distance, or NULL if none is near. */
const char *nearest_word(const char *word, const char *const *list);
#endif
