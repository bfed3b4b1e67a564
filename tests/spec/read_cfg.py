#!/usr/bin/env python3
"""A second reader of cfg.bin, written from runtime/FORMAT.md alone, with nothing but the standard library.

    read_cfg.py FILE            print what the file says as JSON; exit 1 with the broken rule if it says nothing valid
    read_cfg.py --check DIR     DIR/good/*.bin must read as the .json beside each says, and its codecs encode and decode the
                                pages of the .blocks beside it where there is one; every DIR/bad/fNN_*.bin must be refused
                                by rule F-NN, and each good file with any one byte changed must be refused too
"""
import hashlib
import json
import math
import pathlib
import struct
import sys

sys.dont_write_bytecode = True
import fitted  # noqa: E402
from xxh3 import xxh3_64  # noqa: E402

VERSION = 1001
MAGIC = bytes.fromhex("894B56430D0A1A0A")
SECTIONS = {1: "model", 2: "tokens", 3: "layers", 4: "parameters", 64: "provenance"}
NEEDED = (1, 2, 3)
SYMBOLS = {1: ("fp16", 1000), 2: ("int", 1000), 4: ("lut", 1001), 5: ("vq", 1001), 6: ("seg", 1001)}
TRANSFORMS = {1: ("had", 1000), 2: ("smooth", 1001), 3: ("perm", 1001), 4: ("rot", 1001), 5: ("klt", 1001)}
SCALES = {0: "", 1: "tok", 2: "ch", 3: "static", 4: "head"}


class Refused(Exception):
    """The file breaks a rule of FORMAT.md."""


def need(condition, rule, text):
    if not condition:
        raise Refused(f"[F-{rule:02}] {text}")


def round_up(n, step):
    return (n + step - 1) // step * step


# ---- the file ----


def read_header(data):
    need(data[:8] == MAGIC[:max(1, len(data))], 1, "magic")
    need(len(data) >= 64, 2, "shorter than its header")
    reader_min, writer, size, n, zero = struct.unpack_from("<IIQII", data, 8)
    need(reader_min <= VERSION, 3, f"needs a reader of version {reader_min}")
    need(reader_min >= 1000 and writer >= reader_min, 4, "versions")
    need(size == len(data), 5, f"{len(data)} bytes, the header says {size}")
    need(1 <= n <= 64, 6, f"{n} sections")
    need(zero == 0, 7, "reserved")
    return {"reader_min": reader_min, "writer": writer, "n": n, "identity": data[32:64]}


def check_entry(kind, flags):
    need(flags & ~1 == 0, 11, f"flags of section {kind}")
    if kind in SECTIONS:
        need(flags == (0 if kind == 64 else 1), 11, f"flags of section {kind}")
    else:
        need(flags == 0, 16, f"section {kind} is required and unknown")


def read_sections(data, n):
    table_end = 64 + 32 * n
    need(len(data) >= table_end + 8, 2, "shorter than its section table")
    need(struct.unpack_from("<Q", data, table_end)[0] == xxh3_64(data[:table_end]), 8, "hash of the table")
    sections, end, last = [], table_end + 8, -1
    for i in range(n):
        kind, flags, offset, size, digest = struct.unpack_from("<IIQQQ", data, 64 + 32 * i)
        need(kind > last, 10, f"section {kind} after {last}")
        check_entry(kind, flags)
        need(offset == round_up(end, 64), 12, f"section {kind} at {offset}")
        need(size > 0 and offset + size <= len(data), 13, f"section {kind} of {size} bytes")
        need(not any(data[end:offset]), 15, f"padding before section {kind}")
        need(xxh3_64(data[offset:offset + size]) == digest, 14, f"hash of section {kind}")
        sections.append((kind, flags, offset, size))
        end, last = offset + size, kind
    need(end == len(data), 18, "bytes after the last section")
    return sections


def section(data, sections, kind):
    for other, _, offset, size in sections:
        if other == kind:
            return data[offset:offset + size]
    need(kind not in NEEDED, 17, f"section {kind} is missing")
    return None


def identity_of(data, sections):
    sha = hashlib.sha256()
    for kind, flags, offset, size in sections:
        if flags & 1:
            sha.update(struct.pack("<IQ", kind, size) + data[offset:offset + size])
    return sha.digest()


# ---- sections ----


