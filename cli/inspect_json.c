#include "inspect_json.h"
#include "sha256.h"
#include <stdio.h>

json_t *provenance_json(const kvc_config *c)
{
    size_t n;
    const char *text = kvc_config_provenance(c, &n);
    json_t *o = text ? json_loadb(text, n, 0, NULL) : NULL;
    return o ? o : json_object();
}

static json_t *hex_json(const uint8_t *hash)
{
    char hex[65];
    sha256_hex(hash, hex);
    return json_string(hex);
}

/* Names come from a file: what is not UTF-8 is shown as such. */
json_t *text_json(const char *text)
{
    json_t *o = json_string(text);
    return o ? o : json_string("(no UTF-8)");
}

static json_t *model_json(const kvc_model_info *m)
{
    return json_pack("{s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:o,s:o}", "name", text_json(m->name), "architecture",
                     text_json(m->architecture), "layers", (json_int_t)m->n_layers, "kv_heads",
                     (json_int_t)m->n_kv_heads, "query_heads", (json_int_t)m->n_query_heads, "head_dim",
                     (json_int_t)m->head_dim, "hidden_size", (json_int_t)m->hidden_size, "vocab_size",
                     (json_int_t)m->vocab_size, "rope_theta", m->rope_theta, "sha256", hex_json(m->weights_sha256),
                     "tokenizer_sha256", hex_json(m->tokenizer_sha256));
}

static json_t *layers_json(const kvc_config *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < kvc_config_model(c)->n_layers; i++) {
        char key[KVC_SPEC_MAX], value[KVC_SPEC_MAX];
        kvc_codec_format(&kvc_config_layer(c, i)->key, key);
        kvc_codec_format(&kvc_config_layer(c, i)->value, value);
        json_array_append_new(list, json_pack("{s:I,s:s,s:s}", "layer", (json_int_t)i, "key", key, "value", value));
    }
    return list;
}

static json_t *sections_json(const kvc_config *c)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < kvc_config_sections(c); i++) {
        kvc_section s = kvc_config_section(c, i);
        json_array_append_new(list, json_pack("{s:o,s:I,s:I}", "name", text_json(s.name), "offset",
                                              (json_int_t)s.offset, "bytes", (json_int_t)s.bytes));
    }
    return list;
}

kvc_status inspect_json_print(const kvc_config *c, uint64_t context, kvc_error *err)
{
    char format[32];
    size_t constants;
    const kvc_token_policy *t = kvc_config_tokens(c);
    kvc_config_parameters(c, &constants);
    snprintf(format, sizeof format, "%u.%u", kvc_config_format(c) / 1000, kvc_config_format(c) % 1000);
    json_t *o =
        json_pack("{s:s,s:o,s:o,s:{s:I,s:I,s:I,s:I},s:o,s:I,s:f,s:f,s:I,s:I,s:o,s:o}", "format", format, "id",
                  hex_json(kvc_config_id(c)), "model", model_json(kvc_config_model(c)), "tokens", "sinks",
                  (json_int_t)t->sinks, "window", (json_int_t)t->window, "page", (json_int_t)t->page, "anchors",
                  (json_int_t)0, "layers", layers_json(c), "context", (json_int_t)context, "bits_per_value",
                  kvc_config_bits_per_value(c, context), "bytes_per_token", kvc_config_bytes_per_token(c, context),
                  "constant_bytes", (json_int_t)constants, "file_bytes", (json_int_t)kvc_config_file_bytes(c),
                  "provenance", provenance_json(c), "sections", sections_json(c));
    if (!o) return kvc_fail(err, KVC_NO_MEMORY, "out of memory for the description");
    json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
    printf("\n");
    json_decref(o);
    return KVC_OK;
}
