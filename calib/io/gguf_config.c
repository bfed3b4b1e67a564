/* gguf_config.c - the shapes of a llama model from GGUF metadata, and config.json made of them.
 * Llama-3.1 scaling of rotary frequencies is not in the metadata of GGUF but in a tensor of divisors,
 * rope_freqs.weight; it is matched against the published parameters, and refused where it differs. */
#include <math.h>
#include <string.h>
#include "gguf_private.h"
#include "kvc/codec.h"

static kvc_status check_architecture(const gguf *g, kvc_error *err)
{
    gguf_text text = {0};
    uint32_t splits = 0, experts = 0, window = 0;
    KVC_TRY(gguf_get_text(g, "general.architecture", false, &text, err));
    if (!gguf_text_is(text, "llama"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: architecture '%.*s' is not supported (llama is)", g->path,
                        text.n > 64 ? 64 : (int)text.n, text.bytes);
    KVC_TRY(gguf_get_count(g, "split.count", 0, UINT16_MAX, true, &splits, err));
    if (splits > 1)
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: is one part of %u: split files are not supported", g->path,
                        splits);
    KVC_TRY(gguf_get_count(g, "llama.expert_count", 0, UINT16_MAX, true, &experts, err));
    if (experts)
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: llama.expert_count: mixtures of experts are not supported",
                        g->path);
    KVC_TRY(gguf_get_count(g, "llama.attention.sliding_window", 0, UINT32_MAX, true, &window, err));
    if (window)
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: llama.attention.sliding_window: is not supported", g->path);
    return KVC_OK;
}

static kvc_status fail_key(const gguf *g, const char *key, const char *what, kvc_error *err)
{
    return kvc_fail(err, KVC_FORMAT, "%s: metadata '%s': %s", g->path, key, what);
}

static kvc_status read_heads(const gguf *g, model_config *c, kvc_error *err)
{
    KVC_TRY(gguf_get_count(g, "llama.attention.head_count", 1, 1 << 16, false, &c->n_heads, err));
    c->n_kv_heads = c->n_heads;
    KVC_TRY(gguf_get_count(g, "llama.attention.head_count_kv", 1, 1 << 16, true, &c->n_kv_heads, err));
    if (c->n_heads % c->n_kv_heads)
        return fail_key(g, "llama.attention.head_count_kv", "does not divide head_count", err);
    c->head_dim = c->hidden / c->n_heads;
    KVC_TRY(gguf_get_count(g, "llama.attention.key_length", 1, 1 << 16, true, &c->head_dim, err));
    if (!gguf_find(g, "llama.attention.key_length") && c->hidden % c->n_heads)
        return fail_key(g, "llama.embedding_length", "is no multiple of head_count", err);
    uint32_t value_dim = c->head_dim, rotated = c->head_dim;
    KVC_TRY(gguf_get_count(g, "llama.attention.value_length", 1, 1 << 16, true, &value_dim, err));
    KVC_TRY(gguf_get_count(g, "llama.rope.dimension_count", 1, 1 << 16, true, &rotated, err));
    if (value_dim != c->head_dim) return fail_key(g, "llama.attention.value_length", "differs from key_length", err);
    if (rotated != c->head_dim || c->head_dim % 2)
        return fail_key(g, "llama.rope.dimension_count", "is not the (even) size of a head", err);
    return KVC_OK;
}

/* The factor by which Llama-3.1 divides the frequency of pair i. */
static double llama3_divisor(const model_config *c, uint32_t i)
{
    double wavelength = 2 * M_PI * pow(c->rope_theta, 2.0 * i / c->head_dim);
    double positions = c->rope_original_positions;
    if (wavelength < positions / c->rope_high_factor) return 1;
    if (wavelength > positions / c->rope_low_factor) return c->rope_factor;
    double smooth = (positions / wavelength - c->rope_low_factor) / (c->rope_high_factor - c->rope_low_factor);
    return 1 / ((1 - smooth) / c->rope_factor + smooth);
}

