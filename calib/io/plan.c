/* plan.c - plans from YAML: our own form and KVTuner's. */
#include "plan.h"
#include "output.h"
#include "yaml_codec.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TOKENS (1u << 20) /* of sinks and window */

typedef struct reading {
    yaml_file file;
    plan *plan;
    uint32_t *line; /* [n_layers] where a layer was set, 0: not yet */
    bool has_default;
    kvc_layer fallback;
    kvc_error *err;
} reading;

static kvc_status read_tokens(reading *r, const yaml_value *map)
{
    static const char *const known[] = {"sinks", "window", "page", NULL};
    kvc_token_policy *t = &r->plan->tokens;
    uint32_t *target[] = {&t->sinks, &t->window, &t->page};
    KVC_TRY(yaml_check_keys(&r->file, map, known, r->err));
    for (int i = 0; i < 3; i++) {
        const yaml_value *v = yaml_get(map, known[i]);
        uint64_t number = 0;
        if (!v) continue;
        KVC_TRY(
            yaml_to_u64(&r->file, v, known[i], i == 2 ? 8 : 0, i == 2 ? KVC_MAX_PAGE : MAX_TOKENS, &number, r->err));
        if (i == 2 && number % 8)
            return yaml_fail(&r->file, v, r->err, "page: %u is not a multiple of 8", (unsigned)number);
        *target[i] = (uint32_t)number;
    }
    return KVC_OK;
}

