#!/usr/bin/env python3
"""make_golden.py MODEL_DIR - writes golden.json: what Hugging Face transformers (fp32, CPU) says of SmolLM2-135M-Instruct on one of
the built-in prompts. Needs torch and transformers; the test that reads the file needs neither."""
import json
import math
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

here = os.path.dirname(os.path.abspath(__file__))
text = "configs/prompts/prose.txt"
length = 1024
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
ids = tokenizer(open(os.path.join(here, "../..", text), encoding="utf-8").read(), add_special_tokens=False)["input_ids"][:length]
with torch.no_grad():
    logits = model(torch.tensor([ids])).logits[0, :-1].double()
nll = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="mean").item()
golden = {"text": text, "tokens": len(ids), "ppl": math.exp(nll)}
with open(os.path.join(here, "golden.json"), "w") as f:
    json.dump(golden, f, indent=1)
    f.write("\n")
print(golden)
