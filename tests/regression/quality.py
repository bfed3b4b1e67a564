#!/usr/bin/env python3
"""quality.py MODEL TEXT... [--profile NAME=FILE]... [--rows FILE] [--only PATTERN]... - what each configuration of rows.txt costs, as results.csv.

A row is compiled with `kvcalib compile` and scored with one `kvcalib eval` per text (decode-faithful, sequences of 2048), averaged by
tokens; perplexities are averaged as logarithms. Sizes come from `kvcalib inspect`: at a context so long that sinks and window vanish
they are the bits of codes and metadata alone. Rows whose configuration and texts the output has already are not measured again: every
row is written as soon as it is there, and the same command goes on where it stopped. "share" is the KL over that of the yardstick row
on the same text. Rows that need a profile which is not given are left out, with a note.

rows.txt, a row a line, "#" begins a comment:
    NAME  -        plan FILE                  a plan whose codecs need no fit
    NAME  PROFILE  plan FILE                  a plan with fitted codecs: PROFILE is a name given by --profile
    NAME  PROFILE  pair KEYS VALUES           the same codecs at every layer ("-" as profile: not fitted)
    NAME  PROFILE  solve BITS [OPTION]...     kvcalib solve for BITS of codes and metadata; "{model}" in options is MODEL
    NAME  PROFILE  solve-true BITS [OPTION]...  the same for true bits at 8192 tokens, window and sinks included
    NAME  -        config FILE                a cfg.bin made elsewhere"""
import argparse
import csv
import fnmatch
import hashlib
import json
import math
import os
import subprocess
import sys
import tempfile

FIELDS = ["model", "row", "bits_codes", "bits_per_value", "constant_bytes", "kl", "kl_stderr", "share", "ppl_ratio", "top1", "tokens",
          "texts", "config"]
ENDLESS = "1000000000"  # a context in which the fp16 tokens do not count
CONTEXT = "8192"
TOKENS = "tokens: {sinks: 4, window: 64, page: 64}\n"


def call(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(command), done.stderr))
    return done.stdout


def read_rows(path):
    rows = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            words = line.split("#")[0].split()
            if words and (len(words) < 4 or words[2] not in ("plan", "pair", "solve", "solve-true", "config")):
                sys.exit("%s:%d: expected NAME PROFILE plan|pair|solve|solve-true|config ..." % (path, number))
            if words:
                rows.append((words[0], words[1], words[2], words[3:]))
    return rows


class Row:
    """One row's cfg.bin in a folder of its own."""

    def __init__(self, a, folder, name, profile, kind, words):
        self.a, self.name, self.plan, self.config = a, name, os.path.join(folder, name + ".yaml"), os.path.join(folder, name + ".bin")
        self.fitted = ["--profile", a.profiles[profile]] if profile != "-" else []
        {"plan": self.use_plan, "pair": self.write_pair, "solve": self.solve, "solve-true": self.solve_true, "config": self.use_config}[kind](*words)
        if kind != "config":
            call(a.kvcalib, "compile", self.plan, "--model", a.model, *self.fitted, "-o", self.config)
        codes, true = (json.loads(call(a.kvcalib, "inspect", self.config, "--json", "--context", n)) for n in (ENDLESS, CONTEXT))
        self.id = codes["id"][:16]
        self.size = {"bits_codes": "%.4f" % codes["bits_per_value"], "bits_per_value": "%.4f" % true["bits_per_value"],
                     "constant_bytes": true["constant_bytes"]}

    def use_plan(self, path):
        self.plan = path

    def use_config(self, path):
        self.config = path

    def write_pair(self, keys, values):
        with open(self.plan, "w") as f:
            f.write(TOKENS + "default: {key: '%s', value: '%s'}\n" % (keys, values))

    def solve(self, bits, *options, context=ENDLESS, slack=1e-5):  # what is left of sinks and window there
        options = [self.a.model if o == "{model}" else o for o in options]
        call(self.a.kvcalib, "solve", self.fitted[1], "--bits", "%.6f" % (float(bits) + slack), "--context", context, *options, "-o", self.plan)

    def solve_true(self, bits, *options):
        self.solve(bits, *options, context=CONTEXT, slack=0)

    def evaluate(self):
        total = dict.fromkeys(("tokens", "kl", "var", "top1", "log"), 0.0)
        for text in self.a.text:
            e = json.loads(call(self.a.kvcalib, "eval", self.a.model, "--text", text, "--config", self.config,
                                "--max-tokens", str(self.a.max_tokens), "--threads", str(self.a.threads), "--json"))
            n = e["tokens"]
            total["tokens"] += n
            total["kl"] += n * e["kl_mean"]
            total["var"] += (n * e["kl_stderr"]) ** 2
            total["top1"] += n * e["top1_agreement"]
            total["log"] += n * math.log(e["ppl"] / e["ppl_ref"])
            print("    %-28s KL %.5f +- %.5f, perplexity x%.4f" % (os.path.basename(text), e["kl_mean"], e["kl_stderr"], e["ppl"] / e["ppl_ref"]),
                  file=sys.stderr)
        n = total["tokens"]
        return {"kl": "%.6f" % (total["kl"] / n), "kl_stderr": "%.6f" % (math.sqrt(total["var"]) / n), "tokens": int(n),
                "ppl_ratio": "%.5f" % math.exp(total["log"] / n), "top1": "%.4f" % (total["top1"] / n)}


