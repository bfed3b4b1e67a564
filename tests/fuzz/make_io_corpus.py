#!/usr/bin/env python3
"""Writes corpus/safetensors and corpus/gguf: small files, good and bad, each named for what is wrong with it.

Standard library only. The unit tests test_io_gguf.c and the fuzz targets read them.
"""
import json
import os
import struct

here = os.path.dirname(os.path.abspath(__file__))


def save(folder, name, data):
    os.makedirs(os.path.join(here, "corpus", folder), exist_ok=True)
    with open(os.path.join(here, "corpus", folder, name), "wb") as f:
        f.write(data)


# ---- safetensors --------------------------------------------------------------------------------------------------


def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def make_safetensors():
    good = {"__metadata__": {"format": "pt"}, "a": entry("F32", [2], 0, 8), "b": entry("F16", [2, 2], 8, 16),
            "c": entry("BF16", [1, 1, 2], 16, 20), "n": entry("I64", [1], 20, 28)}
    data = struct.pack("<2f", 1.0, -2.5) + struct.pack("<4e", 1, 2, 3, 4) + b"\x80\x3f\x00\xc0" + bytes(8)
    put = lambda name, header, tail=data: save("safetensors", name, safetensors(header, tail))
    put("good", good)
    put("empty_header", {}, b"")
    put("nan", {"a": entry("F16", [2], 0, 4)}, b"\x00\x3c\x00\x7e")
    put("hole", {"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12))
    put("overlap", {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}, bytes(12))
    put("past_end", {"a": entry("F32", [2], 0, 8)}, bytes(4))
    put("tail", {"a": entry("F32", [1], 0, 4)}, bytes(8))
    put("huge_shape", {"a": entry("F32", [1 << 40, 1 << 40], 0, 4)}, bytes(4))
    put("mistyped", {"a": {"dtype": 3, "shape": {}, "data_offsets": "x"}}, bytes(4))
    put("negative", {"a": entry("F32", [-1], -4, 4)}, bytes(4))
    put("rank5_zero", {"a": entry("U8", [1, 2, 0, 3, 4], 0, 0)}, b"")
    put("duplicate", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{}}', b"\0")
    put("deep", b'{"a":' + b"[" * 5000, b"")
    save("safetensors", "header_past_end", struct.pack("<Q", 4000) + b"{}")
    save("safetensors", "header_huge", struct.pack("<Q", 1 << 63) + b"{}")
    save("safetensors", "short", b"\x02\0\0")


# ---- GGUF ---------------------------------------------------------------------------------------------------------

U32, I32, F32, BOOL, STR, ARR = 4, 5, 6, 7, 8, 9


def text(s):
    raw = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(raw)) + raw


def value(kind, v):
    if kind == STR:
        return text(v)
    return struct.pack({U32: "<I", I32: "<i", F32: "<f", BOOL: "<B"}[kind], v)


def pair(key, kind, v, element=None):
    if kind == ARR:
        return text(key) + struct.pack("<IIQ", ARR, element, len(v)) + b"".join(value(element, x) for x in v)
    return text(key) + struct.pack("<I", kind) + value(kind, v)


def metadata():
    return {
        "general.architecture": (STR, "llama"), "llama.block_count": (U32, 1), "llama.context_length": (U32, 16),
        "llama.embedding_length": (U32, 4), "llama.feed_forward_length": (U32, 1),
        "llama.attention.head_count": (U32, 2), "llama.attention.head_count_kv": (U32, 1),
        "llama.attention.layer_norm_rms_epsilon": (F32, 1e-5), "tokenizer.ggml.model": (STR, "gpt2"),
        "tokenizer.ggml.pre": (STR, "smollm"), "tokenizer.ggml.tokens": (ARR, ["<s>", "a", "b", "ab"], STR),
        "tokenizer.ggml.token_type": (ARR, [3, 1, 1, 1], I32), "tokenizer.ggml.merges": (ARR, ["a b"], STR),
        "tokenizer.ggml.bos_token_id": (U32, 0), "tokenizer.ggml.eos_token_id": (U32, 0),
        "tokenizer.chat_template": (STR, "{{ messages }}"),
    }


def tensors():
    t = {"token_embd.weight": [4, 4], "output_norm.weight": [4]}
    for name, sizes in {"attn_norm": [4], "ffn_norm": [4], "attn_q": [4, 4], "attn_k": [4, 2], "attn_v": [4, 2],
                        "attn_output": [4, 4], "ffn_gate": [4, 1], "ffn_up": [4, 1], "ffn_down": [1, 4]}.items():
        t[f"blk.0.{name}.weight"] = sizes
    return t


def gguf(meta=None, infos=None, version=3, counts=None, alignment=32, types=None, offsets=None, tail=None):
    meta, infos = meta or metadata(), infos or tensors()
    types, offsets = types or {}, offsets or {}
    head = b"".join(pair(k, *v) for k, v in meta.items())
    at, listed = 0, b""
    for name, sizes in infos.items():
        listed += text(name) + struct.pack("<I", len(sizes)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        listed += struct.pack("<IQ", types.get(name, 0), offsets.get(name, at))
        n = 1
        for s in sizes:
            n *= s
        at += -(-n * 4 // alignment) * alignment
    n_tensors, n_values = counts or (len(infos), len(meta))
    out = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_values) + head + listed
    out += bytes(-len(out) % alignment)
    return out + (struct.pack("<f", 0.5) * (at // 4) if tail is None else tail)


def make_gguf():
    def changed(**kv):
        m = metadata()
        for k, v in kv.items():
            key = k.replace("__", ".")
            if v is None:
                del m[key]
            else:
                m[key] = v
        return m

    put = lambda name, **kw: save("gguf", name, gguf(**kw))
    put("good")
    put("good_v2", version=2)
    put("good_aligned64", meta=changed(general__alignment=(U32, 64)), alignment=64)
    put("good_bos", meta=changed(tokenizer__ggml__add_bos_token=(BOOL, 1)))
    put("big_endian", version=0x03000000)
    put("version_1", version=1)
    put("counts_huge", counts=(1 << 60, 1 << 60))
    put("counts_short", counts=(12, 16))
    put("alignment_odd", meta=changed(general__alignment=(U32, 24)))
    put("architecture_bert", meta=changed(general__architecture=(STR, "bert")))
    put("key_missing", meta=changed(llama__block_count=None))
    put("key_mistyped", meta=changed(llama__block_count=(F32, 1.0)))
    put("layers_huge", meta=changed(llama__block_count=(U32, 4000)))
    put("kv_heads", meta=changed(llama__attention__head_count=(U32, 3), llama__attention__head_count_kv=(U32, 2)))
    put("tokenizer_llama", meta=changed(tokenizer__ggml__model=(STR, "llama")))
    put("pre_unknown", meta=changed(tokenizer__ggml__pre=(STR, "klingon")))
    put("pre_missing", meta=changed(tokenizer__ggml__pre=None))
    put("tokens_twice", meta=changed(tokenizer__ggml__tokens=(ARR, ["<s>", "a", "a", "ab"], STR)))
    put("tokens_not_utf8", meta=changed(tokenizer__ggml__tokens=(ARR, ["<s>", b"\xff", "b", "ab"], STR)))
    put("tokens_many", meta=changed(tokenizer__ggml__tokens=(ARR, ["<s>", "a", "b", "ab", "c"], STR)))
    put("types_few", meta=changed(tokenizer__ggml__token_type=(ARR, [3], I32)))
    put("merge_unknown", meta=changed(tokenizer__ggml__merges=(ARR, ["a c"], STR)))
    put("merge_single", meta=changed(tokenizer__ggml__merges=(ARR, ["ab"], STR)))
    put("bos_out_of_range", meta=changed(tokenizer__ggml__bos_token_id=(U32, 4)))
    put("scaling_yarn", meta=changed(llama__rope__scaling__type=(STR, "yarn")))
    put("rope_freqs", infos={**tensors(), "rope_freqs.weight": [1]})
    put("rope_freqs_size", infos={**tensors(), "rope_freqs.weight": [2]})
    put("experts", meta=changed(llama__expert_count=(U32, 8)))
    put("type_q2_k", types={"blk.0.attn_q.weight": 10})
    put("type_unknown", types={"blk.0.attn_q.weight": 999})
    put("type_block", types={"blk.0.attn_q.weight": 8})
    put("tensor_extra", infos={**tensors(), "blk.0.ffn_gate_inp.weight": [4, 2]})
    put("tensor_size", infos={**tensors(), "blk.0.attn_q.weight": [4, 3]})
    put("tensor_missing", infos={k: v for k, v in tensors().items() if "ffn_up" not in k})
    put("rank_5", infos={**tensors(), "x": [1, 1, 1, 1, 1]})
    put("size_overflow", infos={**tensors(), "x": [1 << 40, 1 << 40]}, tail=b"")
    put("offset_unaligned", offsets={"output_norm.weight": 68})
    put("offset_overlap", offsets={"output_norm.weight": 32})
    put("offset_past_end", offsets={"output_norm.weight": 1 << 40})
    put("data_truncated", tail=bytes(64))
    good = gguf()
    save("gguf", "key_twice", good.replace(text("llama.context_length"), text("llama.block_count"), 1))
    nested = gguf(meta={"a": (ARR, [0], U32)}).replace(struct.pack("<II", ARR, U32), struct.pack("<II", ARR, ARR))
    save("gguf", "array_nested", nested)
    save("gguf", "kind_unknown", gguf(meta={"a": (U32, 1)}).replace(b"a\x04\0\0\0", b"a\x63\0\0\0"))
    save("gguf", "string_huge", good.replace(text("llama"), struct.pack("<Q", 1 << 62) + b"llama", 1))
    save("gguf", "magic", b"GGML" + good[4:])


make_safetensors()
make_gguf()
