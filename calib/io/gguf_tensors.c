/* gguf_tensors.c - from the tensors of a llama GGUF to those of model.safetensors: names, sizes, and the row
 * order of query and key projections. llama GGUF files store each head's rows with the two members of a
 * rotary pair adjacent (2 i, 2 i + 1); Hugging Face keeps them half a head apart (i, i + d/2). */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "gguf_private.h"
#include "kvc/codec.h"

/* Sizes in terms of the model's shape. */
typedef enum extent { ONE, HIDDEN, FFN, QUERY, KEY, VOCAB } extent;
typedef enum presence { ALWAYS, UNTIED, ATTENTION_BIAS, MLP_BIAS } presence;

typedef struct mapping {
    const char *gguf, *name; /* after "blk.N." and "model.layers.N." for those of a layer */
    extent rows, cols;       /* rank 1: rows ONE */
    extent permuted;         /* QUERY, KEY: by these heads' rows; else ONE */
    presence when;
} mapping;

static const mapping of_model[] = {
    {"token_embd.weight", "model.embed_tokens.weight", VOCAB, HIDDEN, ONE, ALWAYS},
    {"output_norm.weight", "model.norm.weight", ONE, HIDDEN, ONE, ALWAYS},
    {"output.weight", "lm_head.weight", VOCAB, HIDDEN, ONE, UNTIED},
};

static const mapping of_layer[] = {
    {"attn_norm.weight", "input_layernorm.weight", ONE, HIDDEN, ONE, ALWAYS},
    {"attn_q.weight", "self_attn.q_proj.weight", QUERY, HIDDEN, QUERY, ALWAYS},
    {"attn_k.weight", "self_attn.k_proj.weight", KEY, HIDDEN, KEY, ALWAYS},
    {"attn_v.weight", "self_attn.v_proj.weight", KEY, HIDDEN, ONE, ALWAYS},
    {"attn_output.weight", "self_attn.o_proj.weight", HIDDEN, QUERY, ONE, ALWAYS},
    {"attn_q.bias", "self_attn.q_proj.bias", ONE, QUERY, QUERY, ATTENTION_BIAS},
    {"attn_k.bias", "self_attn.k_proj.bias", ONE, KEY, KEY, ATTENTION_BIAS},
    {"attn_v.bias", "self_attn.v_proj.bias", ONE, KEY, ONE, ATTENTION_BIAS},
    {"attn_output.bias", "self_attn.o_proj.bias", ONE, HIDDEN, ONE, ATTENTION_BIAS},
    {"ffn_norm.weight", "post_attention_layernorm.weight", ONE, HIDDEN, ONE, ALWAYS},
    {"ffn_gate.weight", "mlp.gate_proj.weight", FFN, HIDDEN, ONE, ALWAYS},
    {"ffn_up.weight", "mlp.up_proj.weight", FFN, HIDDEN, ONE, ALWAYS},
    {"ffn_down.weight", "mlp.down_proj.weight", HIDDEN, FFN, ONE, ALWAYS},
    {"ffn_gate.bias", "mlp.gate_proj.bias", ONE, FFN, ONE, MLP_BIAS},
    {"ffn_up.bias", "mlp.up_proj.bias", ONE, FFN, ONE, MLP_BIAS},
    {"ffn_down.bias", "mlp.down_proj.bias", ONE, HIDDEN, ONE, MLP_BIAS},
};

enum { N_OF_MODEL = sizeof of_model / sizeof *of_model, N_OF_LAYER = sizeof of_layer / sizeof *of_layer };

static uint64_t size_of(const model_config *c, extent e)
{
    switch (e) {
    case ONE: return 1;
    case HIDDEN: return c->hidden;
    case FFN: return c->ffn;
    case QUERY: return (uint64_t)c->n_heads * c->head_dim;
    case KEY: return (uint64_t)c->n_kv_heads * c->head_dim;
    case VOCAB: return c->vocab;
    }
    return 0;
}

static bool is_present(const model_config *c, presence when)
{
    switch (when) {
    case ALWAYS: return true;
    case UNTIED: return !c->tied_embeddings;
    case ATTENTION_BIAS: return c->attention_bias;
    case MLP_BIAS: return c->mlp_bias;
    }
    return false;
}

/* layer < 0: a tensor of the model. */
static kvc_status add_entry(gguf_plan *plan, const gguf *g, const model_config *c, const mapping *m, int layer,
                            kvc_error *err)
{
    if (!is_present(c, m->when)) return KVC_OK;
    char name[96];
    gguf_plan_entry *e = &plan->entries[plan->n];
    if (layer < 0) {
        snprintf(name, sizeof name, "%s", m->gguf);
        snprintf(e->name, sizeof e->name, "%s", m->name);
    } else {
        snprintf(name, sizeof name, "blk.%d.%s", layer, m->gguf);
        snprintf(e->name, sizeof e->name, "model.layers.%d.%s", layer, m->name);
    }
    const gguf_tensor *t = e->source = gguf_find_tensor(g, name);
    if (!t) return kvc_fail(err, KVC_FORMAT, "%s: has no tensor '%s'", g->path, name);
    uint64_t rows = size_of(c, m->rows), cols = size_of(c, m->cols);
    if (t->rank != (m->rows == ONE ? 1u : 2u) || t->rows != rows || t->cols != cols)
        return kvc_fail(err, KVC_FORMAT, "%s: tensor '%s' has %llu x %llu values, expected %llu x %llu", g->path,
                        name, (unsigned long long)t->rows, (unsigned long long)t->cols, (unsigned long long)rows,
                        (unsigned long long)cols);
    e->heads = m->permuted == QUERY ? c->n_heads : m->permuted == KEY ? c->n_kv_heads : 0;
    plan->n++;
    return KVC_OK;
}