def digest_of(texts, max_tokens):
    """What was evaluated on, short: rows of another digest are not comparable."""
    digest = hashlib.sha256(b"%d" % max_tokens)
    for text in texts:
        with open(text, "rb") as f:
            digest.update(hashlib.sha256(f.read()).digest())
    return digest.hexdigest()[:16]


def write_table(path, rows, yardstick):
    unit = {(r["model"], r["texts"]): float(r["kl"]) for r in rows if r["row"] == yardstick}
    for r in rows:
        base = unit.get((r["model"], r["texts"]))
        r["share"] = "%.4f" % (float(r["kl"]) / base) if base else ""
    with open(path + ".tmp", "w", newline="") as f:
        writer = csv.DictWriter(f, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(path + ".tmp", path)


def read_table(path):
    if not os.path.exists(path):
        return []
    with open(path, newline="") as f:
        reader = csv.DictReader(f)
        if reader.fieldnames != FIELDS:
            sys.exit("%s: other columns than %s: move it away" % (path, ",".join(FIELDS)))
        return list(reader)


def named_file(text):
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError("%r is not NAME=FILE" % text)
    return name, path


def arguments():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser(description="what each configuration of rows.txt costs, as results.csv")
    p.add_argument("model")
    p.add_argument("text", nargs="+")
    p.add_argument("--kvcalib", default="build/cli/kvcalib")
    p.add_argument("--profile", action="append", default=[], type=named_file, metavar="NAME=FILE", help="a profile.h5 that rows refer to by NAME")
    p.add_argument("--rows", default=os.path.join(here, "rows.txt"))
    p.add_argument("--only", action="append", help="rows whose name matches (shell pattern); repeatable")
    p.add_argument("--yardstick", default="kivi-2", help="row that shares are relative to")
    p.add_argument("--name", help="of the model, for the table; default: its folder's")
    p.add_argument("--max-tokens", type=int, default=4096, help="per text")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("-o", "--output", default="results.csv")
    a = p.parse_args()
    a.profiles = dict(a.profile)
    a.name = a.name or os.path.basename(os.path.normpath(a.model))
    return a


def main():
    a = arguments()
    rows = [r for r in read_rows(a.rows) if not a.only or any(fnmatch.fnmatch(r[0], pattern) for pattern in a.only)]
    table, texts = read_table(a.output), digest_of(a.text, a.max_tokens)
    with tempfile.TemporaryDirectory() as folder:
        for name, profile, kind, words in rows:
            if profile != "-" and profile not in a.profiles:
                print("%s: left out, no --profile %s=FILE" % (name, profile), file=sys.stderr)
                continue
            row = Row(a, folder, name, profile, kind, words)
            same = [r for r in table if (r["model"], r["row"], r["texts"]) == (a.name, name, texts)]
            if any(r["config"] == row.id for r in same):
                print("%s: measured already" % name, file=sys.stderr)
                continue
            print("%s: %s bits of codes and metadata, %s true bits" % (name, row.size["bits_codes"], row.size["bits_per_value"]), file=sys.stderr)
            table = [r for r in table if r not in same]
            table.append({"model": a.name, "row": name, "texts": texts, "config": row.id, **row.size, **row.evaluate()})
            write_table(a.output, table, a.yardstick)


if __name__ == "__main__":
    main()
