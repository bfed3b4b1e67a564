/* cmd_diff.c - kvcalib diff A.bin B.bin: whether two configurations decide alike (exit 0) or not (1), and where. What
 * they record of their making may differ without that; measured figures that do are shown. */
#include "command.h"
#include "config_image.h"
#include "inspect_json.h"
#include "sha256.h"
#include <string.h>

typedef struct comparison {
    bool json;
    json_t *list; /* [{"field", "a", "b"}] */
} comparison;

static void add(comparison *c, const char *field, const char *a, const char *b)
{
    if (strcmp(a, b) == 0) return;
    if (c->json)
        json_array_append_new(c->list, json_pack("{s:s,s:s,s:s}", "field", field, "a", a, "b", b));
    else
        printf("%-20s %s -> %s\n", field, a, b);
}

static void add_number(comparison *c, const char *field, double a, double b)
{
    char text[2][40];
    snprintf(text[0], sizeof text[0], "%.9g", a);
    snprintf(text[1], sizeof text[1], "%.9g", b);
    add(c, field, text[0], text[1]);
}

static void add_hash(comparison *c, const char *field, const uint8_t *a, const uint8_t *b)
{
    char hex[2][65];
    sha256_hex(a, hex[0]);
    sha256_hex(b, hex[1]);
    add(c, field, hex[0], hex[1]);
}

static void compare_models(comparison *c, const kvc_model_info *a, const kvc_model_info *b)
{
    add(c, "model", a->name, b->name);
    add(c, "architecture", a->architecture, b->architecture);
    add_number(c, "layers", a->n_layers, b->n_layers);
    add_number(c, "query heads", a->n_query_heads, b->n_query_heads);
    add_number(c, "KV heads", a->n_kv_heads, b->n_kv_heads);
    add_number(c, "head dimension", a->head_dim, b->head_dim);
    add_number(c, "hidden size", a->hidden_size, b->hidden_size);
    add_number(c, "vocabulary", a->vocab_size, b->vocab_size);
    add_number(c, "rope theta", a->rope_theta, b->rope_theta);
    add_hash(c, "weights", a->weights_sha256, b->weights_sha256);
    add_hash(c, "tokenizer", a->tokenizer_sha256, b->tokenizer_sha256);
}

static void compare_codecs(comparison *c, uint32_t layer, const char *side, const kvc_codec *a, const kvc_codec *b)
{
    char spec[2][KVC_SPEC_MAX], field[40];
    kvc_codec_format(a, spec[0]);
    kvc_codec_format(b, spec[1]);
    snprintf(field, sizeof field, "layer %u %s", layer, side);
    add(c, field, spec[0], spec[1]);
}

static void compare_layers(comparison *c, const kvc_config *a, const kvc_config *b)
{
    const kvc_layer *x, *y;
    for (uint32_t i = 0; (x = kvc_config_layer(a, i)) && (y = kvc_config_layer(b, i)); i++) {
        compare_codecs(c, i, "key", &x->key, &y->key);
        compare_codecs(c, i, "value", &x->value, &y->value);
    }
}

static void compare_measured(comparison *c, const kvc_config *a, const kvc_config *b)
{
    static const char *const names[] = {"ppl_ref", "ppl", "kl_mean", "top1_agreement"};
    json_t *x = provenance_json(a), *y = provenance_json(b);
    const json_t *mx = json_object_get(x, "measured"), *my = json_object_get(y, "measured");
    for (size_t i = 0; mx && my && i < sizeof names / sizeof *names; i++) {
        char field[40];
        snprintf(field, sizeof field, "measured %s", names[i]);
        add_number(c, field, json_number_value(json_object_get(mx, names[i])),
                   json_number_value(json_object_get(my, names[i])));
    }
    json_decref(x);
    json_decref(y);
}

static void compare(comparison *c, const kvc_config *a, const kvc_config *b, uint64_t context)
{
    const kvc_token_policy *t = kvc_config_tokens(a), *u = kvc_config_tokens(b);
    add_hash(c, "id", kvc_config_id(a), kvc_config_id(b));
    compare_models(c, kvc_config_model(a), kvc_config_model(b));
    add_number(c, "sinks", t->sinks, u->sinks);
    add_number(c, "window", t->window, u->window);
    add_number(c, "page", t->page, u->page);
    compare_layers(c, a, b);
    add_number(c, "bits per value", kvc_config_bits_per_value(a, context), kvc_config_bits_per_value(b, context));
    compare_measured(c, a, b);
}

static void report(const settings *s, comparison *c, const config_image *a, const config_image *b)
{
    if (s->json) c->list = json_array();
    compare(c, a->config, b->config, s->context);
    if (s->json) {
        json_t *o = json_pack("{s:b,s:o}", "differs", s->differs, "differences", c->list);
        json_dumpf(o, stdout, JSON_COMPACT);
        printf("\n");
        json_decref(o);
    } else if (!s->differs) {
        printf("the same configuration\n");
    }
}

kvc_status command_diff(settings *s, kvc_error *err)
{
    config_image a, b;
    comparison c = {.json = s->json};
    KVC_TRY(config_image_read(&a, s->operands[0], err));
    kvc_status status = config_image_read(&b, s->operands[1], err);
    if (status == KVC_OK) {
        s->differs = memcmp(kvc_config_id(a.config), kvc_config_id(b.config), 32) != 0;
        report(s, &c, &a, &b);
        config_image_free(&b);
    }
    config_image_free(&a);
    return status;
}