static kvc_status match_llama3(const gguf *g, const gguf_tensor *t, model_config *c, kvc_error *err)
{
    float divisors[1 << 12];
    uint32_t pairs = c->head_dim / 2;
    if (t->rank != 1 || t->cols != pairs || pairs > 1 << 12 || strcmp(t->type->name, "F32"))
        return kvc_fail(err, KVC_FORMAT, "%s: tensor 'rope_freqs.weight' is not F32 [%u]", g->path, pairs);
    gguf_dequantise(t->type, t->data, pairs, divisors);
    c->scaling = ROPE_LLAMA3;
    c->rope_factor = divisors[pairs - 1]; /* the longest wavelength has the whole factor */
    c->rope_low_factor = 1;
    c->rope_high_factor = 4;
    c->rope_original_positions = 8192;
    for (uint32_t i = 0; i < pairs; i++)
        if (!(fabs(divisors[i] - llama3_divisor(c, i)) <= 1e-4 * fabs(divisors[i])))
            return kvc_fail(err, KVC_UNSUPPORTED, "%s: tensor 'rope_freqs.weight' is not the scaling of Llama 3.1",
                            g->path);
    return KVC_OK;
}

static kvc_status read_rope(const gguf *g, model_config *c, kvc_error *err)
{
    gguf_text type = {"none", 4};
    const gguf_tensor *divisors = gguf_find_tensor(g, "rope_freqs.weight");
    c->rope_theta = 10000;
    KVC_TRY(gguf_get_real(g, "llama.rope.freq_base", true, &c->rope_theta, err));
    if (!(c->rope_theta >= 1)) return fail_key(g, "llama.rope.freq_base", "is below 1", err);
    KVC_TRY(gguf_get_text(g, "llama.rope.scaling.type", true, &type, err));
    bool linear = gguf_text_is(type, "linear");
    if (!linear && !gguf_text_is(type, "none"))
        return kvc_fail(err, KVC_UNSUPPORTED, "%s: llama.rope.scaling.type '%.*s' is not supported", g->path,
                        type.n > 64 ? 64 : (int)type.n, type.bytes);
    if (linear && divisors) return fail_key(g, "llama.rope.scaling.type", "is linear beside rope_freqs.weight", err);
    if (divisors) return match_llama3(g, divisors, c, err);
    if (!linear) return KVC_OK;
    c->scaling = ROPE_LINEAR;
    KVC_TRY(gguf_get_real(g, "llama.rope.scaling.factor", false, &c->rope_factor, err));
    return c->rope_factor >= 1 ? KVC_OK : fail_key(g, "llama.rope.scaling.factor", "is below 1", err);
}

static kvc_status read_shape(const gguf *g, model_config *c, kvc_error *err)
{
    KVC_TRY(gguf_get_count(g, "llama.block_count", 1, 4096, false, &c->n_layers, err));
    KVC_TRY(gguf_get_count(g, "llama.embedding_length", 1, 1 << 20, false, &c->hidden, err));
    KVC_TRY(gguf_get_count(g, "llama.feed_forward_length", 1, 1 << 22, false, &c->ffn, err));
    KVC_TRY(gguf_get_count(g, "llama.context_length", 1, UINT32_MAX, false, &c->max_positions, err));
    KVC_TRY(gguf_get_real(g, "llama.attention.layer_norm_rms_epsilon", false, &c->rms_eps, err));
    KVC_TRY(read_heads(g, c, err));
    KVC_TRY(read_rope(g, c, err));
    const gguf_tensor *embedding = gguf_find_tensor(g, "token_embd.weight");
    if (!embedding || embedding->rank != 2 || embedding->rows > 1 << 24)
        return kvc_fail(err, KVC_FORMAT, "%s: tensor 'token_embd.weight' is missing or has an impossible size",
                        g->path);
    c->vocab = (uint32_t)embedding->rows;
    c->tied_embeddings = !gguf_find_tensor(g, "output.weight");
    c->attention_bias = gguf_find_tensor(g, "blk.0.attn_q.bias") != NULL;
    c->mlp_bias = gguf_find_tensor(g, "blk.0.ffn_up.bias") != NULL;
    return KVC_OK;
}