def read_name(raw):
    text, _, rest = raw.partition(b"\0")
    need(0 < len(text) < len(raw) and not any(rest), 21, "a name is empty, too long or not padded with zeros")
    need(all(c >= 0x20 and c != 0x7F for c in text), 21, "a name has control characters")
    return text.decode("utf-8", "replace")


def read_model(raw):
    need(len(raw) == 192, 20, f"section model has {len(raw)} bytes")
    numbers = struct.unpack_from("<6Id", raw, 96)
    keys = ("layers", "query_heads", "kv_heads", "head_dim", "hidden_size", "vocab_size", "rope_theta")
    model = {"name": read_name(raw[:64]), "architecture": read_name(raw[64:96]), **dict(zip(keys, numbers))}
    limits = {"layers": 1 << 16, "query_heads": 1 << 16, "kv_heads": 1 << 16, "hidden_size": 1 << 24, "vocab_size": 1 << 28}
    for key, most in limits.items():
        need(1 <= model[key] <= most, 22, f"{key} {model[key]}")
    need(model["head_dim"] % 8 == 0 and 8 <= model["head_dim"] <= 512, 23, f"head_dim {model['head_dim']}")
    need(model["query_heads"] % model["kv_heads"] == 0, 24, "query heads over KV heads")
    need(math.isfinite(model["rope_theta"]) and model["rope_theta"] >= 0, 25, "rope_theta")
    return {**model, "sha256": raw[128:160].hex(), "tokenizer_sha256": raw[160:192].hex()}


def read_tokens(raw):
    need(len(raw) == 16, 30, f"section tokens has {len(raw)} bytes")
    sinks, window, page, zero = struct.unpack("<4I", raw)
    need(page % 8 == 0 and 8 <= page <= 1024, 31, f"page {page}")
    need(sinks <= 1 << 20 and window <= 1 << 20, 32, f"{sinks} sinks, window {window}")
    need(zero == 0, 33, "reserved")
    return {"sinks": sinks, "window": window, "page": page}


def check_known(symbol, scale, flags, transforms):
    need(symbol in SYMBOLS, 41, f"symbol {symbol}")
    need(not (symbol == 2 and scale == 3), 41, "scale static")
    need(all(t in TRANSFORMS for t in transforms), 41, f"transforms {transforms}")
    need(flags & 1 == 0, 41, "@pre")


def check_mix(segment):
    need(1 <= sum(n << k for k, n in enumerate(segment[:5])) <= 64 and not any(segment[5:]), 42, f"mix {segment}")


def check_shared(c):
    rest = c["segment"][:5] + c["segment"][6:]
    need(c["segment"][5] <= 64 and not any(rest) and c["scale"] == 0, 42, f"shared codes {c['segment']}, scale {c['scale']}")


def check_fields(c):
    symbol, bits, scale, dims = c["symbol"], c["bits"], c["scale"], c["dims"]
    if symbol == 1:
        need(bits == 16 and scale == 0, 42, "fp16")
    elif symbol == 2:
        need(bits in (1, 2, 3, 4, 6, 8) and scale in (1, 2), 42, f"int{bits}, scale {scale}")
    elif symbol == 6:
        need(max(c["segment"]) <= 8 and 1 <= bits == max(c["segment"]) and scale in (2, 3), 42, f"seg, scale {scale}")
    else:
        need(1 <= bits <= (8 if symbol == 4 else 12) and scale in (0, 3, 4), 42, f"{bits} bits, scale {scale}")
    if symbol == 5:
        need(dims in (0, 1, 2, 4, 8, 16), 42, f"dims {dims}")
    else:
        need(dims == 1, 42, f"dims {dims}")
    if symbol == 5 and dims == 0 and c["segment"][5]:
        check_shared(c)
    elif symbol == 5 and dims == 0:
        check_mix(list(c["segment"]))
    elif symbol != 6:
        need(not any(c["segment"]), 42, "segments")
    need(scale in (1, 2) or c["group"] == 0, 42, "group without a scale")


def spec_of(c):
    spec = SYMBOLS[c["symbol"]][0]
    if c["symbol"] == 6:
        spec += "[" + ",".join(map(str, c["segment"])) + "]"
    elif c["dims"] == 0 and c["segment"][5]:
        spec += f"[{c['segment'][5]}]"
    elif c["dims"] == 0:
        spec += "[" + ",".join(f"{n}*{1 << k}" for k, n in enumerate(c["segment"]) if n) + "]"
    if c["symbol"] == 5:
        spec += (str(c["dims"]) if c["dims"] else "") + "x"
    if c["symbol"] not in (1, 6):
        spec += str(c["bits"])
    if c["scale"]:
        spec += "." + SCALES[c["scale"]] + (str(c["group"]) if c["group"] else "")
    return spec + "".join("+" + TRANSFORMS[t][0] for t in c["transforms"]) + ("@joint" if c["joint"] else "")


