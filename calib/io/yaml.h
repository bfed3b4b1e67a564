/* yaml.h - YAML documents as a tree with positions (libyaml), for recipes, spaces and plans.
 * One document; aliases, anchors, tags and duplicate keys are refused with line and column; depth <= 16. */
#ifndef CALIB_IO_YAML_H
#define CALIB_IO_YAML_H
#include <stdbool.h>
#include "kvc/kvc.h"

typedef enum yaml_kind { YAML_SCALAR, YAML_MAP, YAML_LIST } yaml_kind;
typedef struct yaml_value {
    yaml_kind kind;
    uint32_t line, column;       /* from 1 */
    const char *text;            /* scalar */
    bool plain;                  /* scalar without quotes */
    size_t n;                    /* entries of a map or list */
    struct yaml_value *items;    /* [n] */
    const char **keys;           /* [n], map */
    uint32_t *key_lines, *key_columns;
} yaml_value;
typedef struct yaml_file {
    char name[256]; /* for messages */
    yaml_value *root;
    void *memory;
} yaml_file;

kvc_status yaml_open(yaml_file *out, const char *path, kvc_error *err);
kvc_status yaml_open_memory(yaml_file *out, const char *text, size_t n, const char *name, kvc_error *err);
void yaml_close(yaml_file *f);
const yaml_value *yaml_get(const yaml_value *map, const char *key); /* NULL if absent */
/* KVC_FORMAT "recipe.yaml:3:5: ..." */
kvc_status yaml_fail(const yaml_file *f, const yaml_value *at, kvc_error *err, const char *format, ...) KVC_PRINTF(4, 5);
/* Every key of `map` must be in the NULL-terminated list; else line, column and the nearest known key. */
kvc_status yaml_check_keys(const yaml_file *f, const yaml_value *map, const char *const *known, kvc_error *err);
kvc_status yaml_to_u64(const yaml_file *f, const yaml_value *v, const char *field, uint64_t min, uint64_t max, uint64_t *out, kvc_error *err);
kvc_status yaml_to_double(const yaml_file *f, const yaml_value *v, const char *field, double min, double max, double *out, kvc_error *err);
kvc_status yaml_to_bool(const yaml_file *f, const yaml_value *v, const char *field, bool *out, kvc_error *err);
kvc_status yaml_to_text(const yaml_file *f, const yaml_value *v, const char *field, const char **out, kvc_error *err);
/* The entry of a NULL-terminated list nearest to `word` by edit distance, or NULL if none is near. */
const char *nearest_word(const char *word, const char *const *list);
#endif
