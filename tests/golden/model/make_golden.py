#!/usr/bin/env python3
"""Write the golden logits beside this script: Hugging Face transformers in fp32 on tiny random models.

    make_golden.py          needs torch and transformers; the tests do not

Only logits are kept: the weights come back from tests/tiny_model.py and the options in each file's first line. A file is
    options ...             for tiny_model.py
    ids ...                 one sequence
    row POSITION ...        logits after that token, for some positions
"""
import os
import random
import subprocess
import sys
import tempfile

import torch
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
VARIANTS = {
    "plain": "",
    "untied_f16": "--no-tied --dtype f16 --heads 8 --kv-heads 2 --head-dim 24 --ffn 72 --layers 3",
    "bias_bf16": "--attention-bias --mlp-bias --dtype bf16 --heads 4 --kv-heads 4 --shards 3",
    "llama3": "--rope-scaling llama3 --rope-factor 8 --rope-original 48 --rope-theta 500000 --head-dim 32",
    "linear": "--rope-scaling linear --rope-factor 3 --kv-heads 1 --eps 0.01",
}
POSITIONS = [0, 1, 63, 95, 130, 159]


def logits_of(options, ids):
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, os.path.join(HERE, "../../tiny_model.py"), folder, *options.split()], check=True)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.inference_mode():
            return model(torch.tensor([ids])).logits[0]


def main():
    for name, options in VARIANTS.items():
        ids = random.Random(name).choices(range(320), k=160)
        logits = logits_of(options, ids)
        with open(os.path.join(HERE, name + ".txt"), "w", encoding="ascii") as f:
            f.write(f"options {options}\nids {' '.join(map(str, ids))}\n")
            for p in POSITIONS:
                f.write(f"row {p} {' '.join('%.7g' % v for v in logits[p].tolist())}\n")


if __name__ == "__main__":
    main()
