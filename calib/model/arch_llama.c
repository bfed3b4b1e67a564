/* arch_llama.c - Llama 1 to 3 and what shares its form (SmolLM2, TinyLlama): RMS norm before attention and MLP,
 * grouped-query attention with rotary embedding, SiLU-gated MLP. */
#include "arch.h"

#define LAYER(name) "model.layers.%u." name

const arch arch_llama = {
    .model_type = "llama",
    .embedding = "model.embed_tokens.weight",
    .final_norm = "model.norm.weight",
    .head = "lm_head.weight",
    .layer =
        {
            [SLOT_ATTENTION_NORM] = {LAYER("input_layernorm.weight"), WIDTH_HIDDEN, WIDTH_ONE, WHEN_ALWAYS},
            [SLOT_Q] = {LAYER("self_attn.q_proj.weight"), WIDTH_QUERY, WIDTH_HIDDEN, WHEN_ALWAYS},
            [SLOT_K] = {LAYER("self_attn.k_proj.weight"), WIDTH_KV, WIDTH_HIDDEN, WHEN_ALWAYS},
            [SLOT_V] = {LAYER("self_attn.v_proj.weight"), WIDTH_KV, WIDTH_HIDDEN, WHEN_ALWAYS},
            [SLOT_O] = {LAYER("self_attn.o_proj.weight"), WIDTH_HIDDEN, WIDTH_QUERY, WHEN_ALWAYS},
            [SLOT_MLP_NORM] = {LAYER("post_attention_layernorm.weight"), WIDTH_HIDDEN, WIDTH_ONE, WHEN_ALWAYS},
            [SLOT_GATE] = {LAYER("mlp.gate_proj.weight"), WIDTH_FFN, WIDTH_HIDDEN, WHEN_ALWAYS},
            [SLOT_UP] = {LAYER("mlp.up_proj.weight"), WIDTH_FFN, WIDTH_HIDDEN, WHEN_ALWAYS},
            [SLOT_DOWN] = {LAYER("mlp.down_proj.weight"), WIDTH_HIDDEN, WIDTH_FFN, WHEN_ALWAYS},
            [SLOT_Q_BIAS] = {LAYER("self_attn.q_proj.bias"), WIDTH_QUERY, WIDTH_ONE, WHEN_ATTENTION_BIAS},
            [SLOT_K_BIAS] = {LAYER("self_attn.k_proj.bias"), WIDTH_KV, WIDTH_ONE, WHEN_ATTENTION_BIAS},
            [SLOT_V_BIAS] = {LAYER("self_attn.v_proj.bias"), WIDTH_KV, WIDTH_ONE, WHEN_ATTENTION_BIAS},
            [SLOT_O_BIAS] = {LAYER("self_attn.o_proj.bias"), WIDTH_HIDDEN, WIDTH_ONE, WHEN_ATTENTION_BIAS},
            [SLOT_GATE_BIAS] = {LAYER("mlp.gate_proj.bias"), WIDTH_FFN, WIDTH_ONE, WHEN_MLP_BIAS},
            [SLOT_UP_BIAS] = {LAYER("mlp.up_proj.bias"), WIDTH_FFN, WIDTH_ONE, WHEN_MLP_BIAS},
            [SLOT_DOWN_BIAS] = {LAYER("mlp.down_proj.bias"), WIDTH_HIDDEN, WIDTH_ONE, WHEN_MLP_BIAS},
        },
};
