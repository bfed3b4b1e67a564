#!/usr/bin/env python3
"""Golden files of the tokenizer tests, made by Hugging Face `tokenizers` (pip install tokenizers; made with 0.23.3).

    make.py               train the four small tokenizers and write them and expected.json here
    make.py --check       encode again with the committed tokenizers and compare with expected.json
    make.py --real TOKENIZER.json -o DIR [FILE ...]
                          text and ids of a real tokenizer, for test_io_tokenizer_real: 1 MB of the generated text below,
                          then the given files. Run it with KVC_TOKENIZER_REAL=DIR.

The tests need none of this: they read the files. The text is generated alike here and in test_io_tokenizer_golden.c,
from fragments.json and a linear congruential generator."""
import argparse, hashlib, json, os, struct, sys
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TEXT_BYTES, SHORT_BYTES = 1 << 20, 1 << 15
RANGES = [(0x0, 0x1f), (0x20, 0x7e), (0x7f, 0xff), (0x100, 0x24f), (0x300, 0x36f), (0x391, 0x3a1), (0x3a3, 0x3ff),
          (0x400, 0x4ff), (0x5d0, 0x5ea), (0x620, 0x64a), (0x660, 0x669), (0x905, 0x939), (0x966, 0x96f),
          (0xe01, 0xe3a), (0x1100, 0x11ff), (0x1680, 0x169c), (0x180b, 0x180e), (0x1e00, 0x1eff), (0x2000, 0x2064),
          (0x2074, 0x208e), (0x2100, 0x218b), (0x2190, 0x23ff), (0x2460, 0x24ff), (0x2600, 0x27bf), (0x3000, 0x303f),
          (0x3041, 0x3096), (0x30a1, 0x30ff), (0x3400, 0x4dbf), (0x4e00, 0x9ffc), (0xac00, 0xd7a3), (0xe000, 0xe0ff),
          (0xf900, 0xfa6d), (0xfb00, 0xfb06), (0xfe00, 0xfe0f), (0xfeff, 0xfeff), (0xff01, 0xffbe), (0x10330, 0x1034a),
          (0x1d400, 0x1d454), (0x1f1e6, 0x1f1ff), (0x1f300, 0x1f64f), (0x1f900, 0x1f9ff), (0x20000, 0x2a6dd),
          (0x10fff0, 0x10ffff)]


def generate(fragments, n_bytes, seed=1):
    state, out, size = seed, [], 0

    def below(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & (2**64 - 1)
        return (state >> 33) % n

    while size < n_bytes:
        kind = below(10)
        if kind < 7:
            piece = fragments[below(len(fragments))]
        elif kind < 9:
            low, high = RANGES[below(len(RANGES))]
            piece = chr(low + below(high - low + 1))
        else:
            c = " \n\t\r0a'\u00a0"[below(8)]
            piece = c * (1 + below(9))
        out.append(piece)
        size += len(piece.encode())
    return "".join(out)


GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
CL100K = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*"
          r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(prefix=False, regex=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def special(*names):
    return [AddedToken(n, special=True, normalized=False) for n in names]


KINDS = {
    "gpt2": dict(pre=byte_level(regex=True), special=special("<|endoftext|>"),
                 added=[AddedToken("<mask>", lstrip=True, rstrip=True, normalized=False),
                        AddedToken("na\u00efve", single_word=True, normalized=True)]),
    "llama3": dict(pre=pre_tokenizers.Sequence([split(LLAMA3), byte_level()]), ignore_merges=True, bos="<|begin_of_text|>",
                   special=special("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                   "<|eot_id|>")),
    "qwen2": dict(pre=pre_tokenizers.Sequence([split(QWEN2), byte_level()]), normalizer=normalizers.NFC(),
                  special=special("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
                  added=[AddedToken("<tool_call>", normalized=False), AddedToken("caf\u00e9", normalized=True)]),
    "smollm2": dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(True), byte_level(regex=True)]),
                    special=special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>")),
}

# Other components, put in the place of those of one of the four.
SPLITS = [{"type": "Split", "pattern": {"String": "a"}, "behavior": b, "invert": i}
          for b in ("Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext") for i in (False, True)]
RUNS = [dict(s, pattern={"Regex": r"\s|e"}) for s in SPLITS]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def regex(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def sequence(*steps):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, BYTES]}}


VARIANTS = [("gpt2", sequence(s)) for s in SPLITS + RUNS] + [
    ("gpt2", sequence({"type": "Digits", "individual_digits": False})),
    ("gpt2", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True},
                                                                     dict(BYTES, add_prefix_space=True)]}}),
    ("gpt2", {"pre_tokenizer": dict(BYTES, add_prefix_space=True, use_regex=True)}),
    ("qwen2", sequence(regex(CL100K))), ("qwen2", sequence(regex(O200K))),
    ("llama3", sequence(regex(r"\p{N}{1,3}"), regex("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), regex(
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"))),
    ("gpt2", sequence(regex(r"\w+|[^\w\s]+"))), ("gpt2", sequence(regex(r"\W"))), ("gpt2", sequence(regex(r"\p{Han}+|\p{Greek}"))),
    ("gpt2", sequence(regex(r"\d+|\D"))), ("gpt2", sequence(regex(r"[\S\n]+"))), ("gpt2", sequence(regex(r"x*"))),
    ("gpt2", sequence(regex(r"(?<=[a-z])(?=[A-Z])|\x{3000}|\u00a0|\x09|[\r\v\-\]]"))), ("gpt2", sequence(regex(r"^.|\.$"))),
    ("gpt2", {"normalizer": {"type": "NFKC"}}), ("gpt2", {"normalizer": {"type": "NFD"}}),
    ("qwen2", {"normalizer": {"type": "NFKD"}}),
    ("qwen2", {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "NFKC"}]}}),
]


