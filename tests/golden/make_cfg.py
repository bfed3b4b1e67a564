#!/usr/bin/env python3
"""Writes the golden cfg.bin files: good/*.bin with their .json and .blocks, and bad/fNN_*.bin, each breaking rule F-NN.

    make_cfg.py

Good files that exist are never written again: what was once readable has to stay so, whatever this script becomes. Bad
files have valid hashes wherever the rule that they break lies behind the hashes.
"""
import hashlib
import json
import math
import pathlib
import random
import struct
import sys

HERE = pathlib.Path(__file__).parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "spec"))
from read_cfg import coders, read_cfg  # noqa: E402
from xxh3 import xxh3_64  # noqa: E402

MODEL, TOKENS, LAYERS, PARAMETERS, PROVENANCE = 1, 2, 3, 4, 64
SCALE = {"": 0, "tok": 1, "ch": 2, "static": 3, "head": 4}


def codec(symbol, bits, scale="", group=0, transforms=(), dims=1, flags=0, parameters=(0, 0), reserved=b"", segment=b""):
    return (struct.pack("<4BH2B", symbol, bits, SCALE[scale], dims, group, flags, len(transforms)) +
            bytes(transforms).ljust(4, b"\0") + reserved.ljust(4, b"\0") + struct.pack("<2I", *parameters) +
            segment.ljust(8, b"\0"))


FP16 = codec(1, 16)


def model(name=b"golden", architecture=b"llama", layers=1, query_heads=2, kv_heads=1, head_dim=64, hidden=128, vocab=1000,
          theta=10000.0):
    return (name.ljust(64, b"\0") + architecture.ljust(32, b"\0") +
            struct.pack("<6Id", layers, query_heads, kv_heads, head_dim, hidden, vocab, theta) +
            hashlib.sha256(b"weights").digest() + hashlib.sha256(b"tokenizer").digest())


def tokens(sinks=4, window=64, page=64, reserved=0):
    return struct.pack("<4I", sinks, window, page, reserved)


def identity(sections):
    sha = hashlib.sha256()
    for kind, flags, body in sections:
        if flags & 1:
            sha.update(struct.pack("<IQ", kind, len(body)) + body)
    return sha.digest()


def image(sections, reader_min=1000, writer=1000, reserved=0, size=None, shift=0, tail=b"", sizes=None):
    """sections [(type, flags, body)] -> file. The last parameters bend single fields before the table is hashed."""
    at = 64 + 32 * len(sections) + 8
    table, body = b"", b""
    for i, (kind, flags, content) in enumerate(sections):
        gap = -at % 64 + (shift if i == len(sections) - 1 else 0)
        body += b"\0" * gap + content
        n = (sizes or {}).get(kind, len(content))
        table += struct.pack("<IIQQQ", kind, flags, at + gap, n, xxh3_64(content))
        at += gap + len(content)
    body += tail
    total = 64 + len(table) + 8 + len(body)
    head = (bytes.fromhex("894B56430D0A1A0A") +
            struct.pack("<IIQII", reader_min, writer, total if size is None else size, len(sections), reserved) +
            identity(sections))
    return head + table + struct.pack("<Q", xxh3_64(head + table)) + body


def sections(m=None, t=None, layers=FP16 + FP16, parameters=None, provenance=None):
    parts = [(MODEL, 1, m or model()), (TOKENS, 1, t or tokens()), (LAYERS, 1, layers)]
    if parameters is not None:
        parts.append((PARAMETERS, 1, parameters))
    if provenance is not None:
        parts.append((PROVENANCE, 0, provenance))
    return parts


# ---- constants of fitted codecs: small ones, of a model with 2 KV heads of 8 channels ----

HEADS, DIM, PAGE = 2, 8, 8
RUNS_PAGE = 96  # three runs of shared codes


def pad(raw, step):
    return raw + b"\0" * (-len(raw) % step)


def inverse(matrix):
    """Of a well-conditioned matrix, by Gauss-Jordan without pivots."""
    n = len(matrix)
    rows = [list(row) + [float(i == j) for j in range(n)] for i, row in enumerate(matrix)]
    for c in range(n):
        rows[c] = [x / rows[c][c] for x in rows[c]]
        for r in range(n):
            if r != c:
                rows[r] = [x - rows[r][c] * y for x, y in zip(rows[r], rows[c])]
    return [row[n:] for row in rows]


