/* model_config.c - config.json of a Llama model. Both spellings of rotary parameters are read: rope_theta
 * with rope_scaling, and the rope_parameters object of newer files. What would change the forward pass and is
 * not implemented (sliding windows, quantised weights, other scalings) is refused by name. */
#include "model_config.h"

#include <stdlib.h>
#include <string.h>
#include "json.h"

enum { MAX_CONFIG = 16 << 20 };

static kvc_status fail_field(const char *path, const char *field, const char *what, kvc_error *err)
{
    return kvc_fail(err, KVC_FORMAT, "%s: \"%s\": %s", path, field, what);
}

/* Absent and null are alike: Hugging Face writes null for "default". */
static const json_t *find(const json_t *object, const char *field)
{
    const json_t *value = json_object_get(object, field);
    return json_is_null(value) ? NULL : value;
}

/* A whole number in [1, max]. Where absent: *out stays if `optional`. */
static kvc_status read_count(const char *path, const json_t *root, const char *field, uint32_t max, bool optional,
                             uint32_t *out, kvc_error *err)
{
    const json_t *value = find(root, field);
    if (!value) return optional ? KVC_OK : fail_field(path, field, "is missing", err);
    json_int_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < 1 || n > (json_int_t)max)
        return kvc_fail(err, KVC_FORMAT, "%s: \"%s\": is no whole number from 1 to %u", path, field, max);
    *out = (uint32_t)n;
    return KVC_OK;
}

static kvc_status read_real(const char *path, const json_t *root, const char *field, double min, double max,
                            bool optional, double *out, kvc_error *err)
{
    const json_t *value = find(root, field);
    if (!value) return optional ? KVC_OK : fail_field(path, field, "is missing", err);
    double x = json_number_value(value);
    if (!json_is_number(value) || !(x >= min && x <= max))
        return kvc_fail(err, KVC_FORMAT, "%s: \"%s\": is no number from %g to %g", path, field, min, max);
    *out = x;
    return KVC_OK;
}

static kvc_status read_flag(const char *path, const json_t *root, const char *field, bool *out, kvc_error *err)
{
    const json_t *value = find(root, field);
    if (value && !json_is_boolean(value)) return fail_field(path, field, "is neither true nor false", err);
    if (value) *out = json_is_true(value);
    return KVC_OK;
}

static kvc_status read_text(const char *path, const json_t *root, const char *field, const char **out, kvc_error *err)
{
    *out = NULL;
    const json_t *value = find(root, field);
    if (value && !json_is_string(value)) return fail_field(path, field, "is no string", err);
    *out = json_string_value(value);
    return KVC_OK;
}

static kvc_status read_shapes(model_config *c, const char *path, const json_t *root, kvc_error *err)
{
    KVC_TRY(read_count(path, root, "num_hidden_layers", 4096, false, &c->n_layers, err));
    KVC_TRY(read_count(path, root, "hidden_size", 1 << 20, false, &c->hidden, err));
    KVC_TRY(read_count(path, root, "num_attention_heads", 1 << 16, false, &c->n_heads, err));
    c->n_kv_heads = c->n_heads;
    KVC_TRY(read_count(path, root, "num_key_value_heads", 1 << 16, true, &c->n_kv_heads, err));
    c->head_dim = c->hidden / c->n_heads;
    KVC_TRY(read_count(path, root, "head_dim", 1 << 16, true, &c->head_dim, err));
    KVC_TRY(read_count(path, root, "intermediate_size", 1 << 22, false, &c->ffn, err));
    KVC_TRY(read_count(path, root, "vocab_size", 1 << 24, false, &c->vocab, err));
    c->max_positions = 2048; /* the library's default */
    KVC_TRY(read_count(path, root, "max_position_embeddings", UINT32_MAX, true, &c->max_positions, err));
    if (c->n_heads % c->n_kv_heads)
        return fail_field(path, "num_key_value_heads", "does not divide num_attention_heads", err);
    if (!find(root, "head_dim") && c->hidden % c->n_heads)
        return fail_field(path, "hidden_size", "is no multiple of num_attention_heads, and there is no head_dim",
                          err);
    if (c->head_dim % 2) return fail_field(path, "head_dim", "is odd: rotary embedding needs pairs", err);
    return KVC_OK;
}

static kvc_status read_llama3(model_config *c, const char *path, const json_t *rope, kvc_error *err)
{
    c->scaling = ROPE_LLAMA3;
    KVC_TRY(read_real(path, rope, "factor", 1, 1e6, false, &c->rope_factor, err));
    KVC_TRY(read_real(path, rope, "low_freq_factor", 1e-6, 1e6, false, &c->rope_low_factor, err));
    KVC_TRY(read_real(path, rope, "high_freq_factor", 1e-6, 1e6, false, &c->rope_high_factor, err));
    if (!(c->rope_high_factor > c->rope_low_factor))
        return fail_field(path, "high_freq_factor", "is not above low_freq_factor", err);
    return read_count(path, rope, "original_max_position_embeddings", UINT32_MAX, false, &c->rope_original_positions,
                      err);
}