def rows_of(c, model):
    """How many rows a token has, and their channels."""
    heads, d = model["kv_heads"], model["head_dim"]
    return (1, heads * d) if c["joint"] else (heads, d)


def page_bytes(c, model, page):
    heads, d = rows_of(c, model)
    if fitted.symbol_of(c):
        return fitted.page_bytes(c, heads, d, page)
    return heads * round_up(page * d * c["bits"] // 8 + (4 * page * d // c["group"] if c["scale"] else 0), 16)


def read_fields(raw):
    symbol, bits, scale, dims, group, flags, n_transforms = struct.unpack_from("<4BH2B", raw)
    need(n_transforms <= 4, 42, f"{n_transforms} transforms")
    c = {"symbol": symbol, "bits": bits, "scale": scale, "dims": dims, "group": group,
         "transforms": list(raw[8:8 + n_transforms]), "segment": raw[24:32], "joint": flags >> 1 & 1}
    check_known(symbol, scale, flags, c["transforms"])
    check_fields(c)
    need(flags & ~2 == 0 and not any(raw[8 + n_transforms:16]), 42, "unused fields")
    return c


def check_shape(c, heads, d, page):
    need(d <= 2048, 44, f"{d} channels")
    if c["scale"] in (1, 2):
        need(c["group"] % 8 == 0 and (d if c["scale"] == 1 else page) % c["group"] == 0, 44, f"group {c['group']}")
    if fitted.symbol_of(c):
        need(fitted.symbol_of(c).shape_fits(c, heads, d, page), 44, f"{heads} x {d} channels")


def read_codec(raw, model, tokens, parameters, room, reader_min):
    """Its fields, its constants, and the bytes that parameters have left for others."""
    offset, size = struct.unpack_from("<2I", raw, 16)
    need(offset % 64 == 0 and offset + size <= len(parameters) and (size or not offset), 45, "parameters")
    c = read_fields(raw)
    heads, d = rows_of(c, model)
    is_fitted = c["symbol"] in fitted.SYMBOLS or any(t > 1 for t in c["transforms"])
    need(is_fitted or not size, 42, "parameters of a codec without any")
    need(c["scale"] not in (1, 2) or c["group"], 43, "group not written out")
    since = max([SYMBOLS[c["symbol"]][1]] + [TRANSFORMS[t][1] for t in c["transforms"]] + [1001] * c["joint"])
    need(since <= reader_min, 46, "newer than reader_min")
    check_shape(c, heads, d, tokens["page"])
    need(size == fitted.params_size(c, heads, d), 47, f"{size} bytes of parameters")
    need(size <= room, 48, "parameters named twice")
    constants = parameters[offset:offset + size]
    need(not size or fitted.params_fit(c, constants, heads, d), 49, "values of parameters")
    return c, constants, room - size


def read_layers(raw, model, tokens, parameters, reader_min):
    """For each layer its keys' and its values' (fields, constants)."""
    need(len(raw) == 64 * model["layers"], 40, f"section layers has {len(raw)} bytes")
    layers, room = [], len(parameters)
    for i in range(model["layers"]):
        key, key_constants, room = read_codec(raw[64 * i:64 * i + 32], model, tokens, parameters, room, reader_min)
        value, value_constants, room = read_codec(raw[64 * i + 32:64 * i + 64], model, tokens, parameters, room, reader_min)
        layers.append(((key, key_constants), (value, value_constants)))
    return layers


def bits_per_value(model, tokens, of_pages, n):
    packed = max(0, n - tokens["sinks"] - tokens["window"]) // tokens["page"] * tokens["page"]
    rows = (n - packed) * 4 * model["head_dim"] * model["layers"]
    total = packed // tokens["page"] * of_pages + model["kv_heads"] * rows
    return 8 * total / (2 * model["layers"] * model["kv_heads"] * model["head_dim"] * n)


def read_parts(data):
    header = read_header(data)
    sections = read_sections(data, header["n"])
    model = read_model(section(data, sections, 1))
    tokens = read_tokens(section(data, sections, 2))
    parameters = section(data, sections, 4) or b""
    layers = read_layers(section(data, sections, 3), model, tokens, parameters, header["reader_min"])
    return header, sections, model, tokens, layers


def read_cfg(data):
    header, sections, model, tokens, layers = read_parts(data)
    provenance = section(data, sections, 64)
    if provenance is not None:
        need(0 not in provenance, 60, "a zero byte in provenance")
    of_pages = sum(page_bytes(c, model, tokens["page"]) for layer in layers for c, _ in layer)
    return {
        "format": header["writer"], "model": model, "tokens": tokens,
        "layers": [{"layer": i, "key": spec_of(key), "value": spec_of(value)}
                   for i, ((key, _), (value, _)) in enumerate(layers)],
        "identity": header["identity"].hex(), "identity_matches": header["identity"] == identity_of(data, sections),
        "bits_per_value": round(bits_per_value(model, tokens, of_pages, 8192), 6),
        "sections": [{"name": SECTIONS.get(kind, "unknown"), "offset": offset, "bytes": size}
                     for kind, _, offset, size in sections],
        "provenance": json.loads(provenance) if provenance is not None else None,
    }


def coders(data):
    """Of every layer, side and row whose codec is lut, vq or seg, in this order: its coder and its bytes of a page."""
    _, _, model, tokens, layers = read_parts(data)
    for c, constants in (side for layer in layers for side in layer):
        heads, d = rows_of(c, model)
        sizes = fitted.sizes_of_heads(c, constants, heads, d, tokens["page"]) if fitted.symbol_of(c) else []
        for head, size in enumerate(sizes):
            yield fitted.Coder(c, constants, heads, head, d), size


# ---- the check of the golden files ----


def refusal(data):
    try:
        read_cfg(data)
    except Refused as refused:
        return str(refused)
    return None


def check_good(path, problems):
    data = path.read_bytes()
    try:
        if read_cfg(data) != json.loads(path.with_suffix(".json").read_text()):
            problems.append(f"{path.name}: reads differently")
    except Refused as refused:
        problems.append(f"{path.name}: {refused}")
    for i in range(len(data)):
        if refusal(data[:i] + bytes([data[i] ^ 1 << i % 8]) + data[i + 1:]) is None:
            problems.append(f"{path.name}: byte {i} may change unnoticed")
    for n in range(len(data)):
        if refusal(data[:n]) is None:
            problems.append(f"{path.name}: may end at {n}")


def check_blocks(path, problems):
    """A .blocks file: for each of coders() rows fp32 [P][d], their block, the decoded rows."""
    data, blocks = path.with_suffix(".bin").read_bytes(), path.read_bytes()
    page = read_parts(data)[3]["page"]
    for i, (coder, size) in enumerate(coders(data)):
        d = coder.d
        given, block, decoded = blocks[:4 * page * d], blocks[4 * page * d:][:size], blocks[4 * page * d + size:][:4 * page * d]
        blocks = blocks[8 * page * d + size:]
        rows = [list(struct.unpack_from(f"<{d}f", given, 4 * d * t)) for t in range(page)]
        if coder.encode(rows, size) != block:
            problems.append(f"{path.name}: block {i} is encoded differently")
        if b"".join(struct.pack(f"<{d}f", *row) for row in coder.decode(block, page)) != decoded:
            problems.append(f"{path.name}: block {i} decodes differently")
    if blocks:
        problems.append(f"{path.name}: {len(blocks)} bytes too many")


def check_golden(folder):
    problems, good, bad = [], sorted(folder.glob("good/*.bin")), sorted(folder.glob("bad/*.bin"))
    for path in good:
        check_good(path, problems)
        if path.with_suffix(".blocks").exists():
            check_blocks(path.with_suffix(".blocks"), problems)
    for path in bad:
        said = refusal(path.read_bytes())
        if said is None or not said.startswith(f"[F-{path.name[1:3]}]"):
            problems.append(f"{path.name}: {said}")
    if not good or not bad:
        problems.append(f"no golden files in {folder}")
    print("\n".join(problems) if problems else f"{len(good)} good and {len(bad)} bad files as they should be")
    return 1 if problems else 0


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--check":
        return check_golden(pathlib.Path(arguments[1]))
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        print(json.dumps(read_cfg(pathlib.Path(arguments[0]).read_bytes()), indent=1))
    except Refused as refused:
        print(f"{arguments[0]}: {refused}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
