/* recipe.c - see recipe.h. */
#include "recipe.h"
#include <string.h>

static kvc_status set_one(settings *s, const option_row *row, const yaml_value *v, kvc_error *err)
{
    const char *text = "";
    kvc_error why = {0};
    KVC_TRY(yaml_to_text(&s->recipe_file, v, row->key, &text, err));
    kvc_status status = option_set(row, s, text, &why);
    if (status == KVC_OK || status == KVC_NO_MEMORY) return status;
    return yaml_fail(&s->recipe_file, v, err, "%s: %s", row->key, why.message);
}

/* A list may be written as one text. */
static kvc_status set_row(settings *s, const option_row *row, const yaml_value *v, kvc_error *err)
{
    option_unset(row, s);
    if (row->type == OPTION_LIST && v->kind == YAML_LIST) {
        for (size_t i = 0; i < v->n; i++) KVC_TRY(set_one(s, row, &v->items[i], err));
    } else {
        KVC_TRY(set_one(s, row, v, err));
    }
    s->source[row - option_table] = FROM_RECIPE;
    return KVC_OK;
}

static kvc_status check_keys(const settings *s, kvc_error *err)
{
    const char *keys[MAX_OPTIONS + 1];
    size_t n = 0;
    for (size_t i = 0; i < n_options; i++)
        if (option_table[i].key) keys[n++] = option_table[i].key;
    keys[n] = NULL;
    return yaml_check_keys(&s->recipe_file, s->recipe_file.root, keys, err);
}

kvc_status recipe_read(settings *s, const char *path, kvc_error *err)
{
    KVC_TRY(yaml_open(&s->recipe_file, path, err));
    KVC_TRY(check_keys(s, err));
    for (size_t i = 0; i < n_options; i++) {
        const option_row *row = &option_table[i];
        const yaml_value *v = row->key ? yaml_get(s->recipe_file.root, row->key) : NULL;
        if (v) KVC_TRY(set_row(s, row, v, err));
    }
    return KVC_OK;
}

static void put_quoted(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fprintf(out, "\\%c", *text);
        else if ((unsigned char)*text < 0x20 || *text == 0x7f)
            fprintf(out, "\\x%02X", (unsigned char)*text);
        else
            putc(*text, out);
    }
    putc('"', out);
}

static void put_list(FILE *out, const text_list *list)
{
    putc('[', out);
    for (size_t i = 0; i < list->n; i++) {
        if (i) fputs(", ", out);
        put_quoted(out, list->items[i]);
    }
    putc(']', out);
}

static void put_count_or_auto(FILE *out, const count_or_auto *x)
{
    if (x->is_auto)
        fputs("auto", out);
    else
        fprintf(out, "%llu", (unsigned long long)x->n);
}

static void put_value(FILE *out, const option_row *row, const settings *s)
{
    const void *field = (const char *)s + row->offset;
    switch (row->type) {
    case OPTION_FLAG: fputs(*(const bool *)field ? "true" : "false", out); break;
    case OPTION_TEXT:
    case OPTION_CHOICE: put_quoted(out, *(const char *const *)field); break;
    case OPTION_LIST: put_list(out, field); break;
    case OPTION_COUNT:
    case OPTION_SIZE: fprintf(out, "%llu", (unsigned long long)*(const uint64_t *)field); break;
    case OPTION_AUTO: put_count_or_auto(out, field); break;
    case OPTION_NUMBER:
    case OPTION_LOSS: fprintf(out, "%.15g", *(const double *)field); break;
    }
}

void recipe_print(const settings *s, FILE *out)
{
    for (size_t i = 0; i < n_options; i++) {
        const option_row *row = &option_table[i];
        if (!row->key || !option_applies(row, s->command) || !option_is_set(row, s)) continue;
        fprintf(out, "%s: ", row->key);
        put_value(out, row, s);
        putc('\n', out);
    }
}

/* A count that is looked for depends on two things: the profile on what it was made with, the plan on the search. */
static bool has_role(const option_row *row, const settings *s, option_role role)
{
    const void *field = (const char *)s + row->offset;
    return row->role == role ||
           (row->type == OPTION_AUTO && role == ROLE_PLAN && ((const count_or_auto *)field)->is_auto);
}

static json_t *json_value(const option_row *row, const settings *s, option_role role)
{
    const void *field = (const char *)s + row->offset;
    switch (row->type) {
    case OPTION_AUTO:
        return role == row->role ? json_integer((json_int_t)((const count_or_auto *)field)->n) : json_string("auto");
    case OPTION_COUNT:
    case OPTION_SIZE: return json_integer((json_int_t) * (const uint64_t *)field);
    case OPTION_NUMBER:
    case OPTION_LOSS: return json_real(*(const double *)field);
    case OPTION_FLAG: return json_boolean(*(const bool *)field);
    case OPTION_LIST: return NULL; /* files are recorded by name and hash, not here */
    case OPTION_TEXT:
    case OPTION_CHOICE: break;
    }
    return json_string(*(const char *const *)field);
}

json_t *recipe_json(const settings *s, option_role role)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < n_options; i++) {
        const option_row *row = &option_table[i];
        if (!has_role(row, s, role) || !option_is_set(row, s) || !option_applies(row, s->command)) continue;
        if (json_object_set_new(object, row->key, json_value(row, s, role))) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}
