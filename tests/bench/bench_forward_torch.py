#!/usr/bin/env python3
"""The same pass as bench_forward by Hugging Face transformers in fp32: bench_forward_torch.py MODEL_DIR [TOKENS [SEQ_LEN [THREADS]]].

Needs torch and transformers. Prints tokens/s without and with logits, one sequence at a time.
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM


def main():
    tokens, length = (int(a) for a in (sys.argv[2:4] + ["8192", "2048"][len(sys.argv[2:4]):]))
    if len(sys.argv) > 4:
        torch.set_num_threads(int(sys.argv[4]))
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    ids = torch.randint(0, model.config.vocab_size, (tokens,), generator=torch.Generator().manual_seed(1))
    sequences = [ids[i : i + length].unsqueeze(0) for i in range(0, tokens, length)]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    with torch.inference_mode():
        for name, part in [("forward", model.model), ("forward with logits", model)]:
            part(sequences[0][:, :64], use_cache=False)
            start = time.perf_counter()
            for sequence in sequences:
                part(sequence, use_cache=False)
            seconds = time.perf_counter() - start
            print(f"{name}: {tokens} tokens in {seconds:.2f} s = {tokens / seconds:.0f} tokens/s")


if __name__ == "__main__":
    main()
