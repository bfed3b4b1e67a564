#!/usr/bin/env python3
"""Write a tiny random Llama: model.safetensors, config.json, tokenizer.json, tokenizer_config.json.

    tiny_model.py DIR [--layers 2 --hidden 64 --heads 4 --kv-heads 2 --head-dim 16 --ffn 96 --vocab 320 ...]

Standard library only. The same options give the same bytes: every tensor has its own generator, seeded with the seed and
the tensor's name, and draws uniform values, so no result depends on a maths library. Weights have a standard deviation of
gain / sqrt(columns), which makes attention neither uniform nor one-hot. Hugging Face libraries read the folder too.
"""
import argparse
import json
import os
import random
import struct
import sys

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = """Ġ t|h e|i n|r e|o n|Ġ a|e r|a t|Ġt he|e n|o r|Ġ s|i s|i t|e s|a n|in g|Ġ w|a l|Ġ o|Ġa n|e d|Ġan d|Ġo f|o u|a r|
Ġ in|Ġt o|l e|Ġ c|Ġ b|Ġ f|i on|Ġ m|Ġ p|Ġ d|l l|s t|en t|Ġ h|v e|0 0|Ġ Ġ|ĠĠ ĠĠ|( )|Ã ©|Ð ¾|ä ¸|ð Ł"""


def byte_alphabet():
    """The printable character that stands for each byte in a byte-level vocabulary."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    spare = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


def tokenizer_json(vocab_size):
    merges = [m.strip("\n") for m in MERGES.split("|")]
    tokens = SPECIALS + byte_alphabet()
    room = vocab_size - len(tokens)
    if room < 0:
        sys.exit(f"tiny_model: --vocab {vocab_size} is less than 256 bytes and {len(SPECIALS)} special tokens")
    merges = merges[:room]
    tokens += [m.replace(" ", "") for m in merges]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": i, "content": s, **flags} for i, s in enumerate(SPECIALS)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence",
                          "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level]},
        "post_processor": None, "decoder": byte_level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges},
    }


def config_json(o):
    scaling = None
    if o.rope_scaling == "linear":
        scaling = {"rope_type": "linear", "factor": o.rope_factor}
    elif o.rope_scaling == "llama3":
        scaling = {"rope_type": "llama3", "factor": o.rope_factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": o.rope_original}
    return {
        "_name_or_path": o.name, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "num_hidden_layers": o.layers, "hidden_size": o.hidden, "num_attention_heads": o.heads,
        "num_key_value_heads": o.kv_heads, "head_dim": o.head_dim, "intermediate_size": o.ffn, "vocab_size": o.vocab,
        "max_position_embeddings": o.max_positions, "rms_norm_eps": o.eps, "rope_theta": o.rope_theta,
        "rope_scaling": scaling, "tie_word_embeddings": o.tied, "attention_bias": o.attention_bias,
        "mlp_bias": o.mlp_bias, "attention_dropout": 0.0, "initializer_range": 0.02, "pretraining_tp": 1,
        "torch_dtype": {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}[o.dtype], "use_cache": True,
        "bos_token_id": 0, "eos_token_id": 2,
    }


def tensors(o):
    """(name, shape, kind) of every tensor."""
    q, kv = o.heads * o.head_dim, o.kv_heads * o.head_dim
    yield "model.embed_tokens.weight", (o.vocab, o.hidden), "matrix"
    for i in range(o.layers):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (o.hidden,), "norm"
        yield layer + "post_attention_layernorm.weight", (o.hidden,), "norm"
        linear = [("self_attn.q_proj", q, o.hidden, o.attention_bias), ("self_attn.k_proj", kv, o.hidden, o.attention_bias),
                  ("self_attn.v_proj", kv, o.hidden, o.attention_bias), ("self_attn.o_proj", o.hidden, q, o.attention_bias),
                  ("mlp.gate_proj", o.ffn, o.hidden, o.mlp_bias), ("mlp.up_proj", o.ffn, o.hidden, o.mlp_bias),
                  ("mlp.down_proj", o.hidden, o.ffn, o.mlp_bias)]
        for name, rows, columns, bias in linear:
            yield layer + name + ".weight", (rows, columns), "matrix"
            if bias:
                yield layer + name + ".bias", (rows,), "bias"
    yield "model.norm.weight", (o.hidden,), "norm"
    if not o.tied:
        yield "lm_head.weight", (o.vocab, o.hidden), "matrix"


def values(o, name, shape, kind):
    draw = random.Random(f"{o.seed}:{name}").random
    n = shape[0] * (shape[1] if len(shape) == 2 else 1)
    if kind == "norm":
        return [1.0 + 0.4 * (draw() - 0.5) for _ in range(n)]
    spread = 0.2 if kind == "bias" else o.gain * (12.0 / shape[1]) ** 0.5
    return [spread * (draw() - 0.5) for _ in range(n)]


def pack(dtype, numbers):
    if dtype == "f32":
        return struct.pack(f"<{len(numbers)}f", *numbers)
    if dtype == "f16":
        return struct.pack(f"<{len(numbers)}e", *numbers)
    bits = struct.unpack(f"<{len(numbers)}I", struct.pack(f"<{len(numbers)}f", *numbers))
    return struct.pack(f"<{len(numbers)}H", *((b + 0x7FFF + (b >> 16 & 1)) >> 16 for b in bits))


def write_safetensors(o, path, group):
    header, data, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape, kind in group:
        block = pack(o.dtype, values(o, name, shape, kind))
        header[name] = {"dtype": o.dtype.upper(), "shape": list(shape), "data_offsets": [at, at + len(block)]}
        data.append(block)
        at += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))
    return at


def write_weights(o):
    group = list(tensors(o))
    if o.shards == 1:
        write_safetensors(o, os.path.join(o.folder, "model.safetensors"), group)
        return
    where, total = {}, 0
    for s in range(o.shards):
        name = f"model-{s + 1:05}-of-{o.shards:05}.safetensors"
        part = group[len(group) * s // o.shards : len(group) * (s + 1) // o.shards]
        total += write_safetensors(o, os.path.join(o.folder, name), part)
        where.update((t[0], name) for t in part)
    write_json(o, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})


def write_json(o, name, value):
    with open(os.path.join(o.folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("folder")
    for name, default in [("layers", 2), ("hidden", 64), ("heads", 4), ("kv-heads", 2), ("head-dim", 16), ("ffn", 96),
                          ("vocab", 320), ("max-positions", 2048), ("rope-original", 64), ("seed", 1), ("shards", 1)]:
        p.add_argument("--" + name, type=int, default=default)
    for name, default in [("eps", 1e-5), ("rope-theta", 10000.0), ("rope-factor", 4.0), ("gain", 1.2)]:
        p.add_argument("--" + name, type=float, default=default)
    p.add_argument("--rope-scaling", choices=["none", "linear", "llama3"], default="none")
    p.add_argument("--dtype", choices=["f32", "f16", "bf16"], default="f32")
    p.add_argument("--tied", action=argparse.BooleanOptionalAction, default=True)
    p.add_argument("--attention-bias", action="store_true")
    p.add_argument("--mlp-bias", action="store_true")
    p.add_argument("--name", default="tiny")
    o = p.parse_args()
    os.makedirs(o.folder, exist_ok=True)
    write_weights(o)
    write_json(o, "config.json", config_json(o))
    write_json(o, "tokenizer.json", tokenizer_json(o.vocab))
    write_json(o, "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
                                            "bos_token": "<|endoftext|>", "model_max_length": o.max_positions})


if __name__ == "__main__":
    main()