static kvc_status read_scaling(model_config *c, const char *path, const char *field, const json_t *rope,
                               kvc_error *err)
{
    if (!rope) return KVC_OK;
    if (!json_is_object(rope)) return fail_field(path, field, "is no object", err);
    const char *type;
    KVC_TRY(read_text(path, rope, find(rope, "rope_type") ? "rope_type" : "type", &type, err));
    if (!type || !strcmp(type, "default")) return KVC_OK;
    if (!strcmp(type, "llama3")) return read_llama3(c, path, rope, err);
    if (strcmp(type, "linear"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"%s\": rope scaling \"%.64s\" is not supported", path, field,
                        type);
    c->scaling = ROPE_LINEAR;
    return read_real(path, rope, "factor", 1, 1e6, false, &c->rope_factor, err);
}

static kvc_status read_rope(model_config *c, const char *path, const json_t *root, kvc_error *err)
{
    const json_t *parameters = find(root, "rope_parameters");
    c->rope_theta = 10000; /* the library's default */
    c->rope_factor = 1;
    KVC_TRY(read_real(path, root, "rope_theta", 1, 1e12, true, &c->rope_theta, err));
    KVC_TRY(read_real(path, parameters, "rope_theta", 1, 1e12, true, &c->rope_theta, err));
    const char *field = parameters ? "rope_parameters" : "rope_scaling";
    KVC_TRY(read_scaling(c, path, field, find(root, field), err));
    const json_t *owners[] = {root, parameters};
    for (int i = 0; i < 2; i++) {
        double part = 1;
        KVC_TRY(read_real(path, owners[i], "partial_rotary_factor", 0, 1, true, &part, err));
        if (part != 1)
            return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"partial_rotary_factor\": %g is not supported", path, part);
    }
    return KVC_OK;
}

static kvc_status check_architecture(model_config *c, const char *path, const json_t *root, kvc_error *err)
{
    const char *type, *activation;
    KVC_TRY(read_text(path, root, "model_type", &type, err));
    if (!type) return fail_field(path, "model_type", "is missing", err);
    if (strcmp(type, "llama"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"model_type\": \"%.64s\" is not supported (llama is)", path,
                        type);
    strcpy(c->architecture, "llama");
    KVC_TRY(read_text(path, root, "hidden_act", &activation, err));
    if (activation && strcmp(activation, "silu") && strcmp(activation, "swish"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"hidden_act\": \"%.64s\" is not supported (silu is)", path,
                        activation);
    return KVC_OK;
}

/* Features that other readers would apply and this forward pass does not have. */
static kvc_status check_features(const char *path, const json_t *root, kvc_error *err)
{
    bool window = true;
    KVC_TRY(read_flag(path, root, "use_sliding_window", &window, err));
    if (window && find(root, "sliding_window"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"sliding_window\": is not supported", path);
    if (find(root, "quantization_config"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"quantization_config\": quantised weights are not supported",
                        path);
    size_t i;
    json_t *kind;
    json_array_foreach(json_object_get(root, "layer_types"), i, kind)
    {
        const char *text = json_string_value(kind);
        if (!text || strcmp(text, "full_attention"))
            return kvc_fail(err, KVC_UNSUPPORTED, "%s: \"layer_types\": \"%.64s\" is not supported", path,
                            text ? text : "?");
    }
    return KVC_OK;
}

/* The last part of a path or hub name, cut at 63 bytes without splitting a character. */
static void set_name(char out[64], const char *text)
{
    size_t end = strlen(text);
    while (end && text[end - 1] == '/') end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '/') begin--;
    size_t n = end - begin;
    if (n > 63)
        for (n = 63; n && ((unsigned char)text[begin + n] & 0xc0) == 0x80;) n--;
    memcpy(out, text + begin, n);
    out[n] = '\0';
}

static kvc_status read_name(model_config *c, const char *path, const json_t *root, kvc_error *err)
{
    const char *name;
    KVC_TRY(read_text(path, root, "_name_or_path", &name, err));
    if (name) set_name(c->name, name);
    if (c->name[0]) return KVC_OK;
    char *full = realpath(path, NULL);
    char *slash = full ? strrchr(full, '/') : NULL;
    if (slash) *slash = '\0';
    if (full) set_name(c->name, full);
    free(full);
    return KVC_OK;
}

static kvc_status read_root(model_config *c, const char *path, const json_t *root, kvc_error *err)
{
    if (!json_is_object(root)) return kvc_fail(err, KVC_FORMAT, "%s: is no JSON object", path);
    KVC_TRY(check_architecture(c, path, root, err));
    KVC_TRY(read_shapes(c, path, root, err));
    KVC_TRY(read_rope(c, path, root, err));
    KVC_TRY(check_features(path, root, err));
    c->rms_eps = 1e-6; /* the library's default */
    KVC_TRY(read_real(path, root, "rms_norm_eps", 0, 1, true, &c->rms_eps, err));
    KVC_TRY(read_flag(path, root, "tie_word_embeddings", &c->tied_embeddings, err));
    KVC_TRY(read_flag(path, root, "attention_bias", &c->attention_bias, err));
    KVC_TRY(read_flag(path, root, "mlp_bias", &c->mlp_bias, err));
    return read_name(c, path, root, err);
}

kvc_status model_config_read(model_config *out, const char *path, kvc_error *err)
{
    json_t *root;
    memset(out, 0, sizeof *out);
    KVC_TRY(json_read_file(&root, path, MAX_CONFIG, err));
    kvc_status status = read_root(out, path, root, err);
    json_decref(root);
    if (status != KVC_OK) memset(out, 0, sizeof *out);
    return status;
}