def klt(rng, heads=HEADS, d=DIM):
    raw = b""
    for _ in range(heads):
        s = [[rng.randint(-64, 64) / 256 + (i == j) for i in range(d)] for j in range(d)]
        t = inverse(s)
        raw += struct.pack(f"<{d}f", *(rng.randint(-64, 64) / 64 for _ in range(d)))
        raw += struct.pack(f"<{d * d}f", *(t[i][j] for j in range(d) for i in range(d)))
        raw += struct.pack(f"<{d * d}e", *(x for row in s for x in row))
    return raw


def smooth(rng):
    return struct.pack(f"<{HEADS * DIM}f", *(2.0 ** rng.uniform(-3, 3) for _ in range(HEADS * DIM)))


def perm(rng):
    return b"".join(struct.pack(f"<{DIM}H", *rng.sample(range(DIM), DIM)) for _ in range(HEADS))


def rot(rng):
    signs = [rng.choice((-1, 1)) for _ in range(HEADS * DIM)]
    return struct.pack(f"<{HEADS * DIM * DIM}e", *(signs[h * DIM + j] * (-1) ** bin(i & j).count("1") / DIM ** 0.5
                                                   for h in range(HEADS) for j in range(DIM) for i in range(DIM)))


def tables(rng, n_codes, n_kept, n_values, heads=HEADS, d=DIM):
    """n_codes and n_kept of one head, n_values of all tables."""
    order = b"".join(struct.pack(f"<{n_kept}H", *rng.sample(range(d), n_kept)) for _ in range(heads))
    return (struct.pack(f"<{heads * n_codes}f", *(2.0 ** rng.uniform(-1, 1) for _ in range(heads * n_codes))) + pad(order, 4) +
            struct.pack(f"<{n_values}e", *(rng.gauss(0, 1) for _ in range(n_values))))


def fitted(rng):
    """(codec fields, parts) of four layers, keys and values."""
    had, s, p, r, k = 1, 2, 3, 4, 5
    return [
        (dict(symbol=5, bits=4, dims=2, transforms=(k,)), [klt(rng), tables(rng, 4, 8, 2 << 4)]),
        (dict(symbol=5, bits=7, dims=4), [tables(rng, 2, 8, 4 << 7)]),
        (dict(symbol=4, bits=3, scale="static", transforms=(had,)), [tables(rng, 8, 8, 2 * 8 << 3)]),
        (dict(symbol=4, bits=5, scale="head", transforms=(s, had)), [smooth(rng), tables(rng, 8, 8, 2 << 5)]),
        (dict(symbol=5, bits=3, dims=0, scale="head", segment=bytes((16, 16)), transforms=(p, k)),  # 2 of 1, 2 of 2, 2 dropped
         [perm(rng), klt(rng), tables(rng, 4, 6, 2 * 3 << 3)]),
        (dict(symbol=5, bits=9, dims=2, transforms=(r,)), [rot(rng), tables(rng, 4, 8, 2 << 9)]),
        (dict(symbol=2, bits=4, scale="tok", group=8, transforms=(k,)), [klt(rng)]),
        (dict(symbol=5, bits=2, dims=8, scale="static"), [tables(rng, 1, 8, 2 * 8 << 2)]),
    ]


def joint(rng):
    """Of three layers whose rows have the channels of both heads, on both sides, on the keys, on the values."""
    d, flag = HEADS * DIM, 2
    return [
        (dict(symbol=5, bits=3, dims=0, segment=bytes((4, 8, 4)), transforms=(5,), flags=flag),  # 9 of 16 kept, 4 codes
         [klt(rng, 1, d), tables(rng, 4, 9, 7 << 3, 1, d)]),
        (dict(symbol=5, bits=5, dims=0, segment=bytes((0, 0, 0, 0, 4)), scale="static", flags=flag), [tables(rng, 1, 16, 16 << 5, 1, d)]),
        (dict(symbol=4, bits=2, scale="static", transforms=(1,), flags=flag), [tables(rng, 16, 16, 16 << 2, 1, d)]),
        (dict(symbol=2, bits=3, scale="tok", group=8), []),
        (dict(symbol=2, bits=4, scale="ch", group=8, transforms=(1,)), []),
        (dict(symbol=2, bits=4, scale="tok", group=16, flags=flag), []),
    ]


