/* tokenizer_field.h - a JSON value together with where it stands, so that every complaint about a
 * tokenizer.json names the field; private to the tokenizer. */
#ifndef CALIB_IO_TOKENIZER_FIELD_H
#define CALIB_IO_TOKENIZER_FIELD_H
#include <stdbool.h>
#include "json.h"

typedef struct field {
    const char *what;    /* the file, borrowed */
    char path[120];      /* "pre_tokenizer.pretokenizers[1].pattern"; cut if longer */
    const json_t *value; /* borrowed; NULL where the field is absent */
} field;

field field_root(const char *what, const json_t *value);
field field_get(const field *parent, const char *key);
/* The member `key`, whose name comes from the file: quoted. */
field field_member(const field *parent, const char *key, const json_t *value);
field field_at(const field *parent, size_t index);
bool field_given(const field *f); /* present and not null */
kvc_status field_fail(const field *f, kvc_status status, kvc_error *err, const char *format, ...) KVC_PRINTF(4, 5);

/* Typed access; the wrong type is KVC_FORMAT. */
kvc_status field_object(const field *f, kvc_error *err);
kvc_status field_array(const field *f, size_t *n, kvc_error *err);
kvc_status field_text(const field *f, const char **text, size_t *n, kvc_error *err);
kvc_status field_bool(const field *parent, const char *key, bool fallback, bool *out, kvc_error *err);
/* An integer in [0, limit). */
kvc_status field_index(const field *f, uint64_t limit, uint32_t *out, kvc_error *err);
/* The member "type" of a component; "" for null. */
kvc_status field_type(const field *f, const char **type, kvc_error *err);
/* Refuses members other than those in `keys` (ends with NULL): an option that is not understood must not be
 * ignored. */
kvc_status field_only(const field *f, const char *const *keys, kvc_error *err);
/* "<path>: <type> is not supported (<known> are)". */
kvc_status field_unsupported(const field *f, const char *type, const char *known, kvc_error *err);
#endif