def train(kind, spec, texts):
    t = Tokenizer(models.BPE(ignore_merges=spec.get("ignore_merges", False)))
    t.pre_tokenizer, t.decoder = spec["pre"], decoders.ByteLevel()
    if "normalizer" in spec:
        t.normalizer = spec["normalizer"]
    t.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, show_progress=False, special_tokens=spec["special"],
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_tokens(spec.get("added", []))
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    if "bos" in spec:
        bos = spec["bos"]
        template = processors.TemplateProcessing(single=f"{bos} $A", pair=f"{bos} $A {bos} $B",
                                                 special_tokens=[(bos, t.token_to_id(bos))])
        t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    made = json.loads(t.to_str())
    if kind == "gpt2":
        made["model"]["merges"] = [" ".join(m) for m in made["model"]["merges"]]  # the older spelling
    with open(f"{HERE}/{kind}.json", "w") as f:
        json.dump(made, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


def encode(t, text):
    return t.encode(text, add_special_tokens=False).ids


def digest(ids):
    return {"n": len(ids), "sha256": hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).hexdigest()}


def expect(fragments):
    """What the tests compare with."""
    long, short = generate(fragments, TEXT_BYTES), generate(fragments, SHORT_BYTES, seed=7)
    out = {"text": {"bytes": len(long.encode()), "sha256": hashlib.sha256(long.encode()).hexdigest()}, "kinds": {}, "variants": []}
    for kind in KINDS:
        t = Tokenizer.from_file(f"{HERE}/{kind}.json")
        scrambled = [(i * 7919) % t.get_vocab_size(False) for i in range(3000)]  # mostly not UTF-8; neither added tokens nor NUL
        added = t.get_added_tokens_decoder()
        scrambled = [i for i in scrambled if i not in added
                     and "\u0100" not in t.id_to_token(i)]
        text = t.decode(scrambled, skip_special_tokens=False)
        out["kinds"][kind] = {"long": digest(encode(t, long)), "fragments": [encode(t, f) for f in fragments[:40]],
                              "decoded": hashlib.sha256(text.encode()).hexdigest(), "vocab": t.get_vocab_size(True),
                              "model_vocab": t.get_vocab_size(False)}
    for base, change in VARIANTS:
        with open(f"{HERE}/{base}.json") as f:
            made = json.load(f)
        made.update(change)
        ids = encode(Tokenizer.from_str(json.dumps(made)), short)
        out["variants"].append({"base": base, "change": change, **digest(ids)})
    return out


def real(path, out, files, fragments):
    t = Tokenizer.from_file(path)
    text = generate(fragments, TEXT_BYTES)
    for name in files:
        with open(name, newline="", encoding="utf-8") as f:
            text += f.read()
    ids = encode(t, text)
    os.makedirs(out, exist_ok=True)
    with open(f"{out}/text", "wb") as f:
        f.write(text.encode())
    with open(f"{out}/ids", "wb") as f:
        f.write(struct.pack(f"<{len(ids)}I", *ids))
    with open(path, "rb") as f, open(f"{out}/tokenizer.json", "wb") as g:
        g.write(f.read())
    print(f"{len(text.encode())} bytes, {len(ids)} tokens in {out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--real", metavar="TOKENIZER.json")
    parser.add_argument("-o", metavar="DIR", default="tokenizer-real")
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    with open(f"{HERE}/fragments.json") as f:
        fragments = json.load(f)
    if options.real:
        return real(options.real, options.o, options.files, fragments)
    if options.check:
        with open(f"{HERE}/expected.json") as f:
            same = json.load(f) == expect(fragments)
        print("expected.json is what tokenizers gives" if same else "expected.json DIFFERS")
        return 0 if same else 1
    for kind, spec in KINDS.items():
        train(kind, spec, fragments + [generate(fragments, 1 << 17, seed=3)])
    with open(f"{HERE}/expected.json", "w") as f:
        json.dump(expect(fragments), f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    return 0


sys.exit(main())