def segments(rng):
    """Of two layers with symbol seg."""
    def tables_of(segment):
        return struct.pack(f"<{HEADS * sum(1 << b for b in segment if b)}e",
                           *(rng.gauss(0, 1) for _ in range(HEADS * sum(1 << b for b in segment if b))))
    falling, holes = (8, 5, 4, 2, 1, 1, 0, 0), (3, 0, 1, 0, 0, 2, 0, 7)
    return [
        (dict(symbol=6, bits=8, scale="ch", group=8, segment=bytes(falling), transforms=(5,)), [klt(rng)]),
        (dict(symbol=6, bits=7, scale="static", segment=bytes(holes)), [tables_of(holes)]),
        (dict(symbol=6, bits=7, scale="ch", group=8, segment=bytes(holes)), []),
        (dict(symbol=6, bits=4, scale="static", segment=bytes((4,) * 8), transforms=(4, 1)), [rot(rng), tables_of((4,) * 8)]),
    ]


def shared_tables(rng, counts, bits, d):
    """Of heads that have so many codes of a row."""
    order = b"".join(struct.pack(f"<{d}H", *rng.sample(range(d), d)) for _ in counts)
    return (struct.pack(f"<{len(counts)}I", *counts) + struct.pack(f"<{sum(counts)}f", *(2.0 ** rng.uniform(-1, 1) for _ in range(sum(counts)))) +
            order + struct.pack(f"<{31 << bits}e", *(rng.gauss(0, 1) for _ in range(31 << bits))))


def per_64(codes):
    return bytes((0, 0, 0, 0, 0, codes))


def shared(rng):
    """Of two layers of 4 heads of 24 channels: a head without codes, one with a code for each channel, one that drops channels."""
    return [
        (dict(symbol=5, bits=3, dims=0, segment=per_64(21)), [shared_tables(rng, (0, 24, 1, 6), 3, 24)]),  # 31.5 codes
        (dict(symbol=5, bits=4, dims=0, segment=per_64(32), transforms=(1,)), [shared_tables(rng, (24, 3, 2, 19), 4, 24)]),
        (dict(symbol=2, bits=4, scale="tok", group=24), []),
        (dict(symbol=5, bits=1, dims=0, segment=per_64(1)), [shared_tables(rng, (0, 1, 0, 0), 1, 24)]),
    ]


def shared_klt(rng):
    """Of two layers of 3 heads of 8 channels, a row of all heads among them."""
    return [
        (dict(symbol=5, bits=3, dims=0, segment=per_64(30), transforms=(5,)), [klt(rng, 3, 8), shared_tables(rng, (8, 0, 3), 3, 8)]),
        (dict(symbol=5, bits=2, dims=0, segment=per_64(64)), [shared_tables(rng, (8, 8, 8), 2, 8)]),
        (dict(symbol=5, bits=2, dims=0, segment=per_64(15), transforms=(1,), flags=2), [shared_tables(rng, (5,), 2, 24)]),
        (dict(symbol=5, bits=3, dims=2), [tables(rng, 4, 8, 2 << 3, 3, 8)]),
    ]


def shared_runs(rng):
    """Of a layer of 2 heads of 8 channels, for a page of several runs."""
    return [
        (dict(symbol=5, bits=3, dims=0, segment=per_64(28)), [shared_tables(rng, (5, 2), 3, 8)]),
        (dict(symbol=5, bits=2, dims=0, segment=per_64(12)), [shared_tables(rng, (0, 3), 2, 8)]),
    ]