static json_t *scaling_json(const model_config *c)
{
    if (c->scaling == ROPE_LINEAR) return json_pack("{s:s, s:f}", "rope_type", "linear", "factor", c->rope_factor);
    if (c->scaling == ROPE_LLAMA3)
        return json_pack("{s:s, s:f, s:f, s:f, s:i}", "rope_type", "llama3", "factor", c->rope_factor,
                         "low_freq_factor", c->rope_low_factor, "high_freq_factor", c->rope_high_factor,
                         "original_max_position_embeddings", (int)c->rope_original_positions);
    return json_null();
}

/* The file's name without ".gguf": general.name is often the name of a training run. What is no UTF-8 is left out. */
static void add_name(const gguf *g, json_t *config)
{
    const char *slash = strrchr(g->path, '/');
    const char *name = slash ? slash + 1 : g->path;
    size_t n = strlen(name);
    if (n > 5 && !strcmp(name + n - 5, ".gguf")) n -= 5;
    json_object_set_new(config, "_name_or_path", json_stringn(name, n));
}

static json_t *config_json(const model_config *c, kvc_dtype dtype)
{
    static const char *const dtypes[] = {[KVC_F32] = "float32", [KVC_F16] = "float16", [KVC_BF16] = "bfloat16"};
    return json_pack("{s:[s], s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:I, s:f, s:f, s:o, s:b, s:b, s:b}",
                     "architectures", "LlamaForCausalLM", "model_type", "llama", "torch_dtype", dtypes[dtype],
                     "hidden_act", "silu", "num_hidden_layers", (int)c->n_layers, "hidden_size", (int)c->hidden,
                     "intermediate_size", (int)c->ffn, "num_attention_heads", (int)c->n_heads, "num_key_value_heads",
                     (int)c->n_kv_heads, "head_dim", (int)c->head_dim, "vocab_size", (int)c->vocab,
                     "max_position_embeddings", (json_int_t)c->max_positions, "rms_norm_eps", c->rms_eps,
                     "rope_theta", c->rope_theta, "rope_scaling", scaling_json(c), "tie_word_embeddings",
                     (int)c->tied_embeddings, "attention_bias", (int)c->attention_bias, "mlp_bias", (int)c->mlp_bias);
}

static kvc_status add_token_ids(const gguf *g, json_t *config, uint32_t vocab, kvc_error *err)
{
    static const char *const ids[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token_id"},
                                         {"tokenizer.ggml.eos_token_id", "eos_token_id"},
                                         {"tokenizer.ggml.padding_token_id", "pad_token_id"}};
    for (int i = 0; i < 3; i++) {
        uint32_t id = UINT32_MAX;
        KVC_TRY(gguf_get_count(g, ids[i][0], 0, vocab - 1, true, &id, err));
        json_object_set_new(config, ids[i][1], id == UINT32_MAX ? json_null() : json_integer(id));
    }
    return KVC_OK;
}

kvc_status gguf_read_config(const gguf *g, kvc_dtype dtype, model_config *shape, json_t **config, kvc_error *err)
{
    *config = NULL;
    memset(shape, 0, sizeof *shape);
    KVC_TRY(check_architecture(g, err));
    KVC_TRY(read_shape(g, shape, err));
    json_t *json = config_json(shape, dtype);
    if (!json) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
    add_name(g, json);
    kvc_status status = add_token_ids(g, json, shape->vocab, err);
    if (status == KVC_OK) {
        *config = json;
    } else {
        json_decref(json);
    }
    return status;
}

kvc_status gguf_read_generation_config(const gguf *g, uint32_t vocab, json_t **out, kvc_error *err)
{
    json_t *json = json_pack("{s:b}", "_from_model_config", 1);
    if (!json) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
    kvc_status status = add_token_ids(g, json, vocab, err);
    if (status == KVC_OK) {
        *out = json;
    } else {
        json_decref(json);
    }
    return status;
}
