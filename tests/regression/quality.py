#!/usr/bin/env python3
"""quality.py MODEL TEXT... --profile profile.h5 - what each uniform pair and each solved plan costs, as tests/regression/results.csv.

Every row is one `kvcalib eval` per text (decode-faithful, sequences of 2048), averaged over the texts by tokens. Takes about a
minute a row on two cores; rows that the output has already are not measured again. The commands it runs are the ones a user would run; figures go to docs/quality.md by hand."""
import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile

UNIFORM = [
    ("int8.ch64", "int8.tok"),
    ("int4.ch64", "int4.tok+had"),
    ("int4.tok+had", "int4.tok+had"),
    ("int4.tok", "int4.tok"),
    ("int3.ch64", "int3.tok+had"),
    ("int2.ch32", "int2.tok32"),
    ("int2.ch64", "int2.tok+had"),
    ("int2.tok+had", "int2.tok+had"),
]
FIELDS = ["model", "keys", "values", "bits_per_value", "kl", "kl_stderr", "ppl_ratio", "top1", "tokens"]


def call(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s\n%s" % (" ".join(command), done.stderr))
    return done.stdout


def evaluate(a, plan):
    total = {"tokens": 0, "kl": 0.0, "var": 0.0, "top1": 0.0, "ref": 0.0, "cfg": 0.0}
    for text in a.text:
        e = json.loads(call([a.kvcalib, "eval", a.model, "--text", text, "--plan", plan, "--max-tokens", str(a.max_tokens), "--json"]))
        n = e["tokens"]
        total["tokens"] += n
        total["kl"] += n * e["kl_mean"]
        total["var"] += (n * e["kl_stderr"]) ** 2
        total["top1"] += n * e["top1_agreement"]
        total["ref"] += n * math.log(e["ppl_ref"])
        total["cfg"] += n * math.log(e["ppl"])
        bits = e["bits_per_value"]
    n = total["tokens"]
    return {"bits_per_value": "%.3f" % bits, "kl": "%.5f" % (total["kl"] / n), "kl_stderr": "%.5f" % (math.sqrt(total["var"]) / n),
            "ppl_ratio": "%.4f" % math.exp((total["cfg"] - total["ref"]) / n), "top1": "%.3f" % (total["top1"] / n), "tokens": n}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("text", nargs="+")
    p.add_argument("--kvcalib", default="build/cli/kvcalib")
    p.add_argument("--profile")
    p.add_argument("--name", help="of the model, for the table; default: its folder's")
    p.add_argument("--bits", default="3.25,3.75,4.75", help="true bits, window included, at which to solve")
    p.add_argument("--max-tokens", type=int, default=4096, help="per text")
    p.add_argument("-o", "--output", default="results.csv")
    a = p.parse_args()
    name = a.name or os.path.basename(os.path.normpath(a.model))
    done = list(csv.DictReader(open(a.output))) if os.path.exists(a.output) else []
    known = {(row["model"], row["keys"], row["values"]) for row in done}
    with open(a.output, "a", newline="") as f, tempfile.TemporaryDirectory() as folder:
        plan = os.path.join(folder, "plan.yaml")
        writer = csv.DictWriter(f, FIELDS)
        if not done:
            writer.writeheader()

        def row(keys, values):
            if (name, keys, values) not in known:
                writer.writerow({"model": name, "keys": keys, "values": values, **evaluate(a, plan)})
                f.flush()

        for keys, values in UNIFORM:
            with open(plan, "w") as p:
                p.write("tokens: {sinks: 4, window: 64, page: 64}\ndefault: {key: %s, value: %s}\n" % (keys, values))
            row(keys, values)
        for bits in a.bits.split(",") if a.profile else []:
            call([a.kvcalib, "solve", a.profile, "--bits", bits, "-o", plan])
            row("solve", "--bits " + bits)


if __name__ == "__main__":
    main()