def limits():
    """Of a layer whose constants are as large as they may be."""
    def largest(sign):
        part = struct.pack(f"<{DIM + DIM * DIM}f{DIM * DIM}e", *([sign * 65504.0] * DIM), *([2.0 ** 40] * DIM * DIM), *([2.0 ** 14] * DIM * DIM))
        table = struct.pack(f"<{HEADS * DIM}f", *([2.0 ** 17] * HEADS * DIM)) + struct.pack(f"<{DIM}H", *range(DIM)) * HEADS
        return [part * HEADS] * 4 + [table + struct.pack("<2e", -65504.0, 65504.0)]
    return [(dict(symbol=4, bits=1, transforms=(5,) * 4), largest(sign)) for sign in (1, -1)]


def with_parameters(codecs):
    """Layers and the section parameters: each block at a multiple of 64."""
    layers, parameters = b"", b""
    for fields, parts in codecs:
        block = b"".join(pad(part, 16) for part in parts)
        parameters = pad(parameters, 64) if block else parameters
        layers += codec(parameters=(len(parameters) if block else 0, len(block)), **fields)
        parameters += block
    return layers, parameters


def fitted_file(codecs, reader_min=1001, bend=lambda raw: raw, heads=HEADS, d=DIM, page=PAGE):
    layers, parameters = with_parameters(codecs)
    m = model(b"fitted", layers=len(codecs) // 2, query_heads=2 * heads, kv_heads=heads, head_dim=d, hidden=2 * heads * d)
    return image(sections(m, tokens(0, 0, page), layers, bend(parameters)), reader_min=reader_min, writer=1001)


def blocks_of(data, page, rng):
    """What tests/spec/fitted.py makes of rows that were never seen before, and of the largest."""
    out = b""
    for i, (coder, size) in enumerate(coders(data)):
        d = coder.d
        rows = [struct.unpack(f"<{d}f", struct.pack(f"<{d}f", *(rng.gauss(0, 1.5) for _ in range(d)))) for _ in range(page)]
        if i == 1:
            rows[3] = (1e6, -1e6) * (d // 2)
        block = coder.encode(rows, size)
        for row in rows:
            out += struct.pack(f"<{d}f", *row)
        out += block + b"".join(struct.pack(f"<{d}f", *row) for row in coder.decode(block, page))
    return out


def good_files():
    note = json.dumps({"tool": "golden", "seed": 7}, separators=(",", ":")).encode()
    mixed = b"".join(codec(2, bits, scale, group, had) for bits, scale, group, had in (
        (8, "ch", 32, ()), (8, "tok", 80, (1,)), (6, "ch", 64, (1,)), (6, "tok", 40, ()), (4, "ch", 16, ()), (4, "tok", 16, (1, 1)),
        (3, "ch", 64, ()), (3, "tok", 8, ()), (2, "ch", 8, ()), (2, "tok", 80, ()), (1, "ch", 64, ()), (1, "tok", 80, (1,)))) + FP16 + FP16
    uniform = (codec(2, 4, "ch", 64) + codec(2, 4, "tok", 64, (1,))) * 32
    return {
        "minimal": image(sections(model(query_heads=1, head_dim=8, hidden=8), tokens(0, 0, 8))),
        "mixed": image(sections(model(layers=7, query_heads=12, kv_heads=3, head_dim=80), layers=mixed, provenance=note)),
        "uniform": image(sections(model(b"thirty-two layers", layers=32, query_heads=32, kv_heads=8, head_dim=128), layers=uniform)),
        "parameters": image(sections(parameters=bytes(range(100)), provenance=note)),
        "newer_writer": image(sections(provenance=note) + [(1000, 0, b"an optional section of a later version")], writer=1007),
        "fitted": fitted_file(fitted(random.Random(1001))),
        "segments": fitted_file(segments(random.Random(6))),
        "joint": fitted_file(joint(random.Random(2))),
        "shared": fitted_file(shared(random.Random(3)), heads=4, d=24),
        "limits": fitted_file(limits()),
        "shared_klt": fitted_file(shared_klt(random.Random(4)), heads=3, d=8),
        "shared_runs": fitted_file(shared_runs(random.Random(5)), page=RUNS_PAGE),
        "largest": image(sections(model(head_dim=512), tokens(1 << 20, 1 << 20, 1024), codec(2, 4, "ch", 1024) + codec(2, 4, "tok", 512))),
    }


def bad_codec(value):
    return image(sections(layers=FP16 + value))


def bad_table(rule_bytes=None, **fields):
    """vq2x1 for the keys and the values of a head of 8, the keys' descriptor or constants bent."""
    parts = [struct.pack("<8f16H4e", *([1.0] * 8), *range(8), *range(8), 0, 0, 1, 1)]
    fine = dict(symbol=5, bits=1, dims=2)
    bend = (lambda raw: rule_bytes + raw[len(rule_bytes):]) if rule_bytes else (lambda raw: raw)
    return fitted_file([({**fine, **fields}, parts), (fine, parts)], bend=bend)


def bad_shared(counts=(5, 3), scales=(1.0,) * 8, orders=(*range(8), *range(8)), last=0.0, rest=b"", **fields):
    """vq[32]x1 for the keys of two heads of 8, the descriptor or constants bent; `last` is the last value of the tables."""
    part = (struct.pack("<2I", *counts) + struct.pack(f"<{len(scales)}f", *scales) + struct.pack("<16H", *orders) +
            struct.pack("<62e", *([0.5] * 61), last) + rest)
    return fitted_file([({**dict(symbol=5, bits=1, dims=0, segment=per_64(32)), **fields}, [part]), (dict(symbol=1, bits=16), [])])


def large_shared():
    """3145728 codes a token."""
    c = codec(5, 12, dims=0, segment=per_64(6))
    return image(sections(model(query_heads=65536, kv_heads=65536, head_dim=512), tokens(0, 0, 1024), FP16 + c), 1001, 1001)


def bad_transform(number, part):
    return fitted_file([(dict(symbol=1, bits=16, transforms=(number,)), [part]), (dict(symbol=1, bits=16), [])])


def bad_segments(segment, rest=b"", **fields):
    c = {**dict(symbol=6, bits=2, scale="ch", group=8, segment=bytes(segment)), **fields}
    return fitted_file([(c, [rest] if rest else []), (dict(symbol=1, bits=16), [])], bend=lambda raw: raw or bytes(64))


def bent_klt(number, layout, *values):
    """Identities, bent from the fp32 number `number` on."""
    unit = [float(i == j) for j in range(DIM) for i in range(DIM)]
    raw = struct.pack(f"<{DIM + DIM * DIM}f{DIM * DIM}e", *([0.0] * DIM), *unit, *unit) * HEADS
    bent = struct.pack(layout, *values)
    return raw[:4 * number] + bent + raw[4 * number + len(bent):]


def bad_rot():
    rows = [[1.0 * (i == j) for i in range(DIM)] for j in range(DIM)] * HEADS
    rows[5][5] = 0.5
    return struct.pack(f"<{HEADS * DIM * DIM}e", *(x for row in rows for x in row))


def twice():
    """Keys and values name the same constants."""
    layers, parameters = with_parameters([(dict(symbol=5, bits=1, dims=2), [struct.pack("<8f16H4e", *([1.0] * 8), *range(8), *range(8), *([1.0] * 4))])])
    return image(sections(model(kv_heads=HEADS, head_dim=DIM), tokens(0, 0, PAGE), layers * 2, parameters), 1001, 1001)


def bad_files():
    fine, parts = image(sections()), sections()
    at = 64 + 32 * 3 + 8
    return {
        "f01_magic": b"\x88" + fine[1:],
        "f01_empty": b"",
        "f02_header": fine[:63],
        "f02_table": image([(MODEL, 1, b"x")] * 64, size=100)[:100],
        "f03_reader": image(parts, reader_min=1999, writer=1999),
        "f03_major": image(parts, reader_min=2000, writer=2000),
        "f04_reader": image(parts, reader_min=999),
        "f04_writer": image(parts, writer=999),
        "f05_short": fine[:-1],
        "f05_long": fine + b"\0",
        "f06_none": image([]),
        "f06_many": image([(100 + i, 0, b"x") for i in range(65)]),
        "f07_reserved": image(parts, reserved=1),
        "f08_table": fine[:70] + b"\1" + fine[71:],
        "f10_order": image([parts[1], parts[0], parts[2]]),
        "f10_twice": image([parts[0], parts[0], parts[1], parts[2]]),
        "f11_unknown_flag": image(parts + [(1000, 2, b"x")]),
        "f11_optional_layers": image(parts[:2] + [(LAYERS, 0, parts[2][2])]),
        "f11_required_provenance": image(parts + [(PROVENANCE, 1, b"{}")]),
        "f12_hole": image(parts, shift=64),
        "f12_unaligned": image(parts, shift=8),
        "f13_empty": image(parts + [(PROVENANCE, 0, b"")]),
        "f13_beyond": image(parts, sizes={LAYERS: 65}),
        "f13_huge": image(parts, sizes={MODEL: (1 << 64) - 1}),
        "f14_hash": fine[:-1] + bytes([fine[-1] ^ 1]),
        "f15_padding": fine[:at] + b"\1" + fine[at + 1:],
        "f16_required": image(parts + [(1000, 1, b"x")]),
        "f17_model": image(parts[1:]),
        "f17_tokens": image([parts[0], parts[2]]),
        "f17_layers": image(parts[:2]),
        "f18_tail": image(parts, tail=b"\0" * 64),
        "f20_size": image(sections(model()[:-1])),
        "f21_empty": image(sections(model(name=b""))),
        "f21_unterminated": image(sections(model(name=b"n" * 64))),
        "f21_padding": image(sections(model(architecture=b"llama\0x"))),
        "f21_control": image(sections(model(name=b"a\x1b[2J"))),
        "f22_layers": image(sections(model(layers=0))),
        "f22_heads": image(sections(model(kv_heads=0))),
        "f22_query_heads": image(sections(model(query_heads=1 << 31))),
        "f22_hidden": image(sections(model(hidden=(1 << 24) + 1))),
        "f22_vocabulary": image(sections(model(vocab=0))),
        "f23_zero": image(sections(model(head_dim=0))),
        "f23_odd": image(sections(model(head_dim=68))),
        "f23_large": image(sections(model(head_dim=520))),
        "f24_heads": image(sections(model(query_heads=3, kv_heads=2))),
        "f25_nan": image(sections(model(theta=float("nan")))),
        "f25_infinite": image(sections(model(theta=float("inf")))),
        "f25_negative": image(sections(model(theta=-1.0))),
        "f30_size": image(sections(t=tokens() + b"\0" * 4)),
        "f31_zero": image(sections(t=tokens(page=0))),
        "f31_odd": image(sections(t=tokens(page=60))),
        "f31_large": image(sections(t=tokens(page=1032))),
        "f32_sinks": image(sections(t=tokens(sinks=(1 << 20) + 1))),
        "f32_window": image(sections(t=tokens(window=1 << 31))),
        "f33_reserved": image(sections(t=tokens(reserved=1))),
        "f40_size": image(sections(layers=FP16)),
        "f40_more": image(sections(layers=FP16 * 4)),
        "f41_symbol": bad_codec(codec(3, 8)),
        "f41_static": bad_codec(codec(2, 4, "static")),
        "f41_transform": bad_codec(codec(2, 4, "tok", 64, (6,))),
        "f41_pre": bad_codec(codec(2, 4, "tok", 64, flags=1)),
        "f42_bits": bad_codec(codec(2, 5, "tok", 64)),
        "f42_fp16_bits": bad_codec(codec(1, 8)),
        "f42_scale": bad_codec(codec(1, 16, "tok", 64)),
        "f42_no_scale": bad_codec(codec(2, 4)),
        "f42_scale_kind": bad_codec(b"\2\4\7\1" + codec(2, 4, "tok", 64)[4:]),
        "f42_group": bad_codec(codec(1, 16, group=64)),
        "f42_dims": bad_codec(codec(2, 4, "tok", 64, dims=2)),
        "f42_flags": bad_codec(codec(2, 4, "tok", 64, flags=4)),
        "f42_reserved": bad_codec(codec(2, 4, "tok", 64, reserved=b"\1")),
        "f42_segment": bad_codec(codec(2, 4, "tok", 64, segment=b"\0\0\0\0\0\0\0\1")),
        "f42_n_transforms": bad_codec(FP16[:7] + b"\5" + FP16[8:]),
        "f42_unused_transform": bad_codec(FP16[:9] + b"\1" + FP16[10:]),
        "f42_parameters": image(sections(layers=FP16 + codec(1, 16, parameters=(0, 64)), parameters=bytes(64))),
        "f43_group": bad_codec(codec(2, 4, "tok", 0)),
        "f44_tok": bad_codec(codec(2, 4, "tok", 128)),
        "f44_ch": bad_codec(codec(2, 4, "ch", 24)),
        "f44_small": bad_codec(codec(2, 4, "ch", 4)),
        "f45_no_section": bad_codec(codec(1, 16, parameters=(0, 64))),
        "f45_beyond": image(sections(layers=FP16 + codec(1, 16, parameters=(64, 1)), parameters=bytes(64))),
        "f45_unaligned": image(sections(layers=FP16 + codec(1, 16, parameters=(8, 8)), parameters=bytes(64))),
        "f45_empty": image(sections(layers=FP16 + codec(1, 16, parameters=(64, 0)), parameters=bytes(128))),
        "f45_overflow": image(sections(layers=FP16 + codec(1, 16, parameters=((1 << 32) - 64, 128)), parameters=bytes(64))),
        "f42_vq_bits": bad_table(bits=13),
        "f42_vq_dims": bad_table(dims=3),
        "f42_vq_scale": bad_table(scale="ch", group=8),
        "f42_vq_group": bad_table(group=8),
        "f42_vq_segment": bad_table(segment=bytes((2,) * 8)),
        "f42_vq_none": bad_table(dims=0, segment=bytes(8)),
        "f42_vq_many": bad_table(dims=0, segment=bytes((16, 16, 0, 4))),
        "f42_vq_class": bad_table(dims=0, segment=bytes((0, 16, 0, 0, 0, 8))),
        "f42_shared_many": bad_shared(segment=per_64(65)),
        "f42_shared_scale": bad_shared(scale="head"),
        "f42_shared_mix": bad_shared(segment=bytes((0, 0, 0, 0, 1, 32))),
        "f42_shared_more": bad_shared(segment=bytes((0, 0, 0, 0, 0, 32, 0, 1))),
        "f42_shared_group": bad_shared(group=8),
        "f42_lut_dims": bad_table(symbol=4),
        "f42_lut_bits": bad_table(symbol=4, bits=9, dims=1),
        "f42_seg_none": bad_segments((0,) * 8, bits=0),
        "f42_seg_bits": bad_segments((1, 1, 1, 0, 0, 0, 0, 0)),
        "f42_seg_many": bad_segments((9, 1, 1, 0, 0, 0, 0, 0), bits=9),
        "f42_seg_scale": bad_segments((2, 1, 1, 0, 0, 0, 0, 0), scale="tok"),
        "f43_seg": bad_segments((2, 1, 1, 0, 0, 0, 0, 0), group=0),
        "f44_seg": bad_segments((2, 1, 1, 0, 0, 0, 0, 0), group=16),
        "f44_vq": bad_table(dims=16),
        "f44_shared_none": bad_shared(segment=per_64(3)),
        "f44_shared_large": large_shared(),
        "f44_mix": bad_table(dims=0, segment=bytes((16, 12))),
        "f44_joint": image(sections(model(head_dim=512, query_heads=5, kv_heads=5), layers=FP16 + codec(1, 16, flags=2)), 1001, 1001),
        "f44_joint_group": image(sections(model(kv_heads=2), layers=FP16 + codec(2, 4, "tok", 24, flags=2)), 1001, 1001),
        "f46_joint": image(sections(layers=FP16 + codec(1, 16, flags=2))),
        "f46_vq": fitted_file(fitted(random.Random(2))[:2], reader_min=1000),
        "f46_shared": fitted_file(shared(random.Random(3))[:2], reader_min=1000, heads=4, d=24),
        "f47_shared_bits": bad_shared(bits=2),
        "f47_shared_codes": bad_shared(segment=per_64(64)),
        "f47_shared_long": bad_shared(rest=bytes(16)),
        "f47_short": bad_table(bits=4),
        "f47_long": bad_table(dims=4),
        "f47_beyond": image(sections(model(query_heads=65536, kv_heads=65536, head_dim=512), layers=FP16 + codec(1, 16, transforms=(5,))), 1001, 1001),
        "f47_seg": bad_segments((2, 1, 1, 0, 0, 0, 0, 0), bytes(64)),
        "f48_twice": twice(),
        "f49_scale_zero": bad_table(struct.pack("<f", 0.0)),
        "f49_scale_nan": bad_table(struct.pack("<2f", 1.0, float("nan"))),
        "f49_table": bad_table(struct.pack("<8f16H2e", *([1.0] * 8), *range(8), *range(8), 0, float("inf"))),
        "f49_order_twice": bad_table(struct.pack("<8f10H", *([1.0] * 8), *range(8), 5, 5)),
        "f49_order_large": bad_table(struct.pack("<8f2H", *([1.0] * 8), 0, 8)),
        "f49_shared_less": bad_shared(counts=(4, 3)),
        "f49_shared_more": bad_shared(counts=(8, 1)),
        "f49_shared_large": bad_shared(counts=(9, 1), scales=(1.0,) * 10, segment=per_64(40)),
        "f49_shared_wrap": bad_shared(counts=(0xFFFFFFFF, 9)),
        "f49_shared_scale_zero": bad_shared(scales=(1.0,) * 5 + (0.0,) * 3),
        "f49_shared_scale_nan": bad_shared(scales=(1.0,) * 3 + (math.nan,) * 5),
        "f49_shared_scale_infinite": bad_shared(scales=(1.0,) * 7 + (math.inf,)),
        "f49_shared_order_twice": bad_shared(orders=(*range(8), *range(7), 0)),
        "f49_shared_order_large": bad_shared(orders=(*range(7), 8, *range(8))),
        "f49_shared_order_dropped": bad_shared(counts=(8, 0), orders=(*range(8), *range(7), 3)),
        "f49_shared_table": bad_shared(last=-math.inf),
        "f49_seg": bad_segments((2, 0, 0, 0, 0, 0, 0, 0), struct.pack("<8e", 0, 0, 0, 0, 0, 0, 0, math.nan), scale="static", group=0),
        "f49_klt": bad_transform(5, pad(struct.pack("<2f", 0.0, float("inf")), 2 * (4 * 8 + 6 * 64))),
        "f49_klt_mean": bad_transform(5, bent_klt(3, "<f", -65505.0)),
        "f49_klt_matrix": bad_transform(5, bent_klt(8 + 63, "<f", 2.0 ** 41)),
        "f49_klt_inverse": bad_transform(5, bent_klt(8 + 64, "<3e", 65504.0, 65504.0, -96.0)),
        "f49_scale_large": bad_table(struct.pack("<2f", 2.0 ** 17, 2.0 ** 17 + 1)),
        "f49_shared_scale_large": bad_shared(scales=(1.0,) * 7 + (1e34,)),
        "f49_smooth_large": bad_transform(2, struct.pack("<16f", *([1.0] * 15), 2.0 ** 18)),
        "f49_smooth": bad_transform(2, pad(struct.pack("<15f", *([1.0] * 15)), 64)),
        "f49_perm": bad_transform(3, struct.pack("<16H", *range(8), *range(7), 6)),
        "f49_rot": bad_transform(4, bad_rot()),
        "f60_nul": image(sections(provenance=b'{"a":"\0"}')),
    }


def main():
    for name, data in good_files().items():
        path = HERE / "good" / f"{name}.bin"
        if not path.exists():
            path.write_bytes(data)
            path.with_suffix(".json").write_text(json.dumps(read_cfg(data), indent=1) + "\n")
            if name in ("fitted", "segments", "joint", "shared", "shared_klt", "shared_runs", "limits"):
                page = RUNS_PAGE if name == "shared_runs" else PAGE
                path.with_suffix(".blocks").write_bytes(blocks_of(data, page, random.Random(7)))
    for name, data in bad_files().items():
        (HERE / "bad" / f"{name}.bin").write_bytes(data)


if __name__ == "__main__":
    main()
