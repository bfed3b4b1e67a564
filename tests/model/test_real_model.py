#!/usr/bin/env python3
"""The whole way with a real model (SmolLM2-135M-Instruct): import, exactness against Hugging Face, compile, measure, generate.

The model comes by scripts/fetch-model.sh, once per build folder; where that fails the test is skipped (77) and says why."""
import json
import os
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
top = os.path.dirname(os.path.dirname(here))
kvcalib, build = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
model = os.path.join(build, "smollm2")
cfg = os.path.join(build, "smollm2.cfg.bin")


def call(*arguments):
    done = subprocess.run([kvcalib, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit("kvcalib %s: exit %d\n%s" % (" ".join(arguments), done.returncode, done.stderr))
    return done.stdout


def check(condition, what):
    print(("ok: " if condition else "FAILED: ") + what)
    if not condition:
        sys.exit(1)


fetch = subprocess.run([os.path.join(top, "scripts/fetch-model.sh"), model], env={**os.environ, "KVCALIB": kvcalib}, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
if fetch.returncode:
    print("skipped: the model cannot be fetched: " + fetch.stdout.strip().splitlines()[-1])
    sys.exit(77)

with open(os.path.join(here, "golden.json")) as f:
    golden = json.load(f)
exact = json.loads(call("eval", model, "--text", os.path.join(top, golden["text"]), "--seq-len", str(golden["tokens"]),
                        "--max-tokens", str(golden["tokens"]), "--json"))
check(exact["tokens"] == golden["tokens"] - 1, "as many positions as transformers scores")
check(abs(exact["ppl_ref"] / golden["ppl"] - 1) < 1e-4, "perplexity %.5f, transformers %.5f" % (exact["ppl_ref"], golden["ppl"]))

call("run", model, "-o", cfg, "--bits", "3", "--calib-tokens", "4096", "--holdout-tokens", "2048", "--anchor-tokens", "2048",
     "--space", os.path.join(here, "space.yaml"), "--table-rows", "32768", "--progress", "none")
inspect = json.loads(call("inspect", cfg, "--json"))
check(inspect["bits_per_value"] <= 3, "%.3f bits per value" % inspect["bits_per_value"])
check(os.path.getsize(cfg) == inspect["file_bytes"], "cfg.bin has %d bytes" % inspect["file_bytes"])
call("verify", cfg, "--model", model)

text = os.path.join(top, "configs/prompts/science.txt")
compressed = json.loads(call("eval", model, "--text", text, "--config", cfg, "--max-tokens", "2048", "--json"))
check(0 < compressed["kl_mean"] < 0.006, "KL %.5f on other text" % compressed["kl_mean"])
check(abs(compressed["ppl"] / compressed["ppl_ref"] - 1) < 0.01, "perplexity within 1 %")

question = ["--chat", "--prompt", "What is the capital of France?", "-n", "16"]
for config in [], ["--config", cfg]:
    answer = call("generate", model, *question, *config)
    check("Paris" in answer, "answer %r" % answer.strip())
