#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/tokenizer/: small tokenizer.json files, good ones with most components and bad ones."""
import json, os

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tokenizer")
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}


def file(**changes):
    words = ["A", "b", "Ab", "\u0120", "1", "2", "c", "a", "f", "\u00c3", "\u00a9", "'", "s", "'s", "\u010a", "=", "y", "x", "caf"]
    words += ["ca"]
    model = {"type": "BPE", "vocab": {w: i for i, w in enumerate(words)}, "merges": ["A b", ["'", "s"], "c a", "ca f"]}
    model.update(changes.pop("model", {}))
    out = {"version": "1.0", "added_tokens": [{"id": 30, "content": "<s>", "special": True}], "normalizer": None,
           "pre_tokenizer": BYTES, "post_processor": None, "decoder": {"type": "ByteLevel"}, "model": model}
    out.update(changes)
    return json.dumps(out, separators=(",", ":")).encode()


def steps(*s):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*s, BYTES]}}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


FILES = {
    "good_plain": file(),
    "good_text": file(normalizer={"type": "NFC"}) + b"\0cafe\xcc\x81 <s> Ab12\n",
    "good_text_invalid": file() + b"\0ab\xff",
    "good_digits": file(**steps({"type": "Digits", "individual_digits": True})) + b"\x00a12\xd9\xa3x",
    "good_regex": file(**steps(split({"Regex": r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"}))),
    "good_removed": file(**steps(split({"String": " "}, "Removed"), split({"Regex": "x*"}, "MergedWithNext", True))),
    "good_contiguous": file(**steps(split({"Regex": r"\w|[\S\-]"}, "Contiguous"), split({"String": "a"}, "MergedWithPrevious"))),
    "good_added": file(added_tokens=[{"id": 31, "content": "caf\u00e9", "lstrip": True, "rstrip": True, "normalized": True},
                                     {"id": 17, "content": "x", "single_word": True}]) + b"\0 caf\xc3\xa9  x xx",
    "good_template": file(post_processor={"type": "TemplateProcessing", "single": [
        {"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}], "special_tokens": {"<s>": {"ids": [30]}}}),
    "good_whole_words": file(model={"ignore_merges": True}),
    "bad_id": file(model={"vocab": {"a": 4294967296}}),
    "bad_same_id": file(model={"vocab": {"a": 0, "b": 0}}),
    "bad_merge": file(model={"merges": ["a zz"]}),
    "bad_regex": file(**steps(split({"Regex": "((((a*)*)*"}))),
    "bad_explosion": file(**steps(split({"Regex": "(?:a+)+[xz]"}))) + b"\0" + b"a" * 40,
    "bad_depth": b"[" * 5000,
    "bad_cut": file()[:200],
    "bad_empty_vocabulary": file(model={"vocab": {}}),
    "bad_empty": b"",
}

os.makedirs(OUT, exist_ok=True)
for name, data in FILES.items():
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(data)
