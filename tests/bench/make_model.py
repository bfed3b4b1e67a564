#!/usr/bin/env python3
"""Write a large random Llama in bfloat16 for measurements of speed: config.json, safetensors shards and an index, and a
tokenizer copied from another folder.

    make_model.py DIR --tokenizer FOLDER [--shape llama-3-8b | llama-3-70b | smollm2-135m] [--layers N] [--seed S]

Every matrix is a block of a few million random numbers repeated at an odd stride, scaled by 1 / sqrt(columns), so that
activations stay of order one through all layers; what branches add to the stream is scaled down by the square root of
their number. So 16 GB take as long as writing them. Needs numpy. The vocabulary is the shape's: ids of the tokenizer must
be below it. Attention is neither uniform nor one-hot, but losses of such a model mean nothing.
"""
import argparse
import json
import os
import shutil
import sys
import time

import numpy

SHAPES = {
    "llama-3-8b": dict(layers=32, hidden=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336, vocab=128256, tied=False),
    "llama-3-70b": dict(layers=80, hidden=8192, heads=64, kv_heads=8, head_dim=128, ffn=28672, vocab=128256, tied=False),
    "smollm2-135m": dict(layers=30, hidden=576, heads=9, kv_heads=3, head_dim=64, ffn=1536, vocab=49152, tied=True),
}
POOL = (1 << 23) + 9  # odd, so that rows of any width are different cuts of it


def layer_tensors(s, i):
    """(name, rows, columns, gain) of a layer; columns 0: a vector of ones."""
    query, kv = s["heads"] * s["head_dim"], s["kv_heads"] * s["head_dim"]
    branch = (2 * s["layers"]) ** -0.5
    prefix = f"model.layers.{i}."
    yield prefix + "input_layernorm.weight", s["hidden"], 0, 1
    yield prefix + "mlp.down_proj.weight", s["hidden"], s["ffn"], branch
    yield prefix + "mlp.gate_proj.weight", s["ffn"], s["hidden"], 1
    yield prefix + "mlp.up_proj.weight", s["ffn"], s["hidden"], 1
    yield prefix + "post_attention_layernorm.weight", s["hidden"], 0, 1
    yield prefix + "self_attn.k_proj.weight", kv, s["hidden"], 1
    yield prefix + "self_attn.o_proj.weight", s["hidden"], query, branch
    yield prefix + "self_attn.q_proj.weight", query, s["hidden"], 1
    yield prefix + "self_attn.v_proj.weight", kv, s["hidden"], 1


def shards(s):
    """Lists of tensors, one for each file."""
    gain = 1 if s["tied"] else s["hidden"] ** 0.5  # logits of order one
    ends = [("model.embed_tokens.weight", s["vocab"], s["hidden"], gain), ("model.norm.weight", s["hidden"], 0, 1)]
    if not s["tied"]:
        ends.append(("lm_head.weight", s["vocab"], s["hidden"], 1))
    group = 4
    yield ends
    for first in range(0, s["layers"], group):
        yield [t for i in range(first, min(first + group, s["layers"])) for t in layer_tensors(s, i)]


def bfloat16(x):
    """The nearest bfloat16 of fp32 numbers, as uint16."""
    bits = x.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(numpy.uint16)


def values(rows, columns, gain, pool, scaled, offset):
    """Pieces of a tensor as bytes."""
    if columns == 0:
        yield numpy.full(rows, 0x3F80, numpy.uint16).tobytes()
        return
    key = round(gain * columns**-0.5, 12)
    if key not in scaled:
        scaled[key] = bfloat16(pool * numpy.float32(key))
    block, left, at = scaled[key], rows * columns, offset % POOL
    while left:
        n = min(left, POOL - at)
        yield memoryview(block[at : at + n]).cast("B")
        left, at = left - n, 0


def write_shard(path, tensors, pool, scaled, seed):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, rows, columns, _ in tensors:
        size = 2 * rows * max(columns, 1)
        header[name] = {"dtype": "BF16", "shape": [rows, columns] if columns else [rows], "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for i, (_, rows, columns, gain) in enumerate(tensors):
            for piece in values(rows, columns, gain, pool, scaled, (seed + 1) * 1000003 + (i + 1) * 7919):
                f.write(piece)
    return at


def config(name, s):
    return {
        "_name_or_path": name, "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "num_hidden_layers": s["layers"], "hidden_size": s["hidden"], "num_attention_heads": s["heads"],
        "num_key_value_heads": s["kv_heads"], "head_dim": s["head_dim"], "intermediate_size": s["ffn"],
        "vocab_size": s["vocab"], "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
        "rope_scaling": None, "tie_word_embeddings": s["tied"], "attention_bias": False, "mlp_bias": False,
        "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 0,
    }


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("--tokenizer", required=True)
    p.add_argument("--shape", choices=sorted(SHAPES), default="llama-3-8b")
    p.add_argument("--layers", type=int)
    p.add_argument("--seed", type=int, default=0)
    o = p.parse_args()
    s = dict(SHAPES[o.shape], **({"layers": o.layers} if o.layers else {}))
    begin = time.time()
    os.makedirs(o.folder, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        if os.path.exists(os.path.join(o.tokenizer, file)):
            shutil.copy(os.path.join(o.tokenizer, file), o.folder)
    if not os.path.exists(os.path.join(o.folder, "tokenizer.json")):
        sys.exit(f"make_model: {o.tokenizer} has no tokenizer.json")
    pool = numpy.random.default_rng(o.seed).standard_normal(POOL, dtype=numpy.float32)
    scaled, where, total, lists = {}, {}, 0, list(shards(s))
    for i, tensors in enumerate(lists):
        file = f"model-{i + 1:05d}-of-{len(lists):05d}.safetensors"
        total += write_shard(os.path.join(o.folder, file), tensors, pool, scaled, 1000 * o.seed + i)
        where.update({name: file for name, *_ in tensors})
    with open(os.path.join(o.folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": where}, f)
    with open(os.path.join(o.folder, "config.json"), "w") as f:
        json.dump(config("random-" + o.shape, s), f)
    print(f"{o.folder}: {total / 1e9:.2f} GB in {time.time() - begin:.1f} s")


if __name__ == "__main__":
    main()
