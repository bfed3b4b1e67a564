#!/usr/bin/env python3
"""Makes the golden files of this folder with the reference implementation (PyPI: gguf, numpy, safetensors).

    pip install gguf numpy safetensors && python3 make_golden.py

NAME.bin             blocks of random bytes of one type, then the fp32 values that the reference makes of them
tiny.gguf            a llama model of two layers: mixed tensor types, grouped heads, biases, untied embeddings, Llama 3.1 rotary scaling
tiny.safetensors     what importing it as fp32 has to give: the weights before they were permuted for GGUF
"""
import os

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(20240601)
T = gguf.GGMLQuantizationType

# type -> byte offsets of fp16 fields in a block, which must not be random (NaN)
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
          T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.F16: [0], T.BF16: None}


def blocks():
    for kind, halves in HALVES.items():
        values, size = gguf.GGML_QUANT_SIZES[kind]
        n = 4 if values > 1 else 64
        data = rng.integers(0, 256, (n, size), dtype=np.uint8)
        if halves is None:
            data[:] = rng.normal(0, 1, n).astype(np.float32).view(np.uint32).__rshift__(16).astype(np.uint16).view(
                np.uint8).reshape(n, 2)
        else:
            for at in halves:
                half = rng.normal(0, 0.1, n).astype(np.float16)
                half[0] = np.float16(3e-7)  # subnormal
                data[:, at:at + 2] = half.view(np.uint8).reshape(n, 2)
        values = dequantize(data, kind).astype(np.float32)
        with open(os.path.join(here, kind.name + ".bin"), "wb") as f:
            f.write(data.tobytes() + values.tobytes())


def permute(weights, heads):
    """Rows of a projection as llama GGUF files have them."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def byte_alphabet():
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(other))]


def llama3_divisors(theta, head_dim, factor, low=1.0, high=4.0, positions=8192):
    """What Llama 3.1 divides the frequency of each rotary pair by."""
    wavelength = 2 * np.pi * theta ** (np.arange(0, head_dim, 2) / head_dim)
    smooth = np.clip((positions / wavelength - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def tiny():
    layers, hidden, heads, kv_heads, ffn = 2, 32, 4, 2, 64
    tokens = ["<|bos|>", "<|eos|>", "<tool>"] + byte_alphabet() + ["th", "the", "\u0120the"]
    merges = ["t h", "th e", "\u0120 the"]
    kinds = [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.USER_DEFINED] + [gguf.TokenType.NORMAL] * (len(tokens) - 3)
    w = gguf.GGUFWriter(os.path.join(here, "tiny.gguf"), "llama")
    w.add_name("tiny")
    w.add_block_count(layers)
    w.add_context_length(256)
    w.add_embedding_length(hidden)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("llama-bpe")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges(merges)
    w.add_bos_token_id(0)
    w.add_eos_token_id(1)
    w.add_add_bos_token(True)
    w.add_chat_template("{{ messages }}")
    expected = {}

    def add(name, hf, shape, kind, permuted_heads=0):
        values = rng.normal(0, 0.5, shape).astype(np.float32)
        stored = permute(values, permuted_heads) if permuted_heads else values
        if kind == T.F32:
            data = stored
        elif kind == T.F16:
            data = stored.astype(np.float16)
        else:
            data = quantize(stored, kind)
        back = stored if kind == T.F32 else dequantize(data, kind) if kind != T.F16 else data.astype(np.float32)
        if permuted_heads:  # undo by an inverse of its own: sort by where each row went
            order = permute(np.arange(shape[0]), permuted_heads)
            restored = np.empty_like(back)
            restored[order] = back
            back = restored
        expected[hf] = np.ascontiguousarray(back.reshape(shape), dtype=np.float32)
        w.add_tensor(name, np.ascontiguousarray(data), raw_dtype=kind)

    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), hidden), T.Q8_0)
    add("output.weight", "lm_head.weight", (len(tokens), hidden), T.Q4_0)
    add("output_norm.weight", "model.norm.weight", (hidden,), T.F32)
    w.add_tensor("rope_freqs.weight", llama3_divisors(500000.0, hidden // heads, factor=8.0))
    kv = hidden // heads * kv_heads
    for n in range(layers):
        g, h = f"blk.{n}.", f"model.layers.{n}."
        kind = [T.Q4_1, T.Q5_1][n]
        add(g + "attn_norm.weight", h + "input_layernorm.weight", (hidden,), T.F32)
        add(g + "ffn_norm.weight", h + "post_attention_layernorm.weight", (hidden,), T.F32)
        add(g + "attn_q.weight", h + "self_attn.q_proj.weight", (hidden, hidden), kind, heads)
        add(g + "attn_k.weight", h + "self_attn.k_proj.weight", (kv, hidden), kind, kv_heads)
        add(g + "attn_v.weight", h + "self_attn.v_proj.weight", (kv, hidden), T.Q5_0)
        add(g + "attn_output.weight", h + "self_attn.o_proj.weight", (hidden, hidden), T.BF16)
        add(g + "attn_q.bias", h + "self_attn.q_proj.bias", (hidden,), T.F32, heads)
        add(g + "attn_k.bias", h + "self_attn.k_proj.bias", (kv,), T.F32, kv_heads)
        add(g + "attn_v.bias", h + "self_attn.v_proj.bias", (kv,), T.F32)
        add(g + "attn_output.bias", h + "self_attn.o_proj.bias", (hidden,), T.F32)
        add(g + "ffn_gate.weight", h + "mlp.gate_proj.weight", (ffn, hidden), T.F16)
        add(g + "ffn_up.weight", h + "mlp.up_proj.weight", (ffn, hidden), kind)
        add(g + "ffn_down.weight", h + "mlp.down_proj.weight", (hidden, ffn), T.F32)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    save_file(expected, os.path.join(here, "tiny.safetensors"))


blocks()
tiny()