static kvc_status read_name(reading *r, const yaml_value *v)
{
    const char *name = "";
    KVC_TRY(yaml_to_text(&r->file, v, "model", &name, r->err));
    size_t n = strlen(name);
    if (n >= sizeof r->plan->model)
        return yaml_fail(&r->file, v, r->err, "model: longer than %zu bytes", sizeof r->plan->model - 1);
    memcpy(r->plan->model, name, n + 1);
    return KVC_OK;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

static kvc_status read_sha256(reading *r, const yaml_value *v)
{
    const char *text = "";
    KVC_TRY(yaml_to_text(&r->file, v, "model_sha256", &text, r->err));
    if (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64)
        return yaml_fail(&r->file, v, r->err, "model_sha256: expected 64 lower-case hexadecimal digits");
    for (int i = 0; i < 32; i++)
        r->plan->weights_sha256[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return KVC_OK;
}

/* {key: spec, value: spec}; a side that is left out keeps what *out holds, if that is allowed. */
static kvc_status read_pair(reading *r, const yaml_value *map, bool may_omit, kvc_layer *out)
{
    static const char *const known[] = {"key", "value", NULL};
    kvc_codec *target[] = {&out->key, &out->value};
    KVC_TRY(yaml_check_keys(&r->file, map, known, r->err));
    for (int i = 0; i < 2; i++) {
        const yaml_value *v = yaml_get(map, known[i]);
        if (v)
            KVC_TRY(yaml_to_codec(&r->file, v, known[i], target[i], r->err));
        else if (!may_omit)
            return yaml_fail(&r->file, map, r->err, "\"%s\" is missing and there is no default", known[i]);
    }
    return KVC_OK;
}

/* "7" or "4-7" */
static kvc_status read_range(reading *r, const yaml_value *map, size_t entry, uint32_t *first, uint32_t *last)
{
    const char *key = map->keys[entry];
    uint32_t *bound[2] = {first, last};
    for (int i = 0; i < 2; i++) {
        size_t digits = strspn(key, "0123456789");
        if (!digits || (key[digits] && (i || key[digits] != '-')))
            return yaml_fail_key(&r->file, map, entry, r->err,
                                 "layers: expected an index or a range such as 4-7, not \"%s\"", map->keys[entry]);
        errno = 0;
        unsigned long long number = strtoull(key, NULL, 10);
        if (errno || number >= r->plan->n_layers)
            return yaml_fail_key(&r->file, map, entry, r->err,
                                 "layers: %.*s is out of range, the model has %u layers", (int)digits, key,
                                 r->plan->n_layers);
        *bound[i] = (uint32_t)number;
        key += key[digits] ? digits + 1 : 0; /* a single index is its own end */
    }
    if (*first > *last)
        return yaml_fail_key(&r->file, map, entry, r->err, "layers: the range %s runs backwards", map->keys[entry]);
    return KVC_OK;
}

static kvc_status set_layers(reading *r, const yaml_value *map, size_t entry, const kvc_layer *pair)
{
    uint32_t first = 0, last = 0;
    KVC_TRY(read_range(r, map, entry, &first, &last));
    for (uint32_t layer = first; layer <= last; layer++) {
        if (r->line[layer])
            return yaml_fail_key(&r->file, map, entry, r->err, "layers: layer %u again (first in line %u)", layer,
                                 r->line[layer]);
        r->line[layer] = map->key_lines[entry];
        r->plan->layers[layer] = *pair;
    }
    return KVC_OK;
}

static kvc_status read_layers(reading *r, const yaml_value *map)
{
    if (map->kind != YAML_MAP)
        return yaml_fail(&r->file, map, r->err, "layers: expected a map (index: {key, value})");
    for (size_t i = 0; i < map->n; i++) {
        kvc_layer pair = r->fallback;
        KVC_TRY(read_pair(r, &map->items[i], r->has_default, &pair));
        KVC_TRY(set_layers(r, map, i, &pair));
    }
    return KVC_OK;
}

static kvc_status read_own_form(reading *r)
{
    static const char *const known[] = {"model", "model_sha256", "tokens", "default", "layers", NULL};
    const yaml_value *root = r->file.root, *v;
    KVC_TRY(yaml_check_keys(&r->file, root, known, r->err));
    if ((v = yaml_get(root, "model"))) KVC_TRY(read_name(r, v));
    if ((v = yaml_get(root, "model_sha256"))) KVC_TRY(read_sha256(r, v));
    if ((v = yaml_get(root, "tokens"))) KVC_TRY(read_tokens(r, v));
    if ((v = yaml_get(root, "default"))) {
        KVC_TRY(read_pair(r, v, false, &r->fallback));
        r->has_default = true;
    }
    if ((v = yaml_get(root, "layers"))) KVC_TRY(read_layers(r, v));
    return KVC_OK;
}

static kvc_status kvtuner_codec(reading *r, const yaml_value *map, const char *field, const char *scale,
                                kvc_codec *out)
{
    char spec[KVC_SPEC_MAX] = "fp16";
    uint64_t bits = 0;
    const yaml_value *v = yaml_get(map, field);
    if (!v) return yaml_fail(&r->file, map, r->err, "\"%s\" is missing", field);
    KVC_TRY(yaml_to_u64(&r->file, v, field, 1, 16, &bits, r->err));
    if (bits != 16) snprintf(spec, sizeof spec, "int%u.%s32", (unsigned)bits, scale);
    kvc_error inner;
    kvc_status status = kvc_codec_parse(out, spec, &inner);
    if (status != KVC_OK) yaml_fail(&r->file, v, r->err, "%s: %s", field, inner.message);
    return status;
}

static bool is_kvtuner_form(const yaml_value *root)
{
    return root->kind == YAML_MAP && root->n && root->keys[0][0] >= '0' && root->keys[0][0] <= '9';
}

static kvc_status read_kvtuner_form(reading *r)
{
    static const char *const known[] = {"nbits_key", "nbits_value", NULL};
    const yaml_value *root = r->file.root;
    for (size_t i = 0; i < root->n; i++) {
        kvc_layer pair = {0};
        KVC_TRY(yaml_check_keys(&r->file, &root->items[i], known, r->err));
        KVC_TRY(kvtuner_codec(r, &root->items[i], "nbits_key", "ch", &pair.key));
        KVC_TRY(kvtuner_codec(r, &root->items[i], "nbits_value", "tok", &pair.value));
        KVC_TRY(set_layers(r, root, i, &pair));
    }
    return KVC_OK;
}

static kvc_status fill_rest(reading *r)
{
    for (uint32_t i = 0; i < r->plan->n_layers; i++) {
        if (r->line[i]) continue;
        if (!r->has_default)
            return kvc_fail(r->err, KVC_FORMAT, "%s: layer %u has no codecs and there is no \"default:\"",
                            r->file.name, i);
        r->plan->layers[i] = r->fallback;
    }
    return KVC_OK;
}

static kvc_status read_document(reading *r)
{
    uint32_t n = r->plan->n_layers;
    r->plan->layers = calloc(n ? n : 1, sizeof *r->plan->layers);
    r->line = calloc(n ? n : 1, sizeof *r->line);
    if (!r->plan->layers || !r->line) return kvc_fail(r->err, KVC_NO_MEMORY, "%s: out of memory", r->file.name);
    KVC_TRY(is_kvtuner_form(r->file.root) ? read_kvtuner_form(r) : read_own_form(r));
    return fill_rest(r);
}

kvc_status plan_read_memory(plan *out, const char *text, size_t n, const char *name, uint32_t n_layers,
                            const kvc_token_policy *defaults, kvc_error *err)
{
    *out = (plan){.tokens = *defaults, .n_layers = n_layers};
    reading r = {.plan = out, .err = err};
    KVC_TRY(yaml_open_memory(&r.file, text, n, name, err));
    kvc_status status = read_document(&r);
    if (status != KVC_OK) plan_free(out);
    yaml_close(&r.file);
    free(r.line);
    return status;
}

kvc_status plan_read(plan *out, const char *path, uint32_t n_layers, const kvc_token_policy *defaults, kvc_error *err)
{
    char *text;
    size_t n;
    *out = (plan){0};
    KVC_TRY(input_read(&text, &n, path, YAML_MAX_BYTES, err));
    kvc_status status = plan_read_memory(out, text, n, path, n_layers, defaults, err);
    free(text);
    return status;
}

void plan_free(plan *p)
{
    free(p->layers);
    *p = (plan){0};
}