static kvc_status add_all(gguf_plan *plan, const gguf *g, const model_config *c, kvc_error *err)
{
    for (int i = 0; i < N_OF_MODEL; i++) KVC_TRY(add_entry(plan, g, c, &of_model[i], -1, err));
    for (uint32_t layer = 0; layer < c->n_layers; layer++)
        for (int i = 0; i < N_OF_LAYER; i++) KVC_TRY(add_entry(plan, g, c, &of_layer[i], (int)layer, err));
    return KVC_OK;
}

/* Every tensor is used, but for the divisors that the configuration was read from. */
static kvc_status check_unused(const gguf_plan *plan, const gguf *g, kvc_error *err)
{
    bool *used = calloc(g->n_tensors, sizeof *used);
    if (!used) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
    for (size_t i = 0; i < plan->n; i++) used[plan->entries[i].source - g->tensors] = true;
    kvc_status status = KVC_OK;
    for (size_t i = 0; i < g->n_tensors && status == KVC_OK; i++) {
        gguf_text name = g->tensors[i].name;
        if (!used[i] && !gguf_text_is(name, "rope_freqs.weight"))
            status = kvc_fail(err, KVC_UNSUPPORTED, "%s: tensor '%.*s' is not part of a plain llama model", g->path,
                              (int)name.n, name.bytes);
    }
    free(used);
    return status;
}

kvc_status gguf_make_plan(gguf_plan *out, const gguf *g, const model_config *shape, kvc_error *err)
{
    *out = (gguf_plan){0};
    if (shape->n_layers > g->n_tensors) /* which bounds the list by the file's size */
        return kvc_fail(err, KVC_FORMAT, "%s: metadata 'llama.block_count': more layers than tensors", g->path);
    out->entries = calloc((size_t)shape->n_layers * N_OF_LAYER + N_OF_MODEL, sizeof *out->entries);
    if (!out->entries) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
    kvc_status status = add_all(out, g, shape, err);
    if (status == KVC_OK) status = check_unused(out, g, err);
    if (status != KVC_OK) {
        free(out->entries);
        *out = (gguf_plan){0};
    }
    return status;
}

/* Hugging Face's row is which row of the file? */
static uint64_t source_row(uint64_t row, uint64_t head_rows)
{
    uint64_t head = row / head_rows, i = row % head_rows, half = head_rows / 2;
    return head * head_rows + i % half * 2 + i / half;
}

static void permute_values(const gguf_plan_entry *e, float *values, float *scratch)
{
    uint64_t n = e->source->cols;
    for (uint64_t i = 0; i < n; i++) scratch[i] = values[source_row(i, n / e->heads)];
    memcpy(values, scratch, n * sizeof *values);
}

static uint16_t bf16_from_float(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The largest magnitude that rounds to a finite value. */
static float limit_of(kvc_dtype dtype)
{
    static const float limits[] = {
        [KVC_F32] = 0x1.fffffep127f, [KVC_F16] = 0x1.ffdffep15f, [KVC_BF16] = 0x1.fefffep127f};
    return limits[dtype];
}

static kvc_status check_range(const gguf *g, const gguf_tensor *t, const float *x, kvc_dtype dtype, kvc_error *err)
{
    float largest = 0, limit = limit_of(dtype);
    for (uint64_t i = 0; i < t->cols; i++) {
        float magnitude = fabsf(x[i]);
        largest = magnitude <= largest ? largest : magnitude; /* a NaN stays, too */
    }
    if (largest <= limit) return KVC_OK;
    if (isfinite(largest))
        return kvc_fail(err, KVC_FORMAT, "%s: tensor '%.*s': %g is beyond the range of the output's type (use f32)",
                        g->path, (int)t->name.n, t->name.bytes, (double)largest);
    return kvc_fail(err, KVC_NONFINITE, "%s: tensor '%.*s' holds a NaN or an infinity", g->path, (int)t->name.n,
                    t->name.bytes);
}

static const void *pack(const float *row, uint64_t n, kvc_dtype dtype, uint16_t *scratch)
{
    if (dtype == KVC_F32) return row;
    if (dtype == KVC_F16) {
        kvc_rows_to_fp16(row, n, scratch);
    } else {
        for (uint64_t i = 0; i < n; i++) scratch[i] = bf16_from_float(row[i]);
    }
    return scratch;
}

static kvc_status convert_rows(const gguf *g, const gguf_plan_entry *e, kvc_dtype dtype, float *row, float *scratch,
                               weights_writer *w, kvc_error *err)
{
    const gguf_tensor *t = e->source;
    for (uint64_t r = 0; r < t->rows; r++) {
        uint64_t from = e->heads && t->rank == 2 ? source_row(r, t->rows / e->heads) : r;
        gguf_dequantise(t->type, t->data + from * t->row_bytes, t->cols, row);
        if (e->heads && t->rank == 1) permute_values(e, row, scratch);
        KVC_TRY(check_range(g, t, row, dtype, err));
        KVC_TRY(weights_write(w, pack(row, t->cols, dtype, (uint16_t *)scratch), t->cols * (dtype == KVC_F32 ? 4 : 2),
                              err));
    }
    return KVC_OK;
}

kvc_status gguf_convert(const gguf *g, const gguf_plan_entry *e, kvc_dtype dtype, weights_writer *w, kvc_error *err)
{
    float *row = malloc(2 * e->source->cols * sizeof *row);
    if (!row) return kvc_fail(err, KVC_NO_MEMORY, "%s: out of memory", g->path);
    kvc_status status = convert_rows(g, e, dtype, row, row + e->source->cols, w, err);
    free(row);
    return status;
}
